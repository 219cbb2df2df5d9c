//! Ignored folders (`node_modules`, `.venv`): nobody watches inside, and they are made of too many
//! files to be saved one by one. Each is saved as a whole, as a tar in pieces, every few minutes and
//! at leave, and comes back when a sandbox is filled, after the files that people edit.
//!
//! A folder is taken file by file, not at one moment, while programs run; at leave nothing runs.
//! One that could not be saved keeps the state that is stored, and people are told: at once and,
//! since at leave nobody is there, when the repl is opened again.

mod pieces;
mod restore;
mod save;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tandem_proto::{FileId, RelPath};
use tandem_store::StoredFolder;
use tokio::sync::watch;

pub use self::restore::{Restored, restore};
use self::save::{Budget, Unsaved, save};
use super::tree::Kind;
use super::{Continuation, Ending, Room};

/// A save takes no longer, however large the folders, …
const LIMIT: Duration = Duration::from_secs(600);
/// … and no longer than this when the server's stop waits for it.
const LIMIT_AT_STOP: Duration = Duration::from_secs(15);
/// A folder that was not there before is saved after this.
const NEW: Duration = Duration::from_secs(30);
/// Between tries while the blob store fails.
const RETRY: Duration = Duration::from_secs(30);
/// Folders of one repl.
const MAX_FOLDERS: usize = 200;
/// Whoever changes more than this between two saves is saved that much less often, …
const CHEAP_BYTES: u64 = 64 * 1024 * 1024;
/// … down to this.
const SELDOM: u64 = 12;

/// What waits for a save; an error: the blob store failed.
type Then = Box<dyn FnOnce(&mut Room, Result<(), String>) + Send>;

/// How long a save may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Calm,
    /// Somebody waits.
    Hurry,
    /// Nobody needs it any more.
    End,
}

/// What is saved of ignored folders.
#[derive(Default)]
pub struct Ignored {
    stored: BTreeMap<RelPath, StoredFolder>,
    due: Option<Instant>,
    in_flight: Option<watch::Sender<Pace>>,
    waiting: Vec<Then>,
    /// They did not come back: what is stored is better than what is on disk.
    refused: HashSet<RelPath>,
}

/// What came of a save.
struct Saves {
    /// Of each folder it got to.
    outcomes: Vec<(RelPath, Result<StoredFolder, Unsaved>)>,
    stored_bytes: u64,
    pace: Pace,
}

impl Ignored {
    /// What the manifest has.
    pub fn new(stored: Vec<StoredFolder>) -> Self {
        let stored = stored.into_iter().take(MAX_FOLDERS);
        Self { stored: stored.map(|it| (it.path.clone(), it)).collect(), ..Self::default() }
    }

    /// For the manifest.
    pub fn stored(&self) -> Vec<StoredFolder> {
        self.stored.values().cloned().collect()
    }

    /// When to save next.
    pub fn deadline(&self) -> Option<Instant> {
        self.due.filter(|_| self.in_flight.is_none())
    }

    /// A folder is there that was not before.
    pub fn appeared(&mut self) {
        let soon = Instant::now() + NEW;
        self.due = self.due.map(|due| due.min(soon));
    }

    /// The room ends: a save under way ends soon, or at once.
    pub fn end(&mut self, ending: Ending) {
        if let Some(pace) = &self.in_flight {
            pace.send_replace(pace_at(Some(ending)));
        }
    }
}

fn pace_at(ending: Option<Ending>) -> Pace {
    match ending {
        None => Pace::Calm,
        Some(Ending::Stop) => Pace::Hurry,
        // The sandbox stays, or another one counts.
        Some(Ending::KeepSandbox | Ending::LostLease | Ending::Discard) => Pace::End,
    }
}

