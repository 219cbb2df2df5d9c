//! Between the rooms and the writing thread: a bounded queue and the index, each behind its own
//! short lock.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tandem_proto::{Lsn, ReplId};
use tokio::sync::watch;

use super::format::Entry;
use super::index::Index;
use super::{LogError, LogState};
use crate::position::Positions;

#[derive(Debug)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    index: Mutex<Index>,
    queue_bytes: usize,
    /// Of all records that became durable.
    durable_bytes: AtomicU64,
}

#[derive(Debug)]
struct Queue {
    entries: Vec<Entry>,
    /// Of what is appended and not yet durable, in flight included.
    bytes: usize,
    next: u64,
    /// Position of the last record that somebody may wait for.
    current: Lsn,
    deletions: Vec<PathBuf>,
    closing: bool,
    /// The writer waits; a notification is a system call, so only then.
    waiting: bool,
    state: watch::Sender<LogState>,
    unwritten: usize,
}

/// What the writer does next.
pub(super) struct Work {
    pub first: Lsn,
    pub entries: Vec<Entry>,
    pub deletions: Vec<PathBuf>,
    pub closing: bool,
}

impl Shared {
    pub fn new(index: Index, queue_bytes: usize, state: watch::Sender<LogState>) -> Self {
        let queue = Queue {
            entries: Vec::new(),
            bytes: 0,
            next: 1,
            current: Lsn(0),
            deletions: Vec::new(),
            closing: false,
            waiting: false,
            state,
            unwritten: 0,
        };
        Self {
            queue: Mutex::new(queue),
            wake: Condvar::new(),
            index: Mutex::new(index),
            queue_bytes,
            durable_bytes: AtomicU64::new(0),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No code under this lock can leave it half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn append(&self, entry: Entry) -> Result<Lsn, LogError> {
        let mut queue = self.queue();
        queue.check_ready()?;
        let bytes = entry.bytes();
        if queue.bytes > 0 && queue.bytes + bytes > self.queue_bytes {
            return Err(LogError::Full);
        }
        let lsn = queue.push(entry);
        queue.current = lsn;
        self.wake_writer(queue);
        Ok(lsn)
    }

    /// Whether a record would be taken. The last part of the queue is left to those who can't ask.
    pub fn check_ready(&self) -> Result<(), LogError> {
        let queue = self.queue();
        queue.check_ready()?;
        match queue.bytes > self.queue_bytes / 2 {
            true => Err(LogError::Full),
            false => Ok(()),
        }
    }

    pub fn current(&self) -> Lsn {
        self.queue().current
    }

    pub fn covered(&self, repl: ReplId, positions: &Positions) {
        let (unneeded, note) = {
            let mut index = self.index();
            let had = index.has(repl);
            (index.cover(repl, positions), had)
        };
        let entry = if note { Entry::covered(repl, positions) } else { None };
        let mut queue = self.queue();
        if let Some(entry) = entry
            && queue.check_ready().is_ok()
            && queue.bytes < self.queue_bytes
        {
            // Rides along with the next batch: losing it costs a look into the blob store.
            queue.push(entry);
        }
        if !unneeded.is_empty() {
            queue.deletions.extend(unneeded);
            self.wake_writer(queue);
        }
    }

    pub fn close(&self) {
        let mut queue = self.queue();
        queue.closing = true;
        self.wake_writer(queue);
    }

    pub fn outcome(&self) -> Result<(), LogError> {
        let queue = self.queue();
        if let LogState::Failed { reason } = &*queue.state.borrow() {
            return Err(LogError::Failed { reason: reason.clone() });
        }
        match queue.unwritten {
            0 => Ok(()),
            records => Err(LogError::Unwritten { records }),
        }
    }

    fn wake_writer(&self, mut queue: MutexGuard<'_, Queue>) {
        if std::mem::take(&mut queue.waiting) {
            drop(queue);
            self.wake.notify_one();
        }
    }

    // The writer's side.

    pub fn take_work(&self) -> Work {
        let mut queue = self.queue();
        loop {
            let idle = queue.entries.is_empty() && queue.deletions.is_empty();
            // A note of coverage alone does not wake us; `waiting` stays set until it is cleared.
            if !idle || queue.closing {
                break;
            }
            queue.waiting = true;
            while queue.waiting {
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
        let entries = std::mem::take(&mut queue.entries);
        Work {
            first: Lsn(queue.next - entries.len() as u64),
            entries,
            deletions: std::mem::take(&mut queue.deletions),
            closing: queue.closing,
        }
    }

    /// Waits for `retry` or the end; `false` at the end.
    pub fn pause(&self, retry: Duration) -> bool {
        let mut queue = self.queue();
        if !queue.closing {
            queue.waiting = true;
            queue = self.wake.wait_timeout(queue, retry).unwrap_or_else(PoisonError::into_inner).0;
            queue.waiting = false;
        }
        !queue.closing
    }

    pub fn take_deletions(&self) -> Vec<PathBuf> {
        std::mem::take(&mut self.queue().deletions)
    }

    pub fn durable_bytes(&self) -> u64 {
        self.durable_bytes.load(Ordering::Relaxed)
    }

    /// A batch is durable.
    pub fn written(&self, bytes: usize) {
        self.durable_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let mut queue = self.queue();
        queue.bytes = queue.bytes.saturating_sub(bytes);
        queue.set_state(LogState::Ready);
    }

    /// The writer ends with these unwritten, and whatever still queues.
    pub fn lost(&self, entries: usize) {
        let mut queue = self.queue();
        queue.unwritten += entries + queue.entries.len();
    }

    /// Under the queue's lock, so that no append sees the old state after this.
    pub fn set_state(&self, state: LogState) {
        self.queue().set_state(state);
    }
}

impl Queue {
    fn check_ready(&self) -> Result<(), LogError> {
        if self.closing {
            return Err(LogError::Closed);
        }
        match &*self.state.borrow() {
            LogState::Ready => Ok(()),
            LogState::ReadOnly { reason } => Err(LogError::ReadOnly { reason: reason.clone() }),
            LogState::Failed { reason } => Err(LogError::Failed { reason: reason.clone() }),
            LogState::Closed => Err(LogError::Closed),
        }
    }

    fn set_state(&self, state: LogState) {
        if *self.state.borrow() != state {
            self.state.send_replace(state);
        }
    }

    fn push(&mut self, entry: Entry) -> Lsn {
        let lsn = Lsn(self.next);
        self.next += 1;
        self.bytes += entry.bytes();
        self.entries.push(entry);
        lsn
    }
}
