//! The content of a chunk. Records are grouped by repl, so that one repl's are found at once and
//! neighbours compress well.
//!
//! ```text
//! content = group* · footer (msgpack: ChunkIndex) · length of the footer (u32)
//! group   = record*                                    one repl's, in the order of writing
//! record  = lsn · kind · flags · epoch · document · generation · author · wall_ms · length · payload
//! ```
//! Numbers are little-endian. The wrapping of all objects is around it: magic, version, checksum,
//! zstd. The checksum keeps accidents out, not somebody who can write to the store, so nothing
//! in here is believed before it was compared with the length of what is there.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tandem_proto::{BootId, Epoch, FileId, Generation, Lsn, MemberId, NodeId, ReplId};

use super::{ChunkKey, MAX_CHUNK_BYTES};
use crate::log::{MAX_PAYLOAD_BYTES, Record, RecordKind};
use crate::object::{self, ObjectError};

const HAS_AUTHOR: u8 = 1;
const FOOTER_LENGTH: usize = 4;

/// Which repls a chunk has records of, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChunkIndex {
    pub node: NodeId,
    pub boot: BootId,
    pub from: Lsn,
    pub to: Lsn,
    /// In the order of their ids.
    pub repls: Vec<Group>,
}

/// One repl's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    pub repl: ReplId,
    /// Its last record.
    pub last: Lsn,
    pub offset: u32,
    pub length: u32,
}

impl ChunkIndex {
    pub fn group(&self, repl: ReplId) -> Option<&Group> {
        let at = self.repls.binary_search_by_key(&repl, |group| group.repl).ok()?;
        self.repls.get(at)
    }
}

/// Puts records of one boot together; the key to store them under comes with the content.
/// `None` for no records.
pub(super) fn encode(
    (node, boot): (NodeId, BootId),
    records: &[Record],
) -> Option<(ChunkKey, ChunkIndex, Bytes)> {
    let (from, to) = (records.first()?.lsn, records.last()?.lsn);
    let mut groups: BTreeMap<ReplId, Vec<&Record>> = BTreeMap::new();
    for record in records {
        groups.entry(record.repl).or_default().push(record);
    }
    let mut content = Vec::new();
    let mut repls = Vec::with_capacity(groups.len());
    for (repl, records) in groups {
        let offset = content.len();
        records.iter().for_each(|record| put(&mut content, record));
        let (length, last) = (content.len() - offset, records.last().map_or(from, |last| last.lsn));
        repls.push(Group { repl, last, offset: offset as u32, length: length as u32 });
    }
    let index = ChunkIndex { node, boot, from, to, repls };
    let key = ChunkKey { node, boot, from, to };
    // A structure of numbers and short strings always serialises.
    let footer = rmp_serde::to_vec_named(&index).unwrap_or_default();
    content.extend_from_slice(&footer);
    content.extend_from_slice(&(footer.len() as u32).to_le_bytes());
    Some((key, index, content.into()))
}

