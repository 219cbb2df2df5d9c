//! The network of sandboxes: out through the node only, watched, and shared fairly.
//!
//! A router, which is a network namespace of its own, stands between all sandboxes and this
//! machine. It refuses what no sandbox may reach, counts what passes by sandbox, address and
//! port, and gives each sandbox its share of the line. A sandbox that is not attached to it has
//! a loopback interface and nothing else, so whatever fails leaves a sandbox without a network,
//! never with an unwatched one.
//!
//! The router knows nothing of how a sandbox is made: it takes the network namespace.

mod attached;
mod command;
mod control;
mod counts;
mod desk;
mod ledger;
pub mod namespace;
mod network;
mod policy;
mod resolver;
mod router;
mod rules;
mod shaper;
mod uplink;

pub use control::{Egress, EgressOptions, EgressTotals};
pub use network::Network;
pub use policy::{EgressPolicy, HostPattern, PolicyError};
pub use router::{Attached, Counts, Router, RouterSettings, Sums};
pub use rules::GATEWAY;
pub use tandem_proto::egress::EgressMode;

/// Why sandboxes have no network.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// This machine lacks something.
    #[error("{problem}. {remedy}")]
    Unusable {
        /// What is missing.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// One of the system's network tools failed.
    #[error("{tool} failed: {said}")]
    Tool {
        /// Its name.
        tool: &'static str,
        /// What it said.
        said: String,
    },
    /// The operating system refused something.
    #[error("{action}: {source}")]
    Io {
        /// What was tried, as "cannot …".
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl EgressError {
    pub(crate) fn io(action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, source }
    }

    pub(crate) fn unusable(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Unusable { problem: problem.into(), remedy: remedy.into() }
    }
}
