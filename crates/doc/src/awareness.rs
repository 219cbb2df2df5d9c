//! Who is where in a document: carets and names, by Yjs client id. Never stored.
//!
//! The states come from peers as y-protocols awareness updates. Unlike a stock server's, they
//! are *owned*: a connection can only change the clients that it was the first to announce, so
//! a peer cannot move another's caret or forge its removal, and the echoes that stock clients
//! send of everything they hear change nothing. When a connection goes, its clients go with it.

use std::collections::HashMap;

use crate::lib0::{Lib0Error, Reader, write_bytes, write_number};
use crate::scan::MAX_CLIENT_ID;

/// Most clients one connection may own.
pub const MAX_CLIENTS: usize = 16;
/// Largest state of a client, as JSON.
pub const MAX_STATE_BYTES: usize = 4 * 1024;
/// A client that is not renewed for this long is removed; honest ones renew every 15 s.
pub const EXPIRY_MS: u64 = 30_000;
/// A client whose owner is silent for this long may be announced by another connection: a
/// person whose old connection is not known to be dead yet.
const SILENT_MS: u64 = 16_000;
/// How long a removed client's clock is remembered, so that an echo of its last state that is
/// still under way does not bring it back.
const FORGET_MS: u64 = 60_000;
/// Most removed clients remembered; beyond it the older half is forgotten early.
const MAX_GONE: usize = 4_096;
/// Most clients in one message; stock clients send all that changed in a document.
const MAX_ENTRIES: usize = 4_096;
const MAX_CLOCK: u32 = u32::MAX;
const NULL: &str = "null";

/// Why an awareness message changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AwarenessError {
    /// It is not a well-formed awareness update.
    #[error("malformed awareness message")]
    Malformed,
    /// A state is not JSON.
    #[error("an awareness state is not JSON")]
    NotJson,
    /// A state or the message is over its limit.
    #[error("an awareness state is too large")]
    TooLarge,
    /// The connection would own too many clients.
    #[error("too many awareness clients on one connection")]
    TooManyClients,
}

impl From<Lib0Error> for AwarenessError {
    fn from(_: Lib0Error) -> Self {
        Self::Malformed
    }
}

/// The states of one document.
#[derive(Debug, Default)]
pub struct Awareness {
    present: HashMap<u64, Presence>,
    /// Clients that were removed: their last clock, and when.
    gone: HashMap<u64, (u32, u64)>,
    /// The latest time a caller gave.
    now_ms: u64,
}

#[derive(Debug)]
struct Presence {
    owner: u64,
    clock: u32,
    state: String,
    renewed_ms: u64,
}

struct Entry<'a> {
    client: u64,
    clock: u32,
    state: &'a str,
}

impl Awareness {
    /// No one is here.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether `client` is announced by connection `conn`.
    pub fn is_announced_by(&self, client: u64, conn: u64) -> bool {
        self.present.get(&client).is_some_and(|presence| presence.owner == conn)
    }

    /// Takes a message from connection `conn` and returns what to send to all others, or
    /// `None` when it changes nothing. What a connection may not change is passed over.
    ///
    /// # Errors
    /// When the message is malformed or over a limit; nothing was changed.
    pub fn apply(
        &mut self,
        conn: u64,
        bytes: &[u8],
        now_ms: u64,
    ) -> Result<Option<Vec<u8>>, AwarenessError> {
        let entries = parse(bytes)?;
        self.now_ms = self.now_ms.max(now_ms);
        let accepted: Vec<Entry<'_>> =
            entries.into_iter().filter(|entry| self.accepts(conn, entry, now_ms)).collect();
        let owned = self.present.iter().filter(|(_, presence)| presence.owner == conn);
        let added = accepted
            .iter()
            .filter(|entry| self.present.get(&entry.client).is_none_or(|p| p.owner != conn));
        if owned.count() + added.count() > MAX_CLIENTS {
            return Err(AwarenessError::TooManyClients);
        }
        for entry in &accepted {
            if entry.state == NULL {
                self.present.remove(&entry.client);
                self.remember(entry.client, entry.clock);
            } else {
                self.gone.remove(&entry.client);
                self.present.insert(
                    entry.client,
                    Presence {
                        owner: conn,
                        clock: entry.clock,
                        state: entry.state.to_owned(),
                        renewed_ms: now_ms,
                    },
                );
            }
        }
        Ok(encode(accepted.iter().map(|entry| (entry.client, entry.clock, entry.state))))
    }

