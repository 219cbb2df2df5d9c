//! The node's end of the connections from the agent of one sandbox.
//!
//! One task ([`actor`]) owns the socket, the control connection and what waits for answers; an
//! [`AgentLink`] is a handle to it. Invariants:
//! - Nothing the agent sends is trusted: see [`frame`] and [`check`]. A broken rule closes the
//!   connection it came on, nothing else.
//! - One control connection; the newest valid one wins.
//! - Events are complete or the connection is closed and made again: [`LinkEvent::Connected`]
//!   always means "look at everything anew".

mod actor;
mod check;
mod frame;
mod listener;
mod stream;
mod terminal;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tandem_proto::agent::{
    AgentError, Configure, Event, FromAgent, Hello, Op, Reply, StreamTarget, TerminalOutput,
    TransferEnd,
};
use tandem_proto::limits::{MAX_AGENT_FRAME_BYTES, TERMINAL_RING_BYTES};
use tandem_proto::{RelPath, SandboxId, TerminalId};
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::actor::{Actor, Command};
pub use self::frame::FrameError;
use self::frame::FrameReader;
pub(crate) use self::listener::{Peer, listen};
pub use self::stream::AgentTcp;
pub use self::terminal::{TerminalReader, TerminalStream, TerminalWriter};

/// Longest wait for an ordinary answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest wait for a scan of a whole workspace.
const SCAN_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest wait for the agent to dial a stream.
const STREAM_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a transfer may stand still.
const TRANSFER_STALL: Duration = Duration::from_secs(60);
/// TCP connections open at once through one agent, which bounds descriptors on both sides. More
/// wait until one is closed.
const MAX_TCP: usize = 384;
/// Terminals and transfers open at once; a crowd of web requests does not take their places.
const MAX_STREAMS: usize = 128;
/// Largest frame that ends a transfer.
const MAX_END_BYTES: usize = 64 * 1024;

