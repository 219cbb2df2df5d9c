//! What can be asked of a room. The mailbox is bounded: a sender waits when it is full, so that a
//! flooding socket is slowed by its own TCP window.

use bytes::Bytes;
use std::sync::Arc;

use tandem_proto::agent::ListeningPort;
use tandem_proto::api::{LiveState, TerminalInfo, TreeEntry, TreeFolder};
use tandem_proto::history::{Checkpoint, CheckpointRestored, HistoryAuthor};
use tandem_proto::{CheckpointId, Grant, MemberId, RelPath, Role, TerminalId};
use tandem_sandbox::AgentLink;
use tandem_store::ReplStore;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::PeerId;
use super::checkpoints::NewCheckpoint;
use crate::history::HistorySource;
use crate::socket::outbox::Outbox;
use crate::socket::protocol::{Inbound, Protocol};

/// Mailbox length.
pub const MAILBOX: usize = 1024;

/// Why a room does not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoomError {
    /// No such file, folder, task, terminal or port.
    #[error("{0}")]
    NotFound(String),
    /// In the way: a name that is taken, a run that is going on.
    #[error("{0}")]
    Conflict(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Over a limit.
    #[error("{0}")]
    TooLarge(String),
    /// Not now: no sandbox, blob store or log. Worth a retry.
    #[error("{0}")]
    Unavailable(String),
    /// The room is being closed; open it again.
    #[error("the repl is being closed")]
    Closing,
}

/// The answer to a question.
pub type Reply<T> = oneshot::Sender<Result<T, RoomError>>;

/// A socket that joins.
#[derive(Debug)]
pub struct NewPeer {
    /// Who.
    pub grant: Grant,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where to put messages.
    pub outbox: Outbox,
}

/// Somebody who uses the room without documents: a terminal viewer.
#[derive(Debug)]
pub struct NewVisitor {
    /// Who.
    pub grant: Grant,
    /// Ends the visit.
    pub cancel: CancellationToken,
}

/// A message to the room.
#[derive(Debug)]
pub enum Command {
    /// A document socket joins.
    Attach(NewPeer, Reply<PeerId>),
    /// A terminal socket joins.
    Visit(NewVisitor, Reply<PeerId>),
    /// A socket is gone.
    Detach(PeerId),
    /// A message from a socket.
    Document(PeerId, Arc<str>, Inbound),
    /// A socket's queue has room again.
    Drained(PeerId),
    /// A request with an answer.
    Ask(Ask),
}

/// Where the content of a file is.
#[derive(Debug)]
pub enum FileContent {
    /// Here.
    Bytes(Bytes),
    /// In the sandbox, with this many bytes.
    Disk(AgentLink, RelPath, u64),
    /// In the blob store.
    Blob(tandem_store::BlobRef),
}

/// One file for an archive or a fork.
#[derive(Debug)]
pub struct ExportFile {
    /// Where.
    pub path: RelPath,
    /// Executable bit.
    pub executable: bool,
    /// Never [`FileContent::Disk`].
    pub content: FileContent,
}

/// What a terminal socket needs.
#[derive(Debug)]
pub enum TerminalDoor {
    /// Its program runs, or has ended, in the sandbox.
    Live {
        /// The agent.
        link: AgentLink,
        /// Size and driver, as they change.
        info: watch::Receiver<TerminalInfo>,
    },
    /// Its machine is gone.
    Restored {
        /// Where its output is.
        store: ReplStore,
        /// The object, when any was saved.
        key: Option<String>,
        /// Says when a new shell was started in it.
        info: watch::Receiver<TerminalInfo>,
    },
}

/// Everything of a repl's tree and files, for an archive or a fork.
#[derive(Debug)]
pub struct Export {
    /// Files.
    pub files: Vec<ExportFile>,
    /// Folders, parents first.
    pub folders: Vec<RelPath>,
}

