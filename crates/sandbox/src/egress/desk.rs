//! The server's side of the sandboxes' network: who may reach what now, what was counted, and the
//! names that addresses were told for.
//!
//! Invariant: a sandbox never has more than the policy of the moment gives it. What cannot be
//! known or done ends with no network.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tandem_proto::egress::{EgressMode, EgressReport};
use tandem_proto::{ReplId, SandboxId};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::attached::{Attachment, State};
use super::control::{EgressOptions, EgressTotals};
use super::ledger::{Account, Bytes};
use super::policy::{EgressPolicy, HostPattern};
use super::router::Counts;
use crate::driver::SandboxError;
use crate::launcher::LauncherClient;
use crate::running::blocking;

/// Between two readings of the counters.
const COUNT_EVERY: Duration = Duration::from_secs(3);
/// Between two looks at the operator's file.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Readings that fail one after the other.
const MAX_FAILURES: u32 = 2;
/// How long plugging in is tried, and between two attempts.
const ATTACH_LIMIT: Duration = Duration::from_secs(5);
const ATTACH_AGAIN: Duration = Duration::from_millis(250);
/// Addresses of one sandbox whose names are known.
const MAX_NAMES: usize = 2048;
/// An allowed address is allowed again after this, well before the router forgets it.
const ALLOW_AGAIN: Duration = Duration::from_secs(20 * 60);
/// The name under which questions for names are counted.
const DNS_HOST: &str = "names (DNS)";
const DNS_PORT: u16 = 53;

/// What the resolver, the clock and requests share.
#[derive(Debug)]
pub(super) struct Desk {
    launcher: Arc<LauncherClient>,
    options: EgressOptions,
    state: Mutex<State>,
    /// Changes of what a sandbox may reach come one after the other, so that the last one holds.
    changing: tokio::sync::Mutex<()>,
}

impl Desk {
    pub(super) fn new(launcher: Arc<LauncherClient>, options: EgressOptions) -> Self {
        let (state, changing) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { launcher, options, state, changing }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mode_of(&self, state: &State, repl: ReplId) -> EgressMode {
        if state.broken.is_some() {
            return EgressMode::None;
        }
        state.policy.mode_of(repl, self.options.mode)
    }

    fn allow_list<'a>(&'a self, state: &'a State) -> &'a [HostPattern] {
        state.policy.allow.as_deref().unwrap_or(&self.options.allow)
    }

    fn is_allowed(&self, state: &State, name: &str) -> bool {
        self.allow_list(state).iter().any(|pattern| pattern.matches(name))
    }

    async fn with_launcher<T: Send + 'static>(
        &self,
        work: impl FnOnce(&LauncherClient) -> Result<T, SandboxError> + Send + 'static,
    ) -> Result<T, SandboxError> {
        let launcher = self.launcher.clone();
        blocking(move || work(&launcher)).await
    }

    pub(super) async fn attach(&self, sandbox: SandboxId, repl: ReplId, process: i32) {
        self.state().wanted.insert(sandbox);
        let deadline = Instant::now() + ATTACH_LIMIT;
        // One that outlived its server may still have the end of its old cable, which the kernel
        // takes away in its own time.
        while !self.try_to_attach(sandbox, repl, process).await {
            if Instant::now() > deadline {
                tracing::warn!(%repl, %sandbox, "the sandbox has no network");
                return;
            }
            tokio::time::sleep(ATTACH_AGAIN).await;
        }
    }

    /// Whether there is no more to try.
    async fn try_to_attach(&self, sandbox: SandboxId, repl: ReplId, process: i32) -> bool {
        let _order = self.changing.lock().await;
        let mode = {
            let state = self.state();
            if !state.wanted.contains(&sandbox) {
                return true;
            }
            self.mode_of(&state, repl)
        };
        let attached =
            self.with_launcher(move |launcher| launcher.attach(sandbox, process, mode)).await;
        let mut state = self.state();
        match attached {
            Ok(attached) => {
                state.problems.remove(&repl);
                state.by_address.insert(attached.address, sandbox);
                let attachment = Attachment {
                    repl,
                    address: attached.address,
                    mode,
                    guaranteed: 0,
                    counted: Counts::default(),
                    names: HashMap::new(),
                    allowed: HashMap::new(),
                };
                state.attached.insert(sandbox, attachment);
                true
            }
            Err(error) => {
                tracing::info!(%repl, %sandbox, %error, "the sandbox is not plugged in yet");
                state.problems.insert(repl, error.to_string());
                false
            }
        }
    }

    pub(super) async fn detach(&self, sandbox: SandboxId) {
        self.state().wanted.remove(&sandbox);
        self.count(sandbox).await;
        let _order = self.changing.lock().await;
        let was_attached = self.state().detach(sandbox);
        if was_attached {
            // It may have ended by itself.
            drop(self.with_launcher(move |launcher| launcher.detach(sandbox)).await);
        }
    }

