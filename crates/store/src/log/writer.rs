//! The one thread that writes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use tandem_proto::{BootId, Lsn, NodeId};
use tokio::sync::watch;

use super::format::{self, BATCH_HEADER, Entry, SEAL_ENTRY, SEGMENT_HEADER, SegmentHeader};
use super::index::Segment;
use super::queue::Shared;
use super::scan::{self, Scanned, Unsealed};
use super::segment::{self, SegmentFile};
use super::{LogError, LogOptions, LogState};

/// Most bytes written before one fsync: a larger queue is cut, so that its first records need
/// not wait for its last.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// What the encoding buffer keeps between batches.
const KEPT_BUFFER: usize = 1024 * 1024;

pub(super) struct Started {
    pub shared: Arc<Shared>,
    pub durable: watch::Receiver<Lsn>,
    pub state: watch::Receiver<LogState>,
    pub thread: JoinHandle<()>,
}

/// Blocking: scans the directory and starts the thread.
pub(super) fn start(
    directory: &Path,
    node: NodeId,
    boot: BootId,
    options: LogOptions,
) -> Result<Started, LogError> {
    make_directory(directory)?;
    let Scanned { index, unneeded, unsealed, next_boot_order, bytes } =
        scan::scan(directory, node)?;
    let (state_sender, state) = watch::channel(LogState::Ready);
    let (durable_sender, durable) = watch::channel(Lsn(0));
    let shared = Arc::new(Shared::new(index, options.queue_bytes, state_sender));
    let mut writer = Writer {
        shared: shared.clone(),
        directory: directory.to_owned(),
        identity: SegmentHeader {
            node,
            boot,
            boot_order: next_boot_order,
            first: Lsn(1),
            size: options.segment_bytes,
        },
        options,
        durable: durable_sender,
        current: None,
        bytes,
        buffer: Vec::new(),
    };
    writer.delete(unneeded);
    unsealed.into_iter().for_each(|left| writer.seal_left(left));
    // At once, so that a directory that can't be written is an error of the start.
    match writer.create(0, Lsn(1)) {
        Ok(()) => {}
        Err(Trouble::Full(reason)) => shared.set_state(LogState::ReadOnly { reason }),
        Err(Trouble::Fatal(reason)) => return Err(LogError::Failed { reason }),
        Err(Trouble::End) => {}
    }
    let thread = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writer.run())
        .map_err(LogError::io("start a thread for", directory))?;
    Ok(Started { shared, durable, state, thread })
}

fn make_directory(directory: &Path) -> Result<(), LogError> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {
            let parent = directory.parent().unwrap_or(directory);
            let synced = std::fs::File::open(parent).and_then(|parent| parent.sync_all());
            synced.map_err(LogError::io("sync", parent))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(LogError::io("make", directory)(error)),
    }
}

/// Why a batch was not written.
enum Trouble {
    /// No space; nothing that was reported durable is touched by trying again.
    Full(String),
    /// Never try again.
    Fatal(String),
    /// The log is closed while the disk is full.
    End,
}

impl Trouble {
    /// For errors of everything but fsync. Space, memory and descriptors may come back; of
    /// other faults nobody knows.
    fn new(action: &str, path: &Path, error: &io::Error) -> Self {
        use rustix::io::Errno;
        let reason = format!("can't {action} {}: {error}", path.display());
        match Errno::from_io_error(error) {
            Some(
                Errno::NOSPC
                | Errno::DQUOT
                | Errno::MFILE
                | Errno::NFILE
                | Errno::NOMEM
                | Errno::INTR,
            ) => Self::Full(reason),
            _ => Self::Fatal(reason),
        }
    }
}

struct Current {
    file: SegmentFile,
    offset: u64,
}

struct Writer {
    shared: Arc<Shared>,
    directory: PathBuf,
    identity: SegmentHeader,
    options: LogOptions,
    durable: watch::Sender<Lsn>,
    current: Option<Current>,
    /// Of all files in the directory.
    bytes: u64,
    buffer: Vec<u8>,
}

