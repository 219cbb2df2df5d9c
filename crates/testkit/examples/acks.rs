//! What acks that wait for the disk cost: fan-out with them and without, and how late they come.
//!
//! `make bench-acks`. The clients of y-websocket's protocol get no acks; the server logs their edits
//! all the same, so the first comparison is about the acks alone. The last line runs on a file
//! system in memory, where an fsync costs nothing: there the whole price of durability shows.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tandem_testkit::{Api, Options, Replica, Server, YSocket, machine};
use tokio::task::JoinSet;

const READERS: usize = 16;
const EDITS: usize = 4_000;
/// Edits on their way at once.
const WINDOW: usize = 128;
const RUNS: usize = 5;
/// Edits of the latency run, and how far apart.
const ACKS: usize = 1_500;
const APART: Duration = Duration::from_millis(4);

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn microseconds(time: Duration) -> u128 {
    time.as_micros()
}

/// How long the disk takes to make 200 bytes durable.
fn fsyncs(folder: &Path, count: usize, apart: Duration) -> Result<Vec<Duration>> {
    let mut file = std::fs::File::create(folder.join("fsync-probe"))?;
    // As the log does: the file's length is settled before.
    file.write_all(&vec![0; 1 << 20])?;
    file.sync_all()?;
    let mut file = std::fs::OpenOptions::new().write(true).open(folder.join("fsync-probe"))?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begin = Instant::now();
        file.write_all(&[7; 200])?;
        file.sync_data()?;
        times.push(begin.elapsed());
        std::thread::sleep(apart);
    }
    times.sort();
    Ok(times)
}

/// Updates of one person who types.
fn updates(count: usize) -> Vec<Vec<u8>> {
    let person = Replica::default();
    (0..count).map(|number| person.insert(number as u32, "x")).collect()
}

async fn fresh(server: &Server) -> Result<(Api, String)> {
    let api = server.api();
    let repl = api.create("python").await?.id.to_string();
    api.write(&repl, "f.txt", "").await?;
    Ok((api, repl))
}

/// Deliveries per second with `tandem.v1`, every edit acked.
async fn with_acks(server: &Server) -> Result<f64> {
    let (api, repl) = fresh(server).await?;
    let (count, seen) = tokio::sync::watch::channel(0usize);
    let mut readers = JoinSet::new();
    for number in 0..READERS {
        let mut socket = api.live(&repl).await?;
        socket.join("f.txt").await?;
        let count = (number == 0).then(|| count.clone());
        readers.spawn(async move {
            for received in 1..=EDITS {
                socket.socket().next().await?;
                if let Some(count) = &count {
                    count.send_replace(received);
                }
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    let mut writer = api.live(&repl).await?;
    writer.join("f.txt").await?;
    let updates = updates(EDITS);
    let begin = Instant::now();
    for (sent, update) in updates.iter().enumerate() {
        let mut seen = seen.clone();
        seen.wait_for(|seen| seen + WINDOW > sent).await?;
        writer.send_update("f.txt", update).await?;
    }
    while let Some(reader) = readers.join_next().await {
        reader??;
    }
    let took = begin.elapsed();
    writer.fsynced("f.txt").await?;
    Ok((EDITS * READERS) as f64 / took.as_secs_f64())
}

/// The same with y-websocket's protocol, which has no acks.
async fn without_acks(server: &Server) -> Result<f64> {
    let (api, repl) = fresh(server).await?;
    let (count, seen) = tokio::sync::watch::channel(0usize);
    let mut readers = JoinSet::new();
    for number in 0..READERS {
        let mut socket = YSocket::open(&api, &repl, "f.txt").await?;
        socket.synced().await?;
        let count = (number == 0).then(|| count.clone());
        readers.spawn(async move {
            for received in 1..=EDITS {
                socket.socket().next().await?;
                if let Some(count) = &count {
                    count.send_replace(received);
                }
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    let mut writer = YSocket::open(&api, &repl, "f.txt").await?;
    writer.synced().await?;
    let updates = updates(EDITS);
    let begin = Instant::now();
    for (sent, update) in updates.iter().enumerate() {
        let mut seen = seen.clone();
        seen.wait_for(|seen| seen + WINDOW > sent).await?;
        writer.send_sync(2, update).await?;
    }
    while let Some(reader) = readers.join_next().await {
        reader??;
    }
    Ok((EDITS * READERS) as f64 / begin.elapsed().as_secs_f64())
}

/// From an edit to its ack, one edit at a time.
async fn latencies(server: &Server) -> Result<Vec<Duration>> {
    let (api, repl) = fresh(server).await?;
    let mut writer = api.live(&repl).await?;
    writer.join("f.txt").await?;
    let mut times = Vec::with_capacity(ACKS);
    for update in updates(ACKS) {
        let begin = Instant::now();
        writer.send_update("f.txt", &update).await?;
        writer.fsynced("f.txt").await?;
        times.push(begin.elapsed());
        tokio::time::sleep(APART).await;
    }
    times.sort();
    Ok(times)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main]
async fn main() -> Result<()> {
    println!("{}", machine()?);
    let server = Server::start().await?;
    let (mut on, mut off) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        on.push(with_acks(&server).await.context("with acks")?);
        off.push(without_acks(&server).await.context("without acks")?);
    }
    let (on, off) = (median(on), median(off));
    println!(
        "fan-out to {READERS} readers, median of {RUNS}: {on:.0} deliveries/s with fsynced acks, \
         {off:.0} without acks: {:.0} %",
        100.0 * on / off
    );
    let folder = server.data_dir().parent().context("the server's folder")?.to_owned();
    let probing = tokio::task::spawn_blocking(move || fsyncs(&folder, ACKS, APART));
    let acks = latencies(&server).await?;
    let disk = probing.await??;
    let (ack, fsync) = (percentile(&acks, 99), percentile(&disk, 99));
    println!(
        "ack: p50 {} µs, p99 {} µs; the disk's own fdatasync in the same run: p50 {} µs, p99 {} µs: \
         {:.1} × at p99",
        microseconds(percentile(&acks, 50)),
        microseconds(ack),
        microseconds(percentile(&disk, 50)),
        microseconds(fsync),
        ack.as_secs_f64() / fsync.as_secs_f64()
    );
    drop(server);
    let folder = Some(PathBuf::from("/dev/shm")).filter(|folder| folder.is_dir());
    let Some(folder) = folder else { return Ok(()) };
    let server = Server::start_with(Options { folder: Some(folder), ..Options::default() }).await?;
    let mut free = Vec::new();
    for _ in 0..RUNS {
        free.push(with_acks(&server).await.context("in memory")?);
    }
    let free = median(free);
    println!(
        "the same on a file system in memory: {free:.0} deliveries/s, so that the disk costs {:.0} %",
        100.0 * (1.0 - on / free)
    );
    Ok(())
}
