//! Files without a document: large ones as an object each, many small ones as one bundle.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::ReplStore;
use crate::hash::ContentHash;
use crate::object::{self, ObjectError, ObjectKind};

/// A file up to this size goes into a bundle.
const SMALL_BYTES: usize = 64 * 1024;
/// Content of one bundle, so that reading one file of it stays cheap.
const BUNDLE_BYTES: usize = 2 * 1024 * 1024;
/// Objects stored or read at the same time.
pub(super) const PARALLEL: usize = 8;

/// Where the bytes of a file are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlobRef {
    /// Hash of the file's bytes.
    pub hash: ContentHash,
    /// Their length.
    pub size: u64,
    /// The bundle that holds them; `None`: an object of their own.
    #[serde(default)]
    pub bundle: Option<ContentHash>,
}

#[derive(Serialize, Deserialize)]
struct Index {
    entries: Vec<IndexEntry>,
}

#[derive(Serialize, Deserialize)]
struct IndexEntry {
    hash: ContentHash,
    offset: u64,
    size: u64,
}

/// Reads blobs one after the other and keeps the bundle read last: ask in the order of bundles.
#[derive(Debug)]
pub struct BlobReader {
    store: ReplStore,
    bundle: Option<(ContentHash, HashMap<ContentHash, Bytes>)>,
}

impl BlobReader {
    /// The bytes of a file, checked against their hash.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn get(&mut self, blob: &BlobRef) -> Result<Bytes, ObjectError> {
        let Some(bundle) = blob.bundle else { return self.store.get_single(blob.hash).await };
        if self.bundle.as_ref().is_none_or(|(held, _)| *held != bundle) {
            self.bundle = Some((bundle, self.store.get_bundle(bundle).await?));
        }
        let found = self.bundle.as_ref().and_then(|(_, files)| files.get(&blob.hash));
        found.cloned().ok_or_else(|| ObjectError::Corrupt {
            key: self.store.blob_key(bundle),
            reason: "a file is missing in this bundle",
        })
    }
}

