//! Documents come into memory: from snapshots, or made once from a file's bytes.
//!
//! Only the server makes a document from bytes, once, as a logged edit that nobody sees before it
//! is durable (golden rule 7): made twice, the text would be there twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tandem_doc::awareness::Awareness;
use tandem_doc::text::{self, TextFormat};
use tandem_doc::{DiskMerge, Document};
use tandem_proto::agent::{Op, Reply as AgentReply};
use tandem_proto::live::Refusal;
use tandem_proto::{FileId, Generation, Lsn, limits};

use tandem_store::{Authors, Snapshots};

use super::base::{Base, LoggedEdit, Seen};
use super::contents::{AtRest, Stored};
use super::documents::{DiskState, Loading, OpenDocument, Slot};
use super::{Continuation, Room};
use crate::lease::wall_ms;
use crate::shared::Shared;

/// What a document is made of.
pub(super) enum Source {
    /// Snapshots and logged edits: an existing history.
    History { generation: Generation, format: TextFormat, snapshots: Snapshots },
    /// A file's bytes: a new history.
    File(Bytes),
}

impl Room {
    /// Starts loading a document; its slot is [`Slot::Loading`] afterwards.
    pub(super) fn load_document(&mut self, file: FileId) {
        self.documents.insert(file, Slot::Loading(Loading::default()));
        if self.saved.is_unrecovered(file) {
            // Without the edits in the log it would be an older text.
            let reason = "its last edits are in the log and cannot be read";
            return self.load_failed(file, Refusal::Unavailable, reason);
        }
        match self.files.stored(file) {
            Some(Stored::Document { generation, format, snapshot, .. }) => {
                let (generation, format, saved) = (*generation, *format, snapshot.is_some());
                let store = self.store.clone();
                self.spawn(async move {
                    let outcome = match store.get_snapshots(file, generation).await {
                        // Never an empty document in the place of a lost one.
                        Ok(snapshots) if saved && snapshots.found.is_empty() => {
                            Err("its snapshot is missing in the blob store".to_owned())
                        }
                        Ok(snapshots) => Ok(Source::History { generation, format, snapshots }),
                        Err(error) => Err(error.to_string()),
                    };
                    loaded(file, outcome.map_err(|reason| (Refusal::Unavailable, reason)))
                });
            }
            Some(Stored::Blob(blob)) if !self.files.is_dirty(file) => {
                let blob = blob.clone();
                let store = self.store.clone();
                self.spawn(async move {
                    if blob.size > limits::MAX_TEXT_BYTES as u64 {
                        return loaded(
                            file,
                            Err((Refusal::NotText, "the file is too large".to_owned())),
                        );
                    }
                    let bytes = store.get_blob(&blob).await;
                    let outcome = bytes
                        .map(Source::File)
                        .map_err(|error| (Refusal::Unavailable, error.to_string()));
                    loaded(file, outcome)
                });
            }
            _ => self.load_from_disk(file),
        }
    }

    /// A file that only the sandbox has.
    fn load_from_disk(&mut self, file: FileId) {
        let (Some(link), Some(path)) = (self.sandbox.ready_link().cloned(), self.tree.path(file))
        else {
            if self.sandbox.is_coming() {
                self.waiting_for_sandbox.push(Box::new(move |room| {
                    if matches!(room.documents.slot_mut(file), Some(Slot::Loading(_))) {
                        room.load_from_disk(file);
                    }
                }));
            } else {
                self.load_failed(
                    file,
                    Refusal::Unavailable,
                    "the file is only in the sandbox, which is not running",
                );
            }
            return;
        };
        self.spawn(async move {
            let max_bytes = limits::MAX_TEXT_BYTES as u64;
            let outcome = match link.request(Op::Read { path, max_bytes }).await {
                Ok(AgentReply::Content { content, entry }) => {
                    return Box::new(move |room: &mut Room| {
                        room.files.remember(
                            file,
                            AtRest {
                                signature: entry.signature,
                                hash: *blake3::hash(&content).as_bytes(),
                            },
                        );
                        room.document_loaded(file, Source::File(content));
                    }) as Continuation;
                }
                Ok(_) => (Refusal::Unavailable, "the agent gave a wrong answer".to_owned()),
                Err(error) => match super::files::agent_error(&error) {
                    Some(tandem_proto::agent::AgentError::NotFound) => {
                        (Refusal::NotFound, error.to_string())
                    }
                    Some(_) => (Refusal::NotText, error.to_string()),
                    None => (Refusal::Unavailable, error.to_string()),
                },
            };
            loaded(file, Err(outcome))
        });
    }

