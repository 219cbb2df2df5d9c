//! The history of documents: edits with time and author on their way from the log into packs.
//!
//! Every logged edit waits here until a committed manifest names a pack that has it. The manifest
//! that lets a log record go is the one that names that pack, so an edit is always in at least one
//! of the two; one that is in both after a crash is met twice by readers, and merging it again
//! changes nothing.

mod asking;
mod authors;
mod packing;
mod upkeep;

use std::collections::{HashMap, HashSet};

use tandem_proto::history::{CheckpointReason, HistoryAuthor};
use tandem_proto::{CheckpointId, FileId, Generation, MemberId};
use tandem_store::{
    Authors, NewRecord, PackedEdit, RecordKind, Snapshots, StoredCheckpoint, StoredPack,
};

use super::Room;
use super::base::LoggedEdit;
use super::contents::Stored;
pub(super) use authors::{LoggedAuthor, program};
pub(super) use packing::{CapturedHistory, Packed, store};
use upkeep::Upkeep;

/// Waiting edits take at most this; beyond it, while the blob store is away, single edits of the
/// document with the most of them are given up and its next pack begins with its state.
const MAX_WAITING_BYTES: usize = 32 * 1024 * 1024;
/// What an edit takes beside its bytes.
const EDIT_BYTES: usize = 96;

/// A document's history: a file, and which of its histories.
type Key = (FileId, Generation);

/// What a room knows of the history of its documents.
#[derive(Debug, Default)]
pub struct History {
    packs: Vec<StoredPack>,
    checkpoints: Vec<StoredCheckpoint>,
    restoring: bool,
    waiting: HashMap<Key, Waiting>,
    waiting_bytes: usize,
    /// Histories that began in this log: no state came before what waits.
    begun_here: HashSet<Key>,
    upkeep: Upkeep,
    /// Names and colours of authors.
    people: HashMap<MemberId, HistoryAuthor>,
    /// Bindings in the log that no snapshot has yet.
    logged: HashMap<FileId, Authors>,
}

/// Edits of one document that no named pack has.
#[derive(Debug, Default)]
struct Waiting {
    edits: Vec<PackedEdit>,
    bytes: usize,
    /// The packs may not lead to the state before the first of them.
    broken: bool,
    /// Edits before the first of these were given up.
    given_up: bool,
}

impl History {
    /// As a manifest says.
    pub fn new(packs: Vec<StoredPack>, checkpoints: Vec<StoredCheckpoint>) -> Self {
        Self { packs, checkpoints, ..Self::default() }
    }

    /// The packs that count, in order.
    pub fn packs(&self) -> &[StoredPack] {
        &self.packs
    }

    /// Checkpoints, oldest first.
    pub fn checkpoints(&self) -> &[StoredCheckpoint] {
        &self.checkpoints
    }

    /// Adds a checkpoint. Over `most`, the oldest that nobody asked for goes.
    pub fn add_checkpoint(&mut self, new: StoredCheckpoint, most: usize) {
        self.checkpoints.push(new);
        while self.checkpoints.len() > most {
            let automatic = |point: &StoredCheckpoint| point.reason != CheckpointReason::Manual;
            let oldest = self.checkpoints.iter().position(automatic).unwrap_or(0);
            self.checkpoints.remove(oldest);
        }
    }

    /// Lets a checkpoint go; whether it was there.
    pub fn remove_checkpoint(&mut self, id: CheckpointId) -> bool {
        let before = self.checkpoints.len();
        self.checkpoints.retain(|point| point.id != id);
        self.checkpoints.len() < before
    }

    /// One checkpoint is restored at a time; whether this one may be.
    pub fn begin_restore(&mut self) -> bool {
        !std::mem::replace(&mut self.restoring, true)
    }

    /// See [`History::begin_restore`].
    pub fn end_restore(&mut self) {
        self.restoring = false;
    }

    /// A history begins with the next edit.
    pub fn begins(&mut self, file: FileId, generation: Generation) {
        self.begun_here.insert((file, generation));
    }

    /// The document has more than its last snapshot and the edits since: another owner's edits.
    pub fn is_broken(&mut self, file: FileId, generation: Generation) {
        self.waiting.entry((file, generation)).or_default().broken = true;
    }

