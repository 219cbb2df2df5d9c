//! Packs stay few and small: eight of a kind are joined to one, and the oldest are thinned. It runs
//! beside the room, and the next manifest names what came of it; the packs before stay until the
//! sweep, since older manifests name them.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tandem_proto::FileId;
use tandem_store::{Grain, HistoryPack, ObjectError, ReplStore, StoredPack};

use super::History;
use crate::history::{Deadline, HistoryError, Retention, join, thin};
use crate::lease::wall_ms;
use crate::room::{Continuation, Room};

/// So many packs of a tier make one of the next.
const JOINED: usize = 8;
/// Packs that are larger together are not joined.
const MAX_JOINED_BYTES: u64 = 8 * 1024 * 1024;
/// What is thinned at once.
const MAX_THINNED_BYTES: u64 = 64 * 1024 * 1024;
/// Between two thinnings of a repl, at most.
const BETWEEN: Duration = Duration::from_secs(60 * 60);
/// Longest time spent on one.
const LIMIT: Duration = Duration::from_secs(60);

/// How far it is.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    running: bool,
    given_up: bool,
    thinned: Option<Instant>,
}

/// What is to be done with packs that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Job {
    Join,
    Thin,
}

impl Room {
    /// Starts what is due, after a flush.
    pub(in crate::room) fn keep_history_small(&mut self) {
        let Upkeep { running, given_up, .. } = self.history.upkeep;
        if running || given_up || self.ending.is_some() || self.saved.gave_up() {
            return;
        }
        let retention = self.shared.room.history;
        let Some((job, packs)) = self.history.due(retention, wall_ms(), Instant::now()) else {
            return;
        };
        self.history.upkeep.running = true;
        if job == Job::Thin {
            self.history.upkeep.thinned = Some(Instant::now());
        }
        let alive = self.files_with_history();
        let store = self.store.clone();
        self.spawn(async move {
            let outcome = rewrite(&store, (job, &packs), alive, retention).await;
            Box::new(move |room: &mut Room| {
                room.history.upkeep.running = false;
                match outcome {
                    Ok(new) => {
                        if room.history.replace(&packs, new) {
                            room.saved.tree_changed();
                            room.keep_history_small();
                        }
                    }
                    Err(error) => {
                        tracing::warn!(repl = %room.repl, %error, "history packs could not be joined; they stay as they are");
                        // Else again with each flush.
                        room.history.upkeep.given_up = !error.is_retryable();
                    }
                }
            }) as Continuation
        });
    }

    /// Files that are there or can be brought back.
    fn files_with_history(&self) -> HashSet<FileId> {
        let deleted = self.deletions.iter().flat_map(|deleted| &deleted.nodes);
        self.tree.iter().map(|(id, _)| id).chain(deleted.map(|(id, _, _)| *id)).collect()
    }
}

impl History {
    fn due(
        &self,
        retention: Retention,
        now_ms: u64,
        now: Instant,
    ) -> Option<(Job, Vec<StoredPack>)> {
        if let Some(packs) = self.joinable() {
            return Some((Job::Join, packs));
        }
        // Where single edits are kept for less, waiting for an hour would keep them longer.
        let between = BETWEEN.min(retention.raw);
        if self.upkeep.thinned.is_some_and(|last| now.duration_since(last) < between) {
            return None;
        }
        self.thinnable(retention, now_ms).map(|packs| (Job::Thin, packs))
    }

    /// The newest packs of one tier, when there are enough of them in a row.
    fn joinable(&self) -> Option<Vec<StoredPack>> {
        let alike =
            |one: &StoredPack, next: &StoredPack| one.tier == next.tier && one.grain == next.grain;
        let runs: Vec<&[StoredPack]> = self.packs.chunk_by(alike).collect();
        let run = runs.into_iter().rev().find(|run| {
            let first = run.get(..JOINED).unwrap_or_default();
            !first.is_empty()
                && first.iter().map(|pack| pack.bytes).sum::<u64>() <= MAX_JOINED_BYTES
        })?;
        run.get(..JOINED).map(<[StoredPack]>::to_vec)
    }

    /// The oldest packs, up to the last that has single edits which are too old for that.
    fn thinnable(&self, retention: Retention, now_ms: u64) -> Option<Vec<StoredPack>> {
        let is_old = |pack: &StoredPack, age: Duration| {
            now_ms.saturating_sub(pack.to_ms) > age.as_millis() as u64
        };
        let mut bytes = 0;
        let old: Vec<&StoredPack> = self
            .packs
            .iter()
            .take_while(|pack| {
                bytes += pack.bytes;
                is_old(pack, retention.raw) && bytes <= MAX_THINNED_BYTES
            })
            .collect();
        let is_due = old.iter().any(|pack| match pack.grain {
            Grain::Edit => true,
            Grain::Hour => is_old(pack, retention.hourly),
            Grain::Day => false,
        });
        is_due.then(|| old.into_iter().cloned().collect())
    }

