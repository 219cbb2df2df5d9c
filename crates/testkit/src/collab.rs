//! A raw Hocuspocus client: several documents on one socket.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tandem_proto::collab::{self, Frame, kind};
use tandem_proto::lib0::{Reader, write_var_bytes, write_var_string, write_var_uint};
use tokio_tungstenite::tungstenite::Message;

use crate::{Api, LIMIT, Socket};

/// What came for a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollabEvent {
    /// The token was accepted, with this scope.
    Authenticated(String),
    /// The token was refused.
    Denied(String),
    /// The server's state vector.
    Step1(Vec<u8>),
    /// What we lacked.
    Step2(Vec<u8>),
    /// An edit.
    Update(Vec<u8>),
    /// Carets.
    Awareness(Vec<u8>),
    /// An edit of ours is safe, or was refused.
    Status(bool),
    /// The document is closed.
    Closed,
}

/// A connection.
pub struct CollabSocket {
    socket: Socket,
}

impl CollabSocket {
    /// Connects, without any authentication yet.
    ///
    /// # Errors
    /// When the upgrade is refused.
    pub async fn open(api: &Api) -> Result<Self> {
        let host = format!("localhost:{}", api.port());
        Ok(Self { socket: Socket::open(api.port(), &host, "/api/v1/collab", &[]).await? })
    }

    /// The bare socket, for frames that are wrong on purpose.
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Sends the token for one document.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn authenticate(&mut self, address: &str, token: &str) -> Result<()> {
        let mut frame = collab::start(address, kind::AUTH);
        write_var_uint(&mut frame, 0);
        write_var_string(&mut frame, token);
        self.socket.send(frame).await
    }

    /// Sends a sync message: 0 step 1, 1 step 2, 2 update.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_sync(&mut self, address: &str, step: u64, body: &[u8]) -> Result<()> {
        let mut frame = collab::start(address, kind::SYNC);
        write_var_uint(&mut frame, step);
        write_var_bytes(&mut frame, body);
        self.socket.send(frame).await
    }

    /// Sends the whole beginning of a provider, without waiting in between: token, then step 1.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn join(&mut self, address: &str, token: &str, state_vector: &[u8]) -> Result<()> {
        self.authenticate(address, token).await?;
        self.send_sync(address, 0, state_vector).await
    }

    /// The next message and its address.
    ///
    /// # Errors
    /// When the connection is closed, nothing comes, or what comes is malformed.
    pub async fn receive(&mut self) -> Result<(String, CollabEvent)> {
        self.receive_within(LIMIT).await?.context("wait for a message")
    }

    /// The same, or `None` when nothing comes within this time.
    ///
    /// # Errors
    /// When the connection is closed or what comes is malformed.
    pub async fn receive_within(
        &mut self,
        limit: Duration,
    ) -> Result<Option<(String, CollabEvent)>> {
        let until = tokio::time::Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            let frame = match self.socket.next_within(left).await? {
                Some(Message::Binary(frame)) => frame,
                Some(_) => bail!("a text frame"),
                None => return Ok(None),
            };
            let (address, kind, body) = match collab::parse(&frame)? {
                Frame::Ping => {
                    self.socket.send(vec![kind::PONG]).await?;
                    continue;
                }
                Frame::Pong => continue,
                Frame::Message { address, kind, body } => (address, kind, body),
            };
            let mut reader = Reader::new(body);
            let event = match kind {
                kind::AUTH => match (reader.var_uint()?, reader.var_string()?) {
                    (1, reason) => CollabEvent::Denied(reason.to_owned()),
                    (2, scope) => CollabEvent::Authenticated(scope.to_owned()),
                    (other, _) => bail!("an unknown answer {other} to the token"),
                },
                kind::SYNC | kind::SYNC_REPLY => match (reader.var_uint()?, reader.var_bytes()?) {
                    (0, bytes) => CollabEvent::Step1(bytes.to_vec()),
                    (1, bytes) => CollabEvent::Step2(bytes.to_vec()),
                    (2, bytes) => CollabEvent::Update(bytes.to_vec()),
                    (other, _) => bail!("an unknown sync message {other}"),
                },
                kind::AWARENESS => CollabEvent::Awareness(reader.var_bytes()?.to_vec()),
                kind::SYNC_STATUS => CollabEvent::Status(reader.var_uint()? == 1),
                kind::CLOSE => CollabEvent::Closed,
                kind::STATELESS | kind::QUERY_AWARENESS => continue,
                other => bail!("an unexpected message {other}"),
            };
            return Ok(Some((address.to_owned(), event)));
        }
    }

    /// Reads until an event of this document satisfies `wanted`, skipping all others.
    ///
    /// # Errors
    /// See [`CollabSocket::receive`].
    pub async fn wait_for(
        &mut self,
        address: &str,
        wanted: impl Fn(&CollabEvent) -> bool,
    ) -> Result<CollabEvent> {
        loop {
            let (from, event) = self.receive().await?;
            if from == address && wanted(&event) {
                return Ok(event);
            }
        }
    }
}
