//! One terminal: its PTY, its output, what people type, and how its program ended.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitStatus, kill_process, kill_process_group};
use rustix::termios::{LocalModes, SpecialCodeIndex, tcgetattr, tcgetpgrp, tcsetwinsize};
use tandem_proto::TerminalId;
use tandem_proto::agent::{Event, Exit, TerminalKind, TerminalState};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::flow::Flow;
use super::input::Input;
use super::pty;
use crate::outbox::Outbox;
use crate::processes;

/// Bytes read from a PTY before its viewers are told.
const READ: usize = 64 * 1024;
/// How long output may still come after the program ended, counted from the last of it.
const DRAIN: Duration = Duration::from_secs(1);
/// Titles change at most this often towards the node.
const TITLE_INTERVAL: Duration = Duration::from_millis(200);
/// How long a full-screen program sees the wrong size when it is asked to draw again.
const REDRAW: Duration = Duration::from_millis(60);
/// Between SIGHUP and SIGKILL when a terminal is closed.
const HANGUP_GRACE: Duration = Duration::from_secs(2);

/// A terminal, alive or ended.
#[derive(Debug)]
pub struct Terminal {
    id: TerminalId,
    kind: TerminalKind,
    title: String,
    pid: Pid,
    started: Instant,
    started_ms: u64,
    size: Mutex<(u16, u16)>,
    flow: Mutex<Flow>,
    /// New output, an exit, or the end of this terminal.
    output: Notify,
    /// A viewer came, went, or got further.
    progress: Notify,
    redraw: Notify,
    input: Input,
    pty: Mutex<Option<Arc<AsyncFd<OwnedFd>>>>,
    /// The program ended and its output is complete, or the terminal was closed.
    done: CancellationToken,
    closed: CancellationToken,
}

/// What a new terminal is.
#[derive(Debug)]
pub struct Identity {
    pub id: TerminalId,
    pub kind: TerminalKind,
    pub title: String,
    pub started_ms: u64,
}

impl Terminal {
    /// A terminal whose program was just started, and the PTY to give to [`Terminal::pump`].
    pub fn new(
        identity: Identity,
        size: (u16, u16),
        history: &[u8],
        (pid, pty): (Pid, AsyncFd<OwnedFd>),
    ) -> Self {
        Self {
            id: identity.id,
            kind: identity.kind,
            title: identity.title,
            pid,
            started: Instant::now(),
            started_ms: identity.started_ms,
            size: Mutex::new(size),
            flow: Mutex::new(Flow::new(history)),
            output: Notify::new(),
            progress: Notify::new(),
            redraw: Notify::new(),
            input: Input::default(),
            pty: Mutex::new(Some(Arc::new(pty))),
            done: CancellationToken::new(),
            closed: CancellationToken::new(),
        }
    }

    /// Output and viewers.
    pub fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notified when there may be something to send.
    pub fn output(&self) -> &Notify {
        &self.output
    }

    /// A viewer came, went, or got further.
    pub fn progressed(&self) {
        self.progress.notify_one();
    }

    /// Asks a full-screen program to draw again.
    pub fn redraw(&self) {
        self.redraw.notify_one();
    }

    /// Cancelled when the terminal is closed.
    pub fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// As the node wants to know it.
    pub fn state(&self) -> TerminalState {
        let flow = self.flow();
        TerminalState {
            terminal: self.id,
            kind: self.kind,
            title: self.title.clone(),
            program_title: Some(flow.screen().modes().title())
                .filter(|title| !title.is_empty())
                .map(str::to_owned),
            size: *self.size.lock().unwrap_or_else(PoisonError::into_inner),
            end: flow.screen().ring().end(),
            exit: flow.exit(),
            started_ms: self.started_ms,
        }
    }

    /// Changes the size; programs are told by SIGWINCH.
    pub fn resize(&self, cols: u16, rows: u16) {
        let size = pty::clamp(cols, rows);
        *self.size.lock().unwrap_or_else(PoisonError::into_inner) = size;
        self.set_kernel_size(size);
    }

    fn set_kernel_size(&self, size: (u16, u16)) {
        if let Some(pty) = self.pty() {
            // A terminal whose program is gone keeps the size for its viewers only.
            let _ = tcsetwinsize(pty.get_ref(), pty::winsize(size));
        }
    }

    /// Types. An interrupt overtakes what the program has not read yet, as people expect who
    /// pasted the wrong thing.
    pub async fn type_in(&self, bytes: Bytes) {
        if self.done.is_cancelled() {
            return;
        }
        if self.input.is_backed_up()
            && let Some(pty) = self.pty()
            && let Ok(attributes) = tcgetattr(pty.get_ref())
            && attributes.local_modes.contains(LocalModes::ISIG)
            && bytes.contains(&attributes.special_codes[SpecialCodeIndex::VINTR])
        {
            self.input.clear();
            self.signal(Signal::INT);
        }
        tokio::select! {
            () = self.done.cancelled() => {}
            () = self.input.push(bytes) => {}
        }
    }

    /// Signals the foreground process group, and for a console also the program itself.
    pub fn signal(&self, signal: Signal) {
        if self.flow().exit().is_some() {
            return;
        }
        let foreground = self.pty().and_then(|pty| tcgetpgrp(pty.get_ref()).ok());
        if let Some(group) = foreground {
            // The group may be gone by now.
            let _ = kill_process_group(group, signal);
        }
        if foreground.is_none()
            || (self.kind == TerminalKind::Console && foreground != Some(self.pid))
        {
            let _ =
                kill_process_group(self.pid, signal).or_else(|_| kill_process(self.pid, signal));
        }
    }

