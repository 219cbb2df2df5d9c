//! The objects of one repl. All keys are unique or named by their content; nothing is ever
//! overwritten, and nothing is deleted but by [`ReplStore::sweep`] and [`ReplStore::delete_all`].
//!
//! ```text
//! repls/<repl>/e<epoch>/s/<file>/<generation>-<lsn>.<random>   snapshot
//! repls/<repl>/e<epoch>/m/<seq>.<random>                       manifest
//! repls/<repl>/e<epoch>/o/<random>                             who opened it at this epoch
//! repls/<repl>/meta/<seq>.<random>                             catalogue record
//! repls/<repl>/b/<blake3>                                      blob or bundle of small files
//! repls/<repl>/h/<from>-<to>.<random>                          history pack
//! repls/<repl>/t/<terminal>/<from>-<to>.<random>               scrollback
//! ```

mod blobs;
mod catalogue;
mod claim;
mod history;
mod manifest;
mod named;
mod snapshots;
mod sweep;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tandem_proto::{Epoch, ReplId, TerminalId};

use crate::blob::BlobStore;
use crate::object::{self, ObjectError, ObjectKind};
pub use blobs::{BlobReader, BlobRef};
pub use catalogue::{Catalogue, CatalogueRecord, StoredLink, StoredMember, load_catalogue};
pub use claim::{Beside, Branch, join_lineage};
pub use history::{
    Authors, Grain, HistoryPack, PackedBase, PackedEdit, PackedFile, StoredPack, WrittenRun,
};
pub use manifest::{
    Content, Eol, Manifest, NodeKind, StoredCheckpoint, StoredDocument, StoredFolder, StoredRun,
    StoredTerminal, TreeNode,
};
pub use named::Kept;
pub use snapshots::{NewSnapshot, Snapshot, SnapshotIndex, SnapshotKey, Snapshots};
pub use sweep::Swept;

/// Serialising a larger tree leaves the runtime's threads.
const LARGE_TREE: usize = 1_000;

/// One repl's part of a blob store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReplStore {
    blobs: Arc<dyn BlobStore>,
    repl: ReplId,
    /// `repls/<repl>/`.
    folder: Arc<str>,
    puts: Arc<Puts>,
}

/// Stores of content under its hash, which may be there already, old and unnamed: a sweep that
/// overlaps one of them removes nothing.
#[derive(Debug, Default)]
struct Puts {
    /// Held shared while storing, alone while removing.
    gate: tokio::sync::RwLock<()>,
    count: std::sync::atomic::AtomicU64,
}

/// A repl's newest saved state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its key.
    pub key: String,
    /// What it says.
    pub manifest: Manifest,
    /// Keys of corrupt manifests that would come before it. Changes of the tree after this
    /// manifest may be lost: show it.
    pub damaged: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Scrollback {
    from: u64,
    bytes: Bytes,
}

impl ReplStore {
    /// The part of `repl` in `blobs`.
    pub fn new(blobs: Arc<dyn BlobStore>, repl: ReplId) -> Self {
        Self { blobs, repl, folder: format!("repls/{repl}/").into(), puts: Arc::default() }
    }

    /// Whose part.
    pub fn repl(&self) -> ReplId {
        self.repl
    }

    fn folder(&self) -> &str {
        &self.folder
    }

    pub(crate) fn blobs(&self) -> &dyn BlobStore {
        &*self.blobs
    }

    pub(crate) fn check_own(&self, key: &str) -> Result<(), ObjectError> {
        match key.starts_with(self.folder()) {
            true => Ok(()),
            false => Err(ObjectError::Foreign { key: key.to_owned() }),
        }
    }

