//! Bodies of the public HTTP API and contents of the server-written documents. The TypeScript
//! twins in `frontend/src/gen/api.ts` are generated from here (`UPDATE_GEN=1 cargo test -p tandem-proto`).

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::agent::{Exit, TerminalKind};
use crate::egress::{EgressHost, EgressMode, EgressReport};
use crate::history::{
    BlameLines, Checkpoint, CheckpointReason, CheckpointRestored, CreateCheckpoint, FileHistory,
    HistoryAuthor, HistorySession, VersionRestored,
};
use crate::id::{CheckpointId, FileId, LinkId, MemberId, ReplId, TerminalId};
use crate::problem::Problem;
use crate::role::Role;

/// `GET /api/v1/templates`: one language.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct TemplateInfo {
    /// Its unique name, `[a-z0-9-]+`, for example `python`.
    pub name: String,
    /// Shown to people, for example `Python`.
    pub title: String,
    /// One line.
    pub description: String,
    /// Language key for icons and highlighting, for example `python`.
    pub language: String,
    /// Whether this server can run it.
    pub available: bool,
    /// Why not.
    pub unavailable_reason: Option<String>,
}

/// One repl in a list or alone.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct ReplInfo {
    /// Id, also its address.
    pub id: ReplId,
    /// Chosen by people.
    pub name: String,
    /// Template it was made from.
    pub template: String,
    /// The template's language key.
    pub language: String,
    /// The caller's role.
    pub role: Role,
    /// Path of its page.
    pub url: String,
    /// Milliseconds since the Unix epoch.
    #[ts(type = "number")]
    pub created_ms: u64,
    /// Last edit or run.
    #[ts(type = "number")]
    pub updated_ms: u64,
    /// A sandbox is up.
    pub running: bool,
    /// People connected.
    pub online: u32,
    /// When it was deleted; it can be restored for 7 days.
    #[ts(type = "number | null")]
    pub deleted_ms: Option<u64>,
}

/// `POST /api/v1/repls`.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct CreateRepl {
    /// 1–80 characters; made up when absent.
    #[ts(optional)]
    pub name: Option<String>,
    /// See [`TemplateInfo::name`].
    pub template: String,
}

/// `PATCH /api/v1/repls/{repl}`.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct RenameRepl {
    /// 1–80 characters.
    pub name: String,
}

/// `POST /api/v1/repls/{repl}/fork`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, TS)]
pub struct ForkRepl {
    /// Defaults to `NAME (fork)`.
    #[ts(optional)]
    pub name: Option<String>,
}

/// `POST /api/v1/session`: exchanges a token for a cookie.
#[derive(Clone, Serialize, Deserialize, TS)]
pub struct CreateSession {
    /// The owner's token or a share link's.
    pub token: String,
}

/// Answer to `POST /api/v1/session`.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct SessionCreated {
    /// Who the session is.
    pub me: Me,
    /// The repl a share link leads to.
    pub repl: Option<ReplId>,
}

/// `GET /api/v1/me`.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct Me {
    /// Id.
    pub member: MemberId,
    /// Display name.
    pub name: String,
    /// `#rrggbb`.
    pub colour: String,
    /// Whether this is the installation's owner, who may create, fork and delete.
    pub owner: bool,
    /// The name was made up and the person should be asked.
    pub unnamed: bool,
}

/// `PATCH /api/v1/me`.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct UpdateMe {
    /// 1–40 characters.
    #[ts(optional)]
    pub name: Option<String>,
    /// `#rrggbb`.
    #[ts(optional)]
    pub colour: Option<String>,
}

/// `POST /api/v1/repls/{repl}/links`.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct CreateLink {
    /// `editor` or `viewer`.
    pub role: Role,
}

/// A share link; the token is shown only once.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct LinkCreated {
    /// For revoking it.
    pub id: LinkId,
    /// What it grants.
    pub role: Role,
    /// The secret.
    pub token: String,
    /// Full address with the token in the fragment.
    pub url: String,
}

/// `GET /api/v1/repls/{repl}/links`.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct LinkInfo {
    /// Id.
    pub id: LinkId,
    /// What it grants.
    pub role: Role,
    /// When it was made.
    #[ts(type = "number")]
    pub created_ms: u64,
}

