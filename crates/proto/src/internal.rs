//! Bodies of web's internal API (`/internal/v1/…`, called by nodes) and of a node's internal
//! API (called by web). In one process both are called in place; the bodies are the same.

use serde::{Deserialize, Serialize};

use crate::id::{BootId, Epoch, MemberId, NodeId, ReplId};
use crate::role::Role;

/// `POST /internal/v1/nodes`: a node says that it is there, at start and every 5 s.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeHeartbeat {
    /// Durable identity.
    pub node: NodeId,
    /// This start.
    pub boot: BootId,
    /// Where web reaches it; empty for the node in web's own process.
    pub address: String,
    /// Repls it holds, with people and sandbox state, for the lists.
    pub repls: Vec<ReplLoad>,
}

/// One held repl in a heartbeat.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplLoad {
    /// Which.
    pub repl: ReplId,
    /// People connected.
    pub online: u32,
    /// A sandbox is up.
    pub running: bool,
    /// Last edit or run, milliseconds since the Unix epoch.
    pub updated_ms: u64,
}

/// Answer to a heartbeat.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeWelcome {
    /// Ed25519 public key of web's grants, base64url.
    pub grant_key: String,
}

/// `POST /internal/v1/leases`: a node wants to hold a repl.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// Which repl.
    pub repl: ReplId,
    /// Who.
    pub node: NodeId,
    /// The highest epoch found in the blob store; the new one will be higher.
    pub seen_epoch: Epoch,
}

/// A lease. The node stops acking 2 s before it ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lease {
    /// Which repl.
    pub repl: ReplId,
    /// Its new epoch.
    pub epoch: Epoch,
    /// How long from the answer on, in milliseconds.
    pub lasts_ms: u64,
    /// Key of the newest committed manifest, when the database knows one.
    pub head: Option<String>,
}

/// `POST /internal/v1/leases/renew`: for all repls a node holds, every 5 s.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RenewLeases {
    /// Who.
    pub node: NodeId,
    /// Which repls at which epochs.
    pub leases: Vec<(ReplId, Epoch)>,
}

/// Answer: which are still held, and for how long.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RenewedLeases {
    /// Those still held.
    pub held: Vec<ReplId>,
    /// Those lost: stop the room and its sandbox.
    pub lost: Vec<ReplId>,
    /// Milliseconds from the answer on.
    pub lasts_ms: u64,
}

/// `POST /internal/v1/leases/release`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReleaseLease {
    /// Which repl.
    pub repl: ReplId,
    /// Who.
    pub node: NodeId,
    /// At which epoch.
    pub epoch: Epoch,
}

/// `POST /internal/v1/heads`: compare-and-set of a repl's manifest head.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MoveHead {
    /// Which repl.
    pub repl: ReplId,
    /// The holder's epoch; refused (409) when it is not the current one.
    pub epoch: Epoch,
    /// The head the node built upon.
    pub from: Option<String>,
    /// Key of the new manifest.
    pub to: String,
}

/// `POST /internal/v1/repls/{repl}/seed` on a node: fill a new repl.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum SeedRepl {
    /// From a template of the blob store.
    Template {
        /// Its name.
        template: String,
    },
    /// From the current state of another repl that this node holds or can open.
    Fork {
        /// The source.
        source: ReplId,
    },
}

/// `POST /internal/v1/repls/{repl}/revoke` on a node: a right was taken away or lowered. The
/// member's sockets are closed with 4403; they come back with the right they have left.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RevokeMember {
    /// Whose.
    pub member: MemberId,
    /// The right they have left, if any.
    pub role: Option<Role>,
}

/// Answer to `GET /internal/v1/tools?names=a,b` on a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ToolsPresent {
    /// Those of the names that exist as commands in its sandboxes.
    pub present: Vec<String>,
}
