//! Reading one ignored folder out of a sandbox, and storing it in pieces.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{TryStreamExt as _, stream};
use tandem_proto::RelPath;
use tandem_sandbox::{AgentLink, LinkError};
use tandem_store::{ContentHash, ReplStore, StoredFolder};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::pieces::{Pieces, Walk};

/// How long a sandbox may be silent in the middle of a folder.
const STALL: Duration = Duration::from_secs(60);
/// Pieces on their way to the blob store; each is held in memory.
const AT_ONCE: usize = 3;

/// Why a folder was not saved.
#[derive(Debug)]
pub(super) enum Unsaved {
    /// More bytes than are left of the quota, or more files than would be unpacked again.
    TooLarge,
    /// The sandbox did not give it.
    Unread(String),
    /// The blob store did not take it.
    Store(String),
}

/// What a save may use, and used.
pub(super) struct Budget {
    /// Bytes left of the quota.
    pub left: u64,
    /// What is stored already.
    pub known: Arc<HashSet<ContentHash>>,
    /// Bytes that were stored, whether or not their folder was saved as a whole.
    pub stored: u64,
    /// What is left out.
    pub skip: Vec<String>,
}

/// Reads one folder and stores it.
pub(super) async fn save(
    link: &AgentLink,
    store: &ReplStore,
    path: &RelPath,
    budget: &mut Budget,
) -> Result<StoredFolder, Unsaved> {
    let unread = |error: LinkError| Unsaved::Unread(error.to_string());
    let tar = link.pack_without(vec![path.clone()], budget.skip.clone()).await.map_err(unread)?;
    let reading = Reading::new(tar, budget.left);
    let known = budget.known.clone();
    let pieces = stream::try_unfold(reading, |mut reading| async move {
        Ok(reading.next().await?.map(|piece| (piece, reading)))
    });
    let mut storing = std::pin::pin!(
        pieces
            .map_ok(|piece| {
                let (store, known) = (store.clone(), known.clone());
                async move {
                    let put = store.put_blob_unless_known(piece.into(), &known).await;
                    put.map_err(|error| Unsaved::Store(error.to_string()))
                }
            })
            .try_buffered(AT_ONCE)
    );
    let mut folder =
        StoredFolder { path: path.clone(), chunks: Vec::new(), bytes: 0, behind: false };
    while let Some((blob, new)) = storing.try_next().await? {
        budget.stored += if new { blob.size } else { 0 };
        folder.bytes += blob.size;
        folder.chunks.push(blob);
    }
    budget.left = budget.left.saturating_sub(folder.bytes);
    Ok(folder)
}

/// A tar on its way from a sandbox. What sends it is hostile: it is bounded in length, files and
/// time, and only one that comes to its end is a folder.
struct Reading<R> {
    tar: R,
    walk: Walk,
    pieces: Option<Pieces>,
    buffer: Vec<u8>,
    /// What of the buffer is not cut yet.
    uncut: std::ops::Range<usize>,
    left: u64,
}

impl<R: AsyncRead + Unpin> Reading<R> {
    fn new(tar: R, left: u64) -> Self {
        Self {
            tar,
            walk: Walk::default(),
            pieces: Some(Pieces::default()),
            buffer: vec![0; 64 * 1024],
            uncut: 0..0,
            left,
        }
    }

    /// The next piece; `None` after the last.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Unsaved> {
        loop {
            let Some(pieces) = &mut self.pieces else { return Ok(None) };
            let mut bytes = &self.buffer[self.uncut.clone()];
            let piece = pieces.feed(&mut bytes);
            self.uncut.start = self.uncut.end - bytes.len();
            if piece.is_some() {
                return Ok(piece);
            }
            let read = tokio::time::timeout(STALL, self.tar.read(&mut self.buffer)).await;
            let read = read.map_err(|_| Unsaved::Unread("the sandbox is silent".to_owned()))?;
            let length = read.map_err(|error| Unsaved::Unread(error.to_string()))?;
            if length == 0 {
                return self.last();
            }
            self.left = self.left.checked_sub(length as u64).ok_or(Unsaved::TooLarge)?;
            self.walk.feed(&self.buffer[..length]);
            if self.walk.is_too_long() {
                return Err(Unsaved::TooLarge);
            }
            self.uncut = 0..length;
        }
    }

    fn last(&mut self) -> Result<Option<Vec<u8>>, Unsaved> {
        if !self.walk.is_whole() {
            return Err(Unsaved::Unread("it could not be read as a whole".to_owned()));
        }
        Ok(self.pieces.take().map(Pieces::rest).filter(|rest| !rest.is_empty()))
    }
}
