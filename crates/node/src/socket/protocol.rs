//! The three wire protocols of documents, reduced to one set of messages that a room knows.
//! Pure encoding and decoding; see `tandem_proto::{collab, live}` for the formats.

use bytes::Bytes;
use tandem_proto::collab::{self, kind};
use tandem_proto::lib0::{Lib0Error, Reader, write_var_bytes, write_var_uint};
use tandem_proto::live::{self, AckLevel, Refusal};
use tandem_proto::{FileId, Generation};

/// What a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `tandem.v1`: many documents, numbered acks.
    Live,
    /// y-websocket: one document per socket.
    YWebsocket,
    /// Hocuspocus: many documents, one status per edit.
    Hocuspocus,
}

/// A message for one document, whatever protocol it came by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// Opens a document, naming the history held, if any. Other protocols open implicitly.
    Identity {
        /// The client's copy.
        guid: Option<FileId>,
        /// Its history.
        generation: Generation,
    },
    /// Asks for what this state vector lacks.
    Step1(Bytes),
    /// An edit. `answer` marks one sent in answer to our step1, which a reader may send too.
    Update {
        /// The sender's count, 0 where the protocol has none.
        seq: u64,
        /// Yjs v1 update.
        update: Bytes,
        /// Sent as step2.
        answer: bool,
    },
    /// Carets and names.
    Awareness(Bytes),
    /// Asks for all awareness states.
    QueryAwareness,
    /// The client leaves this document.
    Close,
    /// Understood, nothing to do.
    Ignore,
}

/// Why a frame cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not well-formed.
    #[error(transparent)]
    Malformed(#[from] Lib0Error),
    /// A type that this protocol does not have, or may not be sent by clients.
    #[error("the message type {0} is not accepted")]
    Unknown(u64),
}

/// Parses the body of a message that has an address (`tandem.v1` and Hocuspocus).
pub fn parse_addressed(
    protocol: Protocol,
    frame: &Bytes,
    message_kind: u64,
    body: &[u8],
) -> Result<Inbound, FrameError> {
    let mut reader = Reader::new(body);
    match message_kind {
        kind::SYNC | kind::SYNC_REPLY => match (parse_sync(frame, body)?, protocol) {
            (Inbound::Update { .. }, Protocol::Live) => Err(FrameError::Unknown(message_kind)),
            (message, _) => Ok(message),
        },
        kind::AWARENESS => Ok(Inbound::Awareness(frame.slice_ref(reader.var_bytes()?))),
        kind::QUERY_AWARENESS => Ok(Inbound::QueryAwareness),
        kind::STATELESS | kind::AUTH => Ok(Inbound::Ignore),
        kind::CLOSE if protocol == Protocol::Hocuspocus => Ok(Inbound::Close),
        other if protocol == Protocol::Live => match live::parse(other, body)? {
            Some(live::Message::Identity { guid, generation, .. }) => {
                Ok(Inbound::Identity { guid, generation })
            }
            Some(live::Message::Update { seq, update }) => {
                Ok(Inbound::Update { seq, update: frame.slice_ref(update), answer: false })
            }
            Some(live::Message::Closed { .. }) => Ok(Inbound::Close),
            _ => Err(FrameError::Unknown(other)),
        },
        other => Err(FrameError::Unknown(other)),
    }
}

/// Parses a y-websocket message: `[0 sync | 1 awareness | 2 auth | 3 queryAwareness]…`.
pub fn parse_y_websocket(frame: &Bytes) -> Result<Inbound, FrameError> {
    let mut reader = Reader::new(frame);
    match reader.var_uint()? {
        0 => parse_sync(frame, reader.rest()),
        1 => Ok(Inbound::Awareness(frame.slice_ref(reader.var_bytes()?))),
        2 => Ok(Inbound::Ignore),
        3 => Ok(Inbound::QueryAwareness),
        other => Err(FrameError::Unknown(other)),
    }
}

fn parse_sync(frame: &Bytes, body: &[u8]) -> Result<Inbound, FrameError> {
    let mut reader = Reader::new(body);
    let step = reader.var_uint()?;
    let bytes = frame.slice_ref(reader.var_bytes()?);
    match step {
        0 => Ok(Inbound::Step1(bytes)),
        1 => Ok(Inbound::Update { seq: 0, update: bytes, answer: true }),
        2 => Ok(Inbound::Update { seq: 0, update: bytes, answer: false }),
        other => Err(FrameError::Unknown(other)),
    }
}

fn start(protocol: Protocol, address: &str, message_kind: u64) -> Vec<u8> {
    match protocol {
        Protocol::YWebsocket => {
            let mut out = Vec::with_capacity(16);
            write_var_uint(&mut out, message_kind);
            out
        }
        Protocol::Live | Protocol::Hocuspocus => collab::start(address, message_kind),
    }
}

fn sync(protocol: Protocol, address: &str, step: u64, bytes: &[u8]) -> Bytes {
    let mut out = start(protocol, address, kind::SYNC);
    out.reserve(bytes.len() + 8);
    write_var_uint(&mut out, step);
    write_var_bytes(&mut out, bytes);
    out.into()
}

/// Our state vector: the client answers with what we lack.
pub fn step1(protocol: Protocol, address: &str, state_vector: &[u8]) -> Bytes {
    sync(protocol, address, 0, state_vector)
}

