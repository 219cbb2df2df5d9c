//! The documents and the files on the sandbox's disk, kept equal in both directions.
//!
//! [`write`]: what people typed goes to the disk by compare-and-swap. [`inspect`]: what programs
//! wrote comes back as edits, creations, renames and deletions. The merge itself is
//! [`tandem_doc::DiskMerge`]; the file operations are the agent's.

mod inspect;
mod scan;
mod write;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use tandem_proto::agent::{Entry, Signature};
use tandem_proto::{FileId, RelPath};

use super::Continuation;
use super::documents::Documents;

/// A barrier (before Run) waits at most this long for the disk.
const BARRIER: Duration = Duration::from_secs(5);

/// What is known of the disk, and what is owed to it.
#[derive(Default)]
pub struct Disk {
    /// Documents whose text the disk may lack.
    pub unwritten: HashSet<FileId>,
    /// Paths that may have changed.
    pub changed: BTreeSet<RelPath>,
    signatures: HashMap<FileId, Signature>,
    inspecting: bool,
    scanning: bool,
    scan_again: bool,
    scan: Vec<Entry>,
    /// The scan was answered: so many entries, and whether there were more than the limit.
    scan_answer: Option<(usize, bool)>,
    /// Entries of an answered scan are waited for until then.
    scan_until: Option<Instant>,
    barriers: Vec<(Instant, Continuation)>,
    after_scan: Vec<Continuation>,
    adopted: bool,
}

impl Disk {
    /// The sandbox was there before this server.
    pub fn set_adopted(&mut self) {
        self.adopted = true;
    }

    /// The sandbox was there, but not yet its files: it is as good as new.
    pub fn fill_again(&mut self) {
        self.adopted = false;
    }

    /// Whether the sandbox was there before this server and was not scanned yet.
    pub fn is_adopted(&self) -> bool {
        self.adopted
    }

    /// Whether the workspace was filled or scanned.
    pub fn is_known(&self) -> bool {
        !self.signatures.is_empty()
    }

    /// A file's state was seen.
    pub fn saw(&mut self, file: FileId, signature: Signature) {
        self.signatures.insert(file, signature);
    }

    /// A file is gone.
    pub fn forget(&mut self, file: FileId) {
        self.signatures.remove(&file);
    }

    /// Part of a scan.
    pub fn scanned(&mut self, entries: Vec<Entry>) {
        let room = tandem_proto::limits::MAX_TREE_ENTRIES.saturating_sub(self.scan.len());
        self.scan.extend(entries.into_iter().take(room));
    }

    /// Whether all entries of an answered scan are here: they come by another way than the answer.
    pub fn scan_is_whole(&self) -> bool {
        self.scan_answer.is_some_and(|(count, _)| self.scan.len() >= count)
    }

    /// The sandbox is gone.
    pub fn sandbox_gone(&mut self) {
        *self = Self {
            barriers: std::mem::take(&mut self.barriers),
            after_scan: std::mem::take(&mut self.after_scan),
            unwritten: std::mem::take(&mut self.unwritten),
            ..Self::default()
        };
    }

    /// The agent will connect again.
    pub fn connection_lost(&mut self) {
        self.scanning = false;
        self.scan_answer = None;
        self.scan_until = None;
        self.scan.clear();
    }

    /// When something is due.
    pub fn deadline(&self, documents: &Documents) -> Option<Instant> {
        let write = self.unwritten.iter().filter_map(|file| documents.get(*file)?.disk.due).min();
        let barrier = self.barriers.iter().map(|(until, _)| *until).min();
        write.into_iter().chain(barrier).chain(self.scan_until).min()
    }
}
