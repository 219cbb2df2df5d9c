//! The log on its way to the blob store: records of all repls as immutable chunks, at most one
//! object a second, so that a machine that is lost for good takes at most its last second along.
//!
//! ```text
//! nodes/<node>/<boot>/log/<from>-<to>.<random>   a chunk: records from..=to of one boot
//! nodes/<node>/<boot>/alive/<n>.<random>         a sign of life, see [`crate::alive`]
//! ```
//! A chunk is deleted only when a *committed* manifest of each repl in it covers its records.

mod chunk;
mod clean;
mod own;
mod read;
mod shipper;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tandem_proto::{BootId, Lsn, NodeId};

pub use clean::{Cleaned, Committed, delete_covered};
pub use read::ShippedLogs;
pub use shipper::Shipper;

use crate::object;

/// Largest content of a chunk that is read. One record may be as large as the log takes it.
const MAX_CHUNK_BYTES: usize = 64 * 1024 * 1024;

/// Times and sizes of shipping.
#[derive(Debug, Clone)]
pub struct ShipOptions {
    /// From the first unshipped record to its chunk, and the least time between two chunks.
    pub interval: Duration,
    /// So many unshipped bytes are not kept waiting for [`ShipOptions::interval`], which still
    /// separates two chunks.
    pub early_bytes: u64,
    /// About the largest chunk: a backlog goes in several.
    pub chunk_bytes: usize,
    /// A try without an answer for this long gets company: one stuck connection must not hold
    /// everybody's edits back.
    pub hedge: Duration,
    /// How long all of them may take.
    pub attempt: Duration,
    /// Longest pause between two tries.
    pub max_backoff: Duration,
    /// Between looks for chunks that are covered.
    pub clean_every: Duration,
    /// Between looks for what dead boots left.
    pub housekeep_every: Duration,
}

impl Default for ShipOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            early_bytes: 1024 * 1024,
            chunk_bytes: 8 * 1024 * 1024,
            hedge: Duration::from_secs(4),
            attempt: Duration::from_secs(20),
            max_backoff: Duration::from_secs(10),
            clean_every: Duration::from_secs(5),
            housekeep_every: Duration::from_secs(300),
        }
    }
}

/// How shipping stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShipState {
    /// Why the last try failed, in words for the operator; `None` while it works.
    pub error: Option<String>,
    /// Since when the oldest unshipped record waits, in milliseconds since the Unix epoch.
    pub waiting_since_ms: Option<u64>,
    /// Chunks stored since the start.
    pub puts: u64,
    /// Their stored length.
    pub bytes: u64,
    /// Chunks deleted since the start.
    pub deleted: u64,
}

/// What a chunk's key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ChunkKey {
    node: NodeId,
    boot: BootId,
    from: Lsn,
    to: Lsn,
}

const NODES: &str = "nodes/";

/// Where the chunks of a boot are.
pub fn log_folder((node, boot): (NodeId, BootId)) -> String {
    format!("{NODES}{node}/{boot}/log/")
}

impl ChunkKey {
    /// A key that was never used.
    fn unique(&self) -> String {
        let folder = log_folder((self.node, self.boot));
        format!("{folder}{}-{}.{}", self.from, self.to, object::suffix())
    }

    /// `nodes/<node>/<boot>/log/<from>-<to>.<random>`.
    fn parse(key: &str) -> Option<Self> {
        let mut parts = key.strip_prefix(NODES)?.split('/');
        let node = parts.next()?.parse().ok()?;
        let boot = parts.next()?.parse().ok()?;
        if parts.next()? != "log" {
            return None;
        }
        let (range, _) = parts.next()?.split_once('.')?;
        let (from, to) = range.split_once('-')?;
        let (from, to) = (Lsn(from.parse().ok()?), Lsn(to.parse().ok()?));
        (parts.next().is_none() && from <= to).then_some(Self { node, boot, from, to })
    }
}
