//! Stores of immutable objects by key: memory, local files, S3. One trait, one conformance
//! suite.
//!
//! Nothing is ever overwritten: keys are unique by construction, and a store that can tell
//! refuses a second, different object under the same key.

mod folders;
mod key;
mod local;
mod memory;
mod probe;
mod s3;
mod url;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use local::LocalStore;
pub use memory::MemoryStore;
pub use probe::{ProbeReport, probe};
pub use s3::{S3Options, S3Store};
pub use url::{BlobStoreUrl, BlobStoreUrlError};

/// What a listing says of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key.
    pub key: String,
    /// Stored length in bytes.
    pub size: u64,
    /// When it was stored, by the store's clock, in milliseconds since the Unix epoch.
    pub modified_ms: u64,
}

/// A place for objects. Keys are `/`-separated parts of `A-Z a-z 0-9 . _ -`; no part starts
/// with a dot. All methods are cancel-safe: a dropped `put` stored the whole object or nothing.
#[async_trait]
pub trait BlobStore: std::fmt::Debug + Send + Sync + 'static {
    /// Stores an object; durable when it returns. Storing the same bytes again is no error, so
    /// that a `put` whose answer was lost can be repeated.
    ///
    /// # Errors
    /// [`BlobError::Conflict`] when the store can tell that the key holds other bytes.
    async fn put(&self, key: &str, object: Bytes) -> Result<(), BlobError>;

    /// The object, or `None` when there is none.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, BlobError>;

    /// All objects whose keys start with `prefix`, by key.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, BlobError>;

    /// The next parts below `prefix`, which is empty or ends in `/`: for `a/b/c` and `a/d`,
    /// the prefix `a/` gives `b`.
    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, BlobError>;

    /// Removes an object; none there is no error.
    async fn delete(&self, key: &str) -> Result<(), BlobError>;
}

/// What to do about a [`BlobError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobErrorKind {
    /// Try again later; the store may be down.
    Retry,
    /// The operator must change keys, rights or the address.
    Configuration,
    /// The disk or quota is full.
    Full,
    /// A mistake of ours.
    Bug,
}

/// Why a store did not do it. Written for the operator.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BlobError {
    /// Not a key; nothing was asked of the store.
    #[error("\"{key}\" is not an object key: {reason}")]
    InvalidKey {
        /// What was given.
        key: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// There is another object under this key.
    #[error("the blob store already holds another object as {key}")]
    Conflict {
        /// The key.
        key: String,
    },
    /// Down, slow or out of reach.
    #[error("the blob store can't be reached to {action}: {detail}")]
    Unavailable {
        /// What was tried.
        action: String,
        /// What it or the network said.
        detail: String,
    },
    /// The keys are missing, wrong or may not do this.
    #[error("the blob store refuses to {action}: {detail}")]
    Denied {
        /// What was tried.
        action: String,
        /// What it said.
        detail: String,
    },
    /// The bucket or directory is not there.
    #[error("the blob store has no {name}: create it or correct the --blob-store address")]
    Missing {
        /// The bucket or directory.
        name: String,
    },
    /// No space.
    #[error("the blob store is full, can't {action}: {detail}")]
    Full {
        /// What was tried.
        action: String,
        /// What it said.
        detail: String,
    },
    /// Anything else.
    #[error("the blob store can't {action}: {detail}")]
    Other {
        /// What was tried.
        action: String,
        /// What it said.
        detail: String,
    },
}

impl BlobError {
    /// What to do about it.
    pub fn kind(&self) -> BlobErrorKind {
        match self {
            Self::Unavailable { .. } => BlobErrorKind::Retry,
            Self::Denied { .. } | Self::Missing { .. } | Self::Other { .. } => {
                BlobErrorKind::Configuration
            }
            Self::Full { .. } => BlobErrorKind::Full,
            Self::InvalidKey { .. } | Self::Conflict { .. } => BlobErrorKind::Bug,
        }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_retryable(&self) -> bool {
        self.kind() == BlobErrorKind::Retry
    }
}

/// Opens the store at `url`. Asks nothing of it yet: see [`probe`].
///
/// # Errors
/// [`BlobError::Other`] when a local directory can't be made.
pub async fn open(url: &BlobStoreUrl) -> Result<Arc<dyn BlobStore>, BlobError> {
    Ok(match url {
        BlobStoreUrl::Memory => Arc::new(MemoryStore::default()),
        BlobStoreUrl::File(directory) => Arc::new(LocalStore::open(directory).await?),
        BlobStoreUrl::S3(options) => Arc::new(S3Store::new(options.clone()).await),
    })
}

#[cfg(test)]
mod tests;
