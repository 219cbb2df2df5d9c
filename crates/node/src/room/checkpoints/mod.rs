//! Checkpoints: states of the whole repl that people can go back to. One is a manifest that later
//! manifests name, so that the sweep leaves it and all it names alone. Nothing is copied.

mod plan;
mod restore;

use tandem_proto::history::{Checkpoint, CheckpointReason, HistoryAuthor};
use tandem_proto::{CheckpointId, FileId, RelPath};
use tandem_store::StoredCheckpoint;

use super::Room;
use super::mailbox::{Reply, RoomError};
use super::tree::Kind;
use crate::lease::wall_ms;

/// Most checkpoints of a repl. Beyond it the oldest that nobody asked for goes.
const MAX_CHECKPOINTS: usize = 100;

/// Deleting so many files at once makes a checkpoint first.
const MANY_FILES: u32 = 20;

/// What to make.
#[derive(Debug, Clone)]
pub struct NewCheckpoint {
    /// As shown; made up when empty.
    pub name: String,
    /// Who asked, or does what comes after.
    pub author: HistoryAuthor,
    /// Why.
    pub reason: CheckpointReason,
}

/// As people see it.
fn shown(stored: &StoredCheckpoint) -> Checkpoint {
    let StoredCheckpoint { id, name, made_ms, author, reason, files, .. } = stored.clone();
    Checkpoint { id, name, made_ms, author, reason, files }
}

impl Room {
    /// All, newest first.
    pub(super) fn list_checkpoints(&self, reply: Reply<Vec<Checkpoint>>) {
        drop(reply.send(Ok(self.history.checkpoints().iter().rev().map(shown).collect())));
    }

    /// Makes one of everything that is known now.
    pub(super) fn make_checkpoint(&mut self, new: NewCheckpoint, reply: Reply<Checkpoint>) {
        self.with_checkpoint(new, move |_, made| {
            drop(reply.send(made.map(|stored| shown(&stored))));
        });
    }

    /// Does something when a checkpoint is made and safe.
    pub(super) fn with_checkpoint(
        &mut self,
        new: NewCheckpoint,
        then: impl FnOnce(&mut Room, Result<StoredCheckpoint, RoomError>) + Send + 'static,
    ) {
        let by_hand = |point: &&StoredCheckpoint| point.reason == CheckpointReason::Manual;
        let kept = self.history.checkpoints().iter().filter(by_hand).count();
        if new.reason == CheckpointReason::Manual && kept >= MAX_CHECKPOINTS {
            let reason = format!("there are {MAX_CHECKPOINTS} checkpoints; delete one first");
            return then(self, Err(RoomError::Conflict(reason)));
        }
        // The manifest of this flush is the state; the one of the next flush names it.
        self.when_saved(move |room, outcome| {
            let manifest = match outcome {
                Ok(()) => room.saved.head().to_owned(),
                Err(reason) => return then(room, Err(RoomError::Unavailable(reason))),
            };
            let stored = room.note_checkpoint(new, manifest);
            room.when_saved(move |room, outcome| {
                let made = outcome.map(|()| stored).map_err(RoomError::Unavailable);
                then(room, made);
            });
        });
    }

    /// Deletes a file or folder, after a checkpoint when much goes with it.
    pub(super) fn delete_safely(&mut self, path: RelPath, author: HistoryAuthor, reply: Reply<()>) {
        let files = self.tree.find(&path).map_or(0, |id| self.files_below(id));
        if files < MANY_FILES {
            return self.delete_file(&path, reply);
        }
        let name = format!("Before deleting {}", path.name());
        let new = NewCheckpoint { name, author, reason: CheckpointReason::Replace };
        // A failed store is no reason to refuse a delete, which can be undone in any case.
        self.with_checkpoint(new, move |room, _| room.delete_file(&path, reply));
    }

    /// How many files are in a folder or are it.
    fn files_below(&self, id: FileId) -> u32 {
        let is_file = |id: &&FileId| self.tree.get(**id).is_some_and(|it| it.kind == Kind::File);
        self.tree.subtree(id).iter().filter(is_file).count() as u32
    }

    fn note_checkpoint(&mut self, new: NewCheckpoint, manifest: String) -> StoredCheckpoint {
        let name = match (new.name.trim(), new.reason) {
            ("", CheckpointReason::Manual) => "Checkpoint".to_owned(),
            ("", CheckpointReason::Import) => "Before an import".to_owned(),
            ("", CheckpointReason::Restore) => "Before going back".to_owned(),
            ("", CheckpointReason::Replace) => "Before a large change".to_owned(),
            (name, _) => name.chars().take(80).collect(),
        };
        let is_file = |id: &FileId| {
            self.tree.get(*id).is_some_and(|node| node.kind == Kind::File && !node.ignored)
        };
        let files = self.tree.subtree(FileId::ROOT).iter().filter(|id| is_file(id)).count();
        let stored = StoredCheckpoint {
            id: self.shared.random_checkpoint_id(),
            name,
            made_ms: wall_ms(),
            author: Some(new.author),
            reason: new.reason,
            files: files as u32,
            manifest,
        };
        self.history.add_checkpoint(stored.clone(), MAX_CHECKPOINTS);
        self.saved.tree_changed();
        stored
    }

    /// Lets one go.
    pub(super) fn delete_checkpoint(&mut self, id: CheckpointId, reply: Reply<()>) {
        if !self.history.remove_checkpoint(id) {
            return drop(reply.send(Err(missing())));
        }
        self.saved.tree_changed();
        self.flush_and_reply(reply);
    }
}

fn missing() -> RoomError {
    RoomError::NotFound("there is no such checkpoint".to_owned())
}
