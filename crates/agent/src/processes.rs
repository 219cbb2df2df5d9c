//! The processes of the sandbox, as `/proc` shows them.
//!
//! As process 1 of its own namespace the agent answers for everything it sees; elsewhere (the
//! process driver) only for its descendants, orphans included since it is their reaper.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, kill_process};
use tandem_proto::agent::Usage;
use tokio::time::{Instant, sleep};

/// Pause between two looks at whether processes are gone.
const POLL: Duration = Duration::from_millis(10);
/// How long killed processes may take to vanish before the agent stops waiting.
const KILL_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
struct Process {
    pid: Pid,
    parent: i32,
    session: i32,
    zombie: bool,
    /// User and system time, its waited-for children included.
    ticks: u64,
    resident_pages: u64,
}

/// Whether the agent is the first process of its own namespace.
pub fn owns_namespace() -> bool {
    getpid().is_init()
}

/// Process ids of the sandbox, without the agent.
pub fn pids() -> Vec<Pid> {
    list().into_iter().map(|process| process.pid).filter(|pid| *pid != getpid()).collect()
}

/// Sends a signal to every process of a session.
pub fn signal_session(session: Pid, signal: Signal) {
    let session = session.as_raw_nonzero().get();
    for process in list() {
        if process.session == session && process.pid != getpid() {
            // It may have ended since.
            let _ = kill_process(process.pid, signal);
        }
    }
}

/// Ends everything but the agent: asks, waits for `grace`, then kills until nothing is left.
pub async fn stop_all(grace: Duration) {
    signal_all(Signal::TERM);
    if wait_until_none(grace).await {
        return;
    }
    let limit = Instant::now() + KILL_LIMIT;
    while Instant::now() < limit {
        // A fork bomb makes new ones between two rounds; each round leaves fewer.
        signal_all(Signal::KILL);
        if wait_until_none(POLL * 4).await {
            return;
        }
    }
    crate::say(format_args!("some processes did not end"));
}

async fn wait_until_none(limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        // Ended ones too: they are ours to reap, and until then they take a place.
        if pids().is_empty() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        sleep(POLL).await;
    }
}

fn signal_all(signal: Signal) {
    let own = getpid();
    for process in list().into_iter().filter(|process| process.pid != own && !process.zombie) {
        let _ = kill_process(process.pid, signal);
        if signal == Signal::TERM {
            if ignores(process.pid, Signal::TERM) {
                // An interactive shell: it ends when its terminal hangs up.
                let _ = kill_process(process.pid, Signal::HUP);
            }
            // A stopped process would not see the request.
            let _ = kill_process(process.pid, Signal::CONT);
        }
    }
}

/// Whether a process ignores a signal, by `SigIgn` of its status.
fn ignores(pid: Pid, signal: Signal) -> bool {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(path).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal.as_raw() - 1)) != 0
}

/// CPU, memory and processes of the sandbox, and the disk its workspace is on.
pub fn usage(workspace: &Path) -> Usage {
    let processes = list();
    let tick_us = 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
    let ticks: u64 = processes.iter().map(|process| process.ticks).sum();
    let pages: u64 = processes.iter().map(|process| process.resident_pages).sum();
    let (disk_used_bytes, disk_total_bytes) = match rustix::fs::statvfs(workspace) {
        Ok(disk) => {
            let block = disk.f_frsize.max(1);
            (
                disk.f_blocks.saturating_sub(disk.f_bfree).saturating_mul(block),
                disk.f_blocks.saturating_mul(block),
            )
        }
        Err(_) => (0, 0),
    };
    Usage {
        cpu_us: ticks.saturating_mul(tick_us),
        memory_bytes: pages.saturating_mul(rustix::param::page_size() as u64),
        processes: u32::try_from(processes.len()).unwrap_or(u32::MAX),
        disk_used_bytes,
        disk_total_bytes,
    }
}

/// Every process of the sandbox, the agent included.
fn list() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut all: Vec<Process> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
        .filter_map(read)
        .collect();
    if !owns_namespace() {
        keep_descendants(&mut all);
    }
    all
}

fn keep_descendants(all: &mut Vec<Process>) {
    let own = getpid().as_raw_nonzero().get();
    let parents: HashMap<i32, i32> =
        all.iter().map(|process| (process.pid.as_raw_nonzero().get(), process.parent)).collect();
    let is_ours = |pid: i32| {
        let mut at = pid;
        // As many steps as there are processes: a list read while it changes may hold a circle.
        for _ in 0..=parents.len() {
            if at == own {
                return true;
            }
            match parents.get(&at) {
                Some(parent) => at = *parent,
                None => return false,
            }
        }
        false
    };
    all.retain(|process| is_ours(process.pid.as_raw_nonzero().get()));
}

fn read(pid: i32) -> Option<Process> {
    let mut text = String::new();
    std::fs::File::open(format!("/proc/{pid}/stat"))
        .ok()?
        .take(4096)
        .read_to_string(&mut text)
        .ok()?;
    parse(pid, &text)
}

fn parse(pid: i32, stat: &str) -> Option<Process> {
    // The name is the program's to choose and may hold spaces and brackets.
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|text| text.parse::<i64>().ok());
    let ticks = (11..=14).filter_map(number).filter_map(|ticks| u64::try_from(ticks).ok()).sum();
    Some(Process {
        pid: Pid::from_raw(pid)?,
        parent: i32::try_from(number(1)?).ok()?,
        session: i32::try_from(number(3)?).ok()?,
        zombie: matches!(fields.first(), Some(&"Z" | &"X")),
        ticks,
        resident_pages: u64::try_from(number(21)?).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_forge_fields() {
        let stat =
            "77 (a) Z 1 1) S 5 77 76 34816 77 4194304 1 2 0 0 10 20 3 4 20 0 1 0 99 1000 42 0";
        let process = parse(77, stat).unwrap();
        assert_eq!((process.parent, process.session, process.zombie), (5, 76, false));
        assert_eq!((process.ticks, process.resident_pages), (37, 42));
        assert!(parse(1, "1 (x").is_none());
    }

    #[test]
    fn this_process_is_seen() {
        let usage = usage(Path::new("/"));
        assert!(usage.processes >= 1 && usage.memory_bytes > 0 && usage.disk_total_bytes > 0);
    }
}
