//! A tar in pieces that are cut where the content says so: what does not change gives the same
//! pieces again, wherever it has moved to. And whether a tar came to its end.

use tandem_proto::limits::MAX_ARCHIVE_ENTRIES;

/// A piece is at least this long, but for the last …
const LEAST: usize = 1024 * 1024;
/// … and at most this.
const MOST: usize = 8 * 1024 * 1024;
/// On average a cut comes 2^BITS bytes after the least length.
const BITS: u32 = 21;
const BLOCK: usize = 512;

/// Random numbers that are the same for ever: other ones would cut elsewhere.
const GEAR: [u64; 256] = {
    let mut gear = [0; 256];
    let mut state: u64 = 0x7461_6e64_656d_2121;
    let mut at = 0;
    while at < 256 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        gear[at] = mixed ^ (mixed >> 31);
        at += 1;
    }
    gear
};

/// Cuts bytes into pieces.
#[derive(Default)]
pub struct Pieces {
    open: Vec<u8>,
    hash: u64,
}

impl Pieces {
    /// Takes bytes from the front; a piece, when one is complete. Call again until there is none.
    pub fn feed(&mut self, bytes: &mut &[u8]) -> Option<Vec<u8>> {
        for (at, byte) in bytes.iter().enumerate() {
            self.hash = (self.hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
            let length = self.open.len() + at + 1;
            if (length >= LEAST && self.hash >> (64 - BITS) == 0) || length >= MOST {
                self.open.extend_from_slice(&bytes[..=at]);
                *bytes = &bytes[at + 1..];
                self.hash = 0;
                return Some(std::mem::take(&mut self.open));
            }
        }
        self.open.extend_from_slice(bytes);
        *bytes = &[];
        None
    }

    /// The last piece.
    pub fn rest(self) -> Vec<u8> {
        self.open
    }
}

/// Follows a tar from header to header: one that was cut lacks its two empty blocks.
#[derive(Default)]
pub struct Walk {
    header: Vec<u8>,
    skip: u64,
    empty: u8,
    broken: bool,
    entries: u64,
}

impl Walk {
    /// The next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.empty < 2 && !self.broken {
            if self.skip > 0 {
                let length = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                self.skip -= length as u64;
                bytes = &bytes[length..];
                continue;
            }
            let length = (BLOCK - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..length]);
            bytes = &bytes[length..];
            if self.header.len() == BLOCK {
                self.block();
                self.header.clear();
            }
        }
    }

    fn block(&mut self) {
        if self.header.iter().all(|byte| *byte == 0) {
            self.empty += 1;
            return;
        }
        self.empty = 0;
        // Long names come in blocks of their own before their entry.
        if !matches!(self.header[156], b'L' | b'K') {
            self.entries += 1;
        }
        match size(&self.header[124..136]).and_then(|size| size.checked_next_multiple_of(512)) {
            Some(skip) => self.skip = skip,
            None => self.broken = true,
        }
    }

    /// Whether it has more entries than would be unpacked again.
    pub fn is_too_long(&self) -> bool {
        self.entries > MAX_ARCHIVE_ENTRIES
    }

    /// Whether it came to its end.
    pub fn is_whole(&self) -> bool {
        self.empty >= 2 && !self.broken
    }
}

/// A length in octal digits, or in the binary form of large ones.
fn size(field: &[u8]) -> Option<u64> {
    if field.first()? & 0x80 != 0 {
        let bytes: [u8; 8] = field.last_chunk::<8>().copied()?;
        return Some(u64::from_be_bytes(bytes)).filter(|size| *size < 1 << 50);
    }
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    fn cut(mut bytes: &[u8], at_once: usize) -> Vec<Vec<u8>> {
        let mut pieces = Pieces::default();
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let (mut now, later) = bytes.split_at(at_once.min(bytes.len()));
            bytes = later;
            while let Some(piece) = pieces.feed(&mut now) {
                out.push(piece);
            }
        }
        out.push(pieces.rest());
        out
    }

    #[test]
    fn pieces_are_bounded_independent_of_reads_and_mostly_survive_an_insertion() {
        let mut bytes = vec![0; 24 * 1024 * 1024];
        StdRng::seed_from_u64(7).fill(&mut bytes[..]);
        let pieces = cut(&bytes, 64 * 1024);
        assert_eq!(pieces.concat(), bytes);
        assert_eq!(cut(&bytes, 777), pieces);
        let (last, others) = pieces.split_last().unwrap();
        assert!(others.iter().all(|piece| (LEAST..=MOST).contains(&piece.len())));
        assert!(last.len() <= MOST && pieces.len() >= 4, "{}", pieces.len());
        let mut changed = bytes.clone();
        changed.splice(500..500, *b"something new");
        let after = cut(&changed, 64 * 1024);
        let same = after.iter().filter(|piece| pieces.contains(piece)).count();
        assert!(same + 2 >= pieces.len(), "{same} of {} are the same", pieces.len());
        // Nothing to cut at: still bounded.
        assert!(cut(&vec![0; 20 << 20], 1 << 20).iter().all(|piece| piece.len() <= MOST));
    }

    #[test]
    fn a_tar_is_whole_only_with_its_end() {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, length) in [("a", 0), ("b", 513), (&*"long/".repeat(60), 3)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(length);
            header.set_mode(0o644);
            let content = vec![1; length as usize];
            builder.append_data(&mut header, format!("{name}x"), &content[..]).unwrap();
        }
        let bytes = builder.into_inner().unwrap();
        for at_once in [1, 100, 512, 5000] {
            let mut walk = Walk::default();
            for part in bytes.chunks(at_once) {
                walk.feed(part);
            }
            assert!(walk.is_whole());
        }
        for end in [0, 512, bytes.len() - 1024, bytes.len() - 600] {
            let mut walk = Walk::default();
            walk.feed(&bytes[..end]);
            assert!(!walk.is_whole(), "{end}");
        }
        let mut walk = Walk::default();
        walk.feed(&[0xff; 2048]);
        assert!(!walk.is_whole());
    }
}
