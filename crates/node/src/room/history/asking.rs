//! What the room is asked about histories. It answers with what it has in memory; reading packs
//! and replaying them happens outside of it.

use tandem_proto::history::HistoryAuthor;
use tandem_proto::{FileId, Generation, RelPath};
use tandem_store::PackedEdit;

use crate::history::HistorySource;
use crate::room::Room;
use crate::room::contents::Stored;
use crate::room::documents::Slot;
use crate::room::mailbox::{Reply, RoomError};
use crate::room::tree::{Kind, TreeError};

impl Room {
    /// What is known of the history of the file at a path, or of the one that was deleted there.
    pub(in crate::room) fn history_source(&self, path: &RelPath, reply: Reply<HistorySource>) {
        let Some(file) = self.tree.find(path).or_else(|| self.deleted_at(path)) else {
            return drop(reply.send(Err(TreeError::NotFound.into())));
        };
        if self.tree.get(file).is_some_and(|node| node.kind != Kind::File) {
            let reason = "only files have a history".to_owned();
            return drop(reply.send(Err(RoomError::Invalid(reason))));
        }
        let document = self.documents.get(file);
        let generation = match (document, self.files.stored(file)) {
            (Some(document), _) => Some(document.generation),
            (None, Some(Stored::Document { generation, .. })) => Some(*generation),
            (None, _) => None,
        };
        let mut waiting: Vec<(Generation, Vec<PackedEdit>)> = self
            .history
            .waiting
            .iter()
            .filter(|((of, _), _)| *of == file)
            .map(|((_, generation), waiting)| (*generation, waiting.edits.clone()))
            .collect();
        // The present history is the last one.
        waiting.sort_by_key(|(of, _)| Some(*of) == generation);
        let source = HistorySource {
            file,
            generation,
            packs: self.history.packs.iter().filter(|pack| pack.has(file)).cloned().collect(),
            waiting,
            people: self.history.people.values().cloned().collect(),
            authors: document.map(|document| document.authors.clone()).unwrap_or_default(),
            state: document.and_then(|document| document.doc.encode_state().ok()).map(Into::into),
        };
        drop(reply.send(Ok(source)));
    }

    fn deleted_at(&self, path: &RelPath) -> Option<FileId> {
        let mut roots = self.deletions.iter().rev();
        let deleted = roots.find(|deleted| deleted.path == *path)?;
        deleted.nodes.first().map(|(id, _, _)| *id)
    }

    /// Gives a file an earlier text by an ordinary edit with few changes: what others are typing
    /// stays, and it can be undone. Answers whether it was another text.
    pub(in crate::room) fn restore_text(
        &mut self,
        path: RelPath,
        text: String,
        author: HistoryAuthor,
        reply: Reply<bool>,
    ) {
        let Some(file) = self.tree.find(&path) else {
            return drop(reply.send(Err(TreeError::NotFound.into())));
        };
        if self.ending.is_some() || !self.lease.may_ack() {
            return drop(reply.send(Err(RoomError::Closing)));
        }
        let Some(Slot::Open(document)) = self.documents.slot_mut(file) else {
            return self.when_loaded(file, move |room| {
                if room.documents.get(file).is_some() {
                    return room.restore_text(path, text, author, reply);
                }
                let reason = "the file could not be loaded; try again".to_owned();
                drop(reply.send(Err(RoomError::Unavailable(reason))));
            });
        };
        let noted = document.disk.merge.note_edit(&document.doc);
        let changed = match noted.and_then(|()| document.doc.replace(&text)) {
            Ok(Some(update)) => {
                self.server_edit(file, update, Some(&author));
                true
            }
            Ok(None) => false,
            Err(_) => return self.document_broke(file),
        };
        if self.documents.get(file).is_some_and(|document| document.subscribers.is_empty()) {
            self.evict.insert(file);
        }
        self.reply_durably(reply, Ok(changed));
    }
}
