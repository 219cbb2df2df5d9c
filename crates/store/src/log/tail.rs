//! Reads one boot's durable records of all repls in the order of writing, a part at a time, so
//! that they can be shipped without ever lying in memory as a whole.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tandem_proto::{BootId, Lsn, NodeId, ReplId};

use super::format::{self, BATCH_HEADER, BatchHeader, KIND_COVERED, RECORD_HEADER, RawRecord};
use super::index::{TailSegment, Uncovered};
use super::queue::Shared;
use super::segment::Window;
use super::{Damage, Log, LogError, Record, Suspects, scan};

/// How far the reading of one boot's records has come.
#[derive(Debug, Clone)]
pub struct Tail {
    pub(super) node: NodeId,
    pub(super) boot: BootId,
    /// Everything up to here was read.
    after: Lsn,
    /// Where the batch behind it starts, once that is known.
    at: Option<(PathBuf, u64)>,
}

/// What [`Log::read_tail`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TailPart {
    /// In order; without those that committed manifests are known to cover.
    pub records: Vec<Record>,
    /// Up to here there is nothing else.
    pub to: Lsn,
}

impl Log {
    /// A reading of one boot's durable records of all repls, from behind `after` on.
    pub fn tail(&self, boot: (NodeId, BootId), after: Lsn) -> Tail {
        Tail::new(boot, after)
    }

    /// Reads on: at most a batch more than `bytes`, and nothing that is not durable. Dropped, it
    /// has read nothing.
    ///
    /// # Errors
    /// [`LogError::Damaged`], [`LogError::UnknownKind`], [`LogError::Io`]; `tail` is unchanged.
    pub async fn read_tail(&self, tail: &mut Tail, bytes: usize) -> Result<TailPart, LogError> {
        let boot = (tail.node, tail.boot);
        let limit = match boot == (self.node, self.boot) {
            true => *self.durable.borrow(),
            false => self.shared.index().last_of(boot),
        };
        let (shared, mut reading) = (self.shared.clone(), tail.clone());
        let read = tokio::task::spawn_blocking(move || {
            let part = reading.read(&shared, limit, bytes)?;
            Ok((part, reading))
        });
        let (part, reading) = read.await.map_err(|error| LogError::Failed {
            reason: format!("reading it was interrupted: {error}"),
        })??;
        *tail = reading;
        Ok(part)
    }

    /// For each repl the first record of a boot that no committed manifest is known to cover.
    /// What a repl that is missing here had in that boot is covered: see [`is_covered`].
    pub fn uncovered(&self, boot: (NodeId, BootId)) -> HashMap<ReplId, Lsn> {
        self.shared.index().uncovered(boot)
    }

    /// The earlier boots in the directory with records that no manifest is known to cover.
    pub fn earlier_boots(&self) -> Vec<(NodeId, BootId)> {
        let mut boots = self.shared.index().boots();
        boots.retain(|boot| *boot != (self.node, self.boot));
        boots
    }

    /// Length of all records that became durable since the start.
    pub fn durable_bytes(&self) -> u64 {
        self.shared.durable_bytes()
    }
}

impl Tail {
    pub(super) fn new((node, boot): (NodeId, BootId), after: Lsn) -> Self {
        Self { node, boot, after, at: None }
    }

    /// Everything up to here was read.
    pub fn position(&self) -> Lsn {
        self.after
    }

