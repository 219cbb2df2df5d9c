//! A raw client of our own socket, `tandem.v1`: all documents of one repl, with numbered acks.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tandem_proto::api::LiveState;
use tandem_proto::collab::{self, Frame};
use tandem_proto::id::{FileId, Generation};
use tandem_proto::lib0::{Reader, write_var_bytes, write_var_uint};
use tandem_proto::live::{self, AckLevel};
use tokio_tungstenite::tungstenite::Message;
use yrs::updates::decoder::Decode;
use yrs::{Doc, Map, Out, ReadTxn, Transact, Update};

use crate::{Api, LIMIT, Replica, Socket, within};

/// One document as this client holds it.
#[derive(Default)]
pub struct LiveDocument {
    /// The copy.
    pub replica: Replica,
    /// Identity and history, once the server has told.
    pub identity: Option<(FileId, Generation)>,
    /// Where the file is.
    pub path: String,
    /// The server has sent all it had.
    pub synced: bool,
    /// Number of the last update sent.
    pub sent: u64,
    /// The last update that is fsynced.
    pub fsynced: u64,
    /// The last update that is in the blob store.
    pub stored: u64,
    /// Refused updates: number and code.
    pub refused: Vec<(u64, u64)>,
    /// The server closed the document, with this code.
    pub closed: Option<u64>,
    /// The server asked to drop the copy, with this code.
    pub reset: Option<u64>,
    /// Number of awareness messages received.
    pub awareness: u32,
}

/// A connection and its documents, by address.
pub struct LiveSocket {
    socket: Socket,
    documents: BTreeMap<String, LiveDocument>,
    maps: BTreeMap<String, Doc>,
}

impl LiveSocket {
    pub(crate) async fn open(api: &Api, repl: &str) -> Result<Self> {
        let host = format!("localhost:{}", api.port());
        let bearer = format!("Bearer {}", api.token());
        let headers =
            [("authorization", bearer.as_str()), ("sec-websocket-protocol", live::SUBPROTOCOL)];
        let path = format!("/api/v1/repls/{repl}/live");
        let socket = Socket::open(api.port(), &host, &path, &headers).await?;
        Ok(Self { socket, documents: BTreeMap::new(), maps: BTreeMap::new() })
    }

    /// The bare socket, for frames that are wrong on purpose.
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Opens a document, and waits until all of it is here.
    ///
    /// # Errors
    /// When the server closes the document or does not answer.
    pub async fn join(&mut self, address: &str) -> Result<&mut LiveDocument> {
        self.join_with(address, LiveDocument::default()).await
    }

    /// Opens a document of which a copy is held since an earlier connection.
    ///
    /// # Errors
    /// See [`LiveSocket::join`].
    pub async fn join_with(
        &mut self,
        address: &str,
        held: LiveDocument,
    ) -> Result<&mut LiveDocument> {
        let (guid, generation) = match held.identity {
            Some((guid, generation)) => (Some(guid), generation),
            None => (None, Generation(0)),
        };
        // Numbers count per connection.
        let held = LiveDocument { synced: false, sent: 0, fsynced: 0, stored: 0, ..held };
        self.documents.insert(address.to_owned(), held);
        let identity = live::Message::Identity { guid, generation, path: "" };
        self.socket.send(live::encode(address, &identity)).await?;
        self.wait_for("the document is here", |socket| {
            socket.documents[address].synced || socket.documents[address].closed.is_some()
        })
        .await?;
        let document = self.document(address)?;
        if let Some(code) = document.closed {
            bail!("the server closed {address} with {code}");
        }
        Ok(document)
    }

    /// Subscribes to a document that only the server writes (`#live`, `#dir/…`).
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn watch(&mut self, address: &str) -> Result<()> {
        self.maps.insert(address.to_owned(), Doc::new());
        let identity = live::Message::Identity { guid: None, generation: Generation(0), path: "" };
        self.socket.send(live::encode(address, &identity)).await
    }

