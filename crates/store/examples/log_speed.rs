//! How fast the log is on this disk: `cargo run --release -p tandem-store --example log_speed DIR`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tandem_proto::{BootId, Epoch, FileId, Generation, NodeId, ReplId};
use tandem_store::{Log, LogError, LogOptions, NewRecord, RecordKind};

fn record(n: u64) -> NewRecord {
    NewRecord {
        repl: ReplId::from_random([(n % 100) as u8; 10]),
        epoch: Epoch(1),
        kind: RecordKind::Update,
        document: FileId::ROOT,
        generation: Generation(1),
        author: None,
        wall_ms: n,
        payload: Bytes::from_static(&[7; 40]),
    }
}

#[tokio::main]
async fn main() -> Result<(), LogError> {
    let directory = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned()));
    let directory = directory.join(format!("log-speed-{}", std::process::id()));
    let node = NodeId::from_random([1; 10]);
    let log = Log::open(&directory, node, BootId(1), LogOptions::default()).await?;

    let mut times: Vec<Duration> = Vec::new();
    for n in 0..2_000 {
        let started = Instant::now();
        let lsn = log.append(record(n))?;
        log.wait_durable(lsn).await?;
        times.push(started.elapsed());
    }
    times.sort();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    println!("one at a time: p50 {:?}, p90 {:?}, p99 {:?}", at(50), at(90), at(99));

    let (count, started) = (1_000_000, Instant::now());
    let mut appending = Duration::ZERO;
    for n in 0..count {
        loop {
            let before = Instant::now();
            match log.append(record(n)) {
                Ok(_) => {
                    appending += before.elapsed();
                    break;
                }
                Err(LogError::Full) => tokio::task::yield_now().await,
                Err(error) => return Err(error),
            }
        }
    }
    log.flush().await?;
    let all = started.elapsed();
    let rate = f64::from(count as u32) / all.as_secs_f64();
    println!(
        "{count} appends durable in {all:?}: {rate:.0}/s, {:?} per call",
        appending / count as u32
    );
    log.close().await?;

    let started = Instant::now();
    let log = Log::open(&directory, node, BootId(2), LogOptions::default()).await?;
    println!("opened in {:?}, {} repls", started.elapsed(), log.repls_with_records().len());
    let started = Instant::now();
    let replayed = log.replay(record(5).repl).await?.len();
    println!("replayed {replayed} records of one repl in {:?}", started.elapsed());
    log.close().await?;
    std::fs::remove_dir_all(&directory).map_err(|error| LogError::Io {
        action: "remove",
        path: directory,
        source: std::sync::Arc::new(error),
    })
}
