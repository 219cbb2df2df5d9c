//! Reads through the segments that earlier boots left and tells a torn end from damage.
//!
//! A crash leaves a torn end: the last batch, never reported durable, is cut somewhere; it is
//! dropped from there on. Anything unreadable *below* a position that something later claims
//! durable (a later batch, the seal, the next segment, the preallocated length) is damage: it is
//! reported with the repls it may concern, and the file stays.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use tandem_proto::{BootId, Lsn, NodeId, ReplId};

use super::format::{
    self, BATCH_HEADER, BatchHeader, HeaderError, KIND_COVERED, RECORD_HEADER, RawRecord,
    SEGMENT_HEADER, SegmentHeader,
};
use super::index::{Index, Segment};
use super::segment::{self, Window};
use super::{Damage, LogError, Suspects};
use crate::position::{self, Positions, merge_positions};

const UNKNOWN_END: Lsn = Lsn(u64::MAX);

/// What the directory holds.
pub(super) struct Scanned {
    pub index: Index,
    /// Files that nobody needs.
    pub unneeded: Vec<PathBuf>,
    /// Segments that a crash left without a seal and with nothing behind their last batch.
    pub unsealed: Vec<Unsealed>,
    pub next_boot_order: u64,
    pub bytes: u64,
}

/// Where a seal belongs.
pub(super) struct Unsealed {
    pub path: PathBuf,
    pub boot: BootId,
    pub next: Lsn,
    pub end: u64,
    pub repls: Vec<(ReplId, Lsn, Lsn)>,
}

pub(super) fn scan(directory: &Path, node: NodeId) -> Result<Scanned, LogError> {
    let mut segments = Vec::new();
    let mut covered = HashMap::new();
    let (mut next_boot_order, mut bytes) = (1, 0);
    for path in segment::list(directory)? {
        let scanned = scan_segment(&path, node, &mut covered)?;
        next_boot_order = next_boot_order.max(scanned.boot_order.saturating_add(1));
        bytes += scanned.length;
        segments.push(scanned);
    }
    let successors: Vec<Option<Lsn>> = segments
        .iter()
        .enumerate()
        .map(|(at, this)| {
            let next = segments.get(at + 1)?;
            (next.segment.boot == this.segment.boot).then_some(next.segment.first)
        })
        .collect();
    let mut index = Index::default();
    let mut unsealed = Vec::new();
    for (scanned, successor) in segments.into_iter().zip(successors) {
        let (next, end) = (scanned.next, scanned.blank_from);
        let (segment, damage) = scanned.judge(successor);
        if let Some(end) = end.filter(|_| !segment.damaged) {
            let spans = segment.repls.iter().map(|(repl, span)| (*repl, span.first, span.last));
            let (path, boot, repls) = (segment.path.clone(), segment.boot, spans.collect());
            unsealed.push(Unsealed { path, boot, next, end, repls });
        }
        index.damage.extend(damage);
        index.segments.push(segment);
    }
    for damage in &index.damage {
        tracing::error!(%damage, suspects = ?damage.suspects, "the log is damaged");
    }
    let mut unneeded = index.take_unneeded();
    for (repl, positions) in covered {
        unneeded.extend(index.cover(repl, &positions));
    }
    unsealed.retain(|segment| !unneeded.contains(&segment.path));
    Ok(Scanned { index, unneeded, unsealed, next_boot_order, bytes })
}

/// A hole found while reading one segment.
struct Hole {
    first: Lsn,
    last: Lsn,
    /// `None`: unknown.
    repls: Option<BTreeSet<ReplId>>,
}

struct ScannedSegment {
    segment: Segment,
    boot_order: u64,
    length: u64,
    /// Holes with something durable behind them.
    holes: Vec<Hole>,
    /// A hole in the last batch, with nothing behind it yet.
    torn: Option<Hole>,
    /// The LSN after the last batch that was found.
    next: Lsn,
    seal: Option<Vec<(ReplId, Lsn, Lsn)>>,
    /// The file ends before its preallocated length without a seal.
    cut: bool,
    /// Not even the header is readable.
    headless: bool,
    /// From here on there is no seal and only zeros.
    blank_from: Option<u64>,
}

