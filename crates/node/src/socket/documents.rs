//! One document socket: frames in, messages to the room; the room's queue out.
//!
//! Reading stops while the room's mailbox is full, so that a flood meets its own TCP window. A
//! peer that takes nothing for [`STALL`] is disconnected; it comes back by state vector.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tandem_proto::collab::{self, Frame, kind};
use tandem_proto::{Generation, Grant};
use tokio_util::sync::CancellationToken;

use super::outbox::{Outbox, Outgoing};
use super::protocol::{self, Inbound, Protocol};
use crate::node::Node;
use crate::room::{Command, NewPeer, PeerId, RoomError, RoomHandle};

/// Longest time without progress of a write.
const STALL: Duration = Duration::from_secs(30);
/// How often a silent peer is pinged, and after how long it is given up.
const PING: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(65);
/// Rooms that may be closing before a socket is told to come back.
const ATTEMPTS: usize = 3;

/// Serves one socket until either side ends it. `only` is the single document of a y-websocket.
pub async fn serve(
    socket: WebSocket,
    node: Node,
    grant: Grant,
    protocol: Protocol,
    only: Option<Arc<str>>,
) {
    let (sink, stream) = socket.split();
    let outbox = Outbox::new(CancellationToken::new());
    let (room, peer) = match attach(&node, &grant, protocol, &outbox).await {
        Some(attached) => attached,
        None => {
            outbox.close(1013, "try again");
            let mut connection = Connection { sink, outbox, last_seen: Instant::now() };
            return connection.drain().await;
        }
    };
    let mut connection = Connection { sink, outbox, last_seen: Instant::now() };
    connection.run(stream, &room, peer, protocol, only).await;
    // A closing room forgets its peers by itself.
    drop(room.send(Command::Detach(peer)).await);
}

/// Enters the repl's room; one that is just closing is opened anew.
async fn attach(
    node: &Node,
    grant: &Grant,
    protocol: Protocol,
    outbox: &Outbox,
) -> Option<(RoomHandle, PeerId)> {
    for _ in 0..ATTEMPTS {
        let room = match node.room(grant.repl).await {
            Ok(room) => room,
            Err(error) => {
                tracing::debug!(repl = %grant.repl, %error, "a socket found no room");
                return None;
            }
        };
        let peer = NewPeer { grant: grant.clone(), protocol, outbox: outbox.clone() };
        match room.ask_attach(peer).await {
            Ok(peer) => return Some((room, peer)),
            Err(RoomError::Closing) => room.finished().await,
            Err(error) => {
                tracing::debug!(repl = %grant.repl, %error, "a socket could not join its room");
                return None;
            }
        }
    }
    None
}

struct Connection {
    sink: SplitSink<WebSocket, Message>,
    outbox: Outbox,
    last_seen: Instant,
}

enum Next {
    Out(Outgoing),
    In(Option<Result<Message, axum::Error>>),
    Ping,
    End,
}

impl Connection {
    async fn run(
        &mut self,
        mut stream: SplitStream<WebSocket>,
        room: &RoomHandle,
        peer: PeerId,
        protocol: Protocol,
        only: Option<Arc<str>>,
    ) {
        if let Some(address) = &only {
            let open = Inbound::Identity { guid: None, generation: Generation(0) };
            if room.send(Command::Document(peer, address.clone(), open)).await.is_err() {
                return;
            }
        }
        let mut ping = tokio::time::interval(PING);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut addresses = Addresses::default();
        let cancel = self.outbox.cancel().clone();
        loop {
            let next = tokio::select! {
                biased;
                () = cancel.cancelled() => Next::End,
                outgoing = self.outbox.next() => Next::Out(outgoing),
                incoming = stream.next() => Next::In(incoming),
                _ = ping.tick() => Next::Ping,
            };
            let more = match next {
                Next::End => false,
                Next::Out(outgoing) => self.send(outgoing, room, peer).await,
                Next::In(Some(Ok(message))) => {
                    self.last_seen = Instant::now();
                    self.receive(message, room, peer, protocol, only.as_ref(), &mut addresses).await
                }
                Next::In(_) => false,
                Next::Ping => {
                    self.last_seen.elapsed() < SILENCE
                        && self.write(Message::Ping(Bytes::new())).await
                }
            };
            if !more {
                return;
            }
        }
    }

