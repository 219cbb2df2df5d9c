//! What must still be removed, because the daemon was away or slow when it should have been.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tandem_proto::SandboxId;

use super::{Kit, container, name_of};
use crate::driver::SandboxError;
use crate::record;

const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// See the module. Kept in memory only: the next server looks for itself.
#[derive(Debug, Default)]
pub(super) struct Debts(Mutex<Owed>);

#[derive(Debug, Default)]
struct Owed {
    /// To be ended, and their folders removed.
    stops: BTreeSet<SandboxId>,
    /// Look for containers without a folder.
    sweep: bool,
    /// Somebody is at it.
    is_paying: bool,
}

impl Debts {
    pub(super) fn stop(&self, sandbox: SandboxId) {
        let mut owed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        owed.stops.insert(sandbox);
        owed.sweep = true;
    }

    pub(super) fn sweep(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sweep = true;
    }

    /// Whether there is something to do and nobody does it; the caller does, then.
    pub(super) fn take_over(&self) -> bool {
        let mut owed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = !owed.is_paying && owed.is_there();
        owed.is_paying |= wanted;
        wanted
    }

    /// Whether it is all done; then nobody is at it any more.
    fn is_paid(&self) -> bool {
        let mut owed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_paid = !owed.is_there();
        owed.is_paying &= !is_paid;
        is_paid
    }
}

impl Owed {
    fn is_there(&self) -> bool {
        self.sweep || !self.stops.is_empty()
    }
}

/// Tries until nothing is owed.
pub(super) async fn pay(kit: &Kit) {
    let mut pause = FIRST_RETRY;
    loop {
        pay_once(kit).await;
        if kit.debts.is_paid() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_RETRY);
    }
}

/// Tries once; what fails stays owed.
pub(super) async fn pay_once(kit: &Kit) {
    let (stops, sweep) = {
        let mut owed = kit.debts.0.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut owed.stops), std::mem::take(&mut owed.sweep))
    };
    for sandbox in stops {
        if let Err(error) = remove(kit, sandbox).await {
            tracing::debug!(%sandbox, %error, "its container cannot be removed yet");
            kit.debts.stop(sandbox);
        }
    }
    if sweep && let Err(error) = sweep_containers(kit).await {
        tracing::debug!(%error, "cannot look for containers that are left");
        kit.debts.sweep();
    }
}

async fn remove(kit: &Kit, sandbox: SandboxId) -> Result<(), SandboxError> {
    kit.daemon.remove(&name_of(sandbox)).await?;
    record::remove_folder(&kit.folder(sandbox))
        .map_err(SandboxError::io("cannot remove the sandbox's files"))
}

/// Removes this installation's containers that belong to no sandbox. One that is just being
/// started has its folder already.
async fn sweep_containers(kit: &Kit) -> Result<(), SandboxError> {
    let label = format!("{}={}", container::INSTALLATION, kit.installation);
    for found in kit.daemon.labelled(&label).await? {
        let sandbox = found.labels.get(container::SANDBOX).and_then(|id| id.parse().ok());
        let is_ours = sandbox.is_some_and(|sandbox| kit.folder(sandbox).exists());
        if !is_ours {
            tracing::info!(container = found.id, "a container that was left is removed");
            kit.daemon.remove(&found.id).await?;
        }
    }
    Ok(())
}