    /// Blocking. Reads on, up to `limit` and until the records hold `bytes`.
    pub(super) fn read(
        &mut self,
        shared: &Arc<Shared>,
        limit: Lsn,
        bytes: usize,
    ) -> Result<TailPart, LogError> {
        let (segments, uncovered) = {
            let index = shared.index();
            let boot = (self.node, self.boot);
            (index.tail_segments(boot, self.after), index.uncovered(boot))
        };
        let mut reading = Reading { part: TailPart::default(), held: 0, bytes, limit, uncovered };
        for segment in segments {
            if reading.is_full() || self.after >= limit {
                break;
            }
            match self.read_segment(&segment, &mut reading) {
                Ok(()) => {}
                Err(LogError::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound
                        && !shared.index().holds(&segment.path) =>
                {
                    // Covered and deleted since the plan was made.
                    self.pass(segment.last.min(limit));
                }
                // What was read before it is delivered first.
                Err(_) if !reading.part.records.is_empty() => {
                    reading.part.to = self.after;
                    return Ok(reading.part);
                }
                Err(error) => return Err(error),
            }
        }
        if !reading.is_full() && self.after < limit {
            // The rest was covered, and its files are gone.
            self.pass(limit);
        }
        reading.part.to = self.after;
        Ok(reading.part)
    }

    fn pass(&mut self, to: Lsn) {
        self.after = self.after.max(to);
        self.at = None;
    }

    fn read_segment(
        &mut self,
        segment: &TailSegment,
        reading: &mut Reading,
    ) -> Result<(), LogError> {
        let path = &segment.path;
        let mut window = Window::open(path).map_err(LogError::io("open", path))?;
        let start = format::SEGMENT_HEADER as u64;
        let mut offset = match &self.at {
            Some((at, offset)) if at == path => *offset,
            _ => start,
        };
        while !reading.is_full() && self.after < reading.limit {
            let header = window.get(offset, BATCH_HEADER).map_err(LogError::io("read", path))?;
            let Some(batch) = BatchHeader::decode(header, self.boot) else {
                if segment.last <= self.after {
                    return Ok(());
                }
                if !segment.damaged {
                    return Err(self.damaged(segment));
                }
                // The log has said what is missing here; behind it there may be more.
                let next = scan::find_batch(&mut window, offset, (self.boot, self.after))
                    .map_err(LogError::io("read", path))?;
                match next {
                    Some(next) => offset = next,
                    None => {
                        self.pass(segment.last.min(reading.limit));
                        return Ok(());
                    }
                }
                continue;
            };
            if batch.seal || batch.first > reading.limit {
                return Ok(());
            }
            if batch.last() > self.after {
                self.read_batch((&mut window, offset, &batch), segment, reading)?;
                self.after = batch.last();
            }
            offset += batch.span();
            self.at = Some((path.clone(), offset));
        }
        Ok(())
    }

    fn read_batch(
        &self,
        (window, offset, batch): (&mut Window, u64, &BatchHeader),
        segment: &TailSegment,
        reading: &mut Reading,
    ) -> Result<(), LogError> {
        let path = &segment.path;
        let mut at = offset + (BATCH_HEADER + batch.table_bytes()) as u64;
        for index in 0..u64::from(batch.records) {
            let lsn = Lsn(batch.first.0.saturating_add(index));
            let head = window.get(at, RECORD_HEADER).map_err(LogError::io("read", path))?;
            let span = format::record_span(head).unwrap_or(0);
            let bytes = window.get(at, span).map_err(LogError::io("read", path))?;
            let Some(record) = RawRecord::decode(bytes, self.boot, lsn) else {
                // A torn end, or a hole that the log has reported.
                let known = lsn > segment.last || segment.damaged;
                return if known { Ok(()) } else { Err(self.damaged(segment)) };
            };
            let needed = reading.uncovered.get(&record.repl).is_some_and(|first| lsn >= *first);
            if record.kind != KIND_COVERED && lsn > self.after && needed {
                reading.held += span;
                reading.part.records.push(record.to_record(self.node, self.boot)?);
            }
            at += span as u64;
        }
        Ok(())
    }

    /// It was whole when the log was opened.
    fn damaged(&self, segment: &TailSegment) -> LogError {
        LogError::Damaged(Box::new(Damage {
            segment: segment.path.clone(),
            node: self.node,
            boot: self.boot,
            first: Lsn(self.after.0.saturating_add(1)),
            last: segment.last,
            suspects: Suspects::All,
        }))
    }
}

struct Reading {
    part: TailPart,
    held: usize,
    /// A batch that exceeds this is still read as a whole.
    bytes: usize,
    limit: Lsn,
    uncovered: Uncovered,
}

impl Reading {
    fn is_full(&self) -> bool {
        self.held >= self.bytes
    }
}

/// Whether committed manifests cover a repl's records up to `last`, going by
/// [`Log::uncovered`] of their boot.
pub fn is_covered(uncovered: &HashMap<ReplId, Lsn>, repl: ReplId, last: Lsn) -> bool {
    uncovered.get(&repl).is_none_or(|first| *first > last)
}
