//! Reading what other boots shipped, for recovery.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tandem_proto::{BootId, NodeId, ReplId};
use tokio::sync::OnceCell;

use super::chunk::{self, ChunkIndex};
use super::{ChunkKey, NODES, shipper};
use crate::blob::{BlobStore, ObjectInfo};
use crate::log::Record;
use crate::object::ObjectError;
use crate::position::Positions;

/// Chunks that are read at once.
const PARALLEL: usize = 8;
/// Contents that are kept, so that a thousand repls of one lost machine read each chunk about
/// once.
const KEPT_BYTES: usize = 64 * 1024 * 1024;

/// The shipped logs of all boots but one's own.
#[derive(Debug)]
pub struct ShippedLogs {
    blobs: Arc<dyn BlobStore>,
    own: (NodeId, BootId),
    listing: tokio::sync::Mutex<Option<Listing>>,
    cache: Mutex<Cache>,
}

#[derive(Debug, Clone)]
pub(super) struct Listing {
    began: Instant,
    /// Chunks of other boots.
    pub chunks: Arc<Vec<Listed>>,
    /// Everything else under `nodes/`.
    pub others: Arc<Vec<ObjectInfo>>,
}

#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub info: ObjectInfo,
    pub key: ChunkKey,
}

/// Indexes of chunks that are still listed, and contents as far as there is room.
#[derive(Debug, Default)]
struct Cache {
    indexes: HashMap<String, Arc<OnceCell<Option<Arc<ChunkIndex>>>>>,
    /// Oldest first.
    contents: VecDeque<(String, Bytes)>,
    bytes: usize,
}

impl ShippedLogs {
    /// Reads from `blobs` and leaves out the boot `own`.
    pub fn new(blobs: Arc<dyn BlobStore>, own: (NodeId, BootId)) -> Self {
        Self { blobs, own, listing: tokio::sync::Mutex::default(), cache: Mutex::default() }
    }

    /// The records of a repl that other boots shipped, above those positions, each once, in the
    /// order of (epoch, node, boot, LSN). Earlier boots of the own node are among them: what the
    /// own log still holds comes here again.
    ///
    /// # Errors
    /// See [`ObjectError`]. A chunk that can't be read is an error for every repl that may have
    /// records in it; moving that object away accepts the loss.
    pub async fn records(
        &self,
        repl: ReplId,
        above: &Positions,
    ) -> Result<Vec<Record>, ObjectError> {
        let listing = self.list().await?;
        let wanted: Vec<String> = listing
            .chunks
            .iter()
            .filter(|listed| {
                let boot = (listed.key.node, listed.key.boot);
                above.get(&boot).is_none_or(|covered| listed.key.to > *covered)
            })
            .map(|listed| listed.info.key.clone())
            .collect();
        let mut records: Vec<Record> = stream::iter(wanted)
            .map(|key| self.records_of(key, repl))
            .buffered(PARALLEL)
            .try_concat()
            .await?;
        records.retain(|record| {
            above.get(&(record.node, record.boot)).is_none_or(|covered| record.lsn > *covered)
        });
        records.sort_by_key(|record| (record.epoch, record.node, record.boot, record.lsn));
        records.dedup_by_key(|record| (record.node, record.boot, record.lsn));
        Ok(records)
    }

    async fn records_of(&self, key: String, repl: ReplId) -> Result<Vec<Record>, ObjectError> {
        let key = &*key;
        let Some(index) = self.index(key).await? else { return Ok(Vec::new()) };
        let Some(group) = index.group(repl) else { return Ok(Vec::new()) };
        let kept = self.cache().content(key);
        let content = match kept {
            Some(content) => content,
            None => match self.fetch(key).await? {
                Some(content) => content,
                None => return Ok(Vec::new()),
            },
        };
        chunk::decode_group(key, (&content, &index), group)
    }

    /// `None`: it was deleted meanwhile, because manifests cover it.
    pub(super) async fn index(&self, key: &str) -> Result<Option<Arc<ChunkIndex>>, ObjectError> {
        let cell = self.cache().indexes.entry(key.to_owned()).or_default().clone();
        let index = cell
            .get_or_try_init(|| async {
                match self.fetch(key).await? {
                    Some(content) => chunk::decode_index(key, &content).map(Arc::new).map(Some),
                    None => Ok(None),
                }
            })
            .await?;
        Ok(index.clone())
    }

    async fn fetch(&self, key: &str) -> Result<Option<Bytes>, ObjectError> {
        if let Some(content) = shipper::get(&*self.blobs, key).await? {
            self.cache().keep(key, content.clone());
            return Ok(Some(content));
        }
        // Gone because it is covered, or gone though it is still promised?
        let folder = super::log_folder(match ChunkKey::parse(key) {
            Some(key) => (key.node, key.boot),
            None => return Ok(None),
        });
        let listed = self.blobs.list(&folder).await?;
        match listed.iter().any(|info| info.key == key) {
            true => Err(ObjectError::Missing { key: key.to_owned() }),
            false => Ok(None),
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // Each change under this lock is complete in itself.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there now. Callers that come while one lists share the next listing.
    pub(super) async fn list(&self) -> Result<Listing, ObjectError> {
        let asked = Instant::now();
        let mut slot = self.listing.lock().await;
        if let Some(listing) = slot.as_ref().filter(|listing| listing.began >= asked) {
            return Ok(listing.clone());
        }
        let began = Instant::now();
        let (mut chunks, mut others) = (Vec::new(), Vec::new());
        for info in self.blobs.list(NODES).await? {
            match ChunkKey::parse(&info.key) {
                Some(key) if (key.node, key.boot) != self.own => chunks.push(Listed { info, key }),
                Some(_) => {}
                None => others.push(info),
            }
        }
        self.cache().forget_all_but(&chunks);
        let listing = Listing { began, chunks: Arc::new(chunks), others: Arc::new(others) };
        *slot = Some(listing.clone());
        Ok(listing)
    }

    pub(super) fn blobs(&self) -> &Arc<dyn BlobStore> {
        &self.blobs
    }

    pub(super) fn own(&self) -> (NodeId, BootId) {
        self.own
    }
}

impl Cache {
    fn content(&self, key: &str) -> Option<Bytes> {
        self.contents.iter().find(|(held, _)| held == key).map(|(_, content)| content.clone())
    }

    fn keep(&mut self, key: &str, content: Bytes) {
        if content.len() > KEPT_BYTES / 2 || self.contents.iter().any(|(held, _)| held == key) {
            return;
        }
        self.bytes += content.len();
        self.contents.push_back((key.to_owned(), content));
        while self.bytes > KEPT_BYTES
            && let Some((_, oldest)) = self.contents.pop_front()
        {
            self.bytes -= oldest.len();
        }
    }

    fn forget_all_but(&mut self, chunks: &[Listed]) {
        let listed: HashSet<&str> = chunks.iter().map(|chunk| &*chunk.info.key).collect();
        self.indexes.retain(|key, _| listed.contains(key.as_str()));
        self.contents.retain(|(key, _)| listed.contains(key.as_str()));
        self.bytes = self.contents.iter().map(|(_, content)| content.len()).sum();
    }
}
