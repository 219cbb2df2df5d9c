//! Backup: repls between installations and stores, as one archive each or for many.
//!
//! An archive holds the objects as they are stored, each with its own checksum, framed and
//! checksummed once more. It is written and read in one pass; a repl that was read in half leaves
//! nothing behind.

mod archive;
mod export;
mod import;

use std::io;

use tandem_proto::ReplId;

pub use archive::VERSION;
pub use export::export;
pub use import::{Ids, Imported, import};

use crate::object::ObjectError;

/// Why a backup was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The archive's file.
    #[error("the archive cannot be {action}: {source}")]
    Io {
        /// "read" or "written".
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The blob store, or an object in it.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// It is something else.
    #[error("this is no tandem archive")]
    NoArchive,
    /// A later version wrote it.
    #[error("the archive has version {0}; this program reads version {VERSION}")]
    Version(u16),
    /// Its bytes are not those that were written.
    #[error("the archive is damaged at byte {at}: {reason}")]
    Damaged {
        /// Where.
        at: u64,
        /// What does not check out.
        reason: &'static str,
    },
    /// A repl has nothing saved.
    #[error("there is no repl {0} in the blob store")]
    NoRepl(ReplId),
    /// A repl with this id is there already.
    #[error("the repl {0} is there already; without --same-id it is imported as a new one")]
    Exists(ReplId),
    /// The repl kept changing while it was read.
    #[error("the repl {0} kept losing objects while it was read; try again")]
    Moving(ReplId),
}

impl From<crate::blob::BlobError> for BackupError {
    fn from(error: crate::blob::BlobError) -> Self {
        Self::Object(error.into())
    }
}

/// How far a long work is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Repls begun.
    pub repls: usize,
    /// All repls, when known.
    pub of: Option<usize>,
    /// Objects done.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}
