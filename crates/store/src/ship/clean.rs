//! Housekeeping of what dead boots left: their chunks go once committed manifests cover them.

use std::collections::{HashMap, HashSet};

use tandem_proto::ReplId;
use tokio::sync::OnceCell;

use super::ShippedLogs;
use crate::alive;
use crate::log::Log;
use crate::object::ObjectError;
use crate::position::Positions;
use crate::repl::list_repls;

/// Chunks that one pass looks into at most.
const PASS: usize = 500;
/// What a dead boot left is no business of ours before it has been silent for this long.
const SILENT_MS: u64 = 60_000;

/// What the newest committed state of a repl says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// Its manifest covers these positions.
    Covers(Positions),
    /// There is no such repl any more.
    Gone,
    /// Not known now: nothing is deleted on its account.
    Unknown,
}

/// What [`delete_covered`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Chunks deleted.
    pub chunks: usize,
    /// Old signs of life deleted.
    pub signs: usize,
}

/// Deletes what dead boots left and, as far as this process knows, nobody needs. What only repls
/// need that were not opened since the start stays, until they are.
pub(super) async fn of_dead_boots(logs: &ShippedLogs, log: &Log) -> Result<Cleaned, ObjectError> {
    // One listing for all: whose folder is gone is gone for good.
    let living: OnceCell<HashSet<ReplId>> = OnceCell::new();
    delete_covered(logs, |repl| {
        let living = &living;
        async move {
            if let Some(positions) = log.covered_elsewhere(repl) {
                return Ok(Committed::Covers(positions));
            }
            let living = living
                .get_or_try_init(|| async {
                    list_repls(&**logs.blobs()).await.map(|repls| repls.into_iter().collect())
                })
                .await?;
            match living.contains(&repl) {
                true => Ok(Committed::Unknown),
                false => Ok(Committed::Gone),
            }
        }
    })
    .await
}

/// Deletes the chunks of silent boots that committed manifests cover, and their signs of life.
/// `committed` is asked once for each repl in them.
///
/// # Errors
/// See [`ObjectError`]. A corrupt chunk is kept, and is no error here.
pub async fn delete_covered<F, Answer>(
    logs: &ShippedLogs,
    committed: F,
) -> Result<Cleaned, ObjectError>
where
    F: Fn(ReplId) -> Answer,
    Answer: Future<Output = Result<Committed, ObjectError>>,
{
    let listing = logs.list().await?;
    let lives = alive::newest(&listing.others);
    // By the store's own clock: ours may differ.
    let now_ms = listing
        .others
        .iter()
        .chain(listing.chunks.iter().map(|chunk| &chunk.info))
        .map(|info| info.modified_ms)
        .max()
        .unwrap_or_default();
    let silent = |boot| {
        boot != logs.own()
            && lives.get(&boot).is_none_or(|life| life.modified_ms + SILENT_MS < now_ms)
    };
    let mut cleaned = Cleaned::default();
    let mut known: HashMap<ReplId, Committed> = HashMap::new();
    for chunk in listing
        .chunks
        .iter()
        .filter(|chunk| silent((chunk.key.node, chunk.key.boot)))
        .filter(|chunk| chunk.info.modified_ms + SILENT_MS < now_ms)
        .take(PASS)
    {
        let index = match logs.index(&chunk.info.key).await {
            Ok(Some(index)) => index,
            Ok(None) => continue,
            Err(error @ (ObjectError::Store(_) | ObjectError::Interrupted)) => return Err(error),
            // Whoever opens a repl that needs it gets the error.
            Err(_) => continue,
        };
        let boot = (index.node, index.boot);
        let mut needed = false;
        for group in &index.repls {
            let state = match known.get(&group.repl) {
                Some(state) => state,
                None => {
                    let state = committed(group.repl).await?;
                    known.entry(group.repl).or_insert(state)
                }
            };
            needed = match state {
                Committed::Covers(covered) => {
                    covered.get(&boot).is_none_or(|covered| *covered < group.last)
                }
                Committed::Gone => false,
                Committed::Unknown => true,
            };
            if needed {
                break;
            }
        }
        if !needed {
            logs.blobs().delete(&chunk.info.key).await?;
            cleaned.chunks += 1;
        }
    }
    for (boot, life) in &lives {
        if silent(*boot) {
            for key in &life.keys {
                logs.blobs().delete(key).await?;
                cleaned.signs += 1;
            }
        }
    }
    Ok(cleaned)
}
