//! Reading files that programs may be writing, and storing them.
//!
//! A file is taken as it was from the first byte to the last: looked at before and after, and read
//! again when it differs. A database and its journal are taken together, as one state of all of
//! them. Nothing is promised across other files, nor of writes through shared memory that leave no
//! trace in a file's times until they are flushed.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tandem_proto::agent::{AgentError, Entry, EntryKind, Op, Reply as AgentReply, Signature};
use tandem_proto::{RelPath, limits};
use tandem_sandbox::{AgentLink, LinkError};
use tandem_store::{ObjectError, ReplStore};

use super::{Dirty, Outcome};
use crate::archive::tar;
use crate::lease::wall_ms;

/// Content read before it is stored, unless a single group has more.
const BATCH_BYTES: u64 = 16 * 1024 * 1024;
/// Files of a batch.
const BATCH_FILES: usize = 2_000;
/// Groups read at once.
const AT_ONCE: usize = 8;
/// A file may have grown since it was last seen, up to this or to twice its size.
const GROWTH: u64 = 4 * 1024 * 1024;
/// Reads of a group that keeps changing.
const TRIES: u32 = 6;
const BETWEEN_TRIES: Duration = Duration::from_millis(25);
/// What a database keeps beside itself and needs in the same state.
const JOURNALS: [&str; 2] = ["-wal", "-journal"];
/// Longer than any kernel's tick.
const TICK_MS: u64 = 15;
/// How a database that has journals begins.
const DATABASE: &[u8] = b"SQLite format 3\0";

/// Files that are one thing: mostly one.
pub(super) type Group = Vec<Dirty>;

/// Puts what belongs together into groups; `find` gives companions that did not change.
pub(super) fn groups(dirty: Vec<Dirty>, find: impl Fn(&RelPath) -> Option<Dirty>) -> Vec<Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for dirty in dirty {
        let path = dirty.path.as_str();
        let base = JOURNALS.iter().find_map(|journal| path.strip_suffix(journal)).unwrap_or(path);
        groups.entry(base.to_owned()).or_default().push(dirty);
    }
    for (base, group) in &mut groups {
        for suffix in ["", JOURNALS[0], JOURNALS[1]] {
            let Ok(path) = RelPath::parse(&format!("{base}{suffix}")) else { continue };
            if !group.iter().any(|dirty| dirty.path == path) {
                group.extend(find(&path));
            }
        }
    }
    groups.into_values().collect()
}

/// Groups whose content is held in memory at the same time.
pub(super) fn batches(groups: Vec<Group>) -> Vec<Vec<Group>> {
    let mut batches: Vec<Vec<Group>> = Vec::new();
    let (mut bytes, mut files) = (u64::MAX, 0);
    for group in groups {
        let size = group.iter().fold(0_u64, |sum, dirty| sum.saturating_add(dirty.size));
        bytes = bytes.saturating_add(size);
        files += group.len();
        match batches.last_mut() {
            Some(batch) if bytes <= BATCH_BYTES && files <= BATCH_FILES => batch.push(group),
            _ => {
                (bytes, files) = (size, group.len());
                batches.push(vec![group]);
            }
        }
    }
    batches
}

/// What reading one file gave.
enum Read {
    Content(Bytes),
    Not(Outcome),
}

/// Reads a batch and stores it, small files together.
pub(super) async fn store(
    store: &ReplStore,
    link: &AgentLink,
    batch: Vec<Group>,
) -> Result<Vec<(Dirty, Outcome)>, ObjectError> {
    let read: Vec<Vec<(Dirty, Read, bool)>> = futures_util::stream::iter(batch)
        .map(|group| read_group(link, group))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut outcomes = Vec::new();
    let mut waiting = Vec::new();
    let mut contents = Vec::new();
    for (dirty, read, stable) in read.into_iter().flatten() {
        match read {
            Read::Content(content) => {
                contents.push(content);
                waiting.push((dirty, stable));
            }
            Read::Not(outcome) => outcomes.push((dirty, outcome)),
        }
    }
    let blobs = store.put_files(contents).await?;
    outcomes.extend(waiting.into_iter().zip(blobs).map(|((dirty, stable), blob)| {
        (dirty, if stable { Outcome::Stored(blob) } else { Outcome::Torn(blob) })
    }));
    Ok(outcomes)
}

/// All files of a group in one state, if they rest long enough for that.
async fn read_group(link: &AgentLink, group: Group) -> Vec<(Dirty, Read, bool)> {
    let mut last = Vec::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(BETWEEN_TRIES * attempt).await;
        }
        let before = looks(link, &group).await;
        let rested = before.iter().all(|look| look.is_older_than_a_tick(wall_ms()));
        let mut read = Vec::with_capacity(group.len());
        for (dirty, look) in group.iter().zip(&before) {
            read.push(read_one(link, dirty, look).await);
        }
        let complete = !lacks_journal(link, &group, &read).await;
        let stable = rested && complete && before == looks(link, &group).await;
        last = read;
        if stable {
            return group.into_iter().zip(last).map(|(dirty, read)| (dirty, read, true)).collect();
        }
    }
    // An older state of a database is worth more than a mixture; of any other file it is not.
    let mixed = last.iter().any(is_database);
    let unstable = |read| if mixed { Read::Not(Outcome::Busy) } else { read };
    group.into_iter().zip(last).map(|(dirty, read)| (dirty, unstable(read), false)).collect()
}

