//! Files without a document: what programs wrote, read from the sandbox and stored.

use std::time::Instant;

use tandem_proto::agent::{AgentError, Op, Reply as AgentReply};
use tandem_proto::{FileId, RelPath, limits};
use tandem_sandbox::{AgentLink, LinkError};
use tandem_store::{BlobRef, ReplStore};

use super::{FlushError, store_error};
use crate::archive::tar;
use crate::room::Room;
use crate::room::files::Stored;

/// A file that the disk has newer than the blob store.
pub(super) struct Dirty {
    file: FileId,
    path: RelPath,
    since: Instant,
}

/// What became of a [`Dirty`] file.
pub(super) struct StoredFile {
    /// Which.
    pub file: FileId,
    since: Instant,
    /// Its content; `None` when it is gone or cannot be read.
    pub blob: Option<BlobRef>,
}

impl Room {
    /// Dirty files that a sandbox can be asked for.
    pub(super) fn capture_files(&self) -> Vec<Dirty> {
        if self.sandbox.ready_link().is_none() {
            return Vec::new();
        }
        self.files
            .dirty()
            .filter(|(file, _)| !self.project.skips(self.tree.path(*file).as_ref()))
            .filter_map(|(file, since)| Some(Dirty { file, path: self.tree.path(file)?, since }))
            .collect()
    }

    /// A committed manifest names the blobs: what changed meanwhile stays owed.
    pub(super) fn files_saved(&mut self, files: Vec<StoredFile>) {
        for StoredFile { file, since, blob } in files {
            self.files.mark_stored(file, since);
            if let Some(blob) = blob
                && self.tree.get(file).is_some()
                && !matches!(self.files.stored(file), Some(Stored::Document { .. }))
            {
                self.files.set_stored(file, Stored::Blob(blob));
            }
        }
        if self.files.dirty().next().is_some() {
            self.saved.files_changed();
        }
    }
}

/// Stores each file.
pub(super) async fn store(
    store: &ReplStore,
    link: Option<&AgentLink>,
    files: Vec<Dirty>,
) -> Result<Vec<StoredFile>, FlushError> {
    let Some(link) = link else { return Ok(Vec::new()) };
    let mut stored = Vec::with_capacity(files.len());
    for Dirty { file, path, since } in files {
        let blob = store_file(store, link, path).await?;
        stored.push(StoredFile { file, since, blob });
    }
    Ok(stored)
}

/// Stores one file of the workspace; `None` when it is gone or cannot be read.
async fn store_file(
    store: &ReplStore,
    link: &AgentLink,
    path: RelPath,
) -> Result<Option<BlobRef>, FlushError> {
    let content = match link
        .request(Op::Read { path: path.clone(), max_bytes: limits::MAX_TEXT_BYTES as u64 })
        .await
    {
        Ok(AgentReply::Content { content, .. }) => Some(content),
        Ok(_) => None,
        Err(LinkError::Agent(AgentError::TooLarge)) => tar::read_one(link, &path).await,
        Err(LinkError::Agent(_)) => None,
        Err(_) => return Err(FlushError::Gone),
    };
    let Some(content) = content else { return Ok(None) };
    store.put_blob(content).await.map(Some).map_err(store_error)
}
