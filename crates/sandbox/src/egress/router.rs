//! The router itself: opened once, then sandboxes come and go.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::ops::Bound;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use serde::{Deserialize, Serialize};
use tandem_proto::SandboxId;

use super::command::run;
use super::rules::{self, BRIDGE, GATEWAY, Slot, UPLINK};
use super::shaper::{self, Queue};
use super::uplink::Uplink;
use super::{EgressError, EgressMode, Network, namespace};

/// The sandbox's end of its cable.
const INSIDE: &str = "eth0";
/// Said, because a bridge otherwise takes a new one whenever a cable comes or goes.
const BRIDGE_MAC: &str = "02:74:64:6d:00:01";
/// Covers every slot's address.
const BRIDGE_BITS: u8 = 20;
/// Taken when neither the operator nor the device says how fast the line is.
const ASSUMED_TOTAL: u64 = 100_000_000;
/// Below this the tree of classes cannot be told from standing still.
const MIN_TOTAL: u64 = 1_000_000;
const MAX_TOTAL: u64 = 100_000_000_000;

/// What the operator says of the line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterSettings {
    /// Bits per second in each direction for all sandboxes together; what the device says, when
    /// absent.
    pub total: Option<u64>,
    /// Networks that no sandbox reaches, besides private ones.
    pub denied: Vec<Network>,
}

/// A sandbox that has a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// By which the resolver knows it.
    pub address: Ipv4Addr,
}

/// How much passed of one sandbox since it was attached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Bytes out and in, IP headers included.
    pub sent: u64,
    /// See `sent`.
    pub received: u64,
    /// Packets that were refused.
    pub refused: u64,
}

/// What passed of one sandbox since it was attached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// In all.
    pub sums: Sums,
    /// Bits per second that it has for certain now.
    pub guaranteed: u64,
    /// Out and in by address and port, of those used lately; the most busy first.
    pub peers: Vec<(Ipv4Addr, u16, u64, u64)>,
}

/// See the module. Dropped, it takes the network of all sandboxes with it.
#[derive(Debug)]
pub struct Router {
    // Before the namespace: it removes its rules while the cable is there.
    uplink: Uplink,
    namespace: OwnedFd,
    total: u64,
    is_total_assumed: bool,
    queue: Queue,
    denied: Vec<Network>,
    slots: BTreeMap<SandboxId, Slot>,
    last_slot: u16,
}

impl Router {
    /// Makes a router between sandboxes and the calling thread's network.
    ///
    /// # Errors
    /// When this machine or its rights lack something; nothing is left then.
    pub fn open(settings: RouterSettings) -> Result<Self, EgressError> {
        let namespace =
            namespace::make().map_err(EgressError::io("cannot make a network namespace"))?;
        let uplink = Uplink::open(&namespace)?;
        let measured = fs::read_to_string(format!("/sys/class/net/{}/speed", uplink.device))
            .ok()
            .and_then(|mbit| mbit.trim().parse::<u64>().ok())
            .map(|mbit| mbit.saturating_mul(1_000_000));
        let said = settings.total.or(measured);
        let total = said.unwrap_or(ASSUMED_TOTAL).clamp(MIN_TOTAL, MAX_TOTAL);
        let mut router = Self {
            uplink,
            namespace,
            total,
            is_total_assumed: said.is_none(),
            queue: Queue::Bytes,
            denied: settings.denied,
            slots: BTreeMap::new(),
            last_slot: Slot::LAST,
        };
        router.queue = router.inside(|router| router.set_up())??;
        Ok(router)
    }

    /// In words, for the operator.
    pub fn describe(&self) -> String {
        let assumed = if self.is_total_assumed {
            " (assumed: the device does not say; set --egress-mbit)"
        } else {
            ""
        };
        let queue = match self.queue {
            Queue::FlowQueues => "fq_codel",
            Queue::Bytes => "short plain",
        };
        format!(
            "through {}, {} Mbit/s{assumed} split by HTB with {queue} queues; IPv4 only",
            self.uplink.device,
            self.total / 1_000_000
        )
    }

    /// Whether the speed of the line is a guess.
    pub fn is_total_assumed(&self) -> bool {
        self.is_total_assumed
    }

    /// The socket of the sandboxes' resolver, which is the only one they reach.
    ///
    /// # Errors
    /// When it is taken already, or the system refuses.
    pub fn resolver_socket(&self) -> Result<UdpSocket, EgressError> {
        let address = SocketAddrV4::new(GATEWAY, 53);
        self.inside(|_| UdpSocket::bind(address))?.map_err(EgressError::io("cannot listen for DNS"))
    }

