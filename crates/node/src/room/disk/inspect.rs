//! Disk → documents and tree: what programs did.
//!
//! Everything funnels into one path: paths that may have changed are looked at by the agent, in
//! batches, and what was seen is applied in one turn, so that a rename is seen as a whole.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use futures_util::StreamExt as _;
use tandem_doc::{DiskMerge, text};
use tandem_proto::agent::{AgentError, Entry, EntryKind, Op, Reply as AgentReply};
use tandem_proto::{FileId, RelPath, limits};
use tandem_sandbox::{AgentLink, LinkError};

use crate::lease::wall_ms;
use crate::room::base::Seen as OnDisk;
use crate::room::contents::{AtRest, Stored};
use crate::room::documents::Slot;
use crate::room::history::program;
use crate::room::tree::{Change, Kind, Node};
use crate::room::{Continuation, Room};

/// Paths looked at in one batch. A moved pair of paths that falls into two batches is a delete
/// and a create.
const BATCH: usize = 2_000;
/// Requests at once.
const CONCURRENT: usize = 16;

/// What was seen at a path.
struct Seen {
    path: RelPath,
    entry: Option<Entry>,
    /// Of files that have a document.
    content: Option<Bytes>,
    /// Writes that its document had begun before the look.
    writes: u64,
}

impl Room {
    /// Looks at what may have changed, unless a look is under way.
    pub(in crate::room) fn inspect_changed(&mut self) {
        let Some(link) = self.sandbox.ready_link().cloned() else { return };
        if self.disk.inspecting || self.disk.changed.is_empty() {
            return;
        }
        if !self.log_takes_records() {
            if self.disk.is_known() {
                // A scan afterwards finds them, however many there will be.
                self.disk.changed.clear();
            }
            return;
        }
        let mut batch: Vec<(RelPath, bool, u64)> = Vec::new();
        let mut later = Vec::new();
        while batch.len() < BATCH {
            let Some(path) = self.disk.changed.pop_first() else { break };
            let file = self.tree.find(&path);
            let in_flight = file
                .and_then(|file| self.documents.get(file))
                .is_some_and(|document| document.disk.in_flight);
            if in_flight {
                // The write's own answer says what is there; look again after it.
                later.push(path);
                continue;
            }
            let has_document = file.is_some_and(|file| self.has_document(file));
            batch.push((path, has_document, self.writes(file)));
        }
        self.disk.changed.extend(later);
        if batch.is_empty() {
            return;
        }
        self.disk.inspecting = true;
        let known: HashMap<RelPath, tandem_proto::agent::Signature> = batch
            .iter()
            .filter_map(|(path, _, _)| {
                let file = self.tree.find(path)?;
                Some((path.clone(), *self.disk.signatures.get(&file)?))
            })
            .collect();
        self.spawn(async move {
            let link = &link;
            let known = &known;
            let looks = batch.into_iter().map(|(path, wanted, writes)| async move {
                let seen = look(link, path, wanted, known).await;
                seen.map(|seen| Seen { writes, ..seen })
            });
            let seen: Vec<Result<Seen, LinkError>> =
                futures_util::stream::iter(looks).buffered(CONCURRENT).collect().await;
            Box::new(move |room: &mut Room| {
                room.disk.inspecting = false;
                room.apply_seen(seen);
                room.inspect_changed();
                room.scan_settled();
            }) as Continuation
        });
    }

    fn writes(&self, file: Option<FileId>) -> u64 {
        file.and_then(|file| self.documents.get(file)).map_or(0, |document| document.disk.writes)
    }

    fn has_document(&mut self, file: FileId) -> bool {
        matches!(self.files.stored(file), Some(Stored::Document { .. }))
            || self.documents.slot_mut(file).is_some()
    }

    fn apply_seen(&mut self, seen: Vec<Result<Seen, LinkError>>) {
        if !self.log_takes_records() {
            self.disk.changed.extend(seen.into_iter().flatten().map(|seen| seen.path));
            return;
        }
        let mut present = Vec::new();
        let mut missing: Vec<(RelPath, FileId)> = Vec::new();
        for seen in seen {
            match seen {
                // One of our own writes came between: what was seen is not there any more.
                Ok(seen) if self.writes(self.tree.find(&seen.path)) != seen.writes => {
                    self.disk.changed.insert(seen.path);
                }
                Ok(Seen { path, entry: None, .. }) => {
                    if let Some(file) = self.tree.find(&path) {
                        missing.push((path, file));
                    }
                }
                Ok(Seen { path, entry: Some(entry), content, .. }) => {
                    present.push((path, entry, content))
                }
                Err(error) => {
                    tracing::debug!(repl = %self.repl, %error, "a changed path could not be looked at");
                }
            }
        }
        present.sort_by(|a, b| a.0.cmp(&b.0));
        self.find_renames(&present, &mut missing);
        for (path, file) in missing {
            if self.tree.path(file).as_ref() == Some(&path) {
                self.disk.forget(file);
                self.forget_subtree(file, path, false);
            }
        }
        for (path, entry, content) in present {
            self.entry_present(&path, &entry, content);
        }
    }

