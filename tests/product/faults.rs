//! The blob store and the disk fail in every way they do in life, while people type. Typing goes
//! on, the ticks tell the truth, the operator reads one line, and all recovers by itself.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use tandem_proto::live::Refusal;
use tandem_testkit::{
    Api, Fault, FaultProxy, LIMIT, LiveSocket, Options, S3Server, Scope, Server, eventually, within,
};

/// The longest that an edit may wait for its first tick, whatever the blob store does.
const PROMPT: Duration = Duration::from_secs(3);
/// How long it may take until people are told of a store that does not answer at all.
const TOLD: Duration = Duration::from_secs(60);

struct Bench {
    s3: S3Server,
    proxy: FaultProxy,
    server: Server,
    api: Api,
    repl: String,
}

impl Bench {
    async fn start(args: &[&str]) -> Result<Self> {
        let s3 = S3Server::start().await?;
        let proxy = FaultProxy::start(s3.address()).await?;
        let server = Server::start_with(Options {
            blob_store: Some(s3.blob_store_at(proxy.address())),
            env: s3.env(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            ..Options::default()
        })
        .await?;
        let api = server.api();
        let repl = api.create("python").await?.id.to_string();
        Ok(Self { s3, proxy, server, api, repl })
    }

    async fn live(&self) -> Result<LiveSocket> {
        let mut live = self.api.live(&self.repl).await?;
        live.join("main.py").await?;
        Ok(live)
    }

    /// What the page is told of the blob store.
    async fn blob_store_error(&self) -> Result<Option<String>> {
        Ok(self.api.status(&self.repl).await?.live.durability.blob_store_error)
    }

    async fn log_error(&self) -> Result<Option<String>> {
        Ok(self.api.status(&self.repl).await?.live.durability.log_error)
    }

    async fn metric(&self, name: &str) -> Result<f64> {
        let text = self.api.request(Method::GET, "/metrics").send().await?.text().await?;
        let line = text
            .lines()
            .find(|line| line.split([' ', '{']).next() == Some(name))
            .with_context(|| format!("there is no {name} in\n{text}"))?;
        Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)
    }

    /// The page, the metrics and the log all say it.
    async fn told(&self, words: &str) -> Result<()> {
        eventually("people are told", TOLD, || async {
            let error = self.blob_store_error().await?;
            Ok(error.filter(|error| error.contains(words)))
        })
        .await
        .with_context(|| format!("nobody was told of {words:?}"))?;
        eventually("the metric says it", TOLD, || async {
            Ok((self.metric("tandem_ship_failing").await? == 1.0).then_some(()))
        })
        .await?;
        ensure!(self.metric("tandem_ship_lag_seconds").await? > 0.0);
        Ok(())
    }

    /// All is well again, by itself.
    async fn recovered(&self) -> Result<()> {
        eventually("good news on the page", TOLD, || async {
            Ok(self.blob_store_error().await?.is_none().then_some(()))
        })
        .await?;
        ensure!(self.metric("tandem_ship_failing").await? == 0.0);
        Ok(())
    }
}

/// Types a line; it is on the disk as promptly as ever.
async fn type_line(live: &mut LiveSocket, line: &str) -> Result<()> {
    live.append("main.py", &format!("# {line}\n")).await?;
    within("a prompt first tick", PROMPT, live.fsynced("main.py")).await
}

/// Waits for the double tick, longer than a test usually does.
async fn stored(live: &mut LiveSocket) -> Result<()> {
    let sent = live.document("main.py")?.sent;
    let waiting = async {
        while live.document("main.py")?.stored < sent {
            live.receive().await?;
        }
        Ok(())
    };
    within("the double tick", TOLD, waiting).await
}