impl Room {
    /// Saves ignored folders when it is time.
    pub(super) fn save_ignored_if_due(&mut self, now: Instant) {
        if self.sandbox.ready_link().is_none() || self.saved.gave_up() || !self.lease.may_ack() {
            self.ignored.due = None;
            return;
        }
        let every = self.shared.room.save_ignored_every;
        let due = *self.ignored.due.get_or_insert(now + every);
        if due <= now && self.ignored.in_flight.is_none() {
            self.save_ignored(Box::new(|_, _| {}));
        }
    }

    /// Saves every ignored folder, then does `then`.
    pub(super) fn save_ignored(&mut self, then: Then) {
        self.ignored.waiting.push(then);
        if self.ignored.in_flight.is_some() {
            return;
        }
        let waiting = std::mem::take(&mut self.ignored.waiting);
        let roots = self.ignored_roots();
        let link = self.sandbox.ready_link().cloned();
        let pace = pace_at(self.ending);
        let nothing = roots.is_empty() && self.ignored.stored.is_empty();
        let Some(link) = link.filter(|_| !nothing && pace != Pace::End) else {
            self.ignored.due = None;
            for then in waiting {
                then(self, Ok(()));
            }
            return;
        };
        let refused = &self.ignored.refused;
        let wanted: Vec<RelPath> =
            roots.iter().filter(|path| !refused.contains(*path)).cloned().collect();
        let stored = self.ignored.stored.values().flat_map(|folder| &folder.chunks);
        let mut budget = Budget {
            left: self.shared.room.ignored_bytes,
            known: Arc::new(stored.map(|piece| piece.hash).collect()),
            stored: 0,
            skip: self.project.skip.clone(),
        };
        let store = self.store.clone();
        let (pace, mut paced) = watch::channel(pace);
        self.ignored.in_flight = Some(pace);
        // Pieces that no manifest names yet must not be swept.
        self.storing += 1;
        self.spawn(async move {
            let mut outcomes = Vec::new();
            let saving = async {
                for path in wanted {
                    let saved = save(&link, &store, &path, &mut budget).await;
                    let failed = matches!(saved, Err(Unsaved::Store(_)));
                    outcomes.push((path, saved));
                    if failed {
                        break;
                    }
                }
            };
            tokio::select! {
                () = saving => {}
                // What is not through by then keeps its older state.
                () = time_is_up(paced.clone()) => {}
            }
            let pace = *paced.borrow_and_update();
            let saves = Saves { outcomes, stored_bytes: budget.stored, pace };
            Box::new(move |room: &mut Room| {
                room.storing -= 1;
                room.ignored.in_flight = None;
                let outcome = room.ignored_saved(&roots, saves);
                for then in waiting {
                    then(room, outcome.clone());
                }
                if !room.ignored.waiting.is_empty() {
                    room.save_ignored(Box::new(|_, _| {}));
                }
            }) as Continuation
        });
    }

    /// The topmost ignored folders that are to be saved.
    fn ignored_roots(&self) -> BTreeSet<RelPath> {
        let mut roots = BTreeSet::new();
        let mut open = vec![FileId::ROOT];
        while let Some(folder) = open.pop() {
            for (name, id) in self.tree.children(folder) {
                if !self.tree.get(id).is_some_and(|node| node.kind == Kind::Folder) {
                    continue;
                }
                if !self.project.ignore.iter().any(|ignored| ignored == name) {
                    open.push(id);
                    continue;
                }
                if let Some(path) = self.tree.path(id).filter(|path| !self.project.skips(path))
                    && roots.len() < MAX_FOLDERS
                {
                    roots.insert(path);
                }
            }
        }
        roots
    }

