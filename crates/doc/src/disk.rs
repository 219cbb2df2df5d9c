//! Merging what programs write to a file into its document.
//!
//! *The program is a replica that had seen the base*: the text that document and disk last
//! agreed on. What it wrote is turned into edits against that text, made in a replica of the
//! document as it was then (the *shadow*), and the replica's update is merged like anyone's.
//! People's later edits therefore survive by ordinary merge; only base characters that the
//! program itself took out are deleted.
//!
//! A program may also have read an earlier version than the last one on disk. If what it wrote
//! is explained by one of the recent versions rather than by the base, that version is its
//! base.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::edits::{self, Edit};
use crate::lines;
use crate::{Document, MAX_CLIENT_ID, Rejected};

/// How many earlier versions of the disk are kept, and for how long: while people type the disk is
/// written up to twenty times a second, and a program on a busy machine may take seconds between reading and
/// writing.
const RING: usize = 48;
const RING_MS: u64 = 10_000;
/// What the kept versions may take together.
const RING_BYTES: usize = 16 * 1024 * 1024;
/// A version that was replaced this recently is taken as the program's base already when it
/// explains the change at least as well; an older one only when it is much closer.
///
/// Longer than a writer's late look at a file that was exchanged out (2 s).
const RECENT_MS: u64 = 3_500;
/// The versions that a program has read come closer to what it wrote the older they are, until
/// the one that it has read: after so many that came no closer no older one is compared.
const PATIENCE: usize = 8;
/// Of a longer text only the newest two versions are compared with what a program wrote.
const LARGE_TEXT: usize = 256 * 1024;
/// How many times closer an older version has to be.
const MUCH_CLOSER: u64 = 4;

/// A text that the disk holds or held, with the document that had it.
#[derive(Debug, Clone)]
struct Version {
    text: Arc<str>,
    shadow: Shadow,
}

#[derive(Debug, Clone)]
enum Shadow {
    /// The document still is at this version.
    Live,
    /// The encoded state that has this text. After an ingest without a base it has deletions
    /// that the document never saw.
    State(Arc<[u8]>),
    /// No document with this text is known.
    Unknown,
}

/// What a program is taken to have read.
struct Seen {
    text: Arc<str>,
    state: Arc<[u8]>,
}

impl Seen {
    fn replica(&self, client: u64) -> Result<Document, Rejected> {
        let replica = Document::replica(client, &self.state)?;
        // See `Document::encode_verified`: edits at places of another text would be wrong.
        if *replica.text() == *self.text { Ok(replica) } else { Err(Rejected::Broken) }
    }
}

/// What a found text tells of which of two versions its program had read: lines that it has show
/// what was seen, lines that it lacks may have been changed.
struct Told {
    /// Lines found that only the older version has.
    older: u64,
    /// Lines found that only the newer version has.
    newer: u64,
    /// Lines that only the newer version has.
    only_newer: u64,
}

impl Told {
    fn of(older: &str, newer: &str, found: &str) -> Self {
        let lines = |text| -> HashSet<&str> { str::lines(text).collect() };
        let (older, newer, found) = (lines(older), lines(newer), lines(found));
        Self {
            older: older.difference(&newer).filter(|line| found.contains(*line)).count() as u64,
            newer: newer.difference(&older).filter(|line| found.contains(*line)).count() as u64,
            only_newer: newer.difference(&older).count() as u64,
        }
    }
}

#[derive(Debug)]
struct Earlier {
    version: Version,
    replaced_ms: u64,
    /// The disk may never have held it for longer than a moment: a write of ours that met
    /// somebody else's, or whose answer was lost.
    offered: bool,
}

/// The relation between one document and its file.
///
/// Call [`DiskMerge::note_edit`] before every change of the document. Before writing the file
/// take the text from [`DiskMerge::begin_write`], and call [`DiskMerge::written`] when the
/// disk holds it. Call [`DiskMerge::ingest`] with whatever else is found in the file.
#[derive(Debug)]
pub struct DiskMerge {
    base: Option<Version>,
    writing: Option<Version>,
    earlier: VecDeque<Earlier>,
    /// The client id of the last ingest.
    client: Option<u64>,
}

impl DiskMerge {
    /// Document and disk both hold `base_text` now.
    pub fn new(base_text: impl Into<Arc<str>>) -> Self {
        let base = Version { text: base_text.into(), shadow: Shadow::Live };
        Self { base: Some(base), writing: None, earlier: VecDeque::new(), client: None }
    }

    /// Nothing is known about how the disk's text relates to the document (a crash lost it).
    /// The next ingest only inserts: nothing of either side is lost.
    pub fn unknown_base() -> Self {
        Self { base: None, writing: None, earlier: VecDeque::new(), client: None }
    }

    /// The disk holds `disk_text`, an older text of this document, and nothing was written to
    /// the file since (its hash is in the log): there is nothing to ingest, only to write.
    pub fn behind(disk_text: impl Into<Arc<str>>) -> Self {
        let base = Version { text: disk_text.into(), shadow: Shadow::Unknown };
        Self { base: Some(base), writing: None, earlier: VecDeque::new(), client: None }
    }