impl ReplStore {
    /// Stores one file as an object of its own.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn put_blob(&self, content: Bytes) -> Result<BlobRef, ObjectError> {
        let size = content.len() as u64;
        let (content, hash) = hashed(content).await?;
        let key = self.blob_key(hash);
        self.put_once(&key, ObjectKind::Blob, content).await?;
        Ok(BlobRef { hash, size, bundle: None })
    }

    /// Like [`ReplStore::put_blob`], but for what is `known` to be stored; whether it was put.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn put_blob_unless_known(
        &self,
        content: Bytes,
        known: &HashSet<ContentHash>,
    ) -> Result<(BlobRef, bool), ObjectError> {
        let size = content.len() as u64;
        let (content, hash) = hashed(content).await?;
        let new = !known.contains(&hash);
        if new {
            self.put_once(&self.blob_key(hash), ObjectKind::Blob, content).await?;
        }
        Ok((BlobRef { hash, size, bundle: None }, new))
    }

    /// Stores many files at once, small ones bundled; the answer is in their order. Once it
    /// returns all of them are stored. Cancelled or failed, some may be: unnamed objects are
    /// harmless.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn put_files(&self, files: Vec<Bytes>) -> Result<Vec<BlobRef>, ObjectError> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let (mut open, mut open_bytes) = (Vec::new(), 0);
        for (index, file) in files.iter().enumerate() {
            if file.len() > SMALL_BYTES {
                groups.push(vec![index]);
                continue;
            }
            if open_bytes + file.len() > BUNDLE_BYTES {
                groups.push(std::mem::take(&mut open));
                open_bytes = 0;
            }
            open_bytes += file.len();
            open.push(index);
        }
        groups.push(open);
        let stored: Vec<Vec<(usize, BlobRef)>> = stream::iter(groups)
            .map(|group| self.put_group(group, &files))
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        let mut refs: Vec<(usize, BlobRef)> = stored.into_iter().flatten().collect();
        refs.sort_by_key(|(index, _)| *index);
        Ok(refs.into_iter().map(|(_, blob)| blob).collect())
    }

    async fn put_group(
        &self,
        group: Vec<usize>,
        files: &[Bytes],
    ) -> Result<Vec<(usize, BlobRef)>, ObjectError> {
        let contents: Vec<Bytes> =
            group.iter().filter_map(|&index| files.get(index)).cloned().collect();
        let refs = match contents.as_slice() {
            [] => Vec::new(),
            [single] => vec![self.put_blob(single.clone()).await?],
            many => self.put_bundle(many).await?,
        };
        Ok(group.into_iter().zip(refs).collect())
    }

    async fn put_bundle(&self, files: &[Bytes]) -> Result<Vec<BlobRef>, ObjectError> {
        let mut entries = Vec::with_capacity(files.len());
        let mut offset = 0;
        for file in files {
            let size = file.len() as u64;
            entries.push(IndexEntry { hash: ContentHash::of(file), offset, size });
            offset += size;
        }
        let mut refs: Vec<BlobRef> = entries
            .iter()
            .map(|entry| BlobRef { hash: entry.hash, size: entry.size, bundle: None })
            .collect();
        let index = object::encode("a bundle", &Index { entries })?;
        let mut content = Vec::with_capacity(4 + index.len() + offset as usize);
        content.extend_from_slice(&(index.len() as u32).to_le_bytes());
        content.extend_from_slice(&index);
        for file in files {
            content.extend_from_slice(file);
        }
        let (content, hash) = hashed(content.into()).await?;
        self.put_once(&self.blob_key(hash), ObjectKind::Bundle, content).await?;
        refs.iter_mut().for_each(|blob| blob.bundle = Some(hash));
        Ok(refs)
    }

    /// Under a content's hash the same content may be stored again, by another version of the
    /// compressor too: what is there then is as good.
    async fn put_once(
        &self,
        key: &str,
        kind: ObjectKind,
        content: Bytes,
    ) -> Result<(), ObjectError> {
        let object = object::pack(kind, content.clone()).await?;
        let _shared = self.puts.gate.read().await;
        self.puts.count.fetch_add(1, Ordering::SeqCst);
        match self.blobs.put(key, object).await {
            Err(crate::BlobError::Conflict { .. }) => {
                match object::get(&*self.blobs, kind, key).await? == content {
                    true => Ok(()),
                    false => {
                        let reason = "its content does not have the hash in its key";
                        Err(ObjectError::Corrupt { key: key.to_owned(), reason })
                    }
                }
            }
            other => Ok(other?),
        }
    }

    /// The bytes of one file. For many files [`ReplStore::blob_reader`] reads a bundle once.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn get_blob(&self, blob: &BlobRef) -> Result<Bytes, ObjectError> {
        self.blob_reader().get(blob).await
    }

    /// Reads blobs one after the other.
    pub fn blob_reader(&self) -> BlobReader {
        BlobReader { store: self.clone(), bundle: None }
    }

    pub(super) fn blob_key(&self, hash: ContentHash) -> String {
        format!("{}b/{hash}", self.folder())
    }

    async fn get_single(&self, hash: ContentHash) -> Result<Bytes, ObjectError> {
        let key = self.blob_key(hash);
        let content = object::get(&*self.blobs, ObjectKind::Blob, &key).await?;
        checked(key, hash, content).await
    }

    async fn get_bundle(
        &self,
        hash: ContentHash,
    ) -> Result<HashMap<ContentHash, Bytes>, ObjectError> {
        let key = self.blob_key(hash);
        let content = object::get(&*self.blobs, ObjectKind::Bundle, &key).await?;
        let content = checked(key.clone(), hash, content).await?;
        let corrupt = || ObjectError::Corrupt { key: key.clone(), reason: "its index is wrong" };
        let length = content.first_chunk::<4>().ok_or_else(corrupt)?;
        let start = 4 + u32::from_le_bytes(*length) as usize;
        let index: Index = object::decode(&key, content.get(4..start).ok_or_else(corrupt)?)?;
        let data = content.slice(start..);
        let mut files = HashMap::with_capacity(index.entries.len());
        for entry in index.entries {
            let end = entry.offset.checked_add(entry.size).ok_or_else(corrupt)?;
            if end > data.len() as u64 {
                return Err(corrupt());
            }
            files.insert(entry.hash, data.slice(entry.offset as usize..end as usize));
        }
        Ok(files)
    }
}

async fn hashed(content: Bytes) -> Result<(Bytes, ContentHash), ObjectError> {
    object::aside(content.len() / 8, move || {
        let hash = ContentHash::of(&content);
        (content, hash)
    })
    .await
}

async fn checked(key: String, hash: ContentHash, content: Bytes) -> Result<Bytes, ObjectError> {
    let (content, found) = hashed(content).await?;
    match found == hash {
        true => Ok(content),
        false => Err(ObjectError::Corrupt {
            key,
            reason: "its content does not have the hash in its key",
        }),
    }
}
