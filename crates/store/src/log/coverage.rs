//! What committed manifests are known to cover, beyond this log's own files.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tandem_proto::{BootId, NodeId, ReplId};

use super::Log;
use crate::position::Positions;

/// Positions of other boots, for the repls that were opened since the start: whoever knows that
/// they are covered may delete what those boots shipped.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    repls: Mutex<HashMap<ReplId, Positions>>,
}

impl Elsewhere {
    /// Notes the newest manifest's positions, without those of the boot `own`.
    pub fn note(&self, repl: ReplId, positions: &Positions, own: (NodeId, BootId)) {
        let others: Positions = positions
            .iter()
            .filter(|(boot, _)| **boot != own)
            .map(|(boot, lsn)| (*boot, *lsn))
            .collect();
        let mut repls = self.repls.lock().unwrap_or_else(PoisonError::into_inner);
        match others.is_empty() {
            true => drop(repls.remove(&repl)),
            false => drop(repls.insert(repl, others)),
        }
    }

    fn get(&self, repl: ReplId) -> Option<Positions> {
        self.repls.lock().unwrap_or_else(PoisonError::into_inner).get(&repl).cloned()
    }
}

impl Log {
    /// What the newest committed manifest of a repl covers of other boots, as far as
    /// [`Log::covered`] was told since the start.
    pub fn covered_elsewhere(&self, repl: ReplId) -> Option<Positions> {
        self.elsewhere.get(repl)
    }

    /// A repl was deleted for good: nobody needs its records.
    pub async fn forget(&self, repl: ReplId) {
        // What still queues would come into the index afterwards. When the disk takes it not, its
        // file waits for the next start, which finds no such repl.
        if let Err(error) = self.flush().await {
            tracing::debug!(%repl, %error, "forgetting a repl while the log takes nothing");
        }
        let mut all = self.horizon();
        all.insert((self.node, self.boot), self.current());
        self.covered(repl, &all);
    }
}
