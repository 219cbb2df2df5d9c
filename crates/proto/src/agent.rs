//! What a node and the agent inside a sandbox say to each other.
//!
//! The agent dials the node over a unix socket that belongs to its sandbox. Every connection
//! starts with one [`Dial`] frame from the agent. On the control connection the node then sends
//! [`ToAgent`] frames and the agent [`FromAgent`] frames. For a terminal, a TCP connection or a
//! bulk transfer the node sends [`ToAgent::OpenStream`] and the agent dials once more.
//!
//! A frame is a little-endian `u32` length and that many bytes of MessagePack with named fields
//! (unknown fields are ignored, so that an older agent and a newer server understand each other),
//! at most [`crate::limits::MAX_AGENT_FRAME_BYTES`]. After its `Dial` frame a [`StreamTarget::Tcp`]
//! or bulk stream is raw bytes; a terminal stream carries [`TerminalOutput`] frames out and
//! [`TerminalInput`] frames in.
//!
//! Everything from the agent is as hostile as user code: the receiver bounds and re-checks it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{SandboxId, TerminalId};
use crate::path::RelPath;

/// Version of these messages. A server refuses an agent of another major version's control
/// connection but keeps its terminals.
pub const VERSION: u32 = 1;

/// Where the socket's directory appears inside a sandbox, and the socket in it.
pub const SOCKET_DIR: &str = "/run/tandem";
/// See [`SOCKET_DIR`].
pub const SOCKET_NAME: &str = "agent.sock";
/// The workspace inside every sandbox.
pub const WORKSPACE: &str = "/home/runner/workspace";
/// The home folder inside every sandbox (not saved).
pub const HOME: &str = "/home/runner";

/// First frame of every connection, from the agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Dial {
    /// The control connection.
    Control(Hello),
    /// The connection asked for by [`ToAgent::OpenStream`].
    Stream {
        /// The number the node gave.
        stream: u64,
        /// Whether the target could be opened.
        result: Result<(), AgentError>,
    },
}

/// Who the agent is and what it holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the agent.
    pub version: u32,
    /// From its environment; checked against the sandbox that the socket belongs to.
    pub sandbox: SandboxId,
    /// Terminals that live, or ended and were not closed yet.
    pub terminals: Vec<TerminalState>,
    /// A node has said that the workspace holds the repl's files ([`Op::MarkFilled`]). Without
    /// it no program ran, and a missing file is one that was not copied yet.
    pub filled: bool,
    /// Knows [`StreamTarget::Scrollback`]; an agent of an earlier version does not.
    #[serde(default)]
    pub scrollback: bool,
}

/// One terminal as the agent knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TerminalState {
    /// Which.
    pub terminal: TerminalId,
    /// Shell or console.
    pub kind: TerminalKind,
    /// Command shown to people.
    pub title: String,
    /// What the program calls itself by an escape sequence, if it does.
    #[serde(default)]
    pub program_title: Option<String>,
    /// Columns and rows.
    pub size: (u16, u16),
    /// Absolute offset of the end of its output.
    pub end: u64,
    /// How its process ended, if it did.
    pub exit: Option<Exit>,
    /// When it was spawned, milliseconds since the Unix epoch on the sandbox's clock.
    pub started_ms: u64,
}

/// What a terminal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "lowercase")]
pub enum TerminalKind {
    /// An interactive shell.
    Shell,
    /// The output of Run.
    Console,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
pub struct Exit {
    /// Exit code, when it exited.
    pub code: Option<i32>,
    /// Signal number, when it was killed.
    pub signal: Option<i32>,
    /// Milliseconds from spawn to end.
    #[ts(type = "number")]
    pub duration_ms: u64,
}

/// Node to agent, on the control connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ToAgent {
    /// First: settings of this repl. Sent again when they change.
    Configure(Configure),
    /// Do something and answer with the same id.
    Request {
        /// Unique on this connection.
        id: u64,
        /// What to do.
        op: Op,
    },
    /// Dial once more for a stream.
    OpenStream {
        /// Unique on this connection.
        stream: u64,
        /// What to connect it to.
        target: StreamTarget,
    },
}

