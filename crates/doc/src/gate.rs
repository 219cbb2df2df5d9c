//! The causal gate: an update is applied only when everything it builds on is known.
//!
//! yrs keeps what it cannot integrate yet and gives a wrong text in a small share of runs when
//! it integrates it later. So an update that starts after a hole, builds on an unknown block,
//! deletes something unknown or contains a skipped range is not applied at all; the caller
//! asks the peer for its full difference instead. Work grows with the update only.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::known::Known;
use crate::ranges::Ranges;
use crate::scan::{Id, Scan, ScanError};

/// Why an update does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// Something it builds on is not known.
    Gap,
    /// It can never be applied.
    Malformed(ScanError),
}

/// Part of a run that can be applied when all parts before it were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// Index in [`Scan::runs`].
    pub(crate) run: usize,
    pub(crate) from: u32,
    pub(crate) to: u32,
}

/// Whether a scanned update can be applied to a document that has seen `known`, and in which
/// order.
pub(crate) fn admit(scan: &Scan, known: &Known) -> Result<Vec<Part>, Held> {
    if scan.has_skip {
        return Err(Held::Gap);
    }
    if scan.runs.iter().any(|run| run.start > known.clock(run.client)) {
        return Err(Held::Gap);
    }
    if (known.has_collected() || !scan.collected.is_empty()) && builds_on_collected(scan, known) {
        return Err(Held::Malformed(ScanError::Collected));
    }
    let parts = order(scan, known)?;
    let ends: HashMap<u64, u32> = scan.runs.iter().map(|run| (run.client, run.end)).collect();
    for deletion in &scan.deletions {
        let in_update = ends.get(&deletion.client).copied().unwrap_or(0);
        if deletion.end > known.clock(deletion.client).max(in_update) {
            return Err(Held::Gap);
        }
    }
    Ok(parts)
}

/// Whether any block builds on a GC block, of the document or of the update itself.
fn builds_on_collected(scan: &Scan, known: &Known) -> bool {
    let mut collected: HashMap<u64, Ranges> = HashMap::new();
    for range in &scan.collected {
        collected.entry(range.client).or_default().insert(range.start..range.end);
    }
    let mut origins = scan.dependencies.iter().map(|dependency| dependency.on);
    let mut own = scan.own_origins.iter().copied();
    let is_collected = |id: Id| {
        known.is_collected(id)
            || collected.get(&id.client).is_some_and(|ranges| ranges.contains(id.clock))
    };
    // A block known in part builds on its own known end.
    let mut ends = scan.runs.iter().filter_map(|run| {
        let clock = known.clock(run.client);
        let is_cut = run.start < clock && clock < run.end;
        is_cut.then(|| Id { client: run.client, clock: clock - 1 })
    });
    origins.any(is_collected) || own.any(is_collected) || ends.any(is_collected)
}

/// Finds an order in which all blocks have what they build on, or says that there is none.
/// Each run goes as far as it can; a run that needs another run's later block waits for it.
fn order(scan: &Scan, known: &Known) -> Result<Vec<Part>, Held> {
    let index: HashMap<u64, usize> =
        scan.runs.iter().enumerate().map(|(at, run)| (run.client, at)).collect();
    let mut reached: Vec<u32> = scan.runs.iter().map(|run| known.clock(run.client)).collect();
    let mut next: Vec<usize> = scan.runs.iter().map(|run| run.dependencies.start).collect();
    let mut waiting: Vec<BinaryHeap<Reverse<(u32, usize)>>> =
        vec![BinaryHeap::new(); scan.runs.len()];
    let mut ready: Vec<usize> = (0..scan.runs.len()).collect();
    let mut finished = 0;
    let mut parts = Vec::new();
    while let Some(at) = ready.pop() {
        let run = &scan.runs[at];
        let mut blocked = false;
        let from = reached[at];
        while next[at] < run.dependencies.end {
            let dependency = scan.dependencies[next[at]];
            let other = index.get(&dependency.on.client).copied();
            let known_to = match other {
                Some(other) => reached[other],
                None => known.clock(dependency.on.client),
            };
            if dependency.on.clock < known_to {
                next[at] += 1;
                continue;
            }
            match other {
                Some(other) if dependency.on.clock < scan.runs[other].end => {
                    waiting[other].push(Reverse((dependency.on.clock, at)));
                }
                _ => return Err(Held::Gap),
            }
            reached[at] = reached[at].max(dependency.clock);
            blocked = true;
            break;
        }
        if !blocked {
            reached[at] = reached[at].max(run.end);
            finished += 1;
        }
        if from < reached[at] {
            parts.push(Part { run: at, from, to: reached[at] });
        }
        while let Some(&Reverse((clock, waiter))) = waiting[at].peek()
            && clock < reached[at]
        {
            waiting[at].pop();
            ready.push(waiter);
        }
    }
    if finished == scan.runs.len() { Ok(parts) } else { Err(Held::Malformed(ScanError::Circular)) }
}

#[cfg(test)]
mod tests;
