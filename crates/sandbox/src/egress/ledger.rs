//! Bytes by repl, host and port, since the server's start.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use tandem_proto::ReplId;
use tandem_proto::egress::EgressHost;

/// Lines of one repl; what is above is in its sums alone.
const MAX_LINES: usize = 256;
/// Repls that are remembered; the one that was longest without traffic goes first.
const MAX_REPLS: usize = 10_000;

/// Bytes out and in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    pub(super) sent: u64,
    pub(super) received: u64,
}

impl Bytes {
    fn add(&mut self, more: Self) {
        self.sent = self.sent.saturating_add(more.sent);
        self.received = self.received.saturating_add(more.received);
    }
}

/// One repl's account.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) since_ms: u64,
    pub(super) sum: Bytes,
    pub(super) refused: u64,
    lines: HashMap<(String, u16), Bytes>,
    last_used: u64,
}

impl Account {
    pub(super) fn add_line(&mut self, host: &str, port: u16, more: Bytes) {
        if more == Bytes::default() {
            return;
        }
        // Looked up by an owned key: a line is new at most once.
        let key = (host.to_owned(), port);
        if let Some(line) = self.lines.get_mut(&key) {
            line.add(more);
        } else if self.lines.len() < MAX_LINES {
            self.lines.insert(key, more);
        }
    }

    pub(super) fn add(&mut self, more: Bytes) {
        self.sum.add(more);
    }

    /// The most busy first.
    pub(super) fn hosts(&self) -> Vec<EgressHost> {
        let mut hosts: Vec<EgressHost> = self
            .lines
            .iter()
            .map(|((host, port), bytes)| EgressHost {
                host: host.clone(),
                port: *port,
                sent: bytes.sent,
                received: bytes.received,
            })
            .collect();
        hosts.sort_by_key(|line| std::cmp::Reverse(line.sent.saturating_add(line.received)));
        hosts
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    accounts: HashMap<ReplId, Account>,
    uses: u64,
}

impl Ledger {
    pub(super) fn account(&self, repl: ReplId) -> Option<&Account> {
        self.accounts.get(&repl)
    }

    /// The repl's account, opened if need be.
    pub(super) fn open(&mut self, repl: ReplId) -> &mut Account {
        self.uses += 1;
        if self.accounts.len() >= MAX_REPLS && !self.accounts.contains_key(&repl) {
            let oldest = self.accounts.iter().min_by_key(|(_, account)| account.last_used);
            if let Some(oldest) = oldest.map(|(repl, _)| *repl) {
                self.accounts.remove(&oldest);
            }
        }
        let account = self
            .accounts
            .entry(repl)
            .or_insert_with(|| Account { since_ms: wall_ms(), ..Account::default() });
        account.last_used = self.uses;
        account
    }
}

fn wall_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_repls_are_bounded() {
        let mut ledger = Ledger::default();
        let repl = ReplId::from_random([1; 10]);
        let one = Bytes { sent: 1, received: 2 };
        for port in 0..1000 {
            ledger.open(repl).add_line("example.org", port, one);
        }
        ledger.open(repl).add_line("example.org", 3, one);
        ledger.open(repl).add_line("nothing", 3, Bytes::default());
        let hosts = ledger.account(repl).unwrap().hosts();
        assert_eq!(hosts.len(), MAX_LINES);
        assert_eq!((hosts[0].port, hosts[0].sent, hosts[0].received), (3, 2, 4));
        for number in 0..=MAX_REPLS as u64 {
            let mut random = [2; 10];
            random[..8].copy_from_slice(&number.to_be_bytes());
            ledger.open(ReplId::from_random(random));
        }
        assert_eq!(ledger.accounts.len(), MAX_REPLS);
        assert!(ledger.account(repl).is_none());
    }
}
