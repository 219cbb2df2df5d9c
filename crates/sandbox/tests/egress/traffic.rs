//! Traffic of many connections at once, and how much of it arrives.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::world::{PUBLIC, Sandbox, World};

/// A full packet, and what of it is a program's own.
const PACKET_BYTES: f64 = 1500.0;
const PAYLOAD_BYTES: f64 = 1448.0;

/// Seen from the sandboxes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
}

/// How long all send before it is measured, and while it is.
#[derive(Clone, Copy)]
pub struct Times {
    pub warm_up: Duration,
    pub measured: Duration,
}

/// Bits per second of each sandbox with so many flows, as they arrive.
pub fn measure(
    world: &World,
    sandboxes: &[Sandbox],
    flows: &[usize],
    (direction, times): (Direction, Times),
) -> Vec<f64> {
    let stop = Arc::new(AtomicBool::new(false));
    let listener = world.on_internet(|| {
        TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], 443))).expect("a server")
    });
    let mut threads = Vec::new();
    let mut arrived: Vec<Arc<AtomicU64>> = Vec::new();
    for (sandbox, flows) in sandboxes.iter().zip(flows) {
        let count = Arc::new(AtomicU64::new(0));
        arrived.push(count.clone());
        for _ in 0..*flows {
            let near = sandbox.connect(PUBLIC, 443).expect("a connection");
            let (far, _) = listener.accept().expect("a connection");
            let (from, to) = match direction {
                Direction::Up => (near, far),
                Direction::Down => (far, near),
            };
            threads.push(send(from, stop.clone()));
            threads.push(receive(to, count.clone(), stop.clone()));
        }
    }
    thread::sleep(times.warm_up);
    let read = || -> Vec<u64> { arrived.iter().map(|n| n.load(Ordering::Relaxed)).collect() };
    let (before, started) = (read(), Instant::now());
    thread::sleep(times.measured);
    let (after, took) = (read(), started.elapsed().as_secs_f64());
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        drop(thread.join());
    }
    let rate = |(before, after): (&u64, &u64)| {
        (after - before) as f64 * 8.0 / took * PACKET_BYTES / PAYLOAD_BYTES
    };
    before.iter().zip(&after).map(rate).collect()
}

fn send(mut stream: TcpStream, stop: Arc<AtomicBool>) -> thread::JoinHandle<()> {
    stream.set_write_timeout(Some(Duration::from_millis(200))).expect("its time");
    thread::spawn(move || {
        let bytes = [1; 64 * 1024];
        while !stop.load(Ordering::Relaxed) {
            drop(stream.write(&bytes));
        }
        // Nothing that waits is sent any more.
        let _ = rustix::net::sockopt::set_socket_linger(stream.as_fd(), Some(Duration::ZERO));
    })
}

fn receive(
    mut stream: TcpStream,
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> thread::JoinHandle<()> {
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("its time");
    thread::spawn(move || {
        let mut bytes = [0; 64 * 1024];
        while !stop.load(Ordering::Relaxed) {
            if let Ok(length) = stream.read(&mut bytes) {
                count.fetch_add(length as u64, Ordering::Relaxed);
            }
        }
    })
}
