//! The network of sandboxes, in closed worlds.

mod traffic;
mod world;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use tandem_sandbox::egress::{EgressError, EgressMode, GATEWAY, Router, RouterSettings};
use traffic::{Direction, Times, measure};
use world::{
    NODE, OTHER_PUBLIC, PRIVATE, PUBLIC, SOON, Sandbox, World, accept, is_root, listen_here, said,
    tool,
};

/// Nobody has come to a server.
fn is_quiet(listener: &std::net::TcpListener) -> bool {
    matches!(listener.accept(), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn the_internet_is_reached_and_nothing_else() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let mut router = world.router();
    let sandbox = Sandbox::attached(&mut router, EgressMode::Open);
    let neighbour = Sandbox::attached(&mut router, EgressMode::Open);

    for port in [80, 443, 2001, 65535] {
        let server = world.listen(port);
        sandbox.connect(PUBLIC, port).unwrap();
        let (_, from) = accept(&server);
        assert_eq!(from.ip(), NODE, "sandboxes are seen as the node");
    }
    for port in [22, 25, 53, 465, 587, 1024, 2000] {
        let server = world.listen(port);
        sandbox.is_refused(PUBLIC, port);
        assert!(is_quiet(&server), "{port}");
    }
    let server = world.listen(80);
    for address in PRIVATE {
        sandbox.is_refused(address, 80);
        sandbox.is_refused(address, 443);
    }
    assert!(is_quiet(&server), "a packet came to a private address");

    // This machine, at every address it has, and whatever listens on the router.
    let node = world.on_host(|| listen_here(8080));
    let near = world.on_host(|| said("ip", &["-4", "-o", "address", "show"]));
    let near: Vec<Ipv4Addr> =
        near.split_whitespace().filter_map(|word| word.split_once('/')?.0.parse().ok()).collect();
    assert!(near.len() >= 3, "{near:?}");
    for address in near.into_iter().filter(|address| !address.is_loopback()).chain([GATEWAY]) {
        sandbox.is_refused(address, 8080);
    }
    assert!(is_quiet(&node), "the node was reached");

    // The neighbour, which listens at all its addresses.
    let listening = neighbour.inside(|| listen_here(8080));
    let there = neighbour.inside(|| said("ip", &["-4", "-o", "address", "show", "dev", "eth0"]));
    let there: Ipv4Addr = there
        .split_whitespace()
        .find_map(|word| word.split_once('/')?.0.parse().ok())
        .expect("an address");
    sandbox.is_refused(there, 8080);
    assert!(is_quiet(&listening), "a neighbour was reached");
    // And from outside nobody comes in.
    let from_host = world.on_host(|| {
        let target = SocketAddr::from((there, 8080));
        TcpStream::connect_timeout(&target, Duration::from_millis(200)).is_ok()
    });
    assert!(!from_host && is_quiet(&listening));
    world.on_host(|| drop(router));
}

#[test]
fn only_tcp_over_ipv4_goes_out() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let mut router = world.router();
    let sandbox = Sandbox::attached(&mut router, EgressMode::Open);
    for port in [53, 123, 443, 5000] {
        let server = world.udp(port);
        let refused = sandbox.inside(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            socket.connect((PUBLIC, port)).unwrap();
            socket.send(b"hello").and_then(|_| socket.recv(&mut [0; 8])).unwrap_err()
        });
        assert_ne!(refused.kind(), ErrorKind::WouldBlock, "lost, not refused: {refused}");
        assert!(server.recv(&mut [0; 8]).is_err(), "UDP to port {port} went out");
    }
    let six = sandbox.inside(|| {
        let target = SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 443));
        TcpStream::connect_timeout(&target, SOON).unwrap_err()
    });
    assert_ne!(six.kind(), ErrorKind::TimedOut);
    let addresses = sandbox.inside(|| said("ip", &["-6", "-o", "address", "show", "dev", "eth0"]));
    assert_eq!(addresses, "", "no IPv6 address");
    world.on_host(|| drop(router));
}

#[test]
fn nobody_sends_with_an_address_that_is_not_his() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let mut router = world.router();
    let sandbox = Sandbox::attached(&mut router, EgressMode::Open);
    let neighbour = Sandbox::attached(&mut router, EgressMode::Open);
    let server = world.listen(80);
    // With rights that no sandbox has.
    sandbox.inside(|| {
        tool(
            "ip",
            &format!(
                "address add 10.111.0.3/32 dev eth0\n\
                 route replace default via {GATEWAY} src 10.111.0.3\n"
            ),
        );
    });
    let lost = sandbox.inside(|| {
        let target = SocketAddr::from((PUBLIC, 80));
        TcpStream::connect_timeout(&target, Duration::from_millis(300)).is_err()
    });
    assert!(lost && is_quiet(&server));
    assert_eq!(router.counts(neighbour.id).unwrap().sums.sent, 0);
    // The neighbour is not disturbed.
    neighbour.connect(PUBLIC, 80).unwrap();
    world.on_host(|| drop(router));
}