/// Why the agent could not be reached or used.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No control connection: the agent has not dialled yet, or has lost its connection and
    /// will dial again. Retry after the next [`LinkEvent::Connected`].
    #[error("the agent is not connected")]
    Disconnected,
    /// The sandbox was stopped.
    #[error("the sandbox is gone")]
    Gone,
    /// It did not answer in time.
    #[error("the agent did not answer in time")]
    Timeout,
    /// Too much is asked of it at once.
    #[error("too many requests or streams at once")]
    Busy,
    /// The agent answered with an error.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The agent broke the protocol.
    #[error("the agent broke the protocol: {0}")]
    Protocol(&'static str),
    /// A frame could not be read or written.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The connection failed.
    #[error("the connection to the agent failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Parses one frame as a link does that hears it from an agent. Links read from sockets; this is
/// for looking at what bytes alone can do.
///
/// # Errors
/// When a link would close the connection.
pub fn parse_frame(bytes: &[u8]) -> Result<Option<FromAgent>, FrameError> {
    let message = frame::decode(&mut BytesMut::from(bytes), MAX_AGENT_FRAME_BYTES)?;
    if let Some(FromAgent::Event(event)) = &message {
        check::event(event).map_err(|violation| FrameError::Message(violation.to_owned()))?;
    }
    Ok(message)
}

/// What comes from the agent unasked.
#[derive(Debug)]
pub enum LinkEvent {
    /// A control connection stands. Whatever was known of the sandbox may be outdated.
    Connected(Hello),
    /// Something happened inside.
    Event(Event),
    /// The control connection is gone; requests under way have failed.
    Disconnected,
}

/// A handle to the agent of one sandbox.
#[derive(Debug, Clone)]
pub struct AgentLink {
    sandbox: SandboxId,
    commands: mpsc::Sender<Command>,
    connected: watch::Receiver<bool>,
    streams: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    events: Arc<Mutex<Option<mpsc::Receiver<LinkEvent>>>>,
}

/// What runs a link: the future must be polled until `stop` is cancelled.
pub(crate) struct LinkTask {
    pub(crate) link: AgentLink,
    pub(crate) run: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    /// To be set once the agent's process is known; nobody is let in before.
    pub(crate) peer: watch::Sender<Option<Peer>>,
}

impl AgentLink {
    /// A link on a listening socket.
    pub(crate) fn serve(
        sandbox: SandboxId,
        listener: tokio::net::UnixListener,
        stop: CancellationToken,
    ) -> LinkTask {
        // Full: callers of the link wait, each under its own time limit.
        let (commands, inbox) = mpsc::channel(32);
        // Full: the actor keeps a bounded backlog and then closes the control connection.
        let (event_sender, events) = mpsc::channel(64);
        let (connected_sender, connected) = watch::channel(false);
        let (peer, peer_receiver) = watch::channel(None);
        let actor = Actor::new(sandbox, peer_receiver, event_sender, connected_sender);
        let link = Self {
            sandbox,
            commands,
            connected,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            connections: Arc::new(Semaphore::new(MAX_TCP)),
            events: Arc::new(Mutex::new(Some(events))),
        };
        LinkTask { link, run: Box::pin(actor.run(listener, inbox, stop)), peer }
    }

    /// The sandbox this leads to.
    pub fn sandbox(&self) -> SandboxId {
        self.sandbox
    }

    /// Whether a control connection stands now.
    pub fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// Waits until a control connection stands.
    pub async fn connected(&self) -> Result<(), LinkError> {
        let mut connected = self.connected.clone();
        connected.wait_for(|connected| *connected).await.map_err(|_| LinkError::Gone)?;
        Ok(())
    }

    /// The events of this sandbox, from the first on; `None` when they were taken already.
    pub fn take_events(&self) -> Option<mpsc::Receiver<LinkEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Asks the agent for something and waits for its answer.
    pub async fn request(&self, op: Op) -> Result<Reply, LinkError> {
        let limit = match &op {
            Op::Scan { .. } => SCAN_TIMEOUT,
            Op::StopProcesses { grace_ms } => REQUEST_TIMEOUT + Duration::from_millis(*grace_ms),
            _ => REQUEST_TIMEOUT,
        };
        self.ask(limit, |reply| Command::Request { op, reply }).await
    }

    /// Sets what the agent is told first on this and every later connection.
    pub async fn configure(&self, configure: Configure) -> Result<(), LinkError> {
        self.commands.send(Command::Configure(configure)).await.map_err(|_| LinkError::Gone)
    }

    /// Opens a terminal's output from an offset on (`None`: a repaint first) and its input.
    pub async fn open_terminal(
        &self,
        terminal: TerminalId,
        from: Option<u64>,
    ) -> Result<TerminalStream, LinkError> {
        let target = StreamTarget::Terminal { terminal, from };
        let (socket, early, permit) = self.open(target).await?;
        Ok(TerminalStream::new(socket, early, permit))
    }

    /// What is held of a terminal's output now, at most [`TERMINAL_RING_BYTES`]: the offset of the
    /// first byte, and the bytes. `None` when the output still ends at `known_end`.
    pub async fn scrollback(
        &self,
        terminal: TerminalId,
        known_end: Option<u64>,
    ) -> Result<Option<(u64, Bytes)>, LinkError> {
        let target = StreamTarget::Scrollback { terminal, known_end };
        let (socket, early, permit) = self.open(target).await?;
        let (mut reader, _writer) = TerminalStream::new(socket, early, permit).split();
        let mut from = None;
        let mut bytes = BytesMut::new();
        loop {
            let output = tokio::time::timeout(STREAM_TIMEOUT, reader.recv())
                .await
                .map_err(|_| LinkError::Timeout)??;
            match output {
                Some(TerminalOutput::Chunk { offset, bytes: chunk }) => {
                    if bytes.len() + chunk.len() > TERMINAL_RING_BYTES {
                        return Err(LinkError::Protocol("more scrollback than a terminal holds"));
                    }
                    from.get_or_insert(offset);
                    bytes.extend_from_slice(&chunk);
                }
                Some(_) => return Err(LinkError::Protocol("scrollback is chunks only")),
                None => return Ok(from.map(|from| (from, bytes.freeze()))),
            }
        }
    }

    /// Connects to a listening port inside.
    pub async fn open_tcp(&self, address: IpAddr, port: u16) -> Result<AgentTcp, LinkError> {
        let target = StreamTarget::Tcp { address, port };
        let (socket, early, permit) = self.open(target).await?;
        Ok(AgentTcp::new(socket, early, permit))
    }

    /// Sends a tar to be unpacked in the workspace; the number of entries it had.
    pub async fn unpack(&self, mut tar: impl AsyncRead + Unpin) -> Result<u64, LinkError> {
        let (socket, early, _permit) = self.open(StreamTarget::Unpack).await?;
        let (read, mut write) = socket.into_split();
        let mut frames = FrameReader::new(read, early, MAX_END_BYTES);
        let end = {
            let ending = frames.next::<TransferEnd>();
            tokio::pin!(ending);
            let sending = async {
                copy_without_stall(&mut tar, &mut write).await?;
                write.shutdown().await
            };
            tokio::select! {
                // An early end says why the rest is not wanted.
                end = &mut ending => end,
                sent = sending => match sent {
                    Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                        return Err(error.into());
                    }
                    _ => tokio::time::timeout(TRANSFER_STALL, &mut ending)
                        .await
                        .map_err(|_| LinkError::Timeout)?,
                },
            }
        };
        let end = end?.ok_or(LinkError::Protocol("a transfer ended without its result"))?;
        Ok(end.result?)
    }

    /// A tar of these paths (of everything when there are none). A tar that ends early was cut
    /// by an error inside.
    pub async fn pack(
        &self,
        paths: Vec<RelPath>,
    ) -> Result<impl AsyncRead + Send + Unpin + use<>, LinkError> {
        self.pack_without(paths, Vec::new()).await
    }

    /// Like [`AgentLink::pack`], but for what these rules name, see [`RelPath::is_named_by`].
    pub async fn pack_without(
        &self,
        paths: Vec<RelPath>,
        skip: Vec<String>,
    ) -> Result<impl AsyncRead + Send + Unpin + use<>, LinkError> {
        let (socket, early, permit) = self.open(StreamTarget::Pack { paths, skip }).await?;
        Ok(AgentTcp::new(socket, early, permit))
    }

    async fn open(
        &self,
        target: StreamTarget,
    ) -> Result<(UnixStream, BytesMut, OwnedSemaphorePermit), LinkError> {
        let places = match target {
            StreamTarget::Tcp { .. } => &self.connections,
            _ => &self.streams,
        };
        let permit = tokio::time::timeout(STREAM_TIMEOUT, places.clone().acquire_owned())
            .await
            .map_err(|_| LinkError::Busy)?
            .map_err(|_| LinkError::Gone)?;
        let (socket, early) =
            self.ask(STREAM_TIMEOUT, |reply| Command::Open { target, reply }).await?;
        Ok((socket, early, permit))
    }

    async fn ask<T>(
        &self,
        limit: Duration,
        command: impl FnOnce(oneshot::Sender<Result<T, LinkError>>) -> Command,
    ) -> Result<T, LinkError> {
        let (reply, answer) = oneshot::channel();
        let command = command(reply);
        tokio::time::timeout(limit, async {
            self.commands.send(command).await.map_err(|_| LinkError::Gone)?;
            answer.await.map_err(|_| LinkError::Gone)?
        })
        .await
        .map_err(|_| LinkError::Timeout)?
    }
}

/// Copies to the agent's socket, and fails when it does not read for long.
async fn copy_without_stall(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
) -> std::io::Result<()> {
    use tokio::io::AsyncReadExt;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        tokio::time::timeout(TRANSFER_STALL, to.write_all(&buffer[..length])).await??;
    }
}

#[cfg(test)]
mod tests;
