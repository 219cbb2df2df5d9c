//! Time from a machine's death to its repls' being there again, from the blob store alone: their
//! edits are in the shipped log only.
//!
//! `make bench-recovery`. REPLS=1,100,1000 says how many.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tandem_testkit::{Api, Options, Server, machine};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const AT_ONCE: usize = 16;

fn percentile(times: &[Duration], percent: usize) -> f64 {
    let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(at).map_or(0.0, Duration::as_secs_f64) * 1e3
}

/// Makes a repl and leaves an edit of it in the log.
async fn fill(api: Api) -> Result<String> {
    let repl = api.create("static").await?.id.to_string();
    api.write(&repl, "notes.txt", "a file\n").await?;
    let mut live = api.live(&repl).await?;
    live.join("notes.txt").await?;
    live.append("notes.txt", "the last line\n").await?;
    live.stored("notes.txt").await?;
    Ok(repl)
}

async fn in_parallel<T: Send + 'static, F: Future<Output = Result<T>> + Send + 'static>(
    work: impl Iterator<Item = F>,
) -> Result<Vec<T>> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for task in work {
        let places = places.clone();
        running.spawn(async move {
            let _place = places.acquire().await.context("the end")?;
            task.await
        });
    }
    let mut done = Vec::new();
    while let Some(outcome) = running.join_next().await {
        done.push(outcome??);
    }
    Ok(done)
}

async fn measure(count: usize) -> Result<()> {
    let args = ["--save-after", "1h", "--save-within", "1h", "--sandbox", "process"];
    let options = Options {
        args: args.map(str::to_owned).to_vec(),
        idle_grace: "1h".to_owned(),
        ..Options::default()
    };
    let mut server = Server::start_with(options).await?;
    let api = server.api();
    let repls = in_parallel((0..count).map(|_| fill(api.clone()))).await?;
    server.kill().await?;
    server.wipe_data_dir()?;
    let died = Instant::now();
    server.restart().await?;
    let serving = died.elapsed();
    let read = |repl: String, api: Api| async move {
        let asked = Instant::now();
        let text = api.text(&repl, "notes.txt").await?;
        ensure!(text == "a file\nthe last line\n", "{repl} came back as {text:?}");
        Ok((asked.elapsed(), died.elapsed()))
    };
    let first = repls.first().context("a repl")?.clone();
    let (_, first) = read(first, api.clone()).await?;
    let mut times: Vec<(Duration, Duration)> =
        in_parallel(repls.into_iter().map(|repl| read(repl, api.clone()))).await?;
    let all = died.elapsed();
    times.sort();
    let each: Vec<Duration> = times.into_iter().map(|(each, _)| each).collect();
    println!(
        "| {count} | {:.2} s | {:.2} s | {:.2} s | {:.0} ms | {:.0} ms |",
        serving.as_secs_f64(),
        first.as_secs_f64(),
        all.as_secs_f64(),
        percentile(&each, 50),
        percentile(&each, 99),
    );
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    println!("{}", machine()?);
    println!(
        "| repls | server listens | first repl's text | all repls' texts | one, p50 | one, p99 |"
    );
    println!("|---|---|---|---|---|---|");
    let counts = std::env::var("REPLS").unwrap_or_else(|_| "1,100,1000".to_owned());
    for count in counts.split(',') {
        measure(count.trim().parse().context("read REPLS")?).await?;
    }
    Ok(())
}
