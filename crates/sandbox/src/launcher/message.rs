//! What the server may ask of the launcher: a closed set, in datagrams of JSON on a socket pair
//! that nobody else has.

use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tandem_proto::{ReplId, SandboxId};

use super::network::{NetworkAnswer, NetworkRequest};
use crate::bubblewrap::tools::Tools;
use crate::driver::{Check, Limits};
use crate::egress::RouterSettings;
use crate::record::Record;

/// Largest message in either direction.
pub(super) const MAX_MESSAGE_BYTES: usize = 128 * 1024;

/// The first message, from the server while it is still root.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Greeting {
    /// Make sandboxes, and their network where they are to have one.
    Sandboxes(Box<Setup>),
    /// Make a network for sandboxes that others make.
    Network(NetworkSetup),
}

/// For a launcher of the network alone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkSetup {
    pub(super) egress: RouterSettings,
}

/// What making sandboxes takes.
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
    /// Make a network for sandboxes.
    #[serde(default)]
    pub(super) egress: Option<RouterSettings>,
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
    /// About the sandboxes' network.
    Network(NetworkRequest),
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
    Network(NetworkAnswer),
    /// A sandbox with this id is there.
    Exists,
    /// It was started and failed, in words.
    NotStarted(String),
    /// Not done, in words.
    Failed(String),
}

/// Descriptors that can go with one message.
const MAX_DESCRIPTORS: usize = 1;

pub(super) fn send(socket: impl AsFd, message: &impl Serialize) -> io::Result<()> {
    send_with(socket, message, &[])
}

/// Sends descriptors along.
pub(super) fn send_with(
    socket: impl AsFd,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too large"));
    }
    // A datagram goes whole or not at all.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
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
    // Without room for descriptors the system closes what comes along.
    receive_into(socket, &mut RecvAncillaryBuffer::default())
}

/// Receives descriptors along with the message.
pub(super) fn receive_with<T: DeserializeOwned>(
    socket: impl AsFd,
) -> io::Result<(Received<T>, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = receive_into(socket, &mut ancillary)?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            descriptors.extend(more);
        }
    }
    Ok((received, descriptors))
}

fn receive_into<T: DeserializeOwned>(
    socket: impl AsFd,
    ancillary: &mut RecvAncillaryBuffer<'_>,
) -> io::Result<Received<T>> {
    let mut bytes = vec![0; MAX_MESSAGE_BYTES];
    let received = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        match rustix::net::recvmsg(&socket, &mut parts, ancillary, flags) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    if received.bytes == 0 {
        return Ok(Received::End);
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Ok(Received::Malformed("the message is too large".into()));
    }
    Ok(match serde_json::from_slice(&bytes[..received.bytes]) {
        Ok(message) => Received::Message(message),
        Err(error) => Received::Malformed(error.to_string()),
    })
}
