//! Which segment holds records of which repl: a few bytes per repl and 64 KiB of log, never
//! the records themselves. A repl that is not in the log costs nothing.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use tandem_proto::{BootId, Lsn, NodeId, ReplId};

use super::{Damage, Suspects};
use crate::position::{Positions, merge_positions};

/// Granularity of [`Span::starts`].
const BLOCK: u64 = 64 * 1024;

/// Where one repl's records lie in one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub first: Lsn,
    pub last: Lsn,
    /// Offset of the first batch with its records in each block that has any.
    pub starts: Vec<u32>,
}

/// One file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    pub path: PathBuf,
    pub node: NodeId,
    pub boot: BootId,
    pub first: Lsn,
    /// Last record known to be whole; below `first` when there is none.
    pub last: Lsn,
    pub repls: HashMap<ReplId, Span>,
    /// The writer still appends to it.
    pub active: bool,
    /// Kept until a person has looked.
    pub damaged: bool,
}

impl Segment {
    /// Notes a record. A reader can't pass a hole, so what lies from `resume` on, the end of
    /// the last hole, needs a start of its own.
    pub fn note(&mut self, repl: ReplId, lsn: Lsn, batch: u64, resume: u64) {
        let offset = batch.min(u64::from(u32::MAX)) as u32;
        let span = self.repls.entry(repl).or_insert_with(|| Span {
            first: lsn,
            last: lsn,
            starts: Vec::with_capacity(1),
        });
        span.last = lsn;
        match span.starts.last() {
            Some(&start) if start == offset => {}
            Some(&start)
                if u64::from(start) >= resume && u64::from(start) / BLOCK == batch / BLOCK => {}
            _ => span.starts.push(offset),
        }
    }

    /// End of the block that `start` opens.
    pub fn block_end(start: u32) -> u64 {
        (u64::from(start) / BLOCK + 1) * BLOCK
    }
}

/// What is in the directory.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// In the order of writing.
    pub segments: Vec<Segment>,
    pub damage: Vec<Damage>,
    covered: HashMap<ReplId, Positions>,
}

/// One range to read for a replay.
#[derive(Debug, Clone)]
pub(super) struct ReadSpan {
    pub path: PathBuf,
    pub node: NodeId,
    pub boot: BootId,
    pub segment_last: Lsn,
    pub span: Span,
    /// Records up to here are covered.
    pub after: Lsn,
    /// Holes of this boot that are known.
    pub holes: Vec<(Lsn, Lsn)>,
}

/// For each repl the first of its records that no committed manifest is known to cover.
pub(super) type Uncovered = HashMap<ReplId, Lsn>;

/// One file of a [`super::Tail`].
#[derive(Debug, Clone)]
pub(super) struct TailSegment {
    pub path: PathBuf,
    pub last: Lsn,
    pub damaged: bool,
}

impl Index {
    /// The files of one boot that may hold records above `after`, in the order of writing.
    pub fn tail_segments(&self, (node, boot): (NodeId, BootId), after: Lsn) -> Vec<TailSegment> {
        self.segments
            .iter()
            .filter(|segment| segment.node == node && segment.boot == boot)
            .filter(|segment| segment.last > after)
            .map(|segment| TailSegment {
                path: segment.path.clone(),
                last: segment.last,
                damaged: segment.damaged,
            })
            .collect()
    }

    /// The boots with uncovered records, in the order of writing.
    pub fn boots(&self) -> Vec<(NodeId, BootId)> {
        let mut boots: Vec<(NodeId, BootId)> = self
            .segments
            .iter()
            .filter(|segment| !segment.repls.is_empty())
            .map(|segment| (segment.node, segment.boot))
            .collect();
        boots.dedup();
        boots
    }

    /// The last record of a boot that was found.
    pub fn last_of(&self, (node, boot): (NodeId, BootId)) -> Lsn {
        self.segments
            .iter()
            .filter(|segment| segment.node == node && segment.boot == boot)
            .map(|segment| segment.last)
            .max()
            .unwrap_or_default()
    }

