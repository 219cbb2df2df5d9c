//! The end of a room: the grace time after the last person, and the order of leaving.
//!
//! Stop user processes (the agent stays) → last scan → write back → flush → manifest committed →
//! stop the sandbox and remove its files. While the blob store fails nothing is removed. Somebody
//! who returns before the sandbox is stopped cancels it.

use std::time::{Duration, Instant};

use tandem_proto::agent::Op;

use super::mailbox::{Reply, RoomError};
use super::{Continuation, Ending, Room};

/// Between tries to leave while the blob store fails.
const RETRY: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// People are here, or nobody has come yet.
    Staying,
    /// Nobody is here; leave at this time.
    Grace(Instant),
    /// Processes are being stopped, the disk is being read.
    Settling,
    /// The last flush is under way.
    Saving,
    /// The sandbox is being stopped; there is no way back.
    Closing,
    /// Everything is done.
    Left,
}

/// See the module.
pub struct Leaving {
    phase: Phase,
    replies: Vec<Reply<()>>,
}

impl Leaving {
    /// A room that nobody has entered leaves after the grace time, too.
    pub fn new(grace: Duration) -> Self {
        Self { phase: Phase::Grace(Instant::now() + grace), replies: Vec::new() }
    }

    /// Programs that end now are ended by us.
    pub fn stops_programs(&self) -> bool {
        !matches!(self.phase, Phase::Staying | Phase::Grace(_))
    }

    /// When to leave.
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Grace(at) => Some(at),
            _ => None,
        }
    }
}

impl Room {
    /// The last socket went.
    pub(super) fn begin_grace(&mut self) {
        if self.leaving.phase == Phase::Staying && !self.job_holds() {
            self.leaving.phase = Phase::Grace(Instant::now() + self.shared.room.idle_grace);
        }
    }

    fn job_holds(&self) -> bool {
        self.shared.room.wait_for_jobs && self.terminals.is_running()
    }

    /// A run ended: a room that only waited for it starts its grace time.
    pub(super) fn job_ended(&mut self) {
        if self.peers.is_empty() {
            self.begin_grace();
        }
    }

    /// Somebody came; answers whether the room can still be entered.
    pub(super) fn cancel_leaving(&mut self) -> bool {
        match self.leaving.phase {
            Phase::Closing | Phase::Left => false,
            Phase::Staying => true,
            Phase::Grace(_) | Phase::Settling | Phase::Saving => {
                self.leaving.phase = Phase::Staying;
                for reply in self.leaving.replies.drain(..) {
                    drop(reply.send(Err(RoomError::Conflict("somebody came back".to_owned()))));
                }
                true
            }
        }
    }

    /// Leaves now, whoever is here.
    pub(super) fn leave_now(&mut self, reply: Reply<()>) {
        self.leaving.replies.push(reply);
        self.peers.close_all(1012, "the repl is being closed");
        if matches!(self.leaving.phase, Phase::Staying | Phase::Grace(_)) {
            self.settle();
        }
    }

    pub(super) fn leave_if_due(&mut self, now: Instant) {
        if let Phase::Grace(at) = self.leaving.phase
            && at <= now
        {
            if self.job_holds() {
                self.leaving.phase = Phase::Staying;
                return;
            }
            tracing::info!(repl = %self.repl, "nobody is here; closing the repl");
            self.settle();
        }
    }

    /// Stops the processes and takes in what they wrote.
    fn settle(&mut self) {
        self.leaving.phase = Phase::Settling;
        let Some(link) = self.sandbox.ready_link().cloned() else { return self.save_and_close() };
        let grace_ms = self.shared.room.stop_grace.as_millis() as u64;
        self.spawn(async move {
            let stopped = link.request(Op::StopProcesses { grace_ms }).await;
            Box::new(move |room: &mut Room| {
                if let Err(error) = stopped {
                    tracing::warn!(repl = %room.repl, %error, "the processes could not be stopped one by one");
                }
                if room.leaving.phase == Phase::Settling {
                    room.when_scanned(|room| {
                        room.when_written(|room| {
                            room.save_terminals(Box::new(Room::save_ignored_and_close));
                        });
                    });
                }
            }) as Continuation
        });
    }

    fn save_ignored_and_close(&mut self) {
        if self.leaving.phase != Phase::Settling {
            return;
        }
        self.save_ignored(Box::new(|room, outcome| match outcome {
            Ok(()) => room.save_and_close(),
            // A stop does not wait for the store; what people wrote is in the log.
            Err(_) if room.ending.is_some() => room.save_and_close(),
            Err(reason) if room.leaving.phase == Phase::Settling => room.stay(&reason),
            Err(_) => {}
        }));
    }

