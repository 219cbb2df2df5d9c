//! To the blob store: snapshots of changed documents, and the manifest that names them and the
//! files that were stored beside.
//!
//! Dirty is a comparison of positions. A flush takes states and positions in one turn; what is
//! edited meanwhile stays owed. A snapshot is reloaded and compared before a manifest names it.

mod documents;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tandem_proto::{BootId, Epoch, FileId, Lsn, NodeId};
use tandem_store::{
    Head, LogError, Manifest, Positions, ReplStore, StoredTerminal, join_lineage, merge_positions,
};

use self::documents::Captured;
use super::contents::Stored;
use super::history::{CapturedHistory, Packed};
use super::mailbox::{Reply, RoomError};
use super::{Continuation, Ending, Room};
use crate::lease::wall_ms;
use crate::shared::Shared;

/// Between tries while the blob store fails.
const RETRY: Duration = Duration::from_secs(3);
/// So many times that long, when it goes on failing.
const SLOWEST: u32 = 8;
/// Between looks at what is due.
const LOOK: Duration = Duration::from_millis(200);
/// A document with this much log is saved without waiting for quiet.
const LONG_TAIL: usize = 4 * 1024 * 1024;

type Waiter = Box<dyn FnOnce(&mut Room, Result<(), String>) + Send>;

/// What is owed to the blob store, and how far it is.
pub struct Saved {
    /// Documents that may have edits without a snapshot.
    pub unsaved: HashSet<FileId>,
    tree_since: Option<Instant>,
    in_flight: bool,
    retry_at: Option<Instant>,
    /// In a row.
    failures: u32,
    waiters: Vec<Waiter>,
    given_up: bool,
    /// Terminals that the newest committed manifest names.
    pub terminals: Vec<StoredTerminal>,
    /// When unneeded objects were removed last.
    pub swept_ms: u64,
    head: String,
    /// The head that the database knows, which it has to be told when it moves.
    database_head: Option<String>,
    next_seq: u64,
    lineage: Vec<(Epoch, u64)>,
    /// What the manifest at the opening contained, and the same with the replayed log above it.
    covered: (Positions, Positions),
    /// Documents whose edits only the log has, and that could not be loaded.
    unrecovered: HashSet<FileId>,
    next_look: Option<Instant>,
}

impl Saved {
    /// Nothing owed above this head; the database may know an older one.
    pub fn new(
        head: &Head,
        database_head: Option<String>,
        covered: (Positions, Positions),
    ) -> Self {
        Self {
            unsaved: HashSet::new(),
            tree_since: None,
            in_flight: false,
            retry_at: None,
            failures: 0,
            waiters: Vec::new(),
            given_up: false,
            terminals: Vec::new(),
            swept_ms: head.manifest.swept_ms,
            head: head.key.clone(),
            database_head,
            next_seq: 1,
            lineage: head.manifest.descend(),
            covered,
            unrecovered: HashSet::new(),
            next_look: None,
        }
    }

    /// The tree changed.
    pub fn tree_changed(&mut self) {
        self.tree_since.get_or_insert_with(Instant::now);
        self.look_soon();
    }

    fn look_soon(&mut self) {
        let soon = Instant::now() + LOOK;
        self.next_look = Some(self.next_look.map_or(soon, |look| look.min(soon)));
    }

    /// A document's edits are in the log only and could not be taken from there: the log stays.
    pub fn not_recovered(&mut self, file: FileId) {
        self.unrecovered.insert(file);
    }

    /// Whether a document's edits could not be taken from the log.
    pub fn is_unrecovered(&self, file: FileId) -> bool {
        self.unrecovered.contains(&file)
    }

    /// Nothing more will be written by this room.
    pub fn give_up(&mut self) {
        self.given_up = true;
    }

    /// Whether nothing more is written.
    pub fn gave_up(&self) -> bool {
        self.given_up
    }