/// The double tick of the last line must not be there after everything that came so far.
async fn not_stored(live: &mut LiveSocket) -> Result<()> {
    live.listen(Duration::from_millis(1500)).await?;
    let document = live.document("main.py")?;
    ensure!(document.stored < document.sent, "a double tick that was a lie");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_of_the_store_is_told_and_survived() -> Result<()> {
    let bench = Bench::start(&[]).await?;
    let mut live = bench.live().await?;
    type_line(&mut live, "before").await?;
    stored(&mut live).await?;
    for (fault, words) in [
        (Fault::SlowDown, "SlowDown"),
        (Fault::Denied, "no right"),
        (Fault::Full, "full"),
        (Fault::Internal, "InternalError"),
        (Fault::Reset, "can't be reached"),
    ] {
        for scope in [Scope::Puts, Scope::All] {
            bench.proxy.set(fault, scope);
            for line in 0..5 {
                type_line(&mut live, &format!("{fault:?} {scope:?} {line}")).await?;
            }
            not_stored(&mut live).await.with_context(|| format!("{fault:?}"))?;
            bench.told(words).await?;
            bench.proxy.clear();
            stored(&mut live).await.with_context(|| format!("after {fault:?}"))?;
            bench.recovered().await?;
        }
    }
    let said = bench.server.log();
    let lines = said.matches("the log cannot be shipped").count();
    ensure!(lines <= 10, "one line for each change, not {lines}:\n{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_store_slows_nobody() -> Result<()> {
    let bench = Bench::start(&[]).await?;
    let mut live = bench.live().await?;
    bench.proxy.set(Fault::Delay(Duration::from_secs(3)), Scope::All);
    for line in 0..20 {
        type_line(&mut live, &format!("slowly {line}")).await?;
    }
    stored(&mut live).await?;
    ensure!(bench.blob_store_error().await?.is_none(), "slow is no failure");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_never_answers_is_told_and_survived() -> Result<()> {
    let bench = Bench::start(&[]).await?;
    let mut live = bench.live().await?;
    bench.proxy.set(Fault::Blackhole, Scope::All);
    for line in 0..5 {
        type_line(&mut live, &format!("into the dark {line}")).await?;
    }
    not_stored(&mut live).await?;
    bench.told("in time").await?;
    type_line(&mut live, "still").await?;
    bench.proxy.clear();
    stored(&mut live).await?;
    bench.recovered().await
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_get_lost_double_nothing() -> Result<()> {
    // Nothing but the shipped log has the edits.
    let mut bench = Bench::start(&["--save-after=1h", "--save-within=1h"]).await?;
    let mut live = bench.live().await?;
    bench.proxy.set_for(Fault::LoseAnswer, Scope::Puts, 70);
    let mut lines = String::new();
    for line in 0..30 {
        type_line(&mut live, &format!("once {line}")).await?;
        lines.push_str(&format!("# once {line}\n"));
        live.listen(Duration::from_millis(100)).await?;
    }
    bench.proxy.clear();
    stored(&mut live).await?;
    drop(live);
    bench.server.kill().await?;
    bench.server.wipe_data_dir()?;
    bench.server.restart().await?;
    let text = bench.api.text(&bench.repl, "main.py").await?;
    ensure!(text.ends_with(&lines), "{text}");
    ensure!(text.matches("# once 7\n").count() == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_death_and_return_lose_nothing() -> Result<()> {
    let mut bench = Bench::start(&[]).await?;
    let mut live = bench.live().await?;
    type_line(&mut live, "before").await?;
    bench.s3.kill().await?;
    for line in 0..50 {
        type_line(&mut live, &format!("without a store {line}")).await?;
    }
    not_stored(&mut live).await?;
    bench.told("can't be reached").await?;
    // The server dies as well: what was acked comes back from its log once the store is there.
    bench.server.kill().await?;
    bench.s3.restart().await?;
    bench.server.restart().await?;
    let mut live = bench.live().await?;
    let text = live.text("main.py")?;
    ensure!((0..50).all(|line| text.contains(&format!("# without a store {line}\n"))), "{text}");
    type_line(&mut live, "after").await?;
    stored(&mut live).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_over_its_quota_refuses_edits_says_so_and_takes_them_later() -> Result<()> {
    let mut bench = Bench::start(&["--log-mib=16"]).await?;
    let mut live = bench.live().await?;
    bench.proxy.set(Fault::Internal, Scope::All);
    fill_log(&mut live).await?;
    told_of_log(&bench, "no stored snapshot covers").await?;
    // Reading goes on, for newcomers as well; changes of files are refused.
    let text = live.text("main.py")?;
    let mut second = bench.live().await?;
    ensure!(text.starts_with(&second.text("main.py")?), "the reader sees what was accepted");
    // A text that nobody opened yet would begin with a record.
    let unopened = second.join("tandem.toml").await.err().context("a document began")?;
    ensure!(unopened.to_string().contains("4503"), "{unopened}");
    let write = bench.api.write(&bench.repl, "new.txt", "x").await;
    ensure!(write.is_err(), "a change was accepted that cannot be kept");
    second.listen(Duration::from_millis(100)).await?;

    bench.proxy.clear();
    accepted_later(&bench, &mut live).await?;
    let text = live.text("main.py")?;
    second.wait_for_text("main.py", "the same for all", |seen| seen == text).await?;
    second.join("tandem.toml").await?;
    bench.server.kill().await?;
    bench.server.restart().await?;
    ensure!(bench.live().await?.text("main.py")? == text, "nothing of it is lost");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_edits_says_so_and_takes_them_later() -> Result<()> {
    let s3 = S3Server::start().await?;
    let folder = tempfile::Builder::new().prefix("tandem-full-").tempdir()?;
    let Some(small) = SmallDisk::mount(folder.path())? else { return Ok(()) };
    let proxy = FaultProxy::start(s3.address()).await?;
    let options = Options {
        blob_store: Some(s3.blob_store_at(proxy.address())),
        env: s3.env(),
        args: vec!["--log-mib=32".to_owned()],
        ..Options::default()
    };
    let server = Server::start_at(folder.path().join("data"), options).await?;
    let api = server.api();
    let repl = api.create("python").await?.id.to_string();
    let bench = Bench { s3, proxy, server, api, repl };
    let mut live = bench.live().await?;
    type_line(&mut live, "before").await?;
    // Somebody else takes the space, and the log can give none back.
    bench.proxy.set(Fault::Internal, Scope::All);
    let filler = folder.path().join("filler");
    small.fill(&filler)?;
    fill_log(&mut live).await?;
    told_of_log(&bench, "No space left").await?;
    std::fs::remove_file(&filler)?;
    eventually("the log takes edits without the store", TOLD, || async {
        Ok(bench.log_error().await?.is_none().then_some(()))
    })
    .await?;
    bench.proxy.clear();
    accepted_later(&bench, &mut live).await?;
    drop(live);
    drop(bench);
    Ok(())
}

/// Types large things until an edit is refused.
async fn fill_log(live: &mut LiveSocket) -> Result<()> {
    let start = Instant::now();
    let large = format!("# {}\n", "x".repeat(50_000));
    for count in 0.. {
        ensure!(start.elapsed() < LIMIT * 2, "the log was never full");
        let at = live.append("main.py", &large).await?;
        // Back to the start, so that the text stays within its limit.
        if count % 20 == 19 {
            live.erase("main.py").await?;
        }
        // The edit that met the full log gets no answer; the one after it is refused.
        let sent = Instant::now();
        while live.fsynced_number("main.py") < at && sent.elapsed() < PROMPT {
            if live.text_refused("main.py", Refusal::Unavailable as u64) {
                return Ok(());
            }
            live.listen(Duration::from_millis(20)).await?;
        }
    }
    Ok(())
}

async fn told_of_log(bench: &Bench, words: &str) -> Result<()> {
    let told =
        eventually("people are told of the log", LIMIT, || async { bench.log_error().await })
            .await?;
    ensure!(told.contains(words), "{told}");
    ensure!(bench.metric("tandem_log_refusing").await? == 1.0);
    Ok(())
}

/// The refused edits are asked for and stored without anybody doing anything.
async fn accepted_later(bench: &Bench, live: &mut LiveSocket) -> Result<()> {
    eventually("the log takes edits again", TOLD, || async {
        Ok(bench.log_error().await?.is_none().then_some(()))
    })
    .await?;
    stored(live).await?;
    let refused = live.document("main.py")?.refused.len();
    type_line_after(live, refused).await
}

async fn type_line_after(live: &mut LiveSocket, refused: usize) -> Result<()> {
    let number = live.append("main.py", "# and on\n").await?;
    live.wait_for("an ack", |socket| socket.fsynced_number("main.py") >= number).await?;
    ensure!(live.document("main.py")?.refused.len() == refused, "refused again");
    Ok(())
}

/// A tmpfs of a few MiB.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// `None` where mounting is not allowed.
    fn mount(folder: &'a Path) -> Result<Option<Self>> {
        use rustix::mount::{MountFlags, mount};
        let options = c"size=64m,mode=0755";
        match mount("tmpfs", folder, "tmpfs", MountFlags::empty(), options) {
            Ok(()) => Ok(Some(Self(folder))),
            Err(error) => {
                println!("SKIPPED: a small disk cannot be mounted here: {error}");
                Ok(None)
            }
        }
    }

    fn fill(&self, filler: &Path) -> Result<()> {
        use std::io::Write as _;
        let mut file = std::fs::File::create(filler)?;
        let zeros = vec![0u8; 64 * 1024];
        while file.write_all(&zeros).is_ok() {}
        Ok(())
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// The sandbox survived and is scanned long before the store gives the document.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_disk_lacks_is_written_though_the_document_comes_last() -> Result<()> {
    let mut bench = Bench::start(&[]).await?;
    let mut live = bench.live().await?;
    bench.api.sandbox_ready(&bench.repl).await?;
    live.append("main.py", "# stored\n").await?;
    live.stored("main.py").await?;
    eventually("the disk has it", LIMIT, || async {
        let last = bench.api.execute(&bench.repl, "tail -n 1 main.py").await?;
        Ok((last == "# stored").then_some(()))
    })
    .await?;
    live.append("main.py", "# typed last\n").await?;
    live.fsynced("main.py").await?;
    bench.server.kill().await?;
    drop(live);
    bench.proxy.set(Fault::Delay(Duration::from_millis(300)), Scope::All);
    bench.server.restart().await?;
    let live = bench.api.live(&bench.repl).await?;
    bench.api.sandbox_ready(&bench.repl).await?;
    eventually("the disk has what was typed last", LIMIT, || async {
        let last = bench.api.execute(&bench.repl, "tail -n 1 main.py").await?;
        Ok((last == "# typed last").then_some(()))
    })
    .await?;
    drop(live);
    Ok(())
}
