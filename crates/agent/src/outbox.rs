//! The way to the node that is connected now, if one is.

use std::sync::{Arc, Mutex, PoisonError};

use tandem_proto::agent::{Event, FromAgent};
use tokio::sync::mpsc;

/// Messages queued towards the node. When full, producers wait: each holds back its own source
/// (a watcher coalesces, a scan pauses, a file request is answered later).
const QUEUE: usize = 8;

/// Where events go. Without a connection they are dropped: whoever connects asks for the state
/// of everything first.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    connection: Arc<Mutex<Option<mpsc::Sender<FromAgent>>>>,
}

impl Outbox {
    /// A new connection; an older one gets nothing more.
    pub fn connect(&self) -> (mpsc::Sender<FromAgent>, mpsc::Receiver<FromAgent>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        *self.lock() = Some(sender.clone());
        (sender, receiver)
    }

    /// The connection is gone.
    pub fn disconnect(&self) {
        *self.lock() = None;
    }

    /// Sends an event, or drops it when nobody is connected.
    pub async fn event(&self, event: Event) {
        let sender = self.lock().clone();
        if let Some(sender) = sender {
            // An error means that the connection ended meanwhile.
            let _ = sender.send(FromAgent::Event(event)).await;
        }
    }

    /// Sends an event unless that would mean to wait; whether it need not be tried again.
    pub fn try_event(&self, event: Event) -> bool {
        match self.lock().as_ref() {
            Some(sender) => !matches!(
                sender.try_send(FromAgent::Event(event)),
                Err(mpsc::error::TrySendError::Full(_))
            ),
            None => true,
        }
    }

    /// As [`Outbox::event`], from a thread.
    pub fn event_blocking(&self, event: Event) {
        let sender = self.lock().clone();
        if let Some(sender) = sender {
            let _ = sender.blocking_send(FromAgent::Event(event));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Sender<FromAgent>>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