    pub(super) fn report(&self, repl: ReplId) -> EgressReport {
        let state = self.state();
        let attachment = state.attached.values().find(|attachment| attachment.repl == repl);
        let mode = self.mode_of(&state, repl);
        let allowed = match mode {
            EgressMode::AllowList => {
                self.allow_list(&state).iter().map(HostPattern::to_string).collect()
            }
            _ => Vec::new(),
        };
        let account = state.ledger.account(repl);
        EgressReport {
            mode,
            allowed,
            problem: state
                .lost
                .clone()
                .or_else(|| state.broken.clone())
                .or_else(|| state.problems.get(&repl).cloned()),
            connected: attachment.is_some(),
            guaranteed: attachment.map(|attachment| attachment.guaranteed),
            since_ms: account.map_or(0, |account| account.since_ms),
            sent: account.map_or(0, |account| account.sum.sent),
            received: account.map_or(0, |account| account.sum.received),
            refused: account.map_or(0, |account| account.refused),
            hosts: account.map(Account::hosts).unwrap_or_default(),
        }
    }

    /// Sums for the metrics.
    pub(super) fn totals(&self) -> EgressTotals {
        let state = self.state();
        let of = |attachment: &Attachment| {
            let sum = state.ledger.account(attachment.repl).map(|account| account.sum);
            let sum = sum.unwrap_or_default();
            (attachment.repl, sum.sent, sum.received)
        };
        EgressTotals {
            sent: state.sum.sent,
            received: state.sum.received,
            refused: state.refused,
            repls: state.attached.values().map(of).collect(),
        }
    }

    /// A sandbox asks for a name.
    pub(super) fn may_know(&self, address: Ipv4Addr, name: &str) -> bool {
        let mut state = self.state();
        let Some(mode) = state.at(address).map(|attachment| attachment.mode) else { return false };
        match mode {
            EgressMode::None => false,
            EgressMode::Open => true,
            EgressMode::AllowList => self.is_allowed(&state, name),
        }
    }

    /// A sandbox is about to be told these addresses; whether it may be.
    pub(super) async fn told(&self, address: Ipv4Addr, name: &str, found: &[Ipv4Addr]) -> bool {
        if let Some(sandbox) = self.has_other_names(address, name, found) {
            // What passed until now belongs to the name that was told before.
            self.count(sandbox).await;
        }
        let (sandbox, fresh) = {
            let mut state = self.state();
            let Some(sandbox) = state.by_address.get(&address).copied() else { return false };
            let Some(attachment) = state.attached.get_mut(&sandbox) else { return false };
            for found in found {
                if attachment.names.len() >= MAX_NAMES && !attachment.names.contains_key(found) {
                    let any = attachment.names.keys().next().copied();
                    any.map(|any| attachment.names.remove(&any));
                }
                attachment.names.insert(*found, name.to_owned());
            }
            if attachment.mode != EgressMode::AllowList {
                return true;
            }
            let is_fresh = |found: &&Ipv4Addr| {
                attachment.allowed.get(found).is_none_or(|at| at.elapsed() > ALLOW_AGAIN)
            };
            (sandbox, found.iter().filter(is_fresh).copied().collect::<Vec<_>>())
        };
        if fresh.is_empty() {
            return true;
        }
        let _order = self.changing.lock().await;
        // The list may have changed while the name was looked up.
        if !self.may_know(address, name) {
            return false;
        }
        let sent = fresh.clone();
        let allowed = self.with_launcher(move |launcher| launcher.allow(sandbox, sent)).await;
        if let Err(error) = allowed {
            tracing::warn!(%sandbox, %error, "an address could not be allowed");
            return false;
        }
        if let Some(attachment) = self.state().attached.get_mut(&sandbox) {
            let now = Instant::now();
            attachment.allowed.retain(|_, at| at.elapsed() <= ALLOW_AGAIN);
            attachment.allowed.extend(fresh.into_iter().map(|found| (found, now)));
        }
        true
    }

    /// The sandbox, when one of the addresses was told to it for another name.
    fn has_other_names(
        &self,
        address: Ipv4Addr,
        name: &str,
        found: &[Ipv4Addr],
    ) -> Option<SandboxId> {
        let state = self.state();
        let sandbox = *state.by_address.get(&address)?;
        let names = &state.attached.get(&sandbox)?.names;
        let is_other = |found: &Ipv4Addr| names.get(found).is_some_and(|before| before != name);
        found.iter().any(is_other).then_some(sandbox)
    }

