// Generated from crates/proto by `UPDATE_GEN=1 cargo test -p tandem-proto`. Do not edit.

export type FileId = string;

export type LinkId = string;

export type MemberId = string;

export type ReplId = string;

export type TerminalId = string;

export type Role = "viewer" | "editor" | "owner";

export type Problem = { 
/**
 * Always `about:blank`; the code tells problems apart.
 */
type: string, 
/**
 * Short summary, the same for each `code`.
 */
title: string, 
/**
 * HTTP status.
 */
status: number, 
/**
 * What happened this time.
 */
detail: string, 
/**
 * Stable machine-readable word, for example `not_found`.
 */
code: string, };

export type TemplateInfo = { 
/**
 * Its unique name, `[a-z0-9-]+`, for example `python`.
 */
name: string, 
/**
 * Shown to people, for example `Python`.
 */
title: string, 
/**
 * One line.
 */
description: string, 
/**
 * Language key for icons and highlighting, for example `python`.
 */
language: string, 
/**
 * Whether this server can run it.
 */
available: boolean, 
/**
 * Why not.
 */
unavailable_reason: string | null, };

export type ReplInfo = { 
/**
 * Id, also its address.
 */
id: ReplId, 
/**
 * Chosen by people.
 */
name: string, 
/**
 * Template it was made from.
 */
template: string, 
/**
 * The template's language key.
 */
language: string, 
/**
 * The caller's role.
 */
role: Role, 
/**
 * Path of its page.
 */
url: string, 
/**
 * Milliseconds since the Unix epoch.
 */
created_ms: number, 
/**
 * Last edit or run.
 */
updated_ms: number, 
/**
 * A sandbox is up.
 */
running: boolean, 
/**
 * People connected.
 */
online: number, 
/**
 * When it was deleted; it can be restored for 7 days.
 */
deleted_ms: number | null, };

export type CreateRepl = { 
/**
 * 1–80 characters; made up when absent.
 */
name?: string, 
/**
 * See [`TemplateInfo::name`].
 */
template: string, };

export type RenameRepl = { 
/**
 * 1–80 characters.
 */
name: string, };

export type ForkRepl = { 
/**
 * Defaults to `NAME (fork)`.
 */
name?: string, };

export type CreateSession = { 
/**
 * The owner's token or a share link's.
 */
token: string, };

export type SessionCreated = { 
/**
 * Who the session is.
 */
me: Me, 
/**
 * The repl a share link leads to.
 */
repl: ReplId | null, };

export type Me = { 
/**
 * Id.
 */
member: MemberId, 
/**
 * Display name.
 */
name: string, 
/**
 * `#rrggbb`.
 */
colour: string, 
/**
 * Whether this is the installation's owner, who may create, fork and delete.
 */
owner: boolean, 
/**
 * The name was made up and the person should be asked.
 */
unnamed: boolean, };

export type UpdateMe = { 
/**
 * 1–40 characters.
 */
name?: string, 
/**
 * `#rrggbb`.
 */
colour?: string, };

export type CreateLink = { 
/**
 * `editor` or `viewer`.
 */
role: Role, };

export type LinkCreated = { 
/**
 * For revoking it.
 */
id: LinkId, 
/**
 * What it grants.
 */
role: Role, 
/**
 * The secret.
 */
token: string, 
/**
 * Full address with the token in the fragment.
 */
url: string, };

export type LinkInfo = { 
/**
 * Id.
 */
id: LinkId, 
/**
 * What it grants.
 */
role: Role, 
/**
 * When it was made.
 */
created_ms: number, };

export type TreeEntry = { 
/**
 * Identity, kept over renames.
 */
id: FileId, 
/**
 * Last part of the path.
 */
name: string, 
/**
 * What it is.
 */
kind: TreeKind, 
/**
 * Bytes; 0 for folders.
 */
size: number, 
/**
 * Executable bit.
 */
executable: boolean, 
/**
 * Generated or ignored: dimmed, not saved with history.
 */
ignored: boolean, 
/**
 * Opens as a document (text within the size limit), as far as known.
 */
text: boolean, };

export type TreeKind = "file" | "folder" | "symlink" | "other";

export type TreeFolder = { 
/**
 * The folder's own id.
 */
id: FileId, 
/**
 * Its path, empty for the top.
 */
path: string, 
/**
 * Folders first, then by name.
 */
entries: Array<TreeEntry>, };