    /// It cannot be saved now: another try comes soon.
    fn stay(&mut self, reason: &str) {
        tracing::warn!(repl = %self.repl, reason, "the repl stays: it cannot be saved");
        for reply in self.leaving.replies.drain(..) {
            drop(reply.send(Err(RoomError::Unavailable(reason.to_owned()))));
        }
        if self.ending.is_some() {
            // The log has everything; the server is stopping.
            return self.close();
        }
        self.leaving.phase = Phase::Grace(Instant::now() + RETRY);
    }

    fn save_and_close(&mut self) {
        if self.leaving.phase != Phase::Settling {
            return;
        }
        self.leaving.phase = Phase::Saving;
        self.when_saved(|room, outcome| {
            if room.leaving.phase != Phase::Saving {
                return;
            }
            match outcome {
                Ok(()) if room.owes_nothing() => room.close(),
                Ok(()) => {
                    room.leaving.phase = Phase::Settling;
                    room.when_written(Room::save_and_close);
                }
                Err(reason) => room.stay(&reason),
            }
        });
    }

    fn owes_nothing(&self) -> bool {
        self.documents.open().all(|(_, document)| !document.is_unsaved())
    }

    /// Stops the sandbox; there is no way back.
    fn close(&mut self) {
        self.leaving.phase = Phase::Closing;
        self.closing.cancel();
        self.live.changed();
        let keep = self.ending == Some(Ending::KeepSandbox);
        let Some(id) = self.sandbox.take().filter(|_| !keep) else {
            self.leaving.phase = Phase::Left;
            return;
        };
        let shared = self.shared.clone();
        let grace = self.shared.room.stop_grace;
        self.spawn(async move {
            let stopped = shared.stop_sandbox(id, grace).await;
            Box::new(move |room: &mut Room| {
                if let Err(error) = stopped {
                    tracing::error!(repl = %room.repl, %error, "the sandbox could not be stopped");
                }
                room.leaving.phase = Phase::Left;
            }) as Continuation
        });
    }

    /// The node tells the room to end.
    pub(super) fn end(&mut self, ending: Ending) {
        if self.ending.is_some_and(|before| before == ending || before == Ending::LostLease) {
            return;
        }
        self.ending = Some(ending);
        self.ignored.end(ending);
        match ending {
            Ending::Stop => {
                self.peers.close_all(1012, "the server is stopping");
                if matches!(self.leaving.phase, Phase::Staying | Phase::Grace(_)) {
                    self.settle();
                }
            }
            Ending::KeepSandbox => {
                self.peers.close_all(1012, "the server is restarting");
                if matches!(self.leaving.phase, Phase::Staying | Phase::Grace(_)) {
                    self.leaving.phase = Phase::Settling;
                    self.save_terminals(Box::new(Room::save_and_close));
                }
            }
            Ending::LostLease => {
                self.peers.close_all(1012, "the repl moved to another server");
                self.lease.expire();
                // What only this one has is put beside the line of the head: the new holder
                // merges it.
                if matches!(self.leaving.phase, Phase::Staying | Phase::Grace(_)) {
                    self.settle();
                }
            }
            Ending::Discard => {
                self.peers.close_all(4404, "the repl was deleted");
                self.lease.expire();
                self.saved.give_up();
                if !matches!(self.leaving.phase, Phase::Closing | Phase::Left) {
                    self.close();
                }
            }
        }
    }

    /// Whether the loop may end.
    pub(super) fn may_finish(&mut self) -> bool {
        if self.ending.is_some()
            && self.saved.gave_up()
            && !matches!(self.leaving.phase, Phase::Closing | Phase::Left)
        {
            self.close();
        }
        self.leaving.phase == Phase::Left && self.tasks.is_empty()
    }

    /// The last things: what nobody will answer any more, and the lease.
    pub(super) async fn finish(mut self) {
        self.inbox.close();
        for reply in self.leaving.replies.drain(..) {
            drop(reply.send(Ok(())));
        }
        self.peers.close_all(1012, "the repl was closed");
        while self.tasks.join_next().await.is_some() {}
        if self.ending != Some(Ending::KeepSandbox) {
            let released = self.shared.web.release(self.repl, self.lease.epoch).await;
            if let Err(error) = released {
                tracing::debug!(repl = %self.repl, %error, "the lease could not be released; it runs out by itself");
            }
        }
        self.lease.expire();
        tracing::info!(repl = %self.repl, "the repl is closed");
    }
}
