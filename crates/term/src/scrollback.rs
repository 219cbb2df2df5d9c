//! A terminal's output as it is kept beyond its sandbox: in immutable segments.

use crate::{ModeTracker, Ring};

/// A piece of output to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Offset of the first byte.
    pub from: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Segment {
    /// Offset one past the last byte.
    pub fn to(&self) -> u64 {
        self.from.saturating_add(self.bytes.len() as u64)
    }
}

/// Why output was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// It lies before what is already held and does not reach past it.
    #[error("the output is already held")]
    Known,
    /// Bytes between what is held and this are missing; what was held is now forgotten.
    #[error("output is missing before offset {0}")]
    Gap(u64),
}

/// Output seen by the node, and how much of it is stored.
#[derive(Debug)]
pub struct Scrollback {
    ring: Ring,
    capacity: usize,
    stored: u64,
}

impl Scrollback {
    /// Nothing yet; keeps the newest `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self { ring: Ring::new(capacity), capacity, stored: 0 }
    }

    /// Takes output at an absolute offset. What is already held is skipped, so a repeated chunk
    /// does no harm.
    ///
    /// # Errors
    /// See [`SegmentError`]. After a gap the new bytes are held and the older are not.
    pub fn push(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SegmentError> {
        let end = self.ring.end();
        if offset > end {
            self.ring = Ring::starting_at(self.capacity, offset);
            self.ring.push(bytes);
            return Err(SegmentError::Gap(offset));
        }
        let known = usize::try_from(end - offset).unwrap_or(usize::MAX);
        match bytes.get(known..) {
            Some(new) if !new.is_empty() || bytes.is_empty() => {
                self.ring.push(new);
                Ok(())
            }
            _ => Err(SegmentError::Known),
        }
    }

    /// Offset one past the newest byte.
    pub fn end(&self) -> u64 {
        self.ring.end()
    }

    /// What is held and not yet stored.
    pub fn unstored(&self) -> Option<Segment> {
        let from = self.stored.max(self.ring.start());
        let bytes = self.ring.read(from, usize::MAX)?;
        (!bytes.is_empty()).then_some(Segment { from, bytes })
    }

    /// Everything before `offset` is stored.
    pub fn mark_stored(&mut self, offset: u64) {
        self.stored = self.stored.max(offset.min(self.ring.end()));
    }

    /// Puts stored segments together again: the newest contiguous run of them, at most `capacity`
    /// bytes, ready to be shown above a new shell (cut at a line, all modes left behind).
    pub fn history(mut segments: Vec<Segment>, capacity: usize) -> Vec<u8> {
        segments.sort_by_key(|segment| segment.from);
        let mut held = Scrollback::new(capacity);
        for segment in segments {
            // A gap starts anew; a known segment changes nothing: both are what is wanted here.
            let _ = held.push(segment.from, &segment.bytes);
        }
        let start = held.ring.start();
        let mut bytes = held.ring.read(start, usize::MAX).unwrap_or_default();
        if start > 0 {
            let cut = bytes.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1);
            bytes.drain(..cut);
        }
        let mut tracker = ModeTracker::new();
        tracker.feed(&bytes);
        if !tracker.is_between_sequences() {
            // Ends a sequence that was cut off: CAN for escapes and most strings, ST for OSC.
            bytes.extend_from_slice(b"\x18\x1b\\");
        }
        bytes.extend(tracker.modes().leave());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_are_idempotent_and_gaps_start_anew() {
        let mut scrollback = Scrollback::new(100);
        assert_eq!(scrollback.push(0, b"hello"), Ok(()));
        assert_eq!(scrollback.push(0, b"hello"), Err(SegmentError::Known));
        assert_eq!(scrollback.push(3, b"lo you"), Ok(()));
        let segment = scrollback.unstored().unwrap();
        assert_eq!((segment.from, segment.bytes.as_slice()), (0, &b"hello you"[..]));
        scrollback.mark_stored(segment.to());
        assert_eq!(scrollback.unstored(), None);
        assert_eq!(scrollback.push(50, b"later"), Err(SegmentError::Gap(50)));
        assert_eq!(scrollback.unstored().unwrap().from, 50);
    }

    #[test]
    fn history_is_the_newest_run_cut_at_a_line_with_modes_left() {
        let segments = vec![
            Segment { from: 20, bytes: b"cut line\nkept\x1b[31m\x1b[?1049hvi".to_vec() },
            Segment { from: 0, bytes: b"old\n".to_vec() },
        ];
        let history = Scrollback::history(segments, 1000);
        assert_eq!(history, b"kept\x1b[31m\x1b[?1049hvi\x1b[?1049l\x1b[0m");
        assert_eq!(Scrollback::history(Vec::new(), 10), b"");
    }
}
