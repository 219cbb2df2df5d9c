//! A repl's manifest: its tree, where each file's content is, and which log records are in it.

use serde::{Deserialize, Serialize};
use tandem_proto::agent::Exit;
use tandem_proto::history::{CheckpointReason, HistoryAuthor};
use tandem_proto::{
    CheckpointId, Epoch, FileId, Generation, MemberId, RelPath, ReplId, TerminalId,
};

use super::{BlobRef, StoredPack};
use crate::hash::ContentHash;
use crate::position::Positions;

/// Epochs in [`Manifest::lineage`].
pub(super) const MAX_LINEAGE: usize = 64;

/// One saved state of a repl. Fields that are added later have defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Whose.
    pub repl: ReplId,
    /// The opening that wrote it.
    pub epoch: Epoch,
    /// Counts within the epoch.
    pub seq: u64,
    /// Key of the manifest before it.
    pub parent: Option<String>,
    /// Of each earlier epoch, the last manifest that this one descends from or has merged; oldest
    /// first. What is stored beside this line was written by somebody who had lost the repl.
    #[serde(default)]
    pub lineage: Vec<(Epoch, u64)>,
    /// Counts changes of the tree.
    pub tree_version: u64,
    /// All files and folders, tombstones included, in any order.
    pub tree: Vec<TreeNode>,
    /// Log records up to here are contained.
    #[serde(with = "crate::position")]
    pub covered: Positions,
    /// Terminals whose scrollback was saved.
    #[serde(default)]
    pub terminals: Vec<StoredTerminal>,
    /// Ignored folders, each as a whole.
    #[serde(default)]
    pub ignored: Vec<StoredFolder>,
    /// The history of documents, in the order in which it is applied.
    #[serde(default)]
    pub history: Vec<StoredPack>,
    /// Saved states that people can go back to, oldest first.
    #[serde(default)]
    pub checkpoints: Vec<StoredCheckpoint>,
    /// When unneeded objects were removed last, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub swept_ms: u64,
    /// When, in milliseconds since the Unix epoch.
    pub saved_ms: u64,
}

/// A state of the whole repl that stays until it is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCheckpoint {
    /// Its identity.
    pub id: CheckpointId,
    /// As shown.
    pub name: String,
    /// When, in milliseconds since the Unix epoch.
    pub made_ms: u64,
    /// Who made it, or did what it was made before.
    pub author: Option<HistoryAuthor>,
    /// Why.
    pub reason: CheckpointReason,
    /// How many files it holds.
    pub files: u32,
    /// Key of the manifest that is this state.
    pub manifest: String,
}

/// A file or folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeNode {
    /// Its identity; also the guid of its document.
    pub id: FileId,
    /// The folder that holds it; [`FileId::ROOT`] at the top.
    pub parent: FileId,
    /// The last part of its path.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// The executable bit.
    pub executable: bool,
    /// What is in it.
    pub content: Content,
    /// When it was deleted; it can be restored for 7 days.
    #[serde(default)]
    pub deleted_ms: Option<u64>,
}

/// What a [`TreeNode`] is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeKind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link.
    Symlink {
        /// As it was read; never followed.
        target: String,
    },
}

/// What is in a [`TreeNode`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Nothing: folders, links.
    None,
    /// A document.
    Document(StoredDocument),
    /// Bytes without a document.
    Blob(BlobRef),
}

/// Where a document's state is, and how its file looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDocument {
    /// Key of the newest snapshot; a document is the union of all of its generation.
    pub snapshot: String,
    /// Which history.
    pub generation: Generation,
    /// Line ends of the file.
    pub eol: Eol,
    /// Whether the file starts with a byte order mark.
    pub bom: bool,
    /// Length of the file in bytes.
    pub size: u64,
    /// Hash of the document's text.
    pub text_hash: ContentHash,
}

/// Line ends of a text file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Eol {
    /// `\n`.
    Lf,
    /// `\r\n`.
    Crlf,
}

/// An ignored folder, saved as a tar in pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFolder {
    /// Where it is.
    pub path: RelPath,
    /// The pieces of the tar, in order.
    pub chunks: Vec<BlobRef>,
    /// Length of the tar.
    pub bytes: u64,
    /// It is known that a newer state was not saved; without pieces there never was one.
    #[serde(default)]
    pub behind: bool,
}

/// A terminal's saved scrollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredTerminal {
    /// Which.
    pub id: TerminalId,
    /// As shown.
    pub title: String,
    /// A console of Run, not a shell.
    pub console: bool,
    /// Offset of the first saved byte.
    pub from: u64,
    /// Offset after the last.
    pub to: u64,
    /// Key of the scrollback.
    pub key: String,
    /// Columns and rows.
    #[serde(default)]
    pub size: Option<(u16, u16)>,
    /// How its program ended, if it did by itself.
    #[serde(default)]
    pub exit: Option<Exit>,
    /// Of a console: what was run.
    #[serde(default)]
    pub run: Option<StoredRun>,
}

/// The run that a saved console belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRun {
    /// Task name.
    pub task: String,
    /// As shown.
    pub command: String,
    /// Who started it.
    pub member: MemberId,
    /// Milliseconds since the Unix epoch.
    pub started_ms: u64,
}
