//! Upper bounds that more than one part of the system relies on.

use std::time::Duration;

/// Longest workspace path in bytes.
pub const MAX_PATH_BYTES: usize = 1024;
/// Most parts of a workspace path.
pub const MAX_PATH_DEPTH: usize = 64;
/// Largest file that becomes a document; a larger one is a blob and opens read-only.
pub const MAX_TEXT_BYTES: usize = 2 * 1024 * 1024;
/// Largest single document update accepted from a client.
pub const MAX_UPDATE_BYTES: usize = 8 * 1024 * 1024;
/// Largest WebSocket message accepted from a client, above [`MAX_UPDATE_BYTES`] so that an
/// oversized update is answered instead of tearing down the socket.
pub const MAX_MESSAGE_BYTES: usize = 17 * 1024 * 1024;
/// Largest awareness state of one client.
pub const MAX_AWARENESS_BYTES: usize = 4 * 1024;
/// Most Yjs client ids one connection may announce awareness for.
pub const MAX_AWARENESS_CLIENTS: usize = 16;
/// Bytes queued towards one socket before its documents are marked lagging.
pub const MAX_SOCKET_QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// Largest file accepted by upload.
pub const MAX_UPLOAD_BYTES: usize = 256 * 1024 * 1024;
/// Largest zip accepted for import, and largest sum of its unpacked entries.
pub const MAX_IMPORT_BYTES: u64 = 64 * 1024 * 1024;
/// See [`MAX_IMPORT_BYTES`].
pub const MAX_IMPORT_UNPACKED_BYTES: u64 = 512 * 1024 * 1024;
/// Most entries of an imported zip, and most files of a workspace that are tracked.
pub const MAX_TREE_ENTRIES: usize = 50_000;
/// Most entries of a folder that is saved or unpacked as a whole.
pub const MAX_ARCHIVE_ENTRIES: u64 = 500_000;
/// Largest control frame between node and agent.
pub const MAX_AGENT_FRAME_BYTES: usize = 4 * 1024 * 1024;
/// Most terminals of one repl, consoles included.
pub const MAX_TERMINALS: usize = 16;
/// Bytes of output kept per terminal.
pub const TERMINAL_RING_BYTES: usize = 1024 * 1024;
/// Largest terminal size in columns and rows.
pub const MAX_TERMINAL_COLS: u16 = 500;
/// See [`MAX_TERMINAL_COLS`].
pub const MAX_TERMINAL_ROWS: u16 = 200;
/// Output sent to a terminal viewer and not yet acknowledged before that viewer is paused.
pub const TERMINAL_WINDOW_BYTES: u64 = 512 * 1024;
/// A viewer that acknowledges nothing for this long is reset and no longer slows a PTY.
pub const TERMINAL_STALL: Duration = Duration::from_secs(5);
/// How long a lease lasts without renewal.
pub const LEASE: Duration = Duration::from_secs(30);
/// How long a grant is valid.
pub const GRANT_LIFETIME: Duration = Duration::from_secs(60);

/// Whether a web preview or an egress connection may use this TCP port.
pub fn is_allowed_port(port: u16) -> bool {
    port == 80 || port == 443 || port > 2000
}
