//! History packs: the edits of documents with time and author, as they were logged, one object
//! for all documents of a flush. A pack is written before the manifest that lets those log records
//! go; packs are joined and thinned later, and the manifest lists the ones that count, in order.
//!
//! What is in a pack is known to be intact and not believed to be sane: counts, lengths and
//! indexes are checked when it is read, and updates go through the scan like anyone's.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tandem_proto::history::HistoryAuthor;
use tandem_proto::lib0::{self, Reader};
use tandem_proto::{FileId, Generation, MemberId};

use super::ReplStore;
use crate::object::{self, ObjectError, ObjectKind};

/// Who the Yjs client ids of a document belong to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authors {
    people: Vec<HistoryAuthor>,
    clients: BTreeMap<u64, Bound>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Bound {
    author: u32,
    certain: bool,
}

impl Authors {
    /// Whose a client id is.
    pub fn get(&self, client: u64) -> Option<&HistoryAuthor> {
        self.people.get(self.clients.get(&client)?.author as usize)
    }

    /// Whether nothing can change that any more.
    pub fn is_certain(&self, client: u64) -> bool {
        self.clients.get(&client).is_some_and(|bound| bound.certain)
    }

    /// Binds a client id. What is certain stays.
    pub fn bind(&mut self, client: u64, author: &HistoryAuthor, certain: bool) {
        if self.is_certain(client) {
            return;
        }
        let author = self.note(author);
        self.clients.insert(client, Bound { author, certain });
    }

    /// Remembers a name; answers the author's place in [`Authors::people`].
    pub fn note(&mut self, author: &HistoryAuthor) -> u32 {
        let known = self.people.iter_mut().enumerate().find(|(_, other)| other.id == author.id);
        match known {
            Some((index, other)) => {
                *other = author.clone();
                index as u32
            }
            None => {
                self.people.push(author.clone());
                self.people.len() as u32 - 1
            }
        }
    }

    /// Takes over what another one knows of client ids that this one does not.
    pub fn merge(&mut self, other: &Authors) {
        for (client, bound) in &other.clients {
            if let Some(author) = other.people.get(bound.author as usize)
                && (bound.certain || !self.clients.contains_key(client))
            {
                self.bind(*client, author, bound.certain);
            }
        }
    }

    /// The client ids and their authors.
    pub fn clients(&self) -> impl Iterator<Item = (u64, MemberId)> + '_ {
        self.clients.iter().filter_map(|(client, bound)| {
            Some((*client, self.people.get(bound.author as usize)?.id))
        })
    }

    /// Everybody.
    pub fn people(&self) -> &[HistoryAuthor] {
        &self.people
    }
}

/// One edit of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedEdit {
    /// When, milliseconds since the Unix epoch.
    pub ms: u64,
    /// Who; of edits that were joined, who wrote most lately.
    pub author: Option<MemberId>,
    /// The update (Yjs v1).
    pub update: Bytes,
}

/// Who wrote a range of a client's clocks, and when, where the edits themselves are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenRun {
    /// The Yjs client id.
    pub client: u64,
    /// First clock.
    pub start: u32,
    /// Clock after the last.
    pub end: u32,
    /// When.
    pub ms: u64,
    /// Who.
    pub author: Option<MemberId>,
}

/// A document's state at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedBase {
    /// When it was taken, milliseconds since the Unix epoch.
    pub ms: u64,
    /// The state as one update (Yjs v1).
    pub state: Bytes,
}

/// The edits of one document, in the order in which they were applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedFile {
    /// Which.
    pub file: FileId,
    /// Which history of it.
    pub generation: Generation,
    /// The state before the first edit, when the packs before do not lead there.
    pub base: Option<PackedBase>,
    /// What is known of edits that were joined.
    pub runs: Vec<WrittenRun>,
    /// The edits.
    pub edits: Vec<PackedEdit>,
}

/// The content of a pack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryPack {
    /// Names of all authors in it.
    pub people: Vec<HistoryAuthor>,
    /// Each document once, in any order.
    pub files: Vec<PackedFile>,
}

/// How much of the single edits is left in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Grain {
    /// Every edit.
    Edit,
    /// One step an hour.
    Hour,
    /// One step a day.
    Day,
}

/// A pack as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPack {
    /// Its key.
    pub key: String,
    /// Time of its first edit.
    pub from_ms: u64,
    /// Time of its last.
    pub to_ms: u64,
    /// Stored length.
    pub bytes: u64,
    /// How often packs were joined to it: 8 of a tier make one of the next.
    pub tier: u8,
    /// How much is left of its edits.
    pub grain: Grain,
    /// Whose history is in it.
    pub files: Vec<(FileId, Generation)>,
}

