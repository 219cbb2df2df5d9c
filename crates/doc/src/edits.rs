//! The difference between two texts as few, small edits: by lines, and by characters inside
//! the lines that changed. All work is bounded by sizes, not by a clock, so the same texts
//! always give the same edits.

use imara_diff::{Algorithm, Diff, Hunk, InternedInput, TokenSource};
use yrs::In;
use yrs::types::Delta;

use crate::lines::{hunks, offsets};

/// Replaces `delete` UTF-16 units at `at` of the old text by `insert`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) at: u32,
    pub(crate) delete: u32,
    pub(crate) insert: String,
}

/// (Bytes before) × (bytes after) of a change that is searched for equal characters; about
/// 2 ms. A larger one is replaced as a whole, apart from what is equal at its ends.
const MAX_COST: usize = 1 << 20;
/// Sum of those products over one text.
const TOTAL_COST: usize = 1 << 23;
/// Equal runs up to this long between two changes are part of the change: single letters that
/// happen to match mean nothing, and every edit costs the document a block.
const SHORT_RUN: usize = 2;
/// Bound for (number of edits) × (length of the text): each edit splits a block, which moves
/// what follows it.
const MAX_EDIT_COST: usize = 1 << 31;
/// So many edits are made whatever the length of the text.
const MIN_EDITS: usize = 256;

/// The edits that turn `old` into `new`, ascending and apart from each other.
pub(crate) fn diff(old: &str, new: &str) -> Vec<Edit> {
    if old == new {
        return Vec::new();
    }
    let mut changes = Changes { old, new, pairs: Vec::new(), budget: TOTAL_COST };
    for (before, after) in hunks(old, new) {
        changes.push_lines(before, after);
    }
    changes.into_edits()
}

/// The edits that bring what `new` has and `old` lacks, without deleting anything of `old`;
/// and the edits that then leave exactly `new`, which only delete.
pub(crate) fn union(old: &str, new: &str) -> (Vec<Edit>, Vec<Edit>) {
    let (mut inserts, mut deletes) = (Vec::new(), Vec::new());
    let (mut at, mut from, mut inserted) = (0u32, 0, 0u32);
    for (before, after) in hunks(old, new) {
        let (inner_before, inner_after) = trimmed(old, new, before.clone(), after.clone());
        let is_one_sided = inner_before.is_empty() || inner_after.is_empty();
        let (before, after) =
            if is_one_sided { (inner_before, inner_after) } else { (before, after) };
        at += units(&old[from..before.start]);
        from = before.end;
        let kept = &old[before];
        let mut insert = String::new();
        if !is_one_sided && !kept.ends_with('\n') {
            insert.push('\n');
        }
        let glue = insert.len() as u32;
        insert.push_str(&new[after]);
        let kept = units(kept);
        if kept + glue > 0 {
            deletes.push(Edit { at: at + inserted, delete: kept + glue, insert: String::new() });
        }
        at += kept;
        inserted += units(&insert);
        if !insert.is_empty() {
            inserts.push(Edit { at, delete: 0, insert });
        }
    }
    (inserts, deletes)
}

/// The edits that make a client's text fit for a file, see [`crate::text::is_clean`].
pub(crate) fn cleaning(text: &str) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut at = 0;
    let mut is_start = true;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let insert = match char {
            '\r' if chars.peek() == Some(&'\n') => Some(""),
            '\r' => Some("\n"),
            '\0' => Some(""),
            '\u{feff}' if is_start => Some(""),
            _ => None,
        };
        is_start &= insert == Some("");
        if let Some(insert) = insert {
            edits.push(Edit { at, delete: 1, insert: insert.to_owned() });
        }
        at += char.len_utf16() as u32;
    }
    edits
}

/// The same edits as a yrs delta.
pub(crate) fn delta(edits: &[Edit]) -> Vec<Delta<In>> {
    let mut delta = Vec::with_capacity(edits.len() * 3);
    let mut position = 0;
    for edit in edits {
        if edit.at > position {
            delta.push(Delta::Retain(edit.at - position, None));
        }
        if edit.delete > 0 {
            delta.push(Delta::Deleted(edit.delete));
        }
        if !edit.insert.is_empty() {
            delta.push(Delta::Inserted(In::from(edit.insert.clone()), None));
        }
        position = edit.at + edit.delete;
    }
    delta
}

type Bytes = std::ops::Range<usize>;

/// A change without what is equal at its ends.
fn trimmed(old: &str, new: &str, before: Bytes, after: Bytes) -> (Bytes, Bytes) {
    let (old, new) = (&old[before.clone()], &new[after.clone()]);
    let same = |(a, b): &(char, char)| a == b;
    let bytes = |(char, _): (char, char)| char.len_utf8();
    let prefix: usize = old.chars().zip(new.chars()).take_while(same).map(bytes).sum();
    let (old, new) = (&old[prefix..], &new[prefix..]);
    let backwards = old.chars().rev().zip(new.chars().rev());
    let suffix: usize = backwards.take_while(same).map(bytes).sum();
    (before.start + prefix..before.end - suffix, after.start + prefix..after.end - suffix)
}

