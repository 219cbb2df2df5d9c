//! The documents that only the server writes: `#live` (sandbox, terminals, ports, run, people)
//! and one per expanded folder. Clients read them through the same sync protocol as text.
//!
//! They are rebuilt as a new generation whenever the room opens, and never stored.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tandem_doc::awareness::Awareness;
use tandem_doc::{Rejected, SharedMap};
use tandem_proto::agent::{Op, Reply as AgentReply, Usage};
use tandem_proto::api::{
    DurabilityInfo, LiveState, PortInfo, TreeEntry, TreeFolder, TreeKind, UsageInfo,
};
use tandem_proto::live::Refusal;
use tandem_proto::{FileId, Generation, RelPath, limits};

use super::people::Target;
use super::tree::Kind;
use super::{Continuation, PeerId, Room, RoomError};
use crate::lease::wall_ms;
use crate::socket::protocol::{self, Inbound, Protocol};

/// Guid of the `#live` document.
fn live_guid() -> FileId {
    FileId::from_random([0xff; 10])
}

/// Passing notices shown at once.
const MAX_STANDING: usize = 20;
const USAGE_INTERVAL: Duration = Duration::from_secs(2);

struct Shared {
    map: SharedMap,
    subscribers: HashMap<PeerId, (Arc<str>, Protocol)>,
}

/// Server-written documents and what they are made from.
pub struct Live {
    state: Shared,
    folders: HashMap<FileId, Shared>,
    generation: Generation,
    client_id: u64,
    dirty: bool,
    dirty_folders: HashSet<FileId>,
    usage: Option<(Instant, Usage)>,
    shown_usage: Option<UsageInfo>,
    usage_pending: bool,
    next_usage: Instant,
    /// Store and log troubles.
    pub durability: DurabilityInfo,
    /// Standing notices about this host and this repl.
    notices: Vec<String>,
    /// Notices about something that may pass, by what they are about.
    standing: BTreeMap<String, String>,
    /// Which file each page has in front; relayed, never stored.
    whereabouts: Awareness,
}

impl Live {
    /// Empty documents of a generation that no earlier room had.
    pub fn new(client_id: u64, generation: Generation, notices: Vec<String>) -> Self {
        let state = Shared { map: SharedMap::new(client_id, "live"), subscribers: HashMap::new() };
        Self {
            state,
            folders: HashMap::new(),
            generation,
            client_id,
            dirty: true,
            dirty_folders: HashSet::new(),
            usage: None,
            shown_usage: None,
            usage_pending: false,
            next_usage: Instant::now(),
            durability: DurabilityInfo::default(),
            notices,
            standing: BTreeMap::new(),
            whereabouts: Awareness::new(),
        }
    }

    /// Something shown in `#live` changed; it is published at the end of the turn.
    pub fn changed(&mut self) {
        self.dirty = true;
    }

    /// Something people should know, once.
    pub fn note(&mut self, notice: String) {
        if !self.notices.contains(&notice) && self.notices.len() < 20 {
            self.notices.push(notice);
            self.dirty = true;
        }
    }

    /// Something people should know for as long as it is so; `None`: it is not so (any more).
    pub fn standing(&mut self, about: &str, notice: Option<String>) {
        let changed = match notice {
            Some(notice) if self.standing.get(about) != Some(&notice) => {
                let room = self.standing.len() < MAX_STANDING || self.standing.contains_key(about);
                room && {
                    self.standing.insert(about.to_owned(), notice);
                    true
                }
            }
            Some(_) => false,
            None => self.standing.remove(about).is_some(),
        };
        self.dirty |= changed;
    }

    /// A folder's list changed.
    pub fn folder_changed(&mut self, folder: FileId) {
        if self.folders.contains_key(&folder) {
            self.dirty_folders.insert(folder);
        }
    }

    /// When usage is asked for next.
    pub fn deadline(&self) -> Option<Instant> {
        (!self.state.subscribers.is_empty()).then_some(self.next_usage)
    }

