//! The node's write-ahead log: what was appended and reported durable is found again after a
//! crash, and what was damaged is reported, never skipped in silence.
//!
//! One thread writes. What queues while it waits for the disk is its next batch, so the number
//! of fsyncs follows the disk and not the number of typists. A failed fsync ends the log for
//! ever: after it nobody knows what the kernel dropped, and asking again would lie.

mod coverage;
mod damage;
mod format;
mod index;
mod queue;
mod reader;
mod scan;
mod segment;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tandem_proto::{BootId, Epoch, FileId, Generation, Lsn, MemberId, NodeId, ReplId};
use tokio::sync::watch;

use crate::position::Positions;
pub use damage::{Damage, Suspects};
use format::Entry;
use queue::Shared;
pub use reader::Replay;
pub use tail::{Tail, TailPart, is_covered};

/// Largest payload of one record.
pub const MAX_PAYLOAD_BYTES: usize = 32 * 1024 * 1024;

/// What a record holds. The numbers are stored and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// An update of a document, as it was applied.
    Update = 1,
    /// A change of the tree: create, rename, move, delete, metadata.
    Tree = 2,
    /// The hash of the text last agreed with the disk.
    Base = 3,
    /// Which member a client id of a document belongs to.
    Author = 4,
}

impl RecordKind {
    fn as_u8(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_u8(kind: u8) -> Option<Self> {
        Some(match kind {
            1 => Self::Update,
            2 => Self::Tree,
            3 => Self::Base,
            4 => Self::Author,
            _ => return None,
        })
    }
}

/// What to append.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// The repl it belongs to.
    pub repl: ReplId,
    /// The opening of the repl that wrote it.
    pub epoch: Epoch,
    /// What the payload is.
    pub kind: RecordKind,
    /// The document; [`FileId::ROOT`] for records of the whole tree.
    pub document: FileId,
    /// The document's generation.
    pub generation: Generation,
    /// Who made the change.
    pub author: Option<MemberId>,
    /// When, in milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// At most [`MAX_PAYLOAD_BYTES`].
    pub payload: Bytes,
}

/// A record found in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The node that wrote it.
    pub node: NodeId,
    /// The start of that node.
    pub boot: BootId,
    /// Its position within that boot.
    pub lsn: Lsn,
    /// See [`NewRecord::repl`].
    pub repl: ReplId,
    /// See [`NewRecord::epoch`].
    pub epoch: Epoch,
    /// See [`NewRecord::kind`].
    pub kind: RecordKind,
    /// See [`NewRecord::document`].
    pub document: FileId,
    /// See [`NewRecord::generation`].
    pub generation: Generation,
    /// See [`NewRecord::author`].
    pub author: Option<MemberId>,
    /// See [`NewRecord::wall_ms`].
    pub wall_ms: u64,
    /// See [`NewRecord::payload`].
    pub payload: Bytes,
}

/// Sizes and times of a log.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Length of one preallocated file.
    pub segment_bytes: u64,
    /// Bytes appended and not yet durable before [`LogError::Full`].
    pub queue_bytes: usize,
    /// Most bytes of all files together; over it the log is read-only until some are covered.
    pub quota_bytes: u64,
    /// How long a full disk is left alone before the next try.
    pub retry: Duration,
    #[cfg(test)]
    pub(in crate::log) faults: Arc<segment::Faults>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
            queue_bytes: 64 * 1024 * 1024,
            quota_bytes: 8 * 1024 * 1024 * 1024,
            retry: Duration::from_secs(1),
            #[cfg(test)]
            faults: Arc::default(),
        }
    }
}

/// Whether the log takes records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogState {
    /// It does.
    Ready,
    /// The disk or the quota is full. What was taken is kept and written when there is space;
    /// then the log is ready again.
    ReadOnly {
        /// In words for the operator.
        reason: String,
    },
    /// For ever: what was not reported durable may be lost. The process should end.
    Failed {
        /// In words for the operator.
        reason: String,
    },
    /// [`Log::close`] was called.
    Closed,
}

