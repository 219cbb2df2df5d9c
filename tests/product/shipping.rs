//! What shipping the log promises and costs, counted at the S3 server's door.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tandem_testkit::{FaultProxy, LiveSocket, Options, S3Server, Server, eventually, within};
use tokio::task::JoinSet;

/// An edit is in the blob store after so long: a second of gathering and the request.
const SOON: Duration = Duration::from_secs(3);

async fn server_on(s3: &S3Server, proxy: &FaultProxy, args: &[&str]) -> Result<Server> {
    Server::start_with(Options {
        blob_store: Some(s3.blob_store_at(proxy.address())),
        env: s3.env(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        ..Options::default()
    })
    .await
}

async fn type_for(mut live: LiveSocket, time: Duration) -> Result<(LiveSocket, u64)> {
    let start = Instant::now();
    let mut edits = 0;
    while start.elapsed() < time {
        live.append("main.py", "x").await?;
        edits += 1;
        live.listen(Duration::from_millis(150)).await?;
    }
    live.fsynced("main.py").await?;
    Ok((live, edits))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_a_second_whatever_the_number_of_repls() -> Result<()> {
    // For measuring: 200 repls, and a minute to see the snapshots that come every 30 s.
    let number = |name, default| {
        std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
    };
    let most = number("TANDEM_TEST_REPLS", 6) as usize;
    let time = Duration::from_secs(number("TANDEM_TEST_SECONDS", 6));
    let s3 = S3Server::start().await?;
    let proxy = FaultProxy::start(s3.address()).await?;
    let server = server_on(&s3, &proxy, &[]).await?;
    let api = server.api();
    let mut open: Vec<LiveSocket> = Vec::new();
    for count in [1, most] {
        while open.len() < count {
            let repl = api.create("python").await?.id.to_string();
            let mut live = api.live(&repl).await?;
            live.join("main.py").await?;
            live.append("main.py", "# first\n").await?;
            live.fsynced("main.py").await?;
            open.push(live);
        }
        let mut typing = JoinSet::new();
        proxy.take_counts();
        let start = Instant::now();
        for live in open.drain(..) {
            typing.spawn(type_for(live, time));
        }
        let mut edits = 0;
        while let Some(typed) = typing.join_next().await {
            let (live, typed) = typed??;
            edits += typed;
            open.push(live);
        }
        let seconds = start.elapsed().as_secs_f64();
        let counts = proxy.take_counts();
        let shipped = counts.get("PUT log").copied().unwrap_or_default();
        let all: u64 = counts.values().sum();
        println!(
            "{count} repls, {edits} edits in {seconds:.1} s: {:.2} log PUTs a second, {:.0} requests for each active document-hour; {counts:?}",
            shipped as f64 / seconds,
            all as f64 / count as f64 * 3600.0 / seconds,
        );
        ensure!(shipped >= 3, "hardly anything was shipped: {counts:?}");
        ensure!(shipped as f64 <= seconds + 2.0, "{shipped} in {seconds:.1} s");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_double_tick_comes_within_a_second_or_two_and_chunks_go() -> Result<()> {
    let s3 = S3Server::start().await?;
    let proxy = FaultProxy::start(s3.address()).await?;
    let server = server_on(&s3, &proxy, &["--save-after=4s"]).await?;
    let api = server.api();
    let repl = api.create("python").await?.id.to_string();
    let mut live = api.live(&repl).await?;
    live.join("main.py").await?;
    for _ in 0..3 {
        live.append("main.py", "# soon\n").await?;
        within("the double tick", SOON, live.stored("main.py")).await?;
    }
    let chunks = || {
        let mut found = 0;
        count_files(&s3.bucket().join("data/nodes"), "log", &mut found);
        found
    };
    ensure!(chunks() > 0);
    eventually("the chunks are covered and gone", SOON * 10, || async {
        Ok((chunks() == 0).then_some(()))
    })
    .await
}

/// Files in folders of this name.
fn count_files(folder: &std::path::Path, name: &str, found: &mut usize) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            count_files(&entry.path(), name, found);
        } else if folder.ends_with(name) {
            *found += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_without_a_database_in_common_do_not_share_a_store_by_mistake() -> Result<()> {
    let s3 = S3Server::start().await?;
    let proxy = FaultProxy::start(s3.address()).await?;
    let mut first = server_on(&s3, &proxy, &[]).await?;
    let refused = server_on(&s3, &proxy, &[]).await.err().context("a second server started")?;
    let words = format!("{refused:#}");
    ensure!(words.contains("another server") && words.contains("--take-over"), "{words}");
    let second = server_on(&s3, &proxy, &["--take-over"]).await?;
    drop(second);
    // A stop in good order lets the next one start at once.
    first.stop().await?;
    let started = Instant::now();
    let third = server_on(&s3, &proxy, &[]).await?;
    ensure!(started.elapsed() < Duration::from_secs(15), "it waited for a server that had left");
    let repls: Vec<_> = third.api().repls().await?;
    ensure!(repls.is_empty());
    Ok(())
}