    /// What the `#live` document says now; subscribe first.
    ///
    /// # Errors
    /// When it is not as agreed.
    pub fn live_state(&self) -> Result<LiveState> {
        let mut values = self.map_values(live::LIVE, "live")?;
        let known = serde_json::to_value(LiveState::default())?;
        for (key, value) in known.as_object().into_iter().flatten() {
            values.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Ok(serde_json::from_value(serde_json::Value::Object(values))?)
    }

    /// The values of a server-written map; subscribe first.
    ///
    /// # Errors
    /// When it was not subscribed.
    pub fn map_values(
        &self,
        address: &str,
        name: &str,
    ) -> Result<serde_json::Map<String, serde_json::Value>> {
        let document = self.maps.get(address).context("subscribe first")?;
        let map = document.get_or_insert_map(name);
        let transaction = document.transact();
        let mut values = serde_json::Map::new();
        for (key, value) in map.iter(&transaction) {
            if let Out::Any(any) = value {
                values.insert(key.to_owned(), serde_json::to_value(&any)?);
            }
        }
        Ok(values)
    }

    /// One document.
    ///
    /// # Errors
    /// When it was not joined.
    pub fn document(&mut self, address: &str) -> Result<&mut LiveDocument> {
        self.documents.get_mut(address).with_context(|| format!("join {address} first"))
    }

    /// Takes a document's copy out, to hold it over a disconnection.
    ///
    /// # Errors
    /// When it was not joined.
    pub fn take(&mut self, address: &str) -> Result<LiveDocument> {
        self.documents.remove(address).with_context(|| format!("join {address} first"))
    }

    /// The text of a document.
    ///
    /// # Errors
    /// When it was not joined.
    pub fn text(&mut self, address: &str) -> Result<String> {
        Ok(self.document(address)?.replica.text())
    }

    /// Number of the last edit of this document that is fsynced; 0 when it was not joined.
    pub fn fsynced_number(&self, address: &str) -> u64 {
        self.documents.get(address).map_or(0, |document| document.fsynced)
    }

    /// Whether an edit of this document was refused with this code.
    pub fn text_refused(&self, address: &str, code: u64) -> bool {
        self.documents.get(address).is_some_and(|document| {
            document.refused.iter().any(|(_, refusal)| *refusal == code)
                || document.closed == Some(code)
                || document.reset == Some(code)
        })
    }

    /// Types at the end; returns the edit's number.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn append(&mut self, address: &str, text: &str) -> Result<u64> {
        let update = self.document(address)?.replica.append(text);
        self.send_update(address, &update).await
    }

