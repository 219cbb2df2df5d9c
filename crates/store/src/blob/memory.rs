//! Objects in memory, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;

use super::{BlobError, BlobStore, ObjectInfo, key};

/// Forgets everything with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<String, (Bytes, u64)>>,
}

impl MemoryStore {
    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, (Bytes, u64)>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes everything in it this much older.
    #[cfg(test)]
    pub(crate) fn age(&self, by: std::time::Duration) {
        for (_, modified_ms) in self.objects().values_mut() {
            *modified_ms -= by.as_millis() as u64;
        }
    }
}

#[async_trait]
impl BlobStore for MemoryStore {
    async fn put(&self, key: &str, object: Bytes) -> Result<(), BlobError> {
        key::check(key)?;
        let mut objects = self.objects();
        match objects.get(key) {
            Some((held, _)) if *held == object => Ok(()),
            Some(_) => Err(BlobError::Conflict { key: key.to_owned() }),
            None => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                objects.insert(key.to_owned(), (object, now.as_millis() as u64));
                Ok(())
            }
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BlobError> {
        key::check(key)?;
        Ok(self.objects().get(key).map(|(object, _)| object.clone()))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, BlobError> {
        key::check_prefix(prefix)?;
        Ok(self
            .objects()
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, (object, modified_ms))| ObjectInfo {
                key: key.clone(),
                size: object.len() as u64,
                modified_ms: *modified_ms,
            })
            .collect())
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        key::check_folder(prefix)?;
        let folders: BTreeSet<String> = self
            .objects()
            .range(prefix.to_owned()..)
            .map_while(|(key, _)| key.strip_prefix(prefix))
            .filter_map(|rest| rest.split_once('/').map(|(folder, _)| folder.to_owned()))
            .collect();
        Ok(folders.into_iter().collect())
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        key::check(key)?;
        self.objects().remove(key);
        Ok(())
    }
}
