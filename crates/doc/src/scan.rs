//! The structural scan in front of yrs: what may be in an update of a text document.
//!
//! yrs and lib0 trust their input: counts are allocated before they are paid for, clocks wrap,
//! nested values recurse until the stack ends. The scan walks the bytes once, allocates in
//! proportion to them, and refuses everything a stock Yjs client with
//! `doc.getText("content")` does not write: only text, deleted text, collected (GC) and
//! skipped ranges, in the one root. Formatting, embeds, maps, arrays and subdocuments are
//! refused. What passes is safe to decode with yrs; whether it may be *applied* is the gate's
//! question, which the scan's result answers without a second look at the bytes.

use std::collections::HashSet;

use crate::lib0::{Lib0Error, Reader};

/// The name of the one shared type of a text document.
pub const ROOT: &str = "content";
/// The largest Yjs client id: the largest integer JavaScript holds exactly.
pub const MAX_CLIENT_ID: u64 = (1 << 53) - 1;
/// Clocks stay below 2^31: yrs subtracts them as signed 32-bit numbers.
const MAX_CLOCK: u32 = (1 << 31) - 1;

/// See [`Mark`].
const MARK_EVERY: usize = 32;

const GC: u8 = 0;
const DELETED: u8 = 1;
const STRING: u8 = 4;
const SKIP: u8 = 10;
const HAS_ORIGIN: u8 = 0x80;
const HAS_RIGHT_ORIGIN: u8 = 0x40;

/// What is wrong with an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The bytes end inside the update.
    #[error("the update ends early")]
    Truncated,
    /// A number is out of its bounds or not in its shortest form.
    #[error("a number in the update is out of bounds")]
    Number,
    /// A count is larger than what the remaining bytes could hold.
    #[error("the update announces more than it contains")]
    Count,
    /// A string is not UTF-8.
    #[error("a string in the update is not UTF-8")]
    NotUtf8,
    /// Bytes follow the end of the update.
    #[error("bytes follow the end of the update")]
    Trailing,
    /// A client occurs twice among the blocks or among the deletions.
    #[error("the update lists a client twice")]
    DuplicateClient,
    /// A block or deletion without length.
    #[error("the update contains something empty")]
    Empty,
    /// A clock reaches 2^31.
    #[error("a clock in the update is too large")]
    Clock,
    /// Content other than plain text.
    #[error("the update contains something that is not plain text")]
    Content,
    /// A root other than [`ROOT`], or a nested type.
    #[error("the update changes something other than the text")]
    Parent,
    /// A block that builds on itself, on a later one of its own client, or in a circle.
    #[error("the update builds on itself")]
    Circular,
    /// A block that builds on a collected range.
    #[error("the update builds on something that was collected")]
    Collected,
    /// The deletions of a client are not in ascending order.
    #[error("the deletions in the update are not in order")]
    Unsorted,
    /// New content under a client id of the server itself.
    #[error("the update writes in the server's name")]
    Forged,
}

impl From<Lib0Error> for ScanError {
    fn from(error: Lib0Error) -> Self {
        match error {
            Lib0Error::Truncated => Self::Truncated,
            Lib0Error::Number => Self::Number,
            Lib0Error::NotUtf8 => Self::NotUtf8,
        }
    }
}

/// A place in a client's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) client: u64,
    pub(crate) clock: u32,
}

/// A block at `clock` needs another client's `on`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dependency {
    pub(crate) clock: u32,
    pub(crate) on: Id,
}

/// One client's blocks: a contiguous run of clocks.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) client: u64,
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Where this run's dependencies are in [`Scan::dependencies`], ascending by clock.
    pub(crate) dependencies: std::ops::Range<usize>,
    /// Where this run's marks are in [`Scan::marks`].
    pub(crate) marks: std::ops::Range<usize>,
}

/// Where a block is in the bytes: the first of a run, every [`MARK_EVERY`]th, each that depends
/// on another client, and the end of the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) clock: u32,
    pub(crate) offset: usize,
    /// The block's number in its run.
    pub(crate) block: usize,
}