    /// The text that the disk holds as far as known: what a write expects to find.
    pub fn base_text(&self) -> Option<&Arc<str>> {
        self.base.as_ref().map(|base| &base.text)
    }

    /// To be called before every change of the document. The first call after the disk and
    /// the document agreed keeps the document's state; all others cost nothing.
    ///
    /// # Errors
    /// Only [`Rejected::Broken`].
    pub fn note_edit(&mut self, doc_before: &Document) -> Result<(), Rejected> {
        let is_live = |version: &Option<Version>| {
            version.as_ref().is_some_and(|version| matches!(version.shadow, Shadow::Live))
        };
        if !is_live(&self.base) && !is_live(&self.writing) {
            return Ok(());
        }
        let state: Arc<[u8]> = doc_before.encode_state()?.into();
        for version in self.base.iter_mut().chain(&mut self.writing) {
            if matches!(version.shadow, Shadow::Live) {
                version.shadow = Shadow::State(state.clone());
            }
        }
        Ok(())
    }

    /// The text to write to the disk now. An earlier write that was never answered may be on the
    /// disk all the same.
    ///
    /// # Panics
    /// When the document is broken.
    pub fn begin_write(&mut self, doc: &Document, now_ms: u64) -> Arc<str> {
        self.retire_writing(now_ms);
        let text: Arc<str> = doc.text().into();
        self.writing = Some(Version { text: text.clone(), shadow: Shadow::Live });
        text
    }

    /// The disk holds the text of the last [`DiskMerge::begin_write`] now. Answers whether
    /// that was so: not when an ingest came between, which found something newer.
    pub fn written(&mut self, text: &str, now_ms: u64) -> bool {
        match self.writing.take_if(|version| *version.text == *text) {
            Some(version) => {
                self.set_base(version, now_ms);
                true
            }
            None => false,
        }
    }

    /// To be called now and then: forgets versions of the disk that no program can still be
    /// working on, and the kept state when the document has the disk's text again.
    ///
    /// # Panics
    /// When the document is broken.
    pub fn rest(&mut self, doc: &Document, now_ms: u64) {
        self.forget_old(now_ms);
        let is_clean = self.is_clean(doc);
        if let Some(base) = self.base.as_mut().filter(|_| is_clean) {
            base.shadow = Shadow::Live;
        }
    }

    /// Whether the document has the text that the disk holds.
    ///
    /// # Panics
    /// When the document is broken.
    pub fn is_clean(&self, doc: &Document) -> bool {
        self.base.as_ref().is_some_and(|base| match base.shadow {
            Shadow::Live => true,
            _ => *base.text == *doc.text(),
        })
    }

    /// Merges the text found in the file. Returns the update to log and broadcast, or `None`
    /// when the document has nothing new to say about it (an echo, or a text already merged).
    ///
    /// `fresh_client` is a random client id that was never used; it is taken when the last
    /// ingest's id cannot go on.
    ///
    /// # Errors
    /// [`Rejected::Broken`] when the document or its shadow fails; the document then has to
    /// be loaded again.
    pub fn ingest(
        &mut self,
        doc: &mut Document,
        disk_text: &str,
        fresh_client: u64,
        now_ms: u64,
    ) -> Result<Option<Vec<u8>>, Rejected> {
        if let Some(writing) = self.writing.take_if(|version| *version.text == *disk_text) {
            // Our own write, seen before its answer. The answer may still come.
            self.set_base(writing.clone(), now_ms);
            self.writing = Some(writing);
            return Ok(None);
        }
        if self.base_text().is_some_and(|base| **base == *disk_text) {
            return Ok(None);
        }
        self.forget_old(now_ms);
        let doc_text = doc.text();
        if doc_text == *disk_text {
            self.retire_writing(now_ms);
            self.base = Some(Version { text: disk_text.into(), shadow: Shadow::Live });
            return Ok(None);
        }
        if let Some(base) = self.base.as_mut().filter(|base| *base.text == *doc_text) {
            // Edited and edited back: the program has seen this text, whoever typed it last.
            base.shadow = Shadow::Live;
        }
        self.note_edit(doc)?;
        self.retire_writing(now_ms);
        let (seen, edits, hidden) = match self.explain(disk_text, now_ms) {
            Some((seen, edits)) => (seen, edits, Vec::new()),
            None => {
                let (inserts, deletes) = edits::union(&doc_text, disk_text);
                let seen = Seen { text: doc_text.into(), state: doc.encode_state()?.into() };
                (seen, inserts, deletes)
            }
        };
        let mut replica = self.replica(doc, &seen, fresh_client)?;
        let update = replica.edit(&edits)?;
        if let Some(update) = &update {
            doc.apply_own(update, replica.client_id())?;
        }
        // Deletions that only the shadow makes, so that it has the disk's text.
        replica.edit(&hidden)?;
        let shadow = if doc.len_utf16() == replica.len_utf16() && doc.text() == *disk_text {
            Shadow::Live
        } else {
            Shadow::State(replica.encode_state()?.into())
        };
        // What a program replaced is no candidate any more: a later program that brings it back
        // (a checkout of the branch before) means it.
        self.base = Some(Version { text: disk_text.into(), shadow });
        Ok(update)
    }

