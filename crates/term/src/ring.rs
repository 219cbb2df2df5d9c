//! The newest bytes of an endless stream.

use std::collections::VecDeque;

/// Keeps the last `capacity` bytes of a stream and knows the absolute offset of each.
///
/// Memory grows with what is held, so a quiet terminal costs little.
#[derive(Debug)]
pub struct Ring {
    bytes: VecDeque<u8>,
    capacity: usize,
    end: u64,
}

impl Ring {
    /// An empty ring whose first byte will have offset 0. A capacity of 0 holds nothing.
    pub fn new(capacity: usize) -> Self {
        Self::starting_at(capacity, 0)
    }

    /// An empty ring whose first byte will have offset `offset`.
    pub fn starting_at(capacity: usize, offset: u64) -> Self {
        Self { bytes: VecDeque::new(), capacity, end: offset }
    }

    /// Adds bytes at the end and forgets as many at the front as no longer fit.
    pub fn push(&mut self, bytes: &[u8]) {
        self.end = self.end.saturating_add(bytes.len() as u64);
        let kept = &bytes[bytes.len().saturating_sub(self.capacity)..];
        let over = (self.bytes.len() + kept.len()).saturating_sub(self.capacity);
        self.bytes.drain(..over);
        let needed = self.bytes.len() + kept.len();
        if needed > self.bytes.capacity() {
            // Doubling must not pass the capacity: it is the bound people rely on.
            let target = needed.next_power_of_two().min(self.capacity).max(needed);
            self.bytes.reserve_exact(target - self.bytes.len());
        }
        self.bytes.extend(kept);
    }

    /// Offset of the oldest byte that is still held.
    pub fn start(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }

    /// Offset one past the newest byte.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Up to `max` bytes from `offset` on; `None` when the byte at `offset` is no longer held or
    /// `offset` lies past the end. Empty at the end.
    pub fn read(&self, offset: u64, max: usize) -> Option<Vec<u8>> {
        let skip = usize::try_from(offset.checked_sub(self.start())?).ok()?;
        if skip > self.bytes.len() {
            return None;
        }
        let count = (self.bytes.len() - skip).min(max);
        let mut out = Vec::with_capacity(count);
        let (front, back) = self.bytes.as_slices();
        let from_front = front.get(skip..).unwrap_or_default();
        let taken = from_front.len().min(count);
        out.extend_from_slice(&from_front[..taken]);
        let back_skip = skip.saturating_sub(front.len());
        out.extend_from_slice(&back[back_skip..back_skip + (count - taken)]);
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keeps_the_newest_and_knows_offsets() {
        let mut ring = Ring::new(4);
        ring.push(b"abc");
        assert_eq!((ring.start(), ring.end()), (0, 3));
        ring.push(b"de");
        assert_eq!((ring.start(), ring.end()), (1, 5));
        assert_eq!(ring.read(0, 10), None);
        assert_eq!(ring.read(1, 2).unwrap(), b"bc");
        assert_eq!(ring.read(4, 10).unwrap(), b"e");
        assert_eq!(ring.read(5, 10).unwrap(), b"");
        assert_eq!(ring.read(6, 10), None);
        ring.push(b"0123456789");
        assert_eq!((ring.start(), ring.read(11, 9).unwrap().as_slice()), (11, &b"6789"[..]));
    }

    #[test]
    fn memory_stays_within_the_capacity() {
        let mut ring = Ring::new(1024 * 1024);
        ring.push(b"quiet");
        assert!(ring.bytes.capacity() <= 4096);
        for _ in 0..1000 {
            ring.push(&[7; 4095]);
        }
        assert!(ring.bytes.capacity() <= 1024 * 1024 + 64);
    }

    proptest! {
        #[test]
        fn equals_the_tail_of_everything(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..30), capacity in 0usize..64, at in 0u64..700, max in 0usize..70) {
            let mut ring = Ring::new(capacity);
            let mut all = Vec::new();
            for chunk in &chunks {
                ring.push(chunk);
                all.extend_from_slice(chunk);
            }
            prop_assert_eq!(ring.end(), all.len() as u64);
            prop_assert_eq!(ring.start(), all.len().saturating_sub(capacity) as u64);
            let read = ring.read(at, max);
            if at < ring.start() || at > ring.end() {
                prop_assert_eq!(read, None);
            } else {
                let from = at as usize;
                let to = (from + max).min(all.len());
                prop_assert_eq!(read.unwrap(), &all[from..to]);
            }
        }
    }
}
