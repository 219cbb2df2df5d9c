//! The whole product with sandboxes by Docker, while the daemon and its image come and go.

use anyhow::{Context, Result, ensure};
use tandem_proto::api::SandboxStatus;
use tandem_testkit::{
    Api, DOCKER_IMAGE, DockerDaemon, LIMIT, LiveSocket, Options, Server, eventually,
};

/// A daemon of the test's own; `None`, and a line that says why, where none can be had.
fn daemon() -> Result<Option<DockerDaemon>> {
    match DockerDaemon::missing() {
        Some(why) => {
            println!("left out: {why}");
            Ok(None)
        }
        None => DockerDaemon::start(&[]).map(Some),
    }
}

async fn server(daemon: &DockerDaemon) -> Result<Server> {
    let socket = daemon.socket().to_string_lossy().into_owned();
    let args = ["--sandbox", "docker", "--docker-image", DOCKER_IMAGE, "--docker-socket", &socket];
    let args = args.map(str::to_owned).to_vec();
    Server::start_with(Options { args, ..Options::default() }).await
}

/// Waits until the page says that the sandbox failed, in these words.
async fn failed(api: &Api, repl: &str, words: &str) -> Result<()> {
    eventually("the sandbox failed", LIMIT, || async {
        Ok(match api.status(repl).await?.live.sandbox {
            SandboxStatus::Failed { message } => message.contains(words).then_some(()),
            _ => None,
        })
    })
    .await
    .with_context(|| format!("nobody was told of {words:?}"))
}

/// Waits until one works, however often it failed before.
async fn ready_at_last(api: &Api, repl: &str) -> Result<()> {
    eventually("the sandbox is ready at last", LIMIT, || async {
        let sandbox = api.status(repl).await?.live.sandbox;
        Ok(matches!(sandbox, SandboxStatus::Ready).then_some(()))
    })
    .await
}

/// Types a line, which must be on the server's disk in no time.
async fn typed(live: &mut LiveSocket, line: &str) -> Result<()> {
    live.append("main.py", line).await?;
    live.fsynced("main.py").await
}

#[tokio::test(flavor = "multi_thread")]
async fn people_go_on_typing_while_docker_comes_and_goes() -> Result<()> {
    let Some(mut daemon) = daemon()? else { return Ok(()) };
    daemon.kill()?;
    // The server starts all the same.
    let server = server(&daemon).await?;
    let api = server.api();
    let repl = api.create("python").await?.id.to_string();
    let mut live = api.live(&repl).await?;
    live.join("main.py").await?;
    failed(&api, &repl, "the Docker daemon").await?;
    typed(&mut live, "# without a daemon\n").await?;

    // Nobody does anything but wait.
    daemon.restart()?;
    ready_at_last(&api, &repl).await?;
    let mut shell = api.shell(&repl).await?;
    let on_disk = shell.execute("tail -n 1 main.py").await?;
    ensure!(on_disk.trim() == "# without a daemon", "{on_disk}");

    // A daemon that crashed takes nothing along at first.
    daemon.kill()?;
    let answer = shell.execute("echo still $((40 + 2))").await?;
    ensure!(answer.trim() == "still 42", "{answer}");
    typed(&mut live, "# the daemon crashed\n").await?;
    // The next one ends what it finds.
    daemon.restart()?;
    failed(&api, &repl, "The sandbox ended").await?;
    typed(&mut live, "# and came back\n").await?;
    let lines = eventually("a shell opens again", LIMIT, || async {
        Ok(api.execute(&repl, "tail -n 2 main.py | tr -d '\\n'").await.ok())
    })
    .await?;
    ensure!(lines.trim() == "# the daemon crashed# and came back", "{lines}");
    ensure!(daemon.containers()?.len() == 1, "{:?}", daemon.containers()?);

    // One that is stopped in good order ends the sandboxes, and cannot be asked to remove them.
    daemon.stop()?;
    failed(&api, &repl, "The sandbox ended").await?;
    typed(&mut live, "# once more\n").await?;
    daemon.restart()?;
    eventually("the dead container is removed", LIMIT, || async {
        Ok(daemon.containers()?.is_empty().then_some(()))
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_image_is_named_and_waited_for() -> Result<()> {
    let Some(daemon) = daemon()? else { return Ok(()) };
    daemon.remove_image()?;
    let mut server = server(&daemon).await?;
    let api = server.api();
    let repl = api.create("python").await?.id.to_string();
    let mut live = api.live(&repl).await?;
    live.join("main.py").await?;
    failed(&api, &repl, &format!("no image {DOCKER_IMAGE}")).await?;
    typed(&mut live, "print('typed without an image')\n").await?;
    daemon.import_image()?;
    ready_at_last(&api, &repl).await?;
    let output = api.execute(&repl, "python3 main.py | tail -n 1").await?;
    ensure!(output.trim() == "typed without an image", "{output}");

    // A server that crashes leaves the sandbox; the next one takes it over.
    let mut shell = api.shell(&repl).await?;
    shell.execute("kept=yes").await?;
    server.kill().await?;
    let before = daemon.containers()?;
    ensure!(before.len() == 1, "{before:?}");
    server.restart().await?;
    ready_at_last(&api, &repl).await?;
    ensure!(daemon.containers()? == before, "the same one");
    // One that ends in good order leaves nothing.
    server.stop().await?;
    ensure!(daemon.containers()?.is_empty(), "{:?}", daemon.containers()?);
    Ok(())
}
