//! `tandem export`, `tandem import` and `tandem check`, on a folder and on a real S3 server, with
//! objects damaged on purpose.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tandem_testkit::{Api, LIMIT, Options, S3Server, Server, eventually};

use crate::outlive::eager;
use crate::python_on;

/// A repl with a document that was edited, a binary, a deleted file and a shell's output.
async fn furnished(options: Options) -> Result<(Server, Api, String)> {
    let (server, api, repl) = python_on(options).await?;
    let mut live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    live.join("main.py").await?;
    live.append("main.py", "# remember this\n").await?;
    live.stored("main.py").await?;
    api.write(&repl, "data.bin", vec![0, 159, 146, 150]).await?;
    api.write(&repl, "gone.txt", "undo me\n").await?;
    api.remove(&repl, "gone.txt").await?;
    let mut shell = api.shell(&repl).await?;
    shell.execute("echo kept words").await?;
    live.append("main.py", "# and this\n").await?;
    live.stored("main.py").await?;
    Ok((server, api, repl))
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs a command of the program on a server's stores.
async fn tandem(server: &Server, args: &[&str]) -> Result<Said> {
    let output = server.command(args)?.output().await.context("run tandem")?;
    Ok(Said {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

async fn good(server: &Server, args: &[&str]) -> Result<String> {
    let said = tandem(server, args).await?;
    ensure!(said.code == Some(0), "{args:?}: {}{}", said.out, said.err);
    Ok(said.out)
}

fn archive(folder: &Path, name: &str) -> Result<(PathBuf, String)> {
    let file = folder.join(name);
    let text = file.to_str().context("a path is text")?.to_owned();
    Ok((file, text))
}

async fn is_whole(api: &Api, repl: &str) -> Result<()> {
    let text = api.text(repl, "main.py").await?;
    ensure!(text.ends_with("# remember this\n# and this\n"), "{text:?}");
    ensure!(api.read(repl, "data.bin").await? == [0, 159, 146, 150]);
    let _live = api.live(repl).await?;
    api.sandbox_ready(repl).await?;
    let terminals = api.status(repl).await?.live.terminals;
    let shell = terminals.iter().find(|one| one.restored).context("a restored shell")?;
    let mut old = api.terminal(repl, &shell.id.to_string(), None).await?;
    old.wait_for("kept words").await?;
    ensure!(api.execute(repl, "tail -n 1 main.py").await? == "# and this");
    Ok(())
}

async fn there_and_back(from: Options, to: Options) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (_, file) = archive(folder.path(), "all.tandem")?;
    let (mut server, api, repl) = furnished(from).await?;
    server.stop().await?;
    ensure!(good(&server, &["check"]).await?.contains("all whole"));
    let said = good(&server, &["export", "--all", &file]).await?;
    ensure!(said.contains("exported 1 repls"), "{said}");
    let again = tandem(&server, &["export", "--all", &file]).await?;
    ensure!(again.code == Some(1), "an archive is never overwritten");

    // Into another installation, as new repls and with the same ids.
    let mut other = Server::start_with(to).await?;
    other.stop().await?;
    let said = good(&other, &["import", &file]).await?;
    let fresh = said.split(" as ").nth(1).and_then(|rest| rest.split(' ').next());
    let fresh = fresh.context("the new id is told")?.to_owned();
    ensure!(fresh != repl);
    good(&other, &["import", "--same-id", &file]).await?;
    let twice = tandem(&other, &["import", "--same-id", &file]).await?;
    ensure!(twice.code == Some(1) && twice.err.contains("is there already"), "{}", twice.err);
    ensure!(good(&other, &["check"]).await?.contains("2 repls"));
    other.restart().await?;
    for repl in [&fresh, &repl] {
        is_whole(&other.api(), repl).await?;
    }
    drop(api);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn repls_move_between_installations() -> Result<()> {
    there_and_back(eager(), eager()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn repls_move_between_a_folder_and_s3() -> Result<()> {
    let s3 = S3Server::start().await?;
    let on_s3 = || Options { blob_store: Some(s3.blob_store()), env: s3.env(), ..eager() };
    there_and_back(on_s3(), eager()).await?;
    let s3 = S3Server::start().await?;
    let on_s3 = Options { blob_store: Some(s3.blob_store()), env: s3.env(), ..eager() };
    there_and_back(eager(), on_s3).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_is_exported_and_checked() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (server, api, repl) = furnished(eager()).await?;
    for round in 0..3 {
        let (_, file) = archive(folder.path(), &format!("{round}.tandem"))?;
        let mut live = api.live(&repl).await?;
        live.join("main.py").await?;
        live.append("main.py", "# more\n").await?;
        good(&server, &["export", "--repl", &repl, &file]).await?;
        good(&server, &["import", &file]).await?;
    }
    ensure!(good(&server, &["check"]).await?.contains("4 repls"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_archive_leaves_nothing_behind() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (path, file) = archive(folder.path(), "good.tandem")?;
    let (mut server, _, repl) = furnished(eager()).await?;
    server.stop().await?;
    good(&server, &["export", "--repl", &repl, &file]).await?;
    let bytes = std::fs::read(&path)?;
    let before = server.stored("repls")?;
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x40;
        bytes
    };
    let bad =
        [flipped(bytes.len() / 2), bytes[..bytes.len() / 2].to_vec(), flipped(bytes.len() - 3)];
    for (number, bad) in bad.into_iter().enumerate() {
        let (path, file) = archive(folder.path(), &format!("bad-{number}.tandem"))?;
        std::fs::write(path, bad)?;
        let said = tandem(&server, &["import", &file]).await?;
        ensure!(said.code == Some(1) && said.err.contains("damaged"), "{number}: {}", said.err);
        if number < 2 {
            // Of the last one only the end is damaged: its repl is whole.
            ensure!(server.stored("repls")?.len() == before.len(), "{number}");
        }
    }
    Ok(())
}

/// Every kind of object is damaged and lost in turn; each time the check names that one.
async fn damage_is_named(options: Options, root: impl Fn(&Server) -> PathBuf) -> Result<()> {
    let (mut server, api, repl) = furnished(options).await?;
    eventually("output is saved", LIMIT, || async {
        let folder = root(&server).join(format!("repls/{repl}/t"));
        Ok(folder.is_dir().then_some(()))
    })
    .await?;
    drop(api);
    server.stop().await?;
    ensure!(good(&server, &["check", "--repl", &repl]).await?.contains("all whole"));
    let head = newest(&root(&server).join(format!("repls/{repl}")), "m")?;
    for (kind, meaning) in [
        ("b", "content"),
        ("s", "main.py does not open"),
        ("t", "output of a terminal"),
        ("meta", "catalogue record"),
    ] {
        let objects = files(&root(&server).join(format!("repls/{repl}")))?;
        let of_kind = |path: &PathBuf| path.components().any(|part| part.as_os_str() == kind);
        let mut held = Vec::new();
        for path in objects.into_iter().filter(of_kind) {
            held.push((path.clone(), std::fs::read(&path)?));
        }
        ensure!(!held.is_empty(), "no object of kind {kind}");
        // Damaged: the check names each one.
        for (path, bytes) in &held {
            let mut bad = bytes.clone();
            let middle = bad.len() / 2;
            bad[middle] ^= 1;
            std::fs::write(path, bad)?;
        }
        let said = tandem(&server, &["check", "--json", "--repl", &repl]).await?;
        ensure!(said.code == Some(1), "{kind}: {}", said.out);
        for (path, _) in &held {
            let name = path.file_name().and_then(|name| name.to_str()).context("a name")?;
            ensure!(said.out.contains(name), "{kind}: {name} is not named in {}", said.out);
        }
        // Lost: it is said what that means.
        for (path, _) in &held {
            std::fs::remove_file(path)?;
        }
        let said = tandem(&server, &["check", "--repl", &repl]).await?;
        ensure!(said.code == Some(1) && said.out.contains(meaning), "{kind}: {}", said.out);
        for (path, bytes) in held {
            std::fs::write(path, bytes)?;
        }
        ensure!(good(&server, &["check", "--repl", &repl]).await?.contains("all whole"), "{kind}");
    }
    let bytes = std::fs::read(&head)?;
    std::fs::write(&head, &bytes[..bytes.len() - 1])?;
    let said = tandem(&server, &["check", "--repl", &repl]).await?;
    ensure!(said.code == Some(1) && said.out.contains("damaged"), "{}", said.out);
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    Ok(files)
}

fn newest(folder: &Path, kind: &str) -> Result<PathBuf> {
    let of_kind = files(folder)?
        .into_iter()
        .filter(|path| path.parent().is_some_and(|it| it.ends_with(kind)));
    of_kind
        .max_by_key(|path| path.metadata().and_then(|it| it.modified()).ok())
        .context("one of that kind")
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_a_folder_is_named() -> Result<()> {
    damage_is_named(eager(), |server| {
        PathBuf::from(server.blob_store().trim_start_matches("file://"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_on_s3_is_named() -> Result<()> {
    let s3 = S3Server::start().await?;
    let options = Options { blob_store: Some(s3.blob_store()), env: s3.env(), ..eager() };
    damage_is_named(options, |_| s3.bucket().join("data")).await
}