    /// Of one boot. What is not in it is covered.
    pub fn uncovered(&self, (node, boot): (NodeId, BootId)) -> Uncovered {
        let mut uncovered = Uncovered::new();
        let of_boot =
            self.segments.iter().filter(|segment| segment.node == node && segment.boot == boot);
        for (repl, span) in of_boot.flat_map(|segment| &segment.repls) {
            let first = uncovered.entry(*repl).or_insert(span.first);
            *first = (*first).min(span.first);
        }
        for (repl, first) in &mut uncovered {
            if let Some(covered) = self.covered_to(*repl, node, boot) {
                *first = (*first).max(Lsn(covered.0.saturating_add(1)));
            }
        }
        uncovered
    }

    pub fn repls(&self) -> Vec<ReplId> {
        let repls: BTreeSet<ReplId> =
            self.segments.iter().flat_map(|segment| segment.repls.keys().copied()).collect();
        repls.into_iter().collect()
    }

    pub fn has(&self, repl: ReplId) -> bool {
        self.segments.iter().any(|segment| segment.repls.contains_key(&repl))
    }

    /// Whether a file still counts.
    pub fn holds(&self, path: &Path) -> bool {
        self.segments.iter().any(|segment| segment.path == path)
    }

    fn covered_to(&self, repl: ReplId, node: NodeId, boot: BootId) -> Option<Lsn> {
        self.covered.get(&repl)?.get(&(node, boot)).copied()
    }

    /// The first damage that may have swallowed records which no manifest of `repl` covers.
    pub fn damage_of(&self, repl: ReplId) -> Option<&Damage> {
        self.damage.iter().find(|damage| {
            let suspect = match &damage.suspects {
                Suspects::All => true,
                Suspects::Only(repls) => repls.contains(&repl),
            };
            suspect
                && self
                    .covered_to(repl, damage.node, damage.boot)
                    .is_none_or(|covered| covered < damage.last)
        })
    }

    pub fn plan(&self, repl: ReplId) -> Vec<ReadSpan> {
        let spans = self.segments.iter().filter_map(|segment| {
            let span = segment.repls.get(&repl)?.clone();
            let (node, boot) = (segment.node, segment.boot);
            let holes = self
                .damage
                .iter()
                .filter(|damage| damage.boot == boot && damage.node == node)
                .map(|damage| (damage.first, damage.last))
                .collect();
            Some(ReadSpan {
                path: segment.path.clone(),
                node,
                boot,
                segment_last: segment.last,
                span,
                after: self.covered_to(repl, node, boot).unwrap_or_default(),
                holes,
            })
        });
        spans.collect()
    }

    /// Notes what committed manifests cover; gives back the files nobody needs any more.
    pub fn cover(&mut self, repl: ReplId, positions: &Positions) -> Vec<PathBuf> {
        for segment in &mut self.segments {
            let Some(&covered) = positions.get(&(segment.node, segment.boot)) else { continue };
            if segment.repls.get(&repl).is_some_and(|span| span.last <= covered) {
                segment.repls.remove(&repl);
            }
        }
        let here: Positions = positions
            .iter()
            .filter(|((node, boot), _)| {
                self.segments.iter().any(|segment| segment.node == *node && segment.boot == *boot)
            })
            .map(|(boot, lsn)| (*boot, *lsn))
            .collect();
        if !here.is_empty() {
            merge_positions(self.covered.entry(repl).or_default(), &here);
        }
        // What is covered matters only while there are records or damage that it could excuse.
        if self.damage.is_empty() && !self.has(repl) {
            self.covered.remove(&repl);
        }
        self.take_unneeded()
    }

    /// Forgets the finished segments without any uncovered record.
    pub fn take_unneeded(&mut self) -> Vec<PathBuf> {
        let mut unneeded = Vec::new();
        self.segments.retain(|segment| {
            let keep = segment.active || segment.damaged || !segment.repls.is_empty();
            if !keep {
                unneeded.push(segment.path.clone());
            }
            keep
        });
        unneeded
    }

    pub fn active(&mut self) -> Option<&mut Segment> {
        self.segments.last_mut().filter(|segment| segment.active)
    }
}
