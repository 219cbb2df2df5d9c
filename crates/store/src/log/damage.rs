//! What was durable once and can't be read.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tandem_proto::{BootId, Lsn, NodeId, ReplId};

/// Which repls may have lost records in a damaged range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suspects {
    /// Any that has no manifest which covers the range.
    All,
    /// These.
    Only(BTreeSet<ReplId>),
}

/// A range of records that were durable and can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file. Moving it out of the directory accepts the loss.
    pub segment: PathBuf,
    /// Whose log.
    pub node: NodeId,
    /// Which start.
    pub boot: BootId,
    /// First lost record.
    pub first: Lsn,
    /// Last record that may be lost; `u64::MAX` when that is unknown.
    pub last: Lsn,
    /// Whose records.
    pub suspects: Suspects,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let file = self.segment.display();
        if self.last.0 == u64::MAX {
            write!(f, "records from {} on in {file} can't be read", self.first)
        } else {
            write!(f, "records {} to {} in {file} can't be read", self.first, self.last)
        }
    }
}
