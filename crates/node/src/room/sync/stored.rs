//! The double tick: an edit is in the blob store, as a part of the shipped log or in a snapshot
//! that a committed manifest names. Invariant 3: never told early.

use tandem_proto::live::AckLevel;
use tandem_proto::{FileId, Lsn};

use crate::room::{PeerId, Room};
use crate::socket::protocol::Protocol;

/// What one peer was told of one document, and what waits to be told. Two numbers are enough,
/// however long the blob store fails: what is fsynced meanwhile joins the second.
#[derive(Debug, Default)]
pub struct StoredEdits {
    told: u64,
    first: Option<(Lsn, u64)>,
    then: Option<(Lsn, u64)>,
}

impl StoredEdits {
    /// The edits up to `seq` are fsynced, at most at position `lsn`.
    fn fsynced(&mut self, lsn: Lsn, seq: u64) {
        if seq <= self.told {
            return;
        }
        match self.first {
            None => self.first = Some((lsn, seq)),
            Some((first, _)) if first == lsn => self.first = Some((lsn, seq)),
            Some(_) => self.then = Some((lsn, seq)),
        }
    }

    /// The log is shipped up to here: what may be told now.
    fn shipped(&mut self, shipped: Lsn) -> Option<u64> {
        let mut news = None;
        while let Some((_, seq)) = self.first.filter(|(lsn, _)| *lsn <= shipped) {
            self.first = self.then.take();
            news = self.newer(seq).or(news);
        }
        news
    }

    /// The edits up to `seq` are in a saved snapshot: what may be told now.
    fn saved(&mut self, seq: u64) -> Option<u64> {
        for waiting in [&mut self.then, &mut self.first] {
            if waiting.is_some_and(|(_, waiting)| waiting <= seq) {
                *waiting = None;
            }
        }
        if self.first.is_none() {
            self.first = self.then.take();
        }
        self.newer(seq)
    }

    fn newer(&mut self, seq: u64) -> Option<u64> {
        let news = seq > self.told;
        self.told = self.told.max(seq);
        news.then_some(seq)
    }

    fn is_waiting(&self) -> bool {
        self.first.is_some()
    }
}

impl Room {
    /// After an ack of level 1: the next level follows the shipped log.
    pub(in crate::room) fn await_shipped(&mut self, id: PeerId, file: FileId, seq: u64) {
        let (durable, shipped) = (*self.durable.borrow(), *self.shipped.borrow());
        if self.protocol(id) != Some(Protocol::Live) {
            return;
        }
        let Some(subscription) = self.subscription_mut(id, file) else { return };
        subscription.stored.fsynced(durable, seq);
        self.awaiting_shipped |= subscription.stored.is_waiting();
        if durable <= shipped {
            // A duplicate: no shipping will follow it.
            self.became_shipped();
        }
    }

    /// The shipped log has grown.
    pub(in crate::room) fn became_shipped(&mut self) {
        let shipped = *self.shipped.borrow_and_update();
        let mut news: Vec<(PeerId, FileId, u64)> = Vec::new();
        let mut waiting = false;
        for (file, document) in self.documents.open_mut() {
            for (peer, subscription) in &mut document.subscribers {
                if let Some(seq) = subscription.stored.shipped(shipped) {
                    news.push((*peer, file, seq));
                }
                waiting |= subscription.stored.is_waiting();
            }
        }
        self.awaiting_shipped = waiting;
        for (peer, file, seq) in news {
            self.send_ack(peer, file, seq, AckLevel::Stored);
        }
    }

    /// A committed manifest names a snapshot with a peer's edits up to `seq`.
    pub(in crate::room) fn became_saved(&mut self, id: PeerId, file: FileId, seq: u64) {
        let subscription = self.subscription_mut(id, file);
        if subscription.is_some_and(|subscription| subscription.stored.saved(seq).is_some()) {
            self.send_ack(id, file, seq, AckLevel::Stored);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_told_before_it_is_shipped_or_saved() {
        let mut stored = StoredEdits::default();
        stored.fsynced(Lsn(10), 1);
        stored.fsynced(Lsn(20), 2);
        stored.fsynced(Lsn(30), 3);
        assert_eq!(stored.shipped(Lsn(9)), None);
        assert_eq!(stored.shipped(Lsn(10)), Some(1));
        assert_eq!(stored.shipped(Lsn(29)), None, "the second joined the third");
        assert_eq!(stored.shipped(Lsn(30)), Some(3));
        assert!(!stored.is_waiting());
        stored.fsynced(Lsn(40), 4);
        stored.fsynced(Lsn(50), 5);
        assert_eq!(stored.saved(4), Some(4));
        assert_eq!(stored.saved(3), None, "never twice, never back");
        assert_eq!(stored.shipped(Lsn(60)), Some(5));
        stored.fsynced(Lsn(60), 5);
        assert!(!stored.is_waiting());
    }
}