/// A deleted range of one client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deletion {
    pub(crate) client: u64,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// What is in an update that passed.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    pub(crate) runs: Vec<Run>,
    /// Dependencies between clients; those within a client follow from contiguity.
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) deletions: Vec<Deletion>,
    /// Origins within a client, only from [`scan_in_detail`].
    pub(crate) own_origins: Vec<Id>,
    /// Only from [`scan_in_detail`].
    pub(crate) marks: Vec<Mark>,
    in_detail: bool,
    pub(crate) collected: Vec<Deletion>,
    /// Where the deletions begin in the bytes.
    pub(crate) deletions_at: usize,
    pub(crate) has_skip: bool,
    pub(crate) blocks: usize,
    pub(crate) text_units: u64,
    pub(crate) unclean: bool,
}

impl Scan {
    /// The clients whose blocks are in the update, each with the first clock and the clock
    /// after the last.
    pub fn clients(&self) -> impl Iterator<Item = (u64, u32, u32)> + '_ {
        self.runs.iter().map(|run| (run.client, run.start, run.end))
    }

    /// How many UTF-16 units of text the update contains.
    pub fn text_units(&self) -> u64 {
        self.text_units
    }
}

/// Scans a v1 update of a text document.
///
/// # Errors
/// When it contains anything that a stock client's text document does not.
pub fn scan(update: &[u8]) -> Result<Scan, ScanError> {
    scan_into(Scan::default(), update)
}

/// Like [`scan`], and keeps the origins within each client and where blocks are. Needed where
/// GC blocks are in play or an update is applied in parts; the common case does not pay for it.
pub(crate) fn scan_in_detail(update: &[u8]) -> Result<Scan, ScanError> {
    scan_into(Scan { in_detail: true, ..Scan::default() }, update)
}

fn scan_into(mut scan: Scan, update: &[u8]) -> Result<Scan, ScanError> {
    let mut reader = Reader::new(update);
    // A client with one block takes at least 4 bytes, a block at least 2.
    let clients = count(&mut reader, 4)?;
    let mut seen = HashSet::new();
    for _ in 0..clients {
        let blocks = count(&mut reader, 2)?;
        if blocks == 0 {
            return Err(ScanError::Empty);
        }
        let client = reader.number(MAX_CLIENT_ID)?;
        if !seen.insert(client) {
            return Err(ScanError::DuplicateClient);
        }
        let start = reader.number32(MAX_CLOCK)?;
        let (first_dependency, first_mark) = (scan.dependencies.len(), scan.marks.len());
        let mut clock = start;
        for block in 0..blocks {
            let mark = Mark { clock, offset: update.len() - reader.left(), block };
            let dependencies = scan.dependencies.len();
            let length = scan.block(&mut reader, Id { client, clock })?;
            if length == 0 {
                return Err(ScanError::Empty);
            }
            if scan.in_detail && (block % MARK_EVERY == 0 || dependencies < scan.dependencies.len())
            {
                scan.marks.push(mark);
            }
            clock = end_of(clock, length)?;
        }
        if scan.in_detail {
            let offset = update.len() - reader.left();
            scan.marks.push(Mark { clock, offset, block: blocks });
        }
        scan.blocks += blocks;
        let dependencies = first_dependency..scan.dependencies.len();
        let marks = first_mark..scan.marks.len();
        scan.runs.push(Run { client, start, end: clock, dependencies, marks });
    }
    scan.deletions_at = update.len() - reader.left();
    scan.delete_set(&mut reader)?;
    if !reader.is_empty() {
        return Err(ScanError::Trailing);
    }
    Ok(scan)
}