impl ScannedSegment {
    fn judge(mut self, successor: Option<Lsn>) -> (Segment, Vec<Damage>) {
        let sealed = self.seal.is_some();
        let end = successor.map_or(UNKNOWN_END, |first| Lsn(first.0.saturating_sub(1)));
        if self.headless {
            self.holes.push(Hole { first: self.segment.first, last: end, repls: None });
        } else if !sealed && (successor.is_some() || self.cut) {
            // What looked like a torn end is not one: more was written after it.
            let torn = self.torn.take();
            let first = torn.as_ref().map_or(self.next, |hole| hole.first);
            let only_torn = torn.as_ref().is_some_and(|hole| hole.last == end);
            if first <= end {
                let repls = torn.filter(|_| only_torn).and_then(|hole| hole.repls);
                self.holes.push(Hole { first, last: end, repls });
            }
        }
        let seal = self.seal.unwrap_or_default();
        let path = self.segment.path.clone();
        let (node, boot) = (self.segment.node, self.segment.boot);
        let nobody =
            |damage: &Damage| matches!(&damage.suspects, Suspects::Only(repls) if repls.is_empty());
        let damage: Vec<Damage> = self
            .holes
            .into_iter()
            .map(|hole| {
                let suspects = match hole.repls {
                    Some(repls) => Suspects::Only(repls),
                    None if sealed => Suspects::Only(
                        seal.iter()
                            .filter(|(_, first, last)| *first <= hole.last && *last >= hole.first)
                            .map(|(repl, _, _)| *repl)
                            .collect(),
                    ),
                    None => Suspects::All,
                };
                let segment = path.clone();
                Damage { segment, node, boot, first: hole.first, last: hole.last, suspects }
            })
            .filter(|damage| !nobody(damage))
            .collect();
        self.segment.damaged = !damage.is_empty();
        (self.segment, damage)
    }
}

fn scan_segment(
    path: &Path,
    node: NodeId,
    covered: &mut HashMap<ReplId, Positions>,
) -> Result<ScannedSegment, LogError> {
    let mut window = Window::open(path).map_err(LogError::io("open", path))?;
    let read = LogError::io("read", path);
    let header = match window.header() {
        Ok(Some(bytes)) => SegmentHeader::decode(&bytes),
        Ok(None) => Err(HeaderError::Damaged),
        Err(error) => return Err(read(error)),
    };
    let named = segment::parse_name(path);
    let header = match (header, named) {
        (Err(HeaderError::Unsupported(version)), _) => {
            return Err(LogError::Unsupported { path: path.to_owned(), version });
        }
        (Ok(header), Some(named)) if named == (header.boot_order, header.boot, header.first) => {
            Some(header)
        }
        _ => None,
    };
    let (order, boot, first) = named.unwrap_or((0, BootId(0), Lsn(0)));
    let mut scanned = ScannedSegment {
        segment: Segment {
            path: path.to_owned(),
            node: header.map_or(node, |header| header.node),
            boot,
            first,
            last: Lsn(first.0.saturating_sub(1)),
            repls: HashMap::new(),
            active: false,
            damaged: false,
        },
        boot_order: order,
        length: window.length,
        holes: Vec::new(),
        torn: None,
        next: first,
        seal: None,
        cut: false,
        headless: header.is_none(),
        blank_from: None,
    };
    if let Some(header) = header {
        scanned.cut = window.length < header.size;
        scanned.read_batches(&mut window, covered).map_err(read)?;
    }
    Ok(scanned)
}