/// `GET /api/v1/repls/{repl}/tree?dir=` and the value `entries` of a `#dir/{file-id}` document
/// (a Y.Map named `entries`, key = name, value = this without `name`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct TreeEntry {
    /// Identity, kept over renames.
    pub id: FileId,
    /// Last part of the path.
    pub name: String,
    /// What it is.
    pub kind: TreeKind,
    /// Bytes; 0 for folders.
    #[ts(type = "number")]
    pub size: u64,
    /// Executable bit.
    pub executable: bool,
    /// Generated or ignored: dimmed, not saved with history.
    pub ignored: bool,
    /// Opens as a document (text within the size limit), as far as known.
    pub text: bool,
}

/// Kinds in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum TreeKind {
    /// Regular file.
    File,
    /// Folder.
    Folder,
    /// Symbolic link.
    Symlink,
    /// Socket, FIFO, device.
    Other,
}

/// One folder's list.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct TreeFolder {
    /// The folder's own id.
    pub id: FileId,
    /// Its path, empty for the top.
    pub path: String,
    /// Folders first, then by name.
    pub entries: Vec<TreeEntry>,
}

/// `POST …/run`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, TS)]
pub struct RunRequest {
    /// A task of `tandem.toml`; the default `run` when absent.
    #[ts(optional)]
    pub task: Option<String>,
}

/// Answer to `POST …/run`.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct RunStarted {
    /// The console.
    pub terminal: TerminalId,
}

/// `POST …/terminals`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, TS)]
pub struct CreateTerminal {
    /// Columns to begin with.
    #[ts(optional)]
    pub cols: Option<u16>,
    /// Rows to begin with.
    #[ts(optional)]
    pub rows: Option<u16>,
}

/// Contents of the `#live` document: a Y.Map named `live` with one key per field.
#[derive(Debug, Clone, Default, Serialize, Deserialize, TS)]
pub struct LiveState {
    /// The sandbox.
    pub sandbox: SandboxStatus,
    /// Shells and consoles, oldest first.
    pub terminals: Vec<TerminalInfo>,
    /// Listening ports, ascending.
    pub ports: Vec<PortInfo>,
    /// The current or last run.
    pub run: Option<RunInfo>,
    /// People connected.
    pub people: Vec<PersonInfo>,
    /// Resource use, refreshed about every 2 s.
    pub usage: Option<UsageInfo>,
    /// What is safe where.
    pub durability: DurabilityInfo,
    /// Named tasks of `tandem.toml`, and what Run would do.
    pub tasks: Vec<TaskInfo>,
    /// Things the repl's people should know (no limits on this host, quota reached, …).
    pub notices: Vec<String>,
}

/// How far a sandbox has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum SandboxStatus {
    /// None, and none wanted yet.
    #[default]
    Off,
    /// On the way.
    Starting {
        /// For people: "starting", "copying files".
        stage: String,
    },
    /// Agent connected, files there.
    Ready,
    /// Could not start, or died. Editing goes on.
    Failed {
        /// What happened and what to do.
        message: String,
    },
    /// Being taken down after everybody left.
    Stopping,
}

/// One terminal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct TerminalInfo {
    /// Id.
    pub id: TerminalId,
    /// Shell or console.
    pub kind: TerminalKind,
    /// Name or command.
    pub title: String,
    /// Current size.
    pub cols: u16,
    /// Current size.
    pub rows: u16,
    /// Who sets the size.
    pub driver: Option<MemberId>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// The machine it ran on is gone: what it printed can be read, nothing runs. Enter in a
    /// shell starts a new one below.
    pub restored: bool,
}

/// One listening port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct PortInfo {
    /// Number.
    pub port: u16,
    /// Whether a preview may use it.
    pub allowed: bool,
    /// Full preview address, when allowed.
    pub url: Option<String>,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct RunInfo {
    /// Its console.
    pub terminal: TerminalId,
    /// Task name.
    pub task: String,
    /// Shown to people.
    pub command: String,
    /// Who started it.
    pub member: MemberId,
    /// When, milliseconds since the Unix epoch.
    #[ts(type = "number")]
    pub started_ms: u64,
    /// How it ended; `None` while it runs.
    pub exit: Option<Exit>,
}

/// One person with at least one connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct PersonInfo {
    /// Id.
    pub member: MemberId,
    /// Display name.
    pub name: String,
    /// `#rrggbb`.
    pub colour: String,
    /// Right.
    pub role: Role,
}

