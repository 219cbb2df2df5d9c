//! Counts wrong tokens per address, so that a weak owner token cannot be guessed at speed.
//! Only failures are counted, and sessions are not affected: a classroom behind one address
//! works on while somebody in it guesses.
//!
//! In memory and per process on purpose: it is a brake, not a record. What is forgotten when
//! the table is full is the oldest entry.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Failures in a row that are answered as such.
const BURST: f64 = 30.0;
/// Failures forgiven per second.
const PER_SECOND: f64 = 1.0;
/// Addresses remembered.
const MAX_ADDRESSES: usize = 4_096;

#[derive(Debug, Default)]
pub(crate) struct Attempts {
    by_address: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: f64,
    at: Instant,
}

impl Failures {
    fn count_at(&self, now: Instant) -> f64 {
        let forgiven = now.saturating_duration_since(self.at).as_secs_f64() * PER_SECOND;
        (self.count - forgiven).max(0.0)
    }
}

impl Attempts {
    /// Whether tokens from this address are looked at now.
    pub(crate) fn may_try(&self, address: IpAddr, now: Instant) -> bool {
        let Ok(table) = self.by_address.lock() else { return false };
        table.get(&network(address)).is_none_or(|failures| failures.count_at(now) + 1.0 <= BURST)
    }

    /// A token from this address was wrong.
    pub(crate) fn failed(&self, address: IpAddr, now: Instant) {
        let Ok(mut table) = self.by_address.lock() else { return };
        let key = network(address);
        if table.len() >= MAX_ADDRESSES && !table.contains_key(&key) {
            let longest = Duration::from_secs_f64(BURST / PER_SECOND);
            table.retain(|_, failures| now.saturating_duration_since(failures.at) < longest);
            if table.len() >= MAX_ADDRESSES
                && let Some(oldest) =
                    table.iter().min_by_key(|(_, failures)| failures.at).map(|(key, _)| *key)
            {
                table.remove(&oldest);
            }
        }
        let count = table.get(&key).map_or(0.0, |failures| failures.count_at(now));
        table.insert(key, Failures { count: (count + 1.0).min(BURST), at: now });
    }
}

/// One person usually has a whole IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let mut octets = v6.octets();
            octets[8..].fill(0);
            IpAddr::from(octets)
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_slowed_and_forgiven() {
        let attempts = Attempts::default();
        let bad: IpAddr = "198.18.0.1".parse().unwrap();
        let other: IpAddr = "198.18.0.2".parse().unwrap();
        let start = Instant::now();
        for _ in 0..30 {
            assert!(attempts.may_try(bad, start));
            attempts.failed(bad, start);
        }
        assert!(!attempts.may_try(bad, start));
        assert!(attempts.may_try(other, start));
        assert!(!attempts.may_try(bad, start + Duration::from_millis(500)));
        assert!(attempts.may_try(bad, start + Duration::from_secs(2)));
    }

    #[test]
    fn neighbours_in_one_ipv6_network_count_as_one_and_memory_is_bounded() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for host in 0..30u16 {
            attempts.failed(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host]), now);
        }
        assert!(!attempts.may_try("2001:db8::ffff".parse().unwrap(), now));
        for first in 0..20_000u32 {
            attempts.failed(IpAddr::from(first.to_be_bytes()), now);
        }
        assert!(attempts.by_address.lock().unwrap().len() <= MAX_ADDRESSES);
    }
}
