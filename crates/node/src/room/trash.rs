//! Deleting, and undoing it.

use std::collections::HashMap;

use bytes::Bytes;
use tandem_proto::agent::Op;
use tandem_proto::api::TreeEntry;
use tandem_proto::live::Refusal;
use tandem_proto::{FileId, RelPath};

use super::contents::{Deleted, Stored};
use super::files::refused;
use super::mailbox::{Reply, RoomError};
use super::tree::{Change, Kind, Node, TreeError};
use super::{Continuation, Room};
use crate::archive::tar;
use crate::lease::wall_ms;

/// How long a deletion can be undone.
pub(super) const KEEP_MS: u64 = 7 * 24 * 60 * 60 * 1000;

impl Room {
    /// Deletes a file or folder. What only the sandbox has is stored first, so that it can be
    /// undone.
    pub(super) fn delete_file(&mut self, path: &RelPath, reply: Reply<()>) {
        let Some(id) = self.tree.find(path) else {
            return drop(reply.send(Err(TreeError::NotFound.into())));
        };
        let below = self.tree.subtree(id);
        let owed = below.iter().any(|file| {
            self.files.is_dirty(*file)
                || self.documents.get(*file).is_some_and(|document| document.is_unsaved())
        });
        let path = path.clone();
        if owed {
            // A failed store is no reason to refuse a delete; undo then has less.
            return self.when_saved(move |room, _| room.delete_now(&path, reply));
        }
        self.delete_now(&path, reply);
    }

    fn delete_now(&mut self, path: &RelPath, reply: Reply<()>) {
        let path = path.clone();
        self.on_disk_first(Op::Delete { path: path.clone() }, reply, move |room| {
            if let Some(id) = room.tree.find(&path) {
                room.forget_subtree(id, path, true);
            }
            Ok(())
        });
    }

    /// Takes a file or folder out of the tree and keeps it for undo. `tell` closes its documents
    /// for the people who have them open; a program's delete leaves them open, because an edit
    /// brings the file back.
    pub(super) fn forget_subtree(&mut self, id: FileId, path: RelPath, tell: bool) {
        let below = self.tree.subtree(id);
        if let Some(parent) = self.tree.get(id).map(|node| node.parent) {
            self.live.folder_changed(parent);
        }
        let mut nodes: Vec<(FileId, Node, Option<Stored>)> = Vec::with_capacity(below.len());
        for file in below {
            let Some(node) = self.tree.get(file).cloned() else { continue };
            let stored = self.files.stored(file).cloned();
            let has_readers =
                self.documents.get(file).is_some_and(|document| !document.subscribers.is_empty());
            if tell || !has_readers {
                self.drop_document(file, Refusal::NotFound);
                self.files.forget(file);
            } else if let Some(document) = self.documents.get_mut(file) {
                document.disk.disk_hash = None;
                document.disk.signature = None;
                self.files.not_dirty(file);
            }
            nodes.push((file, node, stored));
        }
        self.change_tree(Change::Remove { id });
        self.keep_deleted(Deleted { path, nodes, at_ms: wall_ms() });
        self.project_may_have_changed(id);
    }

    /// Brings the last deletion of a path back.
    pub(super) fn restore_file(&mut self, path: &RelPath, reply: Reply<TreeEntry>) {
        let at = self.deletions.iter().rposition(|deleted| deleted.path == *path);
        let Some(deleted) = at.and_then(|at| self.deletions.get(at)).cloned() else {
            let reason = "nothing was deleted there in the last 7 days".to_owned();
            return drop(reply.send(Err(RoomError::NotFound(reason))));
        };
        if self.tree.find(path).is_some() {
            return drop(reply.send(Err(TreeError::Exists.into())));
        }
        self.bring_back(deleted, |room, answer| room.reply_durably(reply, answer));
    }