    fn load_failed(&mut self, file: FileId, refusal: Refusal, reason: &str) {
        if refusal == Refusal::Unavailable {
            tracing::warn!(repl = %self.repl, %file, reason, "a document could not be loaded");
        }
        if refusal == Refusal::NotText {
            self.files.mark_not_text(file);
            self.tree_entry_changed(file);
        }
        if let Some(Slot::Loading(loading)) = self.documents.remove(file) {
            if !loading.after.is_empty() {
                self.saved.not_recovered(file);
            }
            for (peer, address, _) in loading.waiting {
                self.refuse_open(peer, &address, refusal);
            }
            for then in loading.then {
                then(self);
            }
        }
        self.saved.unsaved.remove(&file);
    }

    /// A document's bytes are here: builds it and answers everybody who waited.
    pub(super) fn document_loaded(&mut self, file: FileId, source: Source) {
        let after = match self.documents.slot_mut(file) {
            Some(Slot::Loading(loading)) => loading.after.clone(),
            _ => return,
        };
        let built = match source {
            Source::History { generation, format, snapshots } => {
                self.check_continuity(file, generation, &snapshots);
                let bases = self.bases.remove(&file).unwrap_or_default();
                self.build_from_history(generation, format, snapshots, &after, &bases)
            }
            Source::File(bytes) => self.build_from_file(file, &bytes),
        };
        let (document, seed) = match built {
            Ok(built) => built,
            Err((refusal, reason)) => return self.load_failed(file, refusal, &reason),
        };
        if seed.is_some() && !self.log_takes_records() {
            let reason = "the log takes nothing now, so no document can begin";
            return self.load_failed(file, Refusal::Unavailable, reason);
        }
        let generation = document.generation;
        let Some(Slot::Loading(loading)) =
            self.documents.insert(file, Slot::Open(Box::new(document)))
        else {
            return;
        };
        self.authors_loaded(file);
        if seed.is_some() {
            self.history.begins(file, generation);
        }
        if let Some((generation, format)) = seed.as_ref().map(|seed| (seed.generation, seed.format))
        {
            let stored =
                Stored::Document { generation, format, snapshot: None, hash: None, size: 0 };
            self.log_content(file, stored);
        }
        if let Some(update) = seed.and_then(|seed| seed.update) {
            self.server_edit(file, update, None);
            // The disk has these bytes already.
            if let Some(document) = self.documents.get_mut(file) {
                document.disk.written_edits = document.edits;
                document.disk.due = None;
                document.disk.oldest = None;
            }
            self.disk.unwritten.remove(&file);
        }
        if self.documents.get(file).is_some_and(OpenDocument::is_unsaved) {
            self.saved.unsaved.insert(file);
        }
        self.check_against_disk(file);
        for (peer, address, message) in loading.waiting {
            self.document_message(peer, address, message);
        }
        for then in loading.then {
            then(self);
        }
        if self.documents.get(file).is_some_and(|document| document.subscribers.is_empty()) {
            self.evict.insert(file);
        }
    }