    /// Gives a sandbox with this network namespace a network. The namespace must be new: nothing
    /// but a loopback interface, so that no other namespace is mistaken for a sandbox.
    ///
    /// # Errors
    /// When the namespace is not a sandbox's, or a tool fails; the sandbox has no network then.
    pub fn attach(
        &mut self,
        sandbox: SandboxId,
        target: &OwnedFd,
        mode: EgressMode,
    ) -> Result<Attached, EgressError> {
        if self.slots.contains_key(&sandbox) {
            return Err(EgressError::Invalid("it has a network already".into()));
        }
        self.check_is_new(target)?;
        let slot = self.free_slot()?;
        self.slots.insert(sandbox, slot);
        match self.connect(slot, target, mode) {
            Ok(()) => Ok(Attached { address: slot.address() }),
            Err(error) => {
                self.detach(sandbox);
                Err(error)
            }
        }
    }

    /// Takes a sandbox's network away. Fine when it has none, or is gone.
    pub fn detach(&mut self, sandbox: SandboxId) {
        let Some(slot) = self.slots.remove(&sandbox) else { return };
        let rest: Vec<Slot> = self.slots.values().copied().collect();
        let shares = shaper::leave(self.total, slot, &rest);
        // Each by itself: the cable may be gone with the sandbox, and what was only half made is
        // removed as far as it goes.
        drop(self.inside(|_| {
            drop(run("ip", &["link", "delete", &slot.interface()], ""));
            drop(run("nft", &["-f", "-"], &rules::leave(slot)));
            drop(run("tc", &["-force", "-batch", "-"], &shares));
        }));
    }

    /// Changes what a sandbox may reach, at once: connections that are no longer allowed end.
    ///
    /// # Errors
    /// When it has no network, or a tool fails; nothing has changed then.
    pub fn change(
        &self,
        sandbox: SandboxId,
        mode: EgressMode,
        allowed: &[Ipv4Addr],
    ) -> Result<(), EgressError> {
        let text = rules::change(self.slot(sandbox)?, mode, &self.reachable(allowed));
        self.inside(|_| run("nft", &["-f", "-"], &text))?.map(drop)
    }

    /// Lets a sandbox with an allow list reach more addresses.
    ///
    /// # Errors
    /// When it has no network, or a tool fails.
    pub fn allow(&self, sandbox: SandboxId, addresses: &[Ipv4Addr]) -> Result<(), EgressError> {
        let text = rules::allow(self.slot(sandbox)?, &self.reachable(addresses));
        self.inside(|_| run("nft", &["-f", "-"], &text))?.map(drop)
    }

    /// What passed of a sandbox.
    ///
    /// # Errors
    /// When it has no network, or a tool fails.
    pub fn counts(&self, sandbox: SandboxId) -> Result<Counts, EgressError> {
        let slot = self.slot(sandbox)?;
        let guaranteed = self.guaranteed();
        let counts = self.inside(|_| super::counts::read(slot))??;
        Ok(Counts { guaranteed, ..counts })
    }

    /// How much passed of sandboxes: of at most `count`, those after one of them. It takes no
    /// longer for many than for one.
    ///
    /// # Errors
    /// When a tool fails.
    pub fn sums(
        &self,
        after: Option<SandboxId>,
        count: usize,
    ) -> Result<Vec<(SandboxId, Sums)>, EgressError> {
        let all = self.inside(|_| super::counts::sums())??;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let slots = self.slots.range((from, Bound::Unbounded)).take(count);
        let sums = |slot| all.get(slot).copied().unwrap_or_default();
        Ok(slots.map(|(sandbox, slot)| (*sandbox, sums(slot))).collect())
    }

    /// Bits per second that each sandbox has for certain now.
    pub fn guaranteed(&self) -> u64 {
        shaper::share(self.total, self.slots.len())
    }

    fn slot(&self, sandbox: SandboxId) -> Result<Slot, EgressError> {
        let slot = self.slots.get(&sandbox).copied();
        slot.ok_or_else(|| EgressError::Invalid("it has no network".into()))
    }

    /// The rules would refuse the others all the same.
    fn reachable(&self, addresses: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
        let is_reachable = |address: &&Ipv4Addr| !rules::is_never_reached(**address, &self.denied);
        addresses.iter().filter(is_reachable).copied().collect()
    }

