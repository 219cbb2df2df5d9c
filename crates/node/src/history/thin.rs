//! Packs made into fewer and smaller ones: joined as they are, or with old edits made into one step
//! an hour or a day. Who wrote what stays known of edits that are gone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use tandem_doc::{Clocks, Document, Rejected, with_deletions};
use tandem_proto::history::HistoryAuthor;
use tandem_proto::{FileId, Generation, MemberId};
use tandem_store::{HistoryPack, PackedBase, PackedEdit, PackedFile, WrittenRun};

use super::timeline::{Chapter, Step};
use super::{Deadline, HistoryError};

const HOUR_MS: u64 = 60 * 60 * 1000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Runs that are no further apart in time are kept as one.
const SAME_MS: u64 = 60_000;

/// How long how much of a history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Every edit.
    pub raw: Duration,
    /// One step an hour.
    pub hourly: Duration,
    /// One step a day; after it only the text and who wrote it.
    pub daily: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
        Self { raw: days(1), hourly: days(30), daily: days(365) }
    }
}

/// What becomes of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is in the state before everything.
    Base,
    /// It is joined with others of the same hour or day.
    Joined(u64),
    /// It stays.
    Kept,
}

impl Retention {
    fn fate(&self, step: &Step, now_ms: u64) -> Fate {
        let age = Duration::from_millis(now_ms.saturating_sub(step.ms));
        if step.is_base || age > self.daily {
            Fate::Base
        } else if age > self.hourly {
            // Numbered apart from hours.
            Fate::Joined(step.ms / DAY_MS * 24)
        } else if age > self.raw {
            Fate::Joined(step.ms / HOUR_MS)
        } else {
            Fate::Kept
        }
    }
}

/// Puts packs that follow each other into one, with nothing left out.
pub fn join(packs: Vec<HistoryPack>) -> HistoryPack {
    let (mut people, mut files) = (Vec::new(), BTreeMap::new());
    let mut order: Vec<(FileId, Generation)> = Vec::new();
    for pack in packs {
        people.extend(pack.people);
        for file in pack.files {
            let key = (file.file, file.generation);
            match files.entry(key) {
                std::collections::btree_map::Entry::Vacant(slot) => {
                    order.push(key);
                    slot.insert(file);
                }
                std::collections::btree_map::Entry::Occupied(mut slot) => {
                    let joined: &mut PackedFile = slot.get_mut();
                    // A state in between brings what another owner wrote: one more step.
                    joined.edits.extend(file.base.map(|base| PackedEdit {
                        ms: base.ms,
                        author: None,
                        update: base.state,
                    }));
                    joined.runs.extend(file.runs);
                    joined.edits.extend(file.edits);
                }
            }
        }
    }
    let files = order.into_iter().filter_map(|key| files.remove(&key)).collect();
    HistoryPack { people: distinct(people), files }
}

/// Each author once, by the latest name.
fn distinct(people: Vec<HistoryAuthor>) -> Vec<HistoryAuthor> {
    let latest: HashMap<MemberId, HistoryAuthor> =
        people.into_iter().map(|person| (person.id, person)).collect();
    let mut people: Vec<HistoryAuthor> = latest.into_values().collect();
    people.sort_by_key(|person| person.id);
    people
}

/// The oldest packs of a repl, thinned into one. `packs` must begin with the very first: steps are
/// joined by replaying them.
///
/// # Errors
/// See [`HistoryError`].
pub fn thin(
    packs: Vec<HistoryPack>,
    alive: &HashSet<FileId>,
    (retention, now_ms): (Retention, u64),
    deadline: Deadline,
) -> Result<HistoryPack, HistoryError> {
    let joined = join(packs);
    let mut files = Vec::with_capacity(joined.files.len());
    for file in joined.files.into_iter().filter(|file| alive.contains(&file.file)) {
        files.push(thin_file(file, (retention, now_ms), deadline)?);
    }
    Ok(HistoryPack { people: joined.people, files })
}

fn thin_file(
    packed: PackedFile,
    (retention, now_ms): (Retention, u64),
    deadline: Deadline,
) -> Result<PackedFile, HistoryError> {
    let (file, generation) = (packed.file, packed.generation);
    let chapter = Chapter::of(packed);
    let mut document = Document::new(0);
    let mut base: Option<PackedBase> = None;
    let mut edits: Vec<PackedEdit> = Vec::new();
    let mut runs = Runs::new(chapter.runs);
    let steps = &chapter.steps;
    let mut at = 0;
    while at < steps.len() {
        let fate = retention.fate(&steps[at], now_ms);
        let count =
            steps[at..].iter().take_while(|step| retention.fate(step, now_ms) == fate).count();
        let group = &steps[at..at + count];
        at += count;
        let (Some(last), before) = (group.last(), document.state_vector()) else { break };
        for step in group {
            deadline.check()?;
            match document.merge_stored(&step.update) {
                Err(Rejected::Broken) => return Err(HistoryError::Broken),
                // One that does not fit is passed over here as it would be by any reader.
                _ if fate == Fate::Kept => {
                    let Step { ms, author, update, .. } = step;
                    edits.push(PackedEdit { ms: *ms, author: *author, update: update.clone() });
                }
                _ if !step.is_base => runs.note(step),
                _ => {}
            }
        }
        match fate {
            // A state in the middle (another owner's edits) stays a step.
            Fate::Base if edits.is_empty() => {
                let state = document.encode_state().map_err(|_| HistoryError::Broken)?;
                base = Some(PackedBase { ms: last.ms, state: state.into() });
            }
            Fate::Base | Fate::Joined(_) => {
                let update = difference(&document, &before, group)?;
                edits.push(PackedEdit { ms: last.ms, author: last.author, update });
            }
            Fate::Kept => {}
        }
    }
    Ok(PackedFile { file, generation, base, runs: runs.runs, edits })
}

/// What a group of steps brought, as one update.
fn difference(document: &Document, before: &[u8], group: &[Step]) -> Result<Bytes, HistoryError> {
    let all = document.encode_diff(before).map_err(|_| HistoryError::Broken)?;
    let removed: Vec<Clocks> =
        group.iter().flat_map(|step| step.brought.removed.iter().cloned()).collect();
    let update = with_deletions(&all, &removed).map_err(|_| HistoryError::Broken)?;
    Ok(update.into())
}

/// Who wrote which clocks when, with neighbours joined.
struct Runs {
    runs: Vec<WrittenRun>,
    /// Up to where clients were noted by an earlier thinning, which knew more than what it left.
    noted: HashMap<u64, u32>,
}

impl Runs {
    fn new(runs: Vec<WrittenRun>) -> Self {
        let mut noted: HashMap<u64, u32> = HashMap::new();
        for run in &runs {
            let end = noted.entry(run.client).or_insert(0);
            *end = run.end.max(*end);
        }
        Self { runs, noted }
    }

    fn note(&mut self, step: &Step) {
        for Clocks { client, range } in &step.brought.written {
            let noted = self.noted.get(client).copied().unwrap_or(0);
            let range = range.start.max(noted)..range.end;
            if range.is_empty() {
                continue;
            }
            let (ms, author) = (step.ms, step.author);
            let last = self.runs.iter_mut().rev().take(8).find(|run| run.client == *client);
            match last {
                Some(run)
                    if run.end == range.start
                        && run.author == author
                        && ms.saturating_sub(run.ms) <= SAME_MS =>
                {
                    run.end = range.end;
                }
                _ => self.runs.push(WrittenRun {
                    client: *client,
                    start: range.start,
                    end: range.end,
                    ms,
                    author,
                }),
            }
        }
    }
}