    /// An edit was logged.
    fn push(&mut self, key: Key, edit: PackedEdit) {
        let bytes = edit.update.len() + EDIT_BYTES;
        let waiting = self.waiting.entry(key).or_default();
        waiting.edits.push(edit);
        waiting.bytes += bytes;
        self.waiting_bytes += bytes;
        while self.waiting_bytes > MAX_WAITING_BYTES {
            let largest = self.waiting.values_mut().max_by_key(|waiting| waiting.bytes);
            let Some(largest) = largest.filter(|waiting| waiting.bytes > 0) else { return };
            self.waiting_bytes -= std::mem::take(&mut largest.bytes);
            largest.edits.clear();
            largest.given_up = true;
        }
    }

    /// Remembers who somebody is.
    pub fn meet(&mut self, person: &HistoryAuthor) {
        if self.people.get(&person.id) != Some(person) {
            self.people.insert(person.id, person.clone());
        }
    }

    /// Who somebody is, as far as known.
    pub fn person(&self, member: MemberId) -> HistoryAuthor {
        match self.people.get(&member) {
            Some(person) => person.clone(),
            None if member == MemberId::PROGRAM => program(),
            None => HistoryAuthor {
                id: member,
                name: "Somebody".to_owned(),
                colour: "#808080".to_owned(),
            },
        }
    }

    /// Bindings of a document that were found in the log.
    pub fn take_logged(&mut self, file: FileId) -> Option<Authors> {
        self.logged.remove(&file)
    }

    /// An author record of the log.
    pub fn replay_author(&mut self, file: FileId, record: &LoggedAuthor) {
        let authors = self.logged.entry(file).or_default();
        match record.client {
            Some(client) => authors.bind(client, &record.author, record.certain),
            None => drop(authors.note(&record.author)),
        }
        self.meet(&record.author);
    }
}

impl Room {
    /// What is about to be appended to the log, if it is an edit.
    pub(super) fn note_history(&mut self, record: &NewRecord) {
        if record.kind != RecordKind::Update {
            return;
        }
        let edit = PackedEdit {
            ms: record.wall_ms,
            author: record.author,
            update: record.payload.clone(),
        };
        self.history.push((record.document, record.generation), edit);
    }

    /// A document was loaded: what the log knows of its authors is added.
    pub(super) fn authors_loaded(&mut self, file: FileId) {
        let logged = self.history.take_logged(file);
        let Some(document) = self.documents.get_mut(file) else { return };
        if let Some(logged) = logged {
            document.authors.merge(&logged);
        }
        for person in document.authors.people() {
            self.history.meet(person);
        }
    }

    /// Whether a document that is being loaded has more than the history leads to: the snapshot of
    /// another owner.
    pub(super) fn check_continuity(
        &mut self,
        file: FileId,
        generation: Generation,
        snapshots: &Snapshots,
    ) {
        let Some(Stored::Document { snapshot: Some(named), .. }) = self.files.stored(file) else {
            return;
        };
        if snapshots.found.iter().any(|snapshot| snapshot.key != *named) {
            self.history.is_broken(file, generation);
        }
    }

    /// Edits that were found in the log above the last manifest.
    pub(super) fn note_logged(&mut self, file: FileId, edits: &[(Generation, LoggedEdit)]) {
        if let Some(Stored::Document { generation, snapshot: None, .. }) = self.files.stored(file) {
            self.history.begun_here.insert((file, *generation));
        }
        for (generation, edit) in edits {
            let LoggedEdit { ms, author, update, .. } = edit;
            let edit = PackedEdit { ms: *ms, author: *author, update: update.clone() };
            self.history.push((file, *generation), edit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_nothing_can_be_stored_the_largest_history_gives_its_steps_up() {
        let mut history = History::default();
        let file = |number| (FileId::from_random([number; 10]), Generation(1));
        let edit = |bytes| PackedEdit { ms: 1, author: None, update: vec![0; bytes].into() };
        history.push(file(1), edit(1_000));
        for _ in 0..20 {
            history.push(file(2), edit(2 * 1024 * 1024));
        }
        assert!(history.waiting_bytes <= MAX_WAITING_BYTES);
        assert_eq!(history.waiting[&file(1)].edits.len(), 1);
        assert!(!history.waiting[&file(1)].given_up);
        assert!(history.waiting[&file(2)].given_up);
        assert!(history.waiting[&file(2)].edits.len() < 20);
    }
}