#[test]
fn bytes_are_counted_by_address_and_port() {
    if !is_root() {
        return;
    }
    const OUT: usize = 300_000;
    const IN: usize = 700_000;
    let world = World::new();
    let mut router = world.router();
    let sandbox = Sandbox::attached(&mut router, EgressMode::Open);
    let server = world.listen(8080);
    let mut client = sandbox.connect(PUBLIC, 8080).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    let (mut served, _) = accept(&server);
    std::thread::scope(|scope| {
        scope.spawn(|| client.write_all(&vec![1; OUT]).unwrap());
        served.read_exact(&mut vec![0; OUT]).unwrap();
    });
    std::thread::scope(|scope| {
        scope.spawn(|| served.write_all(&vec![1; IN]).unwrap());
        client.read_exact(&mut vec![0; IN]).unwrap();
    });
    sandbox.is_refused(PUBLIC, 22);
    let counts = router.counts(sandbox.id).unwrap();
    let near =
        |counted: u64, sent: usize| (sent as u64..sent as u64 + sent as u64 / 4).contains(&counted);
    assert!(near(counts.sums.sent, OUT) && near(counts.sums.received, IN), "{counts:?}");
    assert_eq!(counts.peers.len(), 1, "what is refused has no line: {counts:?}");
    let (address, port, sent, received) = counts.peers[0];
    assert_eq!((address, port), (PUBLIC, 8080));
    assert!(near(sent, OUT) && near(received, IN), "{counts:?}");
    assert!(counts.sums.refused >= 1);
    assert!(counts.guaranteed > 900_000_000);
    let neighbour = Sandbox::attached(&mut router, EgressMode::Open);
    let all = router.sums(None, 10).unwrap();
    assert!(all.contains(&(sandbox.id, counts.sums)), "{all:?}");
    assert!(all.contains(&(neighbour.id, Default::default())), "{all:?}");
    let rest = router.sums(Some(all[0].0), 10).unwrap();
    assert_eq!(rest, all[1..], "a part at a time");
    world.on_host(|| drop(router));
}

/// Whether a byte still comes through within a short time.
fn still_speaks(client: &mut TcpStream, server: &mut TcpStream) -> bool {
    server.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    client.write_all(b"x").is_ok() && server.read_exact(&mut [0]).is_ok()
}

#[test]
fn modes_change_under_live_connections() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let mut router = world.router();
    let sandbox = Sandbox::attached(&mut router, EgressMode::None);
    let server = world.listen(443);
    sandbox.is_refused(PUBLIC, 443);
    router.change(sandbox.id, EgressMode::Open, &[]).unwrap();
    let mut kept = sandbox.connect(PUBLIC, 443).unwrap();
    let (mut kept_end, _) = accept(&server);
    let mut ended = sandbox.connect(OTHER_PUBLIC, 443).unwrap();
    let (mut ended_end, _) = accept(&server);
    assert!(still_speaks(&mut kept, &mut kept_end));
    assert!(still_speaks(&mut ended, &mut ended_end));

    router.change(sandbox.id, EgressMode::AllowList, &[PUBLIC, PRIVATE[0]]).unwrap();
    assert!(still_speaks(&mut kept, &mut kept_end));
    assert!(!still_speaks(&mut ended, &mut ended_end));
    sandbox.is_refused(OTHER_PUBLIC, 443);
    sandbox.is_refused(PRIVATE[0], 443);
    router.allow(sandbox.id, &[OTHER_PUBLIC, PUBLIC]).unwrap();
    sandbox.connect(OTHER_PUBLIC, 443).unwrap();

    router.change(sandbox.id, EgressMode::None, &[]).unwrap();
    assert!(!still_speaks(&mut kept, &mut kept_end));
    sandbox.is_refused(PUBLIC, 443);
    world.on_host(|| drop(router));
}

#[test]
fn sandboxes_come_and_go_without_breaking_connections() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let mut router = world.router();
    let first = Sandbox::attached(&mut router, EgressMode::Open);
    let server = world.listen(443);
    let mut client = first.connect(PUBLIC, 443).unwrap();
    let (mut end, _) = accept(&server);
    let whole = router.counts(first.id).unwrap().guaranteed;
    let others: Vec<Sandbox> =
        (0..3).map(|_| Sandbox::attached(&mut router, EgressMode::Open)).collect();
    assert_eq!(router.counts(first.id).unwrap().guaranteed, whole / 4);
    assert!(still_speaks(&mut client, &mut end));
    for other in &others {
        router.detach(other.id);
        let names = other.inside(|| said("ip", &["-o", "link", "show"]));
        assert_eq!(names.lines().count(), 1, "{names}");
    }
    // One that ended by itself took its cable along.
    let gone = Sandbox::attached(&mut router, EgressMode::Open);
    let gone_id = gone.id;
    drop(gone);
    router.detach(gone_id);
    assert_eq!(router.counts(first.id).unwrap().guaranteed, whole);
    assert!(still_speaks(&mut client, &mut end));
    assert!(router.counts(gone_id).is_err());
    world.on_host(|| drop(router));
}

