//! The cable between this machine and the router, and this machine's side of the rules.
//!
//! This machine must forward already (`net.ipv4.ip_forward`): whether it does is its operator's
//! to say, since it concerns more than sandboxes. What is added to its rules concerns this one
//! cable and goes with it.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use serde::Deserialize;

use super::EgressError;
use super::command::run;
use super::rules::UPLINK;

/// Names of cables and of their tables begin like this.
const PREFIX: &str = "tdm";
const TABLE_PREFIX: &str = "tandem_";
const TABLE_FAMILY: &str = "inet";
/// Attempts to find an address that nobody has.
const ATTEMPTS: usize = 50;

/// See the module. Removes what it made on this machine when dropped; the cable itself ends with
/// the router's namespace.
#[derive(Debug)]
pub(super) struct Uplink {
    name: String,
    /// This machine's own way out.
    pub(super) device: String,
    pub(super) mtu: u32,
    near: Ipv4Addr,
    far: Ipv4Addr,
    has_forward_rules: bool,
}

#[derive(Deserialize)]
struct Route {
    dev: String,
}

#[derive(Deserialize)]
struct Link {
    ifname: String,
    #[serde(default)]
    mtu: u32,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    local: Option<String>,
}

impl Uplink {
    /// Lays the cable from the calling thread's namespace to the router's.
    pub(super) fn open(router: &OwnedFd) -> Result<Self, EgressError> {
        let forwards = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default();
        if forwards.trim() != "1" {
            return Err(EgressError::unusable(
                "this machine does not forward packets",
                "Turn it on with `sysctl -w net.ipv4.ip_forward=1` (and in /etc/sysctl.d), after \
                 making sure that its firewall says whose packets are forwarded.",
            ));
        }
        let routes: Vec<Route> = json(&run("ip", &["-j", "-4", "route", "show", "default"], "")?)?;
        let device = routes.into_iter().next().map(|route| route.dev).ok_or_else(|| {
            EgressError::unusable(
                "this machine has no default route",
                "Give it a way to the internet, or start with --egress=none.",
            )
        })?;
        let links: Vec<Link> = json(&run("ip", &["-j", "-4", "address", "show"], "")?)?;
        clear_stale(&links)?;
        let mtu = links.iter().find(|link| link.ifname == device).map_or(1500, |link| link.mtu);
        let (near, far) = free_addresses(&links)?;
        let mut uplink = Self {
            name: format!("{PREFIX}{:06x}", rand::random::<u32>() & 0x00ff_ffff),
            device,
            mtu,
            near,
            far,
            has_forward_rules: false,
        };
        uplink.lay(router)?;
        Ok(uplink)
    }

    fn lay(&mut self, router: &OwnedFd) -> Result<(), EgressError> {
        let Self { name, mtu, near, .. } = &*self;
        // The rules first: the cable is never up without them.
        run("nft", &["-f", "-"], &self.rules())?;
        let peer = format!("/proc/{}/fd/{}", std::process::id(), router.as_raw_fd());
        run(
            "ip",
            &["-batch", "-"],
            &format!(
                "link add {name} mtu {mtu} type veth peer name {UPLINK} mtu {mtu} netns {peer}\n\
                 link set {name} addrgenmode none\n\
                 address add {near}/30 dev {name}\n\
                 link set {name} up\n"
            ),
        )?;
        self.let_through()
    }

    /// In the router's namespace: its end of the cable.
    pub(super) fn far_end(&self) -> String {
        let Self { near, far, .. } = self;
        format!(
            "address add {far}/30 dev {UPLINK}\n\
             link set {UPLINK} up\n\
             route add default via {near}\n"
        )
    }

    fn table(&self) -> String {
        format!("{TABLE_FAMILY} {TABLE_PREFIX}{}", self.name)
    }

