//! The difference between two texts as few, small edits: by lines, and by characters inside
//! the lines that changed. All work is bounded by sizes, not by a clock, so the same texts
//! always give the same edits.

use imara_diff::{Algorithm, Diff, Hunk, InternedInput, TokenSource};
use yrs::In;
use yrs::types::Delta;

/// Replaces `delete` UTF-16 units at `at` of the old text by `insert`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) at: u32,
    pub(crate) delete: u32,
    pub(crate) insert: String,
}

impl Edit {
    /// How much it changes, in UTF-16 units.
    fn weight(&self) -> u64 {
        u64::from(self.delete) + self.insert.encode_utf16().count() as u64
    }
}

/// How much edits change together, in UTF-16 units.
pub(crate) fn weight(edits: &[Edit]) -> u64 {
    edits.iter().map(Edit::weight).sum()
}

/// A changed group of lines longer than this is replaced as a whole, apart from what is equal
/// at its ends.
const MAX_HUNK_CHARS: usize = 4_096;
/// All groups of one text together; beyond it, the rest is replaced by lines.
const MAX_TOTAL_CHARS: usize = 65_536;
/// Equal runs up to this long between two changes are part of the change: single letters that
/// happen to match mean nothing, and every edit costs the document a block.
const SHORT_RUN: usize = 2;
/// Bound for (number of edits) × (length of the text): each edit splits a block, which moves
/// what follows it.
const MAX_EDIT_COST: usize = 1 << 32;

/// The edits that turn `old` into `new`, ascending and apart from each other.
pub(crate) fn diff(old: &str, new: &str) -> Vec<Edit> {
    if old == new {
        return Vec::new();
    }
    let mut changes = Changes::new(old, new);
    let mut budget = MAX_TOTAL_CHARS;
    for_each_line_hunk(old, new, |before, after| {
        let chars = old[before.clone()].len() + new[after.clone()].len();
        if before.is_empty() || after.is_empty() || chars > MAX_HUNK_CHARS || chars > budget {
            changes.push_trimmed(before, after);
        } else {
            budget -= chars;
            changes.push_chars(before, after);
        }
    });
    changes.into_edits()
}

/// The edits that bring what `new` has and `old` lacks, without deleting anything of `old`;
/// and the edits that then leave exactly `new`, which only delete.
pub(crate) fn union(old: &str, new: &str) -> (Vec<Edit>, Vec<Edit>) {
    let (mut inserts, mut deletes) = (Vec::new(), Vec::new());
    let (mut at, mut from, mut inserted) = (0u32, 0, 0u32);
    for_each_line_hunk(old, new, |before, after| {
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
    });
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

/// Calls `each` with the byte ranges of the lines that differ, in order.
fn for_each_line_hunk(old: &str, new: &str, mut each: impl FnMut(Bytes, Bytes)) {
    let input = InternedInput::new(old, new);
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    let before = offsets(old.split_inclusive('\n').map(str::len));
    let after = offsets(new.split_inclusive('\n').map(str::len));
    for hunk in diff.hunks() {
        let (old_range, new_range) = spans(&hunk, &before, &after);
        each(old_range, new_range);
    }
}

/// Where each token starts, and where the last one ends.
fn offsets(lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut offsets = vec![0];
    let mut end = 0;
    for length in lengths {
        end += length;
        offsets.push(end);
    }
    offsets
}

fn spans(hunk: &Hunk, before: &[usize], after: &[usize]) -> (Bytes, Bytes) {
    let span = |offsets: &[usize], range: &std::ops::Range<u32>| {
        offsets[range.start as usize]..offsets[range.end as usize]
    };
    (span(before, &hunk.before), span(after, &hunk.after))
}

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
}

impl<'a> Changes<'a> {
    fn new(old: &'a str, new: &'a str) -> Self {
        Self { old, new, pairs: Vec::new() }
    }

    /// Adds a change without what is equal at its ends.
    fn push_trimmed(&mut self, before: Bytes, after: Bytes) {
        self.pairs.push(trimmed(self.old, self.new, before, after));
    }

    /// Adds the changes inside a change, by characters.
    fn push_chars(&mut self, before: Bytes, after: Bytes) {
        let (old, new) = (&self.old[before.clone()], &self.new[after.clone()]);
        let input = InternedInput::new(Chars(old), Chars(new));
        let diff = Diff::compute(Algorithm::Myers, &input);
        let old_offsets = offsets(old.chars().map(char::len_utf8));
        let new_offsets = offsets(new.chars().map(char::len_utf8));
        let mut last: Option<Hunk> = None;
        let mut merged = Vec::new();
        for hunk in diff.hunks() {
            match &mut last {
                Some(open) if (hunk.before.start - open.before.end) as usize <= SHORT_RUN => {
                    open.before.end = hunk.before.end;
                    open.after.end = hunk.after.end;
                }
                _ => merged.extend(last.replace(hunk)),
            }
        }
        merged.extend(last);
        for hunk in merged {
            let (old_range, new_range) = spans(&hunk, &old_offsets, &new_offsets);
            self.pairs.push((
                before.start + old_range.start..before.start + old_range.end,
                after.start + new_range.start..after.start + new_range.end,
            ));
        }
    }

    /// Joins the nearest changes until the edits are few enough for the length of the text.
    fn coarsen(&mut self) {
        let most = (MAX_EDIT_COST / self.old.len().max(1)).max(256);
        let mut short = 16;
        while self.pairs.len() > most {
            let mut joined: Vec<(Bytes, Bytes)> = Vec::with_capacity(self.pairs.len());
            for (before, after) in self.pairs.drain(..) {
                match joined.last_mut() {
                    Some(last) if before.start - last.0.end <= short => {
                        last.0.end = before.end;
                        last.1.end = after.end;
                    }
                    _ => joined.push((before, after)),
                }
            }
            self.pairs = joined;
            short *= 4;
        }
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
