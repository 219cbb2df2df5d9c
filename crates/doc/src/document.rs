//! One text file as a Yjs document. The invariant: whatever arrives, the document either
//! takes all of it or is exactly as before, and a document that yrs broke says so for ever.

use std::collections::HashSet;

use yrs::{Doc, GetString, Text, TextRef, Transact};

use crate::edits::{self, Edit};
use crate::gate;
use crate::known::Known;
use crate::outcome::{Applied, Rejected, Unstorable};
use crate::parts;
use crate::scan::{MAX_CLIENT_ID, ROOT, Scan, ScanError, scan, scan_in_detail, scan_state_vector};
use crate::yrs_door::{self, Broken, Effect};

/// Largest update from a client.
const MAX_UPDATE_BYTES: usize = 8 * 1024 * 1024;
/// Largest stored state; larger than any that grew from updates a client may send.
const MAX_STATE_BYTES: usize = 256 * 1024 * 1024;
/// Longest text a client may make, in UTF-16 units; twice the largest file that becomes a
/// document, so that editing such a file never meets it by accident.
const MAX_TEXT_UNITS: u64 = 4 * 1024 * 1024;
/// Most blocks in an update from a client. Placing a block among others written at the same
/// place costs as many steps as there are others, so blocks are what an attacker would send.
const MAX_UPDATE_BLOCKS: usize = 200_000;
/// Most blocks of a document that clients may add to; a block takes some 200 bytes, and text
/// can be cut into single letters. Beyond it, a new generation is the way on.
const MAX_BLOCKS: usize = 1_000_000;
/// The blocks are counted again when so many may have come since the last count.
const RECOUNT: usize = MAX_BLOCKS / 8;
/// Most clients a document keeps clocks for; every new connection is sent all of them.
const MAX_CLIENTS: usize = 65_536;

/// An update with at most so many new blocks is applied at once.
const SMALL_UPDATE: usize = 64;

/// Who an update comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Client,
    Store,
    Server,
}

/// A piece of a document's text and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The Yjs client id.
    pub client: u64,
    /// The clock of its first UTF-16 unit; the others follow.
    pub clock: u32,
    /// The text.
    pub text: String,
}

/// One text document.
pub struct Document {
    doc: Doc,
    text: TextRef,
    client_id: u64,
    known: Known,
    /// Client ids that only the server writes with.
    reserved: HashSet<u64>,
    unclean: bool,
    broken: bool,
    /// Blocks when they were last counted, and the most that can have come since.
    blocks: (usize, usize),
}

impl std::fmt::Debug for Document {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Document")
            .field("client_id", &self.client_id)
            .field("clients", &self.known.clients())
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

impl Document {
    /// An empty document in which the server writes as `client_id`: a random number below
    /// 2^53 that was never used in this document before. (Larger numbers are cut to 53 bits.)
    pub fn new(client_id: u64) -> Self {
        let client_id = client_id & MAX_CLIENT_ID;
        let doc = yrs_door::new_doc(client_id);
        let text = doc.get_or_insert_text(ROOT);
        Self {
            doc,
            text,
            client_id,
            known: Known::default(),
            reserved: HashSet::from([client_id]),
            unclean: false,
            broken: false,
            blocks: (0, 0),
        }
    }

    /// A document with a stored state.
    ///
    /// # Errors
    /// As [`Document::merge_stored`].
    pub fn load(client_id: u64, update: &[u8]) -> Result<Self, Rejected> {
        let mut document = Self::new(client_id);
        document.merge_stored(update)?;
        Ok(document)
    }

    /// A copy of a document at `state`, in which the server goes on writing as `client_id`.
    pub(crate) fn replica(client_id: u64, state: &[u8]) -> Result<Self, Rejected> {
        let mut document = Self::new(client_id);
        document.take(state, Source::Server)?;
        Ok(document)
    }

    /// Applies an update from a client.
    ///
    /// # Errors
    /// See [`Rejected`]; nothing was applied.
    pub fn apply(&mut self, update: &[u8]) -> Result<Applied, Rejected> {
        if update.len() > MAX_UPDATE_BYTES {
            return Err(Rejected::TooLarge);
        }
        self.take(update, Source::Client)
    }

