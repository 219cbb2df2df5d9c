//! Bytes of a log segment. Every checksum is seeded by the boot and an LSN, so that bytes of
//! another boot, of another place, or left over from an earlier use never look valid.
//!
//! ```text
//! segment = header (64) · batch* · [seal]
//! batch   = batch header (48) · repl table (16 each) · records · padding to 8
//! seal    = batch header (48) · seal table (32 each: repl, first LSN, last LSN)
//! record  = record header (92) · payload
//! ```
//! All numbers are little-endian.

use bytes::Bytes;
use tandem_proto::{BootId, Epoch, FileId, Generation, Lsn, MemberId, NodeId, ReplId};

use super::{LogError, NewRecord, RecordKind};
use crate::position::{self, Positions};

pub(super) const SEGMENT_HEADER: usize = 64;
pub(super) const BATCH_HEADER: usize = 48;
pub(super) const RECORD_HEADER: usize = 92;
pub(super) const SEAL_ENTRY: usize = 32;
const ID: usize = 16;
const SEGMENT_MAGIC: &[u8; 8] = b"TNDMLOG\n";
const BATCH_MAGIC: u32 = 0x4254_4e54;
pub(super) const VERSION: u16 = 1;
const KIND_RECORDS: u8 = 1;
const KIND_SEAL: u8 = 2;
const HAS_AUTHOR: u8 = 1;

/// What the first bytes of a segment say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub node: NodeId,
    pub boot: BootId,
    /// Order of boots within one directory; boot ids are random.
    pub boot_order: u64,
    pub first: Lsn,
    /// Preallocated length. A shorter, unsealed file has lost its end.
    pub size: u64,
}

/// Why a segment's header can't be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    Damaged,
    Unsupported(u16),
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut out = [0u8; SEGMENT_HEADER];
        out[..8].copy_from_slice(SEGMENT_MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[12..28].copy_from_slice(self.node.as_str().as_bytes());
        out[28..36].copy_from_slice(&self.boot.0.to_le_bytes());
        out[36..44].copy_from_slice(&self.boot_order.to_le_bytes());
        out[44..52].copy_from_slice(&self.first.0.to_le_bytes());
        out[52..60].copy_from_slice(&self.size.to_le_bytes());
        let crc = crc32c::crc32c(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8; SEGMENT_HEADER]) -> Result<Self, HeaderError> {
        let mut fields = Fields(bytes);
        let magic: [u8; 8] = fields.take();
        let version = u16::from_le_bytes(fields.take());
        // The checksum first: only an intact header can name a version that we do not know.
        if magic != *SEGMENT_MAGIC
            || crc32c::crc32c(&bytes[..60]).to_le_bytes() != bytes[60..SEGMENT_HEADER]
        {
            return Err(HeaderError::Damaged);
        }
        if version != VERSION {
            return Err(HeaderError::Unsupported(version));
        }
        let _: [u8; 2] = fields.take();
        let node = fields.id().ok_or(HeaderError::Damaged)?;
        Ok(Self {
            node,
            boot: BootId(fields.number()),
            boot_order: fields.number(),
            first: Lsn(fields.number()),
            size: fields.number(),
        })
    }
}

/// What stands in front of each group of records written by one fsync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub seal: bool,
    /// Length of the records.
    pub body: u32,
    pub records: u32,
    pub first: Lsn,
    /// Everything up to here was on disk when this batch was written.
    pub durable: Lsn,
    /// Number of entries of the table.
    pub table: u32,
    pub table_crc: u32,
}

