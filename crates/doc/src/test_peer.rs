//! An honest client for tests: a plain yrs document, as stock clients are plain Yjs documents.

use yrs::updates::decoder::Decode;
use yrs::{Doc, GetString, ReadTxn, StateVector, Text, TextRef, Transact, Update};

use crate::yrs_door::new_doc;

pub(crate) struct Peer {
    doc: Doc,
    text: TextRef,
}

impl Peer {
    pub(crate) fn new(client_id: u64) -> Self {
        let doc = new_doc(client_id);
        let text = doc.get_or_insert_text(crate::ROOT);
        Self { doc, text }
    }

    /// Replaces `delete` units at `at` and returns the update that a client would send.
    pub(crate) fn edit(&self, at: u32, delete: u32, insert: &str) -> Vec<u8> {
        let mut txn = self.doc.transact_mut();
        if delete > 0 {
            self.text.remove_range(&mut txn, at, delete);
        }
        self.text.insert(&mut txn, at, insert);
        txn.commit();
        txn.encode_update_v1()
    }

    pub(crate) fn apply(&self, update: &[u8]) {
        let update = Update::decode_v1(update).expect("an update");
        self.doc.transact_mut().apply_update(update).expect("applies");
    }

    pub(crate) fn text(&self) -> String {
        self.text.get_string(&self.doc.transact())
    }

    pub(crate) fn state_vector(&self) -> Vec<u8> {
        use yrs::updates::encoder::Encode;
        self.doc.transact().state_vector().encode_v1()
    }

    pub(crate) fn diff(&self, state_vector: &[u8]) -> Vec<u8> {
        let state = StateVector::decode_v1(state_vector).expect("a state vector");
        self.doc.transact().encode_diff_v1(&state)
    }
}

/// Bytes from hex digits.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex"))
        .collect()
}