/// What the client lacks.
pub fn step2(protocol: Protocol, address: &str, update: &[u8]) -> Bytes {
    sync(protocol, address, 1, update)
}

/// An edit of somebody else.
pub fn update(protocol: Protocol, address: &str, update: &[u8]) -> Bytes {
    match protocol {
        Protocol::Live => live::encode(address, &live::Message::Update { seq: 0, update }).into(),
        Protocol::YWebsocket | Protocol::Hocuspocus => sync(protocol, address, 2, update),
    }
}

/// Carets and names of others.
pub fn awareness(protocol: Protocol, address: &str, states: &[u8]) -> Bytes {
    let mut out = start(protocol, address, kind::AWARENESS);
    write_var_bytes(&mut out, states);
    out.into()
}

/// Which history a document has.
pub fn identity(address: &str, guid: FileId, generation: Generation, path: &str) -> Bytes {
    live::encode(address, &live::Message::Identity { guid: Some(guid), generation, path }).into()
}

/// An edit is safe. `None` where the protocol has no acks.
pub fn ack(protocol: Protocol, address: &str, seq: u64, level: AckLevel) -> Option<Bytes> {
    match (protocol, level) {
        (Protocol::Live, _) => {
            Some(live::encode(address, &live::Message::Ack { seq, level }).into())
        }
        (Protocol::Hocuspocus, AckLevel::Fsynced) => Some(sync_status(address, true)),
        _ => None,
    }
}

/// An edit was refused. `None` where the protocol cannot say so.
pub fn refuse(protocol: Protocol, address: &str, seq: u64, refusal: Refusal) -> Option<Bytes> {
    match protocol {
        Protocol::Live => {
            let message = live::Message::Nack { seq, code: refusal as u64 };
            Some(live::encode(address, &message).into())
        }
        Protocol::Hocuspocus => Some(sync_status(address, false)),
        Protocol::YWebsocket => None,
    }
}

/// The client must drop its copy and open again. `None` where the protocol cannot say so.
pub fn reset(protocol: Protocol, address: &str, reason: Refusal) -> Option<Bytes> {
    (protocol == Protocol::Live)
        .then(|| live::encode(address, &live::Message::Reset { reason: reason as u64 }).into())
}

/// The document is gone or cannot be opened. `None` for a one-document protocol, whose socket
/// is closed with the code instead.
pub fn closed(protocol: Protocol, address: &str, refusal: Refusal) -> Option<Bytes> {
    match protocol {
        Protocol::Live => {
            let message = live::Message::Closed { code: refusal as u64 };
            Some(live::encode(address, &message).into())
        }
        Protocol::Hocuspocus => {
            Some(collab::permission_denied(address, refusal_word(refusal)).into())
        }
        Protocol::YWebsocket => None,
    }
}

fn refusal_word(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Malformed => "malformed",
        Refusal::ReadOnly => "read-only",
        Refusal::NotFound => "not-found",
        Refusal::TooLarge => "too-large",
        Refusal::NotText => "not-text",
        Refusal::Gap => "gap",
        Refusal::Unavailable => "unavailable",
    }
}

fn sync_status(address: &str, applied: bool) -> Bytes {
    let mut out = collab::start(address, kind::SYNC_STATUS);
    write_var_uint(&mut out, u64::from(applied));
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_update_reads_back_in_each_protocol() {
        let want = |seq| Inbound::Update { seq, update: Bytes::from_static(b"xyz"), answer: false };
        let frame = update(Protocol::YWebsocket, "", b"xyz");
        assert_eq!(parse_y_websocket(&frame), Ok(want(0)));
        for protocol in [Protocol::Live, Protocol::Hocuspocus] {
            let frame = update(protocol, "a/b", b"xyz");
            let Ok(collab::Frame::Message { address, kind, body }) = collab::parse(&frame) else {
                panic!("no frame")
            };
            assert_eq!(address, "a/b");
            assert_eq!(parse_addressed(protocol, &frame, kind, body), Ok(want(0)));
        }
    }

    #[test]
    fn edits_on_our_socket_travel_only_as_update() {
        let frame = sync(Protocol::Hocuspocus, "a", 2, b"x");
        let Ok(collab::Frame::Message { kind, body, .. }) = collab::parse(&frame) else {
            panic!("no frame")
        };
        assert!(parse_addressed(Protocol::Hocuspocus, &frame, kind, body).is_ok());
        assert_eq!(
            parse_addressed(Protocol::Live, &frame, kind, body),
            Err(FrameError::Unknown(kind))
        );
    }

    #[test]
    fn clients_may_not_broadcast() {
        let frame = Bytes::from(collab::start("a", kind::BROADCAST_STATELESS));
        assert!(matches!(
            parse_addressed(Protocol::Hocuspocus, &frame, kind::BROADCAST_STATELESS, &[]),
            Err(FrameError::Unknown(_))
        ));
    }

    proptest! {
        #[test]
        fn hostile_frames_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..96)) {
            let frame = Bytes::from(bytes);
            let _ = parse_y_websocket(&frame);
            if let Ok(collab::Frame::Message { kind, body, .. }) = collab::parse(&frame) {
                let _ = parse_addressed(Protocol::Live, &frame, kind, body);
                let _ = parse_addressed(Protocol::Hocuspocus, &frame, kind, body);
            }
        }
    }
}
