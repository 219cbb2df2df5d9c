//! Edits: from people and by the server itself, and what is answered to them.
//!
//! Order of an edit: right and size → scan and gate (inside `Document::apply_within`) → log queue →
//! everybody else's queues. The author's ack waits for the disk; nobody else does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tandem_doc::{Applied, Rejected};
use tandem_proto::history::HistoryAuthor;
use tandem_proto::live::{AckLevel, Refusal};
use tandem_proto::{FileId, limits};
use tandem_store::{NewRecord, RecordKind};

use crate::lease::wall_ms;
use crate::room::deferred::Action;
use crate::room::{Ending, PeerId, Room};
use crate::socket::protocol::{self, Protocol};

/// Longest time one edit may keep the room busy: a forged one can make integration endless.
const MAX_APPLY: Duration = Duration::from_secs(1);

/// An edit as it came.
pub(super) struct Edit {
    pub(super) seq: u64,
    pub(super) update: Bytes,
    pub(super) answer: bool,
}

impl Room {
    pub(super) fn edit(&mut self, id: PeerId, address: &Arc<str>, file: FileId, edit: Edit) {
        let Some(peer) = self.peers.get(id) else { return };
        let may_edit = peer.grant.role.may_edit();
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
        if !self.log_takes_records() {
            return self.refuse_for_now(id, address, file, edit.seq);
        }
        if edit.update.len() > limits::MAX_UPDATE_BYTES {
            return self.reject(id, address, file, edit.seq, Refusal::TooLarge);
        }
        let Some(document) = self.documents.get_mut(file) else { return };
        // Whose it is must be looked up before its clients are known ones.
        let fresh = document.doc.new_authors(&edit.update).unwrap_or_default();
        let noted = document.disk.merge.note_edit(&document.doc);
        let until = Instant::now() + MAX_APPLY;
        let in_time = || Instant::now() < until;
        match noted.and_then(|()| document.doc.apply_within(&edit.update, in_time)) {
            Ok(Applied::New) => self.accept(id, file, &fresh, edit),
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

    fn accept(&mut self, id: PeerId, file: FileId, fresh: &[u64], edit: Edit) {
        self.revive(file);
        let author = self.author_of(id, file, fresh);
        let Some(document) = self.documents.get(file) else { return };
        let record = NewRecord {
            repl: self.repl,
            epoch: self.lease.epoch,
            kind: RecordKind::Update,
            document: file,
            generation: document.generation,
            author,
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
    pub(in crate::room) fn note_edited(
        &mut self,
        file: FileId,
        lsn: tandem_proto::Lsn,
        bytes: usize,
    ) {
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

    pub(super) fn mark_applied(&mut self, id: PeerId, file: FileId, seq: u64) {
        if let Some(subscription) = self.subscription_mut(id, file) {
            subscription.applied_seq = subscription.applied_seq.max(seq);
            subscription.asked_after_gap = false;
        }
    }

    /// The log takes nothing now: the edit stays with its author, and is asked for later.
    fn refuse_for_now(&mut self, id: PeerId, address: &str, file: FileId, seq: u64) {
        self.nack(id, address, seq, Refusal::Unavailable);
        if let Some(subscription) = self.subscription_mut(id, file) {
            subscription.refused = true;
        }
    }

    /// Asks for the edits that were refused while the log took nothing.
    pub(in crate::room) fn ask_refused(&mut self) {
        let mut owed: Vec<(PeerId, FileId, Arc<str>)> = Vec::new();
        for (file, document) in self.documents.open_mut() {
            for (peer, subscription) in &mut document.subscribers {
                if std::mem::take(&mut subscription.refused) {
                    owed.push((*peer, file, subscription.address.clone()));
                }
            }
        }
        for (peer, file, address) in owed {
            self.ask_state(peer, &address, file);
        }
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
    pub(super) fn reject(
        &mut self,
        id: PeerId,
        address: &str,
        file: FileId,
        seq: u64,
        refusal: Refusal,
    ) {
        self.nack(id, address, seq, refusal);
        if let Some(document) = self.documents.get_mut(file) {
            document.subscribers.remove(&id);
        }
        self.reset_peer(id, address, refusal);
    }

    /// Makes a client drop its copy of a document and open it again.
    pub(in crate::room) fn reset_peer(&mut self, id: PeerId, address: &str, refusal: Refusal) {
        let Some(protocol) = self.protocol(id) else { return };
        let message = protocol::reset(protocol, address, refusal);
        self.take_away(id, address, message, (refusal, "the edit cannot be applied"));
    }

    /// A peer has a document no more: it is told, or closed where its protocol has no word for that.
    fn take_away(
        &mut self,
        id: PeerId,
        address: &str,
        message: Option<Bytes>,
        (refusal, reason): (Refusal, &'static str),
    ) {
        match message {
            Some(message) => self.send(id, message),
            None => {
                if let Some(outbox) = self.peers.get(id).and_then(|peer| peer.outbox()) {
                    outbox.close(refusal as u16, reason);
                }
            }
        }
        if let Some(peer) = self.peers.get_mut(id) {
            peer.open.remove(address);
        }
    }

    pub(super) fn nack(&self, id: PeerId, address: &str, seq: u64, refusal: Refusal) {
        let Some(protocol) = self.protocol(id) else { return };
        if let Some(message) = protocol::refuse(protocol, address, seq, refusal) {
            self.send(id, message);
        }
    }

    /// A document cannot be opened by this peer.
    pub(in crate::room) fn refuse_open(&mut self, id: PeerId, address: &str, refusal: Refusal) {
        let Some(protocol) = self.protocol(id) else { return };
        let message = protocol::closed(protocol, address, refusal);
        self.take_away(id, address, message, (refusal, "the document cannot be opened"));
    }

    /// An edit by the server itself (seed, disk, upload): logged, and shown when durable.
    pub(in crate::room) fn server_edit(
        &mut self,
        file: FileId,
        update: Vec<u8>,
        author: Option<&HistoryAuthor>,
    ) {
        let update = Bytes::from(update);
        let Some(document) = self.documents.get(file) else { return };
        let record = NewRecord {
            repl: self.repl,
            epoch: self.lease.epoch,
            kind: RecordKind::Update,
            document: file,
            generation: document.generation,
            author: author.map(|author| author.id),
            wall_ms: wall_ms(),
            payload: update.clone(),
        };
        if let Some(author) = author {
            self.note_author(file, author);
        }
        let Some(lsn) = self.log_record(record) else { return };
        if let Some(document) = self.documents.get_mut(file) {
            document.hidden_until = Some(lsn);
        }
        self.note_edited(file, lsn, update.len());
        self.deferred.push(lsn, Action::Show { file, update });
    }

    /// yrs panicked: the document in memory cannot be trusted. The room closes and is rebuilt
    /// from the log, which never got the edit.
    pub(in crate::room) fn document_broke(&mut self, file: FileId) {
        tracing::error!(repl = %self.repl, %file, "a document broke while applying an update; reopening the repl");
        self.peers.close_all(1012, "the repl had to be reopened");
        self.saved.give_up();
        self.ending.get_or_insert(Ending::KeepSandbox);
    }

    pub(in crate::room) fn collect_ack(
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

    pub(in crate::room) fn send_acks(&mut self, acks: HashMap<(PeerId, FileId), u64>) {
        for ((peer, file), seq) in acks {
            self.send_ack(peer, file, seq, AckLevel::Fsynced);
            self.await_shipped(peer, file, seq);
        }
    }

    pub(in crate::room) fn send_ack(&self, id: PeerId, file: FileId, seq: u64, level: AckLevel) {
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
}