    fn build_from_history(
        &self,
        generation: Generation,
        format: TextFormat,
        snapshots: Snapshots,
        after: &[LoggedEdit],
        bases: &[Base],
    ) -> Result<(OpenDocument, Option<Seed>), (Refusal, String)> {
        // A new id for each load: the history may hold what this room wrote under an earlier one,
        // and a document refuses updates in its own name.
        let mut doc = load_all(self.shared.random_client_id(), &snapshots)
            .map_err(|reason| (Refusal::Unavailable, reason))?;
        let now_ms = wall_ms();
        let mut merge = DiskMerge::unknown_base();
        let (mut fresh, mut written, mut known, mut rest) = (0, 0, None, after);
        let mut possible = Vec::new();
        // The disk's last texts, as they came to be: any of them may be what a program has read.
        for base in bases {
            let count = rest.iter().take_while(|edit| base.contains(edit)).count();
            let (contained, later) = rest.split_at(count);
            fresh += merge_logged(&mut doc, &mut merge, contained)?;
            rest = later;
            let is_text = |hash: [u8; 32]| {
                *blake3::hash(&text::encode_file(&doc.text(), format)).as_bytes() == hash
            };
            match base.seen {
                Seen::Held(hash) => {
                    if is_text(hash) {
                        let text = merge.begin_write(&doc, now_ms);
                        // The time without a server does not count: a program may have read
                        // it then.
                        merge.written(&text, now_ms);
                        (known, written) = (Some(hash), fresh);
                    } else {
                        (merge, known) = (DiskMerge::unknown_base(), None);
                    }
                    possible.push(hash);
                }
                Seen::Begun(hash) => {
                    if is_text(hash) {
                        // It may have been at its path for a moment, whatever came of it.
                        merge.begin_write(&doc, now_ms);
                    }
                    known = None;
                    possible.push(hash);
                }
                Seen::Merged => known = None,
            }
        }
        if known.is_none() {
            merge = DiskMerge::unknown_base();
        }
        fresh += merge_logged(&mut doc, &mut merge, rest)?;
        let mut document = open_document(doc, generation, format, merge);
        document.edits = fresh;
        document.disk.written_edits = written;
        document.disk.disk_hash = known;
        document.disk.possible = possible;
        if fresh > 0 {
            document.unsaved_since = Some(Instant::now());
        }
        for snapshot in &snapshots.found {
            document.authors.merge(&snapshot.content.authors);
        }
        document.merged = snapshots.merged;
        Ok((document, None))
    }

    fn build_from_file(
        &self,
        file: FileId,
        bytes: &[u8],
    ) -> Result<(OpenDocument, Option<Seed>), (Refusal, String)> {
        let (text, format) =
            text::decode_file(bytes).map_err(|reason| (Refusal::NotText, reason.to_string()))?;
        let unusable = |reason: tandem_doc::Rejected| (Refusal::Unavailable, reason.to_string());
        let (client, generation) = seed_identity(file, bytes);
        let update = Document::new(client).replace(&text).map_err(unusable)?;
        let mut doc = Document::new(self.shared.random_client_id());
        if let Some(update) = &update {
            doc.merge_stored(update).map_err(unusable)?;
        }
        let mut document = open_document(doc, generation, format, DiskMerge::new(text));
        document.disk.disk_hash = Some(*blake3::hash(bytes).as_bytes());
        document.disk.signature = self.files.at_rest(file).map(|at_rest| at_rest.signature);
        Ok((document, Some(Seed { generation, format, update })))
    }

    /// Does something when a document is there, or could not be loaded.
    pub(super) fn when_loaded(
        &mut self,
        file: FileId,
        then: impl FnOnce(&mut Room) + Send + 'static,
    ) {
        if self.documents.slot_mut(file).is_none() {
            self.load_document(file);
        }
        match self.documents.slot_mut(file) {
            Some(Slot::Loading(loading)) => loading.then.push(Box::new(then)),
            _ => then(self),
        }
    }

    /// Loads a document that the log has edits for.
    pub(super) fn load_with_log(&mut self, edits: HashMap<FileId, Vec<(Generation, LoggedEdit)>>) {
        for (file, updates) in edits {
            if self.tree.get(file).is_some() {
                self.note_logged(file, &updates);
            }
            let updates: Vec<LoggedEdit> = updates.into_iter().map(|(_, update)| update).collect();
            if self.tree.get(file).is_none() || updates.is_empty() {
                continue;
            }
            self.load_document(file);
            if let Some(Slot::Loading(loading)) = self.documents.slot_mut(file) {
                loading.after = updates;
            }
            self.saved.unsaved.insert(file);
        }
    }
}

