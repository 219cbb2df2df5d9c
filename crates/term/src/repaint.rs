//! A terminal's output together with places where a viewer may start anew.

use std::collections::VecDeque;

use crate::{ModeTracker, Modes, Ring};

/// Distance between places to start from.
const STRIDE: u64 = 16 * 1024;
/// A line longer than this is cut in its middle.
const LONGEST_LINE: u64 = 16 * 1024;
/// How much of the newest output a repaint shows: a few thousand lines of scrollback, drawn in a
/// few milliseconds.
const REPAINT: u64 = 128 * 1024;

/// Where a viewer starts anew and what it must draw first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaint {
    /// Offset of the first byte to show.
    pub offset: u64,
    /// Escape sequences that bring a terminal into the modes of that place.
    pub prelude: Vec<u8>,
    /// A full-screen program is running: its screen cannot be rebuilt from the newest output
    /// alone, and it should be asked to draw again (a change of size does that).
    pub needs_redraw: bool,
}

/// The newest output of a terminal and the modes at many places in it.
#[derive(Debug)]
pub struct Screen {
    ring: Ring,
    tracker: ModeTracker,
    /// Offset and modes, oldest first; all at or after the ring's start.
    places: VecDeque<(u64, Modes)>,
}

impl Screen {
    /// An empty terminal that keeps `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self {
            ring: Ring::new(capacity),
            tracker: ModeTracker::new(),
            places: VecDeque::from([(0, Modes::default())]),
        }
    }

    /// The bytes.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The modes at the end.
    pub fn modes(&self) -> &Modes {
        self.tracker.modes()
    }

    /// Adds output.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        let mut offset = self.ring.end();
        while !rest.is_empty() {
            let due = self.places.back().map_or(0, |(at, _)| at + STRIDE);
            let skip = usize::try_from(due.saturating_sub(offset)).unwrap_or(usize::MAX);
            // Up to the next place everything is only followed; then the end of the line is
            // looked for, and a line without end is cut wherever no sequence is open.
            let piece = if skip >= rest.len() {
                rest.len()
            } else {
                let line_end =
                    rest[skip..].iter().position(|b| *b == b'\n').map(|at| skip + at + 1);
                let too_long = due + LONGEST_LINE <= offset + skip as u64;
                match line_end {
                    Some(end) => end,
                    None if too_long => skip.max(1),
                    None => rest.len(),
                }
            };
            self.tracker.feed(&rest[..piece]);
            offset += piece as u64;
            let ends_line = rest[..piece].last() == Some(&b'\n');
            let too_long = offset >= due + LONGEST_LINE;
            if offset >= due && self.tracker.is_between_sequences() && (ends_line || too_long) {
                self.places.push_back((offset, self.tracker.modes().clone()));
            }
            rest = &rest[piece..];
        }
        self.ring.push(bytes);
        let start = self.ring.start();
        while self.places.len() > 1 && self.places.front().is_some_and(|(at, _)| *at < start) {
            self.places.pop_front();
        }
    }

    /// Where to start a viewer that has nothing or lost its place: the newest screenfuls.
    pub fn repaint(&self) -> Repaint {
        let (start, end) = (self.ring.start(), self.ring.end());
        let wanted = end.saturating_sub(REPAINT);
        let place = self
            .places
            .iter()
            .filter(|(at, _)| *at >= start)
            .find(|(at, _)| *at >= wanted)
            .or_else(|| self.places.back().filter(|(at, _)| *at >= start));
        let needs_redraw = self.modes().is_alternate_screen();
        match place {
            Some((offset, modes)) => {
                Repaint { offset: *offset, prelude: modes.prelude(), needs_redraw }
            }
            // One endless escape sequence fills the ring: nothing in it can be shown.
            None => Repaint { offset: end, prelude: self.modes().prelude(), needs_redraw },
        }
    }
}
