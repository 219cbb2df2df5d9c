//! What happens in an episode, and when: all of it from one seed.

use std::time::Duration;

use rand::Rng as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::Fault;

/// How the server goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fall {
    /// kill -9.
    Kill,
    /// SIGTERM.
    Stop,
    /// SIGUSR2: its sandboxes go on.
    Update,
    /// The machine is gone, with disk and sandboxes.
    Lose,
}

/// What a program in the sandbox does to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// Adds a line through a descriptor that appends.
    Append,
    /// `sed -i`: reads all, writes a new file, renames it over the old one.
    Sed,
    /// Truncates and writes anew, slowly.
    Rewrite,
    /// Reads, thinks, and writes back with other spaces.
    Format,
    /// `mv`.
    Rename,
    /// Takes the file away and puts it back, as a checkout does.
    Checkout,
    /// Makes, moves and removes many small files.
    Bulk,
    /// Deletes or makes a file that somebody has open.
    Mortal,
}

/// How the blob store misbehaves for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    Slow,
    Failing,
    Throttling,
    LosingAnswers,
    Gone,
}

impl Weather {
    /// The fault, and how many of a hundred requests it befalls.
    pub(super) fn fault(self) -> (Fault, u32) {
        match self {
            Self::Slow => (Fault::Delay(Duration::from_millis(700)), 100),
            Self::Failing => (Fault::Internal, 50),
            Self::Throttling => (Fault::SlowDown, 80),
            Self::LosingAnswers => (Fault::LoseAnswer, 40),
            Self::Gone => (Fault::Reset, 100),
        }
    }
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// The server goes down, and comes back after this time; again at once when `twice`.
    Fall { how: Fall, down: Duration, twice: bool },
    /// The server's machine is paused.
    Freeze { time: Duration, then_kill: bool },
    /// A person goes offline for a while.
    Offline { person: usize, time: Duration },
    /// A person closes the browser for good; somebody else comes.
    Die { person: usize },
    /// A program runs.
    Program { slot: usize, program: Program },
    /// A file is renamed or moved by a person.
    Move { slot: usize },
    /// Run is pressed.
    Run { repl: usize },
    /// Somebody sends updates that are wrong on purpose.
    Hostile { slot: usize, count: usize },
    /// The server's wall clock jumps, to so many seconds from the right time.
    Clock { seconds: i64 },
    /// The blob store's weather changes.
    Weather { weather: Weather, time: Duration },
}

/// How an episode is set up.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) repls: usize,
    /// Files of each repl.
    pub(super) files: usize,
    /// People in each file.
    pub(super) people: usize,
    pub(super) on_s3: bool,
    pub(super) idle_grace: &'static str,
    /// Longest pause between two acts.
    pub(super) pace: Duration,
    /// How much of what happens is the server's end, of 100.
    pub(super) falls: u32,
}

/// The acts of an episode, in order.
pub(super) struct Plan {
    random: StdRng,
    setting: Setting,
}

impl Plan {
    pub(super) fn new(seed: u64, has_s3: bool) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let storm = random.random_bool(0.5);
        let setting = Setting {
            repls: random.random_range(1..=2),
            files: random.random_range(1..=3),
            people: random.random_range(2..=4),
            // Drawn always, so that a seed means the same with and without an S3 server.
            on_s3: random.random_bool(0.4) && has_s3,
            idle_grace: if random.random_bool(0.3) { "500ms" } else { "10m" },
            pace: Duration::from_millis(if storm { 250 } else { 900 }),
            falls: if storm { 75 } else { 30 },
        };
        Self { random, setting }
    }

    pub(super) fn setting(&self) -> &Setting {
        &self.setting
    }

    /// A seed for somebody's own decisions.
    pub(super) fn seed(&mut self) -> u64 {
        self.random.random()
    }

    /// The next act and the pause before it.
    pub(super) fn next(&mut self) -> (Duration, Act) {
        let pace = self.setting.pace.as_millis() as u64;
        let pause = self.milliseconds(20, pace);
        (pause, self.act())
    }

    fn milliseconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.random.random_range(from..to))
    }

    fn act(&mut self) -> Act {
        let slots = self.setting.repls * self.setting.files;
        let slot = self.random.random_range(0..slots);
        let person = self.random.random_range(0..slots * self.setting.people);
        if self.random.random_range(0..100) < self.setting.falls {
            return self.fall();
        }
        match self.random.random_range(0..100) {
            0..6 => {
                let time = self.milliseconds(50, 2_500);
                Act::Freeze { time, then_kill: self.random.random_bool(0.3) }
            }
            6..30 => Act::Offline { person, time: self.milliseconds(100, 6_000) },
            30..38 => Act::Die { person },
            38..76 => Act::Program { slot, program: self.program() },
            76..86 => Act::Move { slot },
            86..89 => Act::Run { repl: slot / self.setting.files },
            89..93 => Act::Hostile { slot, count: self.random.random_range(1..30) },
            93..96 => {
                // An hour ago, a minute off, a day ahead: a leap, a bad battery, a time server.
                let all = [0, -3_600, -20, 25, 70, 3_600, 86_400];
                Act::Clock { seconds: all[self.random.random_range(0..7)] }
            }
            _ => {
                use Weather::{Failing, Gone, LosingAnswers, Slow, Throttling};
                let all = [Slow, Failing, Throttling, LosingAnswers, Gone];
                let weather = all[self.random.random_range(0..5)];
                Act::Weather { weather, time: self.milliseconds(500, 8_000) }
            }
        }
    }

    fn fall(&mut self) -> Act {
        let how = match self.random.random_range(0..100) {
            0..76 => Fall::Kill,
            76..84 => Fall::Stop,
            84..90 => Fall::Update,
            _ => Fall::Lose,
        };
        Act::Fall { how, down: self.milliseconds(0, 900), twice: self.random.random_bool(0.15) }
    }

    fn program(&mut self) -> Program {
        use Program::{Append, Bulk, Checkout, Format, Mortal, Rename, Rewrite, Sed};
        match self.random.random_range(0..100) {
            0..25 => Append,
            25..45 => Sed,
            45..60 => Rewrite,
            60..75 => Format,
            75..82 => Rename,
            82..88 => Checkout,
            88..93 => Bulk,
            _ => Mortal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_is_one_schedule() {
        let schedule = |seed| {
            let mut plan = Plan::new(seed, true);
            (0..200).map(|_| plan.next()).collect::<Vec<_>>()
        };
        assert_eq!(schedule(7), schedule(7));
        assert_ne!(schedule(7), schedule(8));
    }
}
