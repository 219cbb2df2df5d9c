//! A room: the live state of one repl on this node, owned by one task.
//!
//! Invariant 1: nobody else touches a document; the mailbox is the only door. Every method here
//! runs within one turn and never waits. Work that waits (blob store, agent, log) is a task that
//! comes back with a [`Continuation`], which runs in a later turn.

mod base;
mod checkpoints;
mod config;
mod contents;
mod deferred;
mod disk;
mod documents;
mod export;
mod files;
mod fill;
mod flush;
mod history;
mod housekeeping;
mod ignored;
mod late;
mod leaving;
mod live;
mod loading;
mod mailbox;
mod manifest;
mod open;
mod people;
mod project;
mod replay;
mod run;
mod sandbox;
mod seed;
mod sync;
mod terminals;
mod trash;
mod tree;
mod troubles;
mod uploads;

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tandem_proto::{FileId, Lsn, ReplId};
use tandem_store::{LogError, NewRecord, RecordKind};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use checkpoints::NewCheckpoint;
pub use config::RoomConfig;
pub use mailbox::{
    Ask, Command, FileContent, NewPeer, NewVisitor, Reply, RoomError, TerminalDoor, WriteFile,
};
pub(crate) use open::{OpenError, open};
pub use project::{DEFAULT_TASK, Project};
pub(crate) use seed::{SeedFile, seed};

use crate::lease::{HeldLease, wall_ms};
use crate::shared::Shared;
use base::Base;
use deferred::{Action, Deferred};
use documents::Documents;
use flush::Saved;
use history::History;
use leaving::Leaving;
use live::Live;
use people::Peers;
use sandbox::SandboxState;
use terminals::Terminals;
pub use terminals::history as terminal_history;
use tree::Tree;
use troubles::Troubles;

/// One socket of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u64);

/// What a finished task does to the room.
pub type Continuation = Box<dyn FnOnce(&mut Room) + Send>;

/// The door to a room; cheap to clone.
#[derive(Debug, Clone)]
pub struct RoomHandle {
    inbox: mpsc::Sender<Command>,
    summary: watch::Receiver<Summary>,
    closing: CancellationToken,
    finished: CancellationToken,
}

/// What a node reports about a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// People connected.
    pub online: u32,
    /// A sandbox is up.
    pub running: bool,
    /// Last edit or run.
    pub updated_ms: u64,
}

/// How a room is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Flush, and stop the sandbox.
    Stop,
    /// Flush, and leave the sandbox for the next server.
    KeepSandbox,
    /// The lease is lost: write nothing more, stop the sandbox.
    LostLease,
    /// The repl was deleted for good: keep nothing.
    Discard,
}

/// See the module.
pub struct Room {
    repl: ReplId,
    shared: Arc<Shared>,
    lease: HeldLease,
    store: tandem_store::ReplStore,
    inbox: mpsc::Receiver<Command>,
    tasks: JoinSet<Continuation>,

    tree: Tree,
    files: contents::Files,
    documents: Documents,
    peers: Peers,
    live: Live,
    deferred: Deferred,
    durable: watch::Receiver<Lsn>,
    last_lsn: Lsn,
    shipped: watch::Receiver<Lsn>,
    /// Some edit waits for `shipped`.
    awaiting_shipped: bool,

    sandbox: SandboxState,
    waiting_for_sandbox: Vec<Continuation>,
    disk: disk::Disk,
    terminals: Terminals,
    saving: terminals::Saving,
    uploads: uploads::Uploads,
    /// Files of requests that are being stored and are in no tree yet.
    storing: usize,
    ignored: ignored::Ignored,
    project: Project,
    /// How often the project file was looked at: an answer from the store may come after a change.
    project_looks: u64,
    saved: Saved,
    history: History,
    troubles: Troubles,
    late: late::Late,
    leaving: Leaving,
    summary: watch::Sender<Summary>,
    closing: CancellationToken,
    updated_ms: u64,
    ending: Option<Ending>,
    deletions: VecDeque<contents::Deleted>,
    evict: HashSet<FileId>,
    /// What each file held when the log or the manifest last knew, newest last.
    bases: HashMap<FileId, Vec<Base>>,
}

impl RoomHandle {
    /// Puts a message in the mailbox; waits while it is full.
    pub async fn send(&self, command: Command) -> Result<(), RoomError> {
        self.inbox.send(command).await.map_err(|_| RoomError::Closing)
    }

