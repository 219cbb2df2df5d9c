//! One person's connection to one document, over each of the three protocols.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tandem_proto::id::{FileId, Generation};

use crate::{Api, Closed, CollabEvent, CollabSocket, LiveDocument, LiveSocket, Replica, YSocket};

/// How a person's client talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Our own.
    Live,
    /// The one of y-websocket, without acks.
    YWebsocket,
    /// The one of Hocuspocus, with one status per edit.
    Hocuspocus,
}

/// What a person keeps over disconnections.
#[derive(Default)]
pub(super) struct Copy {
    pub(super) replica: Replica,
    pub(super) identity: Option<(FileId, Generation)>,
}

/// Acks of a connection: numbers of its edits, counted from 1.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Acks {
    pub(super) sent: u64,
    pub(super) fsynced: u64,
    pub(super) stored: u64,
}

pub(super) struct Wire {
    kind: Kind,
    address: String,
}

enum Kind {
    Live(Box<LiveSocket>),
    YWebsocket(Box<YSocket>),
    Hocuspocus(Box<Provider>),
}

struct Provider {
    socket: CollabSocket,
    replica: Replica,
    acks: Acks,
}

/// Where a document is.
pub(super) struct Place<'a> {
    pub(super) repl: &'a str,
    pub(super) file: FileId,
    pub(super) path: &'a str,
}

impl Wire {
    /// Connects, and waits until both sides have what the other had. `copy` is taken only when
    /// that worked.
    pub(super) async fn open(
        protocol: Protocol,
        api: &Api,
        place: Place<'_>,
        copy: &mut Copy,
    ) -> Result<Self> {
        match protocol {
            Protocol::Live => Self::live(api, place, copy).await,
            Protocol::YWebsocket => {
                let mut socket = YSocket::connect(api, place.repl, place.path).await?;
                let begun = async {
                    socket.resume(std::mem::take(&mut copy.replica)).await?;
                    socket.synced().await
                }
                .await;
                if let Err(error) = begun {
                    copy.replica = socket.replica;
                    return Err(error);
                }
                Ok(Self { kind: Kind::YWebsocket(Box::new(socket)), address: String::new() })
            }
            Protocol::Hocuspocus => Self::hocuspocus(api, place, copy).await,
        }
    }

    async fn live(api: &Api, place: Place<'_>, copy: &mut Copy) -> Result<Self> {
        let mut socket = Box::new(api.live(place.repl).await?);
        let address = format!("#{}", place.file);
        let replica = std::mem::take(&mut copy.replica);
        let held = LiveDocument { replica, identity: copy.identity, ..LiveDocument::default() };
        let joined = socket.join_with(&address, held).await.map(drop);
        let wire = Self { kind: Kind::Live(socket), address };
        if let Err(error) = joined {
            wire.leave(copy);
            return Err(error);
        }
        Ok(wire)
    }

    async fn hocuspocus(api: &Api, place: Place<'_>, copy: &mut Copy) -> Result<Self> {
        let address = format!("{}/{}", place.repl, place.path);
        let socket = CollabSocket::open(api).await?;
        let replica = std::mem::take(&mut copy.replica);
        let mut provider = Box::new(Provider { socket, replica, acks: Acks::default() });
        let state = provider.replica.state_vector();
        let begun = async {
            provider.socket.join(&address, api.token(), &state).await?;
            let (mut asked, mut answered) = (false, false);
            while !(asked && answered) {
                match provider.socket.receive().await?.1 {
                    event @ CollabEvent::Step1(_) => {
                        asked = true;
                        provider.take_in(&address, event).await?;
                    }
                    event => {
                        answered |= matches!(event, CollabEvent::Step2(_));
                        provider.take_in(&address, event).await?;
                    }
                }
            }
            Ok(())
        }
        .await;
        if let Err(error) = begun {
            copy.replica = provider.replica;
            return Err(error);
        }
        Ok(Self { kind: Kind::Hocuspocus(provider), address })
    }

