//! The terminals of a room by age: those whose programs run, those that ended, and those that
//! outlived their machine and can only be read.

use std::collections::BTreeMap;

use tandem_proto::agent::{Exit, TerminalKind, TerminalState};
use tandem_proto::api::{RunInfo, TerminalInfo};
use tandem_proto::{MemberId, TerminalId, limits};
use tandem_store::{StoredRun, StoredTerminal};
use tokio::sync::watch;

use crate::room::project::DEFAULT_TASK;

/// How a program ended whose machine ended first.
const UNKNOWN: Exit = Exit { code: None, signal: None, duration_ms: 0 };

/// Where what a terminal printed is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Offset of the first byte.
    pub from: u64,
    /// Offset after the last.
    pub to: u64,
    /// The object.
    pub key: String,
}

/// One terminal.
pub struct Entry {
    /// What people see of it.
    pub info: watch::Sender<TerminalInfo>,
    /// Its output in the blob store.
    pub saved: Option<Saved>,
    /// The agent's output up to here is in `saved`.
    pub known_end: Option<u64>,
    /// How its program ended by itself, not by ours.
    pub ended: Option<Exit>,
    /// A new shell is on its way into it.
    pub starting: bool,
}

impl Entry {
    fn new(info: TerminalInfo) -> Self {
        let ended = info.exit;
        let info = watch::channel(info).0;
        Self { info, saved: None, known_end: None, ended, starting: false }
    }

    /// Whether its machine is gone.
    pub fn is_restored(&self) -> bool {
        self.info.borrow().restored
    }
}

/// See the module.
#[derive(Default)]
pub struct Terminals {
    list: BTreeMap<(u64, TerminalId), Entry>,
    next: u64,
    /// The current or last run.
    pub run: Option<RunInfo>,
    /// Saved ones that the agent of an adopted sandbox may still hold.
    undecided: Vec<StoredTerminal>,
}

impl Terminals {
    /// What the manifest has. With an adopted sandbox its agent says which of them still live.
    pub fn restore(stored: &[StoredTerminal], adopted: bool) -> Self {
        let stored: Vec<StoredTerminal> =
            stored.iter().take(limits::MAX_TERMINALS).cloned().collect();
        let mut terminals = Self { undecided: stored, ..Self::default() };
        if !adopted {
            terminals.decide(&[]);
        }
        terminals
    }

    /// Enters what was saved, alive if the agent has it.
    fn decide(&mut self, alive: &[TerminalState]) {
        for stored in std::mem::take(&mut self.undecided) {
            let kind = if stored.console { TerminalKind::Console } else { TerminalKind::Shell };
            let state = alive.iter().find(|state| state.terminal == stored.id);
            let size = state.map(|state| state.size).or(stored.size).unwrap_or((80, 24));
            let exit = match state {
                Some(state) => state.exit,
                None => stored.exit,
            };
            let info = TerminalInfo {
                id: stored.id,
                kind,
                title: shown(&stored.title),
                cols: size.0.clamp(1, limits::MAX_TERMINAL_COLS),
                rows: size.1.clamp(1, limits::MAX_TERMINAL_ROWS),
                driver: None,
                exit,
                restored: state.is_none(),
            };
            if let Some(run) = &stored.run {
                self.run = Some(RunInfo {
                    terminal: stored.id,
                    task: shown(&run.task),
                    command: shown(&run.command),
                    member: run.member,
                    started_ms: run.started_ms,
                    exit: if state.is_some() { exit } else { exit.or(Some(UNKNOWN)) },
                });
            }
            let mut entry = Entry::new(info);
            entry.known_end = state.map(|_| stored.to);
            entry.saved = Some(Saved { from: stored.from, to: stored.to, key: stored.key });
            self.next += 1;
            self.list.insert((self.next, stored.id), entry);
        }
    }

    /// Every terminal, oldest first.
    pub fn infos(&self) -> Vec<TerminalInfo> {
        self.list.values().map(|entry| entry.info.borrow().clone()).collect()
    }

