//! Edits grouped by pauses, for the list that people see.

use tandem_proto::MemberId;
use tandem_proto::history::{FileHistory, HistorySession};

use super::Timeline;

/// A longer pause begins a new session.
const PAUSE_MS: u64 = 60_000;

/// Which sessions.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Only those that began before this moment.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

impl Timeline {
    /// The list.
    pub fn sessions(&self, page: Page) -> FileHistory {
        let mut all: Vec<HistorySession> = Vec::new();
        let mut last_generation = None;
        for chapter in &self.chapters {
            for step in chapter.steps.iter().filter(|step| !step.is_base) {
                let goes_on = last_generation == Some(chapter.generation)
                    && all.last().is_some_and(|last| step.ms - last.to_ms <= PAUSE_MS);
                if !goes_on {
                    all.push(HistorySession {
                        id: format!("{}-{}", chapter.generation, step.ms),
                        from_ms: step.ms,
                        to_ms: step.ms,
                        authors: Vec::new(),
                        inserted: 0,
                        deleted: 0,
                    });
                }
                last_generation = Some(chapter.generation);
                let Some(session) = all.last_mut() else { continue };
                session.to_ms = step.ms;
                session.inserted += step.brought.inserted;
                session.deleted += step.brought.deleted;
                let mut note = |author: Option<MemberId>| {
                    if let Some(author) = author.filter(|it| !session.authors.contains(it)) {
                        session.authors.push(author);
                    }
                };
                match &step.brought.written[..] {
                    [] => note(step.author),
                    written => {
                        for clocks in written {
                            note(self.author_of(clocks.client, step.author));
                        }
                    }
                }
            }
        }
        let span = self.span();
        let mut sessions: Vec<HistorySession> = all
            .into_iter()
            .rev()
            .filter(|session| page.before.is_none_or(|before| session.from_ms < before))
            .take(page.limit + 1)
            .collect();
        let more = sessions.len() > page.limit;
        sessions.truncate(page.limit);
        FileHistory {
            file: self.material.source.file,
            authors: self.people(),
            from_ms: span.map(|(from, _)| from),
            to_ms: span.map(|(_, to)| to),
            sessions,
            more,
        }
    }
}
