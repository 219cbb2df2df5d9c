//! Which lines differ between two texts, with bounded work. A plain shortest-edit search is
//! quadratic for texts that share many lines in another order (a program may write two
//! megabytes of random digits), so lines that occur once on both sides split the texts first,
//! and only what lies between them is searched, as far as a budget goes.

use std::collections::HashMap;
use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput, Token};

/// (Lines before) × (lines after) that are searched without looking for anchors.
const SMALL: usize = 1 << 16;
/// Sum of those products over one pair of texts; about 30 ms at worst. Beyond it, what lies
/// between anchors counts as changed.
const BUDGET: usize = 1 << 24;
/// How often a part between anchors is split again.
const MAX_DEPTH: u32 = 8;

type Pair = (Range<usize>, Range<usize>);

/// The byte ranges of the lines that differ, ascending, with equal lines between them.
pub(crate) fn hunks(old: &str, new: &str) -> Vec<Pair> {
    let input = InternedInput::new(old, new);
    let mut search =
        Search { before: &input.before, after: &input.after, budget: BUDGET, found: Vec::new() };
    search.compare((0..input.before.len(), 0..input.after.len()), 0);
    let before = offsets(old.split_inclusive('\n').map(str::len));
    let after = offsets(new.split_inclusive('\n').map(str::len));
    let bytes = |offsets: &[usize], lines: Range<usize>| offsets[lines.start]..offsets[lines.end];
    let found = search.found.into_iter();
    found.map(|(old, new)| (bytes(&before, old), bytes(&after, new))).collect()
}

/// Where each token starts, and where the last one ends.
pub(crate) fn offsets(lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut offsets = vec![0];
    let mut end = 0;
    for length in lengths {
        end += length;
        offsets.push(end);
    }
    offsets
}

struct Search<'a> {
    before: &'a [Token],
    after: &'a [Token],
    budget: usize,
    found: Vec<Pair>,
}

impl Search<'_> {
    fn compare(&mut self, part: Pair, depth: u32) {
        let (before, after) = self.without_equal_ends(part);
        if before.is_empty() && after.is_empty() {
            return;
        }
        if before.is_empty() || after.is_empty() {
            self.found.push((before, after));
            return;
        }
        let cost = before.len().saturating_mul(after.len());
        let anchors = if cost <= SMALL || depth == MAX_DEPTH {
            Vec::new()
        } else {
            self.anchors(&before, &after)
        };
        if !anchors.is_empty() {
            let (mut old, mut new) = (before.start, after.start);
            for (at_old, at_new) in anchors {
                self.compare((old..at_old, new..at_new), depth + 1);
                (old, new) = (at_old + 1, at_new + 1);
            }
            self.compare((old..before.end, new..after.end), depth + 1);
        } else if cost <= self.budget {
            self.budget -= cost;
            self.search(before, after);
        } else {
            self.found.push((before, after));
        }
    }

    fn without_equal_ends(&self, (mut before, mut after): Pair) -> Pair {
        let is_same = |old: usize, new: usize| self.before[old] == self.after[new];
        while !before.is_empty() && !after.is_empty() && is_same(before.start, after.start) {
            before.start += 1;
            after.start += 1;
        }
        while !before.is_empty() && !after.is_empty() && is_same(before.end - 1, after.end - 1) {
            before.end -= 1;
            after.end -= 1;
        }
        (before, after)
    }

    fn search(&mut self, before: Range<usize>, after: Range<usize>) {
        if before.len() == 1 && after.len() == 1 {
            self.found.push((before, after));
            return;
        }
        // Numbered anew: the search clears a table as long as the largest number, every time.
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        let mut renumber = |token: &Token| {
            let next = numbers.len() as u32;
            Token(*numbers.entry(token.0).or_insert(next))
        };
        let old: Vec<_> = self.before[before.clone()].iter().map(&mut renumber).collect();
        let new: Vec<_> = self.after[after.clone()].iter().map(&mut renumber).collect();
        let mut diff = Diff::default();
        diff.compute_with(Algorithm::Myers, &old, &new, numbers.len() as u32);
        let within = |start: usize, range: Range<u32>| {
            start + range.start as usize..start + range.end as usize
        };
        let hunks = diff
            .hunks()
            .map(|hunk| (within(before.start, hunk.before), within(after.start, hunk.after)));
        self.found.extend(hunks);
    }

    /// Pairs of lines that occur once on each side, as many as are in the same order on both.
    fn anchors(&self, before: &Range<usize>, after: &Range<usize>) -> Vec<(usize, usize)> {
        let mut places: HashMap<u32, Place> = HashMap::new();
        for at in before.clone() {
            let place = places.entry(self.before[at].0).or_default();
            place.old = at;
            place.old_count += 1;
        }
        for at in after.clone() {
            if let Some(place) = places.get_mut(&self.after[at].0) {
                place.new = at;
                place.new_count += 1;
            }
        }
        let unique = |place: &Place| place.old_count == 1 && place.new_count == 1;
        let mut pairs: Vec<_> =
            places.into_values().filter(unique).map(|place| (place.old, place.new)).collect();
        pairs.sort_unstable();
        longest_ascending(&pairs)
    }
}

#[derive(Default)]
struct Place {
    old: usize,
    old_count: u32,
    new: usize,
    new_count: u32,
}

/// The longest subsequence whose second numbers ascend.
fn longest_ascending(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // The pair that ends the best subsequence of each length, and each pair's predecessor.
    let mut ends: Vec<usize> = Vec::new();
    let mut previous: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    for (at, pair) in pairs.iter().enumerate() {
        let length = ends.partition_point(|&end| pairs[end].1 < pair.1);
        previous.push(length.checked_sub(1).map(|before| ends[before]));
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut longest = Vec::with_capacity(ends.len());
    let mut next = ends.last().copied();
    while let Some(at) = next {
        longest.push(pairs[at]);
        next = previous[at];
    }
    longest.reverse();
    longest
}
