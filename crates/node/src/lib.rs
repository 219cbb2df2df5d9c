//! A node: holds the rooms of repls. It knows no accounts and no SQL; it trusts grants only, and
//! reaches leases and heads through web's internal API.
//!
//! [`room`] is the heart: one task per repl that owns its documents. [`socket`] and [`http`] are
//! the ways in, [`preview`] the way to a program's own web pages.

pub mod archive;
pub mod check;
mod history;
mod http;
mod lease;
mod metrics;
mod node;
mod preview;
mod room;
mod shared;
mod socket;
mod web_client;

pub use history::Retention;
pub use metrics::Metrics;
pub use node::{Node, OpenRoomError, StartError};
pub use room::RoomConfig;
pub use shared::{PreviewAddress, Shared};
pub use web_client::{WebClient, WebError, WebService};
