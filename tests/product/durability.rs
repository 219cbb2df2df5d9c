use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use tandem_proto::role::Role;
use tandem_testkit::{Api, LIMIT, LiveDocument, Options, S3Server, Server, eventually};
use tokio::task::JoinSet;

use crate::{at_rest, python, python_in_sandbox, python_on};

const ROUNDS: usize = 20;
const WRITERS: usize = 4;

/// One person who types line after line; what was acked is remembered over every crash.
struct Writer {
    name: usize,
    document: &'static str,
    typed: u64,
    acked: BTreeSet<String>,
    held: Option<LiveDocument>,
}

impl Writer {
    /// Types until the connection breaks or `stop` is set.
    async fn type_on(&mut self, api: &Api, repl: &str, stop: &AtomicBool) -> Result<()> {
        let mut socket = api.live(repl).await?;
        match self.held.take() {
            Some(held) => socket.join_with(self.document, held).await?,
            None => socket.join(self.document).await?,
        };
        let mut waiting: Vec<(u64, String)> = Vec::new();
        let outcome = async {
            while !stop.load(Ordering::Relaxed) {
                self.typed += 1;
                let line = format!("w{}-{}\n", self.name, self.typed);
                let number = socket.append(self.document, &line).await?;
                waiting.push((number, line));
                // A few edits are always on their way when the server dies.
                let behind = number.saturating_sub(5);
                let document = self.document;
                socket.wait_for("acks", |socket| socket.fsynced_number(document) >= behind).await?;
                let fsynced = socket.fsynced_number(self.document);
                for (_, line) in waiting.extract_if(.., |(number, _)| *number <= fsynced) {
                    self.acked.insert(line);
                }
            }
            socket.fsynced(self.document).await
        }
        .await;
        let fsynced = socket.fsynced_number(self.document);
        for (number, line) in waiting {
            if number <= fsynced {
                self.acked.insert(line);
            }
        }
        self.held = Some(socket.take(self.document)?);
        outcome
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acked_is_lost_by_twenty_kills() -> Result<()> {
    let seed: u64 = std::env::var("TANDEM_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random);
    println!("TANDEM_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);

    let (mut server, api, repl, live) = python_in_sandbox().await?;
    for document in ["one.txt", "two.txt"] {
        api.write(&repl, document, "begin\n").await?;
    }
    // A program writes a file of its own and, now and then, one that people type in.
    api.write(
        &repl,
        "program.sh",
        "n=0\nwhile :; do\n  n=$((n + 1))\n  echo p-$n >> program.txt\n  \
         [ $((n % 10)) != 0 ] || sed -i s/begin/begin-$n/ two.txt\n  sleep 0.02\ndone\n",
    )
    .await?;
    let mut shell = api.shell(&repl).await?;
    shell.execute("(bash program.sh >/dev/null 2>&1 &)").await?;
    drop(live);

    let mut writers: Vec<_> = (0..WRITERS)
        .map(|name| Writer {
            name,
            document: if name % 2 == 0 { "one.txt" } else { "two.txt" },
            typed: 0,
            acked: BTreeSet::new(),
            held: None,
        })
        .collect();
    for round in 0..ROUNDS {
        let stop = Arc::new(AtomicBool::new(false));
        let mut typing = JoinSet::new();
        for mut writer in writers.drain(..) {
            // Some come back with what they held, some as new browsers.
            if random.random_bool(0.5) {
                writer.held = None;
            }
            let (api, repl, stop) = (api.clone(), repl.clone(), Arc::clone(&stop));
            typing.spawn(async move {
                // The connection breaks when the server dies: that is the point.
                let _ = writer.type_on(&api, &repl, &stop).await;
                writer
            });
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(50..1200))).await;
        server.kill().await?;
        stop.store(true, Ordering::Relaxed);
        while let Some(writer) = typing.join_next().await {
            writers.push(writer?);
        }
        server.restart().await.with_context(|| format!("round {round}"))?;

        let mut fresh = api.live(&repl).await?;
        for document in ["one.txt", "two.txt"] {
            fresh.join(document).await?;
            let text = fresh.text(document)?;
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            let there: BTreeSet<&str> = lines.iter().copied().collect();
            for writer in writers.iter().filter(|writer| writer.document == document) {
                let lost: Vec<_> =
                    writer.acked.iter().filter(|line| !there.contains(line.as_str())).collect();
                ensure!(lost.is_empty(), "round {round}, seed {seed}: lost acked {lost:?}");
            }
            let mut seen = BTreeSet::new();
            let twice: Vec<_> =
                lines.iter().filter(|line| line.starts_with('w') && !seen.insert(**line)).collect();
            ensure!(
                twice.is_empty(),
                "round {round}, seed {seed}: {document} has lines twice: {twice:?}"
            );
        }
    }
    let acked: usize = writers.iter().map(|writer| writer.acked.len()).sum();
    println!("{acked} acked edits, {ROUNDS} kills, 0 lost");
    ensure!(acked > ROUNDS * WRITERS, "only {acked} acked edits: the test tested little");

    // The program went on all the time; at rest, disk and documents are the same.
    let mut live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    let mut shell = api.shell(&repl).await?;
    shell.execute("pkill -f program.sh; sleep 0.1").await?;
    let written = shell.execute("wc -l < program.txt").await?;
    ensure!(written.parse::<u32>()? > 100, "the program wrote only {written} lines");
    for document in ["one.txt", "two.txt", "program.txt"] {
        live.join(document).await?;
        at_rest(&mut shell, &mut live, document).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_good_order_flushes_everything() -> Result<()> {
    let (mut server, api, repl, mut live) = python_in_sandbox().await?;
    live.join("main.py").await?;
    live.append("main.py", "# last words\n").await?;
    live.fsynced("main.py").await?;
    api.execute(&repl, "echo made by a program > made.txt").await?;
    assert_eq!(server.stop().await?.code, Some(0));
    server.no_sandboxes(Duration::from_secs(5)).await?;

    server.restart().await?;
    assert!(api.text(&repl, "main.py").await?.ends_with("# last words\n"));
    assert_eq!(api.text(&repl, "made.txt").await?, "made by a program\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_keeps_its_terminals() -> Result<()> {
    let (mut server, api, repl, live) = python_in_sandbox().await?;
    let mut shell = api.shell(&repl).await?;
    let pid = shell.execute("echo $$; cd /tmp; secret=42").await?;
    let terminal = api.status(&repl).await?.live.terminals[0].id.to_string();
    drop(live);
    server.kill().await?;
    server.restart().await?;

    let _live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    let mut again = api.terminal(&repl, &terminal, None).await?;
    assert_eq!(again.execute("echo $$ $PWD $secret").await?, format!("{pid} /tmp 42"));
    Ok(())
}

/// What is missing in a sandbox that was never filled was not deleted by anybody.
#[tokio::test(flavor = "multi_thread")]
async fn dying_while_a_sandbox_is_filled_deletes_nothing() -> Result<()> {
    const FILES: usize = 40;
    let (mut server, api, repl) = python().await?;
    let content = vec![7u8; 200_000];
    for file in 0..FILES {
        api.write(&repl, &format!("data/{file}.bin"), content.clone()).await?;
    }
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..12 {
        let live = api.live(&repl).await?;
        // From before the launch to after the last file.
        tokio::time::sleep(Duration::from_millis(random.random_range(20..400))).await;
        server.kill().await?;
        drop(live);
        server.restart().await?;
        let back = api.live(&repl).await?;
        api.sandbox_ready(&repl).await?;
        let counted = api.execute(&repl, "ls data | wc -l; cat data/* | wc -c").await?;
        let expected = format!("{FILES}\n{}", FILES * content.len());
        ensure!(counted == expected, "round {round}, seed {seed}: {counted}");
        ensure!(api.text(&repl, "main.py").await.is_ok(), "round {round}, seed {seed}");
        drop(back);
        if round % 2 == 0 {
            // The next round begins with a new sandbox.
            server.stop().await?;
            server.restart().await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_blob_store_alone_brings_everything_back() -> Result<()> {
    lost_machine(Options::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_alone_brings_everything_back() -> Result<()> {
    let s3 = S3Server::start().await?;
    let options =
        Options { blob_store: Some(s3.blob_store()), env: s3.env(), ..Options::default() };
    lost_machine(options).await?;
    assert!(s3.bucket().join("data/repls").is_dir());
    Ok(())
}

async fn lost_machine(options: Options) -> Result<()> {
    let (mut server, api, repl) = python_on(options).await?;
    let path = format!("/api/v1/repls/{repl}");
    api.request(Method::PATCH, &path)
        .json(&serde_json::json!({ "name": "Precious" }))
        .send()
        .await?
        .error_for_status()?;
    let link = api.link(&repl, Role::Editor).await?;
    let guest = server.api_with(&link.token);
    let mut live = guest.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    live.join("main.py").await?;
    live.append("main.py", "# in the blob store\n").await?;
    live.stored("main.py").await?;
    api.write(&repl, "data.bin", vec![0u8, 159, 146, 150]).await?;
    // No log has the bytes of a file without a document; a fork waits until they are stored.
    api.fork(&repl).await?;
    live.append("main.py", "# and this\n").await?;
    live.stored("main.py").await?;
    let text = live.text("main.py")?;
    drop(live);

    server.kill().await?;
    server.wipe_data_dir()?;
    server.restart().await?;
    let found = eventually("the repl is found again", LIMIT, || async {
        Ok(api.repls().await?.into_iter().find(|known| known.id.to_string() == repl))
    })
    .await?;
    assert_eq!((found.name.as_str(), found.template.as_str()), ("Precious", "python"));
    assert_eq!(api.text(&repl, "main.py").await?, text);
    assert_eq!(guest.text(&repl, "main.py").await?, text, "the share link still works");
    eventually("the binary is there too", LIMIT, || async {
        Ok((api.read(&repl, "data.bin").await? == [0, 159, 146, 150]).then_some(()))
    })
    .await?;
    let mut back = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    back.join("main.py").await?;
    back.append("main.py", "# and on\n").await?;
    back.fsynced("main.py").await?;
    let mut shell = api.shell(&repl).await?;
    at_rest(&mut shell, &mut back, "main.py").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_data_directory_has_one_server() -> Result<()> {
    let (server, api, repl) = python().await?;
    let second = Server::start_in(server.data_dir(), &server.blob_store()).await;
    let words = format!("{:#}", second.err().context("a second server started")?);
    assert!(words.contains("exit status: 1"), "{words}");
    assert!(api.text(&repl, "main.py").await.is_ok(), "the first one goes on");
    Ok(())
}

/// The machine is lost right after a document was made from a stored file: made once more, it must
/// not stand twice in the text of a browser that held the first one.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_document_is_not_doubled_by_who_still_holds_it() -> Result<()> {
    let (mut server, api, repl) = python().await?;
    let mut live = api.live(&repl).await?;
    let begin = live.join("main.py").await?.replica.text();
    live.append("main.py", "# typed\n").await?;
    live.fsynced("main.py").await?;
    let held = live.take("main.py")?;
    drop(live);
    server.kill().await?;
    server.wipe_data_dir()?;
    server.restart().await?;

    let mut back = eventually("the repl is found again", LIMIT, || async {
        let mut live = api.live(&repl).await?;
        live.join("main.py").await?;
        Ok(Some(live))
    })
    .await?;
    back.take("main.py")?;
    drop(back);
    let mut back = api.live(&repl).await?;
    back.join_with("main.py", held).await?;
    back.fsynced("main.py").await?;
    assert_eq!(back.text("main.py")?, format!("{begin}# typed\n"));
    assert_eq!(api.text(&repl, "main.py").await?, format!("{begin}# typed\n"));
    Ok(())
}
