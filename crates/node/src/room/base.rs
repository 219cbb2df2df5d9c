//! What a file held when it was last written or read, as the log remembers it. After a crash this
//! is how a program's writes are told from people's.
//!
//! A text counts as the base of a merge only when the disk was seen to hold it and nothing came
//! after: a write that was only begun, or a program's text that was merged and not written back,
//! leaves the base unknown, and an unknown base deletes nothing. What was begun is remembered as a
//! text that the disk may hold, which then is not taken for a program's.

use bytes::Bytes;
use tandem_proto::{BootId, FileId, Lsn, MemberId};
use tandem_store::{Record, RecordKind};

use super::Room;

/// Texts of a file that are kept, two for each write: a program may have read one of them.
const KEPT: usize = 32;

/// One logged edit.
#[derive(Debug, Clone)]
pub struct LoggedEdit {
    /// Place in the order of all replayed records.
    pub order: usize,
    /// Whose position `lsn` is.
    pub boot: BootId,
    /// Its position.
    pub lsn: Lsn,
    /// When it was made, milliseconds since the Unix epoch.
    pub ms: u64,
    /// Who made it.
    pub author: Option<MemberId>,
    /// The update.
    pub update: Bytes,
}

/// What is known of a file's text on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A write was begun: the disk may hold this.
    Begun([u8; 32]),
    /// The disk holds this.
    Held([u8; 32]),
    /// A program's text was merged, and the document has more.
    Merged,
}

/// One entry of a file's history on disk.
#[derive(Debug, Clone, Copy)]
pub struct Base {
    /// What.
    pub seen: Seen,
    /// Place in the order of replayed records, boot, and the last edit in that text; `None` when
    /// the manifest says it: all that the snapshot has, and no more.
    at: Option<(usize, BootId, Lsn)>,
}

impl Base {
    /// The disk had the text of the last snapshot.
    pub fn of_snapshot(hash: [u8; 32]) -> Self {
        Self { seen: Seen::Held(hash), at: None }
    }

    /// Reads a record: a kind, a hash, and the position of the last contained edit.
    pub fn read(record: &Record, order: usize) -> Option<Self> {
        let (kind, rest) = record.payload.split_first()?;
        let (hash, lsn) = rest.split_at_checked(32)?;
        let hash = hash.try_into().ok()?;
        let seen = match kind {
            0 => Seen::Begun(hash),
            1 => Seen::Held(hash),
            _ => Seen::Merged,
        };
        let lsn = Lsn(u64::from_le_bytes(lsn.try_into().ok()?));
        Some(Self { seen, at: Some((order, record.boot, lsn)) })
    }

    /// Whether the text contained this edit.
    pub fn contains(&self, edit: &LoggedEdit) -> bool {
        self.at.is_some_and(|(order, boot, lsn)| {
            edit.order < order && !(edit.boot == boot && edit.lsn > lsn)
        })
    }
}

/// Adds what came later.
pub fn push(bases: &mut Vec<Base>, base: Base) {
    if bases.len() == KEPT {
        bases.remove(0);
    }
    bases.push(base);
}

impl Room {
    /// Notes what becomes of a file. A begun write may be sent when the position is durable.
    pub(super) fn log_base(&mut self, file: FileId, seen: Seen, last: Lsn) -> Option<Lsn> {
        // What the disk was seen to hold only makes a merge after a crash more exact. A log that
        // takes nothing now is no reason to end the room for it.
        if !matches!(seen, Seen::Begun(_)) && !self.log_takes_records() {
            return None;
        }
        let (kind, hash) = match seen {
            Seen::Begun(hash) => (0, hash),
            Seen::Held(hash) => (1, hash),
            Seen::Merged => (2, [0; 32]),
        };
        let mut payload = vec![kind];
        payload.extend_from_slice(&hash);
        payload.extend_from_slice(&last.0.to_le_bytes());
        self.log(RecordKind::Base, file, payload.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_contains_what_was_written_before_it_and_no_more() {
        let (old, boot) = (BootId(1), BootId(2));
        let base = Base { seen: Seen::Merged, at: Some((5, boot, Lsn(7))) };
        let edit = |order, boot, lsn| LoggedEdit {
            order,
            boot,
            lsn: Lsn(lsn),
            ms: 0,
            author: None,
            update: Bytes::new(),
        };
        assert!(base.contains(&edit(0, old, 99)), "of an earlier boot");
        assert!(base.contains(&edit(3, boot, 7)));
        assert!(!base.contains(&edit(4, boot, 8)), "typed while the write was under way");
        assert!(!base.contains(&edit(6, boot, 9)));
        assert!(!Base::of_snapshot([0; 32]).contains(&edit(0, old, 1)));
    }
}
