//! Terminals as a room knows them: names, sizes, drivers, exits. Their bytes never come here
//! (invariant 14): a terminal socket has its own stream to the agent.

mod list;
mod scrollback;

use tandem_proto::agent::{Exit, Op, Spawn, TerminalKind};
use tandem_proto::api::TerminalInfo;
use tandem_proto::{MemberId, TerminalId, limits};
use tandem_sandbox::LinkError;

use super::files::refused;
use super::mailbox::{Reply, RoomError, TerminalDoor};
use super::{Continuation, Room};
pub use list::Terminals;
pub use scrollback::{Saving, history};

impl Room {
    /// Opens a shell.
    pub(super) fn open_terminal(&mut self, cols: u16, rows: u16, reply: Reply<TerminalInfo>) {
        self.with_sandbox(reply, move |room, _, reply| {
            let number = 1 + room
                .terminals
                .infos()
                .iter()
                .filter(|info| info.kind == TerminalKind::Shell)
                .count();
            let info = TerminalInfo {
                id: room.shared.random_terminal_id(),
                kind: TerminalKind::Shell,
                title: format!("Shell {number}"),
                cols: cols.clamp(1, limits::MAX_TERMINAL_COLS),
                rows: rows.clamp(1, limits::MAX_TERMINAL_ROWS),
                driver: None,
                exit: None,
                restored: false,
            };
            let argv = vec!["bash".to_owned(), "-l".to_owned()];
            room.spawn_terminal(info, argv, reply, |_, info| info);
        });
    }

    /// Starts a process on a PTY and enters it.
    pub(super) fn spawn_terminal<T: Send + 'static>(
        &mut self,
        info: TerminalInfo,
        argv: Vec<String>,
        reply: Reply<T>,
        then: impl FnOnce(&mut Room, TerminalInfo) -> T + Send + 'static,
    ) {
        let Some(link) = self.sandbox.ready_link().cloned() else {
            return drop(reply.send(Err(RoomError::Unavailable("the sandbox is gone".to_owned()))));
        };
        if !self.terminals.make_room() {
            let reason =
                format!("there are {} terminals already; close one first", limits::MAX_TERMINALS);
            return drop(reply.send(Err(RoomError::Conflict(reason))));
        }
        let spawn = Spawn {
            terminal: info.id,
            kind: info.kind,
            title: info.title.clone(),
            argv,
            env: Vec::new(),
            cwd: None,
            cols: info.cols,
            rows: info.rows,
            history: bytes::Bytes::new(),
        };
        // Entered before the answer: its exit may be told first.
        self.terminals.add(info.clone());
        self.spawn(async move {
            let outcome = link.request(Op::Spawn(spawn)).await;
            Box::new(move |room: &mut Room| room.spawned(info, outcome, reply, then))
                as Continuation
        });
    }

    fn spawned<T>(
        &mut self,
        info: TerminalInfo,
        outcome: Result<tandem_proto::agent::Reply, LinkError>,
        reply: Reply<T>,
        then: impl FnOnce(&mut Room, TerminalInfo) -> T,
    ) {
        match outcome {
            Ok(_) => {
                self.live.changed();
                self.touch();
                let answer = then(self, info);
                drop(reply.send(Ok(answer)));
            }
            Err(error) => {
                self.terminals.remove(info.id);
                drop(reply.send(Err(refused(&error))));
            }
        }
    }

    /// Ends a terminal and forgets it.
    pub(super) fn close_terminal(&mut self, terminal: TerminalId, reply: Reply<()>) {
        if self.terminals.find(terminal).is_none() {
            return drop(
                reply.send(Err(RoomError::NotFound("there is no such terminal".to_owned()))),
            );
        }
        self.terminals.remove(terminal);
        self.saved.tree_changed();
        self.live.changed();
        let Some(link) = self.sandbox.ready_link().cloned() else {
            return drop(reply.send(Ok(())));
        };
        self.spawn(async move {
            let outcome = link.request(Op::CloseTerminal { terminal }).await;
            drop(reply.send(outcome.map(|_| ()).map_err(|error| refused(&error))));
            Box::new(|_: &mut Room| {}) as Continuation
        });
    }

    /// What a terminal socket needs.
    pub(super) fn terminal_door(&mut self, terminal: TerminalId, reply: Reply<TerminalDoor>) {
        let entry = self.terminals.find(terminal);
        if let Some(entry) = entry.filter(|entry| entry.is_restored()) {
            let key = entry.saved.as_ref().map(|saved| saved.key.clone());
            let (store, info) = (self.store.clone(), entry.info.subscribe());
            return drop(reply.send(Ok(TerminalDoor::Restored { store, key, info })));
        }
        if self.sandbox.is_coming() {
            self.waiting_for_sandbox
                .push(Box::new(move |room| room.terminal_door(terminal, reply)));
            return;
        }
        let answer = match (entry, self.sandbox.ready_link()) {
            (Some(entry), Some(link)) => {
                Ok(TerminalDoor::Live { link: link.clone(), info: entry.info.subscribe() })
            }
            _ => Err(RoomError::NotFound("there is no such terminal".to_owned())),
        };
        drop(reply.send(answer));
    }

    /// A viewer's size: it counts when nobody drives, when it drives already, or takes over.
    pub(super) fn resize_terminal(
        &mut self,
        terminal: TerminalId,
        member: MemberId,
        size: (u16, u16),
        drive: bool,
    ) {
        let Some(entry) = self.terminals.find(terminal) else { return };
        let (info, restored) = (&entry.info, entry.is_restored());
        let (cols, rows) = (
            size.0.clamp(1, limits::MAX_TERMINAL_COLS),
            size.1.clamp(1, limits::MAX_TERMINAL_ROWS),
        );
        let changed = info.send_if_modified(|info| {
            if !drive && info.driver.is_some_and(|driver| driver != member) {
                return false;
            }
            let changed = (info.driver, info.cols, info.rows) != (Some(member), cols, rows);
            (info.driver, info.cols, info.rows) = (Some(member), cols, rows);
            changed
        });
        if !changed {
            return;
        }
        self.live.changed();
        if let Some(link) = self.sandbox.ready_link().cloned().filter(|_| !restored) {
            self.spawn(async move {
                // A terminal that is gone needs no size.
                drop(link.request(Op::Resize { terminal, cols, rows }).await);
                Box::new(|_: &mut Room| {}) as Continuation
            });
        }
    }

    /// A terminal's process ended.
    pub(super) fn terminal_exited(&mut self, terminal: TerminalId, exit: Exit) {
        let by_us = self.leaving.stops_programs();
        if let Some(entry) = self.terminals.find_mut(terminal) {
            entry.info.send_modify(|info| info.exit = Some(exit));
            if !by_us {
                entry.ended = Some(exit);
            }
        }
        if let Some(run) = &mut self.terminals.run
            && run.terminal == terminal
        {
            run.exit = Some(exit);
            self.job_ended();
        }
        self.live.changed();
    }

    /// A member has no socket left: nobody waits for their size.
    pub(super) fn member_left(&mut self, member: MemberId) {
        for (_, entry) in self.terminals.entries() {
            entry.info.send_if_modified(|info| {
                let drove = info.driver == Some(member);
                if drove {
                    info.driver = None;
                }
                drove
            });
        }
    }
}
