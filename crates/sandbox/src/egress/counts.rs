//! Reads what the packet filter counted.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use serde::Deserialize;

use super::EgressError;
use super::command::run;
use super::router::{Counts, Sums};
use super::rules::Slot;
use super::uplink::json;

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    counter: Option<Counter>,
    set: Option<Set>,
}

#[derive(Deserialize)]
struct Counter {
    name: Option<String>,
    packets: u64,
    bytes: u64,
}

#[derive(Deserialize)]
struct Set {
    #[serde(default)]
    elem: Vec<Element>,
}

#[derive(Deserialize)]
struct Element {
    elem: Inner,
}

#[derive(Deserialize)]
struct Inner {
    val: Value,
    counter: Counter,
}

#[derive(Deserialize)]
struct Value {
    concat: (Ipv4Addr, u16),
}

/// Of one sandbox, the most busy; more would not fit into an answer of the launcher.
const MAX_PEERS: usize = 1024;

/// An address and a port.
type Peer = (Ipv4Addr, u16);

/// Of one sandbox, in the router's namespace.
pub(super) fn read(slot: Slot) -> Result<Counts, EgressError> {
    let n = slot.number();
    let sums = sums()?.remove(&slot).unwrap_or_default();
    let mut peers: HashMap<Peer, (u64, u64)> = HashMap::new();
    for (peer, bytes) in set(&format!("sent_to_{n}"))? {
        peers.entry(peer).or_default().0 = bytes;
    }
    for (peer, bytes) in set(&format!("received_from_{n}"))? {
        peers.entry(peer).or_default().1 = bytes;
    }
    let mut peers: Vec<_> = peers
        .into_iter()
        .map(|((address, port), (sent, received))| (address, port, sent, received))
        .collect();
    peers.sort_by_key(|(.., sent, received)| std::cmp::Reverse(sent.saturating_add(*received)));
    peers.truncate(MAX_PEERS);
    Ok(Counts { sums, guaranteed: 0, peers })
}

/// Of all sandboxes at once, which takes no longer than of one.
pub(super) fn sums() -> Result<HashMap<Slot, Sums>, EgressError> {
    let text = run("nft", &["-j", "list", "counters", "table", "inet", "egress"], "")?;
    let listing: Listing = json(&text)?;
    let mut all: HashMap<Slot, Sums> = HashMap::new();
    for counter in listing.nftables.into_iter().filter_map(|item| item.counter) {
        let Some((kind, slot)) = counter.name.as_deref().and_then(|name| name.rsplit_once('_'))
        else {
            continue;
        };
        let Some(slot) = slot.parse().ok().and_then(Slot::new) else { continue };
        let sums = all.entry(slot).or_default();
        match kind {
            "sent" => sums.sent = counter.bytes,
            "received" => sums.received = counter.bytes,
            "refused" => sums.refused = counter.packets,
            _ => {}
        }
    }
    Ok(all)
}

fn set(name: &str) -> Result<Vec<(Peer, u64)>, EgressError> {
    let text = run("nft", &["-j", "list", "set", "inet", "egress", name], "")?;
    let listing: Listing = json(&text)?;
    let sets = listing.nftables.into_iter().filter_map(|item| item.set);
    let elements = sets.flat_map(|set| set.elem).map(|element| element.elem);
    Ok(elements.map(|inner| (inner.val.concat, inner.counter.bytes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_read() {
        let text = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"set": {"name": "sent_to_2",
            "elem": [{"elem": {"val": {"concat": ["1.2.3.4", 443]}, "expires": 300,
            "counter": {"packets": 5, "bytes": 6}}}]}}]}"#;
        let listing: Listing = json(text).unwrap();
        let set = listing.nftables.into_iter().find_map(|item| item.set).unwrap();
        assert_eq!(set.elem[0].elem.val.concat, (Ipv4Addr::new(1, 2, 3, 4), 443));
        assert_eq!(set.elem[0].elem.counter.bytes, 6);
        let counters =
            r#"{"nftables": [{"counter": {"name": "sent_2", "packets": 1, "bytes": 2}}]}"#;
        let counters: Listing = json(counters).unwrap();
        let counter = counters.nftables[0].counter.as_ref().unwrap();
        assert_eq!((counter.name.as_deref(), counter.bytes), (Some("sent_2"), 2));
        let empty: Listing = json(r#"{"nftables": [{"set": {"name": "x"}}]}"#).unwrap();
        assert!(empty.nftables[0].set.as_ref().unwrap().elem.is_empty());
        assert!(json::<Listing>("").is_err());
    }
}