impl Writer {
    fn run(mut self) {
        if !self.start_late() {
            return;
        }
        loop {
            let work = self.shared.take_work();
            self.delete(work.deletions);
            let mut first = work.first;
            let mut entries = work.entries.as_slice();
            while !entries.is_empty() {
                let count = batch_length(entries);
                let (batch, rest) = entries.split_at(count);
                match self.write(first, batch) {
                    Ok(()) => {}
                    Err(Trouble::Fatal(reason)) => {
                        tracing::error!(reason, "the log has failed");
                        return self.shared.set_state(LogState::Failed { reason });
                    }
                    Err(Trouble::Full(_) | Trouble::End) => {
                        return self.shared.lost(entries.len());
                    }
                }
                first = Lsn(first.0 + count as u64);
                entries = rest;
            }
            if work.closing {
                return self.finish();
            }
        }
    }

    /// When the disk was full at the start; `false` at the end or for ever.
    fn start_late(&mut self) -> bool {
        while self.current.is_none() {
            if !self.wait_for_space() {
                return false;
            }
            match self.create(0, Lsn(1)) {
                Ok(()) => self.shared.set_state(LogState::Ready),
                Err(Trouble::Fatal(reason)) => {
                    tracing::error!(reason, "the log has failed");
                    self.shared.set_state(LogState::Failed { reason });
                    return false;
                }
                Err(Trouble::Full(_) | Trouble::End) => {}
            }
        }
        true
    }

    /// Leaves the disk alone for a while and deletes what is covered; `false` at the end.
    fn wait_for_space(&mut self) -> bool {
        let go_on = self.shared.pause(self.options.retry);
        let deletions = self.shared.take_deletions();
        self.delete(deletions);
        go_on
    }

    /// Writes and syncs one batch, through full disks; returns when it is durable.
    fn write(&mut self, first: Lsn, batch: &[Entry]) -> Result<(), Trouble> {
        let durable = *self.durable.borrow();
        self.buffer.clear();
        format::encode_batch(&mut self.buffer, self.identity.boot, (first, durable), batch);
        let mut was_full = false;
        let offset = loop {
            match self.place(first, batch.len()) {
                Ok(offset) => break offset,
                Err(Trouble::Full(reason)) => {
                    if !was_full {
                        tracing::error!(reason, "the log is read-only until there is space");
                    }
                    was_full = true;
                    self.shared.set_state(LogState::ReadOnly { reason });
                    if !self.wait_for_space() {
                        return Err(Trouble::End);
                    }
                }
                Err(other) => return Err(other),
            }
        };
        if let Some(current) = &self.current {
            current.file.sync().map_err(|error| {
                Trouble::Fatal(format!("can't sync {}: {error}", current.file.path.display()))
            })?;
        }
        self.note(first, batch, offset);
        let last = Lsn(first.0 + batch.len() as u64 - 1);
        // Room in the queue first: who waits for this position may append right after.
        self.shared.written(batch.iter().map(Entry::bytes).sum());
        self.durable.send_replace(last);
        self.buffer.shrink_to(KEPT_BUFFER);
        Ok(())
    }

    /// Puts the encoded batch into a segment with room for it; says where.
    fn place(&mut self, first: Lsn, records: usize) -> Result<u64, Trouble> {
        let length = self.buffer.len() as u64;
        // Every record could be of another repl, and the seal must always fit.
        let seal = (BATCH_HEADER + SEAL_ENTRY * (self.repls() + records)) as u64;
        let fits = self
            .current
            .as_ref()
            .is_some_and(|current| current.offset + length + seal <= current.file.header.size);
        if !fits {
            self.seal(first)?;
            self.create(length + seal, first)?;
        }
        let Some(current) = &mut self.current else { return Err(Trouble::End) };
        let offset = current.offset;
        // Again at the same place after a full disk: no fsync was asked for in between.
        current
            .file
            .write_at(&self.buffer, offset)
            .map_err(|error| Trouble::new("write", &current.file.path, &error))?;
        current.offset += length;
        Ok(offset)
    }

    fn note(&self, first: Lsn, batch: &[Entry], offset: u64) {
        let mut index = self.shared.index();
        let Some(segment) = index.active() else { return };
        for (at, entry) in batch.iter().enumerate() {
            let lsn = Lsn(first.0 + at as u64);
            if entry.kind != format::KIND_COVERED {
                segment.note(entry.repl, lsn, offset, 0);
            }
            segment.last = lsn;
        }
    }

