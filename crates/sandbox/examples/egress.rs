//! `make bench-egress`: how fairly the router splits the line, in a closed world of network
//! namespaces. Run as root; no packet leaves this machine.

#[path = "../tests/egress/traffic.rs"]
mod traffic;
#[path = "../tests/egress/world.rs"]
mod world;

use std::process::ExitCode;
use std::time::Duration;

use tandem_sandbox::egress::{EgressMode, Router, RouterSettings};
use traffic::{Direction, Times, measure};
use world::{Sandbox, World};

/// Of the line, in bits per second.
const TOTAL: u64 = 100_000_000;
const SANDBOXES: usize = 4;
const GREEDY_FLOWS: usize = 10;
/// Slow start and the first queue are not measured.
const TIMES: Times = Times { warm_up: Duration::from_secs(2), measured: Duration::from_secs(5) };
/// What each of the others must have of its share, and one alone of the line.
const BAR: f64 = 0.95;

fn main() -> ExitCode {
    if !world::is_root() {
        return ExitCode::FAILURE;
    }
    let world = World::new();
    let settings = RouterSettings { total: Some(TOTAL), denied: Vec::new() };
    let mut router = world.on_host(|| Router::open(settings)).expect("a router");
    println!("{}", router.describe());
    println!("Mbit/s with headers, over {:?}; {} Mbit/s in all", TIMES.measured, TOTAL / 1_000_000);
    println!();
    println!("| {:<34} | {:<26} | {:>7} | {:>6} |", "case", "sandboxes", "bar", "worst");
    println!("|{:-<36}|{:-<28}|{:-<9}|{:-<8}|", "", "", "", "");
    let sandboxes: Vec<Sandbox> =
        (0..SANDBOXES).map(|_| Sandbox::attached(&mut router, EgressMode::Open)).collect();
    let mut is_met = true;
    let greedy: Vec<usize> =
        (0..SANDBOXES).map(|index| if index == 0 { GREEDY_FLOWS } else { 1 }).collect();
    let mut alone = vec![0; SANDBOXES];
    alone[1] = 1;
    for (direction, word) in [(Direction::Up, "out"), (Direction::Down, "in")] {
        let rates = measure(&world, &sandboxes, &greedy, (direction, TIMES));
        let share = TOTAL as f64 / SANDBOXES as f64;
        let worst = rates[1..].iter().copied().fold(f64::INFINITY, f64::min) / share;
        is_met &= line(&format!("{word}: {GREEDY_FLOWS} flows against 1, 1, 1"), &rates, worst);
        let rates = measure(&world, &sandboxes, &alone, (direction, TIMES));
        is_met &=
            line(&format!("{word}: one active, 1 flow"), &rates[1..2], rates[1] / TOTAL as f64);
    }
    world.on_host(|| drop(router));
    if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn line(case: &str, rates: &[f64], worst: f64) -> bool {
    let rates: Vec<String> = rates.iter().map(|rate| format!("{:.1}", rate / 1e6)).collect();
    let (rates, worst_percent) = (rates.join(" "), worst * 100.0);
    println!("| {case:<34} | {rates:<26} | {:>5.0} % | {worst_percent:>4.1} % |", BAR * 100.0);
    worst >= BAR
}
