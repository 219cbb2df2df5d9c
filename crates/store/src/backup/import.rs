//! An archive to repls: new ones, or the same ones where they are gone.
//!
//! What comes from an archive is as foreign as any upload: frames and objects are checked, keys are
//! ours and inside the repl, and a repl exists only when its last object is stored.

use std::sync::Arc;

use bytes::Bytes;
use tandem_proto::ReplId;
use tokio::io::AsyncRead;

use super::archive::{Frame, Reader};
use super::{BackupError, Progress};
use crate::blob::BlobStore;
use crate::object::{self, ObjectError, ObjectKind};
use crate::repl::{CatalogueRecord, Manifest, ReplStore};

/// Which ids imported repls get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// New ones; share links stay behind, since their tokens lead to the old ones.
    Fresh,
    /// Those in the archive; refused when there is anything under one.
    Same,
}

/// One imported repl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// In the archive.
    pub from: ReplId,
    /// Here.
    pub repl: ReplId,
    /// Its name.
    pub name: String,
}

/// A repl on its way.
struct Importing {
    from: ReplId,
    store: ReplStore,
    manifests: usize,
    /// Held back until the repl is whole: with it the repl is in the catalogue.
    record: Option<CatalogueRecord>,
}

/// Reads an archive. Repls before a damaged place are kept and told by `imported`; the one it
/// lies in is removed again.
///
/// # Errors
/// See [`BackupError`].
pub async fn import<R: AsyncRead + Unpin>(
    blobs: &Arc<dyn BlobStore>,
    from: R,
    ids: Ids,
    mut imported: impl FnMut(Imported),
    mut progress: impl FnMut(Progress),
) -> Result<Progress, BackupError> {
    let mut reader = Reader::new(from).await?;
    let mut done = Progress::default();
    let mut open: Option<Importing> = None;
    let outcome = loop {
        match step(blobs, &mut reader, ids, &mut open, &mut done).await {
            Ok(Step::More(None)) => progress(done),
            Ok(Step::More(Some(repl))) => imported(repl),
            Ok(Step::End) => break Ok(done),
            Err(error) => break Err(error),
        }
    };
    match (outcome, open) {
        (Err(error), Some(half)) => {
            half.store.delete_all().await?;
            Err(error)
        }
        (outcome, _) => outcome,
    }
}

enum Step {
    More(Option<Imported>),
    End,
}

async fn step<R: AsyncRead + Unpin>(
    blobs: &Arc<dyn BlobStore>,
    reader: &mut Reader<R>,
    ids: Ids,
    open: &mut Option<Importing>,
    done: &mut Progress,
) -> Result<Step, BackupError> {
    let frame = reader.next().await?;
    let wrong = |reason| reader.damaged(reason);
    match (frame, open.as_mut()) {
        (None, None) => Ok(Step::End),
        (Some(Frame::Repl(id)), None) => {
            let from: ReplId = id.parse().map_err(|_| wrong("a repl's id is not one"))?;
            *open = Some(begin(blobs, from, ids).await?);
            done.repls += 1;
            Ok(Step::More(None))
        }
        (Some(Frame::Object(key, object)), Some(importing)) => {
            done.objects += 1;
            done.bytes += object.len() as u64;
            importing.take(key, object).await?;
            Ok(Step::More(None))
        }
        (Some(Frame::ReplEnd(id)), Some(importing)) if id == importing.from.to_string() => {
            if importing.manifests == 0 {
                return Err(wrong("a repl has no saved state"));
            }
            let Some(record) = importing.record.take() else {
                return Err(wrong("a repl has no catalogue record"));
            };
            importing.store.put_meta(&record).await?;
            let (from, repl, name) = (importing.from, record.repl, record.name);
            *open = None;
            Ok(Step::More(Some(Imported { from, repl, name })))
        }
        _ => Err(wrong("its parts are in the wrong order")),
    }
}

async fn begin(
    blobs: &Arc<dyn BlobStore>,
    from: ReplId,
    ids: Ids,
) -> Result<Importing, BackupError> {
    let repl = match ids {
        Ids::Same => from,
        Ids::Fresh => ReplId::from_random(rand::random()),
    };
    let store = ReplStore::new(blobs.clone(), repl);
    if !blobs.list_folders(&format!("repls/{repl}/")).await?.is_empty() {
        return Err(BackupError::Exists(repl));
    }
    Ok(Importing { from, store, manifests: 0, record: None })
}

impl Importing {
    async fn take(&mut self, key: String, object: Bytes) -> Result<(), BackupError> {
        let old = format!("repls/{}/", self.from);
        let Some(rest) = key.strip_prefix(&old) else {
            return Err(ObjectError::Foreign { key }.into());
        };
        let (kind, content) = object::verify(&key, object.clone()).await?;
        let to = self.store.repl();
        let new = format!("repls/{to}/{rest}");
        let object = match kind {
            ObjectKind::Catalogue => {
                let mut record: CatalogueRecord = object::decode(&key, &content)?;
                if to != self.from {
                    record.links.clear();
                }
                record.repl = to;
                self.record = Some(record);
                return Ok(());
            }
            ObjectKind::Manifest => {
                self.manifests += 1;
                if to == self.from {
                    object
                } else {
                    let mut manifest: Manifest = object::decode(&key, &content)?;
                    manifest.rebase(self.from, to);
                    object::pack(ObjectKind::Manifest, object::encode(&new, &manifest)?).await?
                }
            }
            _ => object,
        };
        self.store.blobs().put(&new, object).await?;
        Ok(())
    }
}
