//! A closed world of network namespaces: this machine, an internet that answers at every address,
//! and sandboxes. No packet leaves it.
// Each test that has a world uses a part of it.
#![allow(dead_code)]

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use tandem_proto::SandboxId;
use tandem_sandbox::egress::{EgressMode, Router, RouterSettings, namespace};

/// This machine's address in it.
pub const NODE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// Servers of its internet.
pub const PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 1);
pub const OTHER_PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 2);
/// What no sandbox may reach, though it is there.
pub const PRIVATE: [Ipv4Addr; 6] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(10, 0, 0, 5),
    Ipv4Addr::new(172, 16, 0, 5),
    Ipv4Addr::new(192, 168, 7, 7),
    Ipv4Addr::new(100, 64, 0, 9),
    Ipv4Addr::new(10, 111, 8, 8),
];
/// A connection that is refused is refused at once; one that is dropped would take longer.
pub const SOON: Duration = Duration::from_secs(3);

/// See the module.
pub struct World {
    pub host: OwnedFd,
    pub internet: OwnedFd,
}

/// A namespace that is like a sandbox's.
pub struct Sandbox {
    pub id: SandboxId,
    pub namespace: OwnedFd,
}

/// Whether such worlds can be made.
pub fn is_root() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    println!("left out: tests of egress need root");
    false
}

impl World {
    pub fn new() -> Self {
        let host = namespace::make().expect("a namespace");
        let internet = namespace::make().expect("a namespace");
        let other = format!("/proc/{}/fd/{}", std::process::id(), internet.as_raw_fd());
        let world = Self { host, internet };
        world.on_host(|| {
            tool(
                "ip",
                &format!(
                    "link set lo up\n\
                     link add eth0 mtu 1500 type veth peer name eth0 netns {other}\n\
                     address add {NODE}/24 dev eth0\n\
                     link set eth0 up\n"
                ),
            );
        });
        world.on_internet(|| {
            let mut text = String::from(
                "link set lo up\naddress add 198.18.0.2/24 dev eth0\nlink set eth0 up\n",
            );
            for address in [PUBLIC, OTHER_PUBLIC].iter().chain(&PRIVATE) {
                text += &format!("address add {address}/32 dev lo\n");
            }
            tool("ip", &text);
        });
        world.on_host(|| {
            tool("ip", "route add default via 198.18.0.2\n");
            fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("forwarding");
        });
        world
    }

    pub fn on_host<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        namespace::within(&self.host, work).expect("this machine")
    }

    pub fn on_internet<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        namespace::within(&self.internet, work).expect("the internet")
    }

    /// A server of the internet, at all its addresses.
    pub fn listen(&self, port: u16) -> TcpListener {
        self.on_internet(|| listen_here(port))
    }

    pub fn udp(&self, port: u16) -> UdpSocket {
        self.on_internet(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).expect("a port");
            socket.set_nonblocking(true).expect("its mode");
            socket
        })
    }

    pub fn router(&self) -> Router {
        let settings = RouterSettings { total: Some(1_000_000_000), denied: Vec::new() };
        self.on_host(|| Router::open(settings)).expect("a router")
    }
}

/// A server that does not wait in `accept`.
pub fn listen_here(port: u16) -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("a port");
    listener.set_nonblocking(true).expect("its mode");
    listener
}

impl Sandbox {
    /// Not attached yet.
    pub fn new() -> Self {
        let namespace = namespace::make().expect("a namespace");
        let sandbox = Self { id: SandboxId::from_random(rand::random()), namespace };
        sandbox.inside(|| tool("ip", "link set lo up\n"));
        sandbox
    }

    pub fn attached(router: &mut Router, mode: EgressMode) -> Self {
        let sandbox = Self::new();
        router.attach(sandbox.id, &sandbox.namespace, mode).expect("a network");
        sandbox
    }

    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        namespace::within(&self.namespace, work).expect("a sandbox")
    }

    pub fn connect(&self, address: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
        self.inside(|| TcpStream::connect_timeout(&SocketAddr::from((address, port)), SOON))
    }

    pub fn is_refused(&self, address: Ipv4Addr, port: u16) {
        match self.connect(address, port) {
            Ok(_) => panic!("{address}:{port} was reached"),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                panic!("{address}:{port} was not refused, only lost")
            }
            Err(_) => {}
        }
    }
}

/// The next connection, which must come soon.
pub fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut waiting = [rustix::event::PollFd::new(listener, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec::try_from(SOON).expect("a time");
    rustix::event::poll(&mut waiting, Some(&limit)).expect("a wait");
    let (stream, from) = listener.accept().expect("a connection");
    stream.set_nonblocking(false).expect("its mode");
    stream.set_read_timeout(Some(SOON)).expect("its time");
    stream.set_write_timeout(Some(SOON)).expect("its time");
    (stream, from)
}

/// Runs `ip -batch` or `nft -f` in the calling thread's namespace.
pub fn tool(name: &str, input: &str) {
    let arguments: &[&str] = if name == "ip" { &["-batch", "-"] } else { &["-f", "-"] };
    let mut child =
        Command::new(name).args(arguments).stdin(Stdio::piped()).spawn().expect("a tool");
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("its input");
    assert!(child.wait().expect("its end").success(), "{name}: {input}");
}

/// What a tool prints in the calling thread's namespace.
pub fn said(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(name).args(arguments).output().expect("a tool");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
