//! The agent inside a sandbox: owns its terminals, files, watches and ports, and dials the node.
//!
//! Invariant: everything that must outlive a connection (terminals and their output, the kept
//! files of unfinished writes, watches) lives here and not in a connection, so a node may vanish
//! and come back at any moment. One agent per process: it waits for every child.

pub mod config;
mod control;
mod dial;
mod frame;
mod outbox;
mod ports;
mod processes;
mod reap;
mod stream;
mod terminal;
mod watch;
mod workspace;

pub use config::Config;
pub use dial::{StartError, run};

/// Says something to whoever reads the sandbox's standard error.
pub(crate) fn say(text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    // Nobody may be listening any more; then there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "tandem-agent: {text}");
}
