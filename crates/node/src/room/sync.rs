//! Documents over sockets: opening, state vectors, edits, acks, carets.
//!
//! Order of an edit: right and size → scan and gate (inside `Document::apply_within`) → log queue →
//! everybody else's queues. The author's ack waits for the disk; nobody else does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tandem_doc::{Applied, Rejected};
use tandem_proto::live::{AckLevel, LIVE, Refusal};
use tandem_proto::{FileId, MemberId, RelPath, collab, limits};
use tandem_store::{NewRecord, RecordKind};

use super::deferred::Action;
use super::documents::{OpenDocument, Slot, Subscription};
use super::people::Target;
use super::{PeerId, Room};
use crate::lease::wall_ms;
use crate::socket::protocol::{self, Inbound, Protocol};

/// A document stays in memory this long after its last edit: a program may still be working on a
/// text that it read before.
const REMEMBER: Duration = Duration::from_secs(15);
/// Longest time one edit may keep the room busy: a forged one can make integration endless.
const MAX_APPLY: Duration = Duration::from_secs(1);

impl Room {
    /// A message from a socket.
    pub(super) fn document_message(&mut self, id: PeerId, address: Arc<str>, message: Inbound) {
        let Some(peer) = self.peers.get(id) else { return };
        let open = peer.open.get(&address).copied();
        let opens = matches!(message, Inbound::Identity { .. } | Inbound::Step1(_));
        let target = match (open, opens) {
            (Some(target), _) => target,
            (None, true) => match self.resolve(self.document_name(id, &address)) {
                Some(target) => target,
                None => return self.refuse_open(id, &address, Refusal::NotFound),
            },
            (None, false) => match message {
                Inbound::Update { seq, .. } => {
                    return self.nack(id, &address, seq, Refusal::NotFound);
                }
                _ => return,
            },
        };
        match target {
            Target::File(file) => self.file_message(id, address, file, message),
            Target::Live | Target::Folder(_) => self.shared_message(id, address, target, message),
        }
    }

