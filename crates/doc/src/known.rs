//! What a document has seen: our own state vector and deleted ranges, kept up to date with
//! work that grows with each update, so that the gate and the question "does this bring
//! anything new" never walk the document.

use std::collections::HashMap;

use crate::lib0::write_number;
use crate::ranges::Ranges;
use crate::scan::{Deletion, Id, Run, Scan};
use crate::yrs_door::Effect;

/// Clocks and deleted ranges by client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    clocks: HashMap<u64, u32>,
    deleted: HashMap<u64, Ranges>,
    /// Ranges that hold a GC block. A stock client's text never makes any, and nothing may
    /// build on them: Yjs and yrs disagree about where such a block would go.
    collected: HashMap<u64, Ranges>,
}

impl Known {
    /// The first unknown clock of a client.
    pub(crate) fn clock(&self, client: u64) -> u32 {
        self.clocks.get(&client).copied().unwrap_or(0)
    }

    pub(crate) fn has_client(&self, client: u64) -> bool {
        self.clocks.contains_key(&client)
    }

    pub(crate) fn clients(&self) -> usize {
        self.clocks.len()
    }

    pub(crate) fn is_collected(&self, id: Id) -> bool {
        self.collected.get(&id.client).is_some_and(|ranges| ranges.contains(id.clock))
    }

    pub(crate) fn has_collected(&self) -> bool {
        !self.collected.is_empty()
    }

    /// Whether a scanned update brings nothing that is not known.
    pub(crate) fn covers(&self, scan: &Scan) -> bool {
        self.covers_blocks(scan) && scan.deletions.iter().all(|deletion| self.is_deleted(deletion))
    }

    pub(crate) fn covers_blocks(&self, scan: &Scan) -> bool {
        scan.runs.iter().all(|run| run.end <= self.clock(run.client))
    }

    /// How many clocks a scanned update brings.
    pub(crate) fn new_clocks(&self, scan: &Scan) -> u64 {
        let new = |run: &Run| run.end.saturating_sub(run.start.max(self.clock(run.client)));
        scan.runs.iter().map(|run| u64::from(new(run))).sum()
    }

    /// How many of a scanned update's deletions are new.
    pub(crate) fn new_deletions(&self, scan: &Scan) -> usize {
        scan.deletions.iter().filter(|deletion| !self.is_deleted(deletion)).count()
    }

    fn is_deleted(&self, deletion: &Deletion) -> bool {
        self.deleted
            .get(&deletion.client)
            .is_some_and(|ranges| ranges.covers(deletion.start..deletion.end))
    }

    /// The parts of a deletion that are new.
    pub(crate) fn not_deleted(&self, deletion: &Deletion) -> Vec<std::ops::Range<u32>> {
        let range = deletion.start..deletion.end;
        match self.deleted.get(&deletion.client) {
            Some(ranges) => ranges.missing(range),
            None => vec![range],
        }
    }

    /// Takes in what a transaction did.
    pub(crate) fn note(&mut self, effect: &Effect) {
        for (client, range) in &effect.inserted {
            self.advance(*client, range.end);
        }
        for (client, range) in &effect.deleted {
            self.delete(*client, range.clone());
        }
    }

    pub(crate) fn advance(&mut self, client: u64, end: u32) {
        let clock = self.clocks.entry(client).or_insert(0);
        *clock = end.max(*clock);
    }

    pub(crate) fn delete(&mut self, client: u64, range: std::ops::Range<u32>) {
        self.deleted.entry(client).or_default().insert(range);
    }

    pub(crate) fn collect(&mut self, client: u64, range: std::ops::Range<u32>) {
        self.collected.entry(client).or_default().insert(range);
    }

    /// The state vector in the v1 encoding, in the order of the client ids.
    pub(crate) fn encode_state_vector(&self) -> Vec<u8> {
        let mut clocks: Vec<_> = self.clocks.iter().collect();
        clocks.sort_unstable();
        let mut out = Vec::with_capacity(2 + clocks.len() * 10);
        write_number(&mut out, clocks.len() as u64);
        for (&client, &clock) in clocks {
            write_number(&mut out, client);
            write_number(&mut out, u64::from(clock));
        }
        out
    }
}
