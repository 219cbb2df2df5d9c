//! What everybody typed, and what the server promised about it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who holds a token beside the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// A person who keeps a copy over disconnections.
    Person,
    /// Nobody: a browser that was closed for good.
    Nobody,
    /// A program wrote it into a file of the sandbox.
    Disk,
}

/// What is known of one line that somebody wrote, unlike any other.
#[derive(Debug, Clone)]
pub(super) struct Token {
    /// Which file.
    pub(super) slot: usize,
    /// Who typed it.
    pub(super) author: String,
    pub(super) holder: Holder,
    /// The server said that it is fsynced, or the disk of the sandbox has it.
    pub(super) acked: bool,
    /// The server said that it is in the blob store.
    pub(super) stored: bool,
    /// It was deleted again: it may be there or not.
    pub(super) removed: bool,
}

/// The book of all tokens of an episode.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    tokens: BTreeMap<String, Token>,
    violations: Vec<String>,
    restarts: u64,
}

/// How the book stands at rest.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) lost: Vec<String>,
    pub(super) doubled: Vec<String>,
    pub(super) acked: usize,
    pub(super) typed: usize,
    /// Deleted by a person, and there again because a program had read the text before.
    pub(super) returned: usize,
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn typed(&self, token: &str, slot: usize, author: &str, holder: Holder) {
        let author = author.to_owned();
        let (acked, stored, removed) = (false, false, false);
        let entry = Token { slot, author, holder, acked, stored, removed };
        self.book().tokens.insert(token.to_owned(), entry);
    }

    pub(super) fn acked(&self, token: &str) {
        if let Some(token) = self.book().tokens.get_mut(token) {
            token.acked = true;
        }
    }

    pub(super) fn stored(&self, token: &str) {
        if let Some(token) = self.book().tokens.get_mut(token) {
            (token.acked, token.stored) = (true, true);
        }
    }

    pub(super) fn removed(&self, token: &str) {
        if let Some(token) = self.book().tokens.get_mut(token) {
            token.removed = true;
        }
    }

    /// Something that must not be, whenever it is seen.
    pub(super) fn violated(&self, what: String) {
        let mut book = self.book();
        if book.violations.len() < 20 {
            book.violations.push(what);
        }
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.book().violations.clone()
    }

    /// A person had to begin a document anew.
    pub(super) fn restarted(&self) {
        self.book().restarts += 1;
    }

    pub(super) fn restarts(&self) -> u64 {
        self.book().restarts
    }

    /// Lines of this author that are not deleted.
    pub(super) fn of(&self, author: &str) -> Vec<String> {
        let book = self.book();
        let own = book.tokens.iter().filter(|(_, token)| token.author == author && !token.removed);
        own.map(|(name, _)| name.clone()).collect()
    }

    /// This author's browser is gone, and its copy with it.
    pub(super) fn died(&self, author: &str) {
        for token in self.book().tokens.values_mut().filter(|token| token.author == author) {
            token.holder = Holder::Nobody;
        }
    }

    /// The machine is lost: what only it had is not owed any more.
    pub(super) fn machine_lost(&self) {
        let owed = |token: &Token| token.stored || token.holder == Holder::Person;
        self.book().tokens.retain(|_, token| owed(token) || token.removed);
    }

    /// Compares with the texts of all files, everybody being back.
    pub(super) fn account(&self, texts: &[String]) -> Account {
        let mut everywhere: BTreeMap<&str, usize> = BTreeMap::new();
        let mut account = Account::default();
        for text in texts {
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for line in text.lines() {
                *counts.entry(line.trim()).or_default() += 1;
            }
            // In two files a line may stand twice: one may be the other's copy.
            for (line, count) in counts {
                let most = everywhere.entry(line).or_default();
                *most = count.max(*most);
            }
        }
        let book = self.book();
        for (name, token) in &book.tokens {
            let count = everywhere.get(name.as_str()).copied().unwrap_or(0);
            account.typed += 1;
            account.acked += usize::from(token.acked);
            let is_owed = token.acked || token.holder == Holder::Person;
            if count > 1 {
                account.doubled.push(format!("{name} ×{count} in file {}", token.slot));
            } else if token.removed {
                account.returned += count;
            } else if count == 0 && is_owed {
                account.lost.push(format!("{name} ({token:?})"));
            }
        }
        account
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_depends_on_who_holds_it() {
        let ledger = Ledger::default();
        ledger.typed("held", 0, "a", Holder::Person);
        ledger.typed("acked", 0, "b", Holder::Person);
        ledger.typed("unacked", 0, "b", Holder::Person);
        ledger.acked("acked");
        ledger.died("b");
        let lost = |texts: &[&str]| {
            let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
            let account = ledger.account(&texts);
            (account.lost.len(), account.doubled.len())
        };
        assert_eq!(lost(&["held\nacked\n"]), (0, 0));
        assert_eq!(lost(&["held\n", "acked\nheld\n"]), (0, 0));
        assert_eq!(lost(&["held\nacked\nheld\n"]), (0, 1));
        assert_eq!(lost(&["unacked\n"]), (2, 0));
        ledger.machine_lost();
        assert_eq!(lost(&["held\n"]), (0, 0), "the blob store never had it, nobody holds it");
        assert_eq!(lost(&["\n"]), (1, 0));
    }
}