    /// Stores a manifest and says its key.
    ///
    /// # Errors
    /// See [`ObjectError`]; [`ObjectError::Foreign`] for a manifest of another repl.
    pub async fn put_manifest(&self, manifest: &Manifest) -> Result<String, ObjectError> {
        let (epoch, seq) = (manifest.epoch, manifest.seq);
        let key = format!("{}e{epoch}/m/{seq}.{}", self.folder(), object::suffix());
        if manifest.repl != self.repl {
            return Err(ObjectError::Foreign { key });
        }
        let content = if manifest.tree.len() > LARGE_TREE {
            let (manifest, key) = (manifest.clone(), key.clone());
            object::aside(usize::MAX, move || object::encode(&key, &manifest)).await??
        } else {
            object::encode(&key, manifest)?
        };
        self.blobs.put(&key, object::pack(ObjectKind::Manifest, content).await?).await?;
        Ok(key)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn get_manifest(&self, key: &str) -> Result<Manifest, ObjectError> {
        self.check_own(key)?;
        let bytes = object::get(&*self.blobs, ObjectKind::Manifest, key).await?;
        let manifest: Manifest = {
            let key = key.to_owned();
            object::aside(bytes.len(), move || object::decode(&key, &bytes)).await??
        };
        if manifest.repl != self.repl {
            return Err(ObjectError::Foreign { key: key.to_owned() });
        }
        if parse_manifest_key(self.folder(), key) != Some((manifest.epoch, manifest.seq)) {
            let reason = "it is a manifest of another moment";
            return Err(ObjectError::Corrupt { key: key.to_owned(), reason });
        }
        Ok(manifest)
    }

    /// The newest saved state: the valid manifest with the highest epoch and number, but none
    /// before the one at `hint`, which the metadata database knows. The database may be behind
    /// (it was restored from a backup, or its answer was lost), never ahead. `None` only when
    /// there is no manifest at all.
    ///
    /// # Errors
    /// See [`ObjectError`]. A hint that leads to nothing is an error, not a reason to guess.
    pub async fn load_head(&self, hint: Option<&str>) -> Result<Option<Head>, ObjectError> {
        let least = match hint {
            Some(hint) => {
                self.check_own(hint)?;
                parse_manifest_key(self.folder(), hint)
            }
            None => None,
        };
        let mut damaged = Vec::new();
        let mut first_error = None;
        for epoch in self.epochs().await?.into_iter().rev() {
            if least.is_some_and(|(least, _)| epoch < least) {
                break;
            }
            for (seq, key) in self.manifest_keys(epoch).await?.into_iter().rev() {
                if least.is_some_and(|least| (epoch, seq) <= least) {
                    break;
                }
                match self.get_manifest(&key).await {
                    Ok(manifest) => return Ok(Some(Head { key, manifest, damaged })),
                    Err(error @ ObjectError::Corrupt { .. }) => {
                        tracing::error!(repl = %self.repl, %error, "skipping a corrupt manifest");
                        first_error.get_or_insert(error);
                        damaged.push(key);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        if let Some(key) = hint {
            let manifest = self.get_manifest(key).await?;
            return Ok(Some(Head { key: key.to_owned(), manifest, damaged }));
        }
        first_error.map_or(Ok(None), Err)
    }

    /// The highest epoch of any object; 0 when there is none.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn highest_epoch(&self) -> Result<Epoch, ObjectError> {
        Ok(self.epochs().await?.pop().unwrap_or_default())
    }

    /// In ascending order.
    async fn epochs(&self) -> Result<Vec<Epoch>, ObjectError> {
        let folders = self.blobs.list_folders(self.folder()).await?;
        let mut epochs: Vec<Epoch> = folders.iter().filter_map(|name| parse_epoch(name)).collect();
        epochs.sort();
        Ok(epochs)
    }

    /// In ascending order of their numbers.
    async fn manifest_keys(&self, epoch: Epoch) -> Result<Vec<(u64, String)>, ObjectError> {
        let listed = self.blobs.list(&format!("{}e{epoch}/m/", self.folder())).await?;
        let mut keys: Vec<(u64, String)> = listed
            .into_iter()
            .filter_map(|info| {
                let (_, seq) = parse_manifest_key(self.folder(), &info.key)?;
                Some((seq, info.key))
            })
            .collect();
        keys.sort();
        Ok(keys)
    }

    /// Stores a terminal's output from offset `from` on; says its key.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn put_scrollback(
        &self,
        terminal: TerminalId,
        from: u64,
        bytes: Bytes,
    ) -> Result<String, ObjectError> {
        let to = from.saturating_add(bytes.len() as u64);
        let key = format!("{}t/{terminal}/{from}-{to}.{}", self.folder(), object::suffix());
        let content = object::encode(&key, &Scrollback { from, bytes })?;
        self.blobs.put(&key, object::pack(ObjectKind::Scrollback, content).await?).await?;
        Ok(key)
    }

    /// Reads what [`ReplStore::put_scrollback`] stored: the first offset and the bytes.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn get_scrollback(&self, key: &str) -> Result<(u64, Bytes), ObjectError> {
        self.check_own(key)?;
        let bytes = object::get(&*self.blobs, ObjectKind::Scrollback, key).await?;
        let scrollback: Scrollback = object::decode(key, &bytes)?;
        Ok((scrollback.from, scrollback.bytes))
    }

    /// Removes scrollback that no manifest in use names any more.
    ///
    /// # Errors
    /// See [`ObjectError`]; [`ObjectError::Foreign`] for anything that is no scrollback.
    pub async fn delete_scrollback(&self, keys: Vec<String>) -> Result<(), ObjectError> {
        let prefix = format!("{}t/", self.folder());
        match keys.iter().find(|key| !key.starts_with(&prefix)) {
            Some(foreign) => Err(ObjectError::Foreign { key: foreign.clone() }),
            None => self.delete(keys).await,
        }
    }

    /// Removes all objects of the repl, the catalogue's last: interrupted, it can be repeated.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn delete_all(&self) -> Result<(), ObjectError> {
        let meta = format!("{}meta/", self.folder());
        let listed = self.blobs.list(self.folder()).await?;
        let (last, first): (Vec<_>, Vec<_>) =
            listed.into_iter().map(|info| info.key).partition(|key| key.starts_with(&meta));
        self.delete(first).await?;
        self.delete(last).await
    }

    async fn delete(&self, keys: Vec<String>) -> Result<(), ObjectError> {
        stream::iter(keys)
            .map(|key| async move { self.blobs.delete(&key).await })
            .buffer_unordered(blobs::PARALLEL)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(())
    }
}

/// All repls that have any object.
///
/// # Errors
/// See [`ObjectError`].
pub async fn list_repls(blobs: &dyn BlobStore) -> Result<Vec<ReplId>, ObjectError> {
    let folders = blobs.list_folders("repls/").await?;
    Ok(folders.iter().filter_map(|name| name.parse().ok()).collect())
}

/// `e<epoch>`.
fn parse_epoch(name: &str) -> Option<Epoch> {
    name.strip_prefix('e')?.parse().ok().map(Epoch)
}

/// `repls/<repl>/e<epoch>/m/<seq>.<random>`.
fn parse_manifest_key(folder: &str, key: &str) -> Option<(Epoch, u64)> {
    let (epoch, rest) = key.strip_prefix(folder)?.split_once('/')?;
    let (seq, _) = rest.strip_prefix("m/")?.split_once('.')?;
    Some((parse_epoch(epoch)?, seq.parse().ok()?))
}
