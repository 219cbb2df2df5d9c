//! Snapshots of documents. A document is the union of all snapshots of its generation, of all
//! epochs; since a room's later snapshot contains its earlier ones, one of each epoch is enough,
//! and none of an epoch that a newer one says it has merged.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tandem_proto::{Epoch, FileId, Generation, Lsn};

use super::{Authors, ReplStore};
use crate::hash::ContentHash;
use crate::object::{self, ObjectError, ObjectKind};

/// What to store of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSnapshot {
    /// The opening of the repl that wrote it.
    pub epoch: Epoch,
    /// The document.
    pub file: FileId,
    /// Its generation.
    pub generation: Generation,
    /// Everything up to here in the log of this epoch's node and boot is contained.
    pub lsn: Lsn,
    /// The whole state as one update.
    pub state: Bytes,
    /// Hash of the text.
    pub text_hash: ContentHash,
    /// Which snapshots of earlier epochs are contained: [`Snapshots::merged`] of the load.
    pub merged: BTreeMap<Epoch, Lsn>,
    /// Who the client ids in it belong to.
    #[serde(default)]
    pub authors: Authors,
}

/// A stored snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its key.
    pub key: String,
    /// What was stored.
    pub content: NewSnapshot,
}

/// What makes up a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshots {
    /// Their union is the document. Newest epoch first.
    pub found: Vec<Snapshot>,
    /// What the union contains, for the next [`NewSnapshot::merged`].
    pub merged: BTreeMap<Epoch, Lsn>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Newest {
    lsn: Lsn,
    keys: Vec<String>,
}

/// What the key of a snapshot says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotKey {
    /// The opening that wrote it.
    pub epoch: Epoch,
    /// The document.
    pub file: FileId,
    /// Its generation.
    pub generation: Generation,
    /// See [`NewSnapshot::lsn`].
    pub lsn: Lsn,
    /// The key itself.
    pub key: String,
}

impl SnapshotKey {
    pub(super) fn parse(folder: &str, key: &str) -> Option<Self> {
        let (epoch, file, generation, lsn) = parse_key(folder, key)?;
        Some(Self { epoch, file, generation, lsn, key: key.to_owned() })
    }
}

/// The snapshots of a repl at one moment, from one listing.
#[derive(Debug, Clone, Default)]
pub struct SnapshotIndex {
    documents: HashMap<(FileId, Generation), BTreeMap<Epoch, Newest>>,
}

impl SnapshotIndex {
    /// Whether there is any snapshot of a document.
    pub fn has(&self, file: FileId, generation: Generation) -> bool {
        self.documents.contains_key(&(file, generation))
    }

    /// Keys of the snapshots that make up a document.
    pub fn keys(&self, file: FileId, generation: Generation) -> impl Iterator<Item = &str> {
        let epochs = self.documents.get(&(file, generation)).into_iter().flat_map(|it| it.values());
        epochs.flat_map(|newest| newest.keys.iter().map(String::as_str))
    }

    /// The highest generation of a file's document.
    pub fn generation(&self, file: FileId) -> Option<Generation> {
        self.documents.keys().filter(|(of, _)| *of == file).map(|(_, generation)| *generation).max()
    }
}

impl ReplStore {
    /// Stores a snapshot and says its key. Load and compare it before a manifest names it.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn put_snapshot(&self, snapshot: &NewSnapshot) -> Result<String, ObjectError> {
        let key = format!(
            "{}e{}/s/{}/{}-{}.{}",
            self.folder(),
            snapshot.epoch,
            snapshot.file,
            snapshot.generation,
            snapshot.lsn,
            object::suffix()
        );
        let content = object::encode(&key, snapshot)?;
        self.blobs.put(&key, object::pack(ObjectKind::Snapshot, content).await?).await?;
        Ok(key)
    }

    /// Reads one snapshot.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn get_snapshot(&self, key: &str) -> Result<Snapshot, ObjectError> {
        self.check_own(key)?;
        let bytes = object::get(&*self.blobs, ObjectKind::Snapshot, key).await?;
        let content: NewSnapshot = object::decode(key, &bytes)?;
        let named = parse_key(self.folder(), key);
        let said = (content.epoch, content.file, content.generation, content.lsn);
        if named != Some(said) {
            let reason = "it is a snapshot of something else";
            return Err(ObjectError::Corrupt { key: key.to_owned(), reason });
        }
        Ok(Snapshot { key: key.to_owned(), content })
    }

    /// Lists the snapshots of all documents.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn snapshot_index(&self) -> Result<SnapshotIndex, ObjectError> {
        let mut index = SnapshotIndex::default();
        // Only the epochs: there may be very many blobs beside them.
        for info in self.blobs.list(&format!("{}e", self.folder())).await? {
            let Some((epoch, file, generation, lsn)) = parse_key(self.folder(), &info.key) else {
                continue;
            };
            let epochs = index.documents.entry((file, generation)).or_default();
            let newest = epochs.entry(epoch).or_default();
            if newest.keys.is_empty() || lsn > newest.lsn {
                *newest = Newest { lsn, keys: vec![info.key] };
            } else if lsn == newest.lsn {
                newest.keys.push(info.key);
            }
        }
        Ok(index)
    }

    /// Reads what makes up a document. Nothing found is an empty answer; whether that is right,
    /// the manifest knows.
    ///
    /// # Errors
    /// See [`ObjectError`]: one bad snapshot fails all, since its edits would be missing.
    pub async fn load_snapshots(
        &self,
        index: &SnapshotIndex,
        (file, generation): (FileId, Generation),
    ) -> Result<Snapshots, ObjectError> {
        let mut snapshots = Snapshots::default();
        let Some(epochs) = index.documents.get(&(file, generation)) else { return Ok(snapshots) };
        for (epoch, newest) in epochs.iter().rev() {
            let contained = snapshots
                .found
                .iter()
                .any(|held| held.content.merged.get(epoch).is_some_and(|lsn| *lsn >= newest.lsn));
            if !contained {
                for key in &newest.keys {
                    let snapshot = self.get_snapshot(key).await?;
                    for (epoch, lsn) in &snapshot.content.merged {
                        let slot = snapshots.merged.entry(*epoch).or_insert(*lsn);
                        *slot = (*slot).max(*lsn);
                    }
                    snapshots.found.push(snapshot);
                }
            }
            let slot = snapshots.merged.entry(*epoch).or_insert(newest.lsn);
            *slot = (*slot).max(newest.lsn);
        }
        Ok(snapshots)
    }

    /// Lists and reads what makes up one document.
    ///
    /// # Errors
    /// See [`ReplStore::load_snapshots`].
    pub async fn get_snapshots(
        &self,
        file: FileId,
        generation: Generation,
    ) -> Result<Snapshots, ObjectError> {
        let index = self.snapshot_index().await?;
        self.load_snapshots(&index, (file, generation)).await
    }
}

/// `repls/<repl>/e<epoch>/s/<file>/<generation>-<lsn>.<random>`.
pub(super) fn parse_key(folder: &str, key: &str) -> Option<(Epoch, FileId, Generation, Lsn)> {
    let rest = key.strip_prefix(folder)?;
    let mut parts = rest.split('/');
    let epoch = super::parse_epoch(parts.next()?)?;
    if parts.next()? != "s" {
        return None;
    }
    let file = parts.next()?.parse().ok()?;
    let (numbers, _) = parts.next()?.split_once('.')?;
    let (generation, lsn) = numbers.split_once('-')?;
    let found = (epoch, file, Generation(generation.parse().ok()?), Lsn(lsn.parse().ok()?));
    parts.next().is_none().then_some(found)
}
