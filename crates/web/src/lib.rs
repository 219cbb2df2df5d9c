//! Web: the stateless half of Tandem. It serves the site and the API, knows people, repls and
//! rights, signs grants, and hands everything about one repl to the node that runs it.
//!
//! Invariant: instances are identical and hold nothing that matters; what they know is in the
//! metadata database, and the catalogue of repls can be rebuilt from the blob store alone. Web
//! knows no documents and no sandboxes.

mod api;
mod app;
mod attempts;
mod caller;
mod catalogue;
mod client;
mod collab;
mod config;
mod cookie;
mod entry;
mod forward;
mod guest;
mod headers;
mod host;
mod housekeeping;
mod lease;
mod link;
mod listen;
mod metadata;
mod metrics;
mod node_call;
mod nodes;
mod notice;
mod origin;
mod preview;
mod problem;
mod refusal;
mod repl;
mod session;
mod site;
mod template;
mod token;
mod web;

pub use config::{ConfigError, MIN_OWNER_TOKEN_LEN, PublicUrl, SharedRegistry, WebConfig};
pub use ipnet::IpNet;
pub use listen::serve;
pub use nodes::{NodeDirectory, NodeError, NodeLink, NodeStream};
pub use web::{Web, WebError};