impl Ask {
    /// Answers a request that changes files with an error; gives any other back.
    pub(super) fn refuse_change(self, error: RoomError) -> Option<Self> {
        match self {
            Self::WriteFile(_, reply)
            | Self::MakeFolder(_, reply)
            | Self::Move(_, _, reply)
            | Self::Restore(_, reply) => drop(reply.send(Err(error))),
            Self::Delete(_, _, reply) => drop(reply.send(Err(error))),
            Self::RestoreText { reply, .. } => drop(reply.send(Err(error))),
            Self::RestoreCheckpoint(_, _, reply) => drop(reply.send(Err(error))),
            other => return Some(other),
        }
        None
    }
}

/// Requests with answers.
#[derive(Debug)]
pub enum Ask {
    /// One folder.
    Tree(Option<RelPath>, Reply<TreeFolder>),
    /// A file's content and its entry.
    ReadFile(RelPath, Reply<(FileContent, TreeEntry)>),
    /// Create or replace a file; merges as a diff into a text file.
    WriteFile(WriteFile, Reply<TreeEntry>),
    /// Create a folder and its parents.
    MakeFolder(RelPath, Reply<TreeEntry>),
    /// Move or rename.
    Move(RelPath, RelPath, Reply<TreeEntry>),
    /// Delete, restorable.
    Delete(RelPath, HistoryAuthor, Reply<()>),
    /// Undo the last delete of this path.
    Restore(RelPath, Reply<TreeEntry>),
    /// Start a task.
    Run(String, MemberId, Reply<TerminalId>),
    /// Stop the run.
    Stop(Reply<()>),
    /// Open a shell of this size.
    OpenTerminal(u16, u16, Reply<TerminalInfo>),
    /// End a terminal.
    CloseTerminal(TerminalId, Reply<()>),
    /// Start a new shell in one whose machine is gone.
    RestartTerminal(TerminalId, Reply<()>),
    /// Reach a terminal's stream.
    Terminal(TerminalId, Reply<TerminalDoor>),
    /// A viewer's size.
    Resize {
        /// Which terminal.
        terminal: TerminalId,
        /// Whose size.
        member: MemberId,
        /// Columns and rows.
        size: (u16, u16),
        /// Take over as the driver.
        drive: bool,
    },
    /// Where a port can be dialled.
    Port(u16, Reply<(AgentLink, ListeningPort)>),
    /// Everything the page shows.
    Status(Reply<(LiveState, u32)>),
    /// What is known of a file's history.
    History(RelPath, Reply<HistorySource>),
    /// Give a file an earlier text.
    RestoreText {
        /// Which file.
        path: RelPath,
        /// The text.
        text: String,
        /// Who asked.
        author: HistoryAuthor,
        /// Whether it was another text.
        reply: Reply<bool>,
    },
    /// Checkpoints, newest first.
    Checkpoints(Reply<Vec<Checkpoint>>),
    /// Make one.
    MakeCheckpoint(NewCheckpoint, Reply<Checkpoint>),
    /// Let one go.
    DeleteCheckpoint(CheckpointId, Reply<()>),
    /// Go back to one.
    RestoreCheckpoint(CheckpointId, HistoryAuthor, Reply<CheckpointRestored>),
    /// All content, after a flush.
    Export(Reply<Export>),
    /// Flush now.
    Flush(Reply<()>),
    /// Leave now, as if the grace time had passed.
    Leave(Reply<()>),
    /// A member's right was withdrawn or changed.
    Revoke(MemberId, Option<Role>),
}

/// See [`Ask::WriteFile`].
#[derive(Debug)]
pub struct WriteFile {
    /// Where.
    pub path: RelPath,
    /// New content.
    pub content: Bytes,
    /// `None` keeps the bit.
    pub executable: Option<bool>,
    /// Refuse when something is there.
    pub create_only: bool,
    /// Who asked.
    pub author: Option<HistoryAuthor>,
}
