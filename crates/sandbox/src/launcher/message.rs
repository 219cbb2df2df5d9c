//! What the server may ask of the launcher: a closed set, in datagrams of JSON on a socket pair
//! that nobody else has.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::net::{RecvFlags, SendFlags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tandem_proto::{ReplId, SandboxId};

use crate::bubblewrap::tools::Tools;
use crate::driver::{Check, Limits};
use crate::record::Record;

/// Largest message in either direction.
pub(super) const MAX_MESSAGE_BYTES: usize = 128 * 1024;

/// The first message, from the server while it is still root.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Setup {
    /// Absolute.
    pub(super) data_dir: PathBuf,
    /// Who the server will be.
    pub(super) server_uid: u32,
    pub(super) server_gid: u32,
    pub(super) bubblewrap: PathBuf,
    pub(super) agent: PathBuf,
    pub(super) tools: Tools,
    /// First and number of the user ids that sandboxes get.
    pub(super) uids: (u32, u32),
}

/// A numbered request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) request: Request,
}

/// What can be asked. A sandbox is named by its id only; every path follows from it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) enum Request {
    /// Make the folder of a new sandbox and, in it, the one for its socket.
    Prepare { sandbox: SandboxId },
    /// Start it.
    Make { sandbox: SandboxId, repl: ReplId, limits: Limits, env: Vec<(String, String)> },
    /// Kill all its processes; says whether they are gone already.
    Kill { sandbox: SandboxId },
    /// Remove what is left of it. Refused while it runs.
    Remove { sandbox: SandboxId },
    /// How it ended.
    Why { sandbox: SandboxId },
    /// The ids of all that are there, running or not.
    List,
    /// Try what this machine gives.
    Probe,
}

/// The answer to a call.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) id: u64,
    pub(super) response: Response,
}

/// What comes of a request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Response {
    /// Done, nothing to say.
    Done,
    Made(Box<Record>),
    Killed {
        is_empty: bool,
    },
    Ended {
        reason: String,
    },
    Listed(Vec<SandboxId>),
    Probed(Vec<Check>),
    /// A sandbox with this id is there.
    Exists,
    /// It was started and failed, in words.
    NotStarted(String),
    /// Not done, in words.
    Failed(String),
}

pub(super) fn send(socket: impl AsFd, message: &impl Serialize) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too large"));
    }
    // A datagram goes whole or not at all.
    rustix::net::send(socket, &bytes, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// What was received.
pub(super) enum Received<T> {
    Message(T),
    /// Not a message of this kind; the next one may be.
    Malformed(String),
    /// The other end is closed.
    End,
}

pub(super) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Received<T>> {
    let mut bytes = vec![0; MAX_MESSAGE_BYTES];
    let (kept, length) = loop {
        match rustix::net::recv(&socket, &mut bytes[..], RecvFlags::TRUNC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    if length == 0 {
        return Ok(Received::End);
    }
    if length > kept {
        return Ok(Received::Malformed("the message is too large".into()));
    }
    Ok(match serde_json::from_slice(&bytes[..kept]) {
        Ok(message) => Received::Message(message),
        Err(error) => Received::Malformed(error.to_string()),
    })
}
