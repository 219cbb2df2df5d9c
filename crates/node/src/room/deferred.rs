//! What waits for the log to reach the disk: acks above all. Invariant 3: nothing here happens
//! early, and nothing after the lease could have been taken by another node.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tandem_proto::{FileId, Lsn};

use super::{PeerId, Room};

/// What to do when a position is durable.
pub enum Action {
    /// Tell the author.
    Ack {
        /// Whom.
        peer: PeerId,
        /// Which document.
        file: FileId,
        /// Its number in the peer's count.
        seq: u64,
    },
    /// Answer a state vector.
    Answer {
        /// Whom.
        peer: PeerId,
        /// What the peer calls the document.
        address: Arc<str>,
        /// What the peer has.
        state_vector: Bytes,
    },
    /// Show an edit of the server itself.
    Show {
        /// Which document.
        file: FileId,
        /// The edit.
        update: Bytes,
    },
    /// Anything else.
    Then(Box<dyn FnOnce(&mut Room) + Send>),
}

/// Actions by position, oldest first.
#[derive(Default)]
pub struct Deferred {
    queue: VecDeque<(Lsn, Action)>,
}

impl Deferred {
    /// Adds an action. Positions never decrease, because they come from one log.
    pub fn push(&mut self, lsn: Lsn, action: Action) {
        let lsn = self.queue.back().map_or(lsn, |(last, _)| lsn.max(*last));
        self.queue.push_back((lsn, action));
    }

    /// The next action that may happen.
    pub fn pop(&mut self, durable: Lsn) -> Option<Action> {
        if self.queue.front()?.0 <= durable {
            self.queue.pop_front().map(|(_, action)| action)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_happens_before_its_position() {
        let mut deferred = Deferred::default();
        deferred.push(Lsn(5), Action::Ack { peer: PeerId(1), file: FileId::ROOT, seq: 1 });
        deferred.push(Lsn(4), Action::Ack { peer: PeerId(1), file: FileId::ROOT, seq: 2 });
        assert!(deferred.pop(Lsn(4)).is_none());
        assert!(matches!(deferred.pop(Lsn(5)), Some(Action::Ack { seq: 1, .. })));
        assert!(matches!(deferred.pop(Lsn(5)), Some(Action::Ack { seq: 2, .. })));
        assert!(deferred.pop(Lsn(9)).is_none());
    }
}
