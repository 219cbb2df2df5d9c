//! What outlives the machine: what terminals printed, and files that no editor ever opened.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use tandem_proto::agent::TerminalKind;
use tandem_proto::api::{TerminalInfo, TreeKind};
use tandem_store::blob::BlobStoreUrl;
use tandem_store::{ReplStore, StoredTerminal};
use tandem_testkit::{Api, LIMIT, LiveSocket, Options, S3Server, Server, eventually};

use crate::python_on;

/// Saves often, so that tests need not wait.
pub fn eager() -> Options {
    let args = ["--save-terminals-every", "300ms", "--save-after", "200ms", "--save-within", "1s"];
    Options { args: args.map(str::to_owned).to_vec(), ..Options::default() }
}

/// The machine is lost: its processes, and everything it had on disk.
async fn lose_machine(server: &mut Server) -> Result<()> {
    server.kill().await?;
    server.kill_sandboxes()?;
    server.wipe_data_dir()?;
    server.restart().await
}

async fn terminals(api: &Api, repl: &str) -> Result<Vec<TerminalInfo>> {
    Ok(api.status(repl).await?.live.terminals)
}

/// A shell that printed something and named itself, and a console that ended with 3; both saved.
async fn printed(server: &Server, api: &Api, repl: &str) -> Result<(String, String)> {
    api.write(repl, "tandem.toml", "run = \"echo from the run; exit 3\"\n").await?;
    let _live = api.live(repl).await?;
    api.sandbox_ready(repl).await?;
    let mut shell = api.shell(repl).await?;
    shell.execute("PROMPT_COMMAND=; echo old words; printf '\\033]2;my title\\007'").await?;
    api.run(repl, None).await?;
    let both = eventually("a title and an exit", LIMIT, || async {
        let all = terminals(api, repl).await?;
        let shell = all.iter().find(|one| one.title == "my title");
        let console = all.iter().find(|one| one.kind == TerminalKind::Console);
        let ended = console.filter(|one| one.exit.is_some_and(|exit| exit.code == Some(3)));
        Ok(shell.zip(ended).map(|(shell, console)| (shell.id.to_string(), console.id.to_string())))
    })
    .await?;
    // What is printed last is stored last, and then a manifest names it.
    let said = SystemTime::now();
    shell.execute("echo and more").await?;
    let url = server.blob_store();
    let root = PathBuf::from(url.strip_prefix("file://").context("a folder")?);
    saved_since(&root, repl, said, 2).await?;
    Ok(both)
}

/// Waits until the newest manifest names so many terminals, one of them saved since then.
async fn saved_since(root: &Path, repl: &str, since: SystemTime, count: usize) -> Result<()> {
    let blobs = tandem_store::blob::open(&BlobStoreUrl::File(root.to_owned())).await?;
    let store = ReplStore::new(blobs, repl.parse()?);
    eventually("output is stored and named", LIMIT, || async {
        let Ok(Some(head)) = store.load_head(None).await else { return Ok(None) };
        let terminals = head.manifest.terminals;
        let is_new = |terminal: &StoredTerminal| {
            let stored = root.join(&terminal.key).metadata().and_then(|it| it.modified());
            stored.is_ok_and(|time| time > since)
        };
        Ok((terminals.len() == count && terminals.iter().any(is_new)).then_some(()))
    })
    .await
}

