//! Which TCP ports programs of the sandbox listen on.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tandem_proto::agent::{Event, ListeningPort};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::outbox::Outbox;
use crate::processes;

const INTERVAL: Duration = Duration::from_secs(1);
/// Looks shortly after a program was started, so that its page shows at once.
const QUICK_MS: [u64; 6] = [30, 80, 160, 300, 500, 750];
/// Most ports told of.
const MAX_PORTS: usize = 200;
/// Most bytes read of a table that programs can make as long as they like.
const MAX_TABLE_BYTES: u64 = 2 * 1024 * 1024;
const LISTEN: &str = "0A";

/// The listening ports, as last seen.
#[derive(Debug, Default)]
pub struct Ports {
    known: Mutex<Vec<ListeningPort>>,
    started: Notify,
}

impl Ports {
    /// The ports, as last seen.
    pub fn known(&self) -> Vec<ListeningPort> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A program was started: look a few times soon.
    pub fn expect_soon(&self) {
        self.started.notify_one();
    }

    /// Looks now and tells the node if something changed.
    pub async fn check(&self, outbox: &Outbox) {
        let ports = look();
        let changed = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let changed = *known != ports;
            known.clone_from(&ports);
            changed
        };
        if changed {
            outbox.event(Event::Ports { ports }).await;
        }
    }

    /// Looks for ever.
    pub async fn run(&self, outbox: &Outbox) {
        let mut quick: Vec<Instant> = Vec::new();
        loop {
            let next = quick.pop().unwrap_or_else(|| Instant::now() + INTERVAL);
            tokio::select! {
                () = sleep_until(next) => self.check(outbox).await,
                () = self.started.notified() => {
                    let now = Instant::now();
                    quick = QUICK_MS
                        .iter()
                        .rev()
                        .map(|ms| now + Duration::from_millis(*ms))
                        .collect();
                }
            }
        }
    }
}

fn look() -> Vec<ListeningPort> {
    let ours = (!processes::owns_namespace()).then(own_sockets);
    let mut ports = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let mut text = Vec::new();
        if let Ok(file) = std::fs::File::open(table) {
            // A partly read table tells of fewer ports; the next look is a second away.
            let _ = file.take(MAX_TABLE_BYTES).read_to_end(&mut text);
        }
        collect(&String::from_utf8_lossy(&text), ours.as_ref(), &mut ports);
    }
    ports
        .into_iter()
        .take(MAX_PORTS)
        .map(|(port, address)| ListeningPort { port, address })
        .collect()
}

fn collect(table: &str, ours: Option<&HashSet<u64>>, ports: &mut BTreeMap<u16, IpAddr>) {
    for line in table.lines().skip(1) {
        let mut fields = line.split_ascii_whitespace();
        let (Some(local), Some(state)) = (fields.nth(1), fields.nth(1)) else { continue };
        if state != LISTEN {
            continue;
        }
        let inode = fields.nth(5).and_then(|text| text.parse().ok());
        if ours.is_some_and(|ours| !inode.is_some_and(|inode| ours.contains(&inode))) {
            continue;
        }
        let Some((address, port)) = parse_address(local) else { continue };
        let address = dialable(address);
        ports
            .entry(port)
            .and_modify(|known| {
                if preference(address) < preference(*known) {
                    *known = address;
                }
            })
            .or_insert(address);
    }
}

/// What to dial to reach a listener bound to `address`.
fn dialable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => dialable(v4.into()),
            None if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            None => address,
        },
        IpAddr::V4(_) => address,
    }
}

fn preference(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) if v4 == Ipv4Addr::LOCALHOST => 0,
        IpAddr::V6(v6) if v6 == Ipv6Addr::LOCALHOST => 1,
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) => 3,
    }
}

/// `0100007F:0BB8`: each 32-bit word of the address is in host byte order.
fn parse_address(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for at in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some((address, port))
}

/// Inodes of the sockets that our descendants hold: outside a network namespace of its own the
/// table also lists everybody else's.
fn own_sockets() -> HashSet<u64> {
    let mut sockets = HashSet::new();
    for pid in processes::pids() {
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))
        else {
            continue;
        };
        for descriptor in descriptors.filter_map(Result::ok) {
            let target = std::fs::read_link(descriptor.path()).ok();
            let inode: Option<u64> = target
                .as_deref()
                .and_then(|target| target.to_str())
                .and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            sockets.extend(inode);
        }
    }
    sockets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listeners_one_per_port_loopback_first() {
        let v4 = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 00000000:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 11 1 0 100 0 0 10 0\n   1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 12 1 0 100 0 0 10 0\n   2: 0500000A:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 13 1 0 100 0 0 10 0\n  garbage\n";
        let v6 = "  sl  local_address remote_address st\n   0: 00000000000000000000000000000000:0BB8 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 14 1\n   1: 00000000000000000000000001000000:1F92 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 15 1\n";
        let mut ports = BTreeMap::new();
        collect(v4, None, &mut ports);
        collect(v6, None, &mut ports);
        let want: BTreeMap<u16, IpAddr> = [
            (3000, "127.0.0.1".parse().unwrap()),
            (8081, "10.0.0.5".parse().unwrap()),
            (8082, "::1".parse().unwrap()),
        ]
        .into();
        assert_eq!(ports, want);
        let mut ports = BTreeMap::new();
        collect(v4, Some(&HashSet::from([13])), &mut ports);
        assert_eq!(ports.into_keys().collect::<Vec<_>>(), [8081]);
    }
}
