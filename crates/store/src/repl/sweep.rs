//! Removes what a repl no longer needs, and nothing else. In doubt an object stays: it costs a
//! few bytes, while a missing one costs somebody's work.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering;

use tandem_proto::{Epoch, FileId, Generation, Lsn};

use super::{Content, Manifest, ReplStore, history, parse_manifest_key, snapshots};
use crate::blob::ObjectInfo;
use crate::object::ObjectError;

/// What the newest manifests name stays.
const KEPT_MANIFESTS: usize = 3;
/// What is younger stays: it may belong to a manifest that is being written.
const YOUNG_MS: u64 = 24 * 60 * 60 * 1000;

/// What [`ReplStore::sweep`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Objects removed.
    pub objects: usize,
    /// Their stored length.
    pub bytes: u64,
}

/// A snapshot that a kept manifest names, as far as its key tells.
type Named = HashMap<(FileId, Generation), BTreeMap<Epoch, (Lsn, String)>>;

impl ReplStore {
    /// Removes what the last three manifests and their checkpoints omit and what is older than 24 hours; of snapshots
    /// only those that a named one contains. Only for the holder of the current `epoch`: when
    /// there are objects of a later one, nothing is removed. Not between storing blobs and
    /// the manifest that names them: the same blob may have been there, old and unnamed. When
    /// blobs are stored through this value or its clones meanwhile, nothing is removed either.
    ///
    /// # Errors
    /// See [`ObjectError`]; a kept manifest that can't be read stops it before anything is
    /// removed.
    pub async fn sweep(&self, epoch: Epoch, now_ms: u64) -> Result<Swept, ObjectError> {
        let puts = self.puts.count.load(Ordering::SeqCst);
        let listed = self.blobs.list(self.folder()).await?;
        let mut manifests: Vec<((Epoch, u64), &str)> = listed
            .iter()
            .filter_map(|info| Some((parse_manifest_key(self.folder(), &info.key)?, &*info.key)))
            .collect();
        manifests.sort();
        let newest = manifests.last().map(|((epoch, _), _)| *epoch);
        let foreign = listed.iter().any(|info| {
            let rest = info.key.strip_prefix(self.folder()).and_then(|rest| rest.split('/').next());
            rest.and_then(super::parse_epoch).is_some_and(|other| other > epoch)
        });
        if foreign || newest != Some(epoch) || manifests.len() < KEPT_MANIFESTS {
            return Ok(Swept::default());
        }
        let mut keep: HashSet<String> = HashSet::new();
        let mut named = Named::new();
        let mut checkpoints: HashSet<String> = HashSet::new();
        for (_, key) in &manifests[manifests.len() - KEPT_MANIFESTS..] {
            keep.insert((*key).to_owned());
            let manifest = self.get_manifest(key).await?;
            keep.extend(manifest.parent.clone());
            keep.extend(manifest.terminals.iter().map(|terminal| terminal.key.clone()));
            keep.extend(manifest.history.iter().map(|pack| pack.key.clone()));
            checkpoints.extend(manifest.checkpoints.iter().map(|point| point.manifest.clone()));
            let pieces = manifest.ignored.iter().flat_map(|folder| &folder.chunks);
            keep.extend(pieces.map(|piece| self.blob_key(piece.hash)));
            self.note(&manifest, &mut keep, &mut named);
        }
        // Of a checkpoint the files stay; history and ignored folders are no part of it.
        for key in checkpoints {
            self.note(&self.get_manifest(&key).await?, &mut keep, &mut named);
            keep.insert(key);
        }
        let records = self.meta_keys().await?;
        keep.extend(records.into_iter().rev().take(KEPT_MANIFESTS).map(|(_, key)| key));

        let mut unneeded: Vec<&ObjectInfo> = Vec::new();
        let mut merged: HashMap<String, BTreeMap<Epoch, Lsn>> = HashMap::new();
        for info in &listed {
            let old = now_ms.saturating_sub(info.modified_ms) > YOUNG_MS && info.modified_ms > 0;
            if !old || keep.contains(&info.key) {
                continue;
            }
            let needed = match snapshots::parse_key(self.folder(), &info.key) {
                Some(snapshot) => !self.contained(snapshot, &named, &mut merged).await?,
                None => match self.claim_epoch(&info.key) {
                    Some(claimed) => claimed >= epoch,
                    None => !self.is_known(&info.key),
                },
            };
            if !needed {
                unneeded.push(info);
            }
        }
        let swept =
            Swept { objects: unneeded.len(), bytes: unneeded.iter().map(|info| info.size).sum() };
        let _alone = self.puts.gate.write().await;
        if self.puts.count.load(Ordering::SeqCst) != puts {
            // What was stored meanwhile may be among them.
            return Ok(Swept::default());
        }
        // Manifests first: one that is left must not name what is gone.
        let (first, then): (Vec<_>, Vec<_>) = unneeded
            .into_iter()
            .map(|info| info.key.clone())
            .partition(|key| parse_manifest_key(self.folder(), key).is_some());
        self.delete(first).await?;
        self.delete(then).await?;
        Ok(swept)
    }

    fn note(&self, manifest: &Manifest, keep: &mut HashSet<String>, named: &mut Named) {
        for node in &manifest.tree {
            match &node.content {
                Content::None => {}
                Content::Blob(blob) => {
                    keep.insert(format!("{}b/{}", self.folder(), blob.bundle.unwrap_or(blob.hash)));
                }
                Content::Document(document) => {
                    keep.insert(document.snapshot.clone());
                    let parsed = snapshots::parse_key(self.folder(), &document.snapshot);
                    let Some((epoch, file, generation, lsn)) = parsed else { continue };
                    let of = named.entry((file, generation)).or_default();
                    let slot = of.entry(epoch).or_insert((lsn, document.snapshot.clone()));
                    if lsn > slot.0 {
                        *slot = (lsn, document.snapshot.clone());
                    }
                }
            }
        }
    }

    /// Kinds of objects that this version knows when nothing needs them.
    fn is_known(&self, key: &str) -> bool {
        let rest = key.strip_prefix(self.folder()).unwrap_or_default();
        let of_kind = |kind: &str| rest.starts_with(kind);
        of_kind("b/")
            || of_kind("t/")
            || of_kind("meta/")
            || history::is_pack(self.folder(), key)
            || parse_manifest_key(self.folder(), key).is_some()
    }

    /// Whether a named snapshot has everything of this one, or nobody names its document.
    async fn contained(
        &self,
        (epoch, file, generation, lsn): (Epoch, FileId, Generation, Lsn),
        named: &Named,
        merged: &mut HashMap<String, BTreeMap<Epoch, Lsn>>,
    ) -> Result<bool, ObjectError> {
        let Some(of) = named.get(&(file, generation)) else {
            // A document that the manifests omit, unless it is one they do not know yet.
            let newest = named.keys().filter(|(other, _)| *other == file).map(|(_, g)| *g).max();
            return Ok(newest.is_none_or(|newest| newest > generation));
        };
        if of.get(&epoch).is_some_and(|(of, _)| *of > lsn) {
            return Ok(true);
        }
        for (_, key) in of.range(Epoch(epoch.0.saturating_add(1))..).map(|(_, named)| named) {
            if !merged.contains_key(key) {
                merged.insert(key.clone(), self.get_snapshot(key).await?.content.merged);
            }
            let has = merged.get(key).and_then(|merged| merged.get(&epoch));
            if has.is_some_and(|has| *has >= lsn) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
