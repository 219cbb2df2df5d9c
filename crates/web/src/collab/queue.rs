//! A queue of frames bounded by their bytes, so that a few large frames and many small ones
//! cost the same memory. Who puts waits when it is full.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Frames in a queue whatever their size.
const MAX_FRAMES: usize = 1_024;

/// The end that puts.
#[derive(Clone)]
pub(super) struct Sender {
    room: Arc<Semaphore>,
    max_bytes: u32,
    frames: mpsc::Sender<Queued>,
}

/// The end that takes.
pub(super) struct Receiver {
    frames: mpsc::Receiver<Queued>,
}

/// A frame that holds its room in the queue until it is dropped.
pub(super) struct Queued {
    pub(super) bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// The other end is gone.
#[derive(Debug)]
pub(super) struct Closed;

/// A queue of at most this many bytes; one larger frame is let in alone.
pub(super) fn queue(max_bytes: u32) -> (Sender, Receiver) {
    let (sender, frames) = mpsc::channel(MAX_FRAMES);
    let room = Arc::new(Semaphore::new(max_bytes as usize));
    (Sender { room, max_bytes, frames: sender }, Receiver { frames })
}

impl Sender {
    /// Puts a frame, when there is room for it.
    pub(super) async fn put(&self, bytes: Bytes) -> Result<(), Closed> {
        let wanted = u32::try_from(bytes.len()).unwrap_or(u32::MAX).clamp(1, self.max_bytes);
        let room = Arc::clone(&self.room).acquire_many_owned(wanted).await.map_err(|_| Closed)?;
        self.frames.send(Queued { bytes, _room: room }).await.map_err(|_| Closed)
    }
}

impl Receiver {
    /// Takes the oldest frame; `None` when nobody will put another.
    pub(super) async fn take(&mut self) -> Option<Queued> {
        self.frames.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn a_full_queue_makes_its_writer_wait() {
        let (sender, mut receiver) = queue(10);
        sender.put(Bytes::from_static(b"1234567")).await.unwrap();
        assert!(sender.put(Bytes::from_static(b"12345")).now_or_never().is_none());
        assert_eq!(receiver.take().await.unwrap().bytes, "1234567");
        sender.put(Bytes::from_static(b"a frame larger than all room")).await.unwrap();
        assert!(sender.put(Bytes::from_static(b"x")).now_or_never().is_none());
        drop(receiver);
        assert!(sender.put(Bytes::from_static(b"x")).await.is_err());
    }
}