export type RunRequest = { 
/**
 * A task of `tandem.toml`; the default `run` when absent.
 */
task?: string, };

export type RunStarted = { 
/**
 * The console.
 */
terminal: TerminalId, };

export type CreateTerminal = { 
/**
 * Columns to begin with.
 */
cols?: number, 
/**
 * Rows to begin with.
 */
rows?: number, };

export type LiveState = { 
/**
 * The sandbox.
 */
sandbox: SandboxStatus, 
/**
 * Shells and consoles, oldest first.
 */
terminals: Array<TerminalInfo>, 
/**
 * Listening ports, ascending.
 */
ports: Array<PortInfo>, 
/**
 * The current or last run.
 */
run: RunInfo | null, 
/**
 * People connected.
 */
people: Array<PersonInfo>, 
/**
 * Resource use, refreshed about every 2 s.
 */
usage: UsageInfo | null, 
/**
 * What is safe where.
 */
durability: DurabilityInfo, 
/**
 * Named tasks of `tandem.toml`, and what Run would do.
 */
tasks: Array<TaskInfo>, 
/**
 * Things the repl's people should know (no limits on this host, quota reached, …).
 */
notices: Array<string>, };

export type SandboxStatus = { "state": "off" } | { "state": "starting", 
/**
 * For people: "starting", "copying files".
 */
stage: string, } | { "state": "ready" } | { "state": "failed", 
/**
 * What happened and what to do.
 */
message: string, } | { "state": "stopping" };

export type EgressMode = "none" | "allow-list" | "open";

export type EgressReport = { 
/**
 * What they may reach now.
 */
mode: EgressMode, 
/**
 * Names that they may reach, where the mode is an allow list.
 */
allowed: Array<string>, 
/**
 * Why there is no network, though one is allowed.
 */
problem: string | null, 
/**
 * Whether a sandbox is connected now.
 */
connected: boolean, 
/**
 * Bits per second that the sandbox has for certain, and may exceed while others are idle.
 */
guaranteed: number | null, 
/**
 * Counted since then, in milliseconds since the Unix epoch.
 */
since_ms: number, 
/**
 * Bytes out, headers included.
 */
sent: number, 
/**
 * Bytes in.
 */
received: number, 
/**
 * Packets and questions for names that were refused.
 */
refused: number, 
/**
 * By host and port, the most busy first; what is over the bound of lines is in the sums alone.
 */
hosts: Array<EgressHost>, };

export type EgressHost = { 
/**
 * The last name that the sandbox was told this address for; else the address.
 */
host: string, 
/**
 * Port.
 */
port: number, 
/**
 * Bytes out.
 */
sent: number, 
/**
 * Bytes in.
 */
received: number, };

export type TerminalKind = "shell" | "console";

export type Exit = { 
/**
 * Exit code, when it exited.
 */
code: number | null, 
/**
 * Signal number, when it was killed.
 */
signal: number | null, 
/**
 * Milliseconds from spawn to end.
 */
duration_ms: number, };

export type TerminalInfo = { 
/**
 * Id.
 */
id: TerminalId, 
/**
 * Shell or console.
 */
kind: TerminalKind, 
/**
 * Name or command.
 */
title: string, 
/**
 * Current size.
 */
cols: number, 
/**
 * Current size.
 */
rows: number, 
/**
 * Who sets the size.
 */
driver: MemberId | null, 
/**
 * How it ended.
 */
exit: Exit | null, 
/**
 * The machine it ran on is gone: what it printed can be read, nothing runs. Enter in a
 * shell starts a new one below.
 */
restored: boolean, };

export type PortInfo = { 
/**
 * Number.
 */
port: number, 
/**
 * Whether a preview may use it.
 */
allowed: boolean, 
/**
 * Full preview address, when allowed.
 */
url: string | null, };

export type RunInfo = { 
/**
 * Its console.
 */
terminal: TerminalId, 
/**
 * Task name.
 */
task: string, 
/**
 * Shown to people.
 */
command: string, 
/**
 * Who started it.
 */
member: MemberId, 
/**
 * When, milliseconds since the Unix epoch.
 */
started_ms: number, 
/**
 * How it ended; `None` while it runs.
 */
exit: Exit | null, };

export type PersonInfo = { 
/**
 * Id.
 */
member: MemberId, 
/**
 * Display name.
 */
name: string, 
/**
 * `#rrggbb`.
 */
colour: string, 
/**
 * Right.
 */
role: Role, };