    /// Takes in what comes for a while.
    pub(super) async fn listen(&mut self, time: Duration) -> Result<()> {
        match &mut self.kind {
            Kind::Live(socket) => {
                socket.listen(time).await?;
                let document = socket.document(&self.address)?;
                if let Some(code) = document.reset.or(document.closed) {
                    return Err(Ended { code, is_reset: document.reset.is_some() }.into());
                }
                match document.refused.first() {
                    Some((_, code)) => Err(Ended { code: *code, is_reset: false }.into()),
                    None => Ok(()),
                }
            }
            Kind::YWebsocket(socket) => socket.listen(time).await.map(drop),
            Kind::Hocuspocus(provider) => {
                let until = tokio::time::Instant::now() + time;
                loop {
                    let left = until.saturating_duration_since(tokio::time::Instant::now());
                    match provider.socket.receive_within(left).await? {
                        Some((_, event)) => provider.take_in(&self.address, event).await?,
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    pub(super) fn replica(&mut self) -> Result<&mut Replica> {
        match &mut self.kind {
            Kind::Live(socket) => Ok(&mut socket.document(&self.address)?.replica),
            Kind::YWebsocket(socket) => Ok(&mut socket.replica),
            Kind::Hocuspocus(provider) => Ok(&mut provider.replica),
        }
    }

    /// Sends an edit that the copy has already.
    pub(super) async fn send(&mut self, update: &[u8]) -> Result<()> {
        match &mut self.kind {
            Kind::Live(socket) => socket.send_update(&self.address, update).await.map(drop),
            Kind::YWebsocket(socket) => socket.send_sync(2, update).await,
            Kind::Hocuspocus(provider) => {
                provider.acks.sent += 1;
                provider.socket.send_sync(&self.address, 2, update).await
            }
        }
    }

    /// Acks so far; `None` where the protocol has none.
    pub(super) fn acks(&mut self) -> Option<Acks> {
        match &mut self.kind {
            Kind::Live(socket) => {
                let document = socket.document(&self.address).ok()?;
                let (sent, fsynced, stored) = (document.sent, document.fsynced, document.stored);
                Some(Acks { sent, fsynced, stored })
            }
            Kind::YWebsocket(_) => None,
            Kind::Hocuspocus(provider) => Some(provider.acks),
        }
    }

    /// The history it is connected to, where the protocol tells.
    pub(super) fn identity(&mut self) -> Option<(FileId, Generation)> {
        match &mut self.kind {
            Kind::Live(socket) => socket.document(&self.address).ok()?.identity,
            _ => None,
        }
    }

    /// Gives the copy back; the connection ends.
    pub(super) fn leave(self, copy: &mut Copy) {
        match self.kind {
            Kind::Live(mut socket) => {
                if let Ok(document) = socket.take(&self.address) {
                    copy.replica = document.replica;
                    copy.identity = document.identity.or(copy.identity);
                }
            }
            Kind::YWebsocket(socket) => copy.replica = socket.replica,
            Kind::Hocuspocus(provider) => copy.replica = provider.replica,
        }
    }
}

impl Provider {
    async fn take_in(&mut self, address: &str, event: CollabEvent) -> Result<()> {
        match event {
            CollabEvent::Step1(state_vector) => {
                let lacking = self.replica.difference(&state_vector)?;
                self.acks.sent += 1;
                self.socket.send_sync(address, 1, &lacking).await
            }
            CollabEvent::Step2(update) | CollabEvent::Update(update) => self.replica.apply(&update),
            CollabEvent::Status(true) => {
                self.acks.fsynced += 1;
                if self.acks.fsynced > self.acks.sent {
                    bail!("a status too many: {:?}", self.acks);
                }
                Ok(())
            }
            CollabEvent::Status(false) => Err(Ended { code: 0, is_reset: false }.into()),
            CollabEvent::Closed => Err(Ended { code: 0, is_reset: false }.into()),
            CollabEvent::Denied(reason) => {
                Err(Closed { code: 4401, reason }).context("the token was denied")
            }
            CollabEvent::Authenticated(_) | CollabEvent::Awareness(_) => Ok(()),
        }
    }
}

/// The server ended the document for this client, or refused an edit.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the server answered with {code}, reset: {is_reset}")]
pub(super) struct Ended {
    pub(super) code: u64,
    /// The copy is of no use any more.
    pub(super) is_reset: bool,
}