impl StoredPack {
    /// Whether it has anything of a file.
    pub fn has(&self, file: FileId) -> bool {
        self.files.iter().any(|(of, _)| *of == file)
    }
}

/// By columns: what is alike lies together, which zstd likes.
#[derive(Serialize, Deserialize)]
struct Columns {
    file: FileId,
    generation: Generation,
    base: Option<PackedBase>,
    runs: Vec<WrittenRun>,
    count: u32,
    /// Milliseconds since the edit before, as zigzag: clocks are set back, too.
    times: Bytes,
    /// 0: nobody known; else the place in `people` plus 1.
    authors: Bytes,
    lengths: Bytes,
    updates: Bytes,
}

#[derive(Serialize, Deserialize)]
struct StoredHistory {
    people: Vec<HistoryAuthor>,
    files: Vec<Columns>,
}

impl ReplStore {
    /// Stores a pack and says what to name it by in the manifest; `None` when nothing is in it.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn put_history(
        &self,
        pack: &HistoryPack,
        (tier, grain): (u8, Grain),
    ) -> Result<Option<StoredPack>, ObjectError> {
        let times = pack.files.iter().flat_map(PackedFile::times);
        let Some((from_ms, to_ms)) = times.fold(None, |span: Option<(u64, u64)>, ms| {
            Some(span.map_or((ms, ms), |(from, to)| (from.min(ms), to.max(ms))))
        }) else {
            return Ok(None);
        };
        let key = format!("{}h/{from_ms}-{to_ms}.{}", self.folder(), object::suffix());
        let packed = object::pack(ObjectKind::History, object::encode(&key, &columns(pack))?);
        let packed = packed.await?;
        let bytes = packed.len() as u64;
        self.blobs.put(&key, packed).await?;
        let files = pack.files.iter().map(|file| (file.file, file.generation)).collect();
        Ok(Some(StoredPack { key, from_ms, to_ms, bytes, tier, grain, files }))
    }

    /// Reads a pack.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn get_history(&self, key: &str) -> Result<HistoryPack, ObjectError> {
        self.check_own(key)?;
        let bytes = object::get(&*self.blobs, ObjectKind::History, key).await?;
        let owned = key.to_owned();
        object::aside(bytes.len(), move || {
            let stored: StoredHistory = object::decode(&owned, &bytes)?;
            let reason = "its columns do not fit together";
            rows(stored).ok_or(ObjectError::Corrupt { key: owned, reason })
        })
        .await?
    }
}

impl PackedFile {
    /// Moments in it.
    fn times(&self) -> impl Iterator<Item = u64> + '_ {
        let base = self.base.iter().map(|base| base.ms);
        base.chain(self.edits.iter().map(|edit| edit.ms)).chain(self.runs.iter().map(|run| run.ms))
    }
}

/// `repls/<repl>/h/<from>-<to>.<random>`.
pub(super) fn is_pack(folder: &str, key: &str) -> bool {
    key.strip_prefix(folder).is_some_and(|rest| rest.starts_with("h/"))
}

fn columns(pack: &HistoryPack) -> StoredHistory {
    let places: HashMap<MemberId, u64> =
        pack.people.iter().enumerate().map(|(at, author)| (author.id, at as u64 + 1)).collect();
    let files = pack.files.iter().map(|file| {
        let (mut times, mut authors) = (Vec::new(), Vec::new());
        let (mut lengths, mut updates) = (Vec::new(), Vec::new());
        let mut last = 0u64;
        for edit in &file.edits {
            lib0::write_var_uint(&mut times, zigzag(last, edit.ms));
            last = edit.ms;
            let author = edit.author.and_then(|author| places.get(&author).copied());
            lib0::write_var_uint(&mut authors, author.unwrap_or(0));
            lib0::write_var_uint(&mut lengths, edit.update.len() as u64);
            updates.extend_from_slice(&edit.update);
        }
        Columns {
            file: file.file,
            generation: file.generation,
            base: file.base.clone(),
            runs: file.runs.clone(),
            count: file.edits.len() as u32,
            times: times.into(),
            authors: authors.into(),
            lengths: lengths.into(),
            updates: updates.into(),
        }
    });
    StoredHistory { people: pack.people.clone(), files: files.collect() }
}