    /// A peer no longer reads.
    pub fn unsubscribe(&mut self, id: PeerId, target: Target) {
        match target {
            Target::Live => {
                self.state.subscribers.remove(&id);
            }
            Target::Folder(folder) => {
                if let Some(shared) = self.folders.get_mut(&folder) {
                    shared.subscribers.remove(&id);
                    if shared.subscribers.is_empty() {
                        self.folders.remove(&folder);
                    }
                }
            }
            Target::File(_) => {}
        }
    }

    fn shared_mut(&mut self, target: Target) -> Option<&mut Shared> {
        match target {
            Target::Live => Some(&mut self.state),
            Target::Folder(folder) => self.folders.get_mut(&folder),
            Target::File(_) => None,
        }
    }
}

impl Room {
    /// A message for a server-written document.
    pub(super) fn shared_message(
        &mut self,
        id: PeerId,
        address: Arc<str>,
        target: Target,
        message: Inbound,
    ) {
        match message {
            Inbound::Identity { .. } | Inbound::Step1(_) => {
                self.open_shared(id, &address, target);
                match message {
                    Inbound::Step1(state_vector) => {
                        self.answer_shared(id, &address, target, &state_vector)
                    }
                    _ => self.introduce_shared(id, &address, target),
                }
            }
            Inbound::Update { seq, .. } => {
                let Some((protocol, outbox)) = self.socket(id) else { return };
                if let Some(refused) = protocol::refuse(protocol, &address, seq, Refusal::ReadOnly)
                {
                    outbox.push_always(refused);
                }
            }
            Inbound::Close => {
                if let Some(peer) = self.peers.get_mut(id) {
                    peer.open.remove(&address);
                }
                self.unsubscribe(id, target);
            }
            Inbound::Awareness(states) if target == Target::Live => self.whereabouts(id, &states),
            Inbound::QueryAwareness if target == Target::Live => self.send_whereabouts(id),
            Inbound::Awareness(_) | Inbound::QueryAwareness | Inbound::Ignore => {}
        }
    }

