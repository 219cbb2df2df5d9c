//! Timings of a room. Data only.

use std::time::Duration;

use crate::history::Retention;

/// See each field.
#[derive(Debug, Clone)]
pub struct RoomConfig {
    /// From the last person's leaving to the room's.
    pub idle_grace: Duration,
    /// Whether a run or job still going on holds the grace time back.
    pub wait_for_jobs: bool,
    /// From an edit to its write to disk.
    pub write_after: Duration,
    /// At most from the oldest edit to its write to disk.
    pub write_within: Duration,
    /// Quiet time before a snapshot.
    pub save_after: Duration,
    /// At most from the oldest unsaved edit to its snapshot.
    pub save_within: Duration,
    /// Between saves of what terminals printed.
    pub save_terminals_every: Duration,
    /// Between saves of ignored folders.
    pub save_ignored_every: Duration,
    /// Most bytes of all ignored folders of a repl.
    pub ignored_bytes: u64,
    /// Between two sweeps of a repl's unneeded objects.
    pub sweep_every: Duration,
    /// Between a stop signal and a kill.
    pub stop_grace: Duration,
    /// How long how much of the history of files is kept.
    pub history: Retention,
}

impl Default for RoomConfig {
    fn default() -> Self {
        Self {
            idle_grace: Duration::from_secs(30),
            wait_for_jobs: false,
            write_after: Duration::from_millis(50),
            write_within: Duration::from_millis(500),
            save_after: Duration::from_secs(2),
            save_within: Duration::from_secs(30),
            save_terminals_every: Duration::from_secs(30),
            save_ignored_every: Duration::from_secs(5 * 60),
            ignored_bytes: 1024 * 1024 * 1024,
            sweep_every: Duration::from_secs(24 * 60 * 60),
            stop_grace: Duration::from_secs(2),
            history: Retention::default(),
        }
    }
}