    /// A missing path and a new path with the same inode are one thing that moved.
    fn find_renames(
        &mut self,
        present: &[(RelPath, Entry, Option<Bytes>)],
        missing: &mut Vec<(RelPath, FileId)>,
    ) {
        let mut moved: HashSet<FileId> = HashSet::new();
        let by_inode: HashMap<(u64, u64), FileId> = missing
            .iter()
            .filter_map(|(_, file)| {
                let signature = self.disk.signatures.get(file)?;
                Some(((signature.device, signature.inode), *file))
            })
            .collect();
        for (path, entry, _) in present {
            if self.tree.find(path).is_some() {
                continue;
            }
            let inode = (entry.signature.device, entry.signature.inode);
            let Some(file) = by_inode.get(&inode).filter(|file| !moved.contains(*file)) else {
                continue;
            };
            if let Ok(change) = self.tree.plan_move(*file, path) {
                self.change_tree(change);
                moved.insert(*file);
            }
        }
        missing.retain(|(path, file)| {
            // A path inside a moved folder leads elsewhere now.
            !moved.contains(file) && self.tree.find(path) == Some(*file)
        });
    }

    fn entry_present(&mut self, path: &RelPath, entry: &Entry, content: Option<Bytes>) {
        let kind = match &entry.kind {
            EntryKind::File => Kind::File,
            EntryKind::Folder => Kind::Folder,
            EntryKind::Symlink(target) => Kind::Symlink(target.chars().take(4096).collect()),
            EntryKind::Other => Kind::Other,
        };
        let known = self.tree.find(path);
        if let Some(file) = known
            && self.tree.get(file).is_some_and(|node| {
                std::mem::discriminant(&node.kind) != std::mem::discriminant(&kind)
            })
        {
            if self.has_document(file) {
                self.end_document(file);
            }
            self.files.forget(file);
        }
        let Some(file) = self.put_entry(path, kind, entry) else { return };
        let unchanged = self.disk.signatures.get(&file) == Some(&entry.signature);
        self.disk.saw(file, entry.signature);
        if entry.kind != EntryKind::File || (unchanged && content.is_none()) {
            return;
        }
        if self.has_document(file) {
            match content {
                Some(content) => self.file_read(file, content, entry.clone()),
                None if entry.signature.size > limits::MAX_TEXT_BYTES as u64 => {
                    self.no_longer_text(file, entry)
                }
                // It became a document while we looked, or changed while it was read: again.
                None => drop(self.disk.changed.insert(path.clone())),
            }
        } else {
            self.files.mark_dirty(file);
            self.uploads.look_soon();
            self.project_may_have_changed(file);
        }
    }

    /// Enters a seen entry into the tree; its id.
    fn put_entry(&mut self, path: &RelPath, kind: Kind, entry: &Entry) -> Option<FileId> {
        let shared = self.shared.clone();
        let planned = self.tree.plan_folders(path.parent().as_ref(), || shared.random_file_id());
        let (folders, parent) = match planned {
            Ok(planned) => planned,
            Err(error) => {
                self.live.note(format!("Some files are not shown or saved: {error}."));
                return None;
            }
        };
        for folder in folders {
            self.change_tree(folder);
        }
        let id = self.tree.child(parent, path.name()).unwrap_or_else(|| shared.random_file_id());
        let folder = kind == Kind::Folder;
        let node = Node {
            parent,
            name: path.name().to_owned(),
            kind,
            executable: !folder && entry.executable,
            size: if folder { 0 } else { entry.signature.size },
            // A file or a link of such a name is one like any other.
            ignored: folder && entry.ignored,
        };
        match self.tree.get(id) {
            Some(known) if *known == node => {}
            Some(known) if (Node { size: node.size, ..known.clone() }) == node => {
                self.note_change(Change::Put { id, node });
            }
            known => {
                if node.ignored && known.is_none() {
                    self.ignored.appeared();
                }
                self.change_tree(Change::Put { id, node });
            }
        }
        Some(id)
    }

    fn no_longer_text(&mut self, file: FileId, entry: &Entry) {
        let file = self.end_document(file);
        self.disk.saw(file, entry.signature);
        self.files.mark_dirty(file);
        self.files.mark_not_text(file);
        self.uploads.look_soon();
        self.tree_entry_changed(file);
    }

    /// The bytes of a file that has a document.
    fn file_read(&mut self, file: FileId, content: Bytes, entry: Entry) {
        let hash = *blake3::hash(&content).as_bytes();
        match self.documents.slot_mut(file) {
            Some(Slot::Open(_)) => self.ingest(file, &content, &entry),
            Some(Slot::Loading(_)) => {
                self.when_loaded(file, move |room| room.ingest(file, &content, &entry));
            }
            None => {
                let same = self.files.at_rest(file).is_some_and(|at_rest| at_rest.hash == hash)
                    || matches!(self.files.stored(file), Some(Stored::Document { hash: Some(stored), .. }) if *stored == hash);
                if same {
                    self.files.remember(file, AtRest { signature: entry.signature, hash });
                } else {
                    self.when_loaded(file, move |room| room.ingest(file, &content, &entry));
                }
            }
        }
    }

