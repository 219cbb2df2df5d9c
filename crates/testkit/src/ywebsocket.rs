//! A raw y-websocket client: one document on one socket.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tandem_proto::lib0::{Reader, write_var_bytes, write_var_uint};
use tokio_tungstenite::tungstenite::Message;

use crate::{Api, LIMIT, Replica, Socket, within};

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum YMessage {
    /// The server's state vector.
    Step1(Vec<u8>),
    /// What we lacked.
    Step2(Vec<u8>),
    /// An edit.
    Update(Vec<u8>),
    /// Carets.
    Awareness(Vec<u8>),
}

/// A connection and its copy of the document.
pub struct YSocket {
    /// The copy.
    pub replica: Replica,
    socket: Socket,
}

impl YSocket {
    /// Connects with the token in the query, as stock clients do, and sends step 1. The document's
    /// name is put into the address as it is, which is what the stock client does too.
    ///
    /// # Errors
    /// When the upgrade is refused.
    pub async fn open(api: &Api, repl: &str, name: &str) -> Result<Self> {
        let mut this = Self::connect(api, repl, name).await?;
        this.resume(Replica::default()).await?;
        Ok(this)
    }

    /// Connects and says nothing yet.
    ///
    /// # Errors
    /// When the upgrade is refused.
    pub async fn connect(api: &Api, repl: &str, name: &str) -> Result<Self> {
        let host = format!("localhost:{}", api.port());
        let path = format!("/api/v1/repls/{repl}/sync/{name}?token={}", api.token());
        let socket = Socket::open(api.port(), &host, &path, &[]).await?;
        Ok(Self { replica: Replica::default(), socket })
    }

    /// Begins with a copy that is held since an earlier connection.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn resume(&mut self, replica: Replica) -> Result<()> {
        self.replica = replica;
        let state = self.replica.state_vector();
        self.send_sync(0, &state).await
    }

    /// Sends a sync message: 0 step 1, 1 step 2, 2 update.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_sync(&mut self, kind: u64, body: &[u8]) -> Result<()> {
        let mut frame = vec![0];
        write_var_uint(&mut frame, kind);
        write_var_bytes(&mut frame, body);
        self.socket.send(frame).await
    }

    /// The bare socket, for frames that are wrong on purpose.
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Types at the end.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn append(&mut self, text: &str) -> Result<()> {
        let update = self.replica.append(text);
        self.send_sync(2, &update).await
    }

    /// The next message, taken into the copy and answered.
    ///
    /// # Errors
    /// When the connection is closed, nothing comes, or what comes is malformed.
    pub async fn receive(&mut self) -> Result<YMessage> {
        let message = self.socket.next().await?;
        self.take_in(message).await
    }

    /// Takes in what comes for a while; whether the server's whole document was among it.
    ///
    /// # Errors
    /// When the connection is closed or what comes is malformed.
    pub async fn listen(&mut self, time: Duration) -> Result<bool> {
        let until = tokio::time::Instant::now() + time;
        let mut synced = false;
        loop {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            match self.socket.next_within(left).await? {
                Some(message) => {
                    synced |= matches!(self.take_in(message).await?, YMessage::Step2(_));
                }
                None => return Ok(synced),
            }
        }
    }

    async fn take_in(&mut self, message: Message) -> Result<YMessage> {
        let Message::Binary(frame) = message else { bail!("a text frame") };
        let mut reader = Reader::new(&frame);
        let message = match reader.var_uint()? {
            0 => match (reader.var_uint()?, reader.var_bytes()?) {
                (0, state_vector) => {
                    let difference = self.replica.difference(state_vector)?;
                    self.send_sync(1, &difference).await?;
                    YMessage::Step1(state_vector.to_vec())
                }
                (1, update) => {
                    self.replica.apply(update)?;
                    YMessage::Step2(update.to_vec())
                }
                (2, update) => {
                    self.replica.apply(update)?;
                    YMessage::Update(update.to_vec())
                }
                (kind, _) => bail!("an unknown sync message {kind}"),
            },
            1 => YMessage::Awareness(reader.var_bytes()?.to_vec()),
            kind => bail!("an unexpected message {kind}"),
        };
        if !reader.is_empty() {
            bail!(
                "more than one message in a frame, of which the stock client reads only the first"
            );
        }
        Ok(message)
    }

    /// Reads until the server has sent its whole document.
    ///
    /// # Errors
    /// See [`YSocket::receive`].
    pub async fn synced(&mut self) -> Result<()> {
        while !matches!(self.receive().await?, YMessage::Step2(_)) {}
        Ok(())
    }

    /// Reads until the text satisfies `holds`.
    ///
    /// # Errors
    /// When it does not within the limit, with the text as it is.
    pub async fn wait_for(&mut self, what: &str, holds: impl Fn(&str) -> bool) -> Result<()> {
        let reading = async {
            while !holds(&self.replica.text()) {
                self.receive().await?;
            }
            Ok(())
        };
        let outcome = within(what, LIMIT, reading).await;
        outcome.with_context(|| format!("the text is {:?}", self.replica.text()))
    }
}
