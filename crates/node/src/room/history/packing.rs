//! From what waits to a pack, as part of a flush.

use std::collections::HashSet;

use tandem_proto::MemberId;
use tandem_proto::history::HistoryAuthor;
use tandem_store::{
    Grain, HistoryPack, ObjectError, PackedBase, PackedEdit, PackedFile, ReplStore, Snapshots,
    StoredPack,
};

use super::{History, Key};
use crate::lease::wall_ms;
use crate::room::Room;
use crate::room::files::Stored;
use crate::room::loading::load_all;

/// What waits, as it was in one turn.
pub struct CapturedHistory {
    files: Vec<CapturedFile>,
    people: Vec<HistoryAuthor>,
    client_id: u64,
}

struct CapturedFile {
    key: Key,
    edits: Vec<PackedEdit>,
    base: Base,
    given_up: bool,
}

/// What leads to the state before the first edit.
enum Base {
    /// The packs before, or the document's beginning.
    Known,
    /// The snapshot that the last manifest names.
    Snapshot(String),
    /// All snapshots as they are before this flush.
    Union,
    /// The state of the same turn: there are no single edits any more.
    Present(Option<Vec<u8>>),
}

/// What became of a [`CapturedHistory`].
pub struct Packed {
    /// The new pack, if anything waited.
    pub pack: Option<StoredPack>,
    /// How much of what waits is in it.
    taken: Vec<(Key, usize)>,
}

impl Room {
    /// All that waits.
    pub(in crate::room) fn capture_history(&self) -> CapturedHistory {
        let mut authors: HashSet<MemberId> = HashSet::new();
        let mut files = Vec::with_capacity(self.history.waiting.len());
        for (key, waiting) in &self.history.waiting {
            let packed = self.history.packs.iter().any(|pack| pack.files.contains(key));
            let begun = packed || self.history.begun_here.contains(key);
            let base = if waiting.given_up {
                let document =
                    self.documents.get(key.0).filter(|document| document.generation == key.1);
                Base::Present(document.and_then(|document| document.doc.encode_state().ok()))
            } else if waiting.broken {
                Base::Union
            } else {
                match self.files.stored(key.0) {
                    Some(Stored::Document { generation, snapshot: Some(snapshot), .. })
                        if !begun && *generation == key.1 =>
                    {
                        Base::Snapshot(snapshot.clone())
                    }
                    _ => Base::Known,
                }
            };
            authors.extend(waiting.edits.iter().filter_map(|edit| edit.author));
            files.push(CapturedFile {
                key: *key,
                edits: waiting.edits.clone(),
                base,
                given_up: waiting.given_up,
            });
        }
        let people = authors.into_iter().map(|member| self.history.person(member)).collect();
        CapturedHistory { files, people, client_id: self.shared.random_client_id() }
    }
}

impl History {
    /// A committed manifest names the pack: what was edited meanwhile goes on waiting.
    pub fn packed(&mut self, packed: Packed) {
        self.packs.extend(packed.pack);
        for (key, count) in packed.taken {
            self.begun_here.remove(&key);
            let Some(waiting) = self.waiting.get_mut(&key) else { continue };
            // Edits that were given up meanwhile are fewer than were taken.
            if waiting.edits.len() >= count {
                let taken = waiting.edits.drain(..count);
                let bytes: usize = taken.map(|edit| edit.update.len() + super::EDIT_BYTES).sum();
                waiting.bytes -= bytes;
                self.waiting_bytes -= bytes;
                waiting.given_up = false;
            }
            waiting.broken = false;
            if waiting.edits.is_empty() && !waiting.given_up {
                self.waiting.remove(&key);
            }
        }
    }
}

/// Stores a pack of all that was captured. To be called before the flush stores any snapshot.
pub async fn store(store: &ReplStore, captured: CapturedHistory) -> Result<Packed, ObjectError> {
    let mut pack = HistoryPack { people: captured.people, files: Vec::new() };
    let mut taken = Vec::with_capacity(captured.files.len());
    for CapturedFile { key, edits, base, given_up } in captured.files {
        let (file, generation) = key;
        taken.push((key, edits.len()));
        let base = match base {
            Base::Known => None,
            Base::Present(state) => {
                state.map(|state| PackedBase { ms: wall_ms(), state: state.into() })
            }
            from @ (Base::Snapshot(_) | Base::Union) => {
                let state = stored_state(store, key, from, captured.client_id).await?;
                let ms = edits.first().map_or_else(wall_ms, |edit| edit.ms);
                state.map(|state| PackedBase { ms, state: state.into() })
            }
        };
        // Single edits after a state of now would be met in the wrong order.
        let edits = if given_up { Vec::new() } else { edits };
        if base.is_some() || !edits.is_empty() {
            pack.files.push(PackedFile { file, generation, base, runs: Vec::new(), edits });
        }
    }
    let pack = store.put_history(&pack, (0, Grain::Edit)).await?;
    Ok(Packed { pack, taken })
}

/// What snapshots of a document make up. History never keeps a document from being saved:
/// without a readable state it begins with the edits.
async fn stored_state(
    store: &ReplStore,
    (file, generation): Key,
    from: Base,
    client_id: u64,
) -> Result<Option<Vec<u8>>, ObjectError> {
    let found = match from {
        Base::Snapshot(key) => store
            .get_snapshot(&key)
            .await
            .map(|snapshot| Snapshots { found: vec![snapshot], ..Snapshots::default() }),
        _ => store.get_snapshots(file, generation).await,
    };
    let snapshots = match found {
        Ok(snapshots) => snapshots,
        Err(error) if error.is_retryable() => return Err(error),
        Err(error) => {
            tracing::warn!(%file, %error, "a document's history begins without its state before");
            return Ok(None);
        }
    };
    if snapshots.found.is_empty() {
        return Ok(None);
    }
    let state = tokio::task::spawn_blocking(move || {
        load_all(client_id, &snapshots).ok()?.encode_state().ok()
    });
    Ok(state.await.ok().flatten())
}
