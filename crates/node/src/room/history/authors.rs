//! Whose an edit is: the member to whom its Yjs client id was bound when it was first seen, never
//! whoever happened to send it.
//!
//! A peer may send what others wrote: after a crash, everybody sends what the server lost. So a
//! binding is certain only when the connection that sends the edit has announced that client as its
//! own (a caret); otherwise it holds until somebody does that.

use serde::{Deserialize, Serialize};
use tandem_proto::history::HistoryAuthor;
use tandem_proto::{FileId, Grant, MemberId};
use tandem_store::RecordKind;

use crate::room::{PeerId, Room};

/// An author as logged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoggedAuthor {
    /// The client id; `None` for somebody who has none (an upload).
    pub client: Option<u64>,
    /// Who.
    pub author: HistoryAuthor,
    /// Nothing can change it.
    pub certain: bool,
}

/// The author of what programs write.
pub fn program() -> HistoryAuthor {
    HistoryAuthor {
        id: MemberId::PROGRAM,
        name: "a program".to_owned(),
        colour: "#808080".to_owned(),
    }
}

/// A caller as an author.
pub fn of_grant(grant: &Grant) -> HistoryAuthor {
    HistoryAuthor { id: grant.member, name: grant.name.clone(), colour: grant.colour.clone() }
}

impl Room {
    /// Who made an edit that brought something new of the clients `fresh`. Binds those that are
    /// not bound.
    pub(in crate::room) fn author_of(
        &mut self,
        id: PeerId,
        file: FileId,
        fresh: &[u64],
    ) -> Option<MemberId> {
        let sender = of_grant(&self.peers.get(id)?.grant);
        let mut author = None;
        for client in fresh {
            let document = self.documents.get_mut(file)?;
            let certain = document.awareness.is_announced_by(*client, id.0);
            let bound = document.authors.get(*client);
            let is_known = bound.is_some_and(|bound| bound.id == sender.id)
                && (!certain || document.authors.is_certain(*client));
            let may_change = bound.is_none() || (certain && !document.authors.is_certain(*client));
            if may_change && !is_known {
                document.authors.bind(*client, &sender, certain);
                self.log_author(file, Some(*client), &sender, certain);
            }
            let bound = self.documents.get(file)?.authors.get(*client).map(|bound| bound.id);
            author = author.or(bound);
        }
        // A deletion alone has no client of its own.
        author.or(Some(sender.id))
    }

    /// Notes the author of an edit that the server makes on somebody's behalf.
    pub(in crate::room) fn note_author(&mut self, file: FileId, author: &HistoryAuthor) {
        let Some(document) = self.documents.get_mut(file) else { return };
        if !document.authors.people().contains(author) {
            document.authors.note(author);
            self.log_author(file, None, author, false);
        }
    }

    fn log_author(
        &mut self,
        file: FileId,
        client: Option<u64>,
        author: &HistoryAuthor,
        certain: bool,
    ) {
        self.history.meet(author);
        let record = LoggedAuthor { client, author: author.clone(), certain };
        match serde_json::to_vec(&record) {
            Ok(payload) => drop(self.log(RecordKind::Author, file, payload.into())),
            Err(error) => {
                tracing::error!(repl = %self.repl, %error, "an author record cannot be encoded");
            }
        }
    }
}