    fn set_up(&self) -> Result<Queue, EgressError> {
        for (file, value) in [
            ("ipv6/conf/all/disable_ipv6", "1"),
            ("ipv6/conf/default/disable_ipv6", "1"),
            ("ipv4/conf/all/send_redirects", "0"),
            ("ipv4/conf/default/send_redirects", "0"),
            // Absent where bridges are not filtered like that.
            ("bridge/bridge-nf-call-iptables", "0"),
        ] {
            set(file, value)?;
        }
        run("nft", &["-f", "-"], &rules::base(&self.denied))?;
        let mtu = self.uplink.mtu;
        let own = format!(
            "link add {BRIDGE} address {BRIDGE_MAC} type bridge\n\
             link set {BRIDGE} mtu {mtu}\n\
             address add {GATEWAY}/{BRIDGE_BITS} dev {BRIDGE}\n\
             link set {BRIDGE} up\n"
        );
        run("ip", &["-batch", "-"], &format!("{own}{}", self.uplink.far_end()))?;
        let try_queue = ["qdisc", "replace", "dev", UPLINK, "root", "fq_codel"];
        let queue = match run("tc", &try_queue, "") {
            Ok(_) => Queue::FlowQueues,
            Err(_) => Queue::Bytes,
        };
        run("tc", &["-batch", "-"], &shaper::base(self.total)).map_err(|error| {
            EgressError::unusable(
                format!("traffic cannot be shared out ({error})"),
                "The kernel needs HTB (CONFIG_NET_SCH_HTB, the module sch_htb).",
            )
        })?;
        set("ipv4/ip_forward", "1")?;
        Ok(queue)
    }

    /// Counted and limited first, then plugged in.
    fn connect(&self, slot: Slot, target: &OwnedFd, mode: EgressMode) -> Result<(), EgressError> {
        let all: Vec<Slot> = self.slots.values().copied().collect();
        let peer = format!("/proc/{}/fd/{}", std::process::id(), target.as_raw_fd());
        let (near, mtu, mac) = (slot.interface(), self.uplink.mtu, slot.hardware_address());
        self.inside(|router| {
            run("nft", &["-f", "-"], &rules::join(slot, mode))?;
            let shares = shaper::split(router.total, &all, Some((slot, router.queue)));
            run("tc", &["-batch", "-"], &shares)?;
            let cable = format!(
                "link add {near} mtu {mtu} master {BRIDGE} type veth peer name {INSIDE} address {mac} mtu {mtu} netns {peer}\n\
                 link set {near} type bridge_slave isolated on\n\
                 link set {near} up\n"
            );
            run("ip", &["-batch", "-"], &cable)
        })??;
        let address = slot.address();
        namespace::within(target, || {
            set(&format!("ipv6/conf/{INSIDE}/disable_ipv6"), "1")?;
            let own = format!(
                "address add {address}/32 dev {INSIDE}\n\
                 link set {INSIDE} up\n\
                 route add {GATEWAY} dev {INSIDE}\n\
                 route add default via {GATEWAY}\n"
            );
            run("ip", &["-batch", "-"], &own).map(drop)
        })
        .map_err(EgressError::io("cannot enter the sandbox's network"))?
    }

    fn check_is_new(&self, target: &OwnedFd) -> Result<(), EgressError> {
        let io = EgressError::io("cannot look at the sandbox's network");
        let is_same = || -> io::Result<bool> {
            let target = namespace::identity(target)?;
            Ok(target == namespace::identity(namespace::own()?)?
                || target == namespace::identity(&self.namespace)?)
        };
        match is_same() {
            Ok(true) => return Err(EgressError::Invalid("that is not a sandbox's network".into())),
            Ok(false) => {}
            Err(error) => return Err(io(error)),
        }
        let interfaces =
            namespace::within(target, || fs::read_to_string("/proc/thread-self/net/dev"))
                .and_then(|read| read)
                .map_err(EgressError::io("cannot look at the sandbox's network"))?;
        let names = interfaces.lines().filter_map(|line| Some(line.split_once(':')?.0.trim()));
        if names.into_iter().any(|name| name != "lo") {
            return Err(EgressError::Invalid("that network has interfaces already".into()));
        }
        Ok(())
    }

    /// The next one, so that a slot rests before it is used again: what is under way to one
    /// sandbox does not reach another.
    fn free_slot(&mut self) -> Result<Slot, EgressError> {
        let count = Slot::LAST - Slot::FIRST + 1;
        for _ in 0..count {
            let next = self.last_slot + 1;
            self.last_slot = if next > Slot::LAST { Slot::FIRST } else { next };
            if let Some(slot) = Slot::new(self.last_slot)
                && !self.slots.values().any(|taken| *taken == slot)
            {
                return Ok(slot);
            }
        }
        Err(EgressError::Invalid("there are too many sandboxes with a network".into()))
    }

    fn inside<T: Send>(&self, work: impl FnOnce(&Self) -> T + Send) -> Result<T, EgressError> {
        namespace::within(self.namespace.as_fd(), || work(self))
            .map_err(EgressError::io("cannot enter the router"))
    }
}

/// Sets something of the calling thread's network namespace. What this kernel does not have is
/// not on.
fn set(file: &str, value: &str) -> Result<(), EgressError> {
    match fs::write(format!("/proc/sys/net/{file}"), value) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(EgressError::Io { action: "cannot set up a network", source: error })
        }
        _ => Ok(()),
    }
}
