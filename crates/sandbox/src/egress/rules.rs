//! The router's packet filter, as text for `nft -f`: refuse first, count what is left.
//!
//! Every rule looks at every packet, not at new connections alone, so a change of mode ends the
//! connections that are no longer allowed and leaves the others.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::{EgressMode, Network};

/// The router, as sandboxes see it; it answers to DNS and to nothing else.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 111, 0, 1);
/// The bridge on which the sandboxes are.
pub(super) const BRIDGE: &str = "br0";
/// The router's way out.
pub(super) const UPLINK: &str = "up0";
/// Connections of one sandbox at once, and new ones per second.
const CONNECTIONS: u32 = 512;
const NEW_PER_SECOND: u32 = 100;
/// Addresses and ports of one sandbox whose bytes are kept apart. What is above counts as "other".
const COUNTED: u32 = 1024;
/// After this without a packet a count is gone; whoever reads them reads much more often.
const COUNTED_FOR: &str = "5m";
/// Allowed addresses of one sandbox.
const ALLOWED: u32 = 4096;
/// An allowed address that nobody uses any more has to be resolved again.
const ALLOWED_FOR: &str = "1h";

/// What no sandbox reaches: this network, private ones, this machine itself, link-local
/// addresses with the clouds' metadata, protocol assignments, multicast and broadcast.
const NEVER: &[Network] = &[
    Network::of([0, 0, 0, 0], 8),
    Network::of([10, 0, 0, 0], 8),
    Network::of([100, 64, 0, 0], 10),
    Network::of([127, 0, 0, 0], 8),
    Network::of([169, 254, 0, 0], 16),
    Network::of([172, 16, 0, 0], 12),
    Network::of([192, 0, 0, 0], 24),
    Network::of([192, 168, 0, 0], 16),
    Network::of([224, 0, 0, 0], 3),
];

/// One sandbox's place at the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Slot(u16);

impl Slot {
    /// The gateway has the first address; the last class is the router's own.
    pub(super) const FIRST: u16 = 2;
    pub(super) const LAST: u16 = 0x0fff;

    /// One of those between [`Slot::FIRST`] and [`Slot::LAST`].
    pub(super) fn new(number: u16) -> Option<Self> {
        (Self::FIRST..=Self::LAST).contains(&number).then_some(Self(number))
    }

    pub(super) fn number(self) -> u16 {
        self.0
    }

    pub(super) fn address(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(GATEWAY) - 1 + u32::from(self.0))
    }

    pub(super) fn hardware_address(self) -> String {
        let [high, low] = self.0.to_be_bytes();
        // Locally administered.
        format!("02:74:64:6d:{high:02x}:{low:02x}")
    }

    /// The router's end of its cable.
    pub(super) fn interface(self) -> String {
        format!("s{}", self.0)
    }

    /// Its class of traffic.
    pub(super) fn class(self) -> String {
        format!("1:{:x}", self.0)
    }
}

/// Whether no sandbox may reach an address, whatever its mode.
pub(super) fn is_never_reached(address: Ipv4Addr, also: &[Network]) -> bool {
    NEVER.iter().chain(also).any(|network| network.contains(address))
}

/// The rules of a router without sandboxes. What is refused is refused aloud, so that programs do
/// not wait; by a reset where that is possible, since messages of ICMP are rationed by the kernel.
/// `denied` are the operator's own, besides those that
/// always are.
pub(super) fn base(denied: &[Network]) -> String {
    let denied: Vec<String> = NEVER.iter().chain(denied).map(Network::to_string).collect();
    let denied = denied.join(", ");
    format!(
        "table inet egress {{
  set denied {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {denied} }} }}
  map outgoing {{ type ipv4_addr : verdict; }}
  map incoming {{ type ipv4_addr : verdict; }}
  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject with icmpx type admin-prohibited
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    ct state invalid drop
    iifname \"{BRIDGE}\" oifname \"{UPLINK}\" ip saddr vmap @outgoing
    iifname \"{UPLINK}\" oifname \"{BRIDGE}\" ct state {{ established, related }} ip daddr vmap @incoming
    iifname \"{BRIDGE}\" goto refuse
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    iifname \"{BRIDGE}\" ip daddr {GATEWAY} udp dport 53 accept
    iifname \"{BRIDGE}\" goto refuse
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    oifname \"{UPLINK}\" masquerade
  }}
}}
table bridge guard {{
  set ports {{ type ifname . ether_addr . ipv4_addr; }}
  chain prerouting {{
    type filter hook prerouting priority dstnat; policy drop;
    iifname . ether saddr . ip saddr @ports accept
    iifname . ether saddr . arp saddr ip @ports accept
  }}
}}
"
    )
}

/// A sandbox comes. Nobody sends with an address that is not his: `guard` knows who has which.
pub(super) fn join(slot: Slot, mode: EgressMode) -> String {
    let (n, address, class) = (slot.number(), slot.address(), slot.class());
    let counted = format!(
        "type ipv4_addr . inet_service; size {COUNTED}; flags dynamic,timeout; timeout {COUNTED_FOR};"
    );
    format!(
        "table inet egress {{
  counter refused_{n} {{ }}
  counter sent_{n} {{ }}
  counter received_{n} {{ }}
  set allowed_{n} {{ type ipv4_addr; size {ALLOWED}; flags dynamic,timeout; }}
  set sent_to_{n} {{ {counted} }}
  set received_from_{n} {{ {counted} }}
  chain refuse_{n} {{
    counter name \"refused_{n}\"
    goto refuse
  }}
  chain out_{n} {{
{out}  }}
  chain in_{n} {{
    update @received_from_{n} {{ ip saddr . tcp sport counter }}
    counter name \"received_{n}\"
    meta priority set {class}
    accept
  }}
}}
add element inet egress outgoing {{ {address} : jump out_{n} }}
add element inet egress incoming {{ {address} : jump in_{n} }}
add element bridge guard ports {{ {guard} }}
",
        out = outgoing(slot, mode),
        guard = guard(slot),
    )
}