#[test]
fn only_new_networks_are_attached() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let mut router = world.router();
    let id = Sandbox::new().id;
    let refused = |router: &mut Router, target: &std::os::fd::OwnedFd| {
        let refused = world.on_host(|| router.attach(id, target, EgressMode::Open)).unwrap_err();
        assert!(matches!(refused, EgressError::Invalid(_)), "{refused}");
    };
    refused(&mut router, &world.host);
    refused(&mut router, &world.internet);
    let busy = Sandbox::new();
    busy.inside(|| tool("ip", "link add dummy type veth peer name other\n"));
    refused(&mut router, &busy.namespace);
    let sandbox = Sandbox::attached(&mut router, EgressMode::Open);
    assert!(router.attach(sandbox.id, &sandbox.namespace, EgressMode::Open).is_err());
    world.on_host(|| drop(router));
}

#[test]
fn many_connections_at_once_are_refused() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let mut router = world.router();
    let sandbox = Sandbox::attached(&mut router, EgressMode::Open);
    let neighbour = Sandbox::attached(&mut router, EgressMode::Open);
    let server = world.listen(80);
    let target = SocketAddr::from((PUBLIC, 80));
    let mut held = Vec::new();
    let refused = sandbox.inside(|| {
        (0..2_000).find(|_| match TcpStream::connect_timeout(&target, SOON) {
            Ok(stream) => {
                held.push((stream, accept(&server)));
                false
            }
            Err(_) => true,
        })
    });
    assert!(refused.is_some(), "all of {}", held.len());
    drop(held);
    let other = world.listen(443);
    neighbour.connect(PUBLIC, 443).unwrap();
    accept(&other);
    world.on_host(|| drop(router));
}

#[test]
fn nothing_is_left_on_this_machine() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let state = || {
        world.on_host(|| {
            let links = said("ip", &["-o", "link", "show"]);
            let links = links.lines().count();
            (links, said("nft", &["list", "ruleset"]), said("iptables", &["-S", "FORWARD"]))
        })
    };
    // As Docker leaves it.
    world.on_host(|| drop(said("iptables", &["-P", "FORWARD", "DROP"])));
    let before = state();
    let mut router = world.router();
    let server = world.listen(80);
    let sandbox = Sandbox::attached(&mut router, EgressMode::Open);
    sandbox.connect(PUBLIC, 80).unwrap();
    accept(&server);
    assert_ne!(state(), before);
    world.on_host(|| drop(router));
    assert_eq!(state(), before);

    // One that died with its server is cleared away by the next.
    let router = world.router();
    std::mem::forget(router);
    world.on_host(|| {
        let links = said("ip", &["-o", "link", "show"]);
        let name = links.split([' ', ':', '@']).find(|word| word.starts_with("tdm")).unwrap();
        tool("ip", &format!("link delete {name}\n"));
    });
    assert_ne!(state(), before);
    let next = world.router();
    world.on_host(|| drop(next));
    assert_eq!(state(), before);
}

#[test]
fn what_is_missing_is_named() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let open = || world.on_host(|| Router::open(RouterSettings::default())).unwrap_err();
    world.on_host(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap());
    assert!(open().to_string().contains("ip_forward=1"));
    world.on_host(|| {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        tool("ip", "route del default\n");
    });
    assert!(open().to_string().contains("default route"));
}

/// `make bench-egress` measures it with more care, and alone on the machine.
#[test]
fn ten_connections_have_no_more_than_one() {
    if !is_root() {
        return;
    }
    const TOTAL: u64 = 20_000_000;
    let world = World::new();
    let settings = RouterSettings { total: Some(TOTAL), denied: Vec::new() };
    let mut router = world.on_host(|| Router::open(settings)).unwrap();
    let sandboxes = [0, 1].map(|_| Sandbox::attached(&mut router, EgressMode::Open));
    let times = Times { warm_up: Duration::from_secs(1), measured: Duration::from_millis(1500) };
    for direction in [Direction::Up, Direction::Down] {
        let rates = measure(&world, &sandboxes, &[10, 1], (direction, times));
        let share = TOTAL as f64 / 2.0;
        assert!(rates[1] > 0.8 * share && rates[0] < 1.3 * share, "{rates:?}");
    }
    world.on_host(|| drop(router));
}
