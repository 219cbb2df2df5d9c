//! Who last wrote in each line of the present text.

use std::collections::HashMap;

use tandem_doc::Document;
use tandem_proto::MemberId;
use tandem_proto::history::BlameLines;

use super::{Deadline, HistoryError, Timeline};

/// Neighbouring lines of one author that are no further apart in time are shown as one.
const SAME_MS: u64 = 60_000;

/// A range of one client's clocks with one author and time.
#[derive(Debug, Clone, Copy)]
struct Written {
    start: u32,
    end: u32,
    ms: Option<u64>,
    author: Option<MemberId>,
}

/// What is known of one line.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    ms: Option<u64>,
    author: Option<MemberId>,
    known: bool,
}

impl Line {
    /// The latest counts.
    fn note(&mut self, written: Option<Written>, author: Option<MemberId>) {
        let ms = written.and_then(|written| written.ms);
        if !self.known || ms > self.ms {
            *self = Self { ms, author, known: true };
        }
    }
}

impl Timeline {
    /// Who wrote the lines of the present text.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub fn blame(&self, deadline: Deadline) -> Result<Vec<BlameLines>, HistoryError> {
        let mut document = self.present(deadline)?;
        let written = self.written();
        let mut lines = vec![Line::default()];
        for piece in document.pieces().map_err(|_| HistoryError::Broken)? {
            deadline.check()?;
            let runs = written.get(&piece.client).map_or(&[][..], Vec::as_slice);
            let mut clock = piece.clock;
            let mut at = runs.partition_point(|run| run.end <= clock);
            for letter in piece.text.chars() {
                while runs.get(at).is_some_and(|run| run.end <= clock) {
                    at += 1;
                }
                let run = runs.get(at).filter(|run| run.start <= clock).copied();
                let author = self.author_of(piece.client, run.and_then(|run| run.author));
                clock = clock.saturating_add(letter.len_utf16() as u32);
                let Some(line) = lines.last_mut() else { continue };
                if letter != '\n' {
                    line.note(run, author);
                    continue;
                }
                // Whoever ends a line that somebody else wrote did not write it.
                if !line.known {
                    line.note(run, author);
                }
                lines.push(Line::default());
            }
        }
        if lines.last().is_some_and(|line| !line.known) {
            lines.pop();
        }
        Ok(joined(&lines))
    }

    /// The document as it is.
    fn present(&self, deadline: Deadline) -> Result<Document, HistoryError> {
        let Some(generation) = self.material.source.generation else {
            return Err(HistoryError::Nothing);
        };
        let mut document = Document::new(0);
        if let Some(state) = &self.material.source.state {
            document.merge_stored(state).map_err(|_| HistoryError::Broken)?;
            return Ok(document);
        }
        for snapshot in &self.material.snapshots.found {
            document.merge_stored(&snapshot.content.state).map_err(|_| HistoryError::Broken)?;
        }
        if self.material.snapshots.found.is_empty() {
            let chapter = self.chapters.iter().find(|chapter| chapter.generation == generation);
            return chapter.ok_or(HistoryError::Nothing)?.replay(|_| true, deadline);
        }
        Ok(document)
    }

    /// Ranges of clocks by client, ascending.
    fn written(&self) -> HashMap<u64, Vec<Written>> {
        let mut written: HashMap<u64, Vec<Written>> = HashMap::new();
        let generation = self.material.source.generation;
        let of_now = self.chapters.iter().filter(|chapter| Some(chapter.generation) == generation);
        for chapter in of_now {
            let joined = chapter.runs.iter().map(|run| {
                let (ms, author) = (Some(run.ms), run.author);
                (run.client, Written { start: run.start, end: run.end, ms, author })
            });
            // Of steps that were joined, the runs above know more than the step.
            let known: std::collections::HashSet<u64> =
                chapter.runs.iter().map(|run| run.client).collect();
            let steps = chapter.steps.iter().filter(|step| !step.is_base).flat_map(|step| {
                step.brought.written.iter().map(|clocks| {
                    let (ms, author) = (Some(step.ms), step.author);
                    let range = clocks.range.clone();
                    (clocks.client, Written { start: range.start, end: range.end, ms, author })
                })
            });
            let end_of_runs: HashMap<u64, u32> =
                chapter.runs.iter().fold(HashMap::new(), |mut ends, run| {
                    let end = ends.entry(run.client).or_insert(0);
                    *end = run.end.max(*end);
                    ends
                });
            let later = steps.filter(|(client, step)| {
                !known.contains(client)
                    || end_of_runs.get(client).is_none_or(|end| step.start >= *end)
            });
            for (client, run) in joined.chain(later) {
                written.entry(client).or_default().push(run);
            }
        }
        for runs in written.values_mut() {
            runs.sort_by_key(|run| run.start);
        }
        written
    }
}

fn joined(lines: &[Line]) -> Vec<BlameLines> {
    let mut out: Vec<BlameLines> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if let Some(last) = out.last_mut()
            && last.author == line.author
            && is_same_time(last.ms, line.ms)
        {
            last.lines += 1;
            last.ms = last.ms.max(line.ms);
        } else {
            let (author, ms) = (line.author, line.ms);
            out.push(BlameLines { line: at as u32 + 1, lines: 1, author, ms });
        }
    }
    out
}

fn is_same_time(one: Option<u64>, other: Option<u64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.abs_diff(other) <= SAME_MS,
        (None, None) => true,
        _ => false,
    }
}
