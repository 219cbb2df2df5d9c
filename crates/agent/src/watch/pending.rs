//! When a changed path is told of.
//!
//! Pure: the clock and the state of the disk come from outside. A path is told of once it has
//! been quiet for a moment; one that is empty or gone waits longer, since editors and programs
//! truncate or remove files an instant before they write them anew.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tandem_proto::RelPath;

/// Nothing happened to the path for this long.
const QUIET: Duration = Duration::from_millis(50);
/// A path that never is quiet is told of this often.
const MOST_PATIENCE: Duration = Duration::from_millis(500);
/// An empty file may be about to be written.
const EMPTY: Duration = Duration::from_millis(500);
/// A missing file may be about to be replaced.
const GONE: Duration = Duration::from_millis(300);
/// While git holds its index lock nothing is told of, for at most this long.
const LOCKED: Duration = Duration::from_secs(5);
const LOCK_POLL: Duration = Duration::from_millis(50);
/// Between two reports, so that a program that makes files all the time makes few messages.
const INTERVAL: Duration = Duration::from_millis(25);
/// More changes than this are not told of one by one.
pub const MAX_PATHS: usize = 1000;

/// What lies at a path now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Missing,
    /// An empty file.
    Empty,
    /// What one of our own writes put there: the node knows.
    OwnWrite,
    /// Anything else.
    Something,
}

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// It came into being.
    Created,
    /// Anything else.
    Changed,
}

/// What is told of.
#[derive(Debug, PartialEq, Eq)]
pub enum Tell {
    /// These paths may have changed.
    Paths(Vec<RelPath>),
    /// Too many did.
    Everything,
}

#[derive(Debug)]
struct Item {
    first: Instant,
    last: Instant,
    /// It did not exist before: an empty file is news, and nothing was lost by truncation.
    is_new: bool,
    /// Looked at earlier and found to need more time.
    not_before: Option<Instant>,
}

impl Item {
    fn due(&self) -> Instant {
        let quiet = (self.last + QUIET).min(self.first + MOST_PATIENCE);
        self.not_before.map_or(quiet, |later| later.max(quiet))
    }
}

/// Paths that changed and were not told of yet.
#[derive(Debug, Default)]
pub struct Pending {
    items: BTreeMap<RelPath, Item>,
    /// No item is due before it; an item may have become due later since.
    earliest: Option<Instant>,
    too_many: bool,
    locked_since: Option<Instant>,
    /// The next look, whatever is due.
    not_before: Option<Instant>,
}

impl Pending {
    /// Something happened to a path.
    pub fn touch(&mut self, path: RelPath, happened: Happened, now: Instant) {
        let item = self.items.entry(path).or_insert(Item {
            first: now,
            last: now,
            is_new: happened == Happened::Created,
            not_before: None,
        });
        item.last = now;
        item.not_before = None;
        let due = item.due();
        self.earliest = Some(self.earliest.map_or(due, |earliest| earliest.min(due)));
        // What lies between is told of by one look at everything.
        self.too_many |= self.items.len() > MAX_PATHS * 4;
    }

    /// Forgets everything: everything is going to be looked at.
    pub fn clear(&mut self) {
        self.items.clear();
        self.earliest = None;
        self.too_many = false;
    }

    /// When to call [`Pending::take`] next.
    pub fn next_due(&self) -> Option<Instant> {
        let due = self.earliest?;
        Some(self.not_before.map_or(due, |later| later.max(due)))
    }

