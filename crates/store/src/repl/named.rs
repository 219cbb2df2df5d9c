//! What a manifest names: all that its state consists of.

use std::collections::BTreeSet;

use tandem_proto::{FileId, Generation, ReplId};

use super::{Content, Manifest, ReplStore, SnapshotIndex};
use crate::object::ObjectError;

/// The newest manifest and those of its checkpoints.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Key and content of the newest one.
    pub head: (String, Manifest),
    /// Key and content of each checkpoint's.
    pub checkpoints: Vec<(String, Manifest)>,
    /// Keys of newer manifests that are damaged.
    pub damaged: Vec<String>,
}

impl Kept {
    /// All of them, the head last.
    pub fn manifests(&self) -> impl Iterator<Item = &(String, Manifest)> {
        self.checkpoints.iter().chain(std::iter::once(&self.head))
    }
}

impl Manifest {
    /// Every document and its generation, tombstones included.
    pub fn documents(&self) -> impl Iterator<Item = (FileId, Generation)> + '_ {
        self.tree.iter().filter_map(|node| match &node.content {
            Content::Document(document) => Some((node.id, document.generation)),
            Content::None | Content::Blob(_) => None,
        })
    }

    /// Makes it the manifest of another repl, whose objects lie under other keys.
    pub fn rebase(&mut self, from: ReplId, to: ReplId) {
        let (old, new) = (format!("repls/{from}/"), format!("repls/{to}/"));
        let rebase = |key: &mut String| {
            if let Some(rest) = key.strip_prefix(&old) {
                *key = format!("{new}{rest}");
            }
        };
        self.repl = to;
        self.parent.iter_mut().for_each(rebase);
        self.terminals.iter_mut().map(|terminal| &mut terminal.key).for_each(rebase);
        self.history.iter_mut().map(|pack| &mut pack.key).for_each(rebase);
        self.checkpoints.iter_mut().map(|point| &mut point.manifest).for_each(rebase);
        for node in &mut self.tree {
            if let Content::Document(document) = &mut node.content {
                rebase(&mut document.snapshot);
            }
        }
    }
}

impl ReplStore {
    /// The newest manifest and its checkpoints; `None` when there is no manifest at all.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn load_kept(&self) -> Result<Option<Kept>, ObjectError> {
        let Some(head) = self.load_head(None).await? else { return Ok(None) };
        let mut checkpoints = Vec::new();
        for point in &head.manifest.checkpoints {
            let mut manifest = self.get_manifest(&point.manifest).await?;
            // Of a checkpoint the files stay; history, terminals and ignored folders are of the head, and
            // what was theirs at that time may be gone.
            manifest.history.clear();
            manifest.terminals.clear();
            manifest.checkpoints.clear();
            manifest.ignored.clear();
            checkpoints.push((point.manifest.clone(), manifest));
        }
        Ok(Some(Kept { head: (head.key, head.manifest), checkpoints, damaged: head.damaged }))
    }

    /// Keys of all objects that a manifest names, but for other manifests.
    pub fn named(&self, manifest: &Manifest, index: &SnapshotIndex) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        keys.extend(manifest.terminals.iter().map(|terminal| terminal.key.clone()));
        let pieces = manifest.ignored.iter().flat_map(|folder| &folder.chunks);
        keys.extend(pieces.map(|piece| self.blob_key(piece.hash)));
        keys.extend(manifest.history.iter().map(|pack| pack.key.clone()));
        for node in &manifest.tree {
            match &node.content {
                Content::None => {}
                Content::Blob(blob) => {
                    keys.insert(self.blob_key(blob.bundle.unwrap_or(blob.hash)));
                }
                Content::Document(document) => {
                    if !document.snapshot.is_empty() {
                        keys.insert(document.snapshot.clone());
                    }
                    let generation = document.generation;
                    keys.extend(index.keys(node.id, generation).map(str::to_owned));
                }
            }
        }
        keys
    }

    /// Whether this is a key of output of terminals: worth having, and nothing depends on it.
    pub fn is_scrollback(&self, key: &str) -> bool {
        key.strip_prefix(self.folder()).is_some_and(|rest| rest.starts_with("t/"))
    }
}
