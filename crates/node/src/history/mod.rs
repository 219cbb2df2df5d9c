//! Reading a file's history: packs and what waits for one, put in order, and what people ask of
//! them. Pure and sometimes long: callers run it beside the runtime and say how long it may take.
//!
//! Updates from packs pass the same scan and gate as a client's before yrs sees them. One that does
//! not fit is passed over: the next state in the packs brings its text back.

mod blame;
mod playback;
mod sessions;
#[cfg(test)]
mod tests;
mod thin;
mod timeline;

use std::time::Instant;

use bytes::Bytes;
use tandem_proto::history::HistoryAuthor;
use tandem_proto::{FileId, Generation};
use tandem_store::{
    Authors, ObjectError, PackedEdit, PackedFile, ReplStore, Snapshots, StoredPack,
};

pub use sessions::Page;
pub use thin::{Retention, join, thin};
pub use timeline::Timeline;

/// Stored bytes of packs that are read for one answer.
const MAX_PACK_BYTES: u64 = 128 * 1024 * 1024;
/// Packs fetched at once.
const PARALLEL: usize = 8;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Nothing is known of that moment.
    #[error("nothing is known of this file at that time")]
    Nothing,
    /// It would take too long.
    #[error("the history of this file is too long to be read at once")]
    TooLong,
    /// A stored object cannot be read.
    #[error("a part of the history cannot be read: {0}")]
    Unreadable(#[from] ObjectError),
    /// A document failed.
    #[error("the history cannot be replayed")]
    Broken,
}

/// Everything that a room knows of a file's history, without having read any of it.
#[derive(Debug)]
pub struct HistorySource {
    /// The file.
    pub file: FileId,
    /// The history of its document, if it has one now.
    pub generation: Option<Generation>,
    /// Packs with something of the file, in order.
    pub packs: Vec<StoredPack>,
    /// What no pack has yet.
    pub waiting: Vec<(Generation, Vec<PackedEdit>)>,
    /// Names.
    pub people: Vec<HistoryAuthor>,
    /// Whose client ids are, as far as the room has the document in memory.
    pub authors: Authors,
    /// The document as it is, when it is in memory.
    pub state: Option<Bytes>,
}

/// When to give up.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

impl Deadline {
    fn check(self) -> Result<(), HistoryError> {
        if Instant::now() < self.0 { Ok(()) } else { Err(HistoryError::TooLong) }
    }
}

/// What was read for a [`HistorySource`].
#[derive(Debug)]
pub struct Material {
    /// Where it is from.
    pub source: HistorySource,
    /// The file's part of each pack, in order.
    files: Vec<PackedFile>,
    /// Names in the packs.
    people: Vec<HistoryAuthor>,
    /// The snapshots, where the document is not in memory and was asked for.
    snapshots: Snapshots,
}

impl Material {
    /// Fetches the packs.
    ///
    /// # Errors
    /// When there are too many, or one cannot be read.
    pub async fn fetch(store: &ReplStore, source: HistorySource) -> Result<Self, HistoryError> {
        use futures_util::{StreamExt as _, TryStreamExt as _, stream};
        if source.packs.iter().map(|pack| pack.bytes).sum::<u64>() > MAX_PACK_BYTES {
            return Err(HistoryError::TooLong);
        }
        let file = source.file;
        let keys: Vec<String> = source.packs.iter().map(|pack| pack.key.clone()).collect();
        // Of each pack only the file's part stays in memory.
        let parts: Vec<(Vec<PackedFile>, Vec<HistoryAuthor>)> = stream::iter(keys)
            .map(|key| async move {
                let pack = store.get_history(&key).await?;
                let files = pack.files.into_iter().filter(|of| of.file == file).collect();
                Ok::<_, ObjectError>((files, pack.people))
            })
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        let (mut files, mut people) = (Vec::new(), Vec::new());
        for (of_file, names) in parts {
            files.extend(of_file);
            people.extend(names);
        }
        Ok(Self { source, files, people, snapshots: Snapshots::default() })
    }

    /// Fetches the present document too, where the room does not have it in memory.
    ///
    /// # Errors
    /// When a snapshot cannot be read.
    pub async fn with_present(mut self, store: &ReplStore) -> Result<Self, HistoryError> {
        if let (None, Some(generation)) = (&self.source.state, self.source.generation) {
            self.snapshots = store.get_snapshots(self.source.file, generation).await?;
        }
        Ok(self)
    }
}
