//! The start-up look at a blob store: does it do what everything else relies on?

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{BlobError, BlobStore};

/// What a store was found to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeReport {
    /// A stored object can be read at once.
    pub read_after_write: bool,
    /// A stored object is in the next listing.
    pub list_after_write: bool,
    /// A second, different object under one key is refused. Nothing relies on this: keys are
    /// unique. Some stores accept the condition and overwrite.
    pub refuses_overwrite: bool,
    /// A deleted object is gone at once.
    pub delete: bool,
    /// How long storing one small object took.
    pub put: Duration,
}

impl ProbeReport {
    /// Whether repls are safe on it.
    pub fn is_usable(&self) -> bool {
        self.read_after_write && self.list_after_write && self.delete
    }

    /// What is wrong or worth knowing, in words for the operator.
    pub fn findings(&self) -> Vec<&'static str> {
        let mut findings = Vec::new();
        if !self.read_after_write {
            findings.push("an object that was just stored can't be read");
        }
        if !self.list_after_write {
            findings.push("an object that was just stored is missing in listings");
        }
        if !self.delete {
            findings.push("a deleted object can still be read");
        }
        if !self.refuses_overwrite {
            findings.push("it ignores conditional writes (harmless: keys are never used twice)");
        }
        findings
    }
}

/// Tries a store with one small object under `probe/`, and removes it.
///
/// # Errors
/// What the store answers when it can't be reached, is missing or refuses.
pub async fn probe(store: &dyn BlobStore) -> Result<ProbeReport, BlobError> {
    let key = format!("probe/{:032x}", rand::random::<u128>());
    let object = Bytes::from_static(b"tandem was here");
    let started = Instant::now();
    store.put(&key, object.clone()).await?;
    let put = started.elapsed();
    let tried = async {
        let read_after_write = store.get(&key).await?.as_ref() == Some(&object);
        let list_after_write = store.list("probe/").await?.iter().any(|info| info.key == key);
        let refuses_overwrite = match store.put(&key, Bytes::from_static(b"other")).await {
            Ok(()) => false,
            Err(BlobError::Conflict { .. }) => true,
            Err(error) => return Err(error),
        };
        Ok((read_after_write, list_after_write, refuses_overwrite))
    }
    .await;
    // Also after a failure: nothing is left behind that a listing would show for ever.
    let deleted = store.delete(&key).await;
    let (read_after_write, list_after_write, refuses_overwrite) = tried?;
    deleted?;
    let delete = store.get(&key).await?.is_none();
    Ok(ProbeReport { read_after_write, list_after_write, refuses_overwrite, delete, put })
}
