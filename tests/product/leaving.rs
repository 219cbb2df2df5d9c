use std::time::Duration;

use anyhow::Result;
use tandem_proto::api::SandboxStatus;
use tandem_testkit::{LIMIT, Options, eventually, within};

use crate::python_on;

/// How long a repl that is being closed may take until it is open again, on a busy machine.
const CLOSING: Duration = Duration::from_secs(8);

fn short_grace() -> Options {
    Options { idle_grace: "1s".to_owned(), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_person_leaves_and_everything_is_put_away() -> Result<()> {
    let (server, api, repl) = python_on(short_grace()).await?;
    let mut live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    live.join("main.py").await?;
    live.append("main.py", "# typed last\n").await?;
    live.fsynced("main.py").await?;
    let mut shell = api.shell(&repl).await?;
    shell
        .execute(
            "mkdir -p made/deep; printf 'a\\000b' > made/deep/data.bin; echo text > made/t.txt; \
             chmod +x made/t.txt; (setsid sleep 1000 >/dev/null 2>&1 &)",
        )
        .await?;
    shell.leave().await;
    drop(live);

    // The grace, stopping what lingers, and the flush.
    server.no_sandboxes(Duration::from_secs(15)).await?;
    assert!(api.repls().await?.iter().all(|known| !known.running));

    assert!(api.text(&repl, "main.py").await?.ends_with("# typed last\n"));
    assert_eq!(api.read(&repl, "made/deep/data.bin").await?, b"a\0b");
    let live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    assert_eq!(
        api.execute(
            &repl,
            "cat made/t.txt; stat -c %a made/t.txt; pgrep -c sleep; tail -n 1 main.py"
        )
        .await?,
        "text\n755\n0\n# typed last"
    );
    drop(live);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_returns_within_the_grace_finds_the_same_sandbox() -> Result<()> {
    let (_server, api, repl) =
        python_on(Options { idle_grace: "3s".to_owned(), ..Options::default() }).await?;
    let live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    let mut shell = api.shell(&repl).await?;
    let pid = shell.execute("echo $$").await?;
    let terminal = api.status(&repl).await?.live.terminals[0].id.to_string();
    shell.leave().await;
    drop(live);
    tokio::time::sleep(Duration::from_millis(500)).await;

    let mut live = api.live(&repl).await?;
    live.join("main.py").await?;
    // Longer than the grace: being here keeps it.
    live.listen(Duration::from_secs(5)).await?;
    assert_eq!(api.status(&repl).await?.live.sandbox, SandboxStatus::Ready);
    let mut again = api.terminal(&repl, &terminal, None).await?;
    assert_eq!(again.execute("echo $$").await?, pid);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn coming_and_going_many_times_loses_nothing() -> Result<()> {
    let (server, api, repl) =
        python_on(Options { idle_grace: "100ms".to_owned(), ..Options::default() }).await?;
    for round in 0..8u64 {
        // Nothing that waits for something else may hold up a closing.
        let mut live = within("the closing and opening", CLOSING, api.live(&repl)).await?;
        live.join("main.py").await?;
        live.append("main.py", &format!("# round {round}\n")).await?;
        live.fsynced("main.py").await?;
        drop(live);
        // Sometimes before, sometimes in the middle of, sometimes after leaving.
        tokio::time::sleep(Duration::from_millis(60 * round)).await;
    }
    let text = api.text(&repl, "main.py").await?;
    for round in 0..8 {
        assert_eq!(text.matches(&format!("# round {round}\n")).count(), 1, "{text}");
    }
    server.no_sandboxes(Duration::from_secs(20)).await?;
    eventually("the text is still the same", LIMIT, || async {
        Ok((api.text(&repl, "main.py").await? == text).then_some(()))
    })
    .await
}
