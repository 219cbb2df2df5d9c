//! A set of clock numbers kept as merged ranges, with work per call that grows with the
//! logarithm of the set and with what the call merges, never with the document.

use std::collections::BTreeMap;
use std::ops::Range;

/// Disjoint, non-adjacent ranges by start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges(BTreeMap<u32, u32>);

impl Ranges {
    pub(crate) fn insert(&mut self, range: Range<u32>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        if let Some((&before, &before_end)) = self.0.range(..=start).next_back()
            && before_end >= start
        {
            if before_end >= end {
                return;
            }
            start = before;
        }
        while let Some((&next, &next_end)) = self.0.range(start..).next()
            && next <= end
        {
            self.0.remove(&next);
            end = end.max(next_end);
        }
        self.0.insert(start, end);
    }

    /// The parts of `range` that are not in the set, ascending.
    pub(crate) fn missing(&self, range: Range<u32>) -> Vec<Range<u32>> {
        let mut out = Vec::new();
        let mut at = range.start;
        let before = self.0.range(..=range.start).next_back().map(|(&start, _)| start);
        for (&start, &end) in self.0.range(before.unwrap_or(range.start)..range.end) {
            if at < start {
                out.push(at..start);
            }
            at = at.max(end);
        }
        if at < range.end {
            out.push(at..range.end);
        }
        out
    }

    /// Ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<u32>> {
        self.0.iter().map(|(&start, &end)| start..end)
    }

    pub(crate) fn contains(&self, clock: u32) -> bool {
        self.covers(clock..clock.saturating_add(1))
    }

    /// Whether every clock of `range` is in the set.
    pub(crate) fn covers(&self, range: Range<u32>) -> bool {
        range.is_empty()
            || self.0.range(..=range.start).next_back().is_some_and(|(_, &end)| end >= range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_like_a_set_of_numbers(
            inserts in proptest::collection::vec((0u32..60, 0u32..9), 0..40),
            probe in (0u32..70, 0u32..9),
        ) {
            let mut ranges = Ranges::default();
            let mut plain = std::collections::BTreeSet::new();
            for (start, length) in inserts {
                ranges.insert(start..start + length);
                plain.extend(start..start + length);
            }
            let probe = probe.0..probe.0 + probe.1;
            prop_assert_eq!(ranges.covers(probe.clone()), probe.clone().all(|n| plain.contains(&n)));
            prop_assert_eq!(ranges.contains(probe.start), plain.contains(&probe.start));
            let missing: Vec<u32> = ranges.missing(probe.clone()).into_iter().flatten().collect();
            let plainly: Vec<u32> = probe.clone().filter(|n| !plain.contains(n)).collect();
            prop_assert_eq!(missing, plainly);
            let parts: Vec<_> = ranges.0.iter().map(|(&a, &b)| (a, b)).collect();
            prop_assert!(parts.iter().all(|(a, b)| a < b));
            prop_assert!(parts.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }
}
