//! A terminal whose machine is gone: what it printed, from the blob store, and for a shell the
//! offer of a new one. Programs' bytes only flow one way here.

use bytes::Bytes;
use futures_util::StreamExt as _;
use tandem_proto::agent::{Exit, TerminalInput, TerminalKind};
use tandem_proto::api::{TerminalInfo, TerminalServerMessage};
use tandem_proto::limits;
use tandem_store::ReplStore;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::terminal::{Incoming, Viewer, Wires};
use crate::room::{Ask, Command, terminal_history};

/// Offsets of restored output start here, above those of any that runs: a viewer of the one is
/// always told to start anew by the other. Whole numbers of JavaScript reach this far.
pub const BASE: u64 = 1 << 52;
/// Largest piece sent at once.
const PIECE: usize = 64 * 1024;

/// Below the output of a shell.
const SHELL_ENDED: &str =
    "\x1b[0m\r\n\x1b[2m--- the machine ended; press Enter to start a new shell here ---\x1b[0m\r\n";
/// Below the output of a console that was cut off.
const CONSOLE_CUT: &str =
    "\x1b[0m\r\n\x1b[2m--- the machine ended; how the program ended is not known ---\x1b[0m\r\n";

/// How a view of restored output ended.
pub enum Ended {
    /// A new shell runs in the terminal: view that.
    Restarted,
    /// The viewer is gone, or was closed.
    Closed,
}

/// What is shown.
pub struct Restored {
    /// Where it is.
    pub store: ReplStore,
    /// The object, when any was saved.
    pub key: Option<String>,
    /// Says when a new shell was started.
    pub info: watch::Receiver<TerminalInfo>,
    /// What the viewer has already.
    pub from: Option<u64>,
}

/// Shows restored output until the viewer goes or a new shell runs.
pub async fn view(
    viewer: &mut Viewer<'_>,
    restored: Restored,
    wires: &mut Wires,
    cancel: &CancellationToken,
) -> Ended {
    let Restored { store, key, mut info, from } = restored;
    let mut output = match key {
        Some(key) => terminal_history(&store, &key, limits::TERMINAL_RING_BYTES).await.to_vec(),
        None => Vec::new(),
    };
    let (kind, exit) = {
        let info = info.borrow();
        (info.kind, info.exit)
    };
    output.extend_from_slice(match (kind, exit) {
        (TerminalKind::Shell, _) => SHELL_ENDED.as_bytes(),
        (TerminalKind::Console, None) => CONSOLE_CUT.as_bytes(),
        (TerminalKind::Console, Some(_)) => b"",
    });
    if !show(viewer, output.into(), from).await {
        return Ended::Closed;
    }
    // A shell that is offered anew has not ended for its viewers.
    let ended = match kind {
        TerminalKind::Shell => None,
        TerminalKind::Console => {
            Some(exit.unwrap_or(Exit { code: None, signal: None, duration_ms: 0 }))
        }
    };
    if let Some(exit) = ended
        && !viewer.control(&TerminalServerMessage::Exit { exit }).await
    {
        return Ended::Closed;
    }
    info.mark_changed();
    loop {
        let more = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                viewer.close(4403, "access was withdrawn or the repl is closing").await;
                false
            }
            incoming = wires.stream.next() => match incoming {
                Some(Ok(message)) => match viewer.receive(message).await {
                    Incoming::Nothing => true,
                    // Only Enter is understood: a new shell must not get what was typed blindly.
                    Incoming::ToAgent(input) => {
                        let wants = kind == TerminalKind::Shell && input.iter().any(is_enter);
                        !wants || restart(viewer).await
                    }
                    Incoming::End => false,
                },
                _ => false,
            },
            changed = info.changed() => {
                if changed.is_err() {
                    viewer.close(4404, "there is no such terminal").await;
                    return Ended::Closed;
                }
                let now = info.borrow_and_update().clone();
                if !now.restored {
                    return Ended::Restarted;
                }
                viewer.size(&now).await
            }
            _ = wires.ping.tick() => viewer.ask_alive().await,
        };
        if !more {
            return Ended::Closed;
        }
    }
}

async fn show(viewer: &mut Viewer<'_>, output: Bytes, from: Option<u64>) -> bool {
    let known = from.and_then(|from| from.checked_sub(BASE)).and_then(|n| usize::try_from(n).ok());
    let mut rest = match known.filter(|known| *known <= output.len()) {
        Some(known) => output.slice(known..),
        None => {
            let reset = TerminalServerMessage::Reset { offset: BASE, prelude: String::new() };
            if !viewer.control(&reset).await {
                return false;
            }
            output
        }
    };
    while !rest.is_empty() {
        if !viewer.output(rest.split_to(rest.len().min(PIECE))).await {
            return false;
        }
    }
    true
}

fn is_enter(input: &TerminalInput) -> bool {
    match input {
        TerminalInput::Input { bytes } => bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n')),
        TerminalInput::Ack { .. } => false,
    }
}

/// Asks for a new shell. When it runs, the terminal's state says so; why it does not is said on
/// the screen.
async fn restart(viewer: &mut Viewer<'_>) -> bool {
    let (reply, answer) = tokio::sync::oneshot::channel();
    let ask = Ask::RestartTerminal(viewer.terminal, reply);
    if viewer.room.send(Command::Ask(ask)).await.is_err() {
        return false;
    }
    match answer.await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            let words: String = error.to_string().chars().filter(|c| !c.is_control()).collect();
            viewer.output(format!("\x1b[2m--- {words} ---\x1b[0m\r\n").into()).await
        }
        Err(_) => false,
    }
}