    /// Puts files and what is in them at their path, in the sandbox as well.
    pub(super) fn bring_back(
        &mut self,
        deleted: Deleted,
        then: impl FnOnce(&mut Room, Result<TreeEntry, RoomError>) + Send + 'static,
    ) {
        let link = self.sandbox.ready_link().cloned();
        let (shared, store, root) = (self.shared.clone(), self.store.clone(), deleted.path.clone());
        self.spawn(async move {
            let restored = match link {
                None => Ok(()),
                Some(link) => match contents(&shared, &store, &deleted, &root).await {
                    Ok((files, folders)) => {
                        let bytes: Bytes = tar::pack(&files, &folders).into();
                        let unpacked = link.unpack(std::io::Cursor::new(bytes)).await;
                        unpacked.map(|_| ()).map_err(|error| refused(&error))
                    }
                    Err(reason) => Err(RoomError::Unavailable(reason)),
                },
            };
            Box::new(move |room: &mut Room| {
                let answer = restored.and_then(|()| room.put_back(deleted));
                then(room, answer);
            }) as Continuation
        });
    }

    fn put_back(&mut self, deleted: Deleted) -> Result<TreeEntry, RoomError> {
        let shared = self.shared.clone();
        let Some((first, _, _)) = deleted.nodes.first().cloned() else {
            return Err(TreeError::NotFound.into());
        };
        let (folders, parent) =
            self.tree.plan_folders(deleted.path.parent().as_ref(), || shared.random_file_id())?;
        for folder in folders {
            self.change_tree(folder);
        }
        for (id, node, stored) in deleted.nodes {
            let node = if id == first { Node { parent, ..node } } else { node };
            self.change_tree(Change::Put { id, node });
            if let Some(stored) = stored {
                self.log_content(id, stored);
            }
        }
        self.deletions.retain(|other| other.path != deleted.path || other.at_ms != deleted.at_ms);
        self.saved.tree_changed();
        self.tree_entry(first).ok_or_else(|| TreeError::NotFound.into())
    }

    /// An edit to a document whose file a program deleted: the file comes back.
    pub(super) fn revive(&mut self, file: FileId) {
        if self.tree.get(file).is_some() {
            return;
        }
        let found = self.deletions.iter().rev().find_map(|deleted| {
            let (_, node, stored) = deleted.nodes.iter().find(|(id, _, _)| *id == file)?;
            Some((deleted.path.clone(), node.clone(), stored.clone()))
        });
        let Some((_, node, stored)) = found else { return };
        if !self.tree.is_folder(node.parent) || self.tree.child(node.parent, &node.name).is_some() {
            return;
        }
        self.change_tree(Change::Put { id: file, node });
        if let Some(stored) = stored {
            self.log_content(file, stored);
        }
    }
}

type Contents = (Vec<tar::File>, Vec<RelPath>);

async fn contents(
    shared: &std::sync::Arc<crate::shared::Shared>,
    store: &tandem_store::ReplStore,
    deleted: &Deleted,
    root: &RelPath,
) -> Result<Contents, String> {
    let mut paths: HashMap<FileId, RelPath> = HashMap::new();
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for (index, (id, node, stored)) in deleted.nodes.iter().enumerate() {
        let path = match (index, paths.get(&node.parent)) {
            (0, _) => root.clone(),
            (_, Some(parent)) => parent.join(&node.name).map_err(|error| error.to_string())?,
            (_, None) => continue,
        };
        paths.insert(*id, path.clone());
        let content = match (&node.kind, stored) {
            (Kind::Folder, _) => {
                folders.push(path);
                continue;
            }
            (Kind::File, Some(Stored::Blob(blob))) => {
                store.get_blob(blob).await.map_err(|error| error.to_string())?
            }
            // Only the log has it: it is written when it is loaded.
            (Kind::File, Some(Stored::Document { snapshot: None, .. })) => continue,
            (Kind::File, Some(Stored::Document { generation, format, .. })) => {
                super::loading::stored_text(shared, store, *id, *generation, *format).await?
            }
            _ => continue,
        };
        files.push(tar::File { path, executable: node.executable, content });
    }
    Ok((files, folders))
}
