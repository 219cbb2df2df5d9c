//! The stream of one viewer of a terminal.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tandem_proto::agent::{TerminalInput, TerminalOutput};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::flow::{Step, ViewerId};
use super::session::Terminal;
use crate::frame::{self, FrameError};

/// Most bytes of one input frame.
const MAX_INPUT: usize = 64 * 1024;
/// Most bytes of one chunk of scrollback.
const CHUNK: usize = 64 * 1024;

/// Sends what is held of the output now, unless it still ends where the node knows it to.
pub async fn scrollback(terminal: &Terminal, known_end: Option<u64>, mut stream: UnixStream) {
    let (mut offset, mut bytes) = {
        let flow = terminal.flow();
        let ring = flow.screen().ring();
        if known_end == Some(ring.end()) {
            return;
        }
        let start = ring.start();
        (start, Bytes::from(ring.read(start, usize::MAX).unwrap_or_default()))
    };
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(CHUNK));
        let length = piece.len() as u64;
        let chunk = TerminalOutput::Chunk { offset, bytes: piece };
        // A node that is gone asks again when it is back.
        if frame::write(&mut stream, &chunk).await.is_err() {
            return;
        }
        offset += length;
    }
}

/// Serves the stream until either side ends it.
pub async fn run(terminal: Arc<Terminal>, from: Option<u64>, stream: UnixStream) {
    let viewer = terminal.flow().attach(from);
    terminal.progressed();
    let (reader, writer) = stream.into_split();
    // How it ended does not matter: the viewer's next stream starts from what it has.
    tokio::select! {
        () = terminal.closed().cancelled() => {}
        _ = input(&terminal, viewer, reader) => {}
        _ = output(&terminal, viewer, writer) => {}
    }
    terminal.flow().detach(viewer);
    terminal.progressed();
}

async fn output(
    terminal: &Terminal,
    viewer: ViewerId,
    mut writer: OwnedWriteHalf,
) -> Result<(), FrameError> {
    loop {
        let changed = terminal.output().notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let step = terminal.flow().next(viewer, Instant::now());
        match step {
            Step::Send(output) => frame::write(&mut writer, &output).await?,
            Step::Repaint(output) => {
                frame::write(&mut writer, &output).await?;
                terminal.redraw();
            }
            Step::Wait(None) => {
                changed.await;
                continue;
            }
            Step::Wait(Some(until)) => {
                tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(until.into()) => {}
                }
                continue;
            }
            Step::Gone => return Ok(()),
        }
        terminal.flow().sent(viewer, Instant::now());
        terminal.progressed();
    }
}

async fn input(
    terminal: &Terminal,
    viewer: ViewerId,
    mut reader: OwnedReadHalf,
) -> Result<(), FrameError> {
    while let Some(message) = frame::read::<TerminalInput>(&mut reader).await? {
        match message {
            TerminalInput::Input { bytes } if bytes.len() <= MAX_INPUT => {
                terminal.type_in(bytes).await;
            }
            TerminalInput::Input { bytes } => return Err(FrameError::TooLarge(bytes.len())),
            TerminalInput::Ack { offset } => {
                terminal.flow().acked(viewer, offset, Instant::now());
                terminal.progressed();
                // The viewer itself may be waiting for room in its window.
                terminal.output().notify_waiters();
            }
        }
    }
    Ok(())
}
