//! Who may write a repl: a lost machine's successor, two servers at once, a database that is behind.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tandem_testkit::{Api, LIMIT, Options, Server, eventually};

use crate::{at_rest, python_on};

/// A lease that nobody renews, and time to open the repl.
const TAKEOVER: Duration = Duration::from_secs(60);
/// The holder looks for what came late one minute after it opened the repl, at the latest.
const LATE: Duration = Duration::from_secs(90);

/// Nothing becomes a snapshot while a test looks.
fn log_only() -> Options {
    let args = ["--save-after", "1h", "--save-within", "1h"];
    Options { args: args.map(str::to_owned).to_vec(), ..Options::default() }
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("# from ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_log_of_a_lost_machine_is_continued() -> Result<()> {
    let (mut server, api, repl) = python_on(log_only()).await?;
    let mut live = api.live(&repl).await?;
    live.join("main.py").await?;
    for number in 0..50 {
        live.append("main.py", &format!("# from one {number}\n")).await?;
    }
    api.write(&repl, "made.txt", "made\n").await?;
    live.join("made.txt").await?;
    live.append("made.txt", "and edited\n").await?;
    api.rename(&repl, "made.txt", "moved.txt").await?;
    live.append("main.py", "# from one, last\n").await?;
    live.stored("main.py").await?;
    live.stored("made.txt").await?;
    let text = live.text("main.py")?;
    drop(live);

    // Twice: the second time there are the logs of two openings, and no snapshot of either.
    for round in 1..=2 {
        server.kill().await?;
        server.wipe_data_dir()?;
        server.restart().await?;
        ensure!(api.text(&repl, "main.py").await?.starts_with(&text), "round {round}");
        ensure!(api.text(&repl, "moved.txt").await? == "made\nand edited\n", "round {round}");
        let mut live = api.live(&repl).await?;
        live.join("main.py").await?;
        live.append("main.py", &format!("# from round {round}\n")).await?;
        live.stored("main.py").await?;
    }
    let text = api.text(&repl, "main.py").await?;
    ensure!(lines(&text).len() == 53, "{text}");
    let mut live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    live.join("main.py").await?;
    let mut shell = api.shell(&repl).await?;
    at_rest(&mut shell, &mut live, "main.py").await?;
    Ok(())
}

/// Waits until a server serves a repl that another one held.
async fn taken_over(api: &Api, repl: &str) -> Result<String> {
    eventually("the repl is taken over", TAKEOVER, || async {
        Ok(api.text(repl, "main.py").await.ok())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_server_wakes_after_its_repl_has_moved() -> Result<()> {
    let common = tempfile::tempdir()?;
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(common.path(), open)?;
    let database = format!("sqlite://{}", common.path().join("metadata.sqlite").display());
    let mut options = log_only();
    options.args.extend(["--database".to_owned(), database]);
    let mut slow = options.clone();
    // Its last edits are certainly not shipped when it is paused.
    slow.args.extend(["--ship-within".to_owned(), "5s".to_owned()]);
    let (first, api, repl) = python_on(slow).await?;
    let mut typist = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    typist.join("main.py").await?;
    typist.append("main.py", "# from the first\n").await?;
    typist.stored("main.py").await?;
    api.execute(&repl, "echo by a program > program.txt; mkdir d; echo deep > d/deep.bin").await?;
    eventually("the program's file is seen", LIMIT, || async {
        Ok(api.read(&repl, "d/deep.bin").await.ok())
    })
    .await?;
    typist.append("main.py", "# from the first, not shipped\n").await?;
    typist.fsynced("main.py").await?;
    first.pause()?;

    // A file as a database is shared with nobody, as far as a server knows.
    options.args.push("--take-over".to_owned());
    let second =
        Server::start_with(Options { blob_store: Some(first.blob_store()), ..options }).await?;
    let other = second.api();
    taken_over(&other, &repl).await?;
    let mut back = other.live(&repl).await?;
    other.sandbox_ready(&repl).await?;
    back.join("main.py").await?;
    back.append("main.py", "# from the second\n").await?;
    other.write(&repl, "program.txt", "by a person\n").await?;
    back.fsynced("main.py").await?;

    first.resume()?;
    first.no_sandboxes(Duration::from_secs(60)).await.context("the loser's sandbox ends")?;
    let refused = typist.append("main.py", "# from a ghost\n").await;
    ensure!(
        refused.is_err() || typist.fsynced("main.py").await.is_err(),
        "a server that lost the repl acked an edit"
    );
    let text = eventually("what came late is merged", LATE, || async {
        let text = other.text(&repl, "main.py").await?;
        Ok(text.contains("# from the first, not shipped\n").then_some(text))
    })
    .await?;
    let mut found = lines(&text);
    found.sort_unstable();
    assert_eq!(
        found,
        ["# from the first", "# from the first, not shipped", "# from the second"],
        "nothing lost, nothing doubled"
    );
    eventually("the program's file is there", LATE, || async {
        Ok(other.read(&repl, "d/deep.bin").await.ok().filter(|bytes| bytes == b"deep\n"))
    })
    .await?;
    assert_eq!(other.text(&repl, "program.txt").await?, "by a person\n");
    assert_eq!(other.text(&repl, "program (2).txt").await?, "by a program\n");
    let mut shell = other.shell(&repl).await?;
    at_rest(&mut shell, &mut back, "main.py").await?;
    assert_eq!(shell.execute("cat d/deep.bin").await?, "deep");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_without_a_common_database_destroy_nothing() -> Result<()> {
    let (first, api, repl) = python_on(Options::default()).await?;
    let mut one = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    one.join("main.py").await?;
    one.append("main.py", "# from the first\n").await?;
    one.stored("main.py").await?;
    let common = Options { blob_store: Some(first.blob_store()), ..Options::default() };
    let refused = Server::start_with(common.clone()).await.err().context("a second one started")?;
    ensure!(format!("{refused:#}").contains("--take-over"), "{refused:#}");

    let second =
        Server::start_with(Options { args: vec!["--take-over".to_owned()], ..common }).await?;
    let other = second.api();
    ensure!(other.text(&repl, "main.py").await?.ends_with("# from the first\n"));
    let mut two = other.live(&repl).await?;
    other.sandbox_ready(&repl).await?;
    two.join("main.py").await?;
    two.append("main.py", "# from the second\n").await?;
    two.fsynced("main.py").await?;
    // The first does not know yet. Its edit is acked, and so it must not be lost.
    let acked = one.append("main.py", "# from the first, later\n").await.is_ok()
        && one.fsynced("main.py").await.is_ok();
    first.no_sandboxes(Duration::from_secs(60)).await.context("the loser's sandbox ends")?;
    eventually("the first gives way", LIMIT, || async {
        Ok(api.text(&repl, "main.py").await.is_err().then_some(()))
    })
    .await?;
    let expected = if acked { 3 } else { 2 };
    let text = eventually("what the first wrote is merged", LATE, || async {
        let text = other.text(&repl, "main.py").await?;
        Ok((lines(&text).len() == expected).then_some(text))
    })
    .await?;
    ensure!(text.contains("# from the second\n"), "{text}");
    two.append("main.py", "# from the second, on\n").await?;
    two.stored("main.py").await?;
    ensure!(api.text(&repl, "main.py").await.is_err(), "the first took the repl back");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_from_an_old_backup_hides_nothing() -> Result<()> {
    let (mut server, api, repl) = python_on(Options::default()).await?;
    let mut live = api.live(&repl).await?;
    live.join("main.py").await?;
    live.append("main.py", "# from before the backup\n").await?;
    live.stored("main.py").await?;
    drop(live);
    server.stop().await?;
    let database = server.data_dir().join("metadata.sqlite");
    let backup = std::fs::read(&database)?;

    server.restart().await?;
    for round in 0..3 {
        let mut live = api.live(&repl).await?;
        live.join("main.py").await?;
        live.append("main.py", &format!("# from after it {round}\n")).await?;
        live.stored("main.py").await?;
        api.write(&repl, &format!("{round}.txt"), "new\n").await?;
        drop(live);
        server.stop().await?;
        server.restart().await?;
    }
    server.stop().await?;
    std::fs::write(&database, backup)?;
    server.restart().await?;

    let text = api.text(&repl, "main.py").await?;
    ensure!(lines(&text).len() == 4, "{text}");
    for round in 0..3 {
        assert_eq!(api.text(&repl, &format!("{round}.txt")).await?, "new\n");
    }
    let mut live = api.live(&repl).await?;
    live.join("main.py").await?;
    live.append("main.py", "# from now\n").await?;
    live.stored("main.py").await?;
    drop(live);
    server.stop().await?;
    server.restart().await?;
    ensure!(lines(&api.text(&repl, "main.py").await?).len() == 5);
    Ok(())
}