    /// Asks a question.
    pub async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, RoomError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.send(Command::Ask(ask(reply))).await?;
        answer.await.unwrap_or(Err(RoomError::Closing))
    }

    /// Lets a document socket join.
    pub async fn ask_attach(&self, peer: NewPeer) -> Result<PeerId, RoomError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.send(Command::Attach(peer, reply)).await?;
        answer.await.unwrap_or(Err(RoomError::Closing))
    }

    /// Lets a terminal socket join.
    pub async fn ask_visit(&self, visitor: NewVisitor) -> Result<PeerId, RoomError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.send(Command::Visit(visitor, reply)).await?;
        answer.await.unwrap_or(Err(RoomError::Closing))
    }

    /// What the node reports.
    pub fn summary(&self) -> Summary {
        *self.summary.borrow()
    }

    /// Completes when the room has ended and let go of everything.
    pub async fn finished(&self) {
        self.finished.cancelled().await;
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.finished.is_cancelled()
    }

    /// Whether there is no way back: wait for [`RoomHandle::finished`], then open it again.
    pub fn is_closing(&self) -> bool {
        self.closing.is_cancelled() || self.inbox.is_closed()
    }
}

impl Room {
    /// Runs until the room has left or `endings` says how to end. `finished` is cancelled last.
    pub(crate) async fn run(
        mut self,
        mut endings: mpsc::Receiver<Ending>,
        finished: CancellationToken,
    ) {
        let _finished = finished.drop_guard();
        self.started();
        loop {
            let deadline = self.next_deadline();
            tokio::select! {
                biased;
                ending = endings.recv() => {
                    self.end(ending.unwrap_or(Ending::Stop));
                }
                changed = self.durable.changed() => {
                    match changed {
                        Ok(()) => self.became_durable(),
                        Err(_) => self.log_failed(&LogError::Closed),
                    }
                }
                changed = self.shipped.changed(), if self.awaiting_shipped => {
                    match changed {
                        Ok(()) => self.became_shipped(),
                        // At the server's end; snapshots go on.
                        Err(_) => self.awaiting_shipped = false,
                    }
                }
                () = self.troubles.changed() => {
                    self.troubles_changed();
                }
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    match done {
                        Ok(continuation) => continuation(&mut self),
                        Err(error) if error.is_panic() => self.task_panicked(error),
                        Err(_) => {}
                    }
                }
                event = self.sandbox.next_event() => {
                    self.sandbox_event(event);
                }
                command = self.inbox.recv() => {
                    match command {
                        Some(command) => self.command(command),
                        None => self.end(Ending::Stop),
                    }
                }
                () = tokio::time::sleep_until(deadline.into()) => {
                    self.tick(Instant::now());
                }
            }
            self.after_turn();
            if self.may_finish() {
                break;
            }
        }
        self.finish().await;
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Attach(peer, reply) => self.attach(peer, reply),
            Command::Visit(visitor, reply) => self.visit(visitor, reply),
            Command::Detach(peer) => self.detach(peer),
            Command::Document(peer, address, message) => {
                self.document_message(peer, address, message)
            }
            Command::Drained(peer) => self.catch_up(peer),
            Command::Ask(ask) => self.ask(ask),
        }
    }

    fn ask(&mut self, ask: Ask) {
        let ask = match self.log_takes_records() {
            true => Some(ask),
            false => ask.refuse_change(RoomError::Unavailable(
                "the server cannot store changes now: its log takes none".to_owned(),
            )),
        };
        let Some(ask) = ask else { return };
        match ask {
            Ask::Tree(folder, reply) => drop(reply.send(self.list_folder(folder.as_ref()))),
            Ask::ReadFile(path, reply) => self.read_file(&path, reply),
            Ask::WriteFile(request, reply) => self.write_file(request, reply),
            Ask::MakeFolder(path, reply) => self.make_folder(path, reply),
            Ask::Move(from, to, reply) => self.move_file(&from, to, reply),
            Ask::Delete(path, author, reply) => self.delete_safely(path, author, reply),
            Ask::Restore(path, reply) => self.restore_file(&path, reply),
            Ask::Run(task, member, reply) => self.start_run(task, member, reply),
            Ask::Stop(reply) => self.stop_run(reply),
            Ask::OpenTerminal(cols, rows, reply) => self.open_terminal(cols, rows, reply),
            Ask::CloseTerminal(terminal, reply) => self.close_terminal(terminal, reply),
            Ask::RestartTerminal(terminal, reply) => self.restart_terminal(terminal, reply),
            Ask::Terminal(terminal, reply) => self.terminal_door(terminal, reply),
            Ask::Resize { terminal, member, size, drive } => {
                self.resize_terminal(terminal, member, size, drive);
            }
            Ask::Port(port, reply) => self.port_door(port, reply),
            Ask::Status(reply) => {
                drop(reply.send(Ok((self.live_state(), self.documents.len() as u32))));
            }
            Ask::History(path, reply) => self.history_source(&path, reply),
            Ask::RestoreText { path, text, author, reply } => {
                self.restore_text(path, text, author, reply);
            }
            Ask::Checkpoints(reply) => self.list_checkpoints(reply),
            Ask::MakeCheckpoint(new, reply) => self.make_checkpoint(new, reply),
            Ask::DeleteCheckpoint(id, reply) => self.delete_checkpoint(id, reply),
            Ask::RestoreCheckpoint(id, author, reply) => {
                self.restore_checkpoint(id, author, reply);
            }
            Ask::Export(reply) => self.export(reply),
            Ask::Flush(reply) => self.flush_and_reply(reply),
            Ask::Leave(reply) => self.leave_now(reply),
            Ask::Revoke(member, role) => self.revoke(member, role),
        }
    }

    /// Starts a task whose continuation runs in a later turn.
    fn spawn<F>(&mut self, task: F)
    where
        F: Future<Output = Continuation> + Send + 'static,
    {
        self.tasks.spawn(task);
    }

    /// Does something when everything logged so far is durable.
    fn when_durable(&mut self, action: impl FnOnce(&mut Room) + Send + 'static) {
        self.deferred.push(self.last_lsn, Action::Then(Box::new(action)));
        self.became_durable();
    }

    fn became_durable(&mut self) {
        let durable = *self.durable.borrow_and_update();
        if !self.lease.may_ack() {
            return;
        }
        let mut acks: HashMap<(PeerId, FileId), u64> = HashMap::new();
        while let Some(action) = self.deferred.pop(durable) {
            match action {
                Action::Ack { peer, file, seq } => self.collect_ack(&mut acks, peer, file, seq),
                Action::Answer { peer, address, state_vector } => {
                    self.answer_state_vector(peer, &address, &state_vector);
                }
                Action::Show { file, update } => self.broadcast(file, &update, None),
                Action::Then(action) => action(self),
            }
        }
        self.send_acks(acks);
    }

    /// Appends to the log. On failure the room ends: what is in memory is ahead of the log, and
    /// only the log is the truth.
    fn log(&mut self, kind: RecordKind, file: FileId, payload: Bytes) -> Option<Lsn> {
        let record = NewRecord {
            repl: self.repl,
            epoch: self.lease.epoch,
            kind,
            document: file,
            generation: self
                .documents
                .get(file)
                .map(|document| document.generation)
                .unwrap_or_default(),
            author: None,
            wall_ms: wall_ms(),
            payload,
        };
        self.log_record(record)
    }

    fn log_record(&mut self, record: NewRecord) -> Option<Lsn> {
        let logged = record.clone();
        match self.shared.log.append(record) {
            Ok(lsn) => {
                self.note_history(&logged);
                self.last_lsn = lsn;
                Some(lsn)
            }
            Err(error) => {
                self.log_failed(&error);
                None
            }
        }
    }

    fn log_failed(&mut self, error: &LogError) {
        if self.ending.is_none() {
            tracing::error!(repl = %self.repl, %error, "the log cannot be written; closing the room");
            self.peers.close_all(1013, "the server cannot store edits now");
            self.ending = Some(Ending::KeepSandbox);
            self.saved.give_up();
        }
    }

    fn task_panicked(&mut self, error: tokio::task::JoinError) {
        tracing::error!(repl = %self.repl, %error, "a task of the room panicked; closing the room");
        self.peers.close_all(1012, "the repl had to be reopened");
        self.saved.give_up();
        self.ending.get_or_insert(Ending::Stop);
    }

    fn touch(&mut self) {
        self.updated_ms = wall_ms();
    }

    fn next_deadline(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(5);
        [
            self.disk.deadline(&self.documents),
            self.saved.deadline(),
            self.uploads.deadline(),
            self.ignored.deadline(),
            self.late.deadline(),
            self.leaving.deadline(),
            self.live.deadline(),
            self.saving.deadline(),
            self.sandbox.deadline(),
        ]
        .into_iter()
        .flatten()
        .fold(far, Instant::min)
    }

    fn tick(&mut self, now: Instant) {
        self.retry_sandbox(now);
        self.write_due_documents(now);
        self.finish_overdue_scan(now);
        self.upload_if_due(now);
        self.flush_if_due(now);
        self.save_terminals_if_due(now);
        self.save_ignored_if_due(now);
        self.look_for_late(now);
        self.expire_awareness();
        self.resume_put_off();
        self.leave_if_due(now);
        self.poll_usage(now);
    }

    /// After each turn: what follows from any change.
    fn after_turn(&mut self) {
        self.publish_live();
        self.evict_unused();
        let summary = Summary {
            online: self.peers.people().len() as u32,
            running: self.sandbox.is_up(),
            updated_ms: self.updated_ms,
        };
        self.summary.send_if_modified(|old| {
            let changed = *old != summary;
            *old = summary;
            changed
        });
    }
}