/// Settings of a repl that the agent needs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Configure {
    /// Names of folders and files that are neither watched nor scanned into, at any depth
    /// (`node_modules`, `target`, …); they are reported with `ignored` set.
    pub ignore: Vec<String>,
}

/// Agent to node, on the control connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum FromAgent {
    /// Answer to [`ToAgent::Request`].
    Response {
        /// The request's id.
        id: u64,
        /// What came of it.
        result: Result<Reply, AgentError>,
    },
    /// Something happened.
    Event(Event),
}

/// What the node may ask for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Op {
    /// Replace or create a regular file if it is still what the node last saw. Atomic: the new
    /// content is exchanged in (`renameat2(EXCHANGE)`) and what was swapped out is looked at; if
    /// that is not `expect`, it is exchanged back (or kept) and the answer is
    /// [`Reply::Conflict`]. Missing parent folders are made. Mode bits are kept; in place for
    /// files with several hard links. While a program seems to be writing the file the
    /// answer waits, at most about a second.
    Write {
        /// Which file.
        path: RelPath,
        /// New content.
        content: Bytes,
        /// `None` keeps the executable bit of an existing file.
        executable: Option<bool>,
        /// What must be there.
        expect: Expect,
    },
    /// Read a regular file, stable while read (stat before and after are equal).
    Read {
        /// Which file.
        path: RelPath,
        /// Answer [`AgentError::TooLarge`] above this.
        max_bytes: u64,
    },
    /// Look at one path without reading it.
    Stat {
        /// Which.
        path: RelPath,
    },
    /// Make a folder and its parents; an existing folder is fine.
    MakeFolder {
        /// Which.
        path: RelPath,
    },
    /// rename(2). Fails when `to` exists (`RENAME_NOREPLACE`) or its parent does not.
    Rename {
        /// From.
        from: RelPath,
        /// To.
        to: RelPath,
    },
    /// Delete a file, or a folder with everything in it. Missing is fine.
    Delete {
        /// Which.
        path: RelPath,
    },
    /// Set or clear the executable bits.
    SetExecutable {
        /// Which.
        path: RelPath,
        /// On or off.
        executable: bool,
    },
    /// List the whole workspace by [`Event::ScanChunk`]s, then answer [`Reply::Scanned`].
    Scan {
        /// Only what lies under this folder; `None` for all.
        under: Option<RelPath>,
    },
    /// Start a process on a new PTY.
    Spawn(Spawn),
    /// Change a PTY's size; clamped to the limits.
    Resize {
        /// Which.
        terminal: TerminalId,
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// Signal the terminal's process group (SIGINT, SIGTERM, SIGKILL, SIGHUP).
    Signal {
        /// Which.
        terminal: TerminalId,
        /// Signal number.
        signal: i32,
    },
    /// Hang up the terminal (SIGHUP, SIGKILL after 2 s) and forget its output.
    CloseTerminal {
        /// Which.
        terminal: TerminalId,
    },
    /// End every process except the agent: SIGTERM, then SIGKILL after the grace.
    StopProcesses {
        /// Milliseconds between the two.
        grace_ms: u64,
    },
    /// What the sandbox uses now.
    Usage,
    /// Look at listening ports now instead of at the next second.
    CheckPorts,
    /// The workspace holds every file of the repl: said before any program may run.
    MarkFilled,
}

/// What must be at a path before a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// Nothing.
    Absent,
    /// A regular file whose content has this blake3 hash.
    Content(#[serde(with = "serde_bytes")] [u8; 32]),
    /// Anything that may be replaced: nothing, or a regular file.
    Any,
}