    /// Nothing from sandboxes is for this machine, whatever addresses it has; what they send goes
    /// out of the one device, and nothing comes to them that they did not ask for.
    fn rules(&self) -> String {
        let Self { name, device, far, .. } = self;
        let table = self.table();
        format!(
            "table {table} {{
  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject with icmpx type admin-prohibited
  }}
  chain input {{
    type filter hook input priority -10; policy accept;
    iifname \"{name}\" goto refuse
  }}
  chain forward {{
    type filter hook forward priority -10; policy accept;
    iifname \"{name}\" oifname != \"{device}\" goto refuse
    oifname \"{name}\" ct state != {{ established, related }} drop
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {far} oifname \"{device}\" masquerade
  }}
}}
"
        )
    }

    /// Docker and some firewalls refuse to forward whatever they do not know.
    fn let_through(&mut self) -> Result<(), EgressError> {
        // Without iptables nothing of this kind refuses.
        let Ok(chain) = run("iptables", &["-w", "5", "-S", "FORWARD"], "") else { return Ok(()) };
        if !chain.lines().any(|line| line == "-P FORWARD DROP") {
            return Ok(());
        }
        self.has_forward_rules = true;
        self.forward_rules("-I")
    }

    fn forward_rules(&self, what: &str) -> Result<(), EgressError> {
        let head = ["-w", "5", what, "FORWARD"];
        let out = [&head[..], &["-i", &self.name, "-j", "ACCEPT"]].concat();
        let state = ["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"];
        let back = [&head[..], &["-o", &self.name], &state].concat();
        for rule in [out, back] {
            run("iptables", &rule, "")?;
        }
        Ok(())
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        // Whatever is left is cleared by the next one.
        let _ = run("ip", &["link", "delete", &self.name], "");
        let _ = run("nft", &["-f", "-"], &format!("delete table {}\n", self.table()));
        if self.has_forward_rules {
            let _ = self.forward_rules("-D");
        }
    }
}

/// Removes the rules of cables whose router died without doing so.
fn clear_stale(links: &[Link]) -> Result<(), EgressError> {
    let is_gone = |name: &str| !links.iter().any(|link| link.ifname == name);
    for line in run("nft", &["list", "tables"], "")?.lines() {
        let Some((_, name)) = line.rsplit_once(TABLE_PREFIX) else { continue };
        if name.starts_with(PREFIX) && is_gone(name) {
            let table = format!("delete table {TABLE_FAMILY} {TABLE_PREFIX}{name}\n");
            // Another server may have been faster.
            let _ = run("nft", &["-f", "-"], &table);
        }
    }
    let Ok(chain) = run("iptables", &["-w", "5", "-S", "FORWARD"], "") else { return Ok(()) };
    for line in chain.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let ours = words.iter().any(|word| word.starts_with(PREFIX) && is_gone(word));
        if ours && words.first() == Some(&"-A") {
            let delete = [&["-w", "5", "-D"], &words[1..]].concat();
            let _ = run("iptables", &delete, "");
        }
    }
    Ok(())
}

/// Two link-local addresses for the two ends, from a part of the range where no service is known.
fn free_addresses(links: &[Link]) -> Result<(Ipv4Addr, Ipv4Addr), EgressError> {
    let taken: Vec<Ipv4Addr> = links
        .iter()
        .flat_map(|link| &link.addr_info)
        .filter_map(|address| address.local.as_deref()?.parse().ok())
        .collect();
    for _ in 0..ATTEMPTS {
        let [high, low] = rand::random::<[u8; 2]>();
        // 169.254.172.0 to 169.254.251.255, in blocks of four.
        let base = u32::from(Ipv4Addr::new(169, 254, 172 + high % 80, low & 0xfc));
        let is_free = |at: &Ipv4Addr| u32::from(*at) & !3 != base;
        if taken.iter().all(is_free) {
            return Ok((Ipv4Addr::from(base + 1), Ipv4Addr::from(base + 2)));
        }
    }
    Err(EgressError::unusable("no link-local address is free", "Look for routers left behind."))
}

pub(super) fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, EgressError> {
    serde_json::from_str(text).map_err(|error| EgressError::Tool {
        tool: "a network tool",
        said: format!("its output cannot be read: {error}"),
    })
}
