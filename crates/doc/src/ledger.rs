//! What each update of a history brought, counted without yrs: new ranges of clocks, and how much
//! text was written and removed. Updates that are met twice count once.

use std::ops::Range;

use crate::known::Known;
use crate::lib0::write_number;
use crate::scan::{ScanError, scan};

/// Clocks of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clocks {
    /// The Yjs client id.
    pub client: u64,
    /// Which of its clocks.
    pub range: Range<u32>,
}

/// What an update brought that none before it had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brought {
    /// New blocks.
    pub written: Vec<Clocks>,
    /// Newly deleted clocks.
    pub removed: Vec<Clocks>,
    /// UTF-16 units of new text.
    pub inserted: u64,
    /// UTF-16 units newly deleted.
    pub deleted: u64,
}

impl Brought {
    /// Whether there was nothing new.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty() && self.removed.is_empty()
    }
}

/// What the updates so far brought.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    known: Known,
}

impl Ledger {
    /// Takes an update in and says what was new about it.
    ///
    /// # Errors
    /// When it is not an update of a text document.
    pub fn note(&mut self, update: &[u8]) -> Result<Brought, ScanError> {
        let scan = scan(update)?;
        let mut brought = Brought::default();
        for run in &scan.runs {
            let range = run.start.max(self.known.clock(run.client))..run.end;
            if !range.is_empty() {
                brought.written.push(Clocks { client: run.client, range });
            }
        }
        brought.inserted = scan.text_units.min(self.known.new_clocks(&scan));
        for run in &scan.runs {
            self.known.advance(run.client, run.end);
        }
        for deletion in &scan.deletions {
            for range in self.known.not_deleted(deletion) {
                brought.deleted += u64::from(range.end - range.start);
                self.known.delete(deletion.client, range.clone());
                brought.removed.push(Clocks { client: deletion.client, range });
            }
        }
        Ok(brought)
    }

    /// The clocks that are known, as a state vector (v1).
    pub fn state_vector(&self) -> Vec<u8> {
        self.known.encode_state_vector()
    }
}

/// Replaces the deletions of an update by `removed`: a difference of two states names all
/// deletions ever made, of which a history needs the new ones.
///
/// # Errors
/// When `update` is not an update of a text document.
pub fn with_deletions(update: &[u8], removed: &[Clocks]) -> Result<Vec<u8>, ScanError> {
    let scan = scan(update)?;
    let mut out = update[..scan.deletions_at].to_vec();
    let mut sorted: Vec<&Clocks> = removed.iter().filter(|it| !it.range.is_empty()).collect();
    sorted.sort_by_key(|it| (it.client, it.range.start));
    let by_client: Vec<&[&Clocks]> =
        sorted.chunk_by(|one, next| one.client == next.client).collect();
    write_number(&mut out, by_client.len() as u64);
    for all in by_client {
        let mut ranges = crate::ranges::Ranges::default();
        for clocks in all {
            ranges.insert(clocks.range.clone());
        }
        write_number(&mut out, all[0].client);
        write_number(&mut out, ranges.iter().count() as u64);
        for range in ranges.iter() {
            write_number(&mut out, u64::from(range.start));
            write_number(&mut out, u64::from(range.end - range.start));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Document;

    #[test]
    fn counts_what_is_new_once() {
        let mut doc = Document::new(7);
        let mut ledger = Ledger::default();
        let first = doc.replace("hello").unwrap().unwrap();
        let brought = ledger.note(&first).unwrap();
        assert_eq!((brought.inserted, brought.deleted), (5, 0));
        assert_eq!(brought.written, vec![Clocks { client: 7, range: 0..5 }]);
        assert!(ledger.note(&first).unwrap().is_empty());
        let second = doc.replace("help!").unwrap().unwrap();
        let brought = ledger.note(&second).unwrap();
        assert_eq!((brought.inserted, brought.deleted), (2, 2));
        let all = doc.encode_state().unwrap();
        assert!(ledger.note(&all).unwrap().is_empty());
        assert_eq!(ledger.state_vector(), doc.state_vector());
        assert!(ledger.note(&[9, 9, 9]).is_err());
    }

    #[test]
    fn a_difference_with_the_new_deletions_alone_leads_to_the_same_text() {
        let mut doc = Document::new(7);
        let mut ledger = Ledger::default();
        doc.replace("one two three").unwrap();
        doc.replace("one three").unwrap();
        let before = doc.encode_state().unwrap();
        ledger.note(&before).unwrap();
        let vector = doc.state_vector();
        doc.replace("one three four").unwrap();
        doc.replace("three four").unwrap();
        let difference = doc.encode_diff(&vector).unwrap();
        let removed = ledger.clone().note(&difference).unwrap().removed;
        let slim = with_deletions(&difference, &removed).unwrap();
        assert!(slim.len() < difference.len());
        let mut other = Document::load(9, &before).unwrap();
        other.merge_stored(&slim).unwrap();
        assert_eq!(other.text(), "three four");
        assert_eq!(other.encode_diff(&vector).unwrap(), difference);
    }
}