impl Room {
    /// Starts a new history with the current text: this one cannot be stored, because somebody
    /// forged an update. Everybody who has it open drops their copy and opens it again.
    pub(super) fn start_new_history(&mut self, file: FileId) {
        let Some(Slot::Open(old)) = self.documents.remove(file) else { return };
        tracing::warn!(repl = %self.repl, %file, "a forged update made a document's history unusable; it goes on as a new one");
        let text = old.doc.text();
        let mut doc = Document::new(self.shared.random_client_id());
        let Ok(seed) = doc.replace(&text) else { return };
        let generation = Generation(old.generation.0 + 1);
        let mut fresh = open_document(doc, generation, old.format, DiskMerge::unknown_base());
        fresh.disk.disk_hash = old.disk.disk_hash;
        fresh.disk.signature = old.disk.signature;
        self.documents.insert(file, Slot::Open(Box::new(fresh)));
        for (peer, subscription) in old.subscribers {
            self.reset_peer(peer, &subscription.address, Refusal::Malformed);
        }
        let format = old.format;
        self.log_content(
            file,
            Stored::Document { generation, format, snapshot: None, hash: None, size: 0 },
        );
        self.history.begins(file, generation);
        if let Some(update) = seed {
            self.server_edit(file, update, None);
        }
    }
}

struct Seed {
    generation: Generation,
    format: TextFormat,
    update: Option<Vec<u8>>,
}

/// Who writes a file's bytes into its document, and the history that begins with them. A seed can
/// be lost with its machine after a browser got it. Made again from the same bytes it is the same
/// edit, so that the browser's copy merges with it; from other bytes it is another history, so that
/// the copy is not merged.
fn seed_identity(file: FileId, bytes: &[u8]) -> (u64, Generation) {
    let mut hasher = blake3::Hasher::new();
    hasher.update(file.as_str().as_bytes()).update(bytes);
    let mut numbers = hasher.finalize_xof();
    let mut number = || {
        let mut bytes = [0; 8];
        numbers.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    };
    // In the range of random client ids. Generations leave room for the ones that come after.
    let client = (1 << 32) + number() % ((1 << 53) - (1 << 32));
    (client, Generation(1 + number() % (1 << 32)))
}

fn open_document(
    doc: Document,
    generation: Generation,
    format: TextFormat,
    merge: DiskMerge,
) -> OpenDocument {
    OpenDocument {
        doc,
        generation,
        awareness: Awareness::new(),
        subscribers: HashMap::new(),
        format,
        edits: 0,
        saved_edits: 0,
        last_lsn: Lsn(0),
        merged: BTreeMap::new(),
        authors: Authors::default(),
        unsaved_since: None,
        last_edit: Instant::now(),
        unsaved_bytes: 0,
        hidden_until: None,
        disk: DiskState::at_rest(merge, 0),
    }
}

/// Applies logged edits; how many brought something new.
fn merge_logged(
    doc: &mut Document,
    merge: &mut DiskMerge,
    edits: &[LoggedEdit],
) -> Result<u64, (Refusal, String)> {
    let mut fresh = 0;
    for edit in edits {
        match merge.note_edit(doc).and_then(|()| doc.merge_stored(&edit.update)) {
            Ok(tandem_doc::Applied::New) => fresh += 1,
            Ok(tandem_doc::Applied::Known) => {}
            Err(reason) => {
                let reason = format!("a logged edit does not apply: {reason}");
                return Err((Refusal::Unavailable, reason));
            }
        }
    }
    Ok(fresh)
}

fn loaded(file: FileId, outcome: Result<Source, (Refusal, String)>) -> Continuation {
    Box::new(move |room| match outcome {
        Ok(source) => room.document_loaded(file, source),
        Err((refusal, reason)) => room.load_failed(file, refusal, &reason),
    })
}

/// Merges all snapshots of one history: an idempotent union, whatever wrote them.
pub(super) fn load_all(client_id: u64, snapshots: &Snapshots) -> Result<Document, String> {
    let mut doc = Document::new(client_id);
    for snapshot in &snapshots.found {
        doc.merge_stored(&snapshot.content.state)
            .map_err(|reason| format!("a stored snapshot does not apply: {reason}"))?;
    }
    Ok(doc)
}

/// The bytes of a file that has a stored document, without opening it in the room.
pub(super) async fn stored_text(
    shared: &Arc<Shared>,
    store: &tandem_store::ReplStore,
    file: FileId,
    generation: Generation,
    format: TextFormat,
) -> Result<Bytes, String> {
    let snapshots =
        store.get_snapshots(file, generation).await.map_err(|error| error.to_string())?;
    if snapshots.found.is_empty() {
        return Err("it has no snapshot in the blob store".to_owned());
    }
    let client_id = shared.random_client_id();
    let doc = load_all(client_id, &snapshots)?;
    Ok(text::encode_file(&doc.text(), format).into())
}