    /// Like [`Document::apply`], for callers with a clock: a large update is tried on a copy of
    /// the document, for as long as `keep_going` says so (it is asked every few blocks). A
    /// forged update can make yrs work for hours; an honest one of the largest size takes a
    /// second or two.
    ///
    /// # Errors
    /// As [`Document::apply`]; [`Rejected::TooLarge`] when it was stopped.
    pub fn apply_within(
        &mut self,
        update: &[u8],
        mut keep_going: impl FnMut() -> bool,
    ) -> Result<Applied, Rejected> {
        if update.len() > MAX_UPDATE_BYTES {
            return Err(Rejected::TooLarge);
        }
        self.usable()?;
        let scan = scan(update)?;
        if self.new_blocks(&scan) <= SMALL_UPDATE {
            return self.take(update, Source::Client);
        }
        self.take_in_pieces(update, &mut keep_going)
    }

    fn take_in_pieces(
        &mut self,
        update: &[u8],
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Result<Applied, Rejected> {
        let scan = scan_in_detail(update)?;
        self.check_authors(&scan, Source::Client)?;
        let order = gate::admit(&scan, &self.known)?;
        self.check_limits(&scan)?;
        let copy = self.copy_within(keep_going)?;
        let pieces = parts::pieces(update, &scan, &order);
        let effect = yrs_door::apply_pieces(&copy.doc, pieces, keep_going)
            .map_err(|Broken| Rejected::TooLarge)?
            .ok_or(Rejected::TooLarge)?;
        if effect.pending || !self.is_expected(&scan, &effect) {
            return Err(Rejected::TooLarge);
        }
        (self.doc, self.text) = (copy.doc, copy.text);
        self.remember(&scan, &effect);
        Ok(Applied::New)
    }

    /// A copy with the same text and client id, if it can be made in time.
    fn copy_within(&self, keep_going: &mut dyn FnMut() -> bool) -> Result<Self, Rejected> {
        let state = self.encode_state()?;
        let copy = Self::new(self.client_id);
        let scan = scan_in_detail(&state)?;
        let order = gate::admit(&scan, &copy.known)?;
        let pieces = parts::pieces(&state, &scan, &order);
        let loaded = yrs_door::apply_pieces(&copy.doc, pieces, keep_going)?;
        // The copy takes the document's place, so its text must not be another one.
        if loaded.is_some() && copy.text() == self.text() {
            Ok(copy)
        } else {
            Err(Rejected::TooLarge)
        }
    }

    /// Applies a state or update from the log or the blob store. It is scanned and gated like
    /// a client's, but the limits that keep clients in bounds do not lock stored work out.
    ///
    /// # Errors
    /// See [`Rejected`]. [`ScanError::Forged`] means that this document's client id was used
    /// before.
    pub fn merge_stored(&mut self, update: &[u8]) -> Result<Applied, Rejected> {
        if update.len() > MAX_STATE_BYTES {
            return Err(Rejected::TooLarge);
        }
        self.take(update, Source::Store)
    }

    /// Applies an edit that this server made in another replica (the disk's).
    pub(crate) fn apply_own(&mut self, update: &[u8], client: u64) -> Result<Applied, Rejected> {
        self.reserved.insert(client);
        self.take(update, Source::Server)
    }

    fn take(&mut self, update: &[u8], source: Source) -> Result<Applied, Rejected> {
        self.usable()?;
        let mut scan = scan(update)?;
        if self.known.covers(&scan) {
            return Ok(Applied::Known);
        }
        if !scan.collected.is_empty() || self.known.has_collected() {
            scan = scan_in_detail(update)?;
        }
        self.check_authors(&scan, source)?;
        gate::admit(&scan, &self.known)?;
        if source == Source::Client {
            self.check_limits(&scan)?;
        }
        let effect = match yrs_door::apply(&self.doc, update) {
            Ok(effect) => effect,
            Err(Broken) => return Err(self.give_up()),
        };
        if effect.pending || !self.is_expected(&scan, &effect) {
            return Err(self.give_up());
        }
        self.remember(&scan, &effect);
        Ok(Applied::New)
    }

    /// Takes in what an applied update brought.
    fn remember(&mut self, scan: &Scan, effect: &Effect) {
        self.blocks.1 += self.new_blocks(scan);
        self.known.note(effect);
        for deletion in &scan.deletions {
            self.known.delete(deletion.client, deletion.start..deletion.end);
        }
        for range in &scan.collected {
            self.known.collect(range.client, range.start..range.end);
        }
        self.unclean |= scan.unclean;
    }

    /// Nobody but the server writes with the server's client ids.
    fn check_authors(&self, scan: &Scan, source: Source) -> Result<(), Rejected> {
        let is_forged = source != Source::Server
            && scan.runs.iter().any(|run| {
                run.end > self.known.clock(run.client) && self.reserved.contains(&run.client)
            });
        if is_forged { Err(Rejected::Malformed(ScanError::Forged)) } else { Ok(()) }
    }

    fn check_limits(&mut self, scan: &Scan) -> Result<(), Rejected> {
        let new_clients = scan.runs.iter().filter(|run| !self.known.has_client(run.client)).count();
        let new_units = scan.text_units.min(self.known.new_clocks(scan));
        let new_blocks = self.new_blocks(scan);
        let is_too_large = new_blocks > MAX_UPDATE_BLOCKS
            || u64::from(self.len_utf16()) + new_units > MAX_TEXT_UNITS
            || (new_clients > 0 && self.known.clients() + new_clients > MAX_CLIENTS);
        if is_too_large {
            return Err(Rejected::TooLarge);
        }
        if self.blocks.0 + self.blocks.1 + new_blocks > MAX_BLOCKS && self.blocks.1 >= RECOUNT {
            self.blocks = (crate::scan(&self.encode_state()?)?.blocks, 0);
        }
        if self.blocks.0 + self.blocks.1 + new_blocks > MAX_BLOCKS {
            return Err(Rejected::TooLarge);
        }
        Ok(())
    }

    /// The most blocks that an update can add; a deletion can cut one in three.
    fn new_blocks(&self, scan: &Scan) -> usize {
        let blocks = if self.known.covers_blocks(scan) { 0 } else { scan.blocks };
        blocks + 2 * self.known.new_deletions(scan)
    }

    /// Whether yrs integrated exactly the clocks that the gate let through.
    fn is_expected(&self, scan: &Scan, effect: &Effect) -> bool {
        let mut expected: Vec<_> = scan
            .runs
            .iter()
            .map(|run| (run.client, run.start.max(self.known.clock(run.client))..run.end))
            .filter(|(_, range)| !range.is_empty())
            .collect();
        let mut inserted = effect.inserted.clone();
        expected.sort_unstable_by_key(|(client, _)| *client);
        inserted.sort_unstable_by_key(|(client, range)| (*client, range.start));
        expected == inserted
    }

    /// Whether the update brings nothing new; it is not applied either way. (What a read-only
    /// peer sends has to be known.)
    ///
    /// # Errors
    /// When the update is malformed or the document is broken.
    pub fn is_known(&self, update: &[u8]) -> Result<bool, Rejected> {
        self.usable()?;
        Ok(self.known.covers(&scan(update)?))
    }

    /// The clients under whose ids the update brings new text or blocks.
    ///
    /// # Errors
    /// When the update is malformed.
    pub fn new_authors(&self, update: &[u8]) -> Result<Vec<u64>, Rejected> {
        let scan = scan(update)?;
        let is_new = |run: &&crate::scan::Run| run.end > self.known.clock(run.client);
        Ok(scan.runs.iter().filter(is_new).map(|run| run.client).collect())
    }

    /// The text.
    ///
    /// # Panics
    /// When the document is broken: an empty text in its place could be saved over the file.
    pub fn text(&self) -> String {
        assert!(!self.broken, "a broken document has no text");
        let txn = self.doc.transact();
        self.text.get_string(&txn)
    }

    /// The text in pieces, each written by one client in one go.
    ///
    /// # Errors
    /// When the document is or gets broken.
    pub fn pieces(&mut self) -> Result<Vec<Piece>, Rejected> {
        self.usable()?;
        let pieces = yrs_door::pieces(&self.doc, &self.text).map_err(|Broken| self.give_up())?;
        Ok(pieces.into_iter().map(|(client, clock, text)| Piece { client, clock, text }).collect())
    }

    /// The text's length in UTF-16 units.
    ///
    /// # Panics
    /// As [`Document::text`].
    pub fn len_utf16(&self) -> u32 {
        assert!(!self.broken, "a broken document has no text");
        let txn = self.doc.transact();
        self.text.len(&txn)
    }

    /// The client id that the server writes with.
    pub fn client_id(&self) -> u64 {
        self.client_id
    }

    /// Whether an error [`Rejected::Broken`] was returned before.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// The state vector, v1.
    pub fn state_vector(&self) -> Vec<u8> {
        self.known.encode_state_vector()
    }

    /// The first unknown clock of a client.
    pub(crate) fn clock(&self, client: u64) -> u32 {
        self.known.clock(client)
    }

    /// Everything as one update, v1; also the way to compact a document.
    ///
    /// # Errors
    /// When the document is broken.
    pub fn encode_state(&self) -> Result<Vec<u8>, Rejected> {
        self.usable()?;
        Ok(yrs_door::encode(&self.doc, &[])?)
    }

    /// Everything as one update, loaded again and compared: what to store as a snapshot.
    ///
    /// # Errors
    /// [`Unstorable::Diverged`] when the loaded text is another one. Only a forged update can
    /// bring that about (one whose blocks name neighbours that never were). The text that
    /// people see cannot be stored as this history then: start a new generation with it.
    pub fn encode_verified(&self) -> Result<Vec<u8>, Unstorable> {
        let state = self.encode_state().map_err(|_| Unstorable::Broken)?;
        let loaded = Self::replica(self.client_id, &state).map_err(|_| Unstorable::Diverged)?;
        if loaded.text() == self.text() && loaded.state_vector() == self.state_vector() {
            Ok(state)
        } else {
            Err(Unstorable::Diverged)
        }
    }

    /// What a peer with this state vector (v1) lacks, and all deletions.
    ///
    /// # Errors
    /// When the state vector is malformed or the document is broken.
    pub fn encode_diff(&self, state_vector: &[u8]) -> Result<Vec<u8>, Rejected> {
        self.usable()?;
        let clocks = scan_state_vector(state_vector)?;
        Ok(yrs_door::encode(&self.doc, &clocks)?)
    }

    /// Changes the text to `text` with few edits, in the server's name (seed, restore, PUT),
    /// and returns the update, or `None` when the text is the same.
    ///
    /// # Errors
    /// When the document is or gets broken.
    pub fn replace(&mut self, text: &str) -> Result<Option<Vec<u8>>, Rejected> {
        self.usable()?;
        let edits = edits::diff(&self.text(), text);
        self.edit(&edits)
    }

    /// Whether a client wrote something that no text file of ours has: a carriage return, a
    /// NUL. See [`Document::normalize`].
    pub fn needs_normalizing(&self) -> bool {
        self.unclean
    }

    /// Takes carriage returns, NULs and a leading byte order mark out of the text, as an edit
    /// of the server, so that the file on disk reads back as this text. Only looks when
    /// [`Document::needs_normalizing`]; like every edit, it is announced to
    /// [`crate::DiskMerge::note_edit`] first.
    ///
    /// # Errors
    /// When the document is or gets broken.
    pub fn normalize(&mut self) -> Result<Option<Vec<u8>>, Rejected> {
        self.usable()?;
        if !std::mem::take(&mut self.unclean) {
            return Ok(None);
        }
        let edits = edits::cleaning(&self.text());
        self.edit(&edits)
    }

    /// Makes ascending edits in one transaction.
    pub(crate) fn edit(&mut self, edits: &[Edit]) -> Result<Option<Vec<u8>>, Rejected> {
        self.usable()?;
        if edits.is_empty() {
            return Ok(None);
        }
        self.unclean |= edits.iter().any(|edit| !crate::text::is_clean(&edit.insert));
        self.blocks.1 += 3 * edits.len();
        let text = self.text.clone();
        match yrs_door::edit(&self.doc, |txn| text.apply_delta(txn, edits::delta(edits))) {
            Ok(None) => Ok(None),
            Ok(Some((update, effect))) => {
                self.known.note(&effect);
                Ok(Some(update))
            }
            Err(Broken) => Err(self.give_up()),
        }
    }

    fn usable(&self) -> Result<(), Rejected> {
        if self.broken { Err(Rejected::Broken) } else { Ok(()) }
    }

    fn give_up(&mut self) -> Rejected {
        self.broken = true;
        Rejected::Broken
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
