//! Documents over sockets: which document a message is for, and who has it open.

mod edits;
mod steps;
mod stored;

use std::sync::Arc;
use std::time::Duration;

use tandem_proto::live::{LIVE, Refusal};
use tandem_proto::{FileId, RelPath, collab};

use super::documents::{OpenDocument, Slot, Subscription};
use super::people::Target;
use super::{PeerId, Room};
use crate::socket::protocol::{Inbound, Protocol};
use edits::Edit;
pub use stored::StoredEdits;

/// A document stays in memory this long after its last edit: a program may still be working on a
/// text that it read before.
const REMEMBER: Duration = Duration::from_secs(15);

impl Room {
    /// A message from a socket.
    pub(in crate::room) fn document_message(
        &mut self,
        id: PeerId,
        address: Arc<str>,
        message: Inbound,
    ) {
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
            stored: StoredEdits::default(),
            refused: false,
        };
        let known = document.subscribers.insert(id, fresh).is_some();
        if let Some(peer) = self.peers.get_mut(id) {
            peer.open.insert(address.clone(), Target::File(file));
        }
        self.evict.remove(&file);
        known
    }

    /// Takes a peer out of a document, a folder or the live state.
    pub(in crate::room) fn unsubscribe(&mut self, id: PeerId, target: Target) {
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

    fn subscription_mut(&mut self, id: PeerId, file: FileId) -> Option<&mut Subscription> {
        self.documents.get_mut(file)?.subscribers.get_mut(&id)
    }

    /// Forgets documents that nobody has open and that are saved and written.
    pub(in crate::room) fn evict_unused(&mut self) {
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