fn put(out: &mut Vec<u8>, record: &Record) {
    out.extend_from_slice(&record.lsn.0.to_le_bytes());
    out.push(record.kind as u8);
    out.push(if record.author.is_some() { HAS_AUTHOR } else { 0 });
    out.extend_from_slice(&record.epoch.0.to_le_bytes());
    out.extend_from_slice(record.document.as_str().as_bytes());
    out.extend_from_slice(&record.generation.0.to_le_bytes());
    if let Some(author) = record.author {
        out.extend_from_slice(author.as_str().as_bytes());
    }
    out.extend_from_slice(&record.wall_ms.to_le_bytes());
    out.extend_from_slice(&(record.payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&record.payload);
}

/// Reads and checks the footer of the chunk `key`.
pub(super) fn decode_index(key: &str, content: &[u8]) -> Result<ChunkIndex, ObjectError> {
    let corrupt = |reason| ObjectError::Corrupt { key: key.to_owned(), reason };
    if content.len() > MAX_CHUNK_BYTES {
        return Err(corrupt("it is too large for a part of a log"));
    }
    let (rest, length) =
        content.split_last_chunk::<FOOTER_LENGTH>().ok_or(corrupt("it is too short"))?;
    let length = u32::from_le_bytes(*length) as usize;
    let at = rest.len().checked_sub(length).ok_or(corrupt("its index is cut off"))?;
    let (body, footer) = rest.split_at(at);
    let index: ChunkIndex = object::decode(key, footer)?;
    let said = ChunkKey { node: index.node, boot: index.boot, from: index.from, to: index.to };
    if ChunkKey::parse(key) != Some(said) {
        return Err(corrupt("it is a part of another log"));
    }
    let mut end = 0u64;
    let mut before: Option<ReplId> = None;
    for group in &index.repls {
        let in_order = before.is_none_or(|before| before < group.repl)
            && u64::from(group.offset) == end
            && index.from <= group.last
            && group.last <= index.to;
        if !in_order {
            return Err(corrupt("its index contradicts itself"));
        }
        before = Some(group.repl);
        end += u64::from(group.length);
    }
    if end != body.len() as u64 {
        return Err(corrupt("its index does not fit its records"));
    }
    Ok(index)
}

/// One repl's records out of the content that `index` was read from.
pub(super) fn decode_group(
    key: &str,
    (content, index): (&[u8], &ChunkIndex),
    group: &Group,
) -> Result<Vec<Record>, ObjectError> {
    let corrupt = |reason| ObjectError::Corrupt { key: key.to_owned(), reason };
    let start = group.offset as usize;
    let bytes = start
        .checked_add(group.length as usize)
        .and_then(|end| content.get(start..end))
        .ok_or(corrupt("its records are cut off"))?;
    let mut fields = Fields(bytes);
    let mut records: Vec<Record> = Vec::new();
    while !fields.0.is_empty() {
        let raw = fields.record().ok_or(corrupt("a record is cut off"))?;
        let in_order = raw.lsn >= index.from
            && raw.lsn <= group.last
            && records.last().is_none_or(|before| before.lsn < raw.lsn);
        if !in_order {
            return Err(corrupt("its records are out of order"));
        }
        let Some(kind) = RecordKind::from_u8(raw.kind) else {
            let reason = format!("a record has kind {}", raw.kind);
            return Err(ObjectError::unsupported(key, reason));
        };
        records.push(Record {
            node: index.node,
            boot: index.boot,
            lsn: raw.lsn,
            repl: group.repl,
            epoch: raw.epoch,
            kind,
            document: raw.document,
            generation: raw.generation,
            author: raw.author,
            wall_ms: raw.wall_ms,
            // A copy: the chunk with everybody's records must not live as long as one of them.
            payload: Bytes::copy_from_slice(raw.payload),
        });
    }
    match records.last() {
        Some(last) if last.lsn == group.last => Ok(records),
        _ => Err(corrupt("records are missing")),
    }
}

struct RawRecord<'a> {
    lsn: Lsn,
    kind: u8,
    epoch: Epoch,
    document: FileId,
    generation: Generation,
    author: Option<MemberId>,
    wall_ms: u64,
    payload: &'a [u8],
}

/// Takes fields from the front; `None` past the end or for what is none.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*chunk)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn id<T: std::str::FromStr>(&mut self) -> Option<T> {
        let bytes: [u8; 16] = self.take()?;
        std::str::from_utf8(&bytes).ok()?.parse().ok()
    }

    fn record(&mut self) -> Option<RawRecord<'a>> {
        let lsn = Lsn(self.number()?);
        let [kind, flags] = self.take()?;
        let epoch = Epoch(self.number()?);
        let document = self.id()?;
        let generation = Generation(self.number()?);
        let author = match flags & HAS_AUTHOR {
            0 => None,
            _ => Some(self.id()?),
        };
        let wall_ms = self.number()?;
        let length = u32::from_le_bytes(self.take()?) as usize;
        if length > MAX_PAYLOAD_BYTES {
            return None;
        }
        let (payload, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(RawRecord { lsn, kind, epoch, document, generation, author, wall_ms, payload })
    }
}
