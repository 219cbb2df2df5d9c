//! Waits for every child: our own, whose status someone wants, and orphans, whom nobody misses.
//!
//! Only this module waits. A child is registered under the same lock that a round of waiting
//! takes, so a child that ends at once is not mistaken for an orphan.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, WaitOptions, WaitStatus};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

type Waiting = HashMap<i32, oneshot::Sender<WaitStatus>>;

/// Hands the exit status of children to those who started them.
#[derive(Debug, Clone, Default)]
pub struct Reaper {
    waiting: Arc<Mutex<Waiting>>,
}

impl Reaper {
    /// Runs `start`, which must start exactly one child, and says how to learn of its end.
    pub fn spawn<E>(
        &self,
        start: impl FnOnce() -> Result<Pid, E>,
    ) -> Result<(Pid, oneshot::Receiver<WaitStatus>), E> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = start()?;
        let (sender, receiver) = oneshot::channel();
        waiting.insert(pid.as_raw_nonzero().get(), sender);
        Ok((pid, receiver))
    }

    /// Listens for ended children from now on.
    pub fn listen() -> std::io::Result<Signal> {
        signal(SignalKind::child())
    }

    /// Reaps for ever.
    pub async fn run(self, mut ended: Signal) {
        loop {
            self.reap();
            if ended.recv().await.is_none() {
                return;
            }
        }
    }

    fn reap(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // ECHILD and "none has ended" both mean that this round is over.
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if let Some(sender) = waiting.remove(&pid.as_raw_nonzero().get()) {
                // The terminal may have been closed: then nobody asks.
                let _ = sender.send(status);
            }
        }
    }
}