    fn ignored_saved(&mut self, roots: &BTreeSet<RelPath>, saves: Saves) -> Result<(), String> {
        let every = self.shared.room.save_ignored_every;
        let times = (saves.stored_bytes / CHEAP_BYTES).min(SELDOM - 1) as u32 + 1;
        let mut next = every * times;
        let before = self.ignored.stored.clone();
        self.ignored.stored.retain(|path, _| roots.contains(path));
        self.ignored.refused.retain(|path| roots.contains(path));
        let mut unsaved: BTreeSet<&RelPath> =
            roots.iter().filter(|path| !self.ignored.refused.contains(*path)).collect();
        let (mut too_large, mut unread, mut failed) = (Vec::new(), Vec::new(), None);
        for (path, outcome) in saves.outcomes {
            match outcome {
                Ok(folder) => {
                    unsaved.remove(&path);
                    self.ignored.stored.insert(path, folder);
                }
                Err(Unsaved::TooLarge) => too_large.push(path.to_string()),
                Err(Unsaved::Unread(reason)) => unread.push(format!("{path} ({reason})")),
                Err(Unsaved::Store(reason)) => failed = Some(reason),
            }
        }
        if failed.is_some() {
            // Nothing is wrong with the folders: the next try is for all of them.
            next = RETRY.min(every);
        } else {
            for path in unsaved {
                let folder = self.ignored.stored.entry(path.clone());
                let none = || StoredFolder {
                    path: path.clone(),
                    chunks: Vec::new(),
                    bytes: 0,
                    behind: true,
                };
                folder.or_insert_with(none).behind = true;
            }
            if saves.pace == Pace::Calm {
                self.tell_of_unsaved(&too_large, &unread);
            }
        }
        self.ignored.due = Some(Instant::now() + next);
        if self.ignored.stored != before {
            self.saved.tree_changed();
        }
        match failed {
            None => Ok(()),
            Some(reason) => {
                tracing::debug!(repl = %self.repl, reason, "ignored folders were not stored");
                Err(reason)
            }
        }
    }

    fn tell_of_unsaved(&mut self, too_large: &[String], unread: &[String]) {
        let mib = self.shared.room.ignored_bytes / (1024 * 1024);
        let over = format!(
            "Not saved beyond this machine: {}. All ignored folders of a repl may have {mib} MiB, and each {} files. [save] skip in tandem.toml says what never to save.",
            too_large.join(", "),
            tandem_proto::limits::MAX_ARCHIVE_ENTRIES,
        );
        let odd = format!("Not saved beyond this machine for now: {}.", unread.join(", "));
        self.live.standing("ignored over", (!too_large.is_empty()).then_some(over));
        self.live.standing("ignored unread", (!unread.is_empty()).then_some(odd));
    }

    /// The sandbox was filled; not everything may be as it was.
    pub(super) fn ignored_restored(&mut self, restored: Restored) {
        let list =
            |paths: &[RelPath]| paths.iter().map(RelPath::as_str).collect::<Vec<_>>().join(", ");
        let Restored { refused, damaged, behind } = restored;
        if !refused.is_empty() {
            self.live.note(format!(
                "Could not be brought back whole: {}. Is there not enough space? What is saved of it stays as it is until the repl is opened again.",
                list(&refused)
            ));
        }
        if !damaged.is_empty() {
            self.live.note(format!(
                "What was saved is damaged and must be made again: {}.",
                list(&damaged)
            ));
        }
        if !behind.is_empty() {
            self.live.note(format!(
                "Older than it was, or missing, since its last state could not be saved: {}. Make it again, for instance by installing the packages.",
                list(&behind)
            ));
        }
        self.ignored.refused = refused.into_iter().collect();
    }

    /// What a fill puts back after the files of the tree.
    pub(super) fn ignored_to_restore(&self) -> Vec<StoredFolder> {
        let there = |folder: &&StoredFolder| self.tree.find(&folder.path).is_some();
        self.ignored.stored.values().filter(there).cloned().collect()
    }
}

async fn time_is_up(mut paced: watch::Receiver<Pace>) {
    let changed = paced.wait_for(|pace| *pace != Pace::Calm);
    drop(tokio::time::timeout(LIMIT, changed).await);
    // Not so after the whole time, nor when nobody needs it.
    if *paced.borrow() == Pace::Hurry {
        let ended = paced.wait_for(|pace| *pace == Pace::End);
        drop(tokio::time::timeout(LIMIT_AT_STOP, ended).await);
    }
}
