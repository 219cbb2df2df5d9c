//! What an agent is told when it starts.

use std::path::PathBuf;
use std::time::Duration;

use tandem_proto::SandboxId;

/// Settings of one agent.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's socket.
    pub socket: PathBuf,
    /// The workspace.
    pub workspace: PathBuf,
    /// The home folder of user programs.
    pub home: PathBuf,
    /// Which sandbox this is.
    pub sandbox: SandboxId,
    /// How long to live without a node.
    pub orphaned_after: Duration,
    /// Scan the workspace now and then instead of watching it, for filesystems without inotify.
    pub watch_by_scanning: bool,
    /// Environment of user programs, before the agent's own additions.
    pub environment: Vec<(String, String)>,
}