    /// Deletes the whole text; returns the edit's number.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn erase(&mut self, address: &str) -> Result<u64> {
        let replica = &self.document(address)?.replica;
        let update = replica.remove(0, replica.length());
        self.send_update(address, &update).await
    }

    /// Types at a position; returns the edit's number.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn insert(&mut self, address: &str, position: u32, text: &str) -> Result<u64> {
        let update = self.document(address)?.replica.insert(position, text);
        self.send_update(address, &update).await
    }

    /// Shows a caret: says that this client id is here.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn show_caret(&mut self, address: &str) -> Result<()> {
        let client = self.document(address)?.replica.client();
        let mut states = Vec::new();
        // One client, its clock, its state.
        write_var_uint(&mut states, 1);
        write_var_uint(&mut states, client);
        write_var_uint(&mut states, 1);
        write_var_bytes(&mut states, b"{}");
        let mut message = collab::start(address, collab::kind::AWARENESS);
        write_var_bytes(&mut message, &states);
        self.socket.send(message).await
    }

    /// Sends any bytes as an edit; returns its number.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_update(&mut self, address: &str, update: &[u8]) -> Result<u64> {
        let document = self.document(address)?;
        document.sent += 1;
        let seq = document.sent;
        let message = live::Message::Update { seq, update };
        self.socket.send(live::encode(address, &message)).await?;
        Ok(seq)
    }

    /// Waits until everything sent for a document is fsynced.
    ///
    /// # Errors
    /// When an edit is refused or the ack does not come.
    pub async fn fsynced(&mut self, address: &str) -> Result<()> {
        self.acked(address, AckLevel::Fsynced).await
    }

    /// Waits until everything sent for a document is in the blob store.
    ///
    /// # Errors
    /// See [`LiveSocket::fsynced`].
    pub async fn stored(&mut self, address: &str) -> Result<()> {
        self.acked(address, AckLevel::Stored).await
    }

    async fn acked(&mut self, address: &str, level: AckLevel) -> Result<()> {
        let sent = self.document(address)?.sent;
        self.wait_for("acks", |socket| {
            let document = &socket.documents[address];
            let acked = match level {
                AckLevel::Fsynced => document.fsynced,
                AckLevel::Stored => document.stored,
            };
            acked >= sent || !document.refused.is_empty() || document.reset.is_some()
        })
        .await?;
        let document = self.document(address)?;
        if !document.refused.is_empty() || document.reset.is_some() {
            bail!("refused: {:?}, reset: {:?}", document.refused, document.reset);
        }
        Ok(())
    }

    /// Waits until a document's text satisfies `holds`.
    ///
    /// # Errors
    /// When it does not within the limit, with the text as it is.
    pub async fn wait_for_text(
        &mut self,
        address: &str,
        what: &str,
        holds: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let outcome =
            self.wait_for(what, |socket| holds(&socket.documents[address].replica.text())).await;
        let text = self.text(address)?;
        outcome.with_context(|| format!("{address} is {text:?}"))?;
        Ok(text)
    }

    /// Takes messages in until `done`.
    ///
    /// # Errors
    /// When it is not done within the limit or the connection ends.
    pub async fn wait_for(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<()> {
        let receiving = async {
            while !done(self) {
                self.receive().await?;
            }
            Ok(())
        };
        within(what, LIMIT, receiving).await
    }

    /// Takes in what comes for a while, for looking at what must *not* come.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn listen(&mut self, time: Duration) -> Result<()> {
        let until = tokio::time::Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            match self.socket.next_within(left).await? {
                Some(message) => self.take_in(message).await?,
                None => return Ok(()),
            }
        }
    }

    /// Takes one message in.
    ///
    /// # Errors
    /// When the connection ends or the message is malformed.
    pub async fn receive(&mut self) -> Result<()> {
        let message = self.socket.next().await?;
        self.take_in(message).await
    }

    async fn take_in(&mut self, message: Message) -> Result<()> {
        let Message::Binary(frame) = message else { bail!("a text frame") };
        let (address, kind, body) = match collab::parse(&frame)? {
            Frame::Ping => return self.socket.send(vec![collab::kind::PONG]).await,
            Frame::Pong => return Ok(()),
            Frame::Message { address, kind, body } => (address.to_owned(), kind, body),
        };
        match kind {
            collab::kind::SYNC => self.take_in_sync(&address, body).await,
            collab::kind::AWARENESS => {
                if let Some(document) = self.documents.get_mut(&address) {
                    document.awareness += 1;
                }
                Ok(())
            }
            _ => match live::parse(kind, body)? {
                Some(message) => self.take_in_own(&address, message),
                None => bail!("an unexpected message {kind} for {address}"),
            },
        }
    }

    async fn take_in_sync(&mut self, address: &str, body: &[u8]) -> Result<()> {
        let mut reader = Reader::new(body);
        let (step, bytes) = (reader.var_uint()?, reader.var_bytes()?);
        if let Some(map) = self.maps.get(address) {
            if step == 0 {
                let state = {
                    use yrs::updates::encoder::Encode;
                    map.transact().state_vector().encode_v1()
                };
                return self.send_sync(address, 0, &state).await;
            }
            map.transact_mut().apply_update(Update::decode_v1(bytes)?)?;
            return Ok(());
        }
        let document = self.document(address)?;
        if step == 0 {
            let state = document.replica.state_vector();
            let lacking = document.replica.difference(bytes)?;
            self.send_sync(address, 0, &state).await?;
            // `00 00` is the empty update.
            if lacking != [0, 0] {
                self.send_update(address, &lacking).await?;
            }
        } else {
            document.replica.apply(bytes)?;
            document.synced |= step == 1;
        }
        Ok(())
    }

    fn take_in_own(&mut self, address: &str, message: live::Message<'_>) -> Result<()> {
        if let Some(map) = self.maps.get(address) {
            if let live::Message::Update { update, .. } = message {
                map.transact_mut().apply_update(Update::decode_v1(update)?)?;
            }
            return Ok(());
        }
        let document = self.document(address)?;
        match message {
            live::Message::Identity { guid, generation, path } => {
                let identity = guid.map(|guid| (guid, generation));
                if document.identity.is_some() && document.identity != identity {
                    document.replica = Replica::default();
                }
                document.identity = identity;
                document.path = path.to_owned();
            }
            live::Message::Update { update, .. } => document.replica.apply(update)?,
            live::Message::Ack { seq, level: AckLevel::Fsynced } => {
                document.fsynced = document.fsynced.max(seq);
            }
            live::Message::Ack { seq, level: AckLevel::Stored } => {
                document.fsynced = document.fsynced.max(seq);
                document.stored = document.stored.max(seq);
            }
            live::Message::Nack { seq, code } => document.refused.push((seq, code)),
            live::Message::Reset { reason } => document.reset = Some(reason),
            live::Message::Closed { code } => document.closed = Some(code),
            live::Message::Credit { .. } => {}
        }
        Ok(())
    }

    async fn send_sync(&mut self, address: &str, step: u64, body: &[u8]) -> Result<()> {
        let mut frame = collab::start(address, collab::kind::SYNC);
        write_var_uint(&mut frame, step);
        write_var_bytes(&mut frame, body);
        self.socket.send(frame).await
    }
}
