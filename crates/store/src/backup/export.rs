//! Repls to an archive. A server may be running: what is taken is the newest saved state.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tandem_proto::ReplId;
use tokio::io::AsyncWrite;

use super::archive::{Frame, Writer};
use super::{BackupError, Progress};
use crate::blob::BlobStore;
use crate::object::{self, ObjectError};
use crate::repl::{Kept, ReplStore};

/// Objects read ahead; each is held in memory.
const AHEAD: usize = 4;
/// A running server may replace an object between the manifest and its reading.
const TRIES: usize = 5;

/// Writes these repls with everything they have: tree, documents with history and authors, files,
/// checkpoints, output of terminals, and their catalogue records.
///
/// # Errors
/// See [`BackupError`]. What was written until then is no archive.
pub async fn export<W: AsyncWrite + Unpin>(
    blobs: &Arc<dyn BlobStore>,
    repls: &[ReplId],
    to: W,
    mut progress: impl FnMut(Progress),
) -> Result<Progress, BackupError> {
    let mut writer = Writer::new(to).await?;
    let mut done = Progress { of: Some(repls.len()), ..Progress::default() };
    for repl in repls {
        done.repls += 1;
        progress(done);
        let store = ReplStore::new(blobs.clone(), *repl);
        one(&store, &mut writer, &mut done, &mut progress).await?;
    }
    writer.end().await?;
    Ok(done)
}

async fn one<W: AsyncWrite + Unpin>(
    store: &ReplStore,
    writer: &mut Writer<W>,
    done: &mut Progress,
    progress: &mut impl FnMut(Progress),
) -> Result<(), BackupError> {
    let repl = store.repl();
    writer.put(&Frame::Repl(repl.to_string())).await?;
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for _ in 0..TRIES {
        let kept = store.load_kept().await?.ok_or(BackupError::NoRepl(repl))?;
        let wanted: Vec<String> = named(store, &kept).await?.difference(&taken).cloned().collect();
        let mut missing = None;
        let mut reading = stream::iter(wanted)
            .map(|key| async move { (store.checked(&key).await, key) })
            .buffered(AHEAD);
        while let Some((object, key)) = reading.next().await {
            match object {
                Ok(object) => {
                    put(writer, key.clone(), object, done, progress).await?;
                    taken.insert(key);
                }
                Err(error @ ObjectError::Missing { .. }) => missing = Some((key, error)),
                Err(error) => return Err(error.into()),
            }
        }
        drop(reading);
        match missing {
            None => return finish(store, &kept, writer, done, progress).await,
            // Replaced by now, if a server runs; lost for good, if the newest state still names it.
            Some((key, error)) => {
                let again = store.load_kept().await?.ok_or(BackupError::NoRepl(repl))?;
                if again.head.0 == kept.head.0 && !store.is_scrollback(&key) {
                    return Err(error.into());
                }
                if again.head.0 == kept.head.0 {
                    return finish(store, &kept, writer, done, progress).await;
                }
            }
        }
    }
    Err(BackupError::Moving(repl))
}

async fn named(store: &ReplStore, kept: &Kept) -> Result<BTreeSet<String>, ObjectError> {
    let index = store.snapshot_index().await?;
    let mut keys = BTreeSet::new();
    for (_, manifest) in kept.manifests() {
        keys.extend(store.named(manifest, &index));
    }
    Ok(keys)
}

/// Manifests and the catalogue record come last: they make the rest a repl.
async fn finish<W: AsyncWrite + Unpin>(
    store: &ReplStore,
    kept: &Kept,
    writer: &mut Writer<W>,
    done: &mut Progress,
    progress: &mut impl FnMut(Progress),
) -> Result<(), BackupError> {
    for (key, _) in kept.manifests() {
        let object = store.checked(key).await?;
        put(writer, key.clone(), object, done, progress).await?;
    }
    if let Some(key) = store.newest_meta().await? {
        let object = store.checked(&key).await?;
        put(writer, key, object, done, progress).await?;
    }
    writer.put(&Frame::ReplEnd(store.repl().to_string())).await
}

async fn put<W: AsyncWrite + Unpin>(
    writer: &mut Writer<W>,
    key: String,
    object: Bytes,
    done: &mut Progress,
    progress: &mut impl FnMut(Progress),
) -> Result<(), BackupError> {
    done.objects += 1;
    done.bytes += object.len() as u64;
    writer.put(&Frame::Object(key, object)).await?;
    progress(*done);
    Ok(())
}

impl ReplStore {
    /// An object as it is stored, if its checksum holds: what is damaged is not passed on.
    async fn checked(&self, key: &str) -> Result<Bytes, ObjectError> {
        self.check_own(key)?;
        let object = self.blobs().get(key).await?;
        let object = object.ok_or_else(|| ObjectError::Missing { key: key.to_owned() })?;
        object::verify(key, object.clone()).await?;
        Ok(object)
    }
}
