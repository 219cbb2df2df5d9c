//! One person's copy of a text document.

use anyhow::{Context, Result};
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{
    Doc, GetString, OffsetKind, Options, ReadTxn, StateVector, Text, TextRef, Transact, Update,
};

/// A Yjs document whose text is `content`, as every client sees it.
pub struct Replica {
    document: Doc,
    text: TextRef,
}

impl Default for Replica {
    fn default() -> Self {
        let document =
            Doc::with_options(Options { offset_kind: OffsetKind::Utf16, ..Options::default() });
        let text = document.get_or_insert_text("content");
        Self { document, text }
    }
}

impl Replica {
    /// The Yjs client id that this copy writes with.
    pub fn client(&self) -> u64 {
        self.document.client_id().get()
    }

    /// The text now.
    pub fn text(&self) -> String {
        self.text.get_string(&self.document.transact())
    }

    /// Length in UTF-16 units, which positions count.
    pub fn length(&self) -> u32 {
        self.text.len(&self.document.transact())
    }

    /// Types `text` at `position` and returns the edit as an update.
    pub fn insert(&self, position: u32, text: &str) -> Vec<u8> {
        let mut transaction = self.document.transact_mut();
        self.text.insert(&mut transaction, position, text);
        transaction.encode_update_v1()
    }

    /// Types `text` at the end and returns the edit as an update.
    pub fn append(&self, text: &str) -> Vec<u8> {
        self.insert(self.length(), text)
    }

    /// Removes `length` units at `position` and returns the edit as an update.
    pub fn remove(&self, position: u32, length: u32) -> Vec<u8> {
        let mut transaction = self.document.transact_mut();
        self.text.remove_range(&mut transaction, position, length);
        transaction.encode_update_v1()
    }

    /// Takes in what somebody else did.
    ///
    /// # Errors
    /// When it is not a well-formed update.
    pub fn apply(&self, update: &[u8]) -> Result<()> {
        let update = Update::decode_v1(update).context("decode an update")?;
        self.document.transact_mut().apply_update(update).context("apply an update")
    }

    /// What this copy holds, encoded.
    pub fn state_vector(&self) -> Vec<u8> {
        self.document.transact().state_vector().encode_v1()
    }

    /// What the holder of `state_vector` lacks.
    ///
    /// # Errors
    /// When the state vector is malformed.
    pub fn difference(&self, state_vector: &[u8]) -> Result<Vec<u8>> {
        let state_vector = StateVector::decode_v1(state_vector).context("decode a state vector")?;
        Ok(self.document.transact().encode_state_as_update_v1(&state_vector))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_copies_converge() -> Result<()> {
        let (a, b) = (Replica::default(), Replica::default());
        b.apply(&a.insert(0, "héllo 😀"))?;
        a.apply(&b.append("!"))?;
        b.apply(&a.remove(0, 1))?;
        assert_eq!(a.text(), "éllo 😀!");
        assert_eq!(a.text(), b.text());
        Ok(())
    }
}