    /// Ends the session: SIGHUP now, SIGKILL for what is left after a while.
    pub async fn close(&self) {
        self.closed.cancel();
        let session_lives = self.flow().exit().is_none();
        if session_lives {
            processes::signal_session(self.pid, Signal::HUP);
            processes::signal_session(self.pid, Signal::CONT);
        }
        self.end_pty();
        self.output.notify_waiters();
        if session_lives {
            tokio::time::sleep(HANGUP_GRACE).await;
            processes::signal_session(self.pid, Signal::KILL);
        }
    }

    /// Moves what was typed to the program, until the terminal is done.
    pub async fn feed(&self) {
        let Some(pty) = self.pty() else { return };
        let feeding = async {
            loop {
                let mut bytes = self.input.pop().await;
                while !bytes.is_empty() {
                    let written = pty
                        .async_io(Interest::WRITABLE, |fd| {
                            rustix::io::write(fd, &bytes).map_err(std::io::Error::from)
                        })
                        .await;
                    match written {
                        Ok(count) => drop(bytes.split_to(count)),
                        // Nobody has the other side open (any more): what was typed is lost.
                        Err(_) => break,
                    }
                }
            }
        };
        tokio::select! {
            () = self.done.cancelled() => {}
            () = feeding => {}
        }
    }

    /// Moves output to the ring until the program has ended and all its output is here, then
    /// tells how it ended.
    pub async fn pump(&self, mut ended: oneshot::Receiver<WaitStatus>, outbox: &Outbox) {
        let Some(pty) = self.pty() else { return };
        let mut buffer = vec![0; READ].into_boxed_slice();
        let mut exit = None;
        let mut at_end = false;
        let mut title = Title::default();
        let mut last_output = tokio::time::Instant::now();
        while !(at_end && exit.is_some()) {
            let pause = self.flow().pause(Instant::now());
            tokio::select! {
                biased;
                () = self.closed.cancelled() => break,
                status = &mut ended, if exit.is_none() => {
                    exit = Some(self.exit(status.ok()));
                    last_output = tokio::time::Instant::now();
                }
                () = tokio::time::sleep_until(last_output + DRAIN),
                    if exit.is_some() && pause.is_none() => at_end = true,
                () = title.due() => {
                    let now = self.flow().screen().modes().title().to_owned();
                    // Output must not wait for a control connection that is slow.
                    title.tell(&now, |title| {
                        outbox.try_event(Event::Title { terminal: self.id, title })
                    });
                }
                () = self.redraw.notified() => self.wiggle().await,
                () = self.progress.notified(), if pause.is_some() => {}
                () = until(pause), if pause.is_some() => {}
                read = read(&pty, &mut buffer), if pause.is_none() && !at_end => match read {
                    Ok(count) if count > 0 => {
                        last_output = tokio::time::Instant::now();
                        let mut flow = self.flow();
                        flow.push(&buffer[..count], Instant::now());
                        title.changed(flow.screen().modes().title());
                        drop(flow);
                        self.output.notify_waiters();
                    }
                    // EIO: nobody has the program's side open any more.
                    Ok(_) | Err(_) => at_end = true,
                },
            }
        }
        drop(pty);
        self.end_pty();
        if let Some(exit) = exit {
            self.flow().finish(exit);
            self.output.notify_waiters();
            outbox.event(Event::Exited { terminal: self.id, exit }).await;
        }
    }

    /// Two changes of size make a full-screen program draw itself.
    async fn wiggle(&self) {
        let size = *self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let other = if size.1 > 1 { size.1 - 1 } else { size.1 + 1 };
        self.set_kernel_size((size.0, other));
        tokio::time::sleep(REDRAW).await;
        // People may have changed it meanwhile.
        let size = *self.size.lock().unwrap_or_else(PoisonError::into_inner);
        self.set_kernel_size(size);
    }

    fn exit(&self, status: Option<WaitStatus>) -> Exit {
        let duration = self.started.elapsed();
        Exit {
            code: status.and_then(WaitStatus::exit_status),
            signal: status.and_then(WaitStatus::terminating_signal),
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn pty(&self) -> Option<Arc<AsyncFd<OwnedFd>>> {
        self.pty.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn end_pty(&self) {
        self.done.cancel();
        self.input.clear();
        *self.pty.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Reads what there is, up to the buffer's length. A PTY gives at most 4 KiB at once.
async fn read(pty: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        let mut guard = pty.readable().await?;
        let mut filled = 0;
        let result = guard.try_io(|pty| {
            while filled < buffer.len() {
                match rustix::io::read(pty.get_ref(), &mut buffer[filled..]) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(Errno::INTR) => {}
                    // What was read before is still good; the end shows at the next call.
                    Err(errno) if filled == 0 => return Err(errno.into()),
                    Err(Errno::AGAIN) | Err(_) => break,
                }
            }
            Ok(filled)
        });
        match result {
            Ok(result) => return result,
            Err(_would_block) => {}
        }
    }
}

/// A title that changes as often as a program likes, and is told of now and then.
#[derive(Debug, Default)]
struct Title {
    told: String,
    due: Option<tokio::time::Instant>,
}

impl Title {
    fn changed(&mut self, title: &str) {
        if self.due.is_none() && self.told != title {
            self.due = Some(tokio::time::Instant::now() + TITLE_INTERVAL);
        }
    }

    async fn due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    fn tell(&mut self, title: &str, tell: impl FnOnce(String) -> bool) {
        self.due = None;
        if self.told == title {
            return;
        }
        if tell(title.to_owned()) {
            title.clone_into(&mut self.told);
        } else {
            self.changed(title);
        }
    }
}