    /// What the next manifest will contain of other boots' logs.
    pub fn contained(&self) -> Positions {
        self.covered.1.clone()
    }

    /// The epochs before this one that the next manifest descends from.
    pub fn lineage(&self) -> &[(Epoch, u64)] {
        &self.lineage
    }

    /// Everything of other openings up to here, and these manifests of theirs, is merged.
    pub fn contains(&mut self, positions: &Positions, branches: &[Manifest]) {
        merge_positions(&mut self.covered.1, positions);
        for branch in branches {
            join_lineage(&mut self.lineage, branch);
        }
    }

    /// Whether there is something that no manifest names yet.
    pub fn owes_manifest(&self) -> bool {
        self.tree_since.is_some() || self.in_flight || !self.waiters.is_empty()
    }

    /// The boots whose records are contained.
    pub fn covered_boots(&self) -> impl Iterator<Item = (NodeId, BootId)> + '_ {
        self.covered.1.keys().copied()
    }

    /// Nothing is left of the logs of these boots that could be replayed.
    pub fn forget_boots(&mut self, node: NodeId, boots: &[BootId]) {
        for boot in boots {
            self.covered.0.remove(&(node, *boot));
            self.covered.1.remove(&(node, *boot));
        }
    }

    /// Key of the newest committed manifest.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// When to look again.
    pub fn deadline(&self) -> Option<Instant> {
        let owed =
            !self.unsaved.is_empty() || self.tree_since.is_some() || !self.waiters.is_empty();
        if self.in_flight || self.given_up || !owed {
            return None;
        }
        let look = self.next_look.unwrap_or_else(|| Instant::now() + LOOK);
        Some(self.retry_at.map_or(look, |retry| retry.max(look)))
    }
}

/// What a flush takes along.
struct Capture {
    documents: Vec<Captured>,
    history: CapturedHistory,
    manifest: Manifest,
    stored: HashMap<FileId, Stored>,
    lsn: Lsn,
    head: Option<String>,
    line: Line,
}

/// Which line of manifests a flush adds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// The repl's.
    Head,
    /// One beside it: the repl is lost, and its holder merges what is left here.
    Branch,
}

/// What a flush did.
struct Flushed {
    key: String,
    documents: Vec<(Captured, Stored)>,
    terminals: Vec<StoredTerminal>,
    history: Packed,
    covered: Positions,
    line: Line,
}

impl Room {
    /// Flushes what has been quiet for long enough, or waited for too long.
    pub(super) fn flush_if_due(&mut self, now: Instant) {
        if self.saved.in_flight || self.saved.given_up || !self.lease.may_ack() {
            return;
        }
        if self.saved.retry_at.is_some_and(|retry| retry > now) {
            return;
        }
        let config = &self.shared.room;
        let quiet = |since: Option<Instant>| {
            since.is_some_and(|since| now.duration_since(since) >= config.save_after)
        };
        let wanted = !self.saved.waiters.is_empty() && !self.uploads.in_flight();
        let due = wanted
            || quiet(self.saved.tree_since)
            || self.saved.unsaved.iter().any(|file| {
                self.documents.get(*file).is_some_and(|document| {
                    let waited = document.unsaved_since.map(|since| now.duration_since(since));
                    now.duration_since(document.last_edit) >= config.save_after
                        || waited.is_some_and(|waited| waited >= config.save_within)
                        || document.unsaved_bytes > LONG_TAIL
                })
            });
        self.saved.next_look = Some(now + LOOK);
        if due {
            self.start_flush();
        }
    }

    /// Does something when all that is known now is in the blob store, or could not be put there.
    pub(super) fn when_saved(
        &mut self,
        then: impl FnOnce(&mut Room, Result<(), String>) + Send + 'static,
    ) {
        if self.saved.given_up {
            return then(self, Err("the repl is being closed".to_owned()));
        }
        self.saved.waiters.push(Box::new(then));
        self.want_uploads();
        if !self.saved.in_flight && !self.upload_before_flush() {
            self.saved.retry_at = None;
            self.start_flush();
        }
    }

