//! A terminal's stream: output with absolute offsets, checked to be contiguous.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tandem_proto::agent::{TerminalInput, TerminalOutput};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::OwnedSemaphorePermit;

use super::LinkError;
use super::frame::{self, FrameReader};

/// Largest payload of one output or input frame.
const MAX_CHUNK_BYTES: usize = 64 * 1024;
/// Largest repaint: a full screen of the largest size, each cell with its own colours.
const MAX_PRELUDE_BYTES: usize = 4 << 20;
const MAX_FRAME_BYTES: usize = MAX_PRELUDE_BYTES + 1024;

/// An open terminal of a sandbox.
#[derive(Debug)]
pub struct TerminalStream {
    reader: TerminalReader,
    writer: TerminalWriter,
}

/// The output half of a [`TerminalStream`].
#[derive(Debug)]
pub struct TerminalReader {
    frames: FrameReader<OwnedReadHalf>,
    /// Offset of the next chunk, once one is known.
    expected: Option<u64>,
    ended: bool,
    _permit: Arc<OwnedSemaphorePermit>,
}

/// The input half of a [`TerminalStream`].
#[derive(Debug)]
pub struct TerminalWriter {
    socket: OwnedWriteHalf,
    /// Encoded and not yet written: a cancelled send leaves no torn frame.
    unsent: BytesMut,
    _permit: Arc<OwnedSemaphorePermit>,
}

impl TerminalStream {
    pub(super) fn new(socket: UnixStream, early: BytesMut, permit: OwnedSemaphorePermit) -> Self {
        let permit = Arc::new(permit);
        let (read, write) = socket.into_split();
        Self {
            reader: TerminalReader {
                frames: FrameReader::new(read, early, MAX_FRAME_BYTES),
                expected: None,
                ended: false,
                _permit: permit.clone(),
            },
            writer: TerminalWriter { socket: write, unsent: BytesMut::new(), _permit: permit },
        }
    }

    /// See [`TerminalReader::recv`].
    pub async fn recv(&mut self) -> Result<Option<TerminalOutput>, LinkError> {
        self.reader.recv().await
    }

    /// See [`TerminalWriter::send`].
    pub async fn send(&mut self, input: TerminalInput) -> Result<(), LinkError> {
        self.writer.send(input).await
    }

    /// Both halves apart.
    pub fn split(self) -> (TerminalReader, TerminalWriter) {
        (self.reader, self.writer)
    }
}

impl TerminalReader {
    /// The next output; `None` at the end. Chunks are contiguous, and a restart goes forward
    /// only; an agent that breaks this is cut off. Cancel-safe.
    pub async fn recv(&mut self) -> Result<Option<TerminalOutput>, LinkError> {
        if self.ended {
            return Ok(None);
        }
        let output = self.frames.next().await;
        let result = output.map_err(LinkError::from).and_then(|output| {
            if let Some(output) = &output {
                self.check(output).map_err(LinkError::Protocol)?;
            }
            Ok(output)
        });
        self.ended = !matches!(result, Ok(Some(_)));
        result
    }

    fn check(&mut self, output: &TerminalOutput) -> Result<(), &'static str> {
        match output {
            TerminalOutput::Chunk { offset, bytes } => {
                if bytes.len() > MAX_CHUNK_BYTES {
                    return Err("a chunk of output is too large");
                }
                if self.expected.is_some_and(|expected| expected != *offset) {
                    return Err("output is not contiguous");
                }
                let end = offset.checked_add(bytes.len() as u64);
                self.expected = Some(end.ok_or("an output offset is out of range")?);
            }
            TerminalOutput::Restart { offset, prelude } => {
                if prelude.len() > MAX_PRELUDE_BYTES {
                    return Err("a repaint is too large");
                }
                if self.expected.is_some_and(|expected| *offset < expected) {
                    return Err("output goes backwards");
                }
                self.expected = Some(*offset);
            }
            TerminalOutput::Exited { .. } => {}
        }
        Ok(())
    }
}

impl TerminalWriter {
    /// Sends input or an acknowledgement; long input goes in several frames. Waits while the
    /// agent does not read. When cancelled, what was begun is sent by the next call.
    pub async fn send(&mut self, input: TerminalInput) -> Result<(), LinkError> {
        match input {
            TerminalInput::Input { mut bytes } => {
                while !bytes.is_empty() {
                    let part: Bytes = bytes.split_to(bytes.len().min(MAX_CHUNK_BYTES));
                    self.queue(&TerminalInput::Input { bytes: part })?;
                }
            }
            ack @ TerminalInput::Ack { .. } => self.queue(&ack)?,
        }
        while !self.unsent.is_empty() {
            self.socket.write_buf(&mut self.unsent).await?;
        }
        Ok(())
    }

    fn queue(&mut self, input: &TerminalInput) -> Result<(), LinkError> {
        self.unsent.extend_from_slice(&frame::encode(input, MAX_FRAME_BYTES)?);
        Ok(())
    }
}
