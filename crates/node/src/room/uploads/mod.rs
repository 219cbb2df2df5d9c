//! Files without a document: what programs wrote goes to the blob store on the same clock as
//! documents, but beside them, so that a large file holds no document up.
//!
//! A file is dirty by a count of its changes, not by a flag: what changes while it is read stays
//! owed. Nothing here is promised to be of one moment but what [`read`] says of groups.

mod read;

use std::time::{Duration, Instant};

use tandem_proto::{FileId, RelPath, limits};
use tandem_store::BlobRef;

use super::contents::Stored;
use super::tree::Kind;
use super::{Continuation, Room};

/// Between tries while the blob store fails.
const RETRY: Duration = Duration::from_secs(3);
/// Between looks at what is due.
const LOOK: Duration = Duration::from_millis(200);
/// Before somebody who waits is answered, what changed meanwhile is stored so many times more.
const ROUNDS: u8 = 2;

/// How far storing files is.
#[derive(Default)]
pub struct Uploads {
    next_look: Option<Instant>,
    retry_at: Option<Instant>,
    in_flight: bool,
    rounds: u8,
}

impl Uploads {
    /// A file changed.
    pub fn look_soon(&mut self) {
        let soon = Instant::now() + LOOK;
        self.next_look = Some(self.next_look.map_or(soon, |look| look.min(soon)));
    }

    /// Whether files are on their way.
    pub fn in_flight(&self) -> bool {
        self.in_flight
    }

    /// When to look again.
    pub fn deadline(&self) -> Option<Instant> {
        let look = self.next_look.filter(|_| !self.in_flight)?;
        Some(self.retry_at.map_or(look, |retry| retry.max(look)))
    }
}

/// A file that the disk has newer than the blob store.
#[derive(Debug, Clone)]
struct Dirty {
    file: FileId,
    path: RelPath,
    /// Its changes when it was chosen; 0 of a companion that did not change.
    changes: u64,
    size: u64,
}

/// What became of a [`Dirty`] file.
#[derive(Debug)]
enum Outcome {
    /// Stored as it was from the first byte to the last.
    Stored(BlobRef),
    /// Stored as it was read while it kept changing; it stays owed.
    Torn(BlobRef),
    /// A database that is written all the time: an older state of it stays, and it stays owed.
    Busy,
    /// It is gone, or is no file any more.
    Gone,
    /// Over what is stored of one file.
    TooLarge,
    /// The sandbox's user may not read it.
    Denied,
    /// It could not be read now; it stays owed.
    Later,
}

impl Room {
    /// Stores what has been quiet for long enough, or waited for too long.
    pub(super) fn upload_if_due(&mut self, now: Instant) {
        let early = self.uploads.deadline().is_none_or(|due| due > now);
        if early || self.saved.gave_up() || !self.lease.may_ack() {
            return;
        }
        let dirty = self.dirty_files();
        self.uploads.next_look = (!dirty.is_empty()).then(|| now + LOOK);
        let config = &self.shared.room;
        let due: Vec<Dirty> = dirty
            .into_iter()
            .filter(|dirty| {
                self.files.dirty_times(dirty.file).is_some_and(|(first, last)| {
                    now.duration_since(last) >= config.save_after
                        || now.duration_since(first) >= config.save_within
                })
            })
            .collect();
        if !due.is_empty() {
            self.upload(due);
        }
    }

    /// Stores everything that is owed, so that a flush can name it; whether there is anything.
    pub(super) fn upload_before_flush(&mut self) -> bool {
        if self.uploads.in_flight {
            return true;
        }
        let dirty = self.dirty_files();
        if dirty.is_empty() || self.uploads.rounds == 0 {
            return false;
        }
        self.uploads.rounds -= 1;
        self.upload(dirty);
        true
    }

    /// Somebody waits for everything.
    pub(super) fn want_uploads(&mut self) {
        self.uploads.rounds = ROUNDS;
        self.uploads.retry_at = None;
    }