    /// Merges bytes found on disk into an open document.
    pub(in crate::room) fn ingest(&mut self, file: FileId, content: &Bytes, entry: &Entry) {
        let hash = *blake3::hash(content).as_bytes();
        let fresh_client = self.shared.random_client_id();
        let Some(document) = self.documents.get_mut(file) else { return };
        document.disk.signature = Some(entry.signature);
        if document.disk.disk_hash == Some(hash) && !document.disk.in_flight {
            return;
        }
        let Ok((text, format)) = text::decode_file(content) else {
            return self.no_longer_text(file, entry);
        };
        document.format = format;
        let base_is_lost = document.disk.merge.base_text().is_none();
        document.disk.disk_hash = Some(hash);
        let possible = std::mem::take(&mut document.disk.possible);
        if base_is_lost && possible.contains(&hash) && document.doc.text() != text {
            // One of our own texts, from before a crash: there is only something to write.
            document.disk.merge = DiskMerge::behind(text);
            return self.write_before_long(file);
        }
        let update = document.disk.merge.ingest(&mut document.doc, &text, fresh_client, wall_ms());
        let clean = document.disk.merge.is_clean(&document.doc);
        match update {
            Ok(Some(update)) => self.server_edit(file, update, Some(&program())),
            Ok(None) => {}
            Err(_) => return self.document_broke(file),
        }
        let last = self.documents.get(file).map(|document| document.last_lsn).unwrap_or_default();
        let seen = if clean { OnDisk::Held(hash) } else { OnDisk::Merged };
        self.log_base(file, seen, last);
        if clean {
            self.at_rest(file);
        } else {
            self.write_before_long(file);
        }
    }

    fn write_before_long(&mut self, file: FileId) {
        let due = std::time::Instant::now() + self.shared.room.write_after;
        if let Some(document) = self.documents.get_mut(file) {
            document.disk.due.get_or_insert(due);
            self.disk.unwritten.insert(file);
        }
    }

    /// A document was loaded while the sandbox runs: finds out how it stands to its file.
    pub(in crate::room) fn check_against_disk(&mut self, file: FileId) {
        if self.sandbox.ready_link().is_none() {
            return;
        }
        let at_rest = self.files.at_rest(file).copied();
        let Some(document) = self.documents.get_mut(file) else { return };
        if document.disk.disk_hash.is_some() {
            let is_behind = document.edits != document.disk.written_edits;
            let unseen = document.disk.signature.is_none();
            if is_behind {
                // It was loaded with edits from the log after everything else was written.
                self.write_before_long(file);
            }
            if unseen {
                // Known from the log or the manifest; a program may have written since.
                self.look_again(file);
            }
            return;
        }
        let text = document.doc.text();
        let hash = *blake3::hash(&text::encode_file(&text, document.format)).as_bytes();
        match at_rest {
            Some(at_rest) if at_rest.hash == hash => {
                document.disk.merge = DiskMerge::new(text);
                document.disk.disk_hash = Some(hash);
                document.disk.signature = Some(at_rest.signature);
                self.at_rest(file);
            }
            _ => self.look_again(file),
        }
    }

    fn look_again(&mut self, file: FileId) {
        if let Some(path) = self.tree.path(file) {
            self.disk.forget(file);
            self.disk.changed.insert(path);
            self.inspect_changed();
        }
    }

    pub(in crate::room) fn resize_node(&mut self, file: FileId, size: u64) {
        if let Some(node) = self.tree.get(file).cloned() {
            self.note_change(Change::Put { id: file, node: Node { size, ..node } });
        }
    }
}

async fn look(
    link: &AgentLink,
    path: RelPath,
    wanted: bool,
    known: &HashMap<RelPath, tandem_proto::agent::Signature>,
) -> Result<Seen, LinkError> {
    let entry = match link.request(Op::Stat { path: path.clone() }).await? {
        AgentReply::Entry(entry) => entry,
        _ => return Err(LinkError::Protocol("a stat was answered with something else")),
    };
    let Some(entry) = entry.filter(|entry| entry.path == path) else {
        return Ok(Seen { path, entry: None, content: None, writes: 0 });
    };
    let changed = known.get(&path) != Some(&entry.signature);
    if !(wanted && changed && entry.kind == EntryKind::File)
        || entry.signature.size > limits::MAX_TEXT_BYTES as u64
    {
        return Ok(Seen { path, entry: Some(entry), content: None, writes: 0 });
    }
    let max_bytes = limits::MAX_TEXT_BYTES as u64;
    match link.request(Op::Read { path: path.clone(), max_bytes }).await {
        Ok(AgentReply::Content { content, entry }) => {
            Ok(Seen { path, entry: Some(entry), content: Some(content), writes: 0 })
        }
        Ok(_) => Err(LinkError::Protocol("a read was answered with something else")),
        Err(LinkError::Agent(AgentError::NotFound)) => {
            Ok(Seen { path, entry: None, content: None, writes: 0 })
        }
        Err(LinkError::Agent(_)) => Ok(Seen { path, entry: Some(entry), content: None, writes: 0 }),
        Err(error) => Err(error),
    }
}
