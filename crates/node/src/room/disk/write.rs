//! Document → disk: coalesced, compare-and-swap, never over bytes that were not read.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tandem_doc::text;
use tandem_proto::agent::{Entry, Expect, Found, Op, Reply as AgentReply};
use tandem_proto::live::Refusal;
use tandem_proto::{FileId, Lsn};
use tandem_sandbox::LinkError;

use super::BARRIER;
use crate::lease::wall_ms;
use crate::room::base::Seen;
use crate::room::{Continuation, Room};

/// After a failed write.
const RETRY: Duration = Duration::from_secs(1);

/// Before the next try to write a file while the log takes nothing.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// A write that was sent to the agent.
struct Write {
    file: FileId,
    edits: u64,
    last_lsn: Lsn,
    text: std::sync::Arc<str>,
    hash: [u8; 32],
}

impl Room {
    /// Sends every write that is due.
    pub(in crate::room) fn write_due_documents(&mut self, now: Instant) {
        if self.sandbox.ready_link().is_some() {
            let due: Vec<FileId> = self
                .disk
                .unwritten
                .iter()
                .copied()
                .filter(|file| {
                    self.documents
                        .get(*file)
                        .is_some_and(|document| document.disk.due.is_some_and(|due| due <= now))
                })
                .collect();
            for file in due {
                self.write_document(file);
            }
        } else {
            // Nothing can be written; the sandbox's start brings everything up to date.
            for file in self.disk.unwritten.drain() {
                if let Some(document) = self.documents.get_mut(file) {
                    document.disk.due = None;
                }
            }
        }
        self.pass_barriers(now);
    }

    /// Everything that the disk lacks is due now.
    pub(in crate::room) fn write_everything_unwritten(&mut self) {
        let now = Instant::now();
        for (file, document) in self.documents.open_mut() {
            if document.edits != document.disk.written_edits {
                document.disk.due = Some(now);
                self.disk.unwritten.insert(file);
            }
        }
        self.write_due_documents(now);
    }

    /// Does something when the disk has what the editors show (before Run, and before leaving).
    pub(in crate::room) fn when_written(&mut self, then: impl FnOnce(&mut Room) + Send + 'static) {
        self.disk.barriers.push((Instant::now() + BARRIER, Box::new(then)));
        self.write_everything_unwritten();
    }

    fn pass_barriers(&mut self, now: Instant) {
        if self.disk.barriers.is_empty() {
            return;
        }
        let written = self.disk.unwritten.is_empty() || self.sandbox.ready_link().is_none();
        let (passed, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.disk.barriers)
            .into_iter()
            .partition(|(until, _)| written || *until <= now);
        self.disk.barriers = waiting;
        for (_, then) in passed {
            then(self);
        }
    }

    fn write_document(&mut self, file: FileId) {
        let (Some(link), path) = (self.sandbox.ready_link().cloned(), self.tree.path(file)) else {
            return;
        };
        let Some(document) = self.documents.get_mut(file) else { return };
        if document.disk.in_flight {
            // The answer looks again.
            document.disk.due = None;
            return;
        }
        if !self.log_takes_records() {
            return self.write_soon(file, LOG_PAUSE);
        }
        let Some(document) = self.documents.get_mut(file) else { return };
        if document.doc.needs_normalizing() && path.is_some() {
            let noted = document.disk.merge.note_edit(&document.doc);
            match noted.and_then(|()| document.doc.normalize()) {
                Ok(Some(update)) => self.server_edit(file, update, None),
                Ok(None) => {}
                Err(_) => return self.document_broke(file),
            }
        }
        let Some(document) = self.documents.get_mut(file) else { return };
        let Some(path) = path else {
            // Its file was deleted; an edit by a person brings it back first.
            document.disk.due = None;
            document.disk.written_edits = document.edits;
            self.disk.unwritten.remove(&file);
            return;
        };
        let text = document.disk.merge.begin_write(&document.doc, wall_ms());
        let bytes: Bytes = text::encode_file(&text, document.format).into();
        let hash = *blake3::hash(&bytes).as_bytes();
        if document.disk.disk_hash == Some(hash) {
            document.disk.merge.written(&text, wall_ms());
            return self.at_rest(file);
        }
        document.disk.in_flight = true;
        document.disk.writes += 1;
        document.disk.due = None;
        let expect = document.disk.disk_hash.map_or(Expect::Absent, Expect::Content);
        let write = Write { file, edits: document.edits, last_lsn: document.last_lsn, text, hash };
        let last = document.last_lsn;
        let Some(known) = self.log_base(file, Seen::Begun(hash), last) else { return };
        let shared = self.shared.clone();
        self.spawn(async move {
            let op = Op::Write { path, content: bytes, executable: None, expect };
            let outcome = match shared.log.wait_durable(known).await {
                Ok(()) => link.request(op).await,
                Err(_) => Err(LinkError::Busy),
            };
            Box::new(move |room: &mut Room| room.wrote(write, outcome)) as Continuation
        });
    }