    /// Sends one message and all that wait, with one flush.
    async fn send(&mut self, first: Outgoing, room: &RoomHandle, peer: PeerId) -> bool {
        let mut next = Some(first);
        while let Some(outgoing) = next {
            let sent = match outgoing {
                Outgoing::Binary(bytes) => {
                    tokio::time::timeout(STALL, self.sink.feed(Message::Binary(bytes))).await
                }
                Outgoing::Close(code, reason) => {
                    self.close(code, reason).await;
                    return false;
                }
            };
            if !matches!(sent, Ok(Ok(()))) {
                return false;
            }
            next = self.outbox.try_next();
        }
        if !matches!(tokio::time::timeout(STALL, self.sink.flush()).await, Ok(Ok(()))) {
            return false;
        }
        !self.outbox.take_drained() || room.send(Command::Drained(peer)).await.is_ok()
    }

    async fn write(&mut self, message: Message) -> bool {
        matches!(tokio::time::timeout(STALL, self.sink.send(message)).await, Ok(Ok(())))
    }

    async fn close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code, reason: reason.into() };
        self.write(Message::Close(Some(frame))).await;
    }

    async fn drain(&mut self) {
        while let Some(outgoing) = self.outbox.try_next() {
            match outgoing {
                Outgoing::Binary(bytes) => drop(self.write(Message::Binary(bytes)).await),
                Outgoing::Close(code, reason) => self.close(code, reason).await,
            }
        }
    }

    async fn receive(
        &mut self,
        message: Message,
        room: &RoomHandle,
        peer: PeerId,
        protocol: Protocol,
        only: Option<&Arc<str>>,
        addresses: &mut Addresses,
    ) -> bool {
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Close(_) => return false,
            Message::Text(_) => {
                self.close(4400, "only binary messages are understood").await;
                return false;
            }
            Message::Ping(_) | Message::Pong(_) => return true,
        };
        let (address, parsed) = match (protocol, only) {
            (Protocol::YWebsocket, Some(address)) => {
                (address.clone(), protocol::parse_y_websocket(&bytes))
            }
            _ => match collab::parse(&bytes) {
                Ok(Frame::Ping) => {
                    return self.write(Message::Binary(Bytes::from_static(&[kind::PONG]))).await;
                }
                Ok(Frame::Pong) => return true,
                Ok(Frame::Message { address, kind, body }) => (
                    addresses.get(address),
                    protocol::parse_addressed(protocol, &bytes, kind, body),
                ),
                Err(_) => return self.malformed(protocol).await,
            },
        };
        match parsed {
            Ok(Inbound::Ignore) => true,
            Ok(inbound) => room.send(Command::Document(peer, address, inbound)).await.is_ok(),
            Err(error) => {
                tracing::debug!(%error, "a frame was refused");
                self.malformed(protocol).await
            }
        }
    }

    /// A frame that cannot be read ends a one-document socket; on the others, where documents
    /// share the socket, it is passed over so that the rest stays alive.
    async fn malformed(&mut self, protocol: Protocol) -> bool {
        if protocol == Protocol::YWebsocket {
            self.close(4400, "the message is malformed").await;
            return false;
        }
        true
    }
}

/// Addresses of a socket, shared instead of copied per message.
#[derive(Default)]
struct Addresses {
    known: Vec<Arc<str>>,
}

impl Addresses {
    fn get(&mut self, address: &str) -> Arc<str> {
        if let Some(known) = self.known.iter().find(|known| &***known == address) {
            return known.clone();
        }
        let fresh: Arc<str> = address.into();
        if self.known.len() < 64 {
            self.known.push(fresh.clone());
        }
        fresh
    }
}
