//! The task that owns a sandbox's socket and control connection.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tandem_proto::SandboxId;
use tandem_proto::agent::{
    Configure, Dial, Event, FromAgent, Hello, Op, Reply, StreamTarget, ToAgent,
};
use tandem_proto::limits::MAX_AGENT_FRAME_BYTES;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::frame::{FrameError, FrameReader, encode};
use super::{LinkError, LinkEvent, Peer, check};

/// Connections that have not greeted yet; more wait in the socket's queue. User code does not
/// take these places: it is refused before it may greet.
const MAX_GREETING: usize = 64;
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_GREETING_BYTES: usize = 256 * 1024;
/// Requests and streams that wait for an answer.
const MAX_WAITING: usize = 512;
/// Events not taken yet, in frames and in bytes as they came; beyond that the control
/// connection is closed. A scan of a full workspace fits.
const MAX_BACKLOG: usize = 8192;
const MAX_BACKLOG_BYTES: usize = 16 << 20;
/// How fast the agent may talk on the control connection; above it is read more slowly.
const FRAME_RATE: (f64, f64) = (5_000.0, 20_000.0);
/// How fast connections are accepted; user code may connect too, only to be refused.
const ACCEPT_RATE: (f64, f64) = (1_000.0, 500.0);

/// What handles ask of the actor.
#[derive(Debug)]
pub(super) enum Command {
    Request { op: Op, reply: oneshot::Sender<Result<Reply, LinkError>> },
    Open { target: StreamTarget, reply: oneshot::Sender<Result<Dialled, LinkError>> },
    Configure(Configure),
}

/// A stream's connection and what came with its greeting.
pub(super) type Dialled = (UnixStream, BytesMut);

struct Waiting {
    op: Op,
    reply: oneshot::Sender<Result<Reply, LinkError>>,
}

struct Control {
    reader: FrameReader<OwnedReadHalf>,
    /// Full: commands are not taken until the agent reads.
    writer: mpsc::Sender<Bytes>,
    writing: AbortHandle,
    pace: Pace,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.writing.abort();
    }
}

/// A token bucket.
struct Pace {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Pace {
    /// `rate` a second and `burst` at once.
    fn new(rate: f64, burst: f64) -> Self {
        Self { rate, burst, tokens: burst, at: Instant::now() }
    }

    /// Waits until a token is there, without taking it.
    async fn ready(&self) {
        if self.tokens < 0.0 {
            let wait = Duration::from_secs_f64(-self.tokens / self.rate);
            tokio::time::sleep_until(self.at + wait).await;
        }
    }

    fn take(&mut self) {
        let now = Instant::now();
        let earned = now.duration_since(self.at).as_secs_f64() * self.rate;
        self.tokens = (self.tokens + earned).min(self.burst) - 1.0;
        self.at = now;
    }
}

pub(super) struct Actor {
    sandbox: SandboxId,
    peer: watch::Receiver<Option<Peer>>,
    events: mpsc::Sender<LinkEvent>,
    connected: watch::Sender<bool>,
    configure: Configure,
    control: Option<Control>,
    next_request: u64,
    requests: HashMap<u64, Waiting>,
    next_stream: u64,
    streams: HashMap<u64, oneshot::Sender<Result<Dialled, LinkError>>>,
    backlog: VecDeque<(LinkEvent, usize)>,
    backlog_bytes: usize,
    greetings: JoinSet<Option<(Dial, FrameReader<UnixStream>)>>,
    writers: JoinSet<()>,
}

impl Actor {
    pub(super) fn new(
        sandbox: SandboxId,
        peer: watch::Receiver<Option<Peer>>,
        events: mpsc::Sender<LinkEvent>,
        connected: watch::Sender<bool>,
    ) -> Self {
        Self {
            sandbox,
            peer,
            events,
            connected,
            configure: Configure::default(),
            control: None,
            next_request: 0,
            requests: HashMap::new(),
            next_stream: 0,
            streams: HashMap::new(),
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            greetings: JoinSet::new(),
            writers: JoinSet::new(),
        }
    }