    fn wrote(&mut self, write: Write, outcome: Result<AgentReply, LinkError>) {
        let Some(document) = self.documents.get_mut(write.file) else { return };
        document.disk.in_flight = false;
        match outcome {
            Ok(AgentReply::Written { entry }) => self.write_landed(&write, &entry),
            Ok(AgentReply::Conflict { found }) => self.write_met(write.file, found),
            Ok(_) => self.write_failed(write.file, "the agent gave a wrong answer"),
            Err(error) => self.write_failed(write.file, &error.to_string()),
        }
        self.pass_barriers(Instant::now());
        self.inspect_changed();
    }

    fn write_landed(&mut self, write: &Write, entry: &Entry) {
        let file = write.file;
        self.log_base(file, Seen::Held(write.hash), write.last_lsn);
        self.disk.saw(file, entry.signature);
        let Some(document) = self.documents.get_mut(file) else { return };
        document.disk.disk_hash = Some(write.hash);
        document.disk.signature = Some(entry.signature);
        document.disk.oldest = None;
        document.disk.merge.written(&write.text, wall_ms());
        document.disk.written_edits = write.edits;
        let behind = document.edits != write.edits;
        if let Some(size) = self.tree.get(file).map(|node| node.size)
            && size != entry.signature.size
        {
            self.resize_node(file, entry.signature.size);
        }
        if behind {
            self.write_soon(file, self.shared.room.write_after);
        } else {
            self.at_rest(file);
        }
    }

    /// A program wrote first: its bytes are merged, then we try again.
    fn write_met(&mut self, file: FileId, found: Found) {
        if !self.log_takes_records() {
            // The next try finds it again.
            return self.write_soon(file, LOG_PAUSE);
        }
        match found {
            Found::Absent => {
                if let Some(document) = self.documents.get_mut(file) {
                    document.disk.disk_hash = None;
                    document.disk.signature = None;
                }
                self.write_soon(file, Duration::ZERO);
            }
            Found::File { content, entry } => {
                self.ingest(file, &content, &entry);
                if self
                    .documents
                    .get(file)
                    .is_some_and(|document| document.edits != document.disk.written_edits)
                {
                    self.write_soon(file, Duration::ZERO);
                }
            }
            Found::Other(entry) => {
                tracing::info!(repl = %self.repl, %file, kind = ?entry.kind, "a program put something else in a file's place");
                self.drop_document(file, Refusal::NotText);
                self.disk.changed.insert(entry.path);
            }
        }
    }

    fn write_failed(&mut self, file: FileId, reason: &str) {
        tracing::warn!(repl = %self.repl, %file, reason, "a document could not be written to disk");
        self.write_soon(file, RETRY);
    }

    fn write_soon(&mut self, file: FileId, after: Duration) {
        let now = Instant::now();
        if let Some(document) = self.documents.get_mut(file) {
            document.disk.due = Some(now + after);
            document.disk.oldest.get_or_insert(now);
            self.disk.unwritten.insert(file);
        }
    }

    /// The disk has the document's text.
    pub(in crate::room) fn at_rest(&mut self, file: FileId) {
        self.disk.unwritten.remove(&file);
        if let Some(document) = self.documents.get_mut(file) {
            document.disk.written_edits = document.edits;
            document.disk.due = None;
            document.disk.oldest = None;
            if document.subscribers.is_empty() {
                self.evict.insert(file);
            }
        }
    }

    /// A document leaves memory: its file's state is kept.
    pub(in crate::room) fn remember_at_rest(&mut self, file: FileId) {
        let Some(disk) = self.documents.get(file).map(|document| &document.disk) else { return };
        if let (Some(signature), Some(hash)) = (disk.signature, disk.disk_hash) {
            self.files.remember(file, crate::room::contents::AtRest { signature, hash });
        }
    }
}
