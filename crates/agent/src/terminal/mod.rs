//! All terminals of the sandbox.

mod flow;
mod input;
mod pty;
mod session;
mod viewer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use rustix::process::Signal;
use tandem_proto::TerminalId;
use tandem_proto::agent::{AgentError, Spawn, TerminalState};
use tandem_proto::limits::{MAX_TERMINALS, TERMINAL_RING_BYTES};
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::outbox::Outbox;
use crate::reap::Reaper;
use session::Identity;
pub use session::Terminal;
pub use viewer::{run as view, scrollback};

/// Under output that an earlier sandbox of this terminal printed.
const HISTORY_END: &str = "\x1b[0;2m--- the machine ended; a new shell starts below ---\x1b[0m\r\n";
/// Most arguments and most variables of a program, and most bytes of all of them.
const MAX_ARGUMENTS: usize = 4096;
const MAX_ARGUMENT_BYTES: usize = 512 * 1024;

/// The table of terminals.
#[derive(Debug)]
pub struct Terminals {
    terminals: Mutex<BTreeMap<TerminalId, Arc<Terminal>>>,
    tasks: TaskTracker,
    environment: Vec<(String, String)>,
    workspace: PathBuf,
    reaper: Reaper,
    outbox: Outbox,
}

impl Terminals {
    /// None yet. Their tasks run on `tasks`.
    pub fn new(config: &Config, reaper: Reaper, outbox: Outbox, tasks: TaskTracker) -> Self {
        Self {
            terminals: Mutex::default(),
            tasks,
            environment: environment(config),
            workspace: config.workspace.clone(),
            reaper,
            outbox,
        }
    }

    /// As the node wants to know them.
    pub fn states(&self) -> Vec<TerminalState> {
        self.lock().values().map(|terminal| terminal.state()).collect()
    }

    /// One of them.
    pub fn get(&self, id: TerminalId) -> Result<Arc<Terminal>, AgentError> {
        self.lock().get(&id).cloned().ok_or(AgentError::NoTerminal)
    }

    /// Starts a program on a new terminal and returns its process id.
    pub fn spawn(&self, spawn: Spawn) -> Result<u32, AgentError> {
        check(&spawn)?;
        let mut terminals = self.lock();
        if terminals.contains_key(&spawn.terminal) {
            return Err(AgentError::Exists);
        }
        if terminals.len() >= MAX_TERMINALS {
            return Err(AgentError::Invalid(format!("more than {MAX_TERMINALS} terminals")));
        }
        let size = pty::clamp(spawn.cols, spawn.rows);
        let mut environment = self.environment.clone();
        environment.extend(spawn.env);
        let folder = match &spawn.cwd {
            Some(folder) => self.workspace.join(folder.as_str()),
            None => self.workspace.clone(),
        };
        if !folder.is_dir() {
            return Err(AgentError::NotFound);
        }
        let program = pty::Program { argv: spawn.argv, environment, folder, size };
        let started = pty::start(program, &self.reaper)?;
        let started_ms = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        let title = spawn.title.chars().filter(|c| !c.is_control()).take(256).collect();
        let identity = Identity { id: spawn.terminal, kind: spawn.kind, title, started_ms };
        let history = history(&spawn.history);
        let pty = (started.pid, started.pty);
        let terminal = Arc::new(Terminal::new(identity, size, &history, pty));
        terminals.insert(spawn.terminal, terminal.clone());
        drop(terminals);

        let outbox = self.outbox.clone();
        let (pumped, ended) = (terminal.clone(), started.ended);
        self.tasks.spawn(async move { pumped.pump(ended, &outbox).await });
        self.tasks.spawn(async move { terminal.feed().await });
        Ok(started.pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// Changes a terminal's size.
    pub fn resize(&self, id: TerminalId, cols: u16, rows: u16) -> Result<(), AgentError> {
        self.get(id)?.resize(cols, rows);
        Ok(())
    }

    /// Signals what runs on a terminal.
    pub fn signal(&self, id: TerminalId, signal: i32) -> Result<(), AgentError> {
        let allowed = [Signal::INT, Signal::TERM, Signal::KILL, Signal::HUP];
        let signal = allowed
            .into_iter()
            .find(|known| known.as_raw() == signal)
            .ok_or_else(|| AgentError::Invalid(format!("signal {signal}")))?;
        self.get(id)?.signal(signal);
        Ok(())
    }

    /// Hangs a terminal up and forgets it.
    pub fn close(&self, id: TerminalId) -> Result<(), AgentError> {
        let terminal = self.lock().remove(&id).ok_or(AgentError::NoTerminal)?;
        self.tasks.spawn(async move { terminal.close().await });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TerminalId, Arc<Terminal>>> {
        self.terminals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(spawn: &Spawn) -> Result<(), AgentError> {
    let invalid = |text: &str| Err(AgentError::Invalid(text.to_owned()));
    let words = spawn.argv.iter().chain(spawn.env.iter().flat_map(|(name, value)| [name, value]));
    let mut bytes = 0;
    for word in words.clone() {
        if word.contains('\0') {
            return invalid("an argument or variable contains a NUL character");
        }
        bytes += word.len();
    }
    if words.count() > MAX_ARGUMENTS || bytes > MAX_ARGUMENT_BYTES {
        return invalid("too many arguments or variables");
    }
    if spawn.env.iter().any(|(name, _)| name.is_empty() || name.contains('=')) {
        return invalid("a variable's name is empty or contains '='");
    }
    match spawn.argv.first() {
        Some(program) if !program.is_empty() => Ok(()),
        _ => invalid("no program"),
    }
}

fn history(history: &Bytes) -> Vec<u8> {
    if history.is_empty() {
        return Vec::new();
    }
    let newest = &history[history.len().saturating_sub(TERMINAL_RING_BYTES / 2)..];
    let mut out = newest.to_vec();
    let mut tracker = tandem_term::ModeTracker::new();
    tracker.feed(newest);
    if !tracker.is_between_sequences() {
        out.extend_from_slice(b"\x18\x1b\\");
    }
    out.extend(tracker.modes().leave());
    if out.last() != Some(&b'\n') {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(HISTORY_END.as_bytes());
    out
}

/// What user programs find in their environment: nothing of ours, and what a terminal needs.
fn environment(config: &Config) -> Vec<(String, String)> {
    let mut environment: Vec<(String, String)> = config
        .environment
        .iter()
        .filter(|(name, _)| !name.starts_with("TANDEM_"))
        .cloned()
        .collect();
    let home = config.home.to_string_lossy().into_owned();
    let fixed = [("TERM", "xterm-256color"), ("COLORTERM", "truecolor"), ("HOME", home.as_str())];
    for (name, value) in fixed {
        environment.retain(|(known, _)| known != name);
        environment.push((name.to_owned(), value.to_owned()));
    }
    let shell = ["/bin/bash", "/usr/bin/bash", "/bin/sh"]
        .into_iter()
        .find(|shell| std::path::Path::new(shell).exists())
        .unwrap_or("/bin/sh");
    let defaults = [
        ("LANG", "C.UTF-8"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("SHELL", shell),
        ("USER", "runner"),
        ("LOGNAME", "runner"),
    ];
    for (name, value) in defaults {
        if !environment.iter().any(|(known, value)| known == name && !value.is_empty()) {
            environment.push((name.to_owned(), value.to_owned()));
        }
    }
    environment
}
