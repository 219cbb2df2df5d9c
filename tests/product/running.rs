use std::time::Duration;

use anyhow::Result;
use tandem_proto::api::TerminalClientMessage;
use tandem_testkit::{LIMIT, eventually};

use crate::python_in_sandbox;

#[tokio::test(flavor = "multi_thread")]
async fn run_shows_output_exit_code_and_duration() -> Result<()> {
    let (_server, api, repl, mut live) = python_in_sandbox().await?;
    let started = api.run(&repl, None).await?;
    let mut console = api.terminal(&repl, started.terminal.as_str(), None).await?;
    console.wait_for("Hello from Python!").await?;
    assert_eq!(console.wait_for_exit().await?.code, Some(0));

    api.write(&repl, "main.py", "import sys\nprint('no')\nsys.exit(7)\n").await?;
    let started = api.run(&repl, None).await?;
    let mut console = api.terminal(&repl, started.terminal.as_str(), None).await?;
    let exit = console.wait_for_exit().await?;
    assert_eq!((exit.code, exit.signal), (Some(7), None));
    assert!(exit.duration_ms < 20_000);

    live.watch("#live").await?;
    live.wait_for("the run's end in the live state", |live| {
        live.live_state().is_ok_and(|state| {
            state.run.is_some_and(|run| run.exit.is_some_and(|exit| exit.code == Some(7)))
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn run_sees_exactly_what_the_editors_show() -> Result<()> {
    let (_server, api, repl, mut live) = python_in_sandbox().await?;
    live.join("main.py").await?;
    for round in 0..5 {
        let length = live.document("main.py")?.replica.length();
        let update = live.document("main.py")?.replica.remove(0, length);
        live.send_update("main.py", &update).await?;
        live.append("main.py", &format!("print('round', {round} * 11)\n")).await?;
        live.fsynced("main.py").await?;
        // No pause: the edit is newer than any materialisation.
        let started = api.run(&repl, None).await?;
        let mut console = api.terminal(&repl, started.terminal.as_str(), None).await?;
        console.wait_for(&format!("round {}", round * 11)).await?;
        console.wait_for_exit().await?;
        // The console and the run's state come by two ways; the next run needs the second.
        eventually("the run has ended", LIMIT, || async {
            Ok(api.status(&repl).await?.live.run.and_then(|run| run.exit))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_a_program_and_all_its_children() -> Result<()> {
    let (_server, api, repl, _live) = python_in_sandbox().await?;
    api.write(
        &repl,
        "main.py",
        "import subprocess, time\nsubprocess.Popen(['sleep', '1000'])\nprint('up', flush=True)\n\
         time.sleep(1000)\n",
    )
    .await?;
    let started = api.run(&repl, None).await?;
    let mut console = api.terminal(&repl, started.terminal.as_str(), None).await?;
    console.wait_for("up").await?;
    api.stop(&repl).await?;
    console.wait_for_exit().await?;
    let mut shell = api.shell(&repl).await?;
    shell.execute("for n in $(seq 100); do pgrep sleep >/dev/null || exit_now=1; [ -n \"$exit_now\" ] && break; sleep 0.05; done; ! pgrep sleep").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_is_shared_and_replayed() -> Result<()> {
    let (_server, api, repl, _live) = python_in_sandbox().await?;
    let mut first = api.shell(&repl).await?;
    first.execute("echo one-$((1 + 1))").await?;
    let terminal = api.status(&repl).await?.live.terminals[0].id.to_string();
    let mut second = api.terminal(&repl, &terminal, None).await?;
    second.wait_for("one-2").await?;
    second.send("echo two-$((1 + 1))\r").await?;
    first.wait_for("two-2").await?;

    // A viewer who was away gets what it missed, from its own offset on.
    let offset = first.offset();
    first.leave().await;
    second.execute("echo three-$((1 + 1))").await?;
    let mut back = api.terminal(&repl, &terminal, Some(offset)).await?;
    back.wait_for("three-2").await?;
    assert!(!back.shown().contains("one-2"), "only what was missed: {:?}", back.shown());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_stops_neither_typing_nor_ctrl_c() -> Result<()> {
    let (_server, api, repl, mut live) = python_in_sandbox().await?;
    live.join("main.py").await?;
    let mut flood = api.shell(&repl).await?;
    flood.send("yes\r").await?;
    flood.wait_for("y\r\ny\r\n").await?;
    // A second viewer that never reads must slow nobody.
    let terminal = api.status(&repl).await?.live.terminals[0].id.to_string();
    let _silent = api.terminal(&repl, &terminal, None).await?;
    for _ in 0..20 {
        let begin = std::time::Instant::now();
        live.append("main.py", "#\n").await?;
        live.fsynced("main.py").await?;
        assert!(begin.elapsed() < Duration::from_secs(2), "an ack took {:?}", begin.elapsed());
        flood.receive().await?;
    }
    flood.send("\u{3}").await?;
    flood.send("echo alive-$((1 + 1))\r").await?;
    flood.wait_for("alive-2").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_has_a_size_colours_and_job_control() -> Result<()> {
    let (_server, api, repl, _live) = python_in_sandbox().await?;
    let mut shell = api.shell(&repl).await?;
    shell.control(&TerminalClientMessage::Resize { cols: 93, rows: 31, drive: true }).await?;
    eventually("the size is in force", LIMIT, || async {
        let terminals = api.status(&repl).await?.live.terminals;
        Ok(terminals.iter().any(|it| (it.cols, it.rows) == (93, 31)).then_some(()))
    })
    .await?;
    assert_eq!(shell.execute("stty size").await?, "31 93");
    assert_eq!(
        shell.execute("echo $TERM $HOME $PWD").await?,
        "xterm-256color /home/runner /home/runner/workspace"
    );
    assert_eq!(shell.execute("printf 'ünï 😀'").await?, "ünï 😀");
    // It says by itself that it is in front: before that, the key would go to the shell.
    shell.send("sh -c 'echo in-fro''nt; exec sleep 1000'\r").await?;
    shell.wait_for("in-front").await?;
    shell.send("\u{1a}").await?;
    shell.wait_for("Stopped").await?;
    shell.execute("kill %1").await?;
    shell.send("exit 3\r").await?;
    assert_eq!(shell.wait_for_exit().await?.code, Some(3));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_knows_nothing_of_its_host() -> Result<()> {
    let (server, api, repl, _live) = python_in_sandbox().await?;
    let mut shell = api.shell(&repl).await?;
    let seen = shell.execute("id -u; cat /proc/1/comm; env; ls -A / /home /home/runner").await?;
    assert!(!seen.contains("TANDEM_TOKEN") && !seen.contains("AWS_"), "{seen}");
    assert!(!seen.lines().any(|line| line == "0"), "root inside: {seen}");
    let reached = shell
        .execute(&format!(
            "timeout 2 bash -c 'exec 3<>/dev/tcp/127.0.0.1/{}' 2>/dev/null && echo reached || echo refused",
            server.port()
        ))
        .await?;
    assert_eq!(reached, "refused", "the server's own port");
    Ok(())
}
