//! What is in the files of a repl, beside its tree: where it is stored, how it stands on the disk,
//! and what of it is still owed to the blob store.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tandem_doc::text::TextFormat;
use tandem_proto::agent::Signature;
use tandem_proto::{FileId, Generation, RelPath, limits};
use tandem_store::BlobRef;

use super::tree::{Change, Node};

/// What the blob store and the log have of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Stored {
    /// A document: snapshots of this history, and the log.
    Document {
        /// Which history.
        generation: Generation,
        /// How it is written to a file.
        format: TextFormat,
        /// Key of the last snapshot; `None` while everything is in the log.
        snapshot: Option<String>,
        /// blake3 of the file's bytes at the last snapshot.
        hash: Option<[u8; 32]>,
        /// Bytes of the file at the last snapshot.
        size: u64,
    },
    /// A blob.
    Blob(BlobRef),
}

/// A closed file's state on disk.
#[derive(Debug, Clone, Copy)]
pub struct AtRest {
    /// As last seen.
    pub signature: Signature,
    /// blake3 of its bytes.
    pub hash: [u8; 32],
}

/// A change of the tree or of a file's content, as logged.
#[derive(Debug, Serialize, Deserialize)]
pub struct TreeRecord {
    /// [`super::tree::Tree::version`] after it.
    pub version: u64,
    /// What changed.
    pub change: Logged,
}

/// See [`TreeRecord`].
#[derive(Debug, Serialize, Deserialize)]
pub enum Logged {
    /// The tree.
    Tree(Change),
    /// Where a file's content is.
    Content(FileId, Stored),
}

/// What was deleted, for undo.
#[derive(Debug, Clone)]
pub struct Deleted {
    /// Where it was.
    pub path: RelPath,
    /// Parents first.
    pub nodes: Vec<(FileId, Node, Option<Stored>)>,
    /// When, milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// Changes of a file without a document since it was stored.
#[derive(Debug, Clone, Copy)]
struct Dirt {
    first: Instant,
    last: Instant,
    /// Counts changes: what comes while an older state is stored is told from it.
    changes: u64,
}

/// Contents of files, beside the tree.
#[derive(Debug, Default)]
pub struct Files {
    stored: HashMap<FileId, Stored>,
    at_rest: HashMap<FileId, AtRest>,
    dirty: HashMap<FileId, Dirt>,
    changes: u64,
    not_text: HashSet<FileId>,
}

impl Files {
    /// What is stored of a file.
    pub fn stored(&self, file: FileId) -> Option<&Stored> {
        self.stored.get(&file)
    }

    /// Sets what is stored.
    pub fn set_stored(&mut self, file: FileId, stored: Stored) {
        self.stored.insert(file, stored);
    }

    /// Nothing is stored of it any more.
    pub fn forget_stored(&mut self, file: FileId) {
        self.stored.remove(&file);
    }

    /// Forgets a file.
    pub fn forget(&mut self, file: FileId) -> Option<Stored> {
        self.at_rest.remove(&file);
        self.dirty.remove(&file);
        self.not_text.remove(&file);
        self.stored.remove(&file)
    }

    /// Whether the disk has something newer than what is stored.
    pub fn is_dirty(&self, file: FileId) -> bool {
        self.dirty.contains_key(&file)
    }

    /// Marks a file without a document as changed on disk.
    pub fn mark_dirty(&mut self, file: FileId) {
        self.not_text.remove(&file);
        self.changes += 1;
        let (now, changes) = (Instant::now(), self.changes);
        let dirt = self.dirty.entry(file).or_insert(Dirt { first: now, last: now, changes });
        (dirt.last, dirt.changes) = (now, changes);
    }

    /// Files to be stored, and which state of them that is.
    pub fn dirty(&self) -> impl Iterator<Item = (FileId, u64)> {
        self.dirty.iter().map(|(file, dirt)| (*file, dirt.changes))
    }

    /// The first and the last change that is not stored.
    pub fn dirty_times(&self, file: FileId) -> Option<(Instant, Instant)> {
        self.dirty.get(&file).map(|dirt| (dirt.first, dirt.last))
    }

    /// A file's content was stored as it was after so many `changes`: what came later stays owed.
    pub fn mark_stored(&mut self, file: FileId, changes: u64) {
        if let Some(dirt) = self.dirty.get_mut(&file) {
            if dirt.changes == changes {
                self.dirty.remove(&file);
            } else {
                dirt.first = dirt.last;
            }
        }
    }

    /// No longer a candidate for storing.
    pub fn not_dirty(&mut self, file: FileId) {
        self.dirty.remove(&file);
    }

    /// The closed file's state on disk.
    pub fn at_rest(&self, file: FileId) -> Option<&AtRest> {
        self.at_rest.get(&file)
    }

    /// Remembers a closed file's state on disk.
    pub fn remember(&mut self, file: FileId, at_rest: AtRest) {
        self.at_rest.insert(file, at_rest);
    }

    /// The sandbox is gone: nothing is known of any disk.
    pub fn forget_disk(&mut self) {
        self.at_rest.clear();
    }

    /// Turned out not to be text.
    pub fn mark_not_text(&mut self, file: FileId) {
        self.not_text.insert(file);
    }

    /// Whether it opens as a document, as far as known.
    pub fn may_be_text(&self, file: FileId, size: u64) -> bool {
        size <= limits::MAX_TEXT_BYTES as u64 && !self.not_text.contains(&file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_while_it_is_stored_stays_owed() {
        let file = FileId::from_random([1; 10]);
        let mut files = Files::default();
        files.mark_dirty(file);
        let (_, read) = files.dirty().next().unwrap();
        files.mark_dirty(file);
        files.mark_stored(file, read);
        assert!(files.is_dirty(file), "the second change is not in what was stored");
        let (_, read) = files.dirty().next().unwrap();
        files.mark_stored(file, read);
        assert!(!files.is_dirty(file));
    }
}
