//! `tandem.v1`, the page's own socket: every document of one repl on one WebSocket
//! (`/api/v1/repls/{repl}/live`). Frames are those of [`crate::collab`] with the message
//! types below added; authentication is by cookie or token at the upgrade.
//!
//! Addresses: a path (`src/main.py`), `#{file-id}`, `#live` (terminals, ports, run, people;
//! written by the server) or `#dir/{file-id}` (one folder's list; written by the server).
//!
//! Opening a document:
//! 1. client: IDENTITY with the guid and generation it holds a copy of, or with empty guid;
//! 2. server: IDENTITY (the current guid and generation), then SYNC step1;
//!    a client whose copy has another guid or generation drops it before it goes on;
//! 3. client: SYNC step1 with its state vector, and UPDATE with what the server lacks;
//! 4. server: SYNC step2.
//!
//! Edits travel only as UPDATE. A client numbers its updates per document from 1; the server
//! acknowledges cumulatively, level 1 when they are fsynced, level 2 when they are in the blob
//! store. Server-to-client updates carry `seq` 0.

use serde::{Deserialize, Serialize};

use crate::collab;
use crate::id::{FileId, Generation};
use crate::lib0::{Lib0Error, Reader, write_var_bytes, write_var_string, write_var_uint};

/// The WebSocket subprotocol's name.
pub const SUBPROTOCOL: &str = "tandem.v1";
/// Address of the repl's live state.
pub const LIVE: &str = "#live";
/// Prefix of a folder's address.
pub const DIR_PREFIX: &str = "#dir/";

/// Message types beyond Hocuspocus's own.
pub mod kind {
    /// `[guid: varString][generation: varUint][path: varString]`.
    pub const IDENTITY: u64 = 64;
    /// `[seq: varUint][update: varBytes]`.
    pub const UPDATE: u64 = 65;
    /// `[seq: varUint][level: varUint]`.
    pub const ACK: u64 = 66;
    /// `[seq: varUint][code: varUint]`.
    pub const NACK: u64 = 67;
    /// `[bytes: varUint]`: how much more the client may send before it waits.
    pub const CREDIT: u64 = 68;
    /// `[reason: varUint]`: drop the local copy, take a new client id, open again.
    pub const RESET: u64 = 69;
    /// From a client: it no longer shows this document. From the server: the document is gone;
    /// `[code: varUint]`, one of [`super::Refusal`].
    pub const CLOSED: u64 = 70;
}

/// How durable an acknowledged update is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum AckLevel {
    /// In the node's fsynced log.
    Fsynced = 1,
    /// In the blob store, as a part of the shipped log or in what a committed manifest covers.
    Stored = 2,
}

/// Why an update was refused or a document is not there. Sent as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u16)]
pub enum Refusal {
    /// Not a well-formed update.
    Malformed = 4400,
    /// The viewer role changes nothing.
    ReadOnly = 4403,
    /// No such file.
    NotFound = 4404,
    /// Over a size limit.
    TooLarge = 4413,
    /// The file is not text.
    NotText = 4415,
    /// The update builds on something the server does not know, twice.
    Gap = 4409,
    /// The server cannot store edits now.
    Unavailable = 4503,
}

impl Refusal {
    /// The refusal with this number.
    pub fn from_code(code: u64) -> Option<Self> {
        [
            Self::Malformed,
            Self::ReadOnly,
            Self::NotFound,
            Self::TooLarge,
            Self::NotText,
            Self::Gap,
            Self::Unavailable,
        ]
        .into_iter()
        .find(|refusal| *refusal as u64 == code)
    }
}

/// A parsed body of one of the types in [`kind`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// Which history a document has. `guid` is empty when the client has no copy.
    Identity {
        /// The document, or `None` from a client without a copy.
        guid: Option<FileId>,
        /// Its history.
        generation: Generation,
        /// Where the file is now; empty from clients.
        path: &'a str,
    },
    /// An edit.
    Update {
        /// Position in the sender's count for this document; 0 from the server.
        seq: u64,
        /// A Yjs v1 update.
        update: &'a [u8],
    },
    /// Every update up to `seq` is safe at `level`.
    Ack {
        /// Cumulative.
        seq: u64,
        /// 1 or 2.
        level: AckLevel,
    },
    /// The update `seq` was refused and changed nothing.
    Nack {
        /// The refused update.
        seq: u64,
        /// A [`Refusal`] code.
        code: u64,
    },
    /// More may be sent.
    Credit {
        /// Additional bytes.
        bytes: u64,
    },
    /// Drop the local copy and open again.
    Reset {
        /// A [`Refusal`] code.
        reason: u64,
    },
    /// The document is closed for this socket.
    Closed {
        /// A [`Refusal`] code, 0 from clients.
        code: u64,
    },
}