    pub(super) async fn run(
        mut self,
        listener: UnixListener,
        mut commands: mpsc::Receiver<Command>,
        stop: CancellationToken,
    ) {
        let events = self.events.clone();
        let mut accepting = Pace::new(ACCEPT_RATE.0, ACCEPT_RATE.1);
        loop {
            let has_room = self
                .control
                .as_ref()
                .is_none_or(|control| control.writer.is_closed() || control.writer.capacity() > 0);
            let writer = self.control.as_ref().map(|control| control.writer.clone());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(greeted) = self.greetings.join_next() => {
                    if let Ok(Some((dial, reader))) = greeted {
                        self.dialled(dial, reader);
                    }
                }
                Some(_) = self.writers.join_next() => {
                    if self.control.as_ref().is_some_and(|control| control.writer.is_closed()) {
                        self.disconnect("it does not take what is sent");
                    }
                }
                permit = events.reserve(), if !self.backlog.is_empty() => match permit {
                    Ok(permit) => {
                        if let Some((event, bytes)) = self.backlog.pop_front() {
                            self.backlog_bytes -= bytes;
                            permit.send(event);
                        }
                    }
                    Err(_) => {
                        self.backlog.clear();
                        self.backlog_bytes = 0;
                    }
                },
                command = commands.recv(), if has_room => match command {
                    Some(command) => self.command(command),
                    None => break,
                },
                () = room(writer), if !has_room => {}
                frame = next_frame(&mut self.control) => match frame {
                    Ok(Some(frame)) => {
                        if let Err(violation) = self.received(frame) {
                            self.disconnect(violation);
                        }
                    }
                    Ok(None) => self.disconnect("it closed the connection"),
                    Err(error) => {
                        tracing::debug!(sandbox = %self.sandbox, %error, "agent connection");
                        self.disconnect("its connection failed");
                    }
                },
                accepted = accept(&listener, &mut accepting),
                    if self.greetings.len() < MAX_GREETING => self.accepted(accepted),
            }
        }
    }

    fn accepted(&mut self, socket: UnixStream) {
        let mut peer = self.peer.clone();
        self.greetings.spawn(async move {
            let greeting = async {
                let known = peer.wait_for(Option::is_some).await.ok().and_then(|peer| *peer)?;
                if !known.is(&socket) {
                    return None;
                }
                let mut reader = FrameReader::new(socket, BytesMut::new(), MAX_GREETING_BYTES);
                let dial = reader.next::<Dial>().await.ok()??;
                Some((dial, reader))
            };
            tokio::time::timeout(GREETING_TIMEOUT, greeting).await.ok().flatten()
        });
    }

    fn dialled(&mut self, dial: Dial, reader: FrameReader<UnixStream>) {
        match dial {
            Dial::Control(hello) => match check::hello(&hello, self.sandbox) {
                Ok(()) => self.connect(hello, reader),
                Err(violation) => {
                    tracing::warn!(sandbox = %self.sandbox, violation, "agent refused");
                }
            },
            Dial::Stream { stream, result } => {
                // Unasked, or given up meanwhile: dropping it closes it.
                if let Some(reply) = self.streams.remove(&stream) {
                    let outcome = result.map(|()| reader.into_parts()).map_err(LinkError::Agent);
                    let _ = reply.send(outcome);
                }
            }
        }
    }

    fn connect(&mut self, hello: Hello, reader: FrameReader<UnixStream>) {
        self.disconnect("a newer connection took its place");
        let (socket, early) = reader.into_parts();
        let (read, write) = socket.into_split();
        let (writer, outbox) = mpsc::channel(8);
        let writing = self.writers.spawn(write_frames(write, outbox));
        self.control = Some(Control {
            reader: FrameReader::new(read, early, MAX_AGENT_FRAME_BYTES),
            writer,
            writing,
            pace: Pace::new(FRAME_RATE.0, FRAME_RATE.1),
        });
        self.tell(&ToAgent::Configure(self.configure.clone()));
        self.push(LinkEvent::Connected(hello), 0);
        self.connected.send_replace(true);
    }

