//! The swarm: many clients and programs on a real server that is killed, paused, updated and lost
//! at random moments, and the question whether anything promised is missing.
//!
//! An episode is short and comes from one seed, so that a failure is replayed by that seed: the
//! same acts in the same order, though not in the same microseconds.

mod episode;
mod hostile;
mod ledger;
mod oracle;
mod person;
mod places;
mod plan;
mod programs;
mod wire;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// What to run.
#[derive(Debug, Clone)]
pub struct SwarmOptions {
    /// Seed of the first episode; the next ones count on.
    pub seed: u64,
    /// No episode begins after this time; one at least runs.
    pub time: Duration,
    /// Folder for what a failed episode's server said.
    pub output: PathBuf,
}

/// What happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SwarmReport {
    /// Episodes that ended well.
    pub episodes: u64,
    /// kill -9.
    pub kills: u64,
    /// Stops in good order and for updates.
    pub stops: u64,
    /// Machines lost with their disks.
    pub losses: u64,
    /// Pauses of the server.
    pub freezes: u64,
    /// Programs that ran to their end.
    pub programs: u64,
    /// Renames and moves by people.
    pub moves: u64,
    /// Changes of the blob store's weather.
    pub weathers: u64,
    /// Jumps of the server's wall clock.
    pub jumps: u64,
    /// Updates that were wrong on purpose.
    pub hostile: u64,
    /// Lines that people and programs wrote.
    pub typed: u64,
    /// Of them acked.
    pub acked: u64,
    /// Documents that a client had to begin anew.
    pub restarts: u64,
    /// Deleted lines that came back with a program's text.
    pub returned: u64,
}

impl SwarmReport {
    fn add(&mut self, other: &Self) {
        self.episodes += other.episodes;
        self.kills += other.kills;
        self.stops += other.stops;
        self.losses += other.losses;
        self.freezes += other.freezes;
        self.programs += other.programs;
        self.moves += other.moves;
        self.weathers += other.weathers;
        self.jumps += other.jumps;
        self.hostile += other.hostile;
        self.typed += other.typed;
        self.acked += other.acked;
        self.restarts += other.restarts;
        self.returned += other.returned;
    }
}

impl fmt::Display for SwarmReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} episodes, {} kills, {} stops, {} lost machines, {} pauses, {} programs, {} moves, \
             {} storms in the blob store, {} jumps of the clock, {} hostile updates; {} lines, {} acked, 0 lost; \
             {} documents begun anew, {} deleted lines came back",
            self.episodes,
            self.kills,
            self.stops,
            self.losses,
            self.freezes,
            self.programs,
            self.moves,
            self.weathers,
            self.jumps,
            self.hostile,
            self.typed,
            self.acked,
            self.restarts,
            self.returned
        )
    }
}

/// Runs episodes until the time is over.
///
/// # Errors
/// When an episode finds something; its seed is in the text.
pub async fn swarm(options: &SwarmOptions) -> Result<SwarmReport> {
    let begin = Instant::now();
    let mut total = SwarmReport::default();
    let mut seed = options.seed;
    while total.episodes == 0 || begin.elapsed() < options.time {
        let log = options.output.join(format!("swarm-{seed}.log"));
        println!("TANDEM_SWARM_SEED={seed}");
        // An old log of the same seed would only confuse.
        let _ = std::fs::remove_file(&log);
        let report = episode::run(seed, &log).await.with_context(|| {
            let log = log.display();
            format!("TANDEM_SWARM_SEED={seed} found this; the server's own words are in {log}")
        })?;
        let _ = std::fs::remove_file(&log);
        total.add(&report);
        println!("  {report}");
        seed = seed.wrapping_add(1);
    }
    Ok(total)
}