/// Parses the body of a message of type `kind`; `None` for a type that is not ours.
///
/// # Errors
/// When the body is malformed.
pub fn parse(kind: u64, body: &[u8]) -> Result<Option<Message<'_>>, Lib0Error> {
    let mut reader = Reader::new(body);
    let message = match kind {
        kind::IDENTITY => {
            let guid = reader.var_string()?;
            let guid = match guid {
                "" => None,
                text => Some(text.parse().map_err(|_| Lib0Error::NotUtf8)?),
            };
            Message::Identity {
                guid,
                generation: Generation(reader.var_uint()?),
                path: reader.var_string()?,
            }
        }
        kind::UPDATE => Message::Update { seq: reader.var_uint()?, update: reader.var_bytes()? },
        kind::ACK => Message::Ack {
            seq: reader.var_uint()?,
            level: match reader.var_uint()? {
                1 => AckLevel::Fsynced,
                2 => AckLevel::Stored,
                _ => return Err(Lib0Error::TooLarge),
            },
        },
        kind::NACK => Message::Nack { seq: reader.var_uint()?, code: reader.var_uint()? },
        kind::CREDIT => Message::Credit { bytes: reader.var_uint()? },
        kind::RESET => Message::Reset { reason: reader.var_uint()? },
        kind::CLOSED => {
            Message::Closed { code: if reader.is_empty() { 0 } else { reader.var_uint()? } }
        }
        _ => return Ok(None),
    };
    Ok(Some(message))
}

/// Encodes a whole frame.
pub fn encode(address: &str, message: &Message<'_>) -> Vec<u8> {
    match message {
        Message::Identity { guid, generation, path } => {
            let mut out = collab::start(address, kind::IDENTITY);
            write_var_string(&mut out, guid.as_ref().map_or("", FileId::as_str));
            write_var_uint(&mut out, generation.0);
            write_var_string(&mut out, path);
            out
        }
        Message::Update { seq, update } => {
            let mut out = collab::start(address, kind::UPDATE);
            out.reserve(update.len() + 16);
            write_var_uint(&mut out, *seq);
            write_var_bytes(&mut out, update);
            out
        }
        Message::Ack { seq, level } => numbers(address, kind::ACK, &[*seq, *level as u64]),
        Message::Nack { seq, code } => numbers(address, kind::NACK, &[*seq, *code]),
        Message::Credit { bytes } => numbers(address, kind::CREDIT, &[*bytes]),
        Message::Reset { reason } => numbers(address, kind::RESET, &[*reason]),
        Message::Closed { code } => numbers(address, kind::CLOSED, &[*code]),
    }
}

fn numbers(address: &str, kind: u64, numbers: &[u64]) -> Vec<u8> {
    let mut out = collab::start(address, kind);
    for number in numbers {
        write_var_uint(&mut out, *number);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_message_round_trips() {
        let messages = [
            Message::Identity { guid: Some(FileId::ROOT), generation: Generation(3), path: "a/b" },
            Message::Identity { guid: None, generation: Generation(0), path: "" },
            Message::Update { seq: 7, update: &[1, 2, 3] },
            Message::Ack { seq: 300, level: AckLevel::Stored },
            Message::Nack { seq: 1, code: Refusal::ReadOnly as u64 },
            Message::Credit { bytes: 1 << 20 },
            Message::Reset { reason: Refusal::Gap as u64 },
            Message::Closed { code: Refusal::NotFound as u64 },
        ];
        for message in messages {
            let bytes = encode("x y", &message);
            let Ok(collab::Frame::Message { address, kind, body }) = collab::parse(&bytes) else {
                panic!("no frame for {message:?}")
            };
            assert_eq!(address, "x y");
            assert_eq!(parse(kind, body), Ok(Some(message)));
        }
    }

    proptest! {
        #[test]
        fn hostile_bodies_do_not_panic(kind in 60u64..75, body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(kind, &body);
        }
    }
}
