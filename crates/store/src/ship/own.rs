//! The chunks this process stored: when the log's own index knows them covered, they go, and no
//! manifest need be read for it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tandem_proto::{BootId, Lsn, NodeId, ReplId};

use super::chunk::ChunkIndex;
use crate::log::{Log, is_covered};

#[derive(Debug)]
struct OwnChunk {
    key: String,
    boot: (NodeId, BootId),
    /// The last record of each repl that was not yet covered when it was looked at.
    lasts: Vec<(ReplId, Lsn)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct OwnChunks {
    chunks: Mutex<Vec<OwnChunk>>,
}

impl OwnChunks {
    fn chunks(&self) -> MutexGuard<'_, Vec<OwnChunk>> {
        // A list of finished entries: no code under this lock leaves it half changed.
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A chunk was stored.
    pub fn add(&self, key: String, index: &ChunkIndex) {
        let lasts = index.repls.iter().map(|group| (group.repl, group.last)).collect();
        self.chunks().push(OwnChunk { key, boot: (index.node, index.boot), lasts });
    }

    /// Deleting it did not work.
    pub fn put_back(&self, keys: impl Iterator<Item = String>, boot: (NodeId, BootId)) {
        let back = keys.map(|key| OwnChunk { key, boot, lasts: Vec::new() });
        self.chunks().extend(back);
    }

    /// Takes out the keys of the chunks that nobody needs any more.
    pub fn take_covered(&self, log: &Log) -> Vec<String> {
        let mut known: HashMap<(NodeId, BootId), HashMap<ReplId, Lsn>> = HashMap::new();
        let mut keys = Vec::new();
        self.chunks().retain_mut(|chunk| {
            let uncovered = known.entry(chunk.boot).or_insert_with(|| log.uncovered(chunk.boot));
            chunk.lasts.retain(|(repl, last)| !is_covered(uncovered, *repl, *last));
            if chunk.lasts.is_empty() {
                keys.push(std::mem::take(&mut chunk.key));
                return false;
            }
            true
        });
        keys
    }
}