    /// Puts a pack in the place of others, if they still follow each other.
    fn replace(&mut self, old: &[StoredPack], new: Option<StoredPack>) -> bool {
        let Some(first) = old.first() else { return false };
        let Some(at) = self.packs.iter().position(|pack| pack.key == first.key) else {
            return false;
        };
        let is_there = self
            .packs
            .get(at..at + old.len())
            .is_some_and(|packs| packs.iter().zip(old).all(|(one, other)| one.key == other.key));
        if is_there {
            self.packs.splice(at..at + old.len(), new);
        }
        is_there
    }
}

/// Why packs stay as they are.
#[derive(Debug, thiserror::Error)]
enum UpkeepError {
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error("the work was interrupted")]
    Interrupted,
}

impl UpkeepError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Object(error) => error.is_retryable(),
            Self::History(_) => false,
            Self::Interrupted => true,
        }
    }
}

async fn rewrite(
    store: &ReplStore,
    (job, packs): (Job, &[StoredPack]),
    alive: HashSet<FileId>,
    retention: Retention,
) -> Result<Option<StoredPack>, UpkeepError> {
    let mut read: Vec<HistoryPack> = Vec::with_capacity(packs.len());
    for pack in packs {
        read.push(store.get_history(&pack.key).await?);
    }
    let tier = packs.iter().map(|pack| pack.tier).max().unwrap_or(0);
    let grain = packs.iter().map(|pack| pack.grain).max().unwrap_or(Grain::Edit);
    let now_ms = wall_ms();
    let work = tokio::task::spawn_blocking(move || match job {
        Job::Join => Ok((join(read), (tier.saturating_add(1), grain))),
        Job::Thin => {
            let deadline = Deadline(Instant::now() + LIMIT);
            let pack = thin(read, &alive, (retention, now_ms), deadline)?;
            let newest = packs_age(&pack, now_ms);
            let grain = if newest > retention.hourly { Grain::Day } else { Grain::Hour };
            // Apart from the tiers of packs that are still whole.
            Ok((pack, (u8::MAX, grain)))
        }
    });
    let (pack, kind) =
        work.await.map_err(|_| UpkeepError::Interrupted)?.map_err(UpkeepError::History)?;
    Ok(store.put_history(&pack, kind).await?)
}

/// How old the newest edit of a pack is.
fn packs_age(pack: &HistoryPack, now_ms: u64) -> Duration {
    let newest = pack.files.iter().flat_map(|file| &file.edits).map(|edit| edit.ms).max();
    Duration::from_millis(now_ms.saturating_sub(newest.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(number: u64, tier: u8, grain: Grain) -> StoredPack {
        StoredPack {
            key: format!("k{number}"),
            from_ms: number * 1_000,
            to_ms: number * 1_000 + 999,
            bytes: 1_000,
            tier,
            grain,
            files: Vec::new(),
        }
    }

    #[test]
    fn eight_of_a_tier_become_one_of_the_next() {
        let mut history = History::default();
        let mut most = 0;
        for number in 0..600 {
            history.packs.push(pack(number, 0, Grain::Edit));
            while let Some(old) = history.joinable() {
                assert_eq!(old.len(), JOINED);
                let new = pack(number + 10_000, old[0].tier + 1, Grain::Edit);
                assert!(history.replace(&old, Some(new)));
            }
            most = most.max(history.packs.len());
        }
        assert!(most <= 4 * JOINED, "{most}");
        let tiers: Vec<u8> = history.packs.iter().map(|pack| pack.tier).collect();
        assert!(tiers.is_sorted_by(|one, next| one >= next), "{tiers:?}");
    }

    #[test]
    fn what_changed_meanwhile_is_not_replaced() {
        let mut history = History::default();
        history.packs.extend((0..8).map(|number| pack(number, 0, Grain::Edit)));
        let old = history.joinable().unwrap();
        history.packs.remove(3);
        assert!(!history.replace(&old, None));
        assert_eq!(history.packs.len(), 7);
    }

    #[test]
    fn only_what_is_old_is_thinned_and_only_once() {
        let retention = Retention {
            raw: Duration::from_secs(10),
            hourly: Duration::from_secs(100),
            daily: Duration::from_secs(1_000),
        };
        let mut history = History::default();
        history.packs.extend((0..20).map(|number| pack(number, 3, Grain::Edit)));
        let keys = |packs: Option<Vec<StoredPack>>| packs.map(|packs| packs.len());
        assert_eq!(keys(history.thinnable(retention, 5_000)), None);
        assert_eq!(keys(history.thinnable(retention, 20_000)), Some(10));
        let old = history.thinnable(retention, 20_000).unwrap();
        assert!(history.replace(&old, Some(pack(9, u8::MAX, Grain::Hour))));
        assert_eq!(keys(history.thinnable(retention, 20_000)), None);
        assert_eq!(keys(history.thinnable(retention, 21_000)), Some(2));
        let now = 200_000;
        assert_eq!(keys(history.thinnable(retention, now)), Some(11));
    }
}
