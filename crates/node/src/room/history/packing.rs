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
use crate::room::contents::Stored;
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
    /// The packs before, but for what other snapshots have: another owner's edits, or some of
    /// these (a flush that was cut off). It comes after them, and brings only what they lack.
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
    for CapturedFile { key, mut edits, base, given_up } in captured.files {
        let (file, generation) = key;
        taken.push((key, edits.len()));
        let base = match base {
            Base::Known => None,
            Base::Present(state) => {
                state.map(|state| PackedBase { ms: wall_ms(), state: state.into() })
            }
            Base::Snapshot(_) => {
                let ms = edits.first().map_or_else(wall_ms, |edit| edit.ms);
                let state = stored_state(store, key, base, captured.client_id).await?;
                state.map(|state| PackedBase { ms, state: state.into() })
            }
            Base::Union => {
                let state = stored_state(store, key, base, captured.client_id).await?;
                edits.extend(state.map(|state| PackedEdit {
                    ms: wall_ms(),
                    author: None,
                    update: state.into(),
                }));
                None
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tandem_doc::Document;
    use tandem_proto::{Epoch, FileId, Generation, Lsn, ReplId};
    use tandem_store::blob::MemoryStore;
    use tandem_store::{Authors, ContentHash, NewSnapshot};

    use super::*;

    #[tokio::test]
    async fn what_only_a_snapshot_has_comes_after_the_edits() {
        let repl = ReplStore::new(Arc::new(MemoryStore::default()), ReplId::from_random([1; 10]));
        let key = (FileId::from_random([2; 10]), Generation(1));
        let mut document = Document::new(7);
        let update = document.replace("ours").unwrap().unwrap();
        document.replace("ours and theirs").unwrap();
        let snapshot = NewSnapshot {
            epoch: Epoch(1),
            file: key.0,
            generation: key.1,
            lsn: Lsn(1),
            state: document.encode_state().unwrap().into(),
            text_hash: ContentHash::of(b"ours and theirs"),
            merged: std::collections::BTreeMap::new(),
            authors: Authors::default(),
        };
        let named = repl.put_snapshot(&snapshot).await.unwrap();
        let edit = PackedEdit { ms: 5, author: None, update: update.into() };
        let captured = |base| CapturedHistory {
            files: vec![CapturedFile { key, edits: vec![edit.clone()], base, given_up: false }],
            people: Vec::new(),
            client_id: 9,
        };
        let packed = store(&repl, captured(Base::Union)).await.unwrap();
        assert_eq!(packed.taken, [(key, 1)]);
        let pack = repl.get_history(&packed.pack.unwrap().key).await.unwrap();
        let file = &pack.files[0];
        assert_eq!((file.base.is_none(), file.edits.len(), &file.edits[0]), (true, 2, &edit));
        let last = Document::load(1, &file.edits[1].update).unwrap();
        assert_eq!(last.text(), "ours and theirs");

        let packed = store(&repl, captured(Base::Snapshot(named))).await.unwrap();
        let pack = repl.get_history(&packed.pack.unwrap().key).await.unwrap();
        assert_eq!(pack.files[0].edits, std::slice::from_ref(&edit));
        let base = Document::load(1, &pack.files[0].base.as_ref().unwrap().state).unwrap();
        assert_eq!(base.text(), "ours and theirs");

        // History never keeps a document from being saved.
        let lost = captured(Base::Snapshot(format!("repls/{}/e1/s/gone", repl.repl())));
        let packed = store(&repl, lost).await.unwrap();
        assert!(packed.pack.is_some());
    }
}
