//! What is known of the sandboxes at the router.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use tandem_proto::egress::EgressMode;
use tandem_proto::{ReplId, SandboxId};

use super::ledger::{Bytes, Ledger};
use super::policy::EgressPolicy;
use super::router::{Counts, Sums};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) policy: EgressPolicy,
    /// Why nothing may be reached, whatever the policy was.
    pub(super) broken: Option<String>,
    /// Sandboxes that are to be plugged in, or are.
    pub(super) wanted: HashSet<SandboxId>,
    /// Why there is no network any more, until the server's next start.
    pub(super) lost: Option<String>,
    pub(super) attached: HashMap<SandboxId, Attachment>,
    pub(super) by_address: HashMap<Ipv4Addr, SandboxId>,
    /// Why a repl's sandbox could not be plugged in.
    pub(super) problems: HashMap<ReplId, String>,
    pub(super) ledger: Ledger,
    pub(super) sum: Bytes,
    pub(super) refused: u64,
}

/// One sandbox at the router.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) repl: ReplId,
    pub(super) address: Ipv4Addr,
    pub(super) mode: EgressMode,
    pub(super) guaranteed: u64,
    /// The last counts that are in the ledger.
    pub(super) counted: Counts,
    pub(super) names: HashMap<Ipv4Addr, String>,
    pub(super) allowed: HashMap<Ipv4Addr, Instant>,
}

impl State {
    pub(super) fn detach(&mut self, sandbox: SandboxId) -> bool {
        let Some(attachment) = self.attached.remove(&sandbox) else { return false };
        self.by_address.remove(&attachment.address);
        true
    }

    pub(super) fn at(&mut self, address: Ipv4Addr) -> Option<&mut Attachment> {
        let sandbox = self.by_address.get(&address)?;
        self.attached.get_mut(sandbox)
    }

    /// Those of which something passed since the last reading, or that are gone.
    pub(super) fn busy(&mut self, sums: &[(SandboxId, Sums)], guaranteed: u64) -> Vec<SandboxId> {
        let sums: HashMap<SandboxId, Sums> = sums.iter().copied().collect();
        let mut busy = Vec::new();
        for (sandbox, attachment) in &mut self.attached {
            attachment.guaranteed = guaranteed;
            if sums.get(sandbox) != Some(&attachment.counted.sums) {
                busy.push(*sandbox);
            }
        }
        busy
    }

    /// Adds what came since the last reading.
    pub(super) fn absorb(&mut self, sandbox: SandboxId, counts: Counts) {
        let Some(attachment) = self.attached.get_mut(&sandbox) else { return };
        let before: HashMap<(Ipv4Addr, u16), Bytes> = attachment
            .counted
            .peers
            .iter()
            .map(|(address, port, sent, received)| {
                ((*address, *port), Bytes { sent: *sent, received: *received })
            })
            .collect();
        // A counter that went back was forgotten by the router and begun anew.
        let grown = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        let account = self.ledger.open(attachment.repl);
        for (address, port, sent, received) in &counts.peers {
            let last = before.get(&(*address, *port)).copied().unwrap_or_default();
            let more =
                Bytes { sent: grown(*sent, last.sent), received: grown(*received, last.received) };
            match attachment.names.get(address) {
                Some(name) => account.add_line(name, *port, more),
                None => account.add_line(&address.to_string(), *port, more),
            }
        }
        let more = Bytes {
            sent: grown(counts.sums.sent, attachment.counted.sums.sent),
            received: grown(counts.sums.received, attachment.counted.sums.received),
        };
        let refused = grown(counts.sums.refused, attachment.counted.sums.refused);
        account.add(more);
        account.refused = account.refused.saturating_add(refused);
        self.sum.sent = self.sum.sent.saturating_add(more.sent);
        self.sum.received = self.sum.received.saturating_add(more.received);
        self.refused = self.refused.saturating_add(refused);
        attachment.guaranteed = counts.guaranteed;
        attachment.counted = counts;
    }
}