/// Resource use for the status bar.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, TS)]
pub struct UsageInfo {
    /// Percent of one core over the last interval.
    pub cpu_percent: f32,
    /// Resident bytes.
    #[ts(type = "number")]
    pub memory_bytes: u64,
    /// Limit, when one holds.
    #[ts(type = "number | null")]
    pub memory_limit_bytes: Option<u64>,
    /// Processes.
    pub processes: u32,
    /// Workspace bytes.
    #[ts(type = "number")]
    pub disk_used_bytes: u64,
    /// Limit, when one holds.
    #[ts(type = "number | null")]
    pub disk_limit_bytes: Option<u64>,
}

/// State of the path to the blob store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct DurabilityInfo {
    /// `None` while the blob store answers; else since when and why it does not.
    pub blob_store_error: Option<String>,
    /// `None` while the log can be written; else why edits are not accepted.
    pub log_error: Option<String>,
}

/// A task of `tandem.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct TaskInfo {
    /// Name; `run` is the default.
    pub name: String,
    /// Command line.
    pub command: String,
}

/// `GET …/status`.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct ReplStatus {
    /// Everything of the `#live` document.
    pub live: LiveState,
    /// Documents held in memory.
    pub open_documents: u32,
}

/// Control messages on a terminal WebSocket, from the browser (text frames).
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum TerminalClientMessage {
    /// The viewer's size; used when it is the driver.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
        /// Become the driver.
        #[serde(default)]
        drive: bool,
    },
    /// Everything before this offset was drawn.
    Ack {
        /// Absolute offset.
        #[ts(type = "number")]
        offset: u64,
    },
}

/// Control messages on a terminal WebSocket, to the browser (text frames).
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum TerminalServerMessage {
    /// The next binary frame starts at this offset; clear the screen and draw `prelude` first.
    Reset {
        /// Absolute offset.
        #[ts(type = "number")]
        offset: u64,
        /// Escape sequences that bring a fresh terminal into the right modes; not part of the
        /// counted output.
        prelude: String,
    },
    /// Another size is in force.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
        /// Who set it.
        driver: Option<MemberId>,
    },
    /// The process ended.
    Exit {
        /// How.
        exit: Exit,
    },
}

/// The TypeScript module with every type above.
pub fn typescript() -> String {
    let config = ts_rs::Config::default();
    let mut out = String::from(
        "// Generated from crates/proto by `UPDATE_GEN=1 cargo test -p tandem-proto`. Do not edit.\n",
    );
    macro_rules! decl {
        ($($name:ty),* $(,)?) => {
            $(
                out.push_str("\nexport ");
                out.push_str(&<$name as TS>::decl(&config));
                out.push('\n');
            )*
        };
    }
    decl!(
        FileId,
        LinkId,
        MemberId,
        ReplId,
        TerminalId,
        Role,
        Problem,
        TemplateInfo,
        ReplInfo,
        CreateRepl,
        RenameRepl,
        ForkRepl,
        CreateSession,
        SessionCreated,
        Me,
        UpdateMe,
        CreateLink,
        LinkCreated,
        LinkInfo,
        TreeEntry,
        TreeKind,
        TreeFolder,
        RunRequest,
        RunStarted,
        CreateTerminal,
        LiveState,
        SandboxStatus,
        EgressMode,
        EgressReport,
        EgressHost,
        TerminalKind,
        Exit,
        TerminalInfo,
        PortInfo,
        RunInfo,
        PersonInfo,
        UsageInfo,
        DurabilityInfo,
        TaskInfo,
        ReplStatus,
        TerminalClientMessage,
        TerminalServerMessage,
        CheckpointId,
        HistoryAuthor,
        FileHistory,
        HistorySession,
        BlameLines,
        VersionRestored,
        CreateCheckpoint,
        Checkpoint,
        CheckpointReason,
        CheckpointRestored,
    );
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn generated_typescript_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../frontend/src/gen/api.ts");
        let want = super::typescript();
        if std::env::var_os("UPDATE_GEN").is_some() {
            std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
            std::fs::write(path, &want).unwrap();
        }
        let have = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            have == want,
            "frontend/src/gen/api.ts is stale: run UPDATE_GEN=1 cargo test -p tandem-proto"
        );
    }
}