    /// Every terminal, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = (TerminalId, &Entry)> {
        self.list.iter().map(|((_, id), entry)| (*id, entry))
    }

    /// Whether any program ever ran in this sandbox.
    pub fn has_live(&self) -> bool {
        self.list.values().any(|entry| !entry.is_restored())
    }

    /// Makes room for one more, if need be by letting go of the oldest that can only be read.
    pub fn make_room(&mut self) -> bool {
        if self.list.len() < limits::MAX_TERMINALS {
            return true;
        }
        let oldest = self.list.iter().find(|(_, entry)| entry.is_restored() && !entry.starting);
        let Some(oldest) = oldest.map(|(key, _)| *key) else { return false };
        self.list.remove(&oldest);
        true
    }

    /// Whether a run is going on.
    pub fn is_running(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.exit.is_none())
    }

    /// One of them.
    pub fn find(&self, terminal: TerminalId) -> Option<&Entry> {
        self.list.iter().find(|((_, id), _)| *id == terminal).map(|(_, entry)| entry)
    }

    /// One of them.
    pub fn find_mut(&mut self, terminal: TerminalId) -> Option<&mut Entry> {
        self.list.iter_mut().find(|((_, id), _)| *id == terminal).map(|(_, entry)| entry)
    }

    /// Enters a terminal.
    pub fn add(&mut self, info: TerminalInfo) {
        self.next += 1;
        self.list.insert((self.next, info.id), Entry::new(info));
    }

    /// Forgets a terminal.
    pub fn remove(&mut self, terminal: TerminalId) {
        self.list.retain(|(_, id), _| *id != terminal);
        self.undecided.retain(|stored| stored.id != terminal);
    }

    /// The sandbox is gone, and the programs of its terminals with it. What they printed stays
    /// as far as it was saved.
    pub fn sandbox_gone(&mut self) {
        self.decide(&[]);
        self.list.retain(|_, entry| entry.saved.is_some());
        for entry in self.list.values_mut() {
            entry.known_end = None;
            entry.starting = false;
            entry.info.send_modify(|info| {
                info.restored = true;
                info.driver = None;
            });
        }
        if let Some(run) = &mut self.run {
            run.exit.get_or_insert(UNKNOWN);
        }
    }

    /// What the agent says it holds, after a (re)connection.
    pub fn agent_has(&mut self, states: Vec<TerminalState>) {
        let states: Vec<TerminalState> = states.into_iter().take(limits::MAX_TERMINALS).collect();
        self.decide(&states);
        self.list.retain(|(_, id), entry| {
            entry.is_restored() || states.iter().any(|state| state.terminal == *id)
        });
        for state in states {
            let title = shown(state.program_title.as_ref().unwrap_or(&state.title));
            if let Some(entry) = self.find_mut(state.terminal) {
                entry.ended = state.exit;
                entry.info.send_if_modified(|info| {
                    let changed = (info.exit, &info.title) != (state.exit, &title);
                    (info.exit, info.title, info.restored) = (state.exit, title, false);
                    changed
                });
                continue;
            }
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
                title,
                cols: state.size.0,
                rows: state.size.1,
                driver: None,
                exit: state.exit,
                restored: false,
            });
        }
    }

    /// A program named its terminal.
    pub fn set_title(&mut self, terminal: TerminalId, title: &str) {
        if let Some(entry) = self.find(terminal) {
            entry.info.send_modify(|info| info.title = shown(title));
        }
    }

    /// For the manifest: every terminal whose output was saved.
    pub fn stored(&self) -> Vec<StoredTerminal> {
        let stored = self.entries().filter_map(|(id, entry)| {
            let Saved { from, to, key } = entry.saved.clone()?;
            let info = entry.info.borrow();
            let run = self.run.as_ref().filter(|run| run.terminal == id).map(|run| StoredRun {
                task: run.task.clone(),
                command: run.command.clone(),
                member: run.member,
                started_ms: run.started_ms,
            });
            let size = Some((info.cols, info.rows));
            let (title, console) = (info.title.clone(), info.kind == TerminalKind::Console);
            Some(StoredTerminal { id, title, console, from, to, key, size, exit: entry.ended, run })
        });
        stored.chain(self.undecided.iter().cloned()).collect()
    }
}

/// Text from a sandbox, for people: no control characters, at most 256 characters.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(256).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> TerminalId {
        TerminalId::from_random([n; 10])
    }

    fn stored(n: u8, console: bool) -> StoredTerminal {
        let run = console.then(|| StoredRun {
            task: "run".to_owned(),
            command: "python3 main.py".to_owned(),
            member: MemberId::from_random([1; 10]),
            started_ms: 5,
        });
        StoredTerminal {
            id: id(n),
            title: format!("Title {n}"),
            console,
            from: 0,
            to: 7,
            key: format!("key-{n}"),
            size: None,
            exit: None,
            run,
        }
    }

    fn state(n: u8) -> TerminalState {
        TerminalState {
            terminal: id(n),
            kind: TerminalKind::Shell,
            title: "Shell 1".to_owned(),
            program_title: Some("vim".to_owned()),
            size: (90, 30),
            end: 9,
            exit: None,
            started_ms: 1,
        }
    }

    #[test]
    fn without_a_machine_everything_saved_can_be_read_and_nothing_runs() {
        let terminals = Terminals::restore(&[stored(1, false), stored(2, true)], false);
        let infos = terminals.infos();
        assert!(infos.iter().all(|info| info.restored));
        assert_eq!(infos[0].title, "Title 1");
        assert!(!terminals.is_running(), "its end is unknown, but it has ended");
        assert_eq!(terminals.stored(), [stored(1, false), stored(2, true)].map(with_size));
    }

    fn with_size(stored: StoredTerminal) -> StoredTerminal {
        StoredTerminal { size: Some((80, 24)), ..stored }
    }

    #[test]
    fn an_adopted_sandbox_says_which_of_them_live() {
        let mut terminals = Terminals::restore(&[stored(1, false), stored(2, false)], true);
        assert!(terminals.infos().is_empty(), "nothing is known yet");
        assert_eq!(terminals.stored().len(), 2, "and nothing is forgotten");
        terminals.agent_has(vec![state(2), state(3)]);
        let shown: Vec<(TerminalId, bool, String)> = terminals
            .infos()
            .into_iter()
            .map(|info| (info.id, info.restored, info.title))
            .collect();
        let vim = || "vim".to_owned();
        assert_eq!(
            shown,
            [(id(1), true, "Title 1".to_owned()), (id(2), false, vim()), (id(3), false, vim())]
        );
        terminals.sandbox_gone();
        let left: Vec<TerminalId> = terminals.infos().iter().map(|info| info.id).collect();
        assert_eq!(left, [id(1), id(2)], "what was never saved is gone");
        assert!(terminals.infos().iter().all(|info| info.restored));
    }

    #[test]
    fn a_full_list_lets_the_oldest_go_that_nothing_runs_in() {
        let all: Vec<StoredTerminal> =
            (0..limits::MAX_TERMINALS).map(|n| stored(n as u8, false)).collect();
        let mut terminals = Terminals::restore(&all, false);
        assert!(terminals.make_room());
        assert_eq!(terminals.infos()[0].id, id(1));
        terminals.agent_has((1..limits::MAX_TERMINALS as u8).map(state).collect());
        assert!(terminals.make_room());
        terminals.agent_has((1..=limits::MAX_TERMINALS as u8).map(state).collect());
        assert!(!terminals.make_room(), "all of them run");
    }
}