    /// What is to be told now. `look` says what lies at a path, `is_locked` whether git is in the
    /// middle of something.
    pub fn take(
        &mut self,
        now: Instant,
        is_locked: impl FnOnce() -> bool,
        look: impl Fn(&RelPath) -> Found,
    ) -> Option<Tell> {
        if self.next_due().is_none_or(|due| due > now) {
            return None;
        }
        if is_locked() {
            let since = *self.locked_since.get_or_insert(now);
            if now < since + LOCKED {
                self.not_before = Some(now + LOCK_POLL);
                return None;
            }
        } else {
            self.locked_since = None;
        }
        self.not_before = Some(now + INTERVAL);
        if self.too_many {
            self.clear();
            return Some(Tell::Everything);
        }
        let due: Vec<RelPath> = self
            .items
            .iter()
            .filter(|(_, item)| item.due() <= now)
            .map(|(path, _)| path.clone())
            .collect();
        let mut paths = Vec::new();
        for path in due {
            let found = look(&path);
            let Some(item) = self.items.get_mut(&path) else { continue };
            let until = match found {
                Found::Missing => Some(item.last + GONE),
                Found::Empty if !item.is_new => Some(item.last + EMPTY),
                Found::Empty | Found::OwnWrite | Found::Something => None,
            };
            if let Some(until) = until.filter(|until| *until > now) {
                item.not_before = Some(until);
                continue;
            }
            self.items.remove(&path);
            if found != Found::OwnWrite {
                paths.push(path);
            }
        }
        self.earliest = self.items.values().map(Item::due).min();
        if paths.len() > MAX_PATHS {
            self.clear();
            return Some(Tell::Everything);
        }
        (!paths.is_empty()).then_some(Tell::Paths(paths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    /// Steps of a millisecond until something is told, and when.
    fn told(
        pending: &mut Pending,
        start: Instant,
        look: impl Fn(&RelPath) -> Found,
    ) -> (u64, Tell) {
        for ms in 0..20_000 {
            let now = start + Duration::from_millis(ms);
            if let Some(tell) = pending.take(now, || false, &look) {
                return (ms, tell);
            }
        }
        panic!("nothing was told");
    }

    #[test]
    fn waits_as_the_race_table_says() {
        let start = Instant::now();
        for (found, happened, want_ms) in [
            (Found::Something, Happened::Changed, 50),
            (Found::Something, Happened::Created, 50),
            (Found::Missing, Happened::Changed, 300),
            (Found::Empty, Happened::Changed, 500),
            (Found::Empty, Happened::Created, 50),
        ] {
            let mut pending = Pending::default();
            pending.touch(path("a"), happened, start);
            let (ms, tell) = told(&mut pending, start, |_| found);
            assert_eq!((ms, tell), (want_ms, Tell::Paths(vec![path("a")])), "{found:?}");
            assert_eq!(pending.next_due(), None);
        }
    }

    #[test]
    fn our_own_writes_are_not_told() {
        let start = Instant::now();
        let mut pending = Pending::default();
        pending.touch(path("a"), Happened::Changed, start);
        pending.touch(path("b"), Happened::Changed, start + Duration::from_millis(1));
        let own =
            |at: &RelPath| if at.as_str() == "a" { Found::OwnWrite } else { Found::Something };
        assert_eq!(told(&mut pending, start, own).1, Tell::Paths(vec![path("b")]));
    }

    #[test]
    fn a_writer_that_never_rests_is_told_of_now_and_then() {
        let start = Instant::now();
        let mut pending = Pending::default();
        let mut told = 0;
        for ms in 0..2000 {
            let now = start + Duration::from_millis(ms);
            if ms % 10 == 0 {
                pending.touch(path("log"), Happened::Changed, now);
            }
            told += u32::from(pending.take(now, || false, |_| Found::Something).is_some());
        }
        assert!((3..=5).contains(&told), "{told}");
    }

    #[test]
    fn git_is_waited_for_but_not_for_ever() {
        let start = Instant::now();
        let mut pending = Pending::default();
        pending.touch(path("a"), Happened::Changed, start);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(pending.take(at(60), || true, |_| Found::Something), None);
        assert_eq!(pending.take(at(4_900), || true, |_| Found::Something), None);
        assert!(pending.take(at(5_100), || true, |_| Found::Something).is_some());
    }

    #[test]
    fn many_changes_are_one_scan() {
        let start = Instant::now();
        let mut pending = Pending::default();
        for n in 0..=MAX_PATHS {
            pending.touch(path(&format!("f{n}")), Happened::Changed, start);
        }
        assert_eq!(told(&mut pending, start, |_| Found::Something).1, Tell::Everything);
        assert_eq!(pending.next_due(), None);
    }
}