    /// Files were stored: whoever waits for everything is next.
    pub(super) fn flush_if_wanted(&mut self) {
        let wanted = !self.saved.waiters.is_empty() && !self.saved.given_up;
        if wanted && !self.saved.in_flight && !self.upload_before_flush() {
            self.saved.retry_at = None;
            self.start_flush();
        }
    }

    /// Something could not be stored: whoever waits for everything is told.
    pub(super) fn saved_in_vain(&mut self, reason: &str) {
        for waiter in std::mem::take(&mut self.saved.waiters) {
            waiter(self, Err(reason.to_owned()));
        }
    }

    /// Answers when everything is in the blob store.
    pub(super) fn flush_and_reply(&mut self, reply: Reply<()>) {
        self.when_saved(move |_, outcome| {
            drop(reply.send(outcome.map_err(RoomError::Unavailable)))
        });
    }

    fn start_flush(&mut self) {
        if self.documents.is_loading_with_log() {
            // Their edits are not in any state that could be captured yet.
            return self.saved.look_soon();
        }
        // A waiter that comes while this runs waits for the next one, and so does one whose files
        // are still on their way.
        let waiters = match self.uploads.in_flight() {
            true => Vec::new(),
            false => std::mem::take(&mut self.saved.waiters),
        };
        let capture = match self.capture() {
            Some(capture) => capture,
            None => return,
        };
        self.saved.in_flight = true;
        self.saved.tree_since = None;
        let (shared, store) = (self.shared.clone(), self.store.clone());
        self.spawn(async move {
            let outcome = flush(&shared, &store, capture).await;
            Box::new(move |room: &mut Room| room.flushed(outcome, waiters)) as Continuation
        });
    }

    fn capture(&mut self) -> Option<Capture> {
        let documents = match self.capture_documents() {
            Ok(documents) => documents,
            Err(broken) => {
                self.document_broke(broken);
                return None;
            }
        };
        let covered = self.covered();
        let seq = self.saved.next_seq;
        self.saved.next_seq += 1;
        Some(Capture {
            documents,
            history: self.capture_history(),
            manifest: self.manifest(seq, covered),
            stored: self.stored_of_tree(),
            lsn: self.last_lsn,
            head: self.saved.database_head.clone(),
            line: self.line(),
        })
    }

    /// The log records that are in what is being captured: all, unless a document could not be
    /// rebuilt from its log, which then has to stay whole.
    fn covered(&self) -> Positions {
        let (at_opening, replayed) = &self.saved.covered;
        if !self.saved.unrecovered.is_empty() {
            return at_opening.clone();
        }
        let mut covered = replayed.clone();
        covered.insert((self.shared.node, self.shared.boot), self.last_lsn);
        covered
    }

    fn flushed(&mut self, outcome: Result<Flushed, FlushError>, waiters: Vec<Waiter>) {
        self.saved.in_flight = false;
        let outcome = match outcome {
            Ok(flushed) => {
                self.committed(flushed);
                Ok(())
            }
            Err(error) => {
                self.flush_failed(&error);
                Err(error.to_string())
            }
        };
        for waiter in waiters {
            waiter(self, outcome.clone());
        }
        self.flush_if_wanted();
    }

    fn committed(&mut self, flushed: Flushed) {
        self.saved.retry_at = None;
        self.saved.failures = 0;
        self.saved.head.clone_from(&flushed.key);
        self.saved.database_head = Some(flushed.key);
        if self.troubles.saving.take().is_some() {
            tracing::info!(repl = %self.repl, "the blob store answers again");
            self.troubles_changed();
        }
        for (captured, stored) in flushed.documents {
            self.document_saved(captured, stored);
        }
        self.saved.terminals = flushed.terminals;
        self.forget_replaced_scrollback();
        self.history.packed(flushed.history);
        self.keep_history_small();
        if flushed.line == Line::Head {
            self.shared.log.covered(self.repl, &flushed.covered);
            self.sweep_if_due();
        }
    }