    /// The clock rules of y-protocols, and ownership.
    fn accepts(&self, conn: u64, entry: &Entry<'_>, now_ms: u64) -> bool {
        let Some(presence) = self.present.get(&entry.client) else {
            return entry.state != NULL
                && self.gone.get(&entry.client).is_none_or(|(clock, _)| entry.clock > *clock);
        };
        let is_silent = now_ms.saturating_sub(presence.renewed_ms) >= SILENT_MS;
        if presence.owner != conn && (entry.state == NULL || !is_silent) {
            return false;
        }
        entry.clock > presence.clock || (entry.clock == presence.clock && entry.state == NULL)
    }

    /// Removes the clients of a connection that went, and returns what to send to the others.
    pub fn remove_connection(&mut self, conn: u64) -> Option<Vec<u8>> {
        self.remove(|presence| presence.owner == conn)
    }

    /// Removes the clients that were not renewed for [`EXPIRY_MS`], and returns what to send
    /// to everyone.
    pub fn expire(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        self.now_ms = self.now_ms.max(now_ms);
        self.gone.retain(|_, (_, at_ms)| now_ms.saturating_sub(*at_ms) < FORGET_MS);
        self.remove(|presence| now_ms.saturating_sub(presence.renewed_ms) >= EXPIRY_MS)
    }

    /// All states as one update, or `None` when no one is here.
    pub fn encode_all(&self) -> Option<Vec<u8>> {
        let mut all: Vec<_> = self
            .present
            .iter()
            .map(|(client, presence)| (*client, presence.clock, presence.state.as_str()))
            .collect();
        all.sort_unstable();
        encode(all.into_iter())
    }

    /// How many clients are here.
    pub fn len(&self) -> usize {
        self.present.len()
    }

    /// Whether no one is here.
    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    fn remove(&mut self, which: impl Fn(&Presence) -> bool) -> Option<Vec<u8>> {
        let mut removed: Vec<_> = self
            .present
            .iter()
            .filter(|(_, presence)| which(presence))
            .map(|(client, presence)| (*client, presence.clock, NULL))
            .collect();
        removed.sort_unstable();
        for (client, clock, _) in &removed {
            self.present.remove(client);
            self.remember(*client, *clock);
        }
        // Removals at the same clock are accepted by every peer.
        encode(removed.into_iter())
    }

    fn remember(&mut self, client: u64, clock: u32) {
        if self.gone.len() >= MAX_GONE {
            let mut times: Vec<_> = self.gone.values().map(|(_, at_ms)| *at_ms).collect();
            let (_, median, _) = times.select_nth_unstable(MAX_GONE / 2);
            let median = *median;
            self.gone.retain(|_, (_, at_ms)| *at_ms > median);
        }
        self.gone.insert(client, (clock, self.now_ms));
    }
}

fn encode<'a>(entries: impl ExactSizeIterator<Item = (u64, u32, &'a str)>) -> Option<Vec<u8>> {
    if entries.len() == 0 {
        return None;
    }
    let mut out = Vec::new();
    write_number(&mut out, entries.len() as u64);
    for (client, clock, state) in entries {
        write_number(&mut out, client);
        write_number(&mut out, u64::from(clock));
        write_bytes(&mut out, state.as_bytes());
    }
    Some(out)
}

fn parse(bytes: &[u8]) -> Result<Vec<Entry<'_>>, AwarenessError> {
    let mut reader = Reader::new(bytes);
    let count = reader.number(MAX_ENTRIES as u64)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let client = reader.number(MAX_CLIENT_ID)?;
        let clock = reader.number32(MAX_CLOCK)?;
        let state = reader.string()?;
        if state.len() > MAX_STATE_BYTES {
            return Err(AwarenessError::TooLarge);
        }
        serde_json::from_str::<serde::de::IgnoredAny>(state)
            .map_err(|_| AwarenessError::NotJson)?;
        let state = if state.trim() == NULL { NULL } else { state };
        entries.push(Entry { client, clock, state });
    }
    if !reader.is_empty() {
        return Err(AwarenessError::Malformed);
    }
    // A client named twice: only its last state counts.
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<_> =
        entries.into_iter().rev().filter(|entry| seen.insert(entry.client)).collect();
    kept.reverse();
    Ok(kept)
}

#[cfg(test)]
mod tests;
