//! One client's socket: reads its frames, answers tokens and pings, and hands the rest to the
//! desk's lines.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tandem_proto::collab::{self, Frame, kind};
use tandem_proto::limits;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::desk::{Desk, Line, repl_of};
use super::queue::{self, Receiver, Sender};
use super::upstream;
use crate::app::{App, Shared};
use crate::caller::{self, Caller};
use crate::problem::ApiError;

/// Connections to nodes of one socket.
const MAX_LINES: usize = 64;
/// Bytes waiting in each direction; who is behind by more waits, and then is disconnected.
const QUEUE_BYTES: u32 = limits::MAX_SOCKET_QUEUE_BYTES as u32;
/// How long a write to the client, or a frame's way to a node, may take.
const STALL: Duration = Duration::from_secs(30);
/// Time between keep-alive questions.
const PING_EVERY: Duration = Duration::from_secs(25);
/// A client that is silent for longer is gone.
const SILENCE: Duration = Duration::from_secs(80);
/// A socket on which nothing is admitted by then is closed.
const ADMISSION: Duration = Duration::from_secs(30);

/// What is known of a client when it connects.
pub(super) struct Client {
    /// Who it is, when the upgrade said so.
    pub(super) known: Option<Caller>,
    /// From where.
    pub(super) client: IpAddr,
}

/// Why a socket ends, as the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Closing(u16, &'static str);

const RESTART: Closing = Closing(1012, "the server restarts; come back");
const MALFORMED: Closing = Closing(4400, "not a frame of this protocol");
const UNADMITTED: Closing = Closing(4401, "no document was opened in time");
const SILENT: Closing = Closing(4408, "nothing was heard for too long");
const TOO_MUCH: Closing = Closing(4413, "too much waits on this socket");
const TOO_SLOW: Closing = Closing(4408, "the node did not take a frame in time");
const NODE_GONE: Closing = Closing(1013, "the node does not answer; try again");
const GONE: Closing = Closing(1000, "");

/// The node's way to say that a right was taken away.
const REVOKED: u16 = 4403;

/// A task of the socket that ended.
enum Ended {
    /// The line, its number, and the code the node closed with.
    Line(Line, u64, u16),
    Writer,
}

/// An open line. Its number tells it from an earlier one for the same right.
struct Open {
    number: u64,
    to_node: Sender,
}

struct Socket {
    app: Shared,
    client: Client,
    desk: Desk,
    lines: HashMap<Line, Open>,
    opened: u64,
    to_client: Sender,
    tasks: JoinSet<Ended>,
}

/// Serves one socket to its end.
pub(super) async fn run(app: Shared, websocket: WebSocket, client: Client) {
    app.metrics.collab_sockets.inc();
    let (sink, stream) = websocket.split();
    let (to_client, outgoing) = queue::queue(QUEUE_BYTES);
    let (close, closing) = oneshot::channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        write(sink, outgoing, closing).await;
        Ended::Writer
    });
    let mut socket = Socket {
        app: Arc::clone(&app),
        client,
        desk: Desk::default(),
        lines: HashMap::new(),
        opened: 0,
        to_client,
        tasks,
    };
    let reason = socket.read(stream).await;
    tracing::debug!(code = reason.0, reason = reason.1, "a collab socket ends");
    // The writer says goodbye and ends; lines end with their senders.
    let _ = close.send(reason);
    app.metrics.collab_upstreams.dec_by(i64::try_from(socket.lines.len()).unwrap_or_default());
    socket.lines.clear();
    let all = async { while socket.tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(2), all).await;
    app.metrics.collab_sockets.dec();
}

impl Socket {
    async fn read(&mut self, mut stream: SplitStream<WebSocket>) -> Closing {
        let admission = Instant::now() + ADMISSION;
        let mut heard = Instant::now();
        loop {
            let admitted = self.desk.is_admitted();
            let stopping = self.app.stopping.clone();
            tokio::select! {
                biased;
                () = stopping.cancelled() => return RESTART,
                Some(ended) = self.tasks.join_next() => {
                    match ended {
                        Ok(Ended::Line(line, number, code)) => {
                            let current = self.lines.get(&line).map(|open| open.number);
                            if current == Some(number)
                                && let Some(reason) = self.line_ended(line, code).await
                            {
                                return reason;
                            }
                        }
                        Ok(Ended::Writer) | Err(_) => return GONE,
                    }
                }
                message = stream.next() => {
                    heard = Instant::now();
                    let handled = match message {
                        Some(Ok(Message::Binary(frame))) => {
                            let handling = tokio::time::timeout(STALL, self.frame(frame));
                            tokio::select! {
                                () = stopping.cancelled() => return RESTART,
                                handled = handling => handled.unwrap_or(Err(TOO_SLOW)),
                            }
                        }
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
                        Some(Ok(Message::Text(_))) => Err(MALFORMED),
                        Some(Ok(Message::Close(_)) | Err(_)) | None => Err(GONE),
                    };
                    if let Err(reason) = handled {
                        return reason;
                    }
                }
                () = tokio::time::sleep_until(heard + SILENCE) => return SILENT,
                () = tokio::time::sleep_until(admission), if !admitted => return UNADMITTED,
            }
        }
    }

