//! Files as people handle them: read, write, make, move. Deleting and its undo are in `trash`.
//!
//! With a sandbox, the disk goes first and the tree follows when the agent has said yes; without
//! one, the tree is enough, since the next sandbox is filled from it.

use bytes::Bytes;
use tandem_proto::agent::{AgentError, Op};
use tandem_proto::api::TreeEntry;
use tandem_proto::live::Refusal;
use tandem_proto::{FileId, RelPath};
use tandem_sandbox::LinkError;
use tandem_store::RecordKind;

use super::contents::{Deleted, Logged, Stored, TreeRecord};
use super::documents::Slot;
use super::mailbox::{FileContent, Reply, RoomError, WriteFile};
use super::tree::{Change, Kind, Node, TreeError};
use super::{Continuation, Room};

/// Deletions that can be undone while the room is open.
const MAX_DELETIONS: usize = 200;

impl From<TreeError> for RoomError {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::NotFound => Self::NotFound(error.to_string()),
            TreeError::Exists => Self::Conflict(error.to_string()),
            TreeError::Full => Self::TooLarge(error.to_string()),
            _ => Self::Invalid(error.to_string()),
        }
    }
}

/// The agent's own refusal, when it is one.
pub(super) fn agent_error(error: &LinkError) -> Option<&AgentError> {
    match error {
        LinkError::Agent(error) => Some(error),
        _ => None,
    }
}

/// What an agent's refusal means to the person who asked.
pub(super) fn refused(error: &LinkError) -> RoomError {
    match agent_error(error) {
        Some(AgentError::NotFound) => RoomError::NotFound(error.to_string()),
        Some(AgentError::Exists) => RoomError::Conflict(error.to_string()),
        Some(AgentError::TooLarge | AgentError::NoSpace) => RoomError::TooLarge(error.to_string()),
        Some(AgentError::Other(_)) | None => RoomError::Unavailable(error.to_string()),
        Some(_) => RoomError::Invalid(error.to_string()),
    }
}

impl Room {
    /// Logs a change of the tree, applies it and marks the folders that show it.
    pub(super) fn change_tree(&mut self, change: Change) {
        if self.note_change(change) {
            self.saved.tree_changed();
        }
    }

    /// As [`Room::change_tree`], for what is saved along with something else, such as the size of
    /// a file whose content changed: each write while people type must not cost a manifest.
    pub(super) fn note_change(&mut self, change: Change) -> bool {
        let touched = self.tree.apply(&change);
        if touched.is_empty() {
            return false;
        }
        for folder in touched {
            self.live.folder_changed(folder);
        }
        self.log_tree(Logged::Tree(change));
        self.touch();
        true
    }

    /// Logs where a file's content is.
    pub(super) fn log_content(&mut self, file: FileId, stored: Stored) {
        self.files.set_stored(file, stored.clone());
        self.log_tree(Logged::Content(file, stored));
        self.saved.tree_changed();
    }

    fn log_tree(&mut self, change: Logged) {
        let record = TreeRecord { version: self.tree.version(), change };
        match serde_json::to_vec(&record) {
            Ok(payload) => drop(self.log(RecordKind::Tree, FileId::ROOT, payload.into())),
            Err(error) => {
                tracing::error!(repl = %self.repl, %error, "a tree record cannot be encoded")
            }
        }
    }

    /// A file's attributes changed: its folder shows it anew.
    pub(super) fn tree_entry_changed(&mut self, file: FileId) {
        if let Some(parent) = self.tree.get(file).map(|node| node.parent) {
            self.live.folder_changed(parent);
        }
    }

    fn found(&self, path: &RelPath) -> Result<FileId, RoomError> {
        self.tree.find(path).ok_or_else(|| TreeError::NotFound.into())
    }

