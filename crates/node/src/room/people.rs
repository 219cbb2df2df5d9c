//! Who is in the room, by which sockets, with which rights.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tandem_proto::api::PersonInfo;
use tandem_proto::{FileId, Grant, MemberId, Role};
use tokio_util::sync::CancellationToken;

use super::mailbox::{NewPeer, NewVisitor, Reply, RoomError};
use super::{PeerId, Room};
use crate::socket::outbox::Outbox;
use crate::socket::protocol::Protocol;

/// What an address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// A text document.
    File(FileId),
    /// The repl's live state.
    Live,
    /// A folder's listing.
    Folder(FileId),
}

/// How a peer is reached.
#[derive(Debug)]
pub enum Door {
    /// A document socket.
    Socket(Protocol, Outbox),
    /// A terminal socket, which can only be ended.
    Visit(CancellationToken),
}

/// One socket.
#[derive(Debug)]
pub struct Peer {
    /// Who, and what they may.
    pub grant: Grant,
    /// How to reach it.
    pub door: Door,
    /// What it has open.
    pub open: HashMap<Arc<str>, Target>,
}

impl Peer {
    /// The queue of a document socket.
    pub fn outbox(&self) -> Option<&Outbox> {
        match &self.door {
            Door::Socket(_, outbox) => Some(outbox),
            Door::Visit(_) => None,
        }
    }

    fn close(&self, code: u16, reason: &'static str) {
        match &self.door {
            Door::Socket(_, outbox) => outbox.close(code, reason),
            Door::Visit(cancel) => cancel.cancel(),
        }
    }
}

/// All sockets of a room.
#[derive(Debug, Default)]
pub struct Peers {
    peers: HashMap<PeerId, Peer>,
    last: u64,
}

impl Peers {
    /// The peer, while it is connected.
    pub fn get(&self, peer: PeerId) -> Option<&Peer> {
        self.peers.get(&peer)
    }

    /// The peer, while it is connected.
    pub fn get_mut(&mut self, peer: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(&peer)
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Each person once, with their highest role, in a stable order.
    pub fn people(&self) -> Vec<PersonInfo> {
        let mut people: BTreeMap<MemberId, PersonInfo> = BTreeMap::new();
        for Peer { grant, .. } in self.peers.values() {
            let person = people.entry(grant.member).or_insert_with(|| PersonInfo {
                member: grant.member,
                name: grant.name.clone(),
                colour: grant.colour.clone(),
                role: grant.role,
            });
            person.role = person.role.max(grant.role);
        }
        people.into_values().collect()
    }

    /// Closes every socket.
    pub fn close_all(&self, code: u16, reason: &'static str) {
        for peer in self.peers.values() {
            peer.close(code, reason);
        }
    }

    fn add(&mut self, grant: Grant, door: Door) -> PeerId {
        self.last += 1;
        let peer = PeerId(self.last);
        self.peers.insert(peer, Peer { grant, door, open: HashMap::new() });
        peer
    }
}

/// Most sockets of one room.
const MAX_PEERS: usize = 2_000;

impl Room {
    /// A document socket joins.
    pub(super) fn attach(&mut self, new: NewPeer, reply: Reply<PeerId>) {
        let result =
            self.admit(|peers| peers.add(new.grant, Door::Socket(new.protocol, new.outbox)));
        drop(reply.send(result));
    }

    /// A terminal socket joins.
    pub(super) fn visit(&mut self, new: NewVisitor, reply: Reply<PeerId>) {
        let result = self.admit(|peers| peers.add(new.grant, Door::Visit(new.cancel)));
        drop(reply.send(result));
    }

    fn admit(&mut self, add: impl FnOnce(&mut Peers) -> PeerId) -> Result<PeerId, RoomError> {
        if self.ending.is_some() || !self.cancel_leaving() {
            return Err(RoomError::Closing);
        }
        if self.peers.peers.len() >= MAX_PEERS {
            return Err(RoomError::Unavailable("too many connections to this repl".to_owned()));
        }
        let peer = add(&mut self.peers);
        self.want_sandbox();
        self.live.changed();
        Ok(peer)
    }

    /// A socket is gone: its carets go at once, its documents stay.
    pub(super) fn detach(&mut self, id: PeerId) {
        let Some(peer) = self.peers.peers.remove(&id) else { return };
        for (_, target) in peer.open {
            self.unsubscribe(id, target);
        }
        let still_here =
            self.peers.peers.values().any(|other| other.grant.member == peer.grant.member);
        if !still_here {
            self.member_left(peer.grant.member);
        }
        self.live.changed();
        if self.peers.is_empty() {
            self.begin_grace();
        }
    }

    /// A right was withdrawn or changed: the sockets that hold it are closed, so that they come
    /// back with a new grant, if there is one.
    pub(super) fn revoke(&mut self, member: MemberId, role: Option<Role>) {
        for peer in self.peers.peers.values().filter(|peer| peer.grant.member == member) {
            match role {
                None => peer.close(4403, "access was withdrawn"),
                Some(role) if role != peer.grant.role => peer.close(1012, "your role changed"),
                Some(_) => {}
            }
        }
    }
}
