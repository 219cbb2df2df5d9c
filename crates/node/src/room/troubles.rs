//! What goes wrong on the way to durability: the shipping of the log, this room's own saving, and
//! the log itself. The page shows it as it is.
//!
//! A log that takes nothing now (disk or quota full) does not end the room: people read on, their
//! edits are refused and stay with them, and what programs write is looked at afterwards.

use tandem_store::LogState;
use tokio::sync::watch;

use super::Room;

/// See the module.
pub struct Troubles {
    shipping: watch::Receiver<Option<String>>,
    log: watch::Receiver<LogState>,
    /// Why the last try to save failed.
    pub saving: Option<String>,
    /// Edits were refused, or a look at the disk was put off, because the log took nothing.
    pub put_off: bool,
}

impl Troubles {
    /// Nothing is known to be wrong.
    pub fn new(shipping: watch::Receiver<Option<String>>, log: watch::Receiver<LogState>) -> Self {
        Self { shipping, log, saving: None, put_off: false }
    }

    /// Waits for news. Cancel-safe.
    pub async fn changed(&mut self) {
        let (shipping, log) = (&mut self.shipping, &mut self.log);
        let news = async |changed: Result<(), watch::error::RecvError>| match changed {
            Ok(()) => {}
            // At the server's end there is no more of it.
            Err(_) => std::future::pending().await,
        };
        tokio::select! {
            () = async { news(shipping.changed().await).await } => {}
            () = async { news(log.changed().await).await } => {}
        }
    }
}

impl Room {
    /// Whether the log takes records now. If not, what is put off comes again.
    pub(super) fn log_takes_records(&mut self) -> bool {
        let takes = self.shared.log.check_ready().is_ok();
        self.troubles.put_off |= !takes;
        takes
    }

    /// Brings what the page shows up to date.
    pub(super) fn troubles_changed(&mut self) {
        let log = match &*self.troubles.log.borrow_and_update() {
            LogState::Ready => None,
            LogState::ReadOnly { reason } | LogState::Failed { reason } => Some(reason.clone()),
            LogState::Closed => Some("the server is stopping".to_owned()),
        };
        let shipping = self.troubles.shipping.borrow_and_update().clone();
        let blob_store = self.troubles.saving.clone().or(shipping);
        let shown = &mut self.live.durability;
        if shown.log_error != log || shown.blob_store_error != blob_store {
            (shown.log_error, shown.blob_store_error) = (log, blob_store);
            self.live.changed();
        }
        self.resume_put_off();
    }

    /// Once the log takes records again: asks for the edits that were refused, and looks at the
    /// disk.
    pub(super) fn resume_put_off(&mut self) {
        if !self.troubles.put_off || self.shared.log.check_ready().is_err() {
            return;
        }
        self.troubles.put_off = false;
        self.ask_refused();
        self.inspect_changed();
        if self.disk.is_known() {
            self.rescan();
        }
    }
}
