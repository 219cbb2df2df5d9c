//! kill -9 in the middle of writing, again and again on one directory: every record that was
//! reported durable is found, whole and in order.
//!
//! The writer is this program itself as a child. A kill does not empty the page cache, so this
//! shows that the log reports and recovers rightly; that fsync reaches the disk, only a power
//! cut would show.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tandem_proto::{BootId, Epoch, FileId, Generation, Lsn, NodeId, ReplId};
use tandem_store::{Log, LogError, LogOptions, NewRecord, RecordKind};

const WRITERS: u8 = 6;
const ROUNDS: u64 = 12;

fn node() -> NodeId {
    NodeId::from_random([1; 10])
}

fn repl(writer: u8) -> ReplId {
    ReplId::from_random([writer; 10])
}

/// Small segments, so that kills hit their beginnings and ends too.
fn options() -> LogOptions {
    LogOptions { segment_bytes: 64 * 1024, ..LogOptions::default() }
}

/// The `count`th record of a writer in a boot: its content follows from these.
fn payload(boot: u64, writer: u8, count: u64) -> Bytes {
    let length = (count * 37 + u64::from(writer) * 11) % 700;
    let mut bytes = count.to_le_bytes().to_vec();
    bytes.extend((0..length).map(|at| (at ^ boot ^ count) as u8));
    bytes.into()
}

#[tokio::test]
#[ignore = "the child of the other test"]
async fn writer() {
    let directory = std::env::var("TANDEM_TEST_LOG").expect("run by the other test");
    let boot: u64 = std::env::var("TANDEM_TEST_BOOT").unwrap().parse().unwrap();
    let log = Log::open(Path::new(&directory), node(), BootId(boot), options()).await.unwrap();
    let log = Arc::new(log);
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let log = log.clone();
        tasks.spawn(async move {
            for count in 0.. {
                let record = NewRecord {
                    repl: repl(writer),
                    epoch: Epoch(boot),
                    kind: RecordKind::Update,
                    document: FileId::ROOT,
                    generation: Generation(1),
                    author: None,
                    wall_ms: count,
                    payload: payload(boot, writer, count),
                };
                match log.append(record) {
                    Ok(lsn) if count % 5 == 0 => log.wait_durable(lsn).await.unwrap(),
                    Ok(_) | Err(LogError::Full) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    let mut durable = log.durable();
    let mut out = std::io::stdout();
    while durable.changed().await.is_ok() {
        let lsn = *durable.borrow_and_update();
        writeln!(out, "durable {lsn}").unwrap();
        out.flush().unwrap();
    }
}

/// Lets a child write and kills it; the last position that it reported durable.
fn write_and_kill(directory: &Path, boot: u64) -> Lsn {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["writer", "--exact", "--ignored", "--nocapture"])
        .env("TANDEM_TEST_LOG", directory)
        .env("TANDEM_TEST_BOOT", boot.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = None;
    // Some kills come right after the first report, some after hundreds.
    let mut left = 1 + boot * boot * 2;
    for line in lines {
        if let Some(lsn) = line.unwrap().strip_prefix("durable ") {
            last = Some(Lsn(lsn.parse().unwrap()));
            left = left.saturating_sub(1);
            if left == 0 {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    last.expect("the child reports something before it is killed")
}

#[tokio::test]
async fn what_was_durable_is_found_after_kill_9() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("log");
    let mut durable = BTreeMap::new();
    for boot in 1..=ROUNDS {
        let directory = directory.clone();
        let reported = tokio::time::timeout(
            Duration::from_secs(60),
            tokio::task::spawn_blocking(move || write_and_kill(&directory, boot)),
        );
        durable.insert(BootId(boot), reported.await.expect("in time").unwrap());
    }
    let log = Log::open(&directory, node(), BootId(1_000), options()).await.unwrap();
    assert!(log.damage().is_empty(), "{:?}", log.damage());
    let mut found: HashMap<BootId, Vec<Lsn>> = HashMap::new();
    for writer in 0..WRITERS {
        let mut next: HashMap<BootId, u64> = HashMap::new();
        let mut order = Vec::new();
        for record in log.replay(repl(writer)).await.unwrap() {
            let count = next.entry(record.boot).or_default();
            assert_eq!(record.payload, payload(record.boot.0, writer, *count), "whole, no gap");
            *count += 1;
            order.push((record.boot, record.lsn));
            found.entry(record.boot).or_default().push(record.lsn);
        }
        assert!(order.is_sorted(), "boots and positions in the order of writing");
    }
    for (boot, last) in durable {
        let mut found = found.remove(&boot).unwrap_or_default();
        found.sort();
        let expected: Vec<Lsn> = (1..=found.len() as u64).map(Lsn).collect();
        assert_eq!(found, expected, "boot {boot}: no position is missing");
        assert!(found.len() as u64 >= last.0, "boot {boot}: {} of {last}", found.len());
    }
    log.close().await.unwrap();
}