/// Start of a process on a PTY.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spawn {
    /// The new terminal's id.
    pub terminal: TerminalId,
    /// Shell or console.
    pub kind: TerminalKind,
    /// Shown to people.
    pub title: String,
    /// Program and arguments; a program without `/` is looked up in PATH.
    pub argv: Vec<String>,
    /// Added to the sandbox's environment.
    pub env: Vec<(String, String)>,
    /// Folder in the workspace to start in.
    pub cwd: Option<RelPath>,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// Output to put in front, shown as history (scrollback of an earlier sandbox).
    pub history: Bytes,
}

/// Identity of a file's state on disk; equal means unchanged (short of a hostile clock).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Signature {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since the Unix epoch.
    pub mtime_ns: i64,
    /// Nanoseconds since the Unix epoch.
    pub ctime_ns: i64,
}

/// One thing in the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where.
    pub path: RelPath,
    /// What.
    pub kind: EntryKind,
    /// State on disk.
    pub signature: Signature,
    /// Any executable bit is set.
    pub executable: bool,
    /// Matched [`Configure::ignore`]; what is below an ignored folder is not listed.
    pub ignored: bool,
}

/// Kinds of workspace entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// Regular file.
    File,
    /// Folder.
    Folder,
    /// Symbolic link and its target's text.
    Symlink(String),
    /// FIFO, socket, device: shown, never opened.
    Other,
}

/// Answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Reply {
    /// Done, nothing to say.
    Done,
    /// The write happened.
    Written {
        /// The new file's state.
        entry: Entry,
    },
    /// The write did not happen: something else was there.
    Conflict {
        /// What was found.
        found: Found,
    },
    /// Answer to Read.
    Content {
        /// The bytes.
        content: Bytes,
        /// The state they were read in.
        entry: Entry,
    },
    /// Answer to Stat; `None` when nothing is there.
    Entry(Option<Entry>),
    /// Answer to Scan.
    Scanned {
        /// Entries sent.
        count: u64,
        /// More than the limit were there.
        truncated: bool,
    },
    /// Answer to Spawn.
    Spawned {
        /// Process id inside the sandbox.
        pid: u32,
    },
    /// Answer to Usage.
    Usage(Usage),
}

/// What a write found instead of what it expected.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Found {
    /// Nothing.
    Absent,
    /// A regular file of at most [`crate::limits::MAX_TEXT_BYTES`], read stably.
    File {
        /// Its content.
        content: Bytes,
        /// Its state.
        entry: Entry,
    },
    /// A larger file, a folder, a link, or something else.
    Other(Entry),
}

/// What a sandbox uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time of all its processes, microseconds.
    pub cpu_us: u64,
    /// Resident bytes of all its processes.
    pub memory_bytes: u64,
    /// Processes, the agent included.
    pub processes: u32,
    /// Bytes used on the workspace's filesystem.
    pub disk_used_bytes: u64,
    /// Bytes it may hold; 0 when unknown.
    pub disk_total_bytes: u64,
}

/// Unasked messages.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// These paths may have changed (content, mode, existence); coalesced over about 50 ms.
    Changed {
        /// At most 1,000; more is an [`Event::Overflow`].
        paths: Vec<RelPath>,
    },
    /// The watcher lost track: scan everything.
    Overflow,
    /// Part of a scan.
    ScanChunk {
        /// The request's id.
        id: u64,
        /// Parents before children.
        entries: Vec<Entry>,
    },
    /// The set of listening TCP ports changed.
    Ports {
        /// All of them.
        ports: Vec<ListeningPort>,
    },
    /// A terminal's process ended; its output stays readable.
    Exited {
        /// Which.
        terminal: TerminalId,
        /// How.
        exit: Exit,
    },
    /// A terminal's title or mode changed by an escape sequence.
    Title {
        /// Which.
        terminal: TerminalId,
        /// At most 256 characters, no control characters.
        title: String,
    },
}