    fn repls(&self) -> usize {
        self.shared.index().active().map_or(0, |segment| segment.repls.len())
    }

    /// Ends the current segment: the seal says what is in it.
    fn seal(&mut self, next: Lsn) -> Result<(), Trouble> {
        let Some(current) = &self.current else { return Ok(()) };
        let repls: Vec<_> = match self.shared.index().active() {
            Some(segment) => {
                segment.repls.iter().map(|(repl, span)| (*repl, span.first, span.last)).collect()
            }
            None => Vec::new(),
        };
        let seal = format::encode_seal(self.identity.boot, next, repls.into_iter());
        let path = &current.file.path;
        current
            .file
            .write_at(&seal, current.offset)
            .map_err(|error| Trouble::new("seal", path, &error))?;
        current
            .file
            .sync()
            .map_err(|error| Trouble::Fatal(format!("can't sync {}: {error}", path.display())))?;
        let length = current.offset + seal.len() as u64;
        current.file.shorten(length);
        self.bytes = self.bytes.saturating_sub(current.file.header.size) + length;
        self.current = None;
        let unneeded = {
            let mut index = self.shared.index();
            if let Some(segment) = index.active() {
                segment.active = false;
            }
            index.take_unneeded()
        };
        self.delete(unneeded);
        Ok(())
    }

    /// Starts a segment that holds at least `length` bytes of batches.
    fn create(&mut self, length: u64, first: Lsn) -> Result<(), Trouble> {
        let size = self.options.segment_bytes.max(length + SEGMENT_HEADER as u64);
        if self.bytes + size > self.options.quota_bytes {
            return Err(Trouble::Full(format!(
                "its files hold {} of {} bytes that no stored snapshot covers yet",
                self.bytes, self.options.quota_bytes
            )));
        }
        let header = SegmentHeader { first, size, ..self.identity };
        let file = SegmentFile::create(
            &self.directory,
            header,
            #[cfg(test)]
            self.options.faults.clone(),
        )
        .map_err(|error| Trouble::new("make a segment in", &self.directory, &error))?;
        self.bytes += size;
        self.shared.index().segments.push(Segment {
            path: file.path.clone(),
            node: header.node,
            boot: header.boot,
            first,
            last: Lsn(first.0 - 1),
            repls: Default::default(),
            active: true,
            damaged: false,
        });
        self.current = Some(Current { file, offset: SEGMENT_HEADER as u64 });
        Ok(())
    }

    /// Without it the segment stays readable, only larger and less exact about damage.
    fn seal_left(&mut self, left: Unsealed) {
        let seal = format::encode_seal(left.boot, left.next, left.repls.into_iter());
        let held = std::fs::metadata(&left.path).map_or(0, |metadata| metadata.len());
        match segment::seal_after_crash(&left.path, &seal, left.end) {
            Ok(length) => self.bytes = self.bytes.saturating_sub(held) + length,
            Err(error) => {
                tracing::warn!(path = %left.path.display(), %error, "can't seal a log segment");
            }
        }
    }

    fn delete(&mut self, paths: Vec<PathBuf>) {
        for path in paths {
            let length = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
            // The directory is not synced: a file that comes back is only read once more.
            match std::fs::remove_file(&path) {
                Ok(()) => self.bytes = self.bytes.saturating_sub(length),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "can't delete a log segment");
                }
            }
        }
    }

    fn finish(mut self) {
        let next = Lsn(self.durable.borrow().0 + 1);
        if let Err(Trouble::Fatal(reason)) = self.seal(next) {
            tracing::error!(reason, "the log has failed");
            return self.shared.set_state(LogState::Failed { reason });
        }
        self.shared.set_state(LogState::Closed);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = "its thread has panicked".to_owned();
            self.shared.set_state(LogState::Failed { reason });
        }
    }
}

/// How many entries go into the next batch: at least one.
fn batch_length(entries: &[Entry]) -> usize {
    let mut bytes = 0;
    for (index, entry) in entries.iter().enumerate() {
        bytes += entry.bytes();
        if bytes > BATCH_BYTES && index > 0 {
            return index;
        }
    }
    entries.len()
}
