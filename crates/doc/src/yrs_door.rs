//! The only place where bytes and edits enter yrs. A panic inside yrs is caught here and the
//! document is given up: it is neither read, nor committed, nor freed afterwards, because a
//! half-done integration must not be walked again.

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use yrs::updates::decoder::Decode;
use yrs::{
    Any, ClientID, Doc, IdSet, OffsetKind, Options, Out, ReadTxn, Snapshot, StateVector, Text,
    TextRef, Transact, TransactionMut, Update,
};

/// What a transaction did, by client.
#[derive(Debug, Default)]
pub(crate) struct Effect {
    pub(crate) inserted: Vec<(u64, std::ops::Range<u32>)>,
    pub(crate) deleted: Vec<(u64, std::ops::Range<u32>)>,
    /// yrs kept something back: the gate and yrs disagree.
    pub(crate) pending: bool,
}

/// yrs panicked or refused what the scan and the gate let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

pub(crate) fn new_doc(client_id: u64) -> Doc {
    let mut options = Options::with_client_id(ClientID::new(client_id));
    options.offset_kind = OffsetKind::Utf16;
    Doc::with_options(options)
}

/// Applies a scanned and admitted update.
pub(crate) fn apply(doc: &Doc, update: &[u8]) -> Result<Effect, Broken> {
    guarded(doc, |txn| {
        let update = Update::decode_v1(update).map_err(|_| Broken)?;
        txn.apply_update(update).map_err(|_| Broken)?;
        let effect = effect(txn);
        txn.commit();
        Ok(effect)
    })?
}

/// Applies the pieces of a scanned and admitted update as long as `keep_going` says so;
/// `None` when it did not. The document is good for nothing then.
pub(crate) fn apply_pieces(
    doc: &Doc,
    pieces: impl Iterator<Item = Vec<u8>>,
    keep_going: &mut dyn FnMut() -> bool,
) -> Result<Option<Effect>, Broken> {
    guarded(doc, |txn| {
        for piece in pieces {
            if !keep_going() {
                return Ok(None);
            }
            let update = Update::decode_v1(&piece).map_err(|_| Broken)?;
            txn.apply_update(update).map_err(|_| Broken)?;
        }
        Ok(Some(effect(txn)))
    })?
}

/// Runs a local edit and returns it as an update, or `None` when it changed nothing.
pub(crate) fn edit(
    doc: &Doc,
    change: impl FnOnce(&mut TransactionMut<'_>),
) -> Result<Option<(Vec<u8>, Effect)>, Broken> {
    guarded(doc, |txn| {
        change(txn);
        if !txn.has_changes() {
            return None;
        }
        let effect = effect(txn);
        // After the commit, so that what it merges is encoded merged.
        txn.commit();
        Some((txn.encode_update_v1(), effect))
    })
}

/// The visible text with the client and clock of each block.
pub(crate) fn pieces(doc: &Doc, text: &TextRef) -> Result<Vec<(u64, u32, String)>, Broken> {
    guarded(doc, |txn| {
        let now = txn.snapshot();
        // Against an empty document every visible block counts as added, and says its id.
        let diff = text.diff_range(txn, Some(&now), Some(&Snapshot::default()), |change| change.id);
        diff.into_iter()
            .filter_map(|piece| match (piece.insert, piece.ychange) {
                (Out::Any(Any::String(text)), Some(id)) => {
                    Some((id.client.get(), id.clock, text.to_string()))
                }
                _ => None,
            })
            .collect()
    })
}

/// Everything, or what a peer with these clocks lacks.
pub(crate) fn encode(doc: &Doc, clocks: &[(u64, u32)]) -> Result<Vec<u8>, Broken> {
    let state: StateVector =
        clocks.iter().map(|&(client, clock)| (ClientID::new(client), clock)).collect();
    let txn = doc.try_transact().map_err(|_| Broken)?;
    catch_unwind(AssertUnwindSafe(|| txn.encode_diff_v1(&state))).map_err(|_| Broken)
}

fn guarded<R>(doc: &Doc, work: impl FnOnce(&mut TransactionMut<'_>) -> R) -> Result<R, Broken> {
    let txn = doc.try_transact_mut().map_err(|_| Broken)?;
    // Dropping a transaction commits it. While a panic unwinds, that could panic again and
    // abort the process; after one, it would walk a broken structure. So it is leaked then.
    let mut txn = ManuallyDrop::new(txn);
    let result = catch_unwind(AssertUnwindSafe(|| {
        let result = work(&mut txn);
        txn.commit();
        result
    }))
    .map_err(|_| Broken)?;
    drop(ManuallyDrop::into_inner(txn));
    Ok(result)
}

fn effect(txn: &TransactionMut<'_>) -> Effect {
    Effect {
        inserted: ranges(txn.insert_set()),
        deleted: ranges(txn.delete_set()),
        pending: txn.has_missing_updates(),
    }
}

fn ranges(set: &IdSet) -> Vec<(u64, std::ops::Range<u32>)> {
    set.iter()
        .flat_map(|(client, ranges)| {
            let client = client.get();
            ranges.into_iter().map(move |range| (client, range.clone())).collect::<Vec<_>>()
        })
        .collect()
}