    fn line(&self) -> Line {
        match self.ending {
            Some(Ending::LostLease) => Line::Branch,
            _ => Line::Head,
        }
    }

    fn flush_failed(&mut self, error: &FlushError) {
        self.saved.failures = (self.saved.failures + 1).min(SLOWEST);
        // Not all repls at once: the store has trouble enough.
        let pause = RETRY * self.saved.failures;
        self.saved.retry_at = Some(Instant::now() + pause.mul_f64(rand::random_range(0.7..1.3)));
        self.saved.tree_changed();
        match error {
            FlushError::HeadMoved => {
                tracing::error!(repl = %self.repl, "another node moved the head of this repl; closing the room");
                self.end(Ending::LostLease);
            }
            FlushError::Store(reason) => {
                self.blob_store_fails(reason);
            }
            FlushError::Diverged(file) => {
                self.saved.retry_at = None;
                self.start_new_history(*file);
            }
        }
    }

    /// Shows that nothing gets to the blob store now, and logs it once.
    pub(super) fn blob_store_fails(&mut self, reason: &str) {
        if self.troubles.saving.is_none() {
            tracing::error!(repl = %self.repl, reason, "the blob store cannot be written; edits stay in the log");
        }
        self.troubles.saving = Some(reason.to_owned());
        self.troubles_changed();
    }
}

#[derive(Debug, thiserror::Error)]
enum FlushError {
    #[error("another node holds this repl now")]
    HeadMoved,
    #[error("the blob store cannot be written: {0}")]
    Store(String),
    #[error("the history of a document cannot be stored")]
    Diverged(FileId),
}

fn store_error(error: impl std::fmt::Display) -> FlushError {
    FlushError::Store(error.to_string())
}

async fn flush(
    shared: &Arc<Shared>,
    store: &ReplStore,
    capture: Capture,
) -> Result<Flushed, FlushError> {
    let Capture { documents, history, mut manifest, mut stored, lsn, head, line } = capture;
    match shared.log.wait_durable(lsn).await {
        Ok(()) => {}
        // A full log gets room only by what is saved. Records it could not write yet are in the
        // state that was captured; when it writes them after all, they are merely known.
        Err(LogError::ReadOnly { .. }) => {
            let durable = *shared.log.durable().borrow();
            if let Some(covered) = manifest.covered.get_mut(&(shared.node, shared.boot)) {
                *covered = durable.min(lsn);
            }
        }
        Err(error) => return Err(store_error(error)),
    }
    let epoch = manifest.epoch;
    // Before the snapshots, which replace what leads to the first of these edits.
    let history = super::history::store(store, history).await.map_err(store_error)?;
    manifest.history.extend(history.pack.clone());
    let saved = documents::store(store, epoch, documents).await?;
    stored.extend(saved.iter().map(|(captured, stored)| (captured.file, stored.clone())));
    super::manifest::set_contents(&mut manifest, &stored);
    manifest.saved_ms = wall_ms();
    let (covered, terminals) = (manifest.covered.clone(), manifest.terminals.clone());
    let repl = manifest.repl;
    // The database may not be the only one: whoever opened the repl since has left its name.
    if line == Line::Head && store.highest_epoch().await.map_err(store_error)? > epoch {
        return Err(FlushError::HeadMoved);
    }
    let key = store.put_manifest(&manifest).await.map_err(store_error)?;
    let flushed = Flushed { key: key.clone(), documents: saved, terminals, history, covered, line };
    if line == Line::Branch {
        return Ok(flushed);
    }
    match shared.web.move_head(repl, epoch, head, key).await {
        Ok(true) => Ok(flushed),
        Ok(false) => Err(FlushError::HeadMoved),
        Err(error) => Err(store_error(error)),
    }
}