    fn dirty_files(&self) -> Vec<Dirty> {
        if self.sandbox.ready_link().is_none() {
            return Vec::new();
        }
        self.files.dirty().filter_map(|(file, changes)| self.dirty_file(file, changes)).collect()
    }

    fn dirty_file(&self, file: FileId, changes: u64) -> Option<Dirty> {
        let path = self.tree.path(file)?;
        let node = self.tree.get(file).filter(|node| node.kind == Kind::File)?;
        let wanted = !self.project.skips(&path);
        wanted.then_some(Dirty { file, path, changes, size: node.size })
    }

    fn upload(&mut self, dirty: Vec<Dirty>) {
        let Some(link) = self.sandbox.ready_link().cloned() else { return };
        let groups = read::groups(dirty, |path| {
            let file = self.tree.find(path)?;
            let is_document = matches!(self.files.stored(file), Some(Stored::Document { .. }));
            self.dirty_file(file, 0).filter(|_| !is_document)
        });
        let store = self.store.clone();
        self.uploads.in_flight = true;
        self.spawn(async move {
            let mut done = Vec::new();
            let mut failed = None;
            for batch in read::batches(groups) {
                match read::store(&store, &link, batch).await {
                    Ok(outcomes) => done.extend(outcomes),
                    Err(error) => {
                        failed = Some(error.to_string());
                        break;
                    }
                }
            }
            Box::new(move |room: &mut Room| room.uploaded(done, failed)) as Continuation
        });
    }

    fn uploaded(&mut self, done: Vec<(Dirty, Outcome)>, failed: Option<String>) {
        self.uploads.in_flight = false;
        let mut torn = false;
        for (dirty, outcome) in done {
            torn |= matches!(outcome, Outcome::Torn(_) | Outcome::Busy);
            self.file_uploaded(dirty, outcome);
        }
        self.live.standing(
            "torn",
            torn.then(|| {
                "Some files change faster than they can be read: until they rest, their saved \
                 copies are older, or mix several states."
                    .to_owned()
            }),
        );
        self.uploads.look_soon();
        match failed {
            Some(reason) => {
                self.uploads.retry_at = Some(Instant::now() + RETRY);
                self.blob_store_fails(&reason);
                self.saved_in_vain(&reason);
            }
            None => {
                self.uploads.retry_at = None;
                self.flush_if_wanted();
            }
        }
    }

    fn file_uploaded(&mut self, dirty: Dirty, outcome: Outcome) {
        let Dirty { file, path, changes, .. } = dirty;
        let mib = limits::MAX_UPLOAD_BYTES / (1024 * 1024);
        let too_large = matches!(outcome, Outcome::TooLarge).then(|| {
            format!("{path} is larger than {mib} MiB and is not saved beyond this machine.")
        });
        let denied = matches!(outcome, Outcome::Denied)
            .then(|| format!("{path} may not be read and is not saved beyond this machine."));
        self.live.standing(&format!("unsaved {file}"), too_large.or(denied));
        let blob = match outcome {
            Outcome::Stored(blob) => {
                self.files.mark_stored(file, changes);
                blob
            }
            Outcome::Torn(blob) => blob,
            Outcome::Gone if read::is_journal(&path) => {
                // An old journal beside a newer database would undo what is in it.
                self.files.mark_stored(file, changes);
                if matches!(self.files.stored(file), Some(Stored::Blob(_))) {
                    self.files.forget_stored(file);
                    self.saved.tree_changed();
                }
                return;
            }
            Outcome::Gone | Outcome::TooLarge | Outcome::Denied => {
                return self.files.mark_stored(file, changes);
            }
            Outcome::Later | Outcome::Busy => return,
        };
        let stored = Stored::Blob(blob);
        let known = self.files.stored(file);
        let is_document = matches!(known, Some(Stored::Document { .. }));
        if self.tree.get(file).is_some() && !is_document && known != Some(&stored) {
            self.files.set_stored(file, stored);
            self.saved.tree_changed();
        }
    }
}
