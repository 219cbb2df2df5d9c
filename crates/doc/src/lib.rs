//! The documents of a repl: pure data, no IO, no clock, no randomness.
//!
//! [`Document`] is one text file as a Yjs document (`doc.getText("content")`), on yrs. Bytes
//! from outside reach yrs only through three doors, in this order:
//!
//! 1. the *scan* ([`scan`]): the update is structurally what a text document can contain,
//!    and every count in it is paid for by bytes;
//! 2. the *gate*: everything the update builds on is known, so that nothing is ever left
//!    pending inside yrs, whose out-of-order integration is not reliable;
//! 3. `catch_unwind`, for what the first two did not foresee.
//!
//! Around it: the y-protocols codec ([`sync`]), who is where ([`awareness`]), bytes of a file
//! to text and back ([`text`]), merging what programs write to disk ([`DiskMerge`]), and
//! documents that only the server writes ([`SharedMap`]).

pub mod awareness;
mod disk;
mod document;
mod edits;
mod gate;
mod known;
mod ledger;
mod lib0;
mod lines;
mod map;
mod outcome;
mod parts;
mod ranges;
mod scan;
pub mod sync;
#[cfg(test)]
mod test_peer;
pub mod text;
mod yrs_door;

pub use disk::DiskMerge;
pub use document::{Document, Piece};
pub use ledger::{Brought, Clocks, Ledger, with_deletions};
pub use map::SharedMap;
pub use outcome::{Applied, Rejected, Unstorable};
pub use scan::{MAX_CLIENT_ID, ROOT, Scan, ScanError, scan};