/// Why the log could not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// Too much waits for the disk: take no more input for a moment, then try again.
    #[error("the log's queue is full")]
    Full,
    /// The disk or quota is full: refuse edits and say so. Ready again when there is space.
    #[error("the log is read-only: {reason}")]
    ReadOnly {
        /// In words for the operator.
        reason: String,
    },
    /// The log has ended: end the process.
    #[error("the log has failed: {reason}")]
    Failed {
        /// In words for the operator.
        reason: String,
    },
    /// Appended after [`Log::close`].
    #[error("the log is closed")]
    Closed,
    /// Closed while the disk was full: these records were never durable.
    #[error("the log was closed with {records} records that could not be written")]
    Unwritten {
        /// How many.
        records: usize,
    },
    /// Over [`MAX_PAYLOAD_BYTES`].
    #[error("a record of {bytes} bytes is too large")]
    TooLarge {
        /// Length of the payload.
        bytes: usize,
    },
    /// Durable records are lost that may be this repl's: don't open it, don't write for it.
    #[error("the log is damaged: {0}; to accept the loss, move that file away and start again")]
    Damaged(Box<Damage>),
    /// A newer version of the program wrote this.
    #[error("{} has log format {version}, which this version can't read", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u16,
    },
    /// A newer version of the program wrote this.
    #[error("record {lsn} of boot {boot} has kind {kind}, which this version can't read")]
    UnknownKind {
        /// The stored number.
        kind: u8,
        /// Where.
        boot: BootId,
        /// Where.
        lsn: Lsn,
    },
    /// The disk refused.
    #[error("can't {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: Arc<std::io::Error>,
    },
}

impl LogError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source: Arc::new(source) }
    }
}