impl BatchHeader {
    pub fn encode(&self, boot: BootId) -> [u8; BATCH_HEADER] {
        let mut out = [0u8; BATCH_HEADER];
        out[..4].copy_from_slice(&BATCH_MAGIC.to_le_bytes());
        out[4] = if self.seal { KIND_SEAL } else { KIND_RECORDS };
        out[8..12].copy_from_slice(&self.body.to_le_bytes());
        out[12..16].copy_from_slice(&self.records.to_le_bytes());
        out[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        out[24..32].copy_from_slice(&self.durable.0.to_le_bytes());
        out[32..36].copy_from_slice(&self.table.to_le_bytes());
        out[36..40].copy_from_slice(&self.table_crc.to_le_bytes());
        let crc = seeded_crc(boot, self.first, &out[..40]);
        out[40..44].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None`: no batch of this boot starts with these bytes.
    pub fn decode(bytes: &[u8], boot: BootId) -> Option<Self> {
        let bytes: &[u8; BATCH_HEADER] = bytes.get(..BATCH_HEADER)?.try_into().ok()?;
        let mut fields = Fields(bytes);
        if u32::from_le_bytes(fields.take()) != BATCH_MAGIC {
            return None;
        }
        let [kind, _, _, _]: [u8; 4] = fields.take();
        let body = u32::from_le_bytes(fields.take());
        let records = u32::from_le_bytes(fields.take());
        let first = Lsn(fields.number());
        let durable = Lsn(fields.number());
        let table = u32::from_le_bytes(fields.take());
        let table_crc = u32::from_le_bytes(fields.take());
        let crc = u32::from_le_bytes(fields.take());
        let rest: [u8; 4] = fields.take();
        if crc != seeded_crc(boot, first, &bytes[..40])
            || rest != [0; 4]
            || !matches!(kind, KIND_RECORDS | KIND_SEAL)
        {
            return None;
        }
        let seal = kind == KIND_SEAL;
        Some(Self { seal, body, records, first, durable, table, table_crc })
    }

    pub fn table_bytes(&self) -> usize {
        self.table as usize * if self.seal { SEAL_ENTRY } else { ID }
    }

    /// Length on disk, padding included.
    pub fn span(&self) -> u64 {
        let raw = BATCH_HEADER as u64 + self.table_bytes() as u64 + u64::from(self.body);
        raw.next_multiple_of(8)
    }

    pub fn last(&self) -> Lsn {
        Lsn(self.first.0.saturating_add(u64::from(self.records)).saturating_sub(1))
    }
}

/// Where to look for a batch header after bytes that are none: its magic, at multiples of 8.
pub(super) fn may_start_batch(bytes: &[u8]) -> bool {
    bytes.starts_with(&BATCH_MAGIC.to_le_bytes())
}

/// Kind of the log's own records that say what committed manifests cover.
pub(super) const KIND_COVERED: u8 = 0;

/// A record on its way to the disk.
#[derive(Debug)]
pub(super) struct Entry {
    pub kind: u8,
    pub repl: ReplId,
    pub epoch: Epoch,
    pub document: FileId,
    pub generation: Generation,
    pub author: Option<MemberId>,
    pub wall_ms: u64,
    pub payload: Bytes,
}

impl Entry {
    /// A note of what is covered, so that the next start need not ask the blob store.
    pub fn covered(repl: ReplId, positions: &Positions) -> Option<Self> {
        let payload = position::to_bytes(positions)?;
        Some(Self {
            kind: KIND_COVERED,
            repl,
            epoch: Epoch(0),
            document: FileId::ROOT,
            generation: Generation(0),
            author: None,
            wall_ms: 0,
            payload: payload.into(),
        })
    }

    pub fn bytes(&self) -> usize {
        RECORD_HEADER + self.payload.len()
    }
}

impl From<NewRecord> for Entry {
    fn from(record: NewRecord) -> Self {
        Self {
            kind: record.kind.as_u8(),
            repl: record.repl,
            epoch: record.epoch,
            document: record.document,
            generation: record.generation,
            author: record.author,
            wall_ms: record.wall_ms,
            payload: record.payload,
        }
    }
}

/// Appends one batch to `out`. `records` must be numbered consecutively from `first`.
pub(super) fn encode_batch(
    out: &mut Vec<u8>,
    boot: BootId,
    (first, durable): (Lsn, Lsn),
    records: &[Entry],
) {
    let start = out.len();
    let mut repls: Vec<ReplId> = records.iter().map(|record| record.repl).collect();
    repls.sort_unstable();
    repls.dedup();
    out.resize(start + BATCH_HEADER, 0);
    for repl in &repls {
        out.extend_from_slice(repl.as_str().as_bytes());
    }
    let body_start = out.len();
    let table_crc = seeded_crc(boot, first, &out[start + BATCH_HEADER..body_start]);
    for (index, record) in records.iter().enumerate() {
        encode_record(out, boot, Lsn(first.0 + index as u64), record);
    }
    let header = BatchHeader {
        seal: false,
        body: (out.len() - body_start) as u32,
        records: records.len() as u32,
        first,
        durable,
        table: repls.len() as u32,
        table_crc,
    };
    out[start..start + BATCH_HEADER].copy_from_slice(&header.encode(boot));
    out.resize(start + header.span() as usize, 0);
}

/// The last entry of a segment that gets no more records: which repls are in it, and where.
pub(super) fn encode_seal(
    boot: BootId,
    next: Lsn,
    repls: impl Iterator<Item = (ReplId, Lsn, Lsn)>,
) -> Vec<u8> {
    let mut out = vec![0u8; BATCH_HEADER];
    for (repl, first, last) in repls {
        out.extend_from_slice(repl.as_str().as_bytes());
        out.extend_from_slice(&first.0.to_le_bytes());
        out.extend_from_slice(&last.0.to_le_bytes());
    }
    let header = BatchHeader {
        seal: true,
        body: 0,
        records: 0,
        first: next,
        durable: Lsn(next.0.saturating_sub(1)),
        table: ((out.len() - BATCH_HEADER) / SEAL_ENTRY) as u32,
        table_crc: seeded_crc(boot, next, &out[BATCH_HEADER..]),
    };
    out[..BATCH_HEADER].copy_from_slice(&header.encode(boot));
    out
}

/// The repls of a batch or seal with their LSNs (a batch's own for all of them); `None` when
/// the table is damaged.
pub(super) fn decode_table(
    header: &BatchHeader,
    boot: BootId,
    bytes: &[u8],
) -> Option<Vec<(ReplId, Lsn, Lsn)>> {
    let bytes = bytes.get(..header.table_bytes())?;
    if seeded_crc(boot, header.first, bytes) != header.table_crc {
        return None;
    }
    let entry = if header.seal { SEAL_ENTRY } else { ID };
    bytes
        .chunks_exact(entry)
        .map(|chunk| {
            let repl = parse_id(chunk.get(..ID)?)?;
            if !header.seal {
                return Some((repl, header.first, header.last()));
            }
            let first = u64::from_le_bytes(chunk.get(16..24)?.try_into().ok()?);
            let last = u64::from_le_bytes(chunk.get(24..32)?.try_into().ok()?);
            Some((repl, Lsn(first), Lsn(last)))
        })
        .collect()
}

fn encode_record(out: &mut Vec<u8>, boot: BootId, lsn: Lsn, record: &Entry) {
    let start = out.len();
    out.extend_from_slice(&(record.payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&lsn.0.to_le_bytes());
    out.push(record.kind);
    out.push(if record.author.is_some() { HAS_AUTHOR } else { 0 });
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(record.repl.as_str().as_bytes());
    out.extend_from_slice(&record.epoch.0.to_le_bytes());
    out.extend_from_slice(record.document.as_str().as_bytes());
    out.extend_from_slice(&record.generation.0.to_le_bytes());
    match record.author {
        Some(author) => out.extend_from_slice(author.as_str().as_bytes()),
        None => out.extend_from_slice(&[b'a'; ID]),
    }
    out.extend_from_slice(&record.wall_ms.to_le_bytes());
    debug_assert_eq!(out.len() - start, RECORD_HEADER);
    out.extend_from_slice(&record.payload);
    let crc = record_crc(boot, lsn, &out[start..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// How long the record at `bytes` claims to be; `None` when even that is cut off.
pub(super) fn record_span(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    Some(RECORD_HEADER + length as usize)
}

/// A record as it lies in a buffer.
#[derive(Debug)]
pub(super) struct RawRecord<'a> {
    pub lsn: Lsn,
    pub kind: u8,
    pub repl: ReplId,
    pub epoch: Epoch,
    pub document: FileId,
    pub generation: Generation,
    pub author: Option<MemberId>,
    pub wall_ms: u64,
    pub payload: &'a [u8],
}

impl<'a> RawRecord<'a> {
    /// `None`: these bytes are not the whole, intact record `lsn` of `boot`.
    pub fn decode(bytes: &'a [u8], boot: BootId, lsn: Lsn) -> Option<Self> {
        let bytes = bytes.get(..record_span(bytes)?)?;
        let (head, payload) = bytes.split_at_checked(RECORD_HEADER)?;
        let mut fields = Fields(head.get(4..)?);
        let crc = u32::from_le_bytes(fields.take());
        if crc != record_crc(boot, lsn, bytes) || fields.number() != lsn.0 {
            return None;
        }
        let [kind, flags, _, _]: [u8; 4] = fields.take();
        let repl = fields.id()?;
        let epoch = Epoch(fields.number());
        let document = fields.id()?;
        let generation = Generation(fields.number());
        let author = fields.id()?;
        let wall_ms = fields.number();
        let author = (flags & HAS_AUTHOR != 0).then_some(author);
        Some(Self { lsn, kind, repl, epoch, document, generation, author, wall_ms, payload })
    }

    /// The same with its own bytes.
    pub fn to_record(&self, node: NodeId, boot: BootId) -> Result<super::Record, LogError> {
        let kind = RecordKind::from_u8(self.kind).ok_or(LogError::UnknownKind {
            kind: self.kind,
            boot,
            lsn: self.lsn,
        })?;
        Ok(super::Record {
            node,
            boot,
            lsn: self.lsn,
            repl: self.repl,
            epoch: self.epoch,
            kind,
            document: self.document,
            generation: self.generation,
            author: self.author,
            wall_ms: self.wall_ms,
            payload: Bytes::copy_from_slice(self.payload),
        })
    }
}

fn seeded_crc(boot: BootId, lsn: Lsn, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(seed(boot, lsn), bytes)
}

/// Over the length and everything after the checksum.
fn record_crc(boot: BootId, lsn: Lsn, record: &[u8]) -> u32 {
    let (length, rest) = record.split_at(4);
    crc32c::crc32c_append(crc32c::crc32c_append(seed(boot, lsn), length), &rest[4..])
}

fn seed(boot: BootId, lsn: Lsn) -> u32 {
    let mut bytes = [0u8; 16];
    bytes[..8].copy_from_slice(&boot.0.to_le_bytes());
    bytes[8..].copy_from_slice(&lsn.0.to_le_bytes());
    crc32c::crc32c(&bytes)
}

fn parse_id<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Takes fixed-size fields from the front. Only used over slices whose length was checked;
/// past the end it gives zeros, which no checksum above lets through.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((chunk, rest)) => {
                self.0 = rest;
                *chunk
            }
            None => [0; N],
        }
    }

    fn number(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn id<T: std::str::FromStr>(&mut self) -> Option<T> {
        parse_id(&self.take::<ID>())
    }
}
