//! The late look: a program that had a replaced file open may still write into it.
//!
//! What was swapped out is kept for two seconds and looked at a few times. If it changed, it goes
//! back to its path while what lies there is still our own write (the node has that text), so
//! the program's bytes are read and merged as any other change; else it is kept beside.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;
use tandem_proto::RelPath;
use tandem_proto::agent::Signature;

use super::entry::signature;
use super::read::read_stable;
use super::{Workspace, open_beneath, stat_in};

/// When a kept file is looked at after it was swapped out.
const LOOKS: [Duration; 4] = [
    Duration::from_millis(60),
    Duration::from_millis(250),
    Duration::from_millis(800),
    Duration::from_millis(2000),
];
/// How soon to look again at a file that is being written.
const AGAIN: Duration = Duration::from_millis(40);
/// How often a file that is being written is looked at again.
const MOST_AGAIN: u32 = 50;
/// Most files kept; an older one is let go before its time.
const MOST_KEPT: usize = 256;
/// Names tried for a copy.
const MOST_COPIES: u32 = 20;
const MAX_COMPARED: u64 = 64 * 1024 * 1024;

/// A file that was swapped out.
#[derive(Debug)]
pub struct Kept {
    name: String,
    path: RelPath,
    signature: Signature,
    hash: Option<[u8; 32]>,
    since: Instant,
    looks: usize,
    again: u32,
    /// Its state at the last look, when that was not the one it was swapped out in.
    changed: Option<Signature>,
    due: Instant,
}

impl Kept {
    pub fn new(name: String, path: RelPath, signature: Signature, hash: Option<[u8; 32]>) -> Self {
        let since = Instant::now();
        let due = since + LOOKS[0];
        Self { name, path, signature, hash, since, looks: 0, again: 0, changed: None, due }
    }
}

enum Verdict {
    Unchanged,
    BeingWritten,
    Changed,
    Gone,
}

impl Workspace {
    /// When to call [`Workspace::look_late`] next.
    pub fn next_late_look(&self) -> Option<Instant> {
        self.kept().iter().map(|kept| kept.due).min()
    }

    /// Looks at the kept files that are due; paths that hold something else now.
    pub fn look_late(&self, now: Instant) -> Vec<RelPath> {
        let due: Vec<Kept> = {
            let mut kept = self.kept();
            let (due, later) = std::mem::take(&mut *kept).into_iter().partition(|k| k.due <= now);
            *kept = later;
            due
        };
        due.into_iter().filter_map(|kept| self.look_at(kept, now)).collect()
    }

    pub(super) fn keep(&self, kept: Kept) {
        let mut all = self.kept();
        all.push(kept);
        if all.len() > MOST_KEPT {
            all[0].looks = LOOKS.len() - 1;
            all[0].due = Instant::now();
        }
    }

    fn look_at(&self, mut kept: Kept, now: Instant) -> Option<RelPath> {
        match self.judge(&mut kept) {
            Verdict::Gone => None,
            Verdict::Unchanged => {
                kept.looks += 1;
                match LOOKS.get(kept.looks) {
                    Some(look) => {
                        kept.due = (kept.since + *look).max(now);
                        self.kept().push(kept);
                    }
                    None => self.scratch.remove(&kept.name),
                }
                None
            }
            Verdict::BeingWritten => {
                kept.again += 1;
                kept.due = now + AGAIN;
                self.kept().push(kept);
                None
            }
            Verdict::Changed => self.give_back(&kept),
        }
    }

    fn judge(&self, kept: &mut Kept) -> Verdict {
        let folder = self.scratch.folder();
        let Ok(stat) = stat_in(folder, &kept.name) else { return Verdict::Gone };
        let found = signature(&stat);
        if found == kept.signature {
            return Verdict::Unchanged;
        }
        let Ok(file) = open_beneath(folder, &kept.name, OFlags::RDONLY) else {
            return Verdict::Changed;
        };
        if let Ok(Some(stable)) = read_stable(file, MAX_COMPARED)
            && kept.hash == Some(*blake3::hash(&stable.content).as_bytes())
        {
            // Touched, or given other permissions.
            kept.signature = found;
            return Verdict::Unchanged;
        }
        // It goes back only when it has kept still between two looks.
        let is_still = kept.changed.replace(found) == Some(found);
        if is_still || kept.again >= MOST_AGAIN { Verdict::Changed } else { Verdict::BeingWritten }
    }

    fn give_back(&self, kept: &Kept) -> Option<RelPath> {
        let ours = self.own_writes().get(&kept.path).copied();
        let scratch = self.scratch.folder();
        let place = self.place(&kept.path).ok()?;
        let at_path = |name: &str| stat_in(&place.folder, name).ok().map(|stat| signature(&stat));
        if ours.is_none() || at_path(place.name) != ours {
            return self.keep_copy(&kept.path, &kept.name);
        }
        let exchange =
            || renameat_with(scratch, &kept.name, &place.folder, place.name, RenameFlags::EXCHANGE);
        if exchange().is_err() {
            return self.keep_copy(&kept.path, &kept.name);
        }
        let out = stat_in(scratch, &kept.name).ok().map(|stat| signature(&stat));
        // The exchange itself changes the time of the last change of the entry.
        let same = |a: &Signature, b: &Signature| {
            (a.device, a.inode, a.size, a.mtime_ns) == (b.device, b.inode, b.size, b.mtime_ns)
        };
        if out.as_ref().zip(ours.as_ref()).is_some_and(|(out, ours)| same(out, ours)) {
            self.own_writes().remove(&kept.path);
            self.scratch.remove(&kept.name);
            return Some(kept.path.clone());
        }
        // Somebody changed the path at that very moment: theirs stays there.
        let _ = exchange();
        self.keep_copy(&kept.path, &kept.name)
    }

    /// Moves a file out of the scratch folder to a new name beside `path`.
    pub(super) fn keep_copy(&self, path: &RelPath, name: &str) -> Option<RelPath> {
        let scratch = self.scratch.folder();
        for number in 1..=MOST_COPIES {
            let copy = match number {
                1 => format!("{}.recovered", path.as_str()),
                _ => format!("{}.recovered-{number}", path.as_str()),
            };
            let Ok(copy) = RelPath::parse(&copy) else { break };
            let Ok(place) = self.make_place(&copy) else { break };
            let flags = RenameFlags::NOREPLACE;
            match renameat_with(scratch, name, &place.folder, place.name, flags) {
                Ok(()) => return Some(copy),
                Err(Errno::EXIST) => {}
                Err(_) => break,
            }
        }
        crate::say(format_args!("a late write to a replaced file could not be kept beside it"));
        None
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