    /// A page tells which file it has in front.
    fn whereabouts(&mut self, id: PeerId, states: &[u8]) {
        if !self.live.state.subscribers.contains_key(&id) {
            return;
        }
        match self.live.whereabouts.apply(id.0, states, wall_ms()) {
            Ok(Some(states)) => self.broadcast_whereabouts(&states, Some(id)),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(repl = %self.repl, %error, "an awareness message was refused");
            }
        }
    }

    fn send_whereabouts(&self, id: PeerId) {
        let Some((address, protocol)) = self.live.state.subscribers.get(&id) else { return };
        let Some((_, outbox)) = self.socket(id) else { return };
        if let Some(states) = self.live.whereabouts.encode_all() {
            outbox.push_always(protocol::awareness(*protocol, address, &states));
        }
    }

    fn broadcast_whereabouts(&self, states: &[u8], except: Option<PeerId>) {
        for (id, (address, protocol)) in &self.live.state.subscribers {
            if Some(*id) != except
                && let Some((_, outbox)) = self.socket(*id)
            {
                // A full queue may lose these: they are renewed every 15 s.
                let _ = outbox.push(protocol::awareness(*protocol, address, states));
            }
        }
    }

    /// A page went: nobody is where it was.
    pub(super) fn leave_whereabouts(&mut self, id: PeerId) {
        if let Some(states) = self.live.whereabouts.remove_connection(id.0) {
            self.broadcast_whereabouts(&states, None);
        }
    }

    /// Forgets pages that fell silent.
    pub(super) fn expire_whereabouts(&mut self, now_ms: u64) {
        if let Some(states) = self.live.whereabouts.expire(now_ms) {
            self.broadcast_whereabouts(&states, None);
        }
    }

    fn socket(&self, id: PeerId) -> Option<(Protocol, &crate::socket::outbox::Outbox)> {
        match &self.peers.get(id)?.door {
            super::people::Door::Socket(protocol, outbox) => Some((*protocol, outbox)),
            super::people::Door::Visit(_) => None,
        }
    }

    fn open_shared(&mut self, id: PeerId, address: &Arc<str>, target: Target) {
        let Some((protocol, _)) = self.socket(id) else { return };
        if let Target::Folder(folder) = target
            && !self.live.folders.contains_key(&folder)
        {
            let map = SharedMap::new(self.live.client_id, "entries");
            self.live.folders.insert(folder, Shared { map, subscribers: HashMap::new() });
            self.publish_folder(folder);
        }
        if let Some(shared) = self.live.shared_mut(target) {
            shared.subscribers.insert(id, (address.clone(), protocol));
        }
        if let Some(peer) = self.peers.get_mut(id) {
            peer.open.insert(address.clone(), target);
        }
        if target == Target::Live {
            self.publish_live();
        }
    }

    fn introduce_shared(&mut self, id: PeerId, address: &str, target: Target) {
        let (guid, path) = match target {
            Target::Folder(folder) => (folder, self.tree.path(folder)),
            _ => (live_guid(), None),
        };
        let generation = self.live.generation;
        let Some(shared) = self.live.shared_mut(target) else { return };
        let state_vector = shared.map.state_vector();
        let Some((protocol, outbox)) = self.socket(id) else { return };
        if protocol == Protocol::Live {
            let path = path.as_ref().map_or("", |path| path.as_str());
            outbox.push_always(protocol::identity(address, guid, generation, path));
        }
        outbox.push_always(protocol::step1(protocol, address, &state_vector));
    }

    fn answer_shared(&mut self, id: PeerId, address: &str, target: Target, state_vector: &[u8]) {
        let Some(shared) = self.live.shared_mut(target) else { return };
        let difference = shared.map.encode_diff(state_vector);
        let Some((protocol, outbox)) = self.socket(id) else { return };
        match difference {
            Ok(difference) => outbox.push_always(protocol::step2(protocol, address, &difference)),
            Err(_) => {
                if let Some(refused) = protocol::closed(protocol, address, Refusal::Malformed) {
                    outbox.push_always(refused);
                }
            }
        }
    }

    /// Brings the server-written documents up to date and sends what changed.
    pub(super) fn publish_live(&mut self) {
        let folders: Vec<FileId> = self.live.dirty_folders.drain().collect();
        for folder in folders {
            self.publish_folder(folder);
        }
        if !std::mem::take(&mut self.live.dirty) {
            return;
        }
        let Ok(Value::Object(state)) = serde_json::to_value(self.live_state()) else { return };
        let update = self.live.state.map.replace(state.into_iter().collect());
        self.send_shared(Target::Live, update);
    }

    fn publish_folder(&mut self, folder: FileId) {
        let entries: BTreeMap<String, Value> = self
            .tree
            .children(folder)
            .filter_map(|(name, id)| {
                let value = serde_json::to_value(self.tree_entry(id)?).ok()?;
                Some((name.to_owned(), value))
            })
            .collect();
        let Some(shared) = self.live.folders.get_mut(&folder) else { return };
        let update = shared.map.replace(entries);
        self.send_shared(Target::Folder(folder), update);
    }

    fn send_shared(&mut self, target: Target, update: Result<Option<Vec<u8>>, Rejected>) {
        let update = match update {
            Ok(Some(update)) => update,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(repl = %self.repl, %error, "a server-written document broke");
                self.peers.close_all(1012, "the repl had to be reopened");
                self.ending.get_or_insert(super::Ending::KeepSandbox);
                return;
            }
        };
        let Some(shared) = self.live.shared_mut(target) else { return };
        let subscribers: Vec<(PeerId, Arc<str>, Protocol)> = shared
            .subscribers
            .iter()
            .map(|(id, (address, protocol))| (*id, address.clone(), *protocol))
            .collect();
        for (id, address, protocol) in subscribers {
            if let Some(outbox) = self.peers.get(id).and_then(|peer| peer.outbox()) {
                outbox.push_always(protocol::update(protocol, &address, &update));
            }
        }
    }

    /// Everything the page shows.
    pub(super) fn live_state(&self) -> LiveState {
        LiveState {
            sandbox: self.sandbox.status(),
            terminals: self.terminals.infos(),
            ports: self.ports(),
            run: self.terminals.run.clone(),
            people: self.peers.people(),
            usage: self.live.shown_usage,
            durability: self.live.durability.clone(),
            tasks: self.project.tasks.clone(),
            notices: self
                .live
                .notices
                .iter()
                .chain(self.live.standing.values())
                .chain(self.project.error.as_ref())
                .cloned()
                .collect(),
        }
    }

    fn ports(&self) -> Vec<PortInfo> {
        let mut ports: Vec<PortInfo> = self
            .sandbox
            .ports()
            .iter()
            .map(|listening| {
                let allowed = limits::is_allowed_port(listening.port);
                let url = allowed.then(|| self.shared.preview_url(self.repl, listening.port));
                PortInfo { port: listening.port, allowed, url }
            })
            .collect();
        ports.sort_by_key(|port| (Some(port.port) != self.project.web_port, port.port));
        ports.dedup_by_key(|port| port.port);
        ports
    }

    /// One entry as the page sees it.
    pub(super) fn tree_entry(&self, id: FileId) -> Option<TreeEntry> {
        let node = self.tree.get(id)?;
        let kind = match node.kind {
            Kind::File => TreeKind::File,
            Kind::Folder => TreeKind::Folder,
            Kind::Symlink(_) => TreeKind::Symlink,
            Kind::Other => TreeKind::Other,
        };
        Some(TreeEntry {
            id,
            name: node.name.clone(),
            kind,
            size: node.size,
            executable: node.executable,
            ignored: node.ignored,
            text: kind == TreeKind::File && self.files.may_be_text(id, node.size),
        })
    }

    /// One folder, folders first.
    pub(super) fn list_folder(&self, folder: Option<&RelPath>) -> Result<TreeFolder, RoomError> {
        let id = match folder {
            None => FileId::ROOT,
            Some(path) => self
                .tree
                .find(path)
                .filter(|id| self.tree.is_folder(*id))
                .ok_or_else(|| RoomError::NotFound("there is no such folder".to_owned()))?,
        };
        let mut entries: Vec<TreeEntry> =
            self.tree.children(id).filter_map(|(_, child)| self.tree_entry(child)).collect();
        entries.sort_by(|a, b| {
            (a.kind != TreeKind::Folder, &a.name).cmp(&(b.kind != TreeKind::Folder, &b.name))
        });
        let path = folder.map(|path| path.as_str().to_owned()).unwrap_or_default();
        Ok(TreeFolder { id, path, entries })
    }

    /// Asks the agent for its use while somebody looks.
    pub(super) fn poll_usage(&mut self, now: Instant) {
        if now < self.live.next_usage || self.live.state.subscribers.is_empty() {
            return;
        }
        self.live.next_usage = now + USAGE_INTERVAL;
        let Some(link) = self.sandbox.link().cloned() else {
            if self.live.shown_usage.take().is_some() {
                self.live.changed();
            }
            return;
        };
        if std::mem::replace(&mut self.live.usage_pending, true) {
            return;
        }
        self.spawn(async move {
            let answer = link.request(Op::Usage).await;
            Box::new(move |room: &mut Room| {
                room.live.usage_pending = false;
                if let Ok(AgentReply::Usage(usage)) = answer {
                    room.show_usage(usage);
                }
            }) as Continuation
        });
    }

    fn show_usage(&mut self, usage: Usage) {
        let now = Instant::now();
        let cpu_percent = self.live.usage.map_or(0.0, |(then, before)| {
            let micros = now.duration_since(then).as_micros().max(1) as f32;
            100.0 * usage.cpu_us.saturating_sub(before.cpu_us) as f32 / micros
        });
        self.live.usage = Some((now, usage));
        let limits = self.sandbox.limits();
        let shown = UsageInfo {
            cpu_percent: cpu_percent.round(),
            memory_bytes: usage.memory_bytes,
            memory_limit_bytes: limits.and_then(|limits| limits.memory_bytes),
            processes: usage.processes,
            disk_used_bytes: usage.disk_used_bytes,
            disk_limit_bytes: limits.and_then(|limits| limits.disk_bytes),
        };
        if self.live.shown_usage != Some(shown) {
            self.live.shown_usage = Some(shown);
            self.live.changed();
        }
    }
}