struct Chars<'a>(&'a str);

impl<'a> TokenSource for Chars<'a> {
    type Token = char;
    type Tokenizer = std::str::Chars<'a>;

    fn tokenize(&self) -> Self::Tokenizer {
        self.0.chars()
    }

    fn estimate_tokens(&self) -> u32 {
        64
    }
}

/// Collects pairs of byte ranges that differ.
struct Changes<'a> {
    old: &'a str,
    new: &'a str,
    pairs: Vec<(Bytes, Bytes)>,
    budget: usize,
}

impl Changes<'_> {
    /// Adds the changes inside changed lines. As many lines after as before are usually the
    /// same lines, each changed a little (a formatter, a rename), and cost less one by one.
    fn push_lines(&mut self, before: Bytes, after: Bytes) {
        let (old, new) = (self.old, self.new);
        let lines = |text: &str| text.split_inclusive('\n').count();
        let count = lines(&old[before.clone()]);
        if count < 2 || count != lines(&new[after.clone()]) {
            self.push_chars(before, after);
            return;
        }
        let (mut from, mut to) = (before.start, after.start);
        let each = old[before].split_inclusive('\n').zip(new[after].split_inclusive('\n'));
        for (line, changed) in each {
            if line != changed {
                self.push_chars(from..from + line.len(), to..to + changed.len());
            }
            from += line.len();
            to += changed.len();
        }
    }

    /// Adds the changes inside a change, by characters if that is affordable.
    fn push_chars(&mut self, before: Bytes, after: Bytes) {
        let (before, after) = trimmed(self.old, self.new, before, after);
        let cost = before.len().saturating_mul(after.len());
        if cost == 0 || cost > MAX_COST || cost > self.budget {
            self.push(before, after);
            return;
        }
        self.budget -= cost;
        let (old, new) = (&self.old[before.clone()], &self.new[after.clone()]);
        let input = InternedInput::new(Chars(old), Chars(new));
        let diff = Diff::compute(Algorithm::Myers, &input);
        let old_offsets = offsets(old.chars().map(char::len_utf8));
        let new_offsets = offsets(new.chars().map(char::len_utf8));
        let bytes = |start: usize, offsets: &[usize], chars: std::ops::Range<u32>| {
            start + offsets[chars.start as usize]..start + offsets[chars.end as usize]
        };
        let mut open: Option<Hunk> = None;
        let mut joined = Vec::new();
        for hunk in diff.hunks() {
            match &mut open {
                Some(open) if (hunk.before.start - open.before.end) as usize <= SHORT_RUN => {
                    open.before.end = hunk.before.end;
                    open.after.end = hunk.after.end;
                }
                _ => joined.extend(open.replace(hunk)),
            }
        }
        joined.extend(open);
        for hunk in joined {
            self.push(
                bytes(before.start, &old_offsets, hunk.before),
                bytes(after.start, &new_offsets, hunk.after),
            );
        }
    }

    fn push(&mut self, before: Bytes, after: Bytes) {
        match self.pairs.last_mut() {
            // Nothing is equal between them.
            Some(last) if last.0.end == before.start && last.1.end == after.start => {
                last.0.end = before.end;
                last.1.end = after.end;
            }
            _ => self.pairs.push((before, after)),
        }
    }

    /// Joins the nearest changes until there are few enough for the length of the text.
    fn coarsen(&mut self) {
        let most = (MAX_EDIT_COST / self.old.len().max(1)).max(MIN_EDITS);
        let Some(excess) = self.pairs.len().checked_sub(most).filter(|&excess| excess > 0) else {
            return;
        };
        let mut gaps: Vec<(usize, usize)> = self
            .pairs
            .windows(2)
            .enumerate()
            .map(|(at, pair)| (pair[1].0.start - pair[0].0.end, at + 1))
            .collect();
        gaps.select_nth_unstable(excess - 1);
        let mut is_joined = vec![false; self.pairs.len()];
        for &(_, at) in &gaps[..excess] {
            is_joined[at] = true;
        }
        let mut joined: Vec<(Bytes, Bytes)> = Vec::with_capacity(most);
        for ((before, after), is_joined) in self.pairs.drain(..).zip(is_joined) {
            match joined.last_mut() {
                Some(last) if is_joined => {
                    last.0.end = before.end;
                    last.1.end = after.end;
                }
                _ => joined.push((before, after)),
            }
        }
        self.pairs = joined;
    }

    fn into_edits(mut self) -> Vec<Edit> {
        self.coarsen();
        let mut edits = Vec::with_capacity(self.pairs.len());
        let (mut at, mut from) = (0u32, 0);
        for (before, after) in self.pairs {
            at += units(&self.old[from..before.start]);
            let delete = units(&self.old[before.clone()]);
            edits.push(Edit { at, delete, insert: self.new[after].to_owned() });
            at += delete;
            from = before.end;
        }
        edits
    }
}

fn units(text: &str) -> u32 {
    text.chars().map(|char| char.len_utf16() as u32).sum()
}

#[cfg(test)]
mod tests;
