//! The documents a room holds in memory.
//!
//! Dirty is always a comparison of positions: what was edited against what was saved or written
//! to disk. A document leaves memory only when nobody has it open and both comparisons are equal.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tandem_doc::awareness::Awareness;
use tandem_doc::text::TextFormat;
use tandem_doc::{DiskMerge, Document};
use tandem_proto::agent::Signature;
use tandem_proto::{Epoch, FileId, Generation, Lsn};
use tandem_store::Authors;

use super::base::LoggedEdit;
use super::sync::StoredEdits;
use super::{Continuation, PeerId};
use crate::socket::protocol::{Inbound, Protocol};

/// A peer's view of one document.
#[derive(Debug)]
pub struct Subscription {
    /// What the peer calls the document.
    pub address: Arc<str>,
    /// How it speaks.
    pub protocol: Protocol,
    /// Highest `tandem.v1` number applied.
    pub applied_seq: u64,
    /// The state vector it last told us.
    pub known: Vec<u8>,
    /// Its queue was too full for an edit: it is owed a difference from `known`.
    pub lagging: bool,
    /// We asked for the whole difference because an update built on something unknown.
    pub asked_after_gap: bool,
    /// An edit was refused because the log took nothing: it is asked for later.
    pub refused: bool,
    /// How far its edits are in the blob store.
    pub stored: StoredEdits,
}

/// Where a document stands against the file on disk.
#[derive(Debug)]
pub struct DiskState {
    /// What both sides last agreed on.
    pub merge: DiskMerge,
    /// State of the file when it was last read or written.
    pub signature: Option<Signature>,
    /// [`OpenDocument::edits`] that the disk has.
    pub written_edits: u64,
    /// Hash of the bytes that the disk is believed to hold; `None` when there is no file.
    pub disk_hash: Option<[u8; 32]>,
    /// Hashes of texts that we may have written, when it is not known which the disk holds.
    pub possible: Vec<[u8; 32]>,
    /// Counts writes begun: what was seen of the file before one is outdated after it.
    pub writes: u64,
    /// A write is on its way to the agent.
    pub in_flight: bool,
    /// When the next write is due.
    pub due: Option<Instant>,
    /// When the oldest unwritten edit was made.
    pub oldest: Option<Instant>,
}

impl DiskState {
    /// A file that has the document's text as of `written_edits`.
    pub fn at_rest(merge: DiskMerge, written_edits: u64) -> Self {
        Self {
            merge,
            signature: None,
            written_edits,
            disk_hash: None,
            possible: Vec::new(),
            writes: 0,
            in_flight: false,
            due: None,
            oldest: None,
        }
    }
}

/// One document in memory.
#[derive(Debug)]
pub struct OpenDocument {
    /// The text and its history.
    pub doc: Document,
    /// Which history.
    pub generation: Generation,
    /// Carets.
    pub awareness: Awareness,
    /// Who has it open.
    pub subscribers: HashMap<PeerId, Subscription>,
    /// How the text is written to a file.
    pub format: TextFormat,
    /// Counts edits of the text since it was loaded.
    pub edits: u64,
    /// Edits that a committed snapshot has.
    pub saved_edits: u64,
    /// Position of the last logged edit.
    pub last_lsn: Lsn,
    /// Snapshots of earlier epochs that it contains.
    pub merged: BTreeMap<Epoch, Lsn>,
    /// Whose the client ids in it are.
    pub authors: Authors,
    /// When the oldest unsaved edit was made.
    pub unsaved_since: Option<Instant>,
    /// When the last edit was made.
    pub last_edit: Instant,
    /// Logged bytes since the last snapshot.
    pub unsaved_bytes: usize,
    /// Edits made by the server itself (seed, disk, upload) are shown to nobody before this
    /// position is durable: after a crash they would be made again with another identity.
    pub hidden_until: Option<Lsn>,
    /// The file.
    pub disk: DiskState,
}

impl OpenDocument {
    /// Whether a snapshot is owed.
    pub fn is_unsaved(&self) -> bool {
        self.edits != self.saved_edits
    }

    /// Takes the text as what the disk is about to hold, for filling a sandbox, and returns the
    /// file's bytes.
    pub fn rest_on_disk(&mut self) -> Bytes {
        let text = self.doc.text();
        let bytes: Bytes = tandem_doc::text::encode_file(&text, self.format).into();
        self.disk = DiskState::at_rest(DiskMerge::new(text), self.edits);
        self.disk.disk_hash = Some(*blake3::hash(&bytes).as_bytes());
        bytes
    }

    /// Whether the file on disk is behind.
    pub fn is_unwritten(&self) -> bool {
        self.edits != self.disk.written_edits || self.disk.in_flight
    }
}

/// A document that is being loaded, and who waits for it.
#[derive(Default)]
pub struct Loading {
    /// Messages that came meanwhile, in order.
    pub waiting: Vec<(PeerId, Arc<str>, Inbound)>,
    /// Updates the log had and the snapshot may lack.
    pub after: Vec<LoggedEdit>,
    /// What else happens when it is there, or could not be loaded.
    pub then: Vec<Continuation>,
}

/// Presence of a document in memory.
pub enum Slot {
    /// On its way.
    Loading(Loading),
    /// Here.
    Open(Box<OpenDocument>),
}

/// All documents of a room.
#[derive(Default)]
pub struct Documents {
    slots: HashMap<FileId, Slot>,
}

impl Documents {
    /// The open document.
    pub fn get(&self, file: FileId) -> Option<&OpenDocument> {
        match self.slots.get(&file) {
            Some(Slot::Open(document)) => Some(document),
            _ => None,
        }
    }

    /// The open document.
    pub fn get_mut(&mut self, file: FileId) -> Option<&mut OpenDocument> {
        match self.slots.get_mut(&file) {
            Some(Slot::Open(document)) => Some(document),
            _ => None,
        }
    }

    /// The slot of a document, whatever its state.
    pub fn slot_mut(&mut self, file: FileId) -> Option<&mut Slot> {
        self.slots.get_mut(&file)
    }

    /// Puts a slot in place and returns the one before.
    pub fn insert(&mut self, file: FileId, slot: Slot) -> Option<Slot> {
        self.slots.insert(file, slot)
    }

    /// Forgets a document.
    pub fn remove(&mut self, file: FileId) -> Option<Slot> {
        self.slots.remove(&file)
    }

    /// Open documents.
    pub fn open(&self) -> impl Iterator<Item = (FileId, &OpenDocument)> {
        self.slots.iter().filter_map(|(file, slot)| match slot {
            Slot::Open(document) => Some((*file, &**document)),
            Slot::Loading(_) => None,
        })
    }

    /// Open documents.
    pub fn open_mut(&mut self) -> impl Iterator<Item = (FileId, &mut OpenDocument)> {
        self.slots.iter_mut().filter_map(|(file, slot)| match slot {
            Slot::Open(document) => Some((*file, &mut **document)),
            Slot::Loading(_) => None,
        })
    }

    /// Open and loading documents.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// A document that is being loaded and whose last edits only the log has.
    pub fn loading_with_log(&self) -> Option<FileId> {
        self.slots.iter().find_map(|(file, slot)| match slot {
            Slot::Loading(loading) if !loading.after.is_empty() => Some(*file),
            _ => None,
        })
    }

    /// Whether there is one of those.
    pub fn is_loading_with_log(&self) -> bool {
        self.loading_with_log().is_some()
    }
}