    /// Ends the control connection; what waited for it fails.
    fn disconnect(&mut self, reason: &'static str) {
        if self.control.take().is_none() {
            return;
        }
        tracing::debug!(sandbox = %self.sandbox, reason, "agent disconnected");
        self.connected.send_replace(false);
        for (_, waiting) in self.requests.drain() {
            let _ = waiting.reply.send(Err(LinkError::Disconnected));
        }
        for (_, reply) in self.streams.drain() {
            let _ = reply.send(Err(LinkError::Disconnected));
        }
        self.push(LinkEvent::Disconnected, 0);
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Configure(configure) => {
                self.configure = configure;
                self.tell(&ToAgent::Configure(self.configure.clone()));
            }
            Command::Request { op, reply } => {
                self.requests.retain(|_, waiting| !waiting.reply.is_closed());
                if let Some(error) = self.obstacle(self.requests.len()) {
                    let _ = reply.send(Err(error));
                    return;
                }
                let id = self.next_request;
                self.next_request += 1;
                match encode(&ToAgent::Request { id, op: op.clone() }, MAX_AGENT_FRAME_BYTES) {
                    Ok(frame) => {
                        self.requests.insert(id, Waiting { op: without_content(op), reply });
                        self.write(frame);
                    }
                    Err(error) => {
                        let _ = reply.send(Err(error.into()));
                    }
                }
            }
            Command::Open { target, reply } => {
                self.streams.retain(|_, reply| !reply.is_closed());
                if let Some(error) = self.obstacle(self.streams.len()) {
                    let _ = reply.send(Err(error));
                    return;
                }
                let stream = self.next_stream;
                self.next_stream += 1;
                self.streams.insert(stream, reply);
                self.tell(&ToAgent::OpenStream { stream, target });
            }
        }
    }

    fn obstacle(&self, waiting: usize) -> Option<LinkError> {
        if self.control.is_none() {
            Some(LinkError::Disconnected)
        } else if waiting >= MAX_WAITING {
            Some(LinkError::Busy)
        } else {
            None
        }
    }

    fn tell(&mut self, message: &ToAgent) {
        match encode(message, MAX_AGENT_FRAME_BYTES) {
            Ok(frame) => self.write(frame),
            Err(error) => tracing::error!(sandbox = %self.sandbox, %error, "message to agent"),
        }
    }

    /// Room was there before a command was taken; without it the agent does not read at all.
    fn write(&mut self, frame: Bytes) {
        if let Some(control) = &self.control
            && control.writer.try_send(frame).is_err()
        {
            self.disconnect("it does not take what is sent");
        }
    }

    fn received(&mut self, frame: (FromAgent, usize)) -> Result<(), &'static str> {
        let (message, bytes) = frame;
        match message {
            FromAgent::Response { id, result } => {
                let Some(waiting) = self.requests.remove(&id) else {
                    // A late answer to something given up is fine, one to nothing is not.
                    let was_asked = id < self.next_request;
                    return if was_asked { Ok(()) } else { Err("it answers what nobody asked") };
                };
                let outcome = match result {
                    Ok(reply) => match check::reply(&waiting.op, &reply) {
                        Ok(()) => Ok(reply),
                        Err(violation) => {
                            let _ = waiting.reply.send(Err(LinkError::Protocol(violation)));
                            return Err(violation);
                        }
                    },
                    Err(error) => Err(LinkError::Agent(error)),
                };
                // A caller that gave up is fine.
                let _ = waiting.reply.send(outcome);
                Ok(())
            }
            FromAgent::Event(event) => {
                check::event(&event)?;
                if let Event::ScanChunk { id, .. } = &event {
                    let scan = self.requests.get(id).map(|waiting| &waiting.op);
                    match scan {
                        Some(Op::Scan { .. }) => {}
                        None if *id < self.next_request => return Ok(()),
                        _ => return Err("a scan chunk belongs to no scan"),
                    }
                }
                if self.backlog.len() >= MAX_BACKLOG
                    || self.backlog_bytes + bytes > MAX_BACKLOG_BYTES
                {
                    self.backlog.clear();
                    self.backlog_bytes = 0;
                    return Err("it reports faster than the repl can follow");
                }
                self.push(LinkEvent::Event(event), bytes);
                Ok(())
            }
        }
    }

    fn push(&mut self, event: LinkEvent, bytes: usize) {
        self.backlog_bytes += bytes;
        self.backlog.push_back((event, bytes));
    }
}

/// The next frame of the control connection with its size, no faster than its pace.
/// Cancel-safe: a token is taken only together with a frame.
async fn next_frame(
    control: &mut Option<Control>,
) -> Result<Option<(FromAgent, usize)>, FrameError> {
    let Some(control) = control else { return std::future::pending().await };
    control.pace.ready().await;
    let frame = control.reader.next_sized::<FromAgent>().await?;
    control.pace.take();
    Ok(frame)
}

/// The next connection, no faster than the pace. Cancel-safe.
async fn accept(listener: &UnixListener, pace: &mut Pace) -> UnixStream {
    loop {
        pace.ready().await;
        let accepted = listener.accept().await;
        pace.take();
        match accepted {
            Ok((socket, _)) => return socket,
            // Out of descriptors: give others time to return some.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Waits until a frame can be sent, or never can.
async fn room(writer: Option<mpsc::Sender<Bytes>>) {
    match writer {
        Some(writer) => drop(writer.reserve().await),
        None => std::future::pending().await,
    }
}

async fn write_frames(mut socket: OwnedWriteHalf, mut frames: mpsc::Receiver<Bytes>) {
    while let Some(frame) = frames.recv().await {
        if socket.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// What is kept of a request to check its answer.
fn without_content(op: Op) -> Op {
    match op {
        Op::Write { path, executable, expect, .. } => {
            Op::Write { path, content: Bytes::new(), executable, expect }
        }
        Op::Spawn(spawn) => Op::Spawn(tandem_proto::agent::Spawn {
            env: Vec::new(),
            history: Bytes::new(),
            ..spawn
        }),
        other => other,
    }
}