/// Scans an encoded state vector.
///
/// # Errors
/// When it is malformed.
pub(crate) fn scan_state_vector(bytes: &[u8]) -> Result<Vec<(u64, u32)>, ScanError> {
    let mut reader = Reader::new(bytes);
    let clients = count(&mut reader, 2)?;
    let mut seen = HashSet::new();
    let mut clocks = Vec::new();
    for _ in 0..clients {
        let client = reader.number(MAX_CLIENT_ID)?;
        let clock = reader.number32(MAX_CLOCK)?;
        if !seen.insert(client) {
            return Err(ScanError::DuplicateClient);
        }
        clocks.push((client, clock));
    }
    if !reader.is_empty() {
        return Err(ScanError::Trailing);
    }
    Ok(clocks)
}

/// A count of things that take at least `bytes_each` bytes of what is left.
fn count(reader: &mut Reader<'_>, bytes_each: usize) -> Result<usize, ScanError> {
    let count = reader.number(u64::from(u32::MAX))?;
    let count = usize::try_from(count).map_err(|_| ScanError::Count)?;
    if count > reader.left() / bytes_each {
        return Err(ScanError::Count);
    }
    Ok(count)
}

fn end_of(clock: u32, length: u32) -> Result<u32, ScanError> {
    clock.checked_add(length).filter(|&end| end <= MAX_CLOCK).ok_or(ScanError::Clock)
}

impl Scan {
    /// Reads one block and returns its length in clocks.
    fn block(&mut self, reader: &mut Reader<'_>, id: Id) -> Result<u32, ScanError> {
        let info = reader.byte()?;
        match info {
            GC => {
                let length = reader.number32(MAX_CLOCK)?;
                let end = end_of(id.clock, length)?;
                self.collected.push(Deletion { client: id.client, start: id.clock, end });
                return Ok(length);
            }
            SKIP => {
                self.has_skip = true;
                return Ok(reader.number32(MAX_CLOCK)?);
            }
            _ => {}
        }
        if info & HAS_ORIGIN != 0 {
            self.origin(reader, id)?;
        }
        if info & HAS_RIGHT_ORIGIN != 0 {
            self.origin(reader, id)?;
        }
        if info & (HAS_ORIGIN | HAS_RIGHT_ORIGIN) == 0
            && (reader.byte()? != 1 || reader.bytes()? != ROOT.as_bytes())
        {
            return Err(ScanError::Parent);
        }
        match info & !(HAS_ORIGIN | HAS_RIGHT_ORIGIN) {
            DELETED => Ok(reader.number32(MAX_CLOCK)?),
            STRING => {
                let text = reader.string()?;
                let units = text.encode_utf16().count();
                self.text_units += units as u64;
                self.unclean |= !crate::text::is_clean(text);
                u32::try_from(units).map_err(|_| ScanError::Clock)
            }
            _ => Err(ScanError::Content),
        }
    }

    fn origin(&mut self, reader: &mut Reader<'_>, block: Id) -> Result<(), ScanError> {
        let on = Id { client: reader.number(MAX_CLIENT_ID)?, clock: reader.number32(MAX_CLOCK)? };
        if on.client != block.client {
            self.dependencies.push(Dependency { clock: block.clock, on });
        } else if on.clock >= block.clock {
            return Err(ScanError::Circular);
        } else if self.in_detail {
            self.own_origins.push(on);
        }
        Ok(())
    }

    fn delete_set(&mut self, reader: &mut Reader<'_>) -> Result<(), ScanError> {
        // A client with one range takes at least 4 bytes, a range at least 2.
        let clients = count(reader, 4)?;
        let mut seen = HashSet::new();
        for _ in 0..clients {
            let client = reader.number(MAX_CLIENT_ID)?;
            if !seen.insert(client) {
                return Err(ScanError::DuplicateClient);
            }
            let ranges = count(reader, 2)?;
            let mut last = 0;
            for _ in 0..ranges {
                let start = reader.number32(MAX_CLOCK)?;
                let length = reader.number32(MAX_CLOCK)?;
                if length == 0 {
                    return Err(ScanError::Empty);
                }
                if start < last {
                    return Err(ScanError::Unsorted);
                }
                last = end_of(start, length)?;
                self.deletions.push(Deletion { client, start, end: last });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
