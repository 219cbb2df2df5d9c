//! What waits to be sent to one socket. Filled by the room without waiting, emptied by the
//! socket's own task.
//!
//! Invariant: nothing is dropped in silence. When an edit does not fit, [`Outbox::push`] says so
//! and the room marks that document as lagging for this peer: it sends one difference from the
//! peer's last known state when the socket has drained ([`Outbox::take_drained`]).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tandem_proto::limits;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What a socket is told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// Send a binary message.
    Binary(Bytes),
    /// Close with this code, after what is queued.
    Close(u16, &'static str),
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Outgoing>,
    bytes: usize,
    closed: bool,
    refused: bool,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
    cancel: CancellationToken,
}

/// The room's end and the socket's end of one queue; cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
}

/// The queue is over its limit; the message was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Outbox {
    /// An empty queue; `cancel` ends the socket at once.
    pub fn new(cancel: CancellationToken) -> Self {
        let shared = Shared { queue: Mutex::default(), filled: Notify::new(), cancel };
        Self { shared: Arc::new(shared) }
    }

    /// Queues a message that may be replaced by a later full difference.
    ///
    /// # Errors
    /// [`Full`] above [`limits::MAX_SOCKET_QUEUE_BYTES`].
    pub fn push(&self, message: Bytes) -> Result<(), Full> {
        let mut queue = self.lock();
        if queue.bytes > 0 && queue.bytes + message.len() > limits::MAX_SOCKET_QUEUE_BYTES {
            queue.refused = true;
            return Err(Full);
        }
        queue.bytes += message.len();
        queue.messages.push_back(Outgoing::Binary(message));
        drop(queue);
        self.shared.filled.notify_one();
        Ok(())
    }

    /// Queues a message that must not be lost (acks, answers). A peer that lets these pile up to
    /// eight times the limit is disconnected.
    pub fn push_always(&self, message: Bytes) {
        let mut queue = self.lock();
        queue.bytes += message.len();
        let flooded = queue.bytes > 8 * limits::MAX_SOCKET_QUEUE_BYTES;
        queue.messages.push_back(Outgoing::Binary(message));
        drop(queue);
        if flooded {
            self.shared.cancel.cancel();
        }
        self.shared.filled.notify_one();
    }

    /// Closes the socket after what is queued.
    pub fn close(&self, code: u16, reason: &'static str) {
        let mut queue = self.lock();
        if !queue.closed {
            queue.closed = true;
            queue.messages.push_back(Outgoing::Close(code, reason));
        }
        drop(queue);
        self.shared.filled.notify_one();
    }

    /// Whether something was refused before and little enough is queued now to catch up. Answers
    /// yes once.
    pub fn take_drained(&self) -> bool {
        let mut queue = self.lock();
        let drained = queue.refused && queue.bytes <= limits::MAX_SOCKET_QUEUE_BYTES / 4;
        if drained {
            queue.refused = false;
        }
        drained
    }

    /// The next message; waits for one. Cancel-safe.
    pub async fn next(&self) -> Outgoing {
        loop {
            if let Some(message) = self.try_next() {
                return message;
            }
            self.shared.filled.notified().await;
        }
    }

    /// The next message if there is one.
    pub fn try_next(&self) -> Option<Outgoing> {
        let mut queue = self.lock();
        let message = queue.messages.pop_front();
        if let Some(Outgoing::Binary(bytes)) = &message {
            queue.bytes -= bytes.len();
        }
        message
    }

    /// Ends the socket at once when cancelled.
    pub fn cancel(&self) -> &CancellationToken {
        &self.shared.cancel
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn order_is_kept_and_close_comes_last() {
        let outbox = Outbox::new(CancellationToken::new());
        outbox.push(Bytes::from_static(b"a")).unwrap();
        outbox.push_always(Bytes::from_static(b"b"));
        outbox.close(4403, "revoked");
        outbox.close(1000, "again");
        assert_eq!(outbox.next().await, Outgoing::Binary(Bytes::from_static(b"a")));
        assert_eq!(outbox.next().await, Outgoing::Binary(Bytes::from_static(b"b")));
        assert_eq!(outbox.next().await, Outgoing::Close(4403, "revoked"));
        assert_eq!(outbox.try_next(), None);
    }

    #[test]
    fn a_full_queue_refuses_and_a_drained_one_accepts() {
        let outbox = Outbox::new(CancellationToken::new());
        let half = Bytes::from(vec![0; limits::MAX_SOCKET_QUEUE_BYTES / 2 + 1]);
        outbox.push(half.clone()).unwrap();
        assert_eq!(outbox.push(half.clone()), Err(Full));
        assert!(!outbox.take_drained());
        outbox.try_next();
        assert!(outbox.take_drained());
        assert!(!outbox.take_drained());
        outbox.push(half).unwrap();
        assert!(!outbox.cancel().is_cancelled());
    }

    #[test]
    fn one_message_above_the_limit_still_passes_alone() {
        let outbox = Outbox::new(CancellationToken::new());
        assert_eq!(outbox.push(Bytes::from(vec![0; limits::MAX_SOCKET_QUEUE_BYTES + 1])), Ok(()));
    }
}