fn guard(slot: Slot) -> String {
    format!("\"{}\" . {} . {}", slot.interface(), slot.hardware_address(), slot.address())
}

fn outgoing(slot: Slot, mode: EgressMode) -> String {
    let (n, class) = (slot.number(), slot.class());
    let refuse = format!("goto refuse_{n}");
    let mut rules = Vec::new();
    if mode == EgressMode::None {
        rules.push(refuse);
    } else {
        rules.push(format!("ip daddr @denied {refuse}"));
        rules.push(format!("meta l4proto != tcp {refuse}"));
        rules.push(format!("tcp dport != {{ 80, 443, 2001-65535 }} {refuse}"));
        if mode == EgressMode::AllowList {
            rules.push(format!("ip daddr != @allowed_{n} {refuse}"));
            rules.push(format!("update @allowed_{n} {{ ip daddr timeout {ALLOWED_FOR} }}"));
        }
        rules.push(format!("ct state new ct count over {CONNECTIONS} {refuse}"));
        rules.push(format!(
            "ct state new limit rate over {NEW_PER_SECOND}/second burst {} packets {refuse}",
            2 * NEW_PER_SECOND
        ));
        rules.push(format!("update @sent_to_{n} {{ ip daddr . tcp dport counter }}"));
        rules.push(format!("counter name \"sent_{n}\""));
        rules.push(format!("meta priority set {class}"));
        rules.push("accept".to_owned());
    }
    rules.iter().fold(String::new(), |mut text, rule| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "    {rule}");
        text
    })
}

/// A sandbox may reach something else from now on.
pub(super) fn change(slot: Slot, mode: EgressMode, allowed: &[Ipv4Addr]) -> String {
    let n = slot.number();
    format!(
        "flush chain inet egress out_{n}
flush set inet egress allowed_{n}
table inet egress {{
  chain out_{n} {{
{}  }}
}}
{}",
        outgoing(slot, mode),
        allow(slot, allowed)
    )
}

/// More addresses that an allow list stands for.
pub(super) fn allow(slot: Slot, allowed: &[Ipv4Addr]) -> String {
    let n = slot.number();
    if allowed.is_empty() {
        return String::new();
    }
    let timed: Vec<String> =
        allowed.iter().map(|address| format!("{address} timeout {ALLOWED_FOR}")).collect();
    let plain: Vec<String> = allowed.iter().map(Ipv4Addr::to_string).collect();
    let (timed, plain) = (timed.join(", "), plain.join(", "));
    // Adding what is there does not renew its time.
    format!(
        "add element inet egress allowed_{n} {{ {timed} }}
delete element inet egress allowed_{n} {{ {plain} }}
add element inet egress allowed_{n} {{ {timed} }}
"
    )
}

/// A sandbox goes.
pub(super) fn leave(slot: Slot) -> String {
    let (n, address) = (slot.number(), slot.address());
    let mut text = format!(
        "delete element inet egress outgoing {{ {address} : jump out_{n} }}
delete element inet egress incoming {{ {address} : jump in_{n} }}
delete element bridge guard ports {{ {} }}
",
        guard(slot)
    );
    for (kind, names) in [
        ("chain", ["out", "in", "refuse"]),
        ("set", ["allowed", "sent_to", "received_from"]),
        ("counter", ["refused", "sent", "received"]),
    ] {
        for name in names {
            let _ = writeln!(text, "delete {kind} inet egress {name}_{n}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_have_addresses_of_their_own() {
        let last = Slot::new(Slot::LAST).unwrap();
        assert_eq!(Slot::new(2).unwrap().address(), Ipv4Addr::new(10, 111, 0, 2));
        assert_eq!(last.address(), Ipv4Addr::new(10, 111, 15, 255));
        assert!(Slot::new(1).is_none() && Slot::new(Slot::LAST + 1).is_none());
    }

    #[test]
    fn what_is_refused_is_refused_before_it_is_counted() {
        let slot = Slot::new(7).unwrap();
        for mode in [EgressMode::AllowList, EgressMode::Open] {
            let rules = outgoing(slot, mode);
            let at = |needle: &str| rules.find(needle).unwrap_or(usize::MAX);
            assert!(at("@denied") < at("l4proto") && at("l4proto") < at("dport"), "{rules}");
            assert!(at("dport") < at("sent_to_7") && at("sent_to_7") < at("accept"), "{rules}");
            assert_eq!(rules.contains("@allowed_7"), mode == EgressMode::AllowList);
        }
        assert_eq!(outgoing(slot, EgressMode::None).trim(), "goto refuse_7");
    }

    #[test]
    fn this_machine_and_its_neighbours_are_never_reached() {
        for address in
            ["10.1.2.3", "127.0.0.1", "169.254.169.254", "172.20.0.1", "192.168.1.1", "239.1.1.1"]
        {
            assert!(is_never_reached(address.parse().unwrap(), &[]), "{address}");
        }
        let own = ["203.0.113.0/24".parse().unwrap()];
        let public = Ipv4Addr::new(203, 0, 113, 9);
        assert!(!is_never_reached(public, &[]) && is_never_reached(public, &own));
    }
}
