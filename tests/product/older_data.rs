//! The server's data was restored from a copy that is older than what browsers hold.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use tandem_testkit::Server;

use crate::python;

/// What `cp -a` keeps of a server that is down: its data directory and its blob store.
struct Copy([PathBuf; 2]);

impl Copy {
    fn of(server: &Server) -> Result<Self> {
        let folders = folders(server);
        for folder in &folders {
            copy(folder, &folder.with_extension("copy"))?;
        }
        Ok(Self(folders))
    }

    fn put_back(&self) -> Result<()> {
        for folder in &self.0 {
            std::fs::remove_dir_all(folder)?;
            copy(&folder.with_extension("copy"), folder)?;
        }
        Ok(())
    }
}

fn folders(server: &Server) -> [PathBuf; 2] {
    [server.data_dir(), server.blob_store().trim_start_matches("file://").into()]
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "cp -a {} {}", from.display(), to.display());
    Ok(())
}

async fn restored(server: &mut Server, copy: &Copy) -> Result<()> {
    server.kill().await?;
    copy.put_back()?;
    server.restart().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_the_copy_never_had_merges_with_what_a_browser_holds() -> Result<()> {
    let (mut server, api, repl) = python().await?;
    api.read(&repl, "main.py").await?;
    server.kill().await?;
    let copy = Copy::of(&server)?;
    server.restart().await?;

    let api = server.api();
    let mut live = api.live(&repl).await?;
    let before = live.join("main.py").await?.replica.text();
    live.append("main.py", "# typed after the copy\n").await?;
    live.fsynced("main.py").await?;
    let held = live.take("main.py")?;
    let known = held.identity;

    restored(&mut server, &copy).await?;
    let mut live = server.api().live(&repl).await?;
    let document = live.join_with("main.py", held).await?;
    ensure!(document.identity == known, "the same text begins the same history");
    let text = live.text("main.py")?;
    ensure!(text == format!("{before}# typed after the copy\n"), "{text:?}");
    live.fsynced("main.py").await?;
    ensure!(server.api().read(&repl, "main.py").await? == text.as_bytes());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_with_another_beginning_is_another_history() -> Result<()> {
    let (mut server, api, repl) = python().await?;
    api.write(&repl, "main.py", "print('old')\n").await?;
    server.kill().await?;
    let copy = Copy::of(&server)?;
    server.restart().await?;

    let api = server.api();
    api.write(&repl, "main.py", "print('new')\nprint('and more')\n").await?;
    let mut live = api.live(&repl).await?;
    let document = live.join("main.py").await?;
    let known = document.identity;
    ensure!(document.replica.text() == "print('new')\nprint('and more')\n");
    live.append("main.py", "# typed\n").await?;
    live.stored("main.py").await?;
    let held = live.take("main.py")?;

    restored(&mut server, &copy).await?;
    let mut live = server.api().live(&repl).await?;
    let document = live.join_with("main.py", held).await?;
    ensure!(document.identity != known, "another text begins another history");
    ensure!(live.text("main.py")? == "print('old')\n", "{:?}", live.text("main.py")?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_no_text_for_a_while_never_goes_on_with_its_old_history() -> Result<()> {
    let (mut server, api, repl, mut live) = crate::python_in_sandbox().await?;
    let first = live.join("main.py").await?;
    let (identity, text) = (first.identity, first.replica.text());
    live.append("main.py", "# of the first life\n").await?;
    live.stored("main.py").await?;
    let mut shell = api.shell(&repl).await?;
    shell.execute("cp main.py kept; head -c 100 /dev/zero > zero; cat zero > main.py").await?;
    live.wait_for("it is closed", |live| live.text_refused("main.py", 4415)).await?;
    api.write(&repl, "main.py", text.as_str()).await?;
    drop(live);
    server.kill().await?;
    server.restart().await?;
    let mut live = server.api().live(&repl).await?;
    let second = live.join("main.py").await?;
    ensure!(second.identity != identity, "the same text, but not the same history");
    ensure!(second.replica.text() == text, "{:?}", second.replica.text());
    Ok(())
}
