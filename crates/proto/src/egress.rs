//! What sandboxes send and receive, for people.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// What a sandbox may reach.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS,
)]
#[serde(rename_all = "kebab-case")]
pub enum EgressMode {
    /// Nothing.
    #[default]
    None,
    /// The addresses of named hosts, as the node's resolver found them.
    AllowList,
    /// The internet, without private networks and the node itself.
    Open,
}

/// `GET /api/v1/repls/{repl}/egress`: what a repl's programs sent and received.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct EgressReport {
    /// What they may reach now.
    pub mode: EgressMode,
    /// Names that they may reach, where the mode is an allow list.
    pub allowed: Vec<String>,
    /// Why there is no network, though one is allowed.
    pub problem: Option<String>,
    /// Whether a sandbox is connected now.
    pub connected: bool,
    /// Bits per second that the sandbox has for certain, and may exceed while others are idle.
    #[ts(type = "number | null")]
    pub guaranteed: Option<u64>,
    /// Counted since then, in milliseconds since the Unix epoch.
    #[ts(type = "number")]
    pub since_ms: u64,
    /// Bytes out, headers included.
    #[ts(type = "number")]
    pub sent: u64,
    /// Bytes in.
    #[ts(type = "number")]
    pub received: u64,
    /// Packets and questions for names that were refused.
    #[ts(type = "number")]
    pub refused: u64,
    /// By host and port, the most busy first; what is over the bound of lines is in the sums alone.
    pub hosts: Vec<EgressHost>,
}

/// One line of an [`EgressReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct EgressHost {
    /// The last name that the sandbox was told this address for; else the address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Bytes out.
    #[ts(type = "number")]
    pub sent: u64,
    /// Bytes in.
    #[ts(type = "number")]
    pub received: u64,
}
