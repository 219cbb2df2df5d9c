//! What people typed and the program has not read yet.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// Bytes queued before a stream is no longer read from. The kernel holds another 64 KiB or so.
const MAX_QUEUED: usize = 128 * 1024;

/// A bounded queue of several writers and one reader.
#[derive(Debug, Default)]
pub struct Input {
    queue: Mutex<Queue>,
    filled: Notify,
    drained: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Bytes>,
    bytes: usize,
}

impl Input {
    /// Waits for room and adds bytes.
    pub async fn push(&self, bytes: Bytes) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            {
                let mut queue = self.lock();
                if queue.bytes == 0 || queue.bytes + bytes.len() <= MAX_QUEUED {
                    queue.bytes += bytes.len();
                    queue.chunks.push_back(bytes);
                    self.filled.notify_one();
                    return;
                }
            }
            drained.await;
        }
    }

    /// The next bytes; they no longer count as queued.
    pub async fn pop(&self) -> Bytes {
        loop {
            {
                let mut queue = self.lock();
                if let Some(bytes) = queue.chunks.pop_front() {
                    queue.bytes -= bytes.len();
                    self.drained.notify_waiters();
                    return bytes;
                }
            }
            self.filled.notified().await;
        }
    }

    /// Whether the program is behind with reading.
    pub fn is_backed_up(&self) -> bool {
        self.lock().bytes > 0
    }

    /// Forgets everything queued.
    pub fn clear(&self) {
        let mut queue = self.lock();
        queue.chunks.clear();
        queue.bytes = 0;
        self.drained.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
