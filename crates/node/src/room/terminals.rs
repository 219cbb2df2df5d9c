//! Terminals as a room knows them: names, sizes, drivers, exits. Their bytes never come here
//! (invariant 14): a terminal socket has its own stream to the agent.

use std::collections::BTreeMap;

use tandem_proto::agent::{Exit, Op, Spawn, TerminalKind, TerminalState};
use tandem_proto::api::{RunInfo, TerminalInfo};
use tandem_proto::{MemberId, TerminalId, limits};
use tandem_sandbox::LinkError;
use tokio::sync::watch;

use super::files::refused;
use super::mailbox::{Reply, RoomError, TerminalDoor};
use super::project::DEFAULT_TASK;
use super::{Continuation, Room};

/// All terminals of a room.
#[derive(Default)]
pub struct Terminals {
    list: BTreeMap<(u64, TerminalId), watch::Sender<TerminalInfo>>,
    next: u64,
    /// The current or last run.
    pub run: Option<RunInfo>,
}

impl Terminals {
    /// Every terminal, oldest first.
    pub fn infos(&self) -> Vec<TerminalInfo> {
        self.list.values().map(|info| info.borrow().clone()).collect()
    }

    /// Whether one more may be opened.
    pub fn has_room(&self) -> bool {
        self.list.len() < limits::MAX_TERMINALS
    }

    /// Whether a run is going on.
    pub fn is_running(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.exit.is_none())
    }

    fn find(&self, terminal: TerminalId) -> Option<&watch::Sender<TerminalInfo>> {
        self.list.iter().find(|((_, id), _)| *id == terminal).map(|(_, info)| info)
    }

    /// Enters a terminal.
    pub fn add(&mut self, info: TerminalInfo) {
        self.next += 1;
        self.list.insert((self.next, info.id), watch::channel(info).0);
    }

    /// Forgets a terminal.
    pub fn remove(&mut self, terminal: TerminalId) {
        self.list.retain(|(_, id), _| *id != terminal);
    }

    /// The sandbox is gone, and its terminals with it.
    pub fn sandbox_gone(&mut self) {
        self.list.clear();
        if let Some(run) = &mut self.run {
            run.exit.get_or_insert(Exit { code: None, signal: Some(9), duration_ms: 0 });
        }
    }

    /// What the agent says it holds, after a (re)connection.
    pub fn agent_has(&mut self, states: Vec<TerminalState>) {
        let states: Vec<TerminalState> = states.into_iter().take(limits::MAX_TERMINALS).collect();
        self.list.retain(|(_, id), _| states.iter().any(|state| state.terminal == *id));
        for state in states {
            match self.find(state.terminal) {
                Some(info) => {
                    info.send_if_modified(|info| {
                        let changed = info.exit != state.exit;
                        info.exit = state.exit;
                        changed
                    });
                }
                None => {
                    if state.kind == TerminalKind::Console {
                        self.run = Some(RunInfo {
                            terminal: state.terminal,
                            task: DEFAULT_TASK.to_owned(),
                            command: shown(&state.title),
                            member: MemberId::from_random([0; 10]),
                            started_ms: state.started_ms,
                            exit: state.exit,
                        });
                    }
                    self.add(TerminalInfo {
                        id: state.terminal,
                        kind: state.kind,
                        title: shown(&state.title),
                        cols: state.size.0,
                        rows: state.size.1,
                        driver: None,
                        exit: state.exit,
                    });
                }
            }
        }
    }

    /// A program named its terminal.
    pub fn set_title(&mut self, terminal: TerminalId, title: String) {
        if let Some(info) = self.find(terminal) {
            info.send_modify(|info| info.title = shown(&title));
        }
    }
}

/// Text from a sandbox, for people: no control characters, at most 256 characters.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(256).collect()
}

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
        if !self.terminals.has_room() {
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
        if self.sandbox.is_coming() {
            self.waiting_for_sandbox
                .push(Box::new(move |room| room.terminal_door(terminal, reply)));
            return;
        }
        let answer = match (self.terminals.find(terminal), self.sandbox.ready_link()) {
            (Some(info), Some(link)) => {
                Ok(TerminalDoor { link: link.clone(), info: info.subscribe() })
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
        let Some(info) = self.terminals.find(terminal) else { return };
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
        if let Some(link) = self.sandbox.ready_link().cloned() {
            self.spawn(async move {
                // A terminal that is gone needs no size.
                drop(link.request(Op::Resize { terminal, cols, rows }).await);
                Box::new(|_: &mut Room| {}) as Continuation
            });
        }
    }

    /// A terminal's process ended.
    pub(super) fn terminal_exited(&mut self, terminal: TerminalId, exit: Exit) {
        if let Some(info) = self.terminals.find(terminal) {
            info.send_modify(|info| info.exit = Some(exit));
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
        for info in self.terminals.list.values() {
            info.send_if_modified(|info| {
                let drove = info.driver == Some(member);
                if drove {
                    info.driver = None;
                }
                drove
            });
        }
    }
}