    /// The document an address names. On Hocuspocus the repl stands in front and a session behind.
    fn document_name<'a>(&self, id: PeerId, address: &'a str) -> &'a str {
        if self.protocol(id) != Some(Protocol::Hocuspocus) {
            return address;
        }
        let name = collab::document_name(address);
        match name.split_once('/') {
            Some((repl, path)) if repl == self.repl.as_str() => path,
            _ => name,
        }
    }

    /// What an address leads to: `#live`, `#dir/{id}`, `#{id}` or a path.
    fn resolve(&self, address: &str) -> Option<Target> {
        if address == LIVE {
            return Some(Target::Live);
        }
        if let Some(folder) = address.strip_prefix(tandem_proto::live::DIR_PREFIX) {
            let folder: FileId = folder.parse().ok()?;
            return self.tree.is_folder(folder).then_some(Target::Folder(folder));
        }
        let file = match address.strip_prefix('#') {
            Some(file) => file.parse().ok()?,
            None => self.tree.find(&RelPath::parse(address).ok()?)?,
        };
        (!self.tree.is_folder(file) && self.tree.get(file).is_some()).then_some(Target::File(file))
    }

    fn file_message(&mut self, id: PeerId, address: Arc<str>, file: FileId, message: Inbound) {
        if matches!(message, Inbound::Close) {
            if let Some(peer) = self.peers.get_mut(id) {
                peer.open.remove(&address);
            }
            self.unsubscribe(id, Target::File(file));
            return;
        }
        match self.documents.slot_mut(file) {
            None => {
                self.load_document(file);
                if let Some(Slot::Loading(loading)) = self.documents.slot_mut(file) {
                    loading.waiting.push((id, address, message));
                } else {
                    self.file_message(id, address, file, message);
                }
            }
            // Bounded: a peer's own messages are bounded by its socket, and loading ends.
            Some(Slot::Loading(loading)) => loading.waiting.push((id, address, message)),
            Some(Slot::Open(_)) => self.open_file_message(id, &address, file, message),
        }
    }

    fn open_file_message(
        &mut self,
        id: PeerId,
        address: &Arc<str>,
        file: FileId,
        message: Inbound,
    ) {
        match message {
            Inbound::Identity { .. } => {
                self.subscribe(id, address, file);
                self.introduce(id, address, file);
            }
            Inbound::Step1(state_vector) => {
                let known = self.subscribe(id, address, file);
                self.answer_when_shown(id, address, file, state_vector);
                if self.protocol(id) == Some(Protocol::Hocuspocus) {
                    self.ask_state(id, address, file);
                    if !known {
                        self.send_awareness(id, address, file);
                    }
                }
            }
            Inbound::Update { seq, update, answer } => {
                self.edit(id, address, file, Edit { seq, update, answer });
            }
            Inbound::Awareness(states) => self.carets(id, file, &states),
            Inbound::QueryAwareness => self.send_awareness(id, address, file),
            Inbound::Close | Inbound::Ignore => {}
        }
    }

    fn protocol(&self, id: PeerId) -> Option<Protocol> {
        match self.peers.get(id)?.door {
            super::people::Door::Socket(protocol, _) => Some(protocol),
            super::people::Door::Visit(_) => None,
        }
    }

    /// Enters a peer into a document; answers whether it was already there.
    fn subscribe(&mut self, id: PeerId, address: &Arc<str>, file: FileId) -> bool {
        let Some(protocol) = self.protocol(id) else { return false };
        let Some(document) = self.documents.get_mut(file) else { return false };
        let fresh = Subscription {
            address: address.clone(),
            protocol,
            applied_seq: 0,
            known: Vec::new(),
            lagging: false,
            asked_after_gap: false,
        };
        let known = document.subscribers.insert(id, fresh).is_some();
        if let Some(peer) = self.peers.get_mut(id) {
            peer.open.insert(address.clone(), Target::File(file));
        }
        self.evict.remove(&file);
        known
    }

    /// Takes a peer out of a document, a folder or the live state.
    pub(super) fn unsubscribe(&mut self, id: PeerId, target: Target) {
        match target {
            Target::File(file) => {
                let Some(document) = self.documents.get_mut(file) else { return };
                document.subscribers.remove(&id);
                let gone = document.awareness.remove_connection(id.0);
                if document.subscribers.is_empty() {
                    self.evict.insert(file);
                }
                if let Some(states) = gone {
                    self.broadcast_awareness(file, &states, None);
                }
            }
            Target::Live => {
                self.live.unsubscribe(id, target);
                self.leave_whereabouts(id);
            }
            Target::Folder(_) => self.live.unsubscribe(id, target),
        }
    }

    /// First messages about a document: its identity where the protocol has one, our state
    /// vector, and the carets that are there.
    fn introduce(&mut self, id: PeerId, address: &Arc<str>, file: FileId) {
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

    fn ask_state(&self, id: PeerId, address: &str, file: FileId) {
        let (Some(document), Some(protocol)) = (self.documents.get(file), self.protocol(id)) else {
            return;
        };
        self.send(id, protocol::step1(protocol, address, &document.doc.state_vector()));
    }

    fn send_awareness(&self, id: PeerId, address: &str, file: FileId) {
        let (Some(document), Some(protocol)) = (self.documents.get(file), self.protocol(id)) else {
            return;
        };
        if let Some(states) = document.awareness.encode_all() {
            self.send(id, protocol::awareness(protocol, address, &states));
        }
    }

    fn send(&self, id: PeerId, message: Bytes) {
        if let Some(outbox) = self.peers.get(id).and_then(|peer| peer.outbox()) {
            outbox.push_always(message);
        }
    }

    /// Answers a state vector now, or when the server's own edits in it are durable.
    fn answer_when_shown(
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
    pub(super) fn answer_state_vector(&mut self, id: PeerId, address: &str, state_vector: &[u8]) {
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

    fn edit(&mut self, id: PeerId, address: &Arc<str>, file: FileId, edit: Edit) {
        let Some(peer) = self.peers.get(id) else { return };
        let (may_edit, member) = (peer.grant.role.may_edit(), peer.grant.member);
        let Some(document) = self.documents.get_mut(file) else { return };
        if !document.subscribers.contains_key(&id) {
            return self.nack(id, address, edit.seq, Refusal::NotFound);
        }
        if !may_edit {
            return self.reader_edit(id, address, file, &edit);
        }
        if self.ending.is_some() || !self.lease.may_ack() {
            return self.nack(id, address, edit.seq, Refusal::Unavailable);
        }
        if edit.update.len() > limits::MAX_UPDATE_BYTES {
            return self.reject(id, address, file, edit.seq, Refusal::TooLarge);
        }
        let noted = document.disk.merge.note_edit(&document.doc);
        let until = Instant::now() + MAX_APPLY;
        let in_time = || Instant::now() < until;
        match noted.and_then(|()| document.doc.apply_within(&edit.update, in_time)) {
            Ok(Applied::New) => self.accept(id, file, member, edit),
            Ok(Applied::Known) => {
                self.mark_applied(id, file, edit.seq);
                self.deferred.push(self.last_lsn, Action::Ack { peer: id, file, seq: edit.seq });
                self.became_durable();
            }
            Err(Rejected::Gap) => self.ask_after_gap(id, address, file, edit.seq),
            Err(Rejected::Malformed(reason)) => {
                tracing::debug!(repl = %self.repl, %file, %reason, "a malformed update was refused");
                self.reject(id, address, file, edit.seq, Refusal::Malformed);
            }
            Err(Rejected::TooLarge) => self.reject(id, address, file, edit.seq, Refusal::TooLarge),
            Err(Rejected::Broken) => self.document_broke(file),
        }
    }

    fn accept(&mut self, id: PeerId, file: FileId, member: MemberId, edit: Edit) {
        self.revive(file);
        let Some(document) = self.documents.get(file) else { return };
        let record = NewRecord {
            repl: self.repl,
            epoch: self.lease.epoch,
            kind: RecordKind::Update,
            document: file,
            generation: document.generation,
            author: Some(member),
            wall_ms: wall_ms(),
            payload: edit.update.clone(),
        };
        let Some(lsn) = self.log_record(record) else { return };
        self.note_edited(file, lsn, edit.update.len());
        self.mark_applied(id, file, edit.seq);
        self.broadcast(file, &edit.update, Some(id));
        self.deferred.push(lsn, Action::Ack { peer: id, file, seq: edit.seq });
    }

    /// Bookkeeping after a logged edit, whoever made it.
    pub(super) fn note_edited(&mut self, file: FileId, lsn: tandem_proto::Lsn, bytes: usize) {
        let now = Instant::now();
        let config = &self.shared.room;
        let Some(document) = self.documents.get_mut(file) else { return };
        document.edits += 1;
        document.last_lsn = lsn;
        document.last_edit = now;
        document.unsaved_since.get_or_insert(now);
        document.unsaved_bytes += bytes;
        let oldest = *document.disk.oldest.get_or_insert(now);
        document.disk.due = Some((now + config.write_after).min(oldest + config.write_within));
        self.disk.unwritten.insert(file);
        self.saved.unsaved.insert(file);
        self.touch();
        self.project_may_have_changed(file);
    }

    fn mark_applied(&mut self, id: PeerId, file: FileId, seq: u64) {
        if let Some(subscription) = self.subscription_mut(id, file) {
            subscription.applied_seq = subscription.applied_seq.max(seq);
            subscription.asked_after_gap = false;
        }
    }

    fn subscription_mut(&mut self, id: PeerId, file: FileId) -> Option<&mut Subscription> {
        self.documents.get_mut(file)?.subscribers.get_mut(&id)
    }

    /// A reader's edit: what it knows already is acked, anything else refused where it shows.
    fn reader_edit(&mut self, id: PeerId, address: &str, file: FileId, edit: &Edit) {
        let known = self
            .documents
            .get(file)
            .is_some_and(|document| document.doc.is_known(&edit.update).unwrap_or(false));
        if known {
            self.deferred.push(self.last_lsn, Action::Ack { peer: id, file, seq: edit.seq });
            return self.became_durable();
        }
        self.nack(id, address, edit.seq, Refusal::ReadOnly);
        let Some(outbox) = self.peers.get(id).and_then(|peer| peer.outbox()) else { return };
        match self.protocol(id) {
            Some(Protocol::Live) => {
                if let Some(reset) = protocol::reset(Protocol::Live, address, Refusal::ReadOnly) {
                    outbox.push_always(reset);
                }
            }
            _ if edit.answer => {}
            _ => outbox.close(Refusal::ReadOnly as u16, "viewers cannot edit"),
        }
    }

    /// The first gap asks for everything the peer has; the second resets it.
    fn ask_after_gap(&mut self, id: PeerId, address: &Arc<str>, file: FileId, seq: u64) {
        let Some(subscription) = self.subscription_mut(id, file) else { return };
        if subscription.asked_after_gap {
            return self.reject(id, address, file, seq, Refusal::Gap);
        }
        subscription.asked_after_gap = true;
        self.ask_state(id, address, file);
        if self.protocol(id) == Some(Protocol::Hocuspocus) {
            // Its counter expects one status per edit; the whole difference brings its own.
            self.nack(id, address, seq, Refusal::Gap);
        }
    }

    /// Refuses an edit and makes the client start over: its clock chain is broken for good.
    fn reject(&mut self, id: PeerId, address: &str, file: FileId, seq: u64, refusal: Refusal) {
        self.nack(id, address, seq, refusal);
        if let Some(document) = self.documents.get_mut(file) {
            document.subscribers.remove(&id);
        }
        self.reset_peer(id, address, refusal);
    }

    /// Makes a client drop its copy of a document and open it again.
    pub(super) fn reset_peer(&mut self, id: PeerId, address: &str, refusal: Refusal) {
        let Some(protocol) = self.protocol(id) else { return };
        match protocol::reset(protocol, address, refusal) {
            Some(message) => self.send(id, message),
            None => {
                if let Some(outbox) = self.peers.get(id).and_then(|peer| peer.outbox()) {
                    outbox.close(refusal as u16, "the edit cannot be applied");
                }
            }
        }
        if let Some(peer) = self.peers.get_mut(id) {
            peer.open.remove(address);
        }
    }

    fn nack(&self, id: PeerId, address: &str, seq: u64, refusal: Refusal) {
        let Some(protocol) = self.protocol(id) else { return };
        if let Some(message) = protocol::refuse(protocol, address, seq, refusal) {
            self.send(id, message);
        }
    }

    /// A document cannot be opened by this peer.
    pub(super) fn refuse_open(&mut self, id: PeerId, address: &str, refusal: Refusal) {
        let Some(protocol) = self.protocol(id) else { return };
        match protocol::closed(protocol, address, refusal) {
            Some(message) => self.send(id, message),
            None => {
                if let Some(outbox) = self.peers.get(id).and_then(|peer| peer.outbox()) {
                    outbox.close(refusal as u16, "the document cannot be opened");
                }
            }
        }
        if let Some(peer) = self.peers.get_mut(id) {
            peer.open.remove(address);
        }
    }

    /// Puts an edit into everybody else's queue; encoded once per protocol and address.
    pub(super) fn broadcast(&mut self, file: FileId, update: &Bytes, except: Option<PeerId>) {
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
    pub(super) fn catch_up(&mut self, id: PeerId) {
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

    fn carets(&mut self, id: PeerId, file: FileId, states: &[u8]) {
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

    pub(super) fn broadcast_awareness(&self, file: FileId, states: &[u8], except: Option<PeerId>) {
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
    pub(super) fn expire_awareness(&mut self) {
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

    pub(super) fn collect_ack(
        &mut self,
        acks: &mut HashMap<(PeerId, FileId), u64>,
        id: PeerId,
        file: FileId,
        seq: u64,
    ) {
        match self.protocol(id) {
            Some(Protocol::Live) => {
                let highest = acks.entry((id, file)).or_default();
                *highest = seq.max(*highest);
            }
            // One status for each edit.
            Some(Protocol::Hocuspocus) => self.send_ack(id, file, seq, AckLevel::Fsynced),
            _ => {}
        }
    }

    pub(super) fn send_acks(&mut self, acks: HashMap<(PeerId, FileId), u64>) {
        for ((peer, file), seq) in acks {
            self.send_ack(peer, file, seq, AckLevel::Fsynced);
        }
    }

    pub(super) fn send_ack(&self, id: PeerId, file: FileId, seq: u64, level: AckLevel) {
        let Some(subscription) =
            self.documents.get(file).and_then(|document| document.subscribers.get(&id))
        else {
            return;
        };
        if let Some(message) =
            protocol::ack(subscription.protocol, &subscription.address, seq, level)
        {
            self.send(id, message);
        }
    }

    /// An edit by the server itself (seed, disk, upload): logged, and shown when durable.
    pub(super) fn server_edit(&mut self, file: FileId, update: Vec<u8>) {
        let update = Bytes::from(update);
        let Some(lsn) = self.log(RecordKind::Update, file, update.clone()) else { return };
        if let Some(document) = self.documents.get_mut(file) {
            document.hidden_until = Some(lsn);
        }
        self.note_edited(file, lsn, update.len());
        self.deferred.push(lsn, Action::Show { file, update });
    }

    /// yrs panicked: the document in memory cannot be trusted. The room closes and is rebuilt
    /// from the log, which never got the edit.
    pub(super) fn document_broke(&mut self, file: FileId) {
        tracing::error!(repl = %self.repl, %file, "a document broke while applying an update; reopening the repl");
        self.peers.close_all(1012, "the repl had to be reopened");
        self.saved.give_up();
        self.ending.get_or_insert(super::Ending::KeepSandbox);
    }

    /// Forgets documents that nobody has open and that are saved and written.
    pub(super) fn evict_unused(&mut self) {
        if self.evict.is_empty() {
            return;
        }
        let durable = *self.durable.borrow();
        let unused: Vec<FileId> = self
            .evict
            .iter()
            .copied()
            .filter(|file| {
                self.documents
                    .get(*file)
                    .is_none_or(|document| may_forget(document, durable, self.sandbox.is_up()))
            })
            .collect();
        for file in unused {
            self.evict.remove(&file);
            if self.documents.get(file).is_some() {
                self.remember_at_rest(file);
                self.documents.remove(file);
            }
        }
    }
}

fn may_forget(document: &OpenDocument, durable: tandem_proto::Lsn, sandbox: bool) -> bool {
    let on_disk = !document.is_unwritten() && document.disk.signature.is_some();
    document.subscribers.is_empty()
        && !document.is_unsaved()
        && document.last_lsn <= durable
        && (!sandbox || on_disk)
        && document.last_edit.elapsed() > REMEMBER
}

/// An edit as it came.
struct Edit {
    seq: u64,
    update: Bytes,
    answer: bool,
}
