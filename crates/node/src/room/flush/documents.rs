//! Documents to snapshots: states and positions of one turn, verified before they are named.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use tandem_doc::Document;
use tandem_doc::text::{self, TextFormat};
use tandem_proto::{Epoch, FileId, Generation, Lsn};
use tandem_store::{Authors, ContentHash, NewSnapshot, ReplStore};

use super::{FlushError, store_error};
use crate::room::contents::Stored;
use crate::room::{PeerId, Room};

/// One document as it was in one turn.
pub(super) struct Captured {
    /// Which.
    pub file: FileId,
    generation: Generation,
    format: TextFormat,
    state: Bytes,
    text: String,
    merged: BTreeMap<Epoch, Lsn>,
    authors: Authors,
    edits: u64,
    lsn: Lsn,
    readers: Vec<(PeerId, u64)>,
    /// The disk has, or will be given, exactly this text.
    on_disk: bool,
}

impl Room {
    /// Every document with edits above its last snapshot; the one whose state cannot be encoded
    /// is the error.
    pub(super) fn capture_documents(&self) -> Result<Vec<Captured>, FileId> {
        let mut documents = Vec::new();
        for file in &self.saved.unsaved {
            let Some(document) = self.documents.get(*file) else { continue };
            if !document.is_unsaved() {
                continue;
            }
            let Ok(state) = document.doc.encode_state() else { return Err(*file) };
            let readers = document
                .subscribers
                .iter()
                .map(|(peer, subscription)| (*peer, subscription.applied_seq))
                .collect();
            documents.push(Captured {
                file: *file,
                generation: document.generation,
                format: document.format,
                state: state.into(),
                merged: document.merged.clone(),
                authors: document.authors.clone(),
                text: document.doc.text(),
                edits: document.edits,
                lsn: self.last_lsn,
                readers,
                on_disk: !self.sandbox.is_up() || !document.is_unwritten(),
            });
        }
        Ok(documents)
    }

    /// A committed manifest names the snapshot: what was edited meanwhile stays owed.
    pub(super) fn document_saved(&mut self, captured: Captured, stored: Stored) {
        let file = captured.file;
        if self.tree.get(file).is_some() {
            self.files.set_stored(file, stored);
        }
        let Some(document) = self.documents.get_mut(file) else { return };
        document.saved_edits = captured.edits;
        document.unsaved_bytes = 0;
        if document.is_unsaved() {
            document.unsaved_since = Some(Instant::now());
        } else {
            document.unsaved_since = None;
            self.saved.unsaved.remove(&file);
            if document.subscribers.is_empty() {
                self.evict.insert(file);
            }
        }
        for (peer, seq) in captured.readers {
            if seq > 0 {
                self.became_saved(peer, file, seq);
            }
        }
    }
}

/// Writes a snapshot of each document.
pub(super) async fn store(
    store: &ReplStore,
    epoch: Epoch,
    documents: Vec<Captured>,
) -> Result<Vec<(Captured, Stored)>, FlushError> {
    let mut saved = Vec::with_capacity(documents.len());
    for captured in documents {
        let captured = verify(captured).await?;
        let snapshot = NewSnapshot {
            epoch,
            file: captured.file,
            generation: captured.generation,
            lsn: captured.lsn,
            state: captured.state.clone(),
            text_hash: ContentHash::of(captured.text.as_bytes()),
            merged: captured.merged.clone(),
            authors: captured.authors.clone(),
        };
        let key = store.put_snapshot(&snapshot).await.map_err(store_error)?;
        let bytes = text::encode_file(&captured.text, captured.format);
        let document = Stored::Document {
            generation: captured.generation,
            format: captured.format,
            snapshot: Some(key),
            hash: captured.on_disk.then(|| *blake3::hash(&bytes).as_bytes()),
            size: bytes.len() as u64,
        };
        saved.push((captured, document));
    }
    Ok(saved)
}

/// A snapshot is trusted after it was loaded again and compared.
async fn verify(captured: Captured) -> Result<Captured, FlushError> {
    tokio::task::spawn_blocking(move || match Document::load(1, &captured.state) {
        Ok(document) if document.text() == captured.text => Ok(captured),
        _ => Err(FlushError::Diverged(captured.file)),
    })
    .await
    .map_err(store_error)?
}
