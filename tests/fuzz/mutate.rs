//! Small changes of byte strings, from a seed.

/// A small generator: the same numbers on every machine and in every version.
pub struct Random(pub u64);

/// Bytes at which decoders of variable-length numbers turn.
const EDGES: [u8; 8] = [0, 1, 2, 0x3f, 0x7f, 0x80, 0xfe, 0xff];

impl Random {
    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }

    /// Changes `bytes` once; `other` may lend a part.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len());
        match self.below(9) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            1 if !bytes.is_empty() => bytes[at] = EDGES[self.below(EDGES.len())],
            2 => bytes.insert(at, self.below(256) as u8),
            3 if !bytes.is_empty() => drop(bytes.remove(at)),
            4 if !bytes.is_empty() => bytes[at] = bytes[at].wrapping_add(1),
            5 => bytes.truncate(at),
            6 => {
                // A number of up to 64 bits.
                let length = 1 + self.below(9);
                bytes
                    .splice(at..at, (0..length).map(|n| if n + 1 == length { 0x7f } else { 0xff }));
            }
            7 if !bytes.is_empty() => {
                let to = at + self.below(bytes.len() - at);
                let part = bytes[at..to].to_vec();
                let into = self.below(bytes.len());
                bytes.splice(into..into, part);
            }
            _ => {
                let from = self.below(other.len());
                let to = from + self.below(other.len() - from.min(other.len()));
                bytes.splice(at..at, other[from.min(other.len())..to].iter().copied());
            }
        }
    }
}