impl ScannedSegment {
    fn read_batches(
        &mut self,
        window: &mut Window,
        covered: &mut HashMap<ReplId, Positions>,
    ) -> io::Result<()> {
        let boot = self.segment.boot;
        let mut offset = SEGMENT_HEADER as u64;
        // Where reading went on behind the last hole.
        let mut resume = 0;
        loop {
            let found = BatchHeader::decode(window.get(offset, BATCH_HEADER)?, boot)
                .filter(|batch| batch.first >= self.next);
            let batch = match found {
                Some(batch) => batch,
                None => match find_batch(window, offset, (boot, self.next))? {
                    Some(at) => {
                        offset = at;
                        continue;
                    }
                    None => {
                        let blank = self.torn.is_none() && is_blank(window, offset)?;
                        self.blank_from = blank.then_some(offset);
                        return Ok(());
                    }
                },
            };
            // This batch proves what came before it.
            if let Some(torn) = self.torn.take() {
                self.holes.push(torn);
                resume = offset;
            }
            if batch.first > self.next {
                let last = Lsn(batch.first.0 - 1);
                self.holes.push(Hole { first: self.next, last, repls: None });
                resume = offset;
            }
            let table_at = offset + BATCH_HEADER as u64;
            let table =
                format::decode_table(&batch, boot, window.get(table_at, batch.table_bytes())?);
            if batch.seal {
                self.next = batch.first;
                self.segment.last = self.segment.last.max(Lsn(batch.first.0.saturating_sub(1)));
                // With a damaged table the seal proves no less, but can't say whose records.
                let unknown = table.is_none() && self.holes.iter().any(|hole| hole.repls.is_none());
                self.seal = if unknown { None } else { Some(table.unwrap_or_default()) };
                if unknown {
                    self.cut = false;
                }
                return Ok(());
            }
            let bad = self.read_records(window, (offset, &batch), (resume, covered))?;
            if let Some(first) = bad {
                let repls = table.map(|table| table.into_iter().map(|(repl, _, _)| repl).collect());
                self.torn = Some(Hole { first, last: batch.last(), repls });
            }
            self.next = Lsn(batch.last().0.saturating_add(1));
            offset += batch.span();
        }
    }

    /// Notes the records of a batch; the first LSN that can't be read, if any.
    fn read_records(
        &mut self,
        window: &mut Window,
        (offset, batch): (u64, &BatchHeader),
        (resume, covered): (u64, &mut HashMap<ReplId, Positions>),
    ) -> io::Result<Option<Lsn>> {
        let boot = self.segment.boot;
        let mut at = offset + (BATCH_HEADER + batch.table_bytes()) as u64;
        let end = at + u64::from(batch.body);
        for index in 0..u64::from(batch.records) {
            let lsn = Lsn(batch.first.0.saturating_add(index));
            let span = match format::record_span(window.get(at, RECORD_HEADER)?) {
                Some(span) if at + span as u64 <= end => span,
                _ => return Ok(Some(lsn)),
            };
            let Some(record) = RawRecord::decode(window.get(at, span)?, boot, lsn) else {
                return Ok(Some(lsn));
            };
            if record.kind == KIND_COVERED {
                if let Some(positions) = position::from_bytes(record.payload) {
                    merge_positions(covered.entry(record.repl).or_default(), &positions);
                }
            } else {
                self.segment.note(record.repl, lsn, offset, resume);
            }
            self.segment.last = lsn;
            at += span as u64;
        }
        Ok(None)
    }
}

/// The next batch of this boot behind `offset` that starts at `next` or later.
pub(super) fn find_batch(
    window: &mut Window,
    offset: u64,
    (boot, next): (BootId, Lsn),
) -> io::Result<Option<u64>> {
    const STEP: usize = 64 * 1024;
    let mut at = offset + 8;
    while at < window.length {
        // The preallocated rest was never written and is not worth reading.
        at = match window.next_data(at)? {
            Some(data) => at.max(data - data % 8),
            None => return Ok(None),
        };
        let bytes = window.get(at, STEP + BATCH_HEADER)?;
        for start in (0..STEP.min(bytes.len())).step_by(8) {
            let candidate = &bytes[start..];
            if format::may_start_batch(candidate)
                && BatchHeader::decode(candidate, boot).is_some_and(|batch| batch.first >= next)
            {
                return Ok(Some(at + start as u64));
            }
        }
        at += STEP as u64;
    }
    Ok(None)
}

/// Whether only zeros follow.
fn is_blank(window: &mut Window, offset: u64) -> io::Result<bool> {
    const STEP: usize = 64 * 1024;
    let mut at = offset;
    while at < window.length {
        at = match window.next_data(at)? {
            Some(data) => data,
            None => return Ok(true),
        };
        if window.get(at, STEP)?.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += STEP as u64;
    }
    Ok(true)
}