fn is_database(read: &Read) -> bool {
    matches!(read, Read::Content(content) if content.starts_with(DATABASE))
}

/// Whether a database has a journal on disk that is not read with it: nobody has told of it yet.
async fn lacks_journal(link: &AgentLink, group: &Group, read: &[Read]) -> bool {
    for (dirty, _) in group.iter().zip(read).filter(|(_, read)| is_database(read)) {
        for journal in JOURNALS {
            let Ok(path) = RelPath::parse(&format!("{}{journal}", dirty.path)) else { continue };
            if group.iter().any(|other| other.path == path) {
                continue;
            }
            if !matches!(link.request(Op::Stat { path }).await, Ok(AgentReply::Entry(None))) {
                return true;
            }
        }
    }
    false
}

/// Whether this is what a database keeps beside itself.
pub(super) fn is_journal(path: &RelPath) -> bool {
    JOURNALS.iter().any(|journal| path.as_str().ends_with(journal))
}

/// What is at a path, as far as it matters here.
#[derive(PartialEq)]
enum Look {
    File(Signature),
    Gone,
    Unknown,
}

impl Look {
    /// Kernels keep times by the tick: a change soon after the last one may leave no trace. A time
    /// in the future is another clock's and says nothing.
    fn is_older_than_a_tick(&self, now_ms: u64) -> bool {
        let Self::File(signature) = self else { return true };
        let changed_ms = u64::try_from(signature.ctime_ns / 1_000_000).unwrap_or(0);
        changed_ms.abs_diff(now_ms) > TICK_MS
    }
}

async fn looks(link: &AgentLink, group: &[Dirty]) -> Vec<Look> {
    let mut looks = Vec::with_capacity(group.len());
    for dirty in group {
        let path = dirty.path.clone();
        looks.push(match link.request(Op::Stat { path }).await {
            Ok(AgentReply::Entry(Some(Entry { kind: EntryKind::File, signature, .. }))) => {
                Look::File(signature)
            }
            Ok(_) => Look::Gone,
            Err(LinkError::Agent(AgentError::NotFound | AgentError::WrongKind)) => Look::Gone,
            Err(_) => Look::Unknown,
        });
    }
    looks
}

async fn read_one(link: &AgentLink, dirty: &Dirty, look: &Look) -> Read {
    let size = match look {
        Look::File(signature) => signature.size,
        Look::Gone => return Read::Not(Outcome::Gone),
        Look::Unknown => return Read::Not(Outcome::Later),
    };
    if size > limits::MAX_UPLOAD_BYTES as u64 {
        return Read::Not(Outcome::TooLarge);
    }
    if size > GROWTH.max(dirty.size.saturating_mul(2)) {
        // It grew since it was put into a batch; the next one has room for it.
        return Read::Not(Outcome::Later);
    }
    if size > limits::MAX_TEXT_BYTES as u64 {
        return match tar::read_one(link, &dirty.path, size).await {
            Some(content) => Read::Content(content),
            None => Read::Not(Outcome::Later),
        };
    }
    let max_bytes = limits::MAX_TEXT_BYTES as u64;
    match link.request(Op::Read { path: dirty.path.clone(), max_bytes }).await {
        Ok(AgentReply::Content { content, .. }) => Read::Content(content),
        Err(LinkError::Agent(AgentError::NotFound | AgentError::WrongKind)) => {
            Read::Not(Outcome::Gone)
        }
        Err(LinkError::Agent(AgentError::Denied)) => Read::Not(Outcome::Denied),
        _ => Read::Not(Outcome::Later),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_proto::FileId;

    fn dirty(path: &str, size: u64) -> Dirty {
        let mut id = [0; 10];
        id[..path.len().min(10)].copy_from_slice(&path.as_bytes()[..path.len().min(10)]);
        let file = FileId::from_random(id);
        Dirty { file, path: RelPath::parse(path).unwrap(), changes: 1, size }
    }

    fn names(group: &Group) -> Vec<&str> {
        group.iter().map(|dirty| dirty.path.as_str()).collect()
    }

    #[test]
    fn a_database_is_taken_with_its_journal() {
        let there = ["a.db", "a.db-wal", "b.bin"];
        let find = |path: &RelPath| {
            there.contains(&path.as_str()).then(|| Dirty { changes: 0, ..dirty(path.as_str(), 5) })
        };
        let groups = groups(vec![dirty("a.db-wal", 5), dirty("b.bin", 5)], find);
        assert_eq!(
            groups.iter().map(names).collect::<Vec<_>>(),
            [vec!["a.db-wal", "a.db"], vec!["b.bin"]]
        );
        assert_eq!(groups[0][1].changes, 0, "it did not change itself");
    }

    #[test]
    fn batches_hold_a_bounded_amount() {
        let sizes = [1, BATCH_BYTES, BATCH_BYTES * 9, 4, 5];
        let groups: Vec<Group> =
            sizes.iter().enumerate().map(|(n, size)| vec![dirty(&format!("{n}"), *size)]).collect();
        let batches: Vec<usize> = super::batches(groups).iter().map(Vec::len).collect();
        assert_eq!(batches, [1, 1, 1, 2]);
        let many: Vec<Group> = (0..5_000).map(|n| vec![dirty(&format!("f{n}"), 0)]).collect();
        assert_eq!(super::batches(many).len(), 3);
    }
}