    /// Answers when what was logged is durable.
    pub(super) fn reply_durably<T: Send + 'static>(
        &mut self,
        reply: Reply<T>,
        answer: Result<T, RoomError>,
    ) {
        self.when_durable(move |_| drop(reply.send(answer)));
    }

    /// A file's content.
    pub(super) fn read_file(&mut self, path: &RelPath, reply: Reply<(FileContent, TreeEntry)>) {
        let id = match self.found(path) {
            Ok(id) if self.tree.get(id).is_some_and(|node| node.kind == Kind::File) => id,
            Ok(_) => {
                return drop(reply.send(Err(RoomError::Invalid("not a regular file".to_owned()))));
            }
            Err(error) => return drop(reply.send(Err(error))),
        };
        let Some(entry) = self.tree_entry(id) else { return };
        if let Some(document) = self.documents.get(id) {
            let bytes = tandem_doc::text::encode_file(&document.doc.text(), document.format);
            return drop(reply.send(Ok((FileContent::Bytes(bytes.into()), entry))));
        }
        if self.documents.slot_mut(id).is_some() {
            // What is stored lacks the edits that it is being loaded with.
            let path = path.clone();
            return self.when_loaded(id, move |room| room.read_file(&path, reply));
        }
        if self.saved.is_unrecovered(id) {
            let reason = "its last edits are in the log and cannot be read".to_owned();
            return drop(reply.send(Err(RoomError::Unavailable(reason))));
        }
        if let Some(link) = self.sandbox.ready_link() {
            let content = FileContent::Disk(link.clone(), path.clone(), entry.size);
            return drop(reply.send(Ok((content, entry))));
        }
        match self.files.stored(id).cloned() {
            Some(Stored::Blob(blob)) => drop(reply.send(Ok((FileContent::Blob(blob), entry)))),
            Some(Stored::Document { generation, format, .. }) => {
                let (shared, store) = (self.shared.clone(), self.store.clone());
                self.spawn(async move {
                    let bytes =
                        super::loading::stored_text(&shared, &store, id, generation, format).await;
                    let answer = bytes
                        .map(|bytes| (FileContent::Bytes(bytes), entry))
                        .map_err(RoomError::Unavailable);
                    Box::new(move |_: &mut Room| drop(reply.send(answer))) as Continuation
                });
            }
            None => {
                let reason = "the file is only in the sandbox, which is not running";
                drop(reply.send(Err(RoomError::Unavailable(reason.to_owned()))));
            }
        }
    }

    /// Creates or replaces a file.
    pub(super) fn write_file(&mut self, request: WriteFile, reply: Reply<TreeEntry>) {
        if self.sandbox.is_coming() {
            self.waiting_for_sandbox.push(Box::new(move |room| room.write_file(request, reply)));
            return;
        }
        let existing = self.tree.find(&request.path);
        let is_file =
            existing.is_none_or(|id| self.tree.get(id).is_some_and(|node| node.kind == Kind::File));
        if !is_file || (request.create_only && existing.is_some()) {
            return drop(reply.send(Err(TreeError::Exists.into())));
        }
        if let Some(id) = existing
            && (matches!(self.files.stored(id), Some(Stored::Document { .. }))
                || self.documents.slot_mut(id).is_some())
        {
            return self.replace_text(id, request, reply);
        }
        self.store_then_write(request, reply);
    }

    /// Replaces the text of a document by a minimal diff.
    fn replace_text(&mut self, id: FileId, request: WriteFile, reply: Reply<TreeEntry>) {
        let Ok((text, format)) = tandem_doc::text::decode_file(&request.content) else {
            // No longer text: the document ends, the bytes are the file.
            self.end_document(id);
            return self.store_then_write(request, reply);
        };
        match self.documents.slot_mut(id) {
            None => {
                self.load_document(id);
                self.replace_when_loaded(id, request, reply);
            }
            Some(Slot::Loading(_)) => self.replace_when_loaded(id, request, reply),
            Some(Slot::Open(document)) => {
                document.format = format;
                let noted = document.disk.merge.note_edit(&document.doc);
                match noted.and_then(|()| document.doc.replace(&text)) {
                    Ok(Some(update)) => self.server_edit(id, update, request.author.as_ref()),
                    Ok(None) => {}
                    Err(_) => return self.document_broke(id),
                }
                if let Some(executable) = request.executable {
                    self.set_executable(id, executable);
                }
                if self.documents.get(id).is_some_and(|document| document.subscribers.is_empty()) {
                    self.evict.insert(id);
                }
                let answer = self.tree_entry(id).ok_or_else(|| TreeError::NotFound.into());
                self.reply_durably(reply, answer);
            }
        }
    }

    fn replace_when_loaded(&mut self, id: FileId, request: WriteFile, reply: Reply<TreeEntry>) {
        self.when_loaded(id, move |room| {
            if room.documents.get(id).is_some() {
                return room.replace_text(id, request, reply);
            }
            let reason = "the file could not be loaded; try again".to_owned();
            drop(reply.send(Err(RoomError::Unavailable(reason))));
        });
    }

    fn store_then_write(&mut self, request: WriteFile, reply: Reply<TreeEntry>) {
        let store = self.store.clone();
        let link = self.sandbox.ready_link().cloned();
        let path = request.path.clone();
        self.storing += 1;
        self.spawn(async move {
            let stored = store.put_blob(request.content.clone()).await;
            let blob = match stored {
                Ok(blob) => blob,
                Err(error) => {
                    return Box::new(move |room: &mut Room| {
                        room.storing -= 1;
                        drop(reply.send(Err(RoomError::Unavailable(error.to_string()))))
                    }) as Continuation;
                }
            };
            if let Some(link) = link
                && let Err(error) = unpack_one(&link, &request).await
            {
                let error = refused(&error);
                return Box::new(move |room: &mut Room| {
                    room.storing -= 1;
                    drop(reply.send(Err(error)));
                }) as Continuation;
            }
            Box::new(move |room: &mut Room| {
                room.storing -= 1;
                let (size, executable) = (blob.size, request.executable);
                let answer = room.put_file(&path, size, executable, Some(Stored::Blob(blob)));
                room.reply_durably(reply, answer);
            }) as Continuation
        });
    }

    /// Enters a file into the tree, with its folders.
    pub(super) fn put_file(
        &mut self,
        path: &RelPath,
        size: u64,
        executable: Option<bool>,
        stored: Option<Stored>,
    ) -> Result<TreeEntry, RoomError> {
        let shared = self.shared.clone();
        let (folders, parent) =
            self.tree.plan_folders(path.parent().as_ref(), || shared.random_file_id())?;
        let existing = self.tree.child(parent, path.name());
        let id = existing.unwrap_or_else(|| shared.random_file_id());
        let old = self.tree.get(id);
        let executable = executable.unwrap_or_else(|| old.is_some_and(|node| node.executable));
        let node = Node {
            parent,
            name: path.name().to_owned(),
            kind: Kind::File,
            executable,
            size,
            ignored: false,
        };
        for folder in folders {
            self.change_tree(folder);
        }
        if self.tree.get(id) != Some(&node) {
            self.change_tree(Change::Put { id, node });
        }
        if let Some(stored) = stored {
            self.files.not_dirty(id);
            self.log_content(id, stored);
        }
        self.project_may_have_changed(id);
        self.tree_entry(id).ok_or_else(|| TreeError::NotFound.into())
    }

    /// Creates a folder.
    pub(super) fn make_folder(&mut self, path: RelPath, reply: Reply<TreeEntry>) {
        if self.tree.find(&path).is_some() {
            return drop(reply.send(Err(TreeError::Exists.into())));
        }
        let op = Op::MakeFolder { path: path.clone() };
        self.on_disk_first(op, reply, move |room| {
            let shared = room.shared.clone();
            let (folders, id) = room.tree.plan_folders(Some(&path), || shared.random_file_id())?;
            for folder in folders {
                room.change_tree(folder);
            }
            room.tree_entry(id).ok_or_else(|| TreeError::NotFound.into())
        });
    }

    /// Moves or renames; identity, carets and history stay.
    pub(super) fn move_file(&mut self, from: &RelPath, to: RelPath, reply: Reply<TreeEntry>) {
        let planned = self.found(from).and_then(|id| Ok((id, self.tree.plan_move(id, &to)?)));
        let (id, _) = match planned {
            Ok(planned) => planned,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let op = Op::Rename { from: from.clone(), to: to.clone() };
        self.on_disk_first(op, reply, move |room| {
            let change = room.tree.plan_move(id, &to)?;
            room.change_tree(change);
            room.tree_entry(id).ok_or_else(|| TreeError::NotFound.into())
        });
    }

    /// Sets the executable bit.
    pub(super) fn set_executable(&mut self, id: FileId, executable: bool) {
        let (Some(path), Some(node)) = (self.tree.path(id), self.tree.get(id)) else { return };
        if node.executable == executable {
            return;
        }
        let node = Node { executable, ..node.clone() };
        self.change_tree(Change::Put { id, node });
        if let Some(link) = self.sandbox.ready_link().cloned() {
            self.spawn(async move {
                let outcome = link.request(Op::SetExecutable { path, executable }).await;
                Box::new(move |room: &mut Room| {
                    if let Err(error) = outcome {
                        tracing::debug!(repl = %room.repl, %error, "an executable bit could not be set");
                    }
                }) as Continuation
            });
        }
    }

    /// Carries an operation out in the sandbox, if there is one, and then in the tree.
    pub(super) fn on_disk_first<T: Send + 'static>(
        &mut self,
        op: Op,
        reply: Reply<T>,
        then: impl FnOnce(&mut Room) -> Result<T, RoomError> + Send + 'static,
    ) {
        if self.sandbox.is_coming() {
            self.waiting_for_sandbox
                .push(Box::new(move |room| room.on_disk_first(op, reply, then)));
            return;
        }
        let Some(link) = self.sandbox.ready_link().cloned() else {
            let answer = then(self);
            return self.reply_durably(reply, answer);
        };
        self.spawn(async move {
            let outcome = link.request(op).await;
            Box::new(move |room: &mut Room| {
                let answer = match outcome {
                    Ok(_) => then(room),
                    Err(error) => Err(refused(&error)),
                };
                room.reply_durably(reply, answer);
            }) as Continuation
        });
    }

    /// Ends a document: everybody who has it open is told why.
    pub(super) fn drop_document(&mut self, file: FileId, refusal: Refusal) {
        let Some(Slot::Open(document)) = self.documents.remove(file) else { return };
        for (peer, subscription) in document.subscribers {
            self.refuse_open(peer, &subscription.address, refusal);
        }
        self.disk.unwritten.remove(&file);
        self.saved.unsaved.remove(&file);
        self.evict.remove(&file);
    }

    /// A file is no longer what its document was. What is at its path now is another file, whose
    /// id is the answer: a later document of this one would be merged with its old snapshots.
    pub(super) fn end_document(&mut self, file: FileId) -> FileId {
        self.drop_document(file, Refusal::NotText);
        self.files.forget(file);
        self.disk.forget(file);
        let Some(node) = self.tree.get(file).cloned() else { return file };
        let id = self.shared.random_file_id();
        self.change_tree(Change::Remove { id: file });
        self.change_tree(Change::Put { id, node });
        id
    }

    /// Keeps what was deleted for undo, newest last.
    pub(super) fn keep_deleted(&mut self, deleted: Deleted) {
        self.deletions.push_back(deleted);
        while self.deletions.len() > MAX_DELETIONS {
            self.deletions.pop_front();
        }
    }
}

/// Writes one file into the workspace by a tar of one entry.
pub(super) async fn unpack_one(
    link: &tandem_sandbox::AgentLink,
    request: &WriteFile,
) -> Result<(), LinkError> {
    let entry = crate::archive::tar::File {
        path: request.path.clone(),
        executable: request.executable.unwrap_or(false),
        content: request.content.clone(),
    };
    let bytes: Bytes = crate::archive::tar::pack(&[entry], &[]).into();
    link.unpack(std::io::Cursor::new(bytes)).await.map(|_| ())
}
