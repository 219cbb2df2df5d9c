//! Where user code runs: one trait over the ways to isolate it, and the node's end of the
//! connection to the agent inside.
//!
//! Invariants:
//! - Everything that arrives from a sandbox, its agent included, is hostile: bounded, checked
//!   and confined to its own repl.
//! - The server never runs bubblewrap, mounts or kills with root's rights itself; the
//!   [`launcher`] does, and it takes a closed set of requests.
//! - A launch is all or nothing, and a stop leaves no process and no file.

pub mod bubblewrap;
pub mod docker;
mod driver;
pub mod egress;
mod identity;
mod inside;
pub mod launcher;
pub mod link;
mod look;
mod os;
mod process;
mod record;
mod running;
mod seccomp;
mod uids;

pub use bubblewrap::BubblewrapDriver;
pub use docker::DockerDriver;
pub use driver::{
    Check, DockerConfig, Ended, Holds, LaunchSpec, Limits, LimitsInForce, Sandbox, SandboxConfig,
    SandboxDriver, SandboxError,
};
pub use launcher::{LauncherClient, drop_rights, start_and_drop};
pub use link::{AgentLink, AgentTcp, LinkError, LinkEvent, TerminalStream};
pub use process::ProcessDriver;