/// A listening TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListeningPort {
    /// Port number.
    pub port: u16,
    /// Address to dial: `127.0.0.1`, `::1` or another local address.
    pub address: std::net::IpAddr,
}

/// What a stream connects to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum StreamTarget {
    /// A terminal's output from an absolute offset on, and its input.
    Terminal {
        /// Which.
        terminal: TerminalId,
        /// First wanted offset; output that is no longer held is skipped
        /// ([`TerminalOutput::Restart`]). `None` asks for a repaint: the newest screenful first.
        from: Option<u64>,
    },
    /// What is held of a terminal's output at this moment, as [`TerminalOutput::Chunk`]s; then
    /// the stream ends. It is no viewer: it slows nobody and has nothing drawn again.
    Scrollback {
        /// Which.
        terminal: TerminalId,
        /// Nothing is sent when the output still ends here.
        known_end: Option<u64>,
    },
    /// A TCP connection to a listening port.
    Tcp {
        /// Where the program listens.
        address: std::net::IpAddr,
        /// Its port.
        port: u16,
    },
    /// The node sends a tar; the agent unpacks it under the workspace, replacing what is there,
    /// and then sends one [`TransferEnd`] frame.
    Unpack,
    /// The agent sends a tar of these paths (folders with their contents, except ignored ones;
    /// an empty list means everything), and then ends the stream. A read error ends it early.
    Pack {
        /// What.
        paths: Vec<RelPath>,
        /// Rules of what inside them is left out, see [`RelPath::is_named_by`].
        #[serde(default)]
        skip: Vec<String>,
    },
}

/// Last frame of an [`StreamTarget::Unpack`] stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TransferEnd {
    /// Entries unpacked, or why not all.
    pub result: Result<u64, AgentError>,
}

/// A terminal stream, agent to node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum TerminalOutput {
    /// Output starting at an absolute offset. Consecutive chunks are contiguous.
    Chunk {
        /// Offset of the first byte.
        offset: u64,
        /// At most 64 KiB.
        bytes: Bytes,
    },
    /// What follows starts at `offset`, not where the reader was: the ring was overwritten.
    /// `prelude` brings a fresh terminal into the right modes (reset, alternate screen, …).
    Restart {
        /// Offset of the next chunk.
        offset: u64,
        /// Escape sequences to draw first.
        prelude: Bytes,
    },
    /// The process ended and all output was sent.
    Exited {
        /// How.
        exit: Exit,
    },
}

/// A terminal stream, node to agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum TerminalInput {
    /// Bytes for the PTY.
    Input {
        /// At most 64 KiB.
        bytes: Bytes,
    },
    /// Everything before this absolute offset was drawn. A stream that never acknowledges has
    /// only its socket's flow control.
    Ack {
        /// Absolute offset.
        offset: u64,
    },
}

/// Why the agent did not do something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AgentError {
    /// Nothing there.
    #[error("no such file")]
    NotFound,
    /// Something is already there.
    #[error("a file with that name exists")]
    Exists,
    /// A link, FIFO, device, or a folder where a file is needed, or the reverse.
    #[error("not a regular file or folder")]
    WrongKind,
    /// Over a limit.
    #[error("the file is too large")]
    TooLarge,
    /// It kept changing while it was read.
    #[error("the file kept changing while it was read")]
    Busy,
    /// The workspace is full.
    #[error("the workspace is full")]
    NoSpace,
    /// Permissions inside the sandbox.
    #[error("permission denied")]
    Denied,
    /// No such terminal.
    #[error("no such terminal")]
    NoTerminal,
    /// The program could not be started.
    #[error("cannot start the program: {0}")]
    Spawn(String),
    /// Nothing listens there.
    #[error("nothing listens on that port")]
    Refused,
    /// The request is not allowed or not understood.
    #[error("the request is not valid: {0}")]
    Invalid(String),
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}
