//! Once a day a room removes what its repl no longer needs from the blob store, and forgets
//! positions in logs that are gone.
//!
//! Only right after a manifest was committed and while nothing is owed: what is stored and not
//! named yet must not be taken for unneeded. In doubt things stay.

use std::sync::Arc;

use tandem_proto::{BootId, NodeId};
use tandem_store::{BlobError, BlobStore, Swept, ship};

use super::{Continuation, Room};
use crate::lease::wall_ms;

impl Room {
    /// A manifest was committed: sweeps when it is time.
    pub(super) fn sweep_if_due(&mut self) {
        let now = wall_ms();
        let rests = !self.saved.owes_manifest() && !self.uploads.in_flight() && self.storing == 0;
        let every = self.shared.room.sweep_every.as_millis() as u64;
        if now < self.saved.swept_ms.saturating_add(every) || !rests || !self.lease.may_ack() {
            return;
        }
        // Not again before this one has ended, whatever becomes of it.
        self.saved.swept_ms = now;
        let gone: Vec<BootId> = {
            let here = self.shared.log.horizon();
            let own = self.shared.node;
            let covered = self.saved.covered_boots();
            covered
                .filter(|(node, boot)| *node == own && *boot != self.shared.boot)
                .filter(|position| !here.contains_key(position))
                .map(|(_, boot)| boot)
                .collect()
        };
        let (store, blobs) = (self.store.clone(), self.shared.blobs.clone());
        let (epoch, node) = (self.lease.epoch, self.shared.node);
        self.spawn(async move {
            let swept = store.sweep(epoch, now).await;
            let unshipped = without_chunks(&blobs, node, gone).await;
            Box::new(move |room: &mut Room| {
                match swept {
                    Ok(Swept { objects: 0, .. }) => {}
                    Ok(Swept { objects, bytes }) => {
                        tracing::info!(repl = %room.repl, objects, bytes, "unneeded objects were removed");
                    }
                    Err(error) => {
                        tracing::warn!(repl = %room.repl, %error, "unneeded objects stay for now");
                        room.saved.swept_ms = now.saturating_sub(every - every / 24);
                    }
                }
                room.saved.forget_boots(node, &unshipped.unwrap_or_default());
            }) as Continuation
        });
    }
}

/// Boots of this node of which nothing is left: not in its directory, and shipped no more.
async fn without_chunks(
    blobs: &Arc<dyn BlobStore>,
    node: NodeId,
    boots: Vec<BootId>,
) -> Result<Vec<BootId>, BlobError> {
    let mut gone = Vec::new();
    for boot in boots {
        if blobs.list(&ship::log_folder((node, boot))).await?.is_empty() {
            gone.push(boot);
        }
    }
    Ok(gone)
}
