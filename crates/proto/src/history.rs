//! Bodies of the history API: who wrote what when, playback, and checkpoints.
//!
//! `GET …/history/{path}?replay&from=MS&to=MS` answers bytes, not JSON: the magic
//! [`REPLAY_MAGIC`], a lib0 varstring with the authors as JSON (`HistoryAuthor[]`), then frames
//! until the end: varuint milliseconds since the Unix epoch, varuint index of the author plus 1
//! (0: nobody known), varbytes Yjs update (v1). The first frame holds the state before `from`.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::id::{CheckpointId, FileId, MemberId};

/// The first bytes of a playback.
pub const REPLAY_MAGIC: &[u8; 4] = b"TDH1";
/// Response header of a playback that was cut: the `from` to go on with.
pub const NEXT_FROM: &str = "x-next-from";

/// Somebody who wrote: a member, or [`MemberId::PROGRAM`] for programs in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct HistoryAuthor {
    /// Id.
    pub id: MemberId,
    /// Name when last seen.
    pub name: String,
    /// `#rrggbb`.
    pub colour: String,
}

/// `GET …/history/{path}?before=MS&limit=N`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct FileHistory {
    /// The file's identity; its history follows it over renames.
    pub file: FileId,
    /// Everybody who ever wrote in it, as far as the history goes.
    pub authors: Vec<HistoryAuthor>,
    /// The oldest edit that is kept; `None` without any.
    #[ts(type = "number | null")]
    pub from_ms: Option<u64>,
    /// The newest.
    #[ts(type = "number | null")]
    pub to_ms: Option<u64>,
    /// Newest first.
    pub sessions: Vec<HistorySession>,
    /// There are older sessions than the last of these: ask again with its `from_ms` as `before`.
    pub more: bool,
}

/// Edits without a longer pause than a minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct HistorySession {
    /// Unique within the file.
    pub id: String,
    /// Its first edit, milliseconds since the Unix epoch.
    #[ts(type = "number")]
    pub from_ms: u64,
    /// Its last edit. The text as of this moment is the session's version.
    #[ts(type = "number")]
    pub to_ms: u64,
    /// Who wrote; empty when nobody knows.
    pub authors: Vec<MemberId>,
    /// UTF-16 units written.
    #[ts(type = "number")]
    pub inserted: u64,
    /// UTF-16 units removed.
    #[ts(type = "number")]
    pub deleted: u64,
}

/// One element of the array that `GET …/history/{path}?blame` answers: lines in a row whose text
/// was last written by the same author at about the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct BlameLines {
    /// The first line, counted from 1.
    pub line: u32,
    /// How many.
    pub lines: u32,
    /// Who; `None` when nobody knows.
    pub author: Option<MemberId>,
    /// When; `None` when nobody knows.
    #[ts(type = "number | null")]
    pub ms: Option<u64>,
}

/// Answer to `POST …/history/{path}?restore=MS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct VersionRestored {
    /// Whether the text was another one.
    pub changed: bool,
}

/// `POST …/checkpoints`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, TS)]
pub struct CreateCheckpoint {
    /// 1–80 characters; made up when absent.
    #[ts(optional)]
    pub name: Option<String>,
}

/// `GET …/checkpoints` answers an array of these, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Checkpoint {
    /// Id.
    pub id: CheckpointId,
    /// Chosen by people, or what it was made before.
    pub name: String,
    /// Milliseconds since the Unix epoch.
    #[ts(type = "number")]
    pub made_ms: u64,
    /// Who made it or did what it was made before.
    pub author: Option<HistoryAuthor>,
    /// Why.
    pub reason: CheckpointReason,
    /// How many files it holds.
    pub files: u32,
}

/// Why there is a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum CheckpointReason {
    /// Somebody asked for it.
    Manual,
    /// Made before an archive was unpacked into the repl.
    Import,
    /// Made before a checkpoint was restored.
    Restore,
    /// Made before many files were replaced or deleted at once.
    Replace,
}

/// Answer to `POST …/checkpoints/{id}/restore`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct CheckpointRestored {
    /// The one that holds how it was before: restoring that undoes this.
    pub before: CheckpointId,
    /// Files that were written, made or brought back.
    pub changed: u32,
    /// Files that came later and were deleted; they can be restored for 7 days.
    pub deleted: u32,
}
