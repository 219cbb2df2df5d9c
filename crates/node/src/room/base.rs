//! What a file held when the disk was last written, as the log remembers it. After a crash this
//! is how a program's writes are told from people's: the text at that moment is the base of the
//! merge. Logged before the write, so that whichever of the two texts is found is known.

use bytes::Bytes;
use tandem_proto::{BootId, FileId, Lsn};
use tandem_store::{Record, RecordKind};

use super::Room;

/// Earlier texts of a file that are kept: a program may have read one of them.
pub const KEPT: usize = 8;

/// Adds what the disk held later.
pub fn push(bases: &mut Vec<Base>, base: Base) {
    if bases.len() == KEPT {
        bases.remove(0);
    }
    bases.push(base);
}

/// One logged edit.
#[derive(Debug, Clone)]
pub struct LoggedEdit {
    /// Place in the order of all replayed records.
    pub order: usize,
    /// Whose position `lsn` is.
    pub boot: BootId,
    /// Its position.
    pub lsn: Lsn,
    /// The update.
    pub update: Bytes,
}

/// What the disk held at some moment.
#[derive(Debug, Clone, Copy)]
pub struct Base {
    /// blake3 of the file's bytes.
    pub hash: [u8; 32],
    /// When, milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// Place in the order of replayed records, boot, and the last edit in those bytes; `None`
    /// when the manifest says it: all that the snapshot has, and no more.
    at: Option<(usize, BootId, Lsn)>,
}

impl Base {
    /// The disk had the text of the last snapshot.
    pub fn of_snapshot(hash: [u8; 32]) -> Self {
        Self { hash, wall_ms: 0, at: None }
    }

    /// Reads a record: hash, then the position of the last contained edit.
    pub fn read(record: &Record, order: usize) -> Option<Self> {
        let (hash, lsn) = record.payload.split_at_checked(32)?;
        let lsn = Lsn(u64::from_le_bytes(lsn.try_into().ok()?));
        Some(Self {
            hash: hash.try_into().ok()?,
            wall_ms: record.wall_ms,
            at: Some((order, record.boot, lsn)),
        })
    }

    /// Whether the bytes contained this edit.
    pub fn contains(&self, edit: &LoggedEdit) -> bool {
        self.at.is_some_and(|(order, boot, lsn)| {
            edit.order < order && !(edit.boot == boot && edit.lsn > lsn)
        })
    }
}

impl Room {
    /// The disk is about to hold these bytes, which contain the document's edits up to `last`.
    /// They may be written when the returned position is durable.
    pub(super) fn log_base(&mut self, file: FileId, hash: [u8; 32], last: Lsn) -> Option<Lsn> {
        let mut payload = hash.to_vec();
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
        let base = Base { hash: [0; 32], wall_ms: 0, at: Some((5, boot, Lsn(7))) };
        let edit =
            |order, boot, lsn| LoggedEdit { order, boot, lsn: Lsn(lsn), update: Bytes::new() };
        assert!(base.contains(&edit(0, old, 99)), "of an earlier boot");
        assert!(base.contains(&edit(3, boot, 7)));
        assert!(!base.contains(&edit(4, boot, 8)), "typed while the write was under way");
        assert!(!base.contains(&edit(6, boot, 9)));
        assert!(!Base::of_snapshot([0; 32]).contains(&edit(0, old, 1)));
    }
}