async fn is_shown_again(api: &Api, repl: &str, shell: &str, console: &str) -> Result<()> {
    let all = eventually("both terminals are listed", LIMIT, || async {
        let all = terminals(api, repl).await?;
        Ok((all.len() == 2).then_some(all))
    })
    .await?;
    ensure!(all.iter().all(|one| one.restored), "{all:?}");
    ensure!(all[0].title == "my title" && all[0].id.to_string() == shell, "{all:?}");
    ensure!(all[1].exit.is_some_and(|exit| exit.code == Some(3)), "{all:?}");
    let run = api.status(repl).await?.live.run;
    ensure!(
        run.as_ref().is_some_and(|run| run.command.contains("from the run")
            && run.exit.is_some_and(|exit| exit.code == Some(3))),
        "{run:?}"
    );

    let mut read = api.terminal(repl, console, None).await?;
    ensure!(read.wait_for_exit().await?.code == Some(3));
    ensure!(read.shown().contains("from the run"), "{:?}", read.shown());

    let mut old = api.terminal(repl, shell, None).await?;
    old.wait_for("press Enter to start a new shell").await?;
    ensure!(old.shown().contains("old words"), "{:?}", old.shown());
    // Whoever was there before comes back with an offset of the shell that is gone.
    let mut other = api.terminal(repl, shell, Some(40)).await?;
    other.wait_for("old words").await?;
    // What is typed blindly reaches no shell; Enter starts one, in both browsers' terminals.
    old.send("touch blindly").await?;
    old.send("\r").await?;
    other.wait_for("a new shell starts below").await?;
    ensure!(old.execute("echo new; ls blindly 2>/dev/null; true").await?.ends_with("new"));
    ensure!(other.resets() >= 2, "the other starts anew, too");
    let mut late = api.terminal(repl, shell, None).await?;
    late.wait_for("old words").await?;
    ensure!(
        terminals(api, repl).await?.iter().all(|one| one.restored == (one.id.to_string() != shell))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_leave_keeps_what_terminals_printed() -> Result<()> {
    let mut options = eager();
    options.idle_grace = "1s".to_owned();
    let (server, api, repl) = python_on(options).await?;
    let (shell, console) = printed(&server, &api, &repl).await?;
    server.no_sandboxes(Duration::from_secs(20)).await?;
    let _live = api.live(&repl).await?;
    is_shown_again(&api, &repl, &shell, &console).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_good_order_keeps_what_terminals_printed() -> Result<()> {
    let (mut server, api, repl) = python_on(eager()).await?;
    let (shell, console) = printed(&server, &api, &repl).await?;
    server.stop().await?;
    server.restart().await?;
    let _live = api.live(&repl).await?;
    is_shown_again(&api, &repl, &shell, &console).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_machine_keeps_what_terminals_printed() -> Result<()> {
    let (mut server, api, repl) = python_on(eager()).await?;
    let (shell, console) = printed(&server, &api, &repl).await?;
    lose_machine(&mut server).await?;
    eventually("the repl is found again", LIMIT, || async {
        Ok(api.repls().await?.iter().any(|known| known.id.to_string() == repl).then_some(()))
    })
    .await?;
    let _live = api.live(&repl).await?;
    is_shown_again(&api, &repl, &shell, &console).await
}

#[tokio::test(flavor = "multi_thread")]
async fn titles_survive_a_killed_server() -> Result<()> {
    let (mut server, api, repl) = python_on(eager()).await?;
    let (shell, _) = printed(&server, &api, &repl).await?;
    let mut socket = api.terminal(&repl, &shell, None).await?;
    let pid = socket.execute("echo $$").await?;
    socket.leave().await;
    server.kill().await?;
    server.restart().await?;
    let _live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    let all = terminals(&api, &repl).await?;
    ensure!(all.len() == 2 && all.iter().all(|one| !one.restored), "{all:?}");
    ensure!(all[0].title == "my title", "{all:?}");
    let mut again = api.terminal(&repl, &shell, None).await?;
    ensure!(again.execute("echo $$").await? == pid);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_kept_to_its_newest_and_replaced_objects_go() -> Result<()> {
    let s3 = S3Server::start().await?;
    let options = Options { blob_store: Some(s3.blob_store()), env: s3.env(), ..eager() };
    let (mut server, api, repl) = python_on(options).await?;
    let _live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    let mut shell = api.shell(&repl).await?;
    for round in 0..8 {
        shell.execute(&format!("seq 1 100000 | sed 's/^/round-{round} /' | tail -n 60000")).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    shell.execute("echo the very end").await?;
    let folder = s3.bucket().join(format!("data/repls/{repl}/t"));
    let count = || walk(&folder).map(|files| files.len());
    eventually("the newest is stored and old ones are gone", LIMIT, || async {
        Ok((count()? <= 5).then_some(()))
    })
    .await?;
    let said = SystemTime::now();
    shell.execute("echo the very last").await?;
    saved_since(&s3.bucket().join("data"), &repl, said, 1).await?;
    let shell_id = terminals(&api, &repl).await?[0].id.to_string();
    lose_machine(&mut server).await?;
    eventually("the repl is found again", LIMIT, || async {
        Ok(api.repls().await?.iter().any(|known| known.id.to_string() == repl).then_some(()))
    })
    .await?;
    let _live = api.live(&repl).await?;
    let mut old = api.terminal(&repl, &shell_id, None).await?;
    old.wait_for("press Enter to start a new shell").await?;
    let shown = old.shown();
    ensure!(shown.contains("the very last") && shown.contains("round-7 100000"));
    ensure!(shown.len() <= 1024 * 1024 + 1024, "{} bytes", shown.len());
    Ok(())
}

fn walk(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    Ok(files)
}

/// The repl as it is after its machine was lost, with somebody in it.
pub async fn after_loss(server: &mut Server, api: &Api, repl: &str) -> Result<LiveSocket> {
    lose_machine(server).await?;
    eventually("the repl is found again", LIMIT, || async {
        Ok(api.repls().await?.iter().any(|known| known.id.to_string() == repl).then_some(()))
    })
    .await?;
    let live = api.live(repl).await?;
    api.sandbox_ready(repl).await?;
    Ok(live)
}

/// Waits until everything that programs wrote is known and stored: a fork takes only what is.
pub async fn all_stored(api: &Api, repl: &str) -> Result<()> {
    let skipped = ["target", "node_modules", ".venv", "__pycache__"];
    let prune: String = skipped.iter().map(|name| format!(" -name {name} -prune -o")).collect();
    let find = format!("find .{prune} -type f -print | sed 's|^./||'");
    let mut shell = api.shell(repl).await?;
    let disk: BTreeSet<String> = shell.execute(&find).await?.lines().map(str::to_owned).collect();
    eventually("every file is known", LIMIT, || async {
        let mut known = BTreeSet::new();
        let mut open = vec![String::new()];
        while let Some(folder) = open.pop() {
            for entry in api.tree(repl, &folder).await?.entries {
                let path =
                    format!("{folder}{}{}", if folder.is_empty() { "" } else { "/" }, entry.name);
                match entry.kind {
                    TreeKind::Folder => open.push(path),
                    TreeKind::File => drop(known.insert(path)),
                    _ => {}
                }
            }
        }
        Ok(disk.is_subset(&known).then_some(()))
    })
    .await?;
    let fork = api.fork(repl).await?;
    api.delete(&fork.id.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_no_editor_opened_outlive_the_machine() -> Result<()> {
    let (mut server, api, repl) = python_on(eager()).await?;
    let live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    api.execute(
        &repl,
        "mkdir -p out/deep && for n in $(seq 300); do echo $n > out/$n.txt; done; \
         head -c 5000000 /dev/urandom > out/large.bin; sha256sum out/large.bin > out/sum; \
         printf '\\000\\001' > out/deep/small.bin; chmod +x out/1.txt; ln -s 1.txt out/link; \
         mkfifo out/pipe; truncate -s 400G out/sparse 2>/dev/null || truncate -s 300M out/sparse; \
         mkdir -p build target; echo result > build/kept; echo cache > target/dropped",
    )
    .await?;
    if api.execute(&repl, "command -v git >/dev/null && echo yes || true").await? == "yes" {
        api.execute(
            &repl,
            "git init -q . && git config user.email a@b.c && git config user.name A && \
             git add -A main.py && git commit -q -m 'first commit'",
        )
        .await?;
    }
    all_stored(&api, &repl).await?;
    let notices = api.status(&repl).await?.live.notices;
    ensure!(notices.iter().any(|one| one.contains("out/sparse is larger than")), "{notices:?}");
    drop(live);

    let _live = after_loss(&mut server, &api, &repl).await?;
    let found = api
        .execute(
            &repl,
            "ls out/*.txt | wc -l; cat out/300.txt; sha256sum -c --quiet out/sum && echo whole; \
             od -An -tx1 out/deep/small.bin; stat -c %a out/1.txt; readlink out/link; \
             cat build/kept; ls -A target; ls out/sparse 2>/dev/null; true",
        )
        .await?;
    let lines: Vec<&str> = found.lines().map(str::trim).collect();
    ensure!(lines == ["300", "300", "whole", "00 01", "755", "1.txt", "result"], "{lines:?}");
    if api.execute(&repl, "command -v git >/dev/null && echo yes || true").await? == "yes" {
        let git = api
            .execute(&repl, "git fsck --strict --no-progress 2>&1; git --no-pager log --oneline --no-color; git status --short main.py")
            .await?;
        ensure!(git.contains("first commit") && git.lines().count() == 1, "{git}");
    }
    Ok(())
}

/// A database is written all the time, in both of its journal modes; what is saved is one state of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_use_outlives_the_machine_whole() -> Result<()> {
    let (mut server, api, repl) = python_on(eager()).await?;
    let live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    api.write(
        &repl,
        "bank.py",
        "import sqlite3, sys, time\n\
         mode = sys.argv[1]\n\
         db = sqlite3.connect(mode + '.db', isolation_level=None)\n\
         db.execute('pragma journal_mode=' + mode)\n\
         db.execute('create table if not exists a(id integer primary key, n integer)')\n\
         if len(sys.argv) > 2:\n\
         \x20   db.executemany('insert into a values(?, 100)', [(i,) for i in range(2000)])\n\
         \x20   sys.exit()\n\
         while True:\n\
         \x20   db.execute('begin immediate')\n\
         \x20   for i in range(0, 2000, 97):\n\
         \x20       db.execute('update a set n = n - 1 where id = ?', (i,))\n\
         \x20       db.execute('update a set n = n + 1 where id = ?', (1999 - i,))\n\
         \x20   db.execute('commit')\n\
         \x20   time.sleep(0.05)\n",
    )
    .await?;
    api.execute(&repl, "python3 bank.py wal fill; python3 bank.py delete fill").await?;
    all_stored(&api, &repl).await?;
    api.execute(
        &repl,
        "(setsid python3 bank.py wal >/dev/null 2>&1 &); (setsid python3 bank.py delete >/dev/null 2>&1 &)",
    )
    .await?;
    // Changing all the time, it is saved within the longest time, not when it rests.
    let before = SystemTime::now();
    eventually("the databases are stored", LIMIT, || async {
        let files = server.stored(&format!("repls/{repl}/b"))?;
        let fresh = files.iter().filter(|file| {
            file.metadata().and_then(|it| it.modified()).is_ok_and(|time| time > before)
        });
        Ok((fresh.count() >= 2).then_some(()))
    })
    .await?;
    all_stored(&api, &repl).await?;
    drop(live);
    let _live = after_loss(&mut server, &api, &repl).await?;
    for mode in ["wal", "delete"] {
        let check = format!(
            "python3 -c \"import sqlite3; d = sqlite3.connect('{mode}.db'); \
             print(d.execute('pragma integrity_check').fetchone()[0], d.execute('select count(*), sum(n) from a').fetchone())\""
        );
        let found = api.execute(&repl, &check).await?;
        ensure!(found == "ok (2000, 200000)", "{mode}: {found}");
    }
    Ok(())
}

/// What nothing needs any more goes, and nothing else; positions of dead boots are forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn old_objects_that_nothing_names_are_swept() -> Result<()> {
    let mut options = eager();
    options.args.extend(["--sweep-every", "1s"].map(str::to_owned));
    let (mut server, api, repl) = python_on(options).await?;
    let age = |server: &Server| -> Result<usize> {
        let objects = server.stored(&format!("repls/{repl}"))?;
        let old = SystemTime::now() - Duration::from_secs(3 * 24 * 60 * 60);
        for object in &objects {
            std::fs::File::options().append(true).open(object)?.set_modified(old)?;
        }
        Ok(objects.len())
    };
    let mut live = api.live(&repl).await?;
    live.join("main.py").await?;
    for round in 0..6_u8 {
        api.write(&repl, "data.bin", vec![0, 255, round]).await?;
        live.append("main.py", &format!("# {round}\n")).await?;
        live.stored("main.py").await?;
    }
    drop(live);
    let before = age(&server)?;
    for round in 0..4 {
        server.stop().await?;
        server.restart().await?;
        let mut live = api.live(&repl).await?;
        live.join("main.py").await?;
        live.append("main.py", &format!("# again {round}\n")).await?;
        live.stored("main.py").await?;
    }
    let mut live = api.live(&repl).await?;
    live.join("main.py").await?;
    eventually("old objects are gone", LIMIT, || {
        let left = server.stored(&format!("repls/{repl}"));
        async move {
            let old = SystemTime::now() - Duration::from_secs(24 * 60 * 60);
            let left = left?.into_iter().filter(|object| {
                object.metadata().and_then(|it| it.modified()).is_ok_and(|time| time < old)
            });
            Ok((left.count() < before / 2).then_some(()))
        }
    })
    .await
    .context("with commits going on, a sweep is due")?;
    ensure!(api.read(&repl, "data.bin").await? == [0, 255, 5]);
    let text = live.text("main.py")?;
    drop(live);
    server.stop().await?;
    let checked = server.command(&["check", "--repl", &repl])?.output().await?;
    ensure!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    server.restart().await?;
    ensure!(api.text(&repl, "main.py").await? == text);
    Ok(())
}
