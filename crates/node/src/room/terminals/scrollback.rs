//! What terminals printed outlives their machine: saved now and then and at leave, read again by
//! whoever looks, and put above the new shell that is started in its place.
//!
//! Tasks move the bytes between the agent and the blob store; the room only hears where they are
//! (invariant 14).

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use tandem_proto::agent::{Op, Spawn, TerminalKind};
use tandem_proto::{TerminalId, limits};
use tandem_sandbox::{AgentLink, LinkError};
use tandem_store::ReplStore;
use tandem_term::{Scrollback, Segment};

use super::list::Saved;
use crate::room::files::refused;
use crate::room::mailbox::{Reply, RoomError};
use crate::room::{Continuation, Room};

/// Terminals saved at once.
const AT_ONCE: usize = 4;
/// A leave waits at most this long for the output of terminals.
const LIMIT: Duration = Duration::from_secs(15);
/// A replaced object is named by the manifests before; after so many newer ones it goes.
const MANIFESTS_KEPT: u32 = 3;

/// How far saving is.
#[derive(Default)]
pub struct Saving {
    /// The agent can be asked.
    pub possible: bool,
    due: Option<Instant>,
    in_flight: bool,
    waiting: Vec<Continuation>,
    /// Replaced objects, and how many manifests were committed since.
    replaced: Vec<(String, u32)>,
}

impl Saving {
    /// When to save next.
    pub fn deadline(&self) -> Option<Instant> {
        self.due.filter(|_| !self.in_flight)
    }
}

impl Room {
    /// Saves what was printed since the last time, when it is time.
    pub(in crate::room) fn save_terminals_if_due(&mut self, now: Instant) {
        let wanted = self.saving.possible && self.terminals.has_live();
        if !wanted || self.saved.gave_up() {
            self.saving.due = None;
            return;
        }
        let due = *self.saving.due.get_or_insert(now + self.shared.room.save_terminals_every);
        if due <= now && !self.saving.in_flight {
            self.save_terminals(Box::new(|_| {}));
        }
    }

    /// Saves the output of every terminal that printed something, then does `then`, whatever
    /// came of it: output alone holds nothing up.
    pub(in crate::room) fn save_terminals(&mut self, then: Continuation) {
        self.saving.waiting.push(then);
        if self.saving.in_flight {
            return;
        }
        let link = self.sandbox.link().cloned().filter(|_| self.saving.possible);
        let live: Vec<(TerminalId, Option<u64>)> = self
            .terminals
            .entries()
            .filter(|(_, entry)| !entry.is_restored())
            .map(|(id, entry)| (id, entry.known_end))
            .collect();
        let waiting = std::mem::take(&mut self.saving.waiting);
        let (store, every) = (self.store.clone(), self.shared.room.save_terminals_every);
        self.saving.in_flight = true;
        self.spawn(async move {
            let mut saved = Vec::new();
            if let Some(link) = link {
                let mut saves = futures_util::stream::iter(live)
                    .map(|(id, known)| save(&link, &store, id, known))
                    .buffer_unordered(AT_ONCE);
                // What is not through by then is saved the next time.
                let _ = tokio::time::timeout(LIMIT, async {
                    while let Some(result) = saves.next().await {
                        saved.push(result);
                    }
                })
                .await;
            }
            Box::new(move |room: &mut Room| {
                room.saving.in_flight = false;
                room.saving.due = Some(Instant::now() + every);
                room.terminals_saved(saved);
                for then in waiting {
                    then(room);
                }
                if !room.saving.waiting.is_empty() {
                    room.save_terminals(Box::new(|_| {}));
                }
            }) as Continuation
        });
    }

    fn terminals_saved(&mut self, saved: Vec<Result<Option<(TerminalId, Saved)>, String>>) {
        for result in saved {
            match result {
                Ok(Some((id, saved))) => {
                    let key = saved.key.clone();
                    let Some(entry) = self.terminals.find_mut(id).filter(|e| !e.is_restored())
                    else {
                        self.saving.replaced.push((key, 0));
                        continue;
                    };
                    entry.known_end = Some(saved.to);
                    if let Some(old) = entry.saved.replace(saved) {
                        self.saving.replaced.push((old.key, 0));
                    }
                }
                Ok(None) => {}
                Err(reason) => {
                    tracing::debug!(repl = %self.repl, reason, "a terminal's output was not saved");
                }
            }
        }
        // A title or an exit is worth a manifest, too.
        if self.terminals.stored() != self.saved.terminals {
            self.saved.tree_changed();
        }
    }