fn rows(stored: StoredHistory) -> Option<HistoryPack> {
    let mut files = Vec::with_capacity(stored.files.len());
    for columns in stored.files {
        let count = columns.count as usize;
        if count > columns.lengths.len() || columns.runs.iter().any(|run| run.start > run.end) {
            return None;
        }
        let mut times = Reader::new(&columns.times);
        let mut authors = Reader::new(&columns.authors);
        let mut lengths = Reader::new(&columns.lengths);
        let (mut edits, mut last, mut at) = (Vec::with_capacity(count), 0u64, 0usize);
        for _ in 0..count {
            last = unzigzag(last, times.var_uint().ok()?);
            let author = match authors.var_uint().ok()? {
                0 => None,
                place => Some(stored.people.get(usize::try_from(place).ok()? - 1)?.id),
            };
            let end = at.checked_add(usize::try_from(lengths.var_uint().ok()?).ok()?)?;
            if end > columns.updates.len() {
                return None;
            }
            edits.push(PackedEdit { ms: last, author, update: columns.updates.slice(at..end) });
            at = end;
        }
        let rest = [times.is_empty(), authors.is_empty(), lengths.is_empty()];
        if at != columns.updates.len() || rest.contains(&false) {
            return None;
        }
        let Columns { file, generation, base, runs, .. } = columns;
        files.push(PackedFile { file, generation, base, runs, edits });
    }
    Some(HistoryPack { people: stored.people, files })
}

/// Times fit in 52 bits for the next 100,000 years; what does not is cut.
const MAX_STEP: u64 = lib0::MAX_SAFE_INTEGER / 2;

fn zigzag(last: u64, next: u64) -> u64 {
    match next.checked_sub(last) {
        Some(forward) => forward.min(MAX_STEP) * 2,
        None => (last - next).min(MAX_STEP) * 2 - 1,
    }
}

fn unzigzag(last: u64, step: u64) -> u64 {
    match step % 2 {
        0 => last.saturating_add(step / 2),
        _ => last.saturating_sub(step / 2 + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(number: u8) -> MemberId {
        MemberId::from_random([number; 10])
    }

    fn person(number: u8) -> HistoryAuthor {
        HistoryAuthor {
            id: member(number),
            name: format!("Person {number}"),
            colour: "#112233".to_owned(),
        }
    }

    #[test]
    fn what_is_certain_of_a_client_stays() {
        let mut authors = Authors::default();
        authors.bind(1, &person(1), false);
        authors.bind(1, &person(2), true);
        authors.bind(1, &person(3), true);
        assert_eq!(authors.get(1).map(|author| author.id), Some(member(2)));
        assert_eq!(authors.get(2), None);
        let mut other = Authors::default();
        other.bind(1, &person(3), false);
        other.bind(2, &person(3), false);
        authors.merge(&other);
        other.merge(&authors);
        assert_eq!(authors.get(1), Some(&person(2)));
        assert_eq!(authors.get(2), Some(&person(3)));
        assert_eq!(other.get(1), Some(&person(2)));
    }

    fn edit() -> impl Strategy<Value = PackedEdit> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..20);
        (0u64..1 << 50, proptest::option::of(0u8..3), bytes).prop_map(|(ms, author, update)| {
            PackedEdit { ms, author: author.map(member), update: update.into() }
        })
    }

    proptest! {
        #[test]
        fn rows_come_back_from_columns(
            edits in proptest::collection::vec(proptest::collection::vec(edit(), 0..20), 0..4),
            base in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)),
        ) {
            let files = edits.into_iter().enumerate().map(|(at, edits)| PackedFile {
                file: FileId::from_random([at as u8; 10]),
                generation: Generation(at as u64),
                base: base.clone().map(|state| PackedBase { ms: 7, state: state.into() }),
                runs: vec![WrittenRun { client: 1, start: 0, end: 2, ms: 3, author: None }],
                edits,
            });
            let pack = HistoryPack { people: (0..3).map(person).collect(), files: files.collect() };
            let bytes = object::encode("k", &columns(&pack)).unwrap();
            let stored: StoredHistory = object::decode("k", &bytes).unwrap();
            prop_assert_eq!(rows(stored), Some(pack));
        }

        #[test]
        fn columns_that_do_not_fit_are_refused_without_a_panic(
            count in any::<u32>(),
            times in proptest::collection::vec(any::<u8>(), 0..12),
            authors in proptest::collection::vec(any::<u8>(), 0..12),
            lengths in proptest::collection::vec(any::<u8>(), 0..12),
            updates in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let columns = Columns {
                file: FileId::ROOT,
                generation: Generation(1),
                base: None,
                runs: Vec::new(),
                count,
                times: times.into(),
                authors: authors.into(),
                lengths: lengths.into(),
                updates: updates.clone().into(),
            };
            let pack = rows(StoredHistory { people: vec![person(1)], files: vec![columns] });
            if let Some(pack) = pack {
                let all: Vec<u8> =
                    pack.files[0].edits.iter().flat_map(|edit| edit.update.to_vec()).collect();
                prop_assert_eq!(all, updates);
            }
        }
    }
}
