//! What is done behind people's backs: catalogue records that could not be written at once,
//! sessions that ran out, repls whose time to be restored is over.

use std::time::Duration;

use crate::app::{App, Shared};
use crate::catalogue;
use crate::metadata::{MetadataError, wall_ms};

/// Time between looks at unwritten records.
const RECORD_EVERY: Duration = Duration::from_secs(5);
/// Looks between sweeps.
const SWEEP_EVERY: u32 = 720;
/// A deleted repl can be restored for this long.
const RESTORABLE_MS: u64 = 7 * 24 * 3_600 * 1_000;
/// A new repl that has no files after this long never will.
const UNFINISHED_MS: u64 = 3_600 * 1_000;

/// Runs until web stops, and records what is left then.
pub(crate) async fn run(app: Shared) {
    let mut tick = tokio::time::interval(RECORD_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut round = 0u32;
    loop {
        tokio::select! {
            biased;
            () = app.stopping.cancelled() => break,
            _ = tick.tick() => {}
        }
        catalogue::record_all(&app).await;
        if round.is_multiple_of(SWEEP_EVERY)
            && let Err(error) = sweep(&app).await
        {
            tracing::warn!(%error, "the sweep did not finish; it is tried again");
        }
        round = round.wrapping_add(1);
    }
    catalogue::record_all(&app).await;
}

async fn sweep(app: &App) -> Result<(), MetadataError> {
    let now = wall_ms();
    let ended = app.metadata.remove_expired_sessions(now).await?;
    let gone = app
        .metadata
        .repls_to_purge(now.saturating_sub(RESTORABLE_MS), now.saturating_sub(UNFINISHED_MS))
        .await?;
    for repl in &gone {
        if app.stopping.is_cancelled() {
            return Ok(());
        }
        if let Err(error) = catalogue::erase(app, *repl).await {
            // The row stays, so that the next sweep tries again.
            tracing::warn!(%repl, %error, "a deleted repl could not be erased yet");
            continue;
        }
        app.metadata.purge_repl(*repl).await?;
        tracing::info!(%repl, "a deleted repl was erased");
    }
    if ended > 0 {
        tracing::debug!(sessions = ended, "sessions ran out");
    }
    Ok(())
}
