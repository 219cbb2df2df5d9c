//! A pseudo-terminal with a program on it.

#![allow(unsafe_code)]

use std::ffi::OsString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use portable_pty::{CommandBuilder, PtySize};
use rustix::fs::OFlags;
use rustix::process::{Pid, WaitStatus};
use rustix::termios::Winsize;
use tandem_proto::agent::AgentError;
use tandem_proto::limits::{MAX_TERMINAL_COLS, MAX_TERMINAL_ROWS};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::reap::Reaper;

/// A program to start.
#[derive(Debug)]
pub struct Program {
    pub argv: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub folder: PathBuf,
    pub size: (u16, u16),
}

/// A program that was started.
#[derive(Debug)]
pub struct Started {
    /// The terminal's side of the PTY, non-blocking.
    pub pty: AsyncFd<OwnedFd>,
    /// The program's process, leader of its own session.
    pub pid: Pid,
    /// Its end.
    pub ended: oneshot::Receiver<WaitStatus>,
}

/// Columns and rows within the limits: programs draw, and we keep, at most so much.
pub fn clamp(cols: u16, rows: u16) -> (u16, u16) {
    (cols.clamp(2, MAX_TERMINAL_COLS), rows.clamp(1, MAX_TERMINAL_ROWS))
}

/// Columns and rows as the kernel takes them.
pub fn winsize((cols, rows): (u16, u16)) -> Winsize {
    Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Starts a program on a new PTY.
pub fn start(program: Program, reaper: &Reaper) -> Result<Started, AgentError> {
    let refused = |error: anyhow::Error| AgentError::Spawn(format!("{error:#}"));
    let (cols, rows) = program.size;
    let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
    let pair = portable_pty::native_pty_system().openpty(size).map_err(refused)?;
    let argv = program.argv.into_iter().map(OsString::from).collect();
    let mut command = CommandBuilder::from_argv(argv);
    command.env_clear();
    for (name, value) in program.environment {
        command.env(name, value);
    }
    command.cwd(program.folder);
    let (pid, ended) = reaper.spawn(|| {
        let child = pair.slave.spawn_command(command).map_err(refused)?;
        child
            .process_id()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
            .ok_or_else(|| AgentError::Spawn("the program has no process id".to_owned()))
    })?;
    let raw = pair
        .master
        .as_raw_fd()
        .ok_or_else(|| AgentError::Spawn("the terminal has no descriptor".to_owned()))?;
    // SAFETY: `raw` is the descriptor that `pair.master` owns, and `pair` lives until the end of
    // this function, after the duplicate was made.
    let borrowed = unsafe { BorrowedFd::borrow_raw(raw) };
    let io = |error: std::io::Error| AgentError::Spawn(error.to_string());
    let pty = borrowed.try_clone_to_owned().map_err(io)?;
    let flags = rustix::fs::fcntl_getfl(&pty).map_err(|errno| io(errno.into()))?;
    rustix::fs::fcntl_setfl(&pty, flags | OFlags::NONBLOCK).map_err(|errno| io(errno.into()))?;
    let interest = Interest::READABLE | Interest::WRITABLE;
    // SAFETY: an `OwnedFd` returns the same open descriptor until it is dropped, and nothing but
    // the `AsyncFd` can drop it.
    let pty = unsafe { AsyncFd::register_with_interest(pty, interest) };
    let pty = pty.map_err(|error| io(error.into()))?;
    Ok(Started { pty, pid, ended })
}
