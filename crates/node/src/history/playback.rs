//! A stretch of a history as bytes for a player in the browser. The format is in
//! `tandem_proto::history`.

use tandem_proto::history::REPLAY_MAGIC;
use tandem_proto::{MemberId, lib0};

use super::{Deadline, HistoryError, Timeline};

/// Largest playback in one answer.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// An update that changes nothing.
const NOTHING: &[u8] = &[0, 0];

/// A stretch of a history.
#[derive(Debug)]
pub struct Playback {
    /// What to send.
    pub bytes: Vec<u8>,
    /// Where to go on when it was cut, or when another history of the file follows.
    pub next_from: Option<u64>,
}

impl Timeline {
    /// The steps between two moments, both included.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub fn playback(
        &self,
        from: Option<u64>,
        to: Option<u64>,
        deadline: Deadline,
    ) -> Result<Playback, HistoryError> {
        let to = to.unwrap_or(u64::MAX);
        let chapter = match from {
            // Before the first step there is the first chapter.
            Some(from) => self.chapter_at(from).or_else(|| self.chapters.first()),
            None => self.chapters.first(),
        };
        let chapter = chapter.ok_or(HistoryError::Nothing)?;
        let from = from.unwrap_or(0);
        let document = chapter.replay(|step| step.ms < from, deadline)?;
        let base = document.encode_state().map_err(|_| HistoryError::Broken)?;
        let people = self.people();
        let place = |author: Option<MemberId>| {
            let at = author.and_then(|author| people.iter().position(|person| person.id == author));
            at.map_or(0, |at| at as u64 + 1)
        };
        let mut bytes = REPLAY_MAGIC.to_vec();
        let names = serde_json::to_string(&people).map_err(|_| HistoryError::Broken)?;
        lib0::write_var_string(&mut bytes, &names);
        let frame = |bytes: &mut Vec<u8>, ms: u64, author: u64, update: &[u8]| {
            lib0::write_var_uint(bytes, ms.min(lib0::MAX_SAFE_INTEGER));
            lib0::write_var_uint(bytes, author);
            lib0::write_var_bytes(bytes, update);
        };
        let begin = from.max(chapter.steps[0].ms);
        frame(&mut bytes, begin, 0, if base.is_empty() { NOTHING } else { &base });
        let mut begun = false;
        let mut last_ms = None;
        for step in &chapter.steps {
            let first = step.is_base && !begun;
            begun |= !step.is_base;
            if first || step.ms < from {
                continue;
            }
            if step.ms > to {
                return Ok(Playback { bytes, next_from: None });
            }
            // What one moment holds is never cut: whoever goes on would get the same again.
            let is_full = bytes.len() + step.update.len() > MAX_BYTES;
            if is_full && last_ms.is_some_and(|last| last != step.ms) {
                return Ok(Playback { bytes, next_from: Some(step.ms) });
            }
            let client = step.brought.written.first().map(|clocks| clocks.client);
            let author = match client {
                Some(client) => self.author_of(client, step.author),
                None => step.author,
            };
            frame(&mut bytes, step.ms, place(author), &step.update);
            last_ms = Some(step.ms);
        }
        let at = self.chapters.iter().position(|of| of.generation == chapter.generation);
        let following = at.and_then(|at| self.chapters.get(at + 1)).map(|next| next.steps[0].ms);
        Ok(Playback { bytes, next_from: following.filter(|next| *next <= to) })
    }
}