/// One node's log. Dropped without [`Log::close`], its thread still writes what was taken.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    node: NodeId,
    boot: BootId,
    durable: watch::Receiver<Lsn>,
    state: watch::Receiver<LogState>,
    elsewhere: coverage::Elsewhere,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl Log {
    /// Opens the directory (made when missing), reads through what earlier boots left, and
    /// starts writing for `boot`. The caller holds the lock of the data directory.
    ///
    /// # Errors
    /// [`LogError::Io`] when the disk fails and [`LogError::Unsupported`] for files of a newer
    /// version. Damaged records are no error here: see [`Log::damage`] and [`Log::replay`].
    pub async fn open(
        directory: &Path,
        node: NodeId,
        boot: BootId,
        options: LogOptions,
    ) -> Result<Self, LogError> {
        let directory = directory.to_owned();
        // The whole log is made there: dropped unseen, it still ends its thread.
        let opening = tokio::task::spawn_blocking(move || {
            let started = writer::start(&directory, node, boot, options)?;
            Ok(Self {
                shared: started.shared,
                node,
                boot,
                durable: started.durable,
                state: started.state,
                elsewhere: coverage::Elsewhere::default(),
                writer: Some(started.thread),
            })
        });
        opening.await.map_err(|error| LogError::Failed {
            reason: format!("opening it was interrupted: {error}"),
        })?
    }

    /// Queues a record and says its position. Never waits for the disk: the record is durable
    /// when [`Log::durable`] has reached that position. The order of calls is the order of LSNs.
    ///
    /// # Errors
    /// [`LogError::Full`], [`LogError::ReadOnly`], [`LogError::Failed`], [`LogError::Closed`],
    /// [`LogError::TooLarge`]; then nothing was queued.
    pub fn append(&self, record: NewRecord) -> Result<Lsn, LogError> {
        if record.payload.len() > MAX_PAYLOAD_BYTES {
            return Err(LogError::TooLarge { bytes: record.payload.len() });
        }
        self.shared.append(Entry::from(record))
    }

    /// Whether to take input that needs a record. Says no a good deal before [`Log::append`].
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn check_ready(&self) -> Result<(), LogError> {
        self.shared.check_ready()
    }

    /// Everything up to this position survives a crash. Ends (the sender is gone) when the log
    /// is closed or has failed.
    pub fn durable(&self) -> watch::Receiver<Lsn> {
        self.durable.clone()
    }

    /// Whether records are taken.
    pub fn state(&self) -> watch::Receiver<LogState> {
        self.state.clone()
    }

    /// The position given out last. A duplicate is acknowledged when this is durable.
    pub fn current(&self) -> Lsn {
        self.shared.current()
    }

    /// Whose log this is.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Which start this is.
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// Waits until `lsn` is durable. Cancel-safe.
    ///
    /// # Errors
    /// [`LogError::ReadOnly`] while the disk is full, [`LogError::Failed`], [`LogError::Closed`].
    pub async fn wait_durable(&self, lsn: Lsn) -> Result<(), LogError> {
        let (mut durable, mut state) = (self.durable.clone(), self.state.clone());
        loop {
            if *durable.borrow_and_update() >= lsn {
                return Ok(());
            }
            let now = state.borrow_and_update().clone();
            match now {
                LogState::ReadOnly { reason } => return Err(LogError::ReadOnly { reason }),
                LogState::Failed { reason } => return Err(LogError::Failed { reason }),
                LogState::Ready | LogState::Closed => {}
            }
            tokio::select! {
                changed = durable.changed() => if changed.is_err() && *durable.borrow() < lsn {
                    return Err(match state.borrow().clone() {
                        LogState::Failed { reason } => LogError::Failed { reason },
                        LogState::ReadOnly { reason } => LogError::ReadOnly { reason },
                        LogState::Ready | LogState::Closed => LogError::Closed,
                    });
                },
                Ok(()) = state.changed() => {}
            }
        }
    }

    /// Waits until everything appended so far is durable; says up to where that is.
    ///
    /// # Errors
    /// See [`Log::wait_durable`].
    pub async fn flush(&self) -> Result<Lsn, LogError> {
        let lsn = self.current();
        self.wait_durable(lsn).await?;
        Ok(lsn)
    }

    /// The durable records of `repl` that are still in the directory and not known to be
    /// covered, of earlier boots and this one, in the order of writing.
    ///
    /// Call [`Log::covered`] with the head manifest's positions first. Without it, records that
    /// the manifest contains may come again, and without later ones whose file is gone already;
    /// and damage in a range that the manifest covers stops the repl.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when durable records may be lost; [`LogError::UnknownKind`];
    /// [`LogError::Io`].
    pub async fn replay(&self, repl: ReplId) -> Result<Vec<Record>, LogError> {
        let mut replay = self.replay_stream(repl).await?;
        let mut records = Vec::new();
        while let Some(record) = replay.next().await? {
            records.push(record);
        }
        Ok(records)
    }

    /// As [`Log::replay`], one record after the other.
    ///
    /// # Errors
    /// [`LogError::Damaged`]; the others come with [`Replay::next`].
    pub async fn replay_stream(&self, repl: ReplId) -> Result<Replay, LogError> {
        // Records of this repl that still queue belong to the replay. When the disk takes none,
        // they were never durable and nobody was promised anything.
        match self.flush().await {
            Ok(_) | Err(LogError::ReadOnly { .. } | LogError::Failed { .. } | LogError::Closed) => {
            }
            Err(error) => return Err(error),
        }
        let plan = {
            let index = self.shared.index();
            if let Some(damage) = index.damage_of(repl) {
                return Err(LogError::Damaged(Box::new(damage.clone())));
            }
            index.plan(repl)
        };
        Ok(Replay::start(repl, plan, self.shared.clone()))
    }

    /// Repls with durable records that no manifest is known to cover.
    pub fn repls_with_records(&self) -> Vec<ReplId> {
        self.shared.index().repls()
    }

    /// Whether [`Log::repls_with_records`] names `repl`.
    pub fn has_records(&self, repl: ReplId) -> bool {
        self.shared.index().has(repl)
    }

    /// What was durable once and can't be read.
    pub fn damage(&self) -> Vec<Damage> {
        self.shared.index().damage.clone()
    }

    /// The ends of all earlier boots in the directory. The first manifest of a new repl, and
    /// one written after a complete replay, may claim to cover these.
    pub fn horizon(&self) -> Positions {
        let index = self.shared.index();
        let mut horizon = Positions::new();
        let ends = index
            .segments
            .iter()
            .map(|segment| (segment.node, segment.boot, segment.last))
            .chain(index.damage.iter().map(|damage| (damage.node, damage.boot, damage.last)));
        for (node, boot, last) in ends.filter(|(_, boot, _)| *boot != self.boot) {
            let end = horizon.entry((node, boot)).or_insert(last);
            *end = (*end).max(last);
        }
        horizon
    }

    /// Says that a *committed* manifest of `repl` covers these positions: records up to them
    /// are not replayed any more, and files that nobody needs are deleted.
    pub fn covered(&self, repl: ReplId, positions: &Positions) {
        self.elsewhere.note(repl, positions, (self.node, self.boot));
        self.shared.covered(repl, positions);
    }

    /// Writes what was taken and ends the log.
    ///
    /// # Errors
    /// [`LogError::Unwritten`] when the disk is full, [`LogError::Failed`].
    pub async fn close(mut self) -> Result<(), LogError> {
        self.shared.close();
        if let Some(thread) = self.writer.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                return Err(LogError::Failed { reason: "its thread has panicked".to_owned() });
            }
        }
        self.shared.outcome()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.close();
    }
}
