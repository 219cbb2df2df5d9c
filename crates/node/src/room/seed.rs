//! A new repl gets its first manifest.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tandem_proto::{Epoch, RelPath, ReplId};
use tandem_store::{Manifest, ReplStore};

use super::contents::Stored;
use super::manifest::{set_contents, tree_node};
use super::open::{OpenError, take_lease};
use super::tree::{Change, Kind, Node, Tree};
use crate::lease::wall_ms;
use crate::shared::Shared;

/// One file of a new repl.
pub(crate) struct SeedFile {
    /// Where.
    pub path: RelPath,
    /// Executable bit.
    pub executable: bool,
    /// Its bytes.
    pub content: Bytes,
}

/// Writes a new repl's first manifest. The lease stays with this node, which opens it next.
pub(crate) async fn seed(
    shared: &Arc<Shared>,
    repl: ReplId,
    files: Vec<SeedFile>,
    folders: Vec<RelPath>,
) -> Result<(), OpenError> {
    let store = ReplStore::new(shared.blobs.clone(), repl);
    let (lease, head) = take_lease(shared, &store).await?;
    if head.is_some() {
        return Err(OpenError::Held("this repl was filled already".to_owned()));
    }
    let blobs = store.put_files(files.iter().map(|file| file.content.clone()).collect()).await?;
    let mut tree = Tree::new(0);
    let mut contents = HashMap::new();
    let fresh = || shared.random_file_id();
    let place = |error: super::tree::TreeError| OpenError::Corrupt(error.to_string());
    for folder in &folders {
        let (changes, _) = tree.plan_folders(Some(folder), fresh).map_err(place)?;
        for change in changes {
            tree.apply(&change);
        }
    }
    for (file, blob) in files.iter().zip(blobs) {
        let (changes, parent) =
            tree.plan_folders(file.path.parent().as_ref(), fresh).map_err(place)?;
        for change in changes {
            tree.apply(&change);
        }
        let id = fresh();
        let node = Node {
            parent,
            name: file.path.name().to_owned(),
            kind: Kind::File,
            executable: file.executable,
            size: blob.size,
            ignored: false,
        };
        tree.apply(&Change::Put { id, node });
        contents.insert(id, Stored::Blob(blob));
    }
    let mut manifest = Manifest {
        repl,
        epoch: lease.epoch,
        seq: 0,
        parent: None,
        lineage: Vec::new(),
        tree_version: tree.version(),
        tree: tree.iter().filter_map(|(id, node)| tree_node(id, node, None)).collect(),
        // Damage older than the repl is not its own.
        covered: shared.log.horizon(),
        terminals: Vec::new(),
        history: Vec::new(),
        checkpoints: Vec::new(),
        ignored: Vec::new(),
        swept_ms: wall_ms(),
        saved_ms: wall_ms(),
    };
    set_contents(&mut manifest, &contents);
    let key = store.put_manifest(&manifest).await?;
    commit(shared, repl, lease.epoch, key).await
}

async fn commit(
    shared: &Arc<Shared>,
    repl: ReplId,
    epoch: Epoch,
    key: String,
) -> Result<(), OpenError> {
    match shared.web.move_head(repl, epoch, None, key).await? {
        true => Ok(()),
        false => Err(OpenError::Held("another server holds this repl".to_owned())),
    }
}