    async fn frame(&mut self, bytes: Bytes) -> Result<(), Closing> {
        match collab::parse(&bytes).map_err(|_| MALFORMED)? {
            Frame::Ping => self.tell(vec![kind::PONG]).await,
            Frame::Pong => Ok(()),
            Frame::Message { address, kind: kind::AUTH, body } => {
                let token = collab::auth_token(body).map_err(|_| MALFORMED)?;
                self.admit(address, token).await
            }
            Frame::Message { address, kind, .. } => {
                let address = address.to_owned();
                if let Some(line) = self.desk.route(&address, &bytes).map_err(|_| TOO_MUCH)? {
                    self.pass(line, bytes).await?;
                }
                if kind == kind::CLOSE
                    && let Some(line) = self.desk.leave(&address)
                {
                    self.drop_line(line);
                }
                Ok(())
            }
        }
    }

    /// Answers a token for one address.
    async fn admit(&mut self, address: &str, token: &str) -> Result<(), Closing> {
        let app = Arc::clone(&self.app);
        let access = match self.access(&app, address, token).await {
            Ok(access) => access,
            Err(error) if error.status().is_server_error() => {
                error.log();
                return Err(NODE_GONE);
            }
            Err(error) => {
                tracing::debug!(code = error.problem().code, "a document was refused");
                if let Some(line) = self.desk.leave(address) {
                    self.drop_line(line);
                }
                return self.tell(collab::permission_denied(address, "permission-denied")).await;
            }
        };
        let line = Line {
            repl: access.repl.id,
            member: access.caller.member.id,
            role: access.role,
            session: self.desk.session(address),
        };
        if !self.lines.contains_key(&line) {
            if self.lines.len() >= MAX_LINES {
                return Err(TOO_MUCH);
            }
            let on = (&access.repl, access.role);
            let node = match upstream::connect(&app, &access.caller.member, on).await {
                Ok(node) => node,
                Err(error) => {
                    ApiError::NodeUnavailable(error).log();
                    return Err(NODE_GONE);
                }
            };
            let (to_node, from_client) = queue::queue(QUEUE_BYTES);
            let to_client = self.to_client.clone();
            self.opened += 1;
            let number = self.opened;
            self.tasks.spawn(async move {
                let code = upstream::carry(line.repl, node, from_client, to_client).await;
                Ended::Line(line, number, code)
            });
            self.lines.insert(line, Open { number, to_node });
            app.metrics.collab_upstreams.inc();
        }
        let old = self.desk.leave_other(address, line);
        let waiting = self.desk.admit(address, line).map_err(|_| TOO_MUCH)?;
        if let Some(old) = old {
            self.drop_line(old);
        }
        self.tell(collab::authenticated(address, access.role.may_edit())).await?;
        for frame in waiting {
            self.pass(line, frame).await?;
        }
        Ok(())
    }

    async fn access(
        &self,
        app: &App,
        address: &str,
        token: &str,
    ) -> Result<caller::Access, ApiError> {
        let repl = repl_of(address).ok_or(ApiError::NotFound("no repl in the document's name"))?;
        let caller = match (&self.client.known, token) {
            (Some(known), "") => known.clone(),
            (None, "") => return Err(ApiError::Unauthenticated),
            (_, token) => caller::by_token(app, token, self.client.client).await?,
        };
        caller::access(app, caller, repl).await?.present()
    }

    /// A node ended a line. A right that was taken away concerns its documents alone; else the
    /// client comes back and opens all again.
    async fn line_ended(&mut self, line: Line, code: u16) -> Option<Closing> {
        let addresses = self.desk.end(line);
        self.drop_line(line);
        if addresses.is_empty() {
            return None;
        }
        if code != REVOKED {
            let code = if code == upstream::NORMAL || code == 1001 { 1012 } else { code };
            return Some(Closing(code, "the repl's node closed the connection"));
        }
        for address in addresses {
            let denied = collab::permission_denied(&address, "permission-denied");
            if let Err(reason) = self.tell(denied).await {
                return Some(reason);
            }
        }
        None
    }

    fn drop_line(&mut self, line: Line) {
        if self.lines.remove(&line).is_some() {
            self.app.metrics.collab_upstreams.dec();
        }
    }

    async fn pass(&self, line: Line, frame: Bytes) -> Result<(), Closing> {
        match self.lines.get(&line) {
            Some(open) => {
                // A line that just ended is noticed by the loop, which tells the client.
                let _ended = open.to_node.put(frame).await.is_err();
                Ok(())
            }
            None => Err(NODE_GONE),
        }
    }

    async fn tell(&self, frame: Vec<u8>) -> Result<(), Closing> {
        self.to_client.put(Bytes::from(frame)).await.map_err(|_| GONE)
    }
}

/// Writes to the client until it is too slow, gone, or told to go.
async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut outgoing: Receiver,
    mut closing: oneshot::Receiver<Closing>,
) {
    let mut ping = tokio::time::interval(PING_EVERY);
    ping.reset();
    loop {
        let message = tokio::select! {
            biased;
            reason = &mut closing => {
                let Closing(code, text) = reason.unwrap_or(GONE);
                let frame = CloseFrame { code, reason: text.into() };
                let goodbye = sink.send(Message::Close(Some(frame)));
                let _ = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
                return;
            }
            _ = ping.tick() => Message::Ping(Bytes::new()),
            frame = outgoing.take() => match frame {
                Some(frame) => {
                    // The frame keeps its room in the queue until it is written.
                    let written = sink.send(Message::Binary(frame.bytes.clone()));
                    match tokio::time::timeout(STALL, written).await {
                        Ok(Ok(())) => continue,
                        _ => return,
                    }
                }
                None => return,
            }
        };
        match tokio::time::timeout(STALL, sink.send(message)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}
