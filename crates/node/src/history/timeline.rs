//! The steps of a file's history in the order in which they were applied, each once.

use std::collections::HashMap;

use bytes::Bytes;
use tandem_doc::{Brought, Document, Ledger, Rejected};
use tandem_proto::history::HistoryAuthor;
use tandem_proto::{Generation, MemberId};
use tandem_store::{Authors, PackedFile, WrittenRun};

use super::{Deadline, HistoryError, Material};

/// One step.
#[derive(Debug)]
pub(super) struct Step {
    /// When. Never before the step before it, whatever the clock did.
    pub ms: u64,
    /// Who.
    pub author: Option<MemberId>,
    /// The update.
    pub update: Bytes,
    /// What it brought.
    pub brought: Brought,
    /// A state that came before the edits, not an edit.
    pub is_base: bool,
}

/// The steps of one history of the file.
#[derive(Debug)]
pub(super) struct Chapter {
    pub generation: Generation,
    pub steps: Vec<Step>,
    /// Of steps that were joined.
    pub runs: Vec<WrittenRun>,
    ledger: Ledger,
}

/// See the module.
#[derive(Debug)]
pub struct Timeline {
    /// Oldest first.
    pub(super) chapters: Vec<Chapter>,
    people: HashMap<MemberId, HistoryAuthor>,
    pub(super) authors: Authors,
    pub(super) material: Material,
}

impl Timeline {
    /// Puts everything in order.
    ///
    /// # Errors
    /// [`HistoryError::TooLong`].
    pub fn new(mut material: Material, deadline: Deadline) -> Result<Self, HistoryError> {
        let files = std::mem::take(&mut material.files);
        let waiting = std::mem::take(&mut material.source.waiting);
        let mut people: HashMap<MemberId, HistoryAuthor> = HashMap::new();
        let names = material.people.drain(..).chain(material.source.people.drain(..));
        for person in names {
            people.insert(person.id, person);
        }
        let mut authors = material.source.authors.clone();
        for snapshot in &material.snapshots.found {
            authors.merge(&snapshot.content.authors);
        }
        for person in authors.people() {
            people.entry(person.id).or_insert_with(|| person.clone());
        }
        let mut timeline = Self { chapters: Vec::new(), people, authors, material };
        let mut now = 0;
        for file in files {
            deadline.check()?;
            timeline.chapter(file.generation).take(file, &mut now);
        }
        for (generation, edits) in waiting {
            let chapter = timeline.chapter(generation);
            for edit in edits {
                deadline.check()?;
                now = edit.ms.max(now);
                chapter.push(now, edit.author, edit.update, false);
            }
        }
        timeline.chapters.retain(|chapter| !chapter.steps.is_empty());
        Ok(timeline)
    }

    fn chapter(&mut self, generation: Generation) -> &mut Chapter {
        let at = self.chapters.iter().position(|chapter| chapter.generation == generation);
        let at = at.unwrap_or_else(|| {
            self.chapters.push(Chapter::empty(generation));
            self.chapters.len() - 1
        });
        &mut self.chapters[at]
    }

    /// Everybody who ever wrote, sorted by name.
    pub fn people(&self) -> Vec<HistoryAuthor> {
        let mut ids: Vec<MemberId> = self
            .chapters
            .iter()
            .flat_map(|chapter| {
                let steps = chapter.steps.iter().filter_map(|step| step.author);
                steps.chain(chapter.runs.iter().filter_map(|run| run.author))
            })
            .chain(self.authors.clients().map(|(_, author)| author))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let mut people: Vec<HistoryAuthor> = ids
            .into_iter()
            .map(|id| match self.people.get(&id) {
                Some(person) => person.clone(),
                None => {
                    HistoryAuthor { id, name: "Somebody".to_owned(), colour: "#808080".to_owned() }
                }
            })
            .collect();
        people.sort_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
        people
    }

    /// Who wrote a step's blocks of a client. A client's owner may have been found out later.
    pub(super) fn author_of(&self, client: u64, step: Option<MemberId>) -> Option<MemberId> {
        self.authors.get(client).map(|author| author.id).or(step)
    }

    /// The time of the first step and of the last.
    pub fn span(&self) -> Option<(u64, u64)> {
        let edits = || {
            self.chapters
                .iter()
                .flat_map(|chapter| &chapter.steps)
                .filter(|step| !step.is_base)
                .map(|step| step.ms)
        };
        Some((edits().min()?, edits().max()?))
    }

    /// The text as of a moment.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub fn text_at(&self, ms: u64, deadline: Deadline) -> Result<String, HistoryError> {
        let chapter = self.chapter_at(ms).ok_or(HistoryError::Nothing)?;
        Ok(chapter.replay(|step| step.ms <= ms, deadline)?.text())
    }

    /// The chapter that holds at a moment: before all, the first, if a state came before it.
    pub(super) fn chapter_at(&self, ms: u64) -> Option<&Chapter> {
        let begun = self.chapters.iter().rev().find(|chapter| chapter.steps[0].ms <= ms);
        begun.or_else(|| self.chapters.first().filter(|chapter| chapter.steps[0].is_base))
    }
}

impl Chapter {
    fn empty(generation: Generation) -> Self {
        let (steps, runs, ledger) = (Vec::new(), Vec::new(), Ledger::default());
        Self { generation, steps, runs, ledger }
    }

    /// The steps of one pack alone.
    pub(super) fn of(packed: PackedFile) -> Self {
        let mut chapter = Self::empty(packed.generation);
        chapter.take(packed, &mut 0);
        chapter
    }

    /// Adds what a pack has; `now` is the time so far, which never goes back.
    fn take(&mut self, packed: PackedFile, now: &mut u64) {
        self.runs.extend(packed.runs);
        if let Some(base) = packed.base {
            *now = base.ms.max(*now);
            self.push(*now, None, base.state, true);
        }
        for edit in packed.edits {
            *now = edit.ms.max(*now);
            self.push(*now, edit.author, edit.update, false);
        }
    }

    fn push(&mut self, ms: u64, author: Option<MemberId>, update: Bytes, is_base: bool) {
        match self.ledger.note(&update) {
            Ok(brought) if brought.is_empty() => {}
            Ok(brought) => self.steps.push(Step { ms, author, update, brought, is_base }),
            Err(error) => {
                tracing::warn!(%error, "an update in a history pack is malformed and was left out");
            }
        }
    }

    /// A document with the steps as long as `take` says so; states at the very beginning are
    /// always in it.
    pub(super) fn replay(
        &self,
        take: impl Fn(&Step) -> bool,
        deadline: Deadline,
    ) -> Result<Document, HistoryError> {
        // Nobody writes in this document.
        let mut document = Document::new(0);
        let mut begun = false;
        for step in &self.steps {
            let first = step.is_base && !begun;
            begun |= !step.is_base;
            if !first && !take(step) {
                break;
            }
            deadline.check()?;
            match document.merge_stored(&step.update) {
                Ok(_) => {}
                Err(Rejected::Broken) => return Err(HistoryError::Broken),
                Err(error) => {
                    tracing::warn!(%error, "a step of a history does not fit and was left out");
                }
            }
        }
        Ok(document)
    }
}