export type UsageInfo = { 
/**
 * Percent of one core over the last interval.
 */
cpu_percent: number, 
/**
 * Resident bytes.
 */
memory_bytes: number, 
/**
 * Limit, when one holds.
 */
memory_limit_bytes: number | null, 
/**
 * Processes.
 */
processes: number, 
/**
 * Workspace bytes.
 */
disk_used_bytes: number, 
/**
 * Limit, when one holds.
 */
disk_limit_bytes: number | null, };

export type DurabilityInfo = { 
/**
 * `None` while the blob store answers; else since when and why it does not.
 */
blob_store_error: string | null, 
/**
 * `None` while the log can be written; else why edits are not accepted.
 */
log_error: string | null, };

export type TaskInfo = { 
/**
 * Name; `run` is the default.
 */
name: string, 
/**
 * Command line.
 */
command: string, };

export type ReplStatus = { 
/**
 * Everything of the `#live` document.
 */
live: LiveState, 
/**
 * Documents held in memory.
 */
open_documents: number, };

export type TerminalClientMessage = { "type": "resize", 
/**
 * Columns.
 */
cols: number, 
/**
 * Rows.
 */
rows: number, 
/**
 * Become the driver.
 */
drive: boolean, } | { "type": "ack", 
/**
 * Absolute offset.
 */
offset: number, };

export type TerminalServerMessage = { "type": "reset", 
/**
 * Absolute offset.
 */
offset: number, 
/**
 * Escape sequences that bring a fresh terminal into the right modes; not part of the
 * counted output.
 */
prelude: string, } | { "type": "resize", 
/**
 * Columns.
 */
cols: number, 
/**
 * Rows.
 */
rows: number, 
/**
 * Who set it.
 */
driver: MemberId | null, } | { "type": "exit", 
/**
 * How.
 */
exit: Exit, };

export type CheckpointId = string;

export type HistoryAuthor = { 
/**
 * Id.
 */
id: MemberId, 
/**
 * Name when last seen.
 */
name: string, 
/**
 * `#rrggbb`.
 */
colour: string, };

export type FileHistory = { 
/**
 * The file's identity; its history follows it over renames.
 */
file: FileId, 
/**
 * Everybody who ever wrote in it, as far as the history goes.
 */
authors: Array<HistoryAuthor>, 
/**
 * The oldest edit that is kept; `None` without any.
 */
from_ms: number | null, 
/**
 * The newest.
 */
to_ms: number | null, 
/**
 * Newest first.
 */
sessions: Array<HistorySession>, 
/**
 * There are older sessions than the last of these: ask again with its `from_ms` as `before`.
 */
more: boolean, };

export type HistorySession = { 
/**
 * Unique within the file.
 */
id: string, 
/**
 * Its first edit, milliseconds since the Unix epoch.
 */
from_ms: number, 
/**
 * Its last edit. The text as of this moment is the session's version.
 */
to_ms: number, 
/**
 * Who wrote; empty when nobody knows.
 */
authors: Array<MemberId>, 
/**
 * UTF-16 units written.
 */
inserted: number, 
/**
 * UTF-16 units removed.
 */
deleted: number, };

export type BlameLines = { 
/**
 * The first line, counted from 1.
 */
line: number, 
/**
 * How many.
 */
lines: number, 
/**
 * Who; `None` when nobody knows.
 */
author: MemberId | null, 
/**
 * When; `None` when nobody knows.
 */
ms: number | null, };

export type VersionRestored = { 
/**
 * Whether the text was another one.
 */
changed: boolean, };

export type CreateCheckpoint = { 
/**
 * 1–80 characters; made up when absent.
 */
name?: string, };

export type Checkpoint = { 
/**
 * Id.
 */
id: CheckpointId, 
/**
 * Chosen by people, or what it was made before.
 */
name: string, 
/**
 * Milliseconds since the Unix epoch.
 */
made_ms: number, 
/**
 * Who made it or did what it was made before.
 */
author: HistoryAuthor | null, 
/**
 * Why.
 */
reason: CheckpointReason, 
/**
 * How many files it holds.
 */
files: number, };

export type CheckpointReason = "manual" | "import" | "restore" | "replace";

export type CheckpointRestored = { 
/**
 * The one that holds how it was before: restoring that undoes this.
 */
before: CheckpointId, 
/**
 * Files that were written, made or brought back.
 */
changed: number, 
/**
 * Files that came later and were deleted; they can be restored for 7 days.
 */
deleted: number, };