    /// A question and its answer are traffic too.
    pub(super) fn asked(&self, address: Ipv4Addr, question: usize, answer: usize) {
        let more = Bytes { sent: question as u64, received: answer as u64 };
        let mut state = self.state();
        let Some(repl) = state.at(address).map(|attachment| attachment.repl) else { return };
        let account = state.ledger.open(repl);
        account.add_line(DNS_HOST, DNS_PORT, more);
        account.add(more);
        state.sum.sent = state.sum.sent.saturating_add(more.sent);
        state.sum.received = state.sum.received.saturating_add(more.received);
    }

    /// A question was not answered.
    pub(super) fn refused(&self, address: Ipv4Addr) {
        let mut state = self.state();
        let Some(repl) = state.at(address).map(|attachment| attachment.repl) else { return };
        let account = state.ledger.open(repl);
        account.refused = account.refused.saturating_add(1);
        state.refused = state.refused.saturating_add(1);
    }

    /// Reads the counters until it is told to stop, or cannot any more: then it says stop itself,
    /// since traffic that cannot be read or refused must not be.
    pub(super) async fn count_all(self: Arc<Self>, stop: CancellationToken) {
        let mut failures = 0;
        let mut clock = tokio::time::interval(COUNT_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = clock.tick() => {}
            }
            let has_any = !self.state().attached.is_empty();
            if !has_any {
                continue;
            }
            match self.with_launcher(LauncherClient::sums).await {
                Ok((sums, guaranteed)) => {
                    failures = 0;
                    let busy = self.state().busy(&sums, guaranteed);
                    for sandbox in busy {
                        self.count(sandbox).await;
                    }
                }
                Err(error) => {
                    failures += 1;
                    tracing::error!(%error, failures, "sandboxes' traffic cannot be read");
                    if failures >= MAX_FAILURES {
                        self.give_up(&error);
                        return stop.cancel();
                    }
                }
            }
        }
    }

    /// Nothing is reached any more, and people are told why.
    fn give_up(&self, error: &SandboxError) {
        let mut state = self.state();
        state.lost = Some(format!("it was lost ({error})"));
        state.attached.clear();
        state.by_address.clear();
    }

    async fn count(&self, sandbox: SandboxId) {
        if !self.state().attached.contains_key(&sandbox) {
            return;
        }
        match self.with_launcher(move |launcher| launcher.count(sandbox)).await {
            Ok(counts) => self.state().absorb(sandbox, counts),
            // It ended, and the launcher cleared it away.
            Err(error) => {
                tracing::debug!(%sandbox, %error, "a sandbox's traffic is not counted any more");
                self.state().detach(sandbox);
            }
        }
    }

    /// Reads the operator's file; says what of it was seen.
    pub(super) fn load_policy(&self) -> Option<SystemTime> {
        let seen = EgressPolicy::changed(&self.options.data_dir);
        let loaded = EgressPolicy::load(&self.options.data_dir);
        let mut state = self.state();
        match loaded {
            Ok(policy) => (state.policy, state.broken) = (policy, None),
            Err(error) => {
                tracing::error!(%error, "sandboxes have no network until this is mended");
                state.broken = Some(error.to_string());
            }
        }
        seen
    }

    pub(super) async fn follow_policy(
        self: Arc<Self>,
        mut seen: Option<SystemTime>,
        stop: CancellationToken,
    ) {
        let mut clock = tokio::time::interval(LOOK_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = clock.tick() => {}
            }
            if EgressPolicy::changed(&self.options.data_dir) != seen {
                seen = self.load_policy();
                tracing::info!("what sandboxes may reach was changed");
                self.apply_policy().await;
            }
        }
    }

    /// Brings every sandbox to what the policy says now.
    async fn apply_policy(&self) {
        let _order = self.changing.lock().await;
        let changes: Vec<(SandboxId, EgressMode, Vec<Ipv4Addr>)> = {
            let state = self.state();
            let change = |(sandbox, attachment): (&SandboxId, &Attachment)| {
                let names = attachment.names.iter();
                let allowed = names.filter(|(_, name)| self.is_allowed(&state, name));
                let mode = self.mode_of(&state, attachment.repl);
                (*sandbox, mode, allowed.map(|(address, _)| *address).collect())
            };
            state.attached.iter().map(change).collect()
        };
        for (sandbox, mode, allowed) in changes {
            let told = allowed.clone();
            let changed = self
                .with_launcher(move |launcher| launcher.change_reach(sandbox, mode, told))
                .await;
            // What is not known to have the new rules has nothing.
            if let Err(error) = &changed {
                tracing::error!(%sandbox, %error, "its network is taken away");
                drop(self.with_launcher(move |launcher| launcher.detach(sandbox)).await);
            }
            let mut state = self.state();
            if changed.is_err() {
                state.detach(sandbox);
            } else if let Some(attachment) = state.attached.get_mut(&sandbox) {
                let now = Instant::now();
                attachment.mode = mode;
                attachment.allowed = allowed.into_iter().map(|address| (address, now)).collect();
            }
        }
    }
}
