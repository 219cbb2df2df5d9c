//! State vectors, differences, updates and carets on their way to peers.

use std::sync::Arc;

use bytes::Bytes;
use tandem_proto::FileId;
use tandem_proto::live::Refusal;

use crate::lease::wall_ms;
use crate::room::deferred::Action;
use crate::room::people::Target;
use crate::room::{PeerId, Room};
use crate::socket::protocol::{self, Protocol};

impl Room {
    /// First messages about a document: its identity where the protocol has one, our state
    /// vector, and the carets that are there.
    pub(super) fn introduce(&mut self, id: PeerId, address: &Arc<str>, file: FileId) {
        let Some(document) = self.documents.get(file) else { return };
        let Some(outbox) = self.peers.get(id).and_then(|peer| peer.outbox()) else { return };
        if self.protocol(id) == Some(Protocol::Live) {
            let path = self.tree.path(file);
            let path = path.as_ref().map_or("", |path| path.as_str());
            outbox.push_always(protocol::identity(address, file, document.generation, path));
        }
        self.ask_state(id, address, file);
        self.send_awareness(id, address, file);
    }

    pub(super) fn ask_state(&self, id: PeerId, address: &str, file: FileId) {
        let (Some(document), Some(protocol)) = (self.documents.get(file), self.protocol(id)) else {
            return;
        };
        self.send(id, protocol::step1(protocol, address, &document.doc.state_vector()));
    }

    pub(super) fn send_awareness(&self, id: PeerId, address: &str, file: FileId) {
        let (Some(document), Some(protocol)) = (self.documents.get(file), self.protocol(id)) else {
            return;
        };
        if let Some(states) = document.awareness.encode_all() {
            self.send(id, protocol::awareness(protocol, address, &states));
        }
    }

    pub(super) fn send(&self, id: PeerId, message: Bytes) {
        if let Some(outbox) = self.peers.get(id).and_then(|peer| peer.outbox()) {
            outbox.push_always(message);
        }
    }

    /// Answers a state vector now, or when the server's own edits in it are durable.
    pub(super) fn answer_when_shown(
        &mut self,
        id: PeerId,
        address: &Arc<str>,
        file: FileId,
        state_vector: Bytes,
    ) {
        let durable = *self.durable.borrow();
        let hidden = self.documents.get(file).and_then(|document| document.hidden_until);
        match hidden {
            Some(lsn) if lsn > durable => {
                let address = address.clone();
                self.deferred.push(lsn, Action::Answer { peer: id, address, state_vector });
            }
            _ => self.answer_state_vector(id, address, &state_vector),
        }
    }

    /// Sends what a peer lacks.
    pub(in crate::room) fn answer_state_vector(
        &mut self,
        id: PeerId,
        address: &str,
        state_vector: &[u8],
    ) {
        let Some(Target::File(file)) =
            self.peers.get(id).and_then(|peer| peer.open.get(address)).copied()
        else {
            return;
        };
        let Some(protocol) = self.protocol(id) else { return };
        let Some(document) = self.documents.get_mut(file) else { return };
        match document.doc.encode_diff(state_vector) {
            Ok(difference) => {
                if let Some(subscription) = document.subscribers.get_mut(&id) {
                    subscription.known = state_vector.to_vec();
                    subscription.lagging = false;
                }
                self.send(id, protocol::step2(protocol, address, &difference));
            }
            Err(_) => self.refuse_open(id, address, Refusal::Malformed),
        }
    }

    /// Puts an edit into everybody else's queue; encoded once per protocol and address.
    pub(in crate::room) fn broadcast(
        &mut self,
        file: FileId,
        update: &Bytes,
        except: Option<PeerId>,
    ) {
        let Some(document) = self.documents.get_mut(file) else { return };
        let mut encoded: Vec<(Protocol, Arc<str>, Bytes)> = Vec::with_capacity(2);
        for (peer, subscription) in &mut document.subscribers {
            if Some(*peer) == except || subscription.lagging {
                continue;
            }
            let Some(outbox) = self.peers.get(*peer).and_then(|peer| peer.outbox()) else {
                continue;
            };
            let known = encoded.iter().find(|(protocol, address, _)| {
                *protocol == subscription.protocol
                    && (*protocol == Protocol::YWebsocket || *address == subscription.address)
            });
            let message = match known {
                Some((_, _, message)) => message.clone(),
                None => {
                    let message =
                        protocol::update(subscription.protocol, &subscription.address, update);
                    encoded.push((
                        subscription.protocol,
                        subscription.address.clone(),
                        message.clone(),
                    ));
                    message
                }
            };
            if outbox.push(message).is_err() {
                subscription.lagging = true;
            }
        }
    }

    /// A peer's queue has room again: one difference for each document it fell behind in.
    pub(in crate::room) fn catch_up(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(id) else { return };
        let open: Vec<(Arc<str>, FileId)> = peer
            .open
            .iter()
            .filter_map(|(address, target)| match target {
                Target::File(file) => Some((address.clone(), *file)),
                _ => None,
            })
            .collect();
        for (address, file) in open {
            let lagging =
                self.subscription_mut(id, file).filter(|subscription| subscription.lagging);
            if let Some(known) = lagging.map(|subscription| subscription.known.clone()) {
                let known = if known.is_empty() { vec![0] } else { known };
                self.answer_when_shown(id, &address, file, known.into());
            }
        }
    }

    pub(super) fn carets(&mut self, id: PeerId, file: FileId, states: &[u8]) {
        // Stock clients give a server up after 30 s without a message: an echo is a sign of life.
        let echo = self.protocol(id) != Some(Protocol::Live);
        let Some(document) = self.documents.get_mut(file) else { return };
        let Some(subscription) = document.subscribers.get(&id) else { return };
        let address = subscription.address.clone();
        match document.awareness.apply(id.0, states, wall_ms()) {
            Ok(Some(states)) => {
                self.broadcast_awareness(file, &states, if echo { None } else { Some(id) });
            }
            Ok(None) if echo => self.send_awareness(id, &address, file),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(repl = %self.repl, %file, %error, "an awareness message was refused");
            }
        }
    }

    pub(in crate::room) fn broadcast_awareness(
        &self,
        file: FileId,
        states: &[u8],
        except: Option<PeerId>,
    ) {
        let Some(document) = self.documents.get(file) else { return };
        for (peer, subscription) in &document.subscribers {
            if Some(*peer) != except
                && let Some(outbox) = self.peers.get(*peer).and_then(|peer| peer.outbox())
            {
                // A full queue may lose carets: they are renewed every 15 s.
                let message =
                    protocol::awareness(subscription.protocol, &subscription.address, states);
                let _ = outbox.push(message);
            }
        }
    }

    /// Removes carets that were not renewed, and what the disk merges need no more.
    pub(in crate::room) fn expire_awareness(&mut self) {
        let now = wall_ms();
        let expired: Vec<(FileId, Vec<u8>)> = self
            .documents
            .open_mut()
            .filter_map(|(file, document)| {
                document.disk.merge.rest(&document.doc, now);
                Some((file, document.awareness.expire(now)?))
            })
            .collect();
        for (file, states) in expired {
            self.broadcast_awareness(file, &states, None);
        }
        self.expire_whereabouts(now);
    }
}