    /// A manifest was committed: what the last few do not name any more goes.
    pub(in crate::room) fn forget_replaced_scrollback(&mut self) {
        for (_, commits) in &mut self.saving.replaced {
            *commits += 1;
        }
        let gone: Vec<String> = self
            .saving
            .replaced
            .extract_if(.., |(_, commits)| *commits > MANIFESTS_KEPT)
            .map(|(key, _)| key)
            .collect();
        if gone.is_empty() {
            return;
        }
        let store = self.store.clone();
        self.spawn(async move {
            // What stays is taken by the sweep.
            let outcome = store.delete_scrollback(gone).await;
            Box::new(move |room: &mut Room| {
                if let Err(error) = outcome {
                    tracing::debug!(repl = %room.repl, %error, "old output of terminals stays for now");
                }
            }) as Continuation
        });
    }

    /// Starts a new shell below what an earlier one printed.
    pub(in crate::room) fn restart_terminal(&mut self, terminal: TerminalId, reply: Reply<()>) {
        let Some(entry) = self.terminals.find_mut(terminal) else {
            return drop(
                reply.send(Err(RoomError::NotFound("there is no such terminal".to_owned()))),
            );
        };
        if entry.info.borrow().kind != TerminalKind::Shell {
            let reason = "a console is for reading; Run starts the program again".to_owned();
            return drop(reply.send(Err(RoomError::Conflict(reason))));
        }
        if !entry.is_restored() || entry.starting {
            return drop(reply.send(Ok(())));
        }
        entry.starting = true;
        self.with_sandbox(reply, move |room, link, reply| {
            room.restart_now(terminal, link, reply);
        });
        // Without a sandbox the question was answered already.
        if !self.sandbox.is_up()
            && !self.sandbox.is_coming()
            && let Some(entry) = self.terminals.find_mut(terminal)
        {
            entry.starting = false;
        }
    }

    fn restart_now(&mut self, terminal: TerminalId, link: AgentLink, reply: Reply<()>) {
        let Some(entry) = self.terminals.find_mut(terminal).filter(|entry| entry.is_restored())
        else {
            return drop(reply.send(Ok(())));
        };
        entry.starting = true;
        let key = entry.saved.as_ref().map(|saved| saved.key.clone());
        let info = entry.info.borrow().clone();
        let store = self.store.clone();
        self.spawn(async move {
            let history = match key {
                Some(key) => history(&store, &key, limits::TERMINAL_RING_BYTES / 2).await,
                None => Bytes::new(),
            };
            let spawn = Spawn {
                terminal,
                kind: info.kind,
                title: info.title,
                argv: vec!["bash".to_owned(), "-l".to_owned()],
                env: Vec::new(),
                cwd: None,
                cols: info.cols,
                rows: info.rows,
                history,
            };
            let outcome = link.request(Op::Spawn(spawn)).await;
            Box::new(move |room: &mut Room| room.restarted(terminal, outcome, reply))
                as Continuation
        });
    }

    fn restarted(
        &mut self,
        terminal: TerminalId,
        outcome: Result<tandem_proto::agent::Reply, LinkError>,
        reply: Reply<()>,
    ) {
        let answer = outcome.map(|_| ()).map_err(|error| refused(&error));
        if let Some(entry) = self.terminals.find_mut(terminal) {
            entry.starting = false;
            if answer.is_ok() {
                // The new output is counted from 0 again.
                entry.known_end = None;
                entry.ended = None;
                entry.info.send_modify(|info| (info.restored, info.exit) = (false, None));
            }
        }
        self.live.changed();
        self.touch();
        drop(reply.send(answer));
    }
}

/// One terminal's output, if there is more than was known.
async fn save(
    link: &AgentLink,
    store: &ReplStore,
    terminal: TerminalId,
    known_end: Option<u64>,
) -> Result<Option<(TerminalId, Saved)>, String> {
    let found = link.scrollback(terminal, known_end).await.map_err(|error| error.to_string())?;
    let Some((from, bytes)) = found else { return Ok(None) };
    let to = from.saturating_add(bytes.len() as u64);
    let key =
        store.put_scrollback(terminal, from, bytes).await.map_err(|error| error.to_string())?;
    Ok(Some((terminal, Saved { from, to, key })))
}

/// What an ended terminal printed, ready to be shown to a fresh one. Output that is lost is not
/// worth a refusal: the shell is.
pub async fn history(store: &ReplStore, key: &str, capacity: usize) -> Bytes {
    match store.get_scrollback(key).await {
        Ok((from, bytes)) => {
            let segment = Segment { from, bytes: bytes.to_vec() };
            Scrollback::history(vec![segment], capacity).into()
        }
        Err(error) => {
            tracing::warn!(repl = %store.repl(), %error, "a terminal's output could not be read");
            Bytes::new()
        }
    }
}
