//! What can come of an update or of storing a document, by what the caller has to do next.

use crate::gate::Held;
use crate::scan::ScanError;
use crate::yrs_door::Broken;

/// What came of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It brought something new.
    New,
    /// Everything in it was known.
    Known,
}

/// Why an update was not applied. Except after [`Rejected::Broken`], the document is as it
/// was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It is not an update of a text document. The sender has to start over.
    #[error("malformed update: {0}")]
    Malformed(#[from] ScanError),
    /// It, or the document with it, is over a limit.
    #[error("the update is too large")]
    TooLarge,
    /// It builds on something unknown. Ask the sender for its full difference (step 1); when
    /// that has a gap too, the sender has to start over.
    #[error("the update builds on something unknown")]
    Gap,
    /// yrs failed inside. The document must not be used any more: drop it, make a new one
    /// with a *new* client id, and load what the log and the snapshots hold.
    #[error("the document is broken and has to be loaded again")]
    Broken,
}

/// Why a document has no snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unstorable {
    /// See [`Rejected::Broken`].
    #[error("the document is broken and has to be loaded again")]
    Broken,
    /// Its state does not give its text back.
    #[error("the document's state does not give its text back")]
    Diverged,
}

impl From<Broken> for Rejected {
    fn from(_: Broken) -> Self {
        Self::Broken
    }
}

impl From<Held> for Rejected {
    fn from(held: Held) -> Self {
        match held {
            Held::Gap => Self::Gap,
            Held::Malformed(error) => Self::Malformed(error),
        }
    }
}