    /// Which version of the file the program must have read, and what it changed; `None` when
    /// no document with the base's text is known.
    fn explain(&self, disk_text: &str, now_ms: u64) -> Option<(Seen, Vec<Edit>)> {
        let base = self.base.as_ref()?;
        let Shadow::State(state) = &base.shadow else { return None };
        // Lines, not characters: two different lines share letters by chance.
        let weight = |old: &str, new: &str| {
            lines::hunks(old, new).iter().map(|(old, new)| (old.len() + new.len()) as u64).sum()
        };
        let edits = edits::diff(&base.text, disk_text);
        let from_base: u64 = weight(&base.text, disk_text);
        let mut best = (from_base, &base.text, state, edits);
        let candidates = if base.text.len() > LARGE_TEXT { 2 } else { RING };
        let (mut least, mut in_vain) = (from_base, 0);
        for earlier in self.earlier.iter().rev().take(candidates) {
            let Shadow::State(state) = &earlier.version.shadow else { continue };
            let changed: u64 = weight(&earlier.version.text, disk_text);
            if changed < least {
                (least, in_vain) = (changed, 0);
            } else {
                in_vain += 1;
                if in_vain == PATIENCE {
                    break;
                }
            }
            if changed >= best.0 {
                continue;
            }
            let is_recent = now_ms.saturating_sub(earlier.replaced_ms) <= RECENT_MS;
            let told = Told::of(&earlier.version.text, &base.text, disk_text);
            if told.newer > told.older {
                continue;
            }
            let is_explained = if is_recent && earlier.offered {
                // Not on the way from the base to what was found, but beside it.
                told.older > 0
            } else if is_recent {
                // On the way from the base to what was found: the program would have had to
                // take back exactly what was written in between.
                let since: u64 = weight(&earlier.version.text, &base.text);
                changed + since <= from_base + from_base / 8
                    || (told.newer == 0 && 2 * (from_base - changed) >= told.only_newer)
            } else {
                changed > 0 && changed * MUCH_CLOSER <= from_base
            };
            if is_explained {
                let edits = edits::diff(&earlier.version.text, disk_text);
                best = (changed, &earlier.version.text, state, edits);
            }
        }
        let (_, text, state, edits) = best;
        Some((Seen { text: text.clone(), state: state.clone() }, edits))
    }

    /// A replica of the document at `state` that writes with the disk's client id: the last
    /// one if the state has all that was written with it, else a new one. (An id must never
    /// write two different things at one clock.)
    fn replica(
        &mut self,
        doc: &Document,
        seen: &Seen,
        fresh_client: u64,
    ) -> Result<Document, Rejected> {
        if let Some(client) = self.client {
            let replica = seen.replica(client)?;
            if replica.clock(client) == doc.clock(client) {
                return Ok(replica);
            }
        }
        let mut client = fresh_client & MAX_CLIENT_ID;
        while doc.clock(client) > 0 || client == doc.client_id() {
            client = (client + 1) & MAX_CLIENT_ID;
        }
        self.client = Some(client);
        seen.replica(client)
    }

    fn set_base(&mut self, version: Version, now_ms: u64) {
        let Some(old) = self.base.replace(version) else { return };
        let is_kept = matches!(old.shadow, Shadow::State(_))
            && self.base_text().is_some_and(|text| *text != old.text);
        if is_kept {
            self.earlier.push_back(Earlier { version: old, replaced_ms: now_ms, offered: false });
        }
        self.forget_old(now_ms);
    }

    /// A write that did not land, or of which nobody knows: to be put in, it was at its path for a
    /// moment, and a program may have read it then. Taken for a program's own text, what people
    /// typed would be there twice.
    fn retire_writing(&mut self, now_ms: u64) {
        if let Some(version) = self.writing.take()
            && matches!(version.shadow, Shadow::State(_))
        {
            self.earlier.push_back(Earlier { version, replaced_ms: now_ms, offered: true });
            self.forget_old(now_ms);
        }
    }

    fn forget_old(&mut self, now_ms: u64) {
        self.earlier.retain(|earlier| now_ms.saturating_sub(earlier.replaced_ms) <= RING_MS);
        let size = |earlier: &Earlier| {
            let state = match &earlier.version.shadow {
                Shadow::State(state) => state.len(),
                _ => 0,
            };
            earlier.version.text.len() + state
        };
        while self.earlier.len() > RING || self.earlier.iter().map(size).sum::<usize>() > RING_BYTES
        {
            self.earlier.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
