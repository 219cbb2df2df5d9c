use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use tandem_proto::MemberId;
use tandem_proto::history::{CheckpointReason, FileHistory};
use tandem_proto::role::Role;
use tandem_testkit::{Api, LIMIT, LiveSocket, Options, eventually};

use crate::{at_rest, python, python_in_sandbox, python_on};

async fn type_letters(live: &mut LiveSocket, path: &str, text: &str) -> Result<()> {
    for letter in text.chars() {
        live.append(path, &letter.to_string()).await?;
    }
    live.fsynced(path).await
}

/// Whose name a line has.
async fn author_of(api: &Api, repl: &str, path: &str, line: u32) -> Result<Option<String>> {
    let history = api.history(repl, path).await?;
    let blame = api.blame(repl, path).await?;
    let lines = blame.iter().find(|lines| (lines.line..lines.line + lines.lines).contains(&line));
    let author = lines.with_context(|| format!("no line {line} in {blame:?}"))?.author;
    Ok(author.and_then(|author| name_of(&history, author)))
}

fn name_of(history: &FileHistory, member: MemberId) -> Option<String> {
    history.authors.iter().find(|author| author.id == member).map(|author| author.name.clone())
}

/// The history replays to the present text, and the lines have their authors.
async fn check(api: &Api, repl: &str, path: &str, written: &[(&str, &str)]) -> Result<()> {
    let text = api.text(repl, path).await?;
    let replay = api.replay(repl, path).await?;
    let texts = replay.texts()?;
    ensure!(texts.last() == Some(&text), "plays to {:?}, not to {text:?}", texts.last());
    ensure!(api.text_at(repl, path, u64::MAX >> 12).await? == text, "the last text is another");
    for (line, author) in written {
        let at = text.lines().position(|other| other == *line);
        let at = at.with_context(|| format!("{line:?} is not in {text:?}"))? as u32 + 1;
        let found = author_of(api, repl, path, at).await?;
        ensure!(found.as_deref() == Some(*author), "{line:?} is by {found:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wrote_what_outlives_renames_crashes_and_the_machine() -> Result<()> {
    let (mut server, api, repl, mut live) = python_in_sandbox().await?;
    api.set_name("Ada").await?;
    drop(live);
    live = api.live(&repl).await?;
    let bob = server.guest(&repl, Role::Editor).await?;
    bob.set_name("Bob").await?;
    let mut bobs = bob.live(&repl).await?;
    let begin = live.join("main.py").await?.replica.text();
    bobs.join("main.py").await?;
    type_letters(&mut live, "main.py", "# ada was here\n").await?;
    let ada_wrote = live.text("main.py")?;
    bobs.wait_for_text("main.py", "the text", |text| text == ada_wrote).await?;
    type_letters(&mut bobs, "main.py", "# bob, too\n").await?;
    let mut shell = api.shell(&repl).await?;
    live.wait_for_text("main.py", "the text", |text| text.ends_with("# bob, too\n")).await?;
    at_rest(&mut shell, &mut live, "main.py").await?;
    shell.execute("echo '# a program' >> main.py").await?;
    live.wait_for_text("main.py", "the text", |text| text.ends_with("# a program\n")).await?;
    at_rest(&mut shell, &mut live, "main.py").await?;
    let written = [("# ada was here", "Ada"), ("# bob, too", "Bob"), ("# a program", "a program")];
    check(&api, &repl, "main.py", &written).await?;
    check(&bob, &repl, "main.py", &written).await?;

    api.rename(&repl, "main.py", "app.py").await?;
    check(&api, &repl, "app.py", &written).await?;
    let gone = format!("/api/v1/repls/{repl}/history/main.py");
    assert_eq!(api.status_of(Method::GET, &gone).await?, 404);

    // What only the log has.
    bobs.join("app.py").await?;
    type_letters(&mut bobs, "app.py", "# just before the crash\n").await?;
    drop((live, bobs, shell));
    server.kill().await?;
    server.restart().await?;
    let mut all = written.to_vec();
    all.push(("# just before the crash", "Bob"));
    check(&api, &repl, "app.py", &all).await?;
    let letters = api.replay(&repl, "app.py").await?;
    let typed = letters
        .frames
        .iter()
        .filter(|frame| frame.author.as_ref().is_some_and(|author| author.name == "Bob"));
    assert_eq!(typed.count(), "# bob, too\n# just before the crash\n".len());
    assert_eq!(letters.texts()?[1], begin, "the file as it was first opened");

    // What only the blob store has.
    let mut live = api.live(&repl).await?;
    live.join("app.py").await?;
    type_letters(&mut live, "app.py", "# stored\n").await?;
    live.stored("app.py").await?;
    drop(live);
    server.kill().await?;
    server.wipe_data_dir()?;
    server.restart().await?;
    eventually("the repl is found again", LIMIT, || async {
        Ok(api.repls().await?.into_iter().find(|known| known.id.to_string() == repl))
    })
    .await?;
    all.push(("# stored", "Ada"));
    check(&api, &repl, "app.py", &all).await?;
    let history = api.history(&repl, "app.py").await?;
    let (from, to) = (history.from_ms.context("from")?, history.to_ms.context("to")?);
    assert!(history.sessions.iter().all(|it| from <= it.from_ms && it.to_ms <= to));
    assert!(!history.more);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_comes_back_as_an_edit_of_who_asked() -> Result<()> {
    let (server, api, repl) = python().await?;
    api.set_name("Ada").await?;
    let viewer = server.guest(&repl, Role::Viewer).await?;
    let mut live = api.live(&repl).await?;
    live.join("main.py").await?;
    live.append("main.py", "# first\n").await?;
    live.fsynced("main.py").await?;
    let first = live.text("main.py")?;
    let before = api.history(&repl, "main.py").await?.to_ms.context("no time")?;
    // Moments are told apart by the millisecond.
    live.listen(Duration::from_millis(20)).await?;
    api.write(&repl, "main.py", "something else\n").await?;
    live.wait_for_text("main.py", "the text", |text| text == "something else\n").await?;
    assert_eq!(viewer.text_at(&repl, "main.py", before).await?, first);
    assert!(viewer.restore_version(&repl, "main.py", before).await.is_err(), "viewers only look");

    assert!(api.restore_version(&repl, "main.py", before).await?);
    live.wait_for_text("main.py", "the text", |text| text == first).await?;
    assert!(!api.restore_version(&repl, "main.py", before).await?, "it is there already");
    check(&api, &repl, "main.py", &[("# first", "Ada")]).await?;

    // Deleted and brought back: the same file with the same history.
    live.stored("main.py").await?;
    api.remove(&repl, "main.py").await?;
    assert_eq!(api.text_at(&repl, "main.py", before).await?, first, "also while it is gone");
    api.done(Method::POST, &format!("{}?restore", Api::file_path(&repl, "main.py"))).await?;
    check(&api, &repl, "main.py", &[("# first", "Ada")]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_about_histories_is_refused() -> Result<()> {
    let (_server, api, repl) = python().await?;
    let base = format!("/api/v1/repls/{repl}/history");
    for (path, status) in [
        ("main.py", 200),
        ("main.py?limit=0", 200),
        ("main.py?at=5", 404),
        ("main.py?replay", 404),
        ("main.py?blame", 404),
        ("nothing.py", 404),
        ("main.py?at=-1", 400),
        ("main.py?at=x", 400),
        ("main.py?limit=99999999999999999999", 400),
        ("..%2Fx", 400),
    ] {
        let found = api.status_of(Method::GET, &format!("{base}/{path}")).await?;
        assert_eq!(found.as_u16(), status, "{path}");
    }
    let post = api.status_of(Method::POST, &format!("{base}/main.py")).await?;
    assert_eq!(post, 400);
    let nobody = api.anonymous(Method::GET, &format!("{base}/main.py")).send().await?;
    assert_eq!(nobody.status(), 401);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_brings_a_whole_repl_back_and_loses_nothing() -> Result<()> {
    let (mut server, api, repl, mut live) = python_in_sandbox().await?;
    api.set_name("Ada").await?;
    let begin = live.join("main.py").await?.replica.text();
    live.append("main.py", "# good\n").await?;
    live.fsynced("main.py").await?;
    api.write(&repl, "data/table.bin", vec![0u8, 1, 2]).await?;
    api.write(&repl, "data/notes.txt", "kept notes\n").await?;
    api.execute(&repl, "mkdir -p made && echo by a program > made/out.txt").await?;
    eventually("the program's file is seen", LIMIT, || async {
        Ok(api.text(&repl, "made/out.txt").await.ok())
    })
    .await?;
    let good = api.checkpoint(&repl, "good").await?;
    assert_eq!((good.name.as_str(), good.files > 3), ("good", true));

    // All that can happen to files.
    live.append("main.py", "# bad\n").await?;
    live.fsynced("main.py").await?;
    api.rename(&repl, "main.py", "moved.py").await?;
    api.write(&repl, "data/table.bin", vec![0u8, 9]).await?;
    api.remove(&repl, "data/notes.txt").await?;
    api.remove(&repl, "made").await?;
    api.write(&repl, "later/new.txt", "came later\n").await?;

    server.kill().await?;
    server.restart().await?;
    drop(live);
    let mut live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    live.join("moved.py").await?;
    let points = api.checkpoints(&repl).await?;
    assert_eq!(points, std::slice::from_ref(&good));
    let done = api.restore_checkpoint(&repl, &good).await?;
    assert_eq!(api.text(&repl, "main.py").await?, format!("{begin}# good\n"));
    assert_eq!(api.read(&repl, "data/table.bin").await?, [0, 1, 2]);
    assert_eq!(api.text(&repl, "data/notes.txt").await?, "kept notes\n");
    assert_eq!(api.text(&repl, "made/out.txt").await?, "by a program\n");
    assert!(api.text(&repl, "later/new.txt").await.is_err());
    assert!(api.text(&repl, "moved.py").await.is_err());
    assert_eq!(done.deleted, 1, "{done:?}");
    live.wait_for_text("moved.py", "the edit", |text| !text.contains("# bad")).await?;
    let mut shell = api.shell(&repl).await?;
    let mut seen = String::new();
    let start = std::time::Instant::now();
    while !(seen.contains("# good\nby a program") && seen.ends_with("gone")) {
        ensure!(start.elapsed() < LIMIT, "on the disk is {seen:?}");
        live.listen(Duration::from_millis(100)).await?;
        seen = shell.execute("cat main.py made/out.txt; ls later/* 2>&- || echo gone").await?;
    }
    check(&api, &repl, "main.py", &[("# good", "Ada")]).await?;

    // Going back is an edit like others, and how it was before is a checkpoint.
    let points = api.checkpoints(&repl).await?;
    assert_eq!(points.len(), 2);
    assert_eq!((points[0].id, points[0].reason), (done.before, CheckpointReason::Restore));
    api.restore_checkpoint(&repl, &points[0]).await?;
    assert_eq!(api.text(&repl, "moved.py").await?, format!("{begin}# good\n# bad\n"));
    assert_eq!(api.text(&repl, "later/new.txt").await?, "came later\n");
    assert_eq!(api.read(&repl, "data/table.bin").await?, [0, 9]);
    assert!(api.text(&repl, "data/notes.txt").await.is_err());

    let path = format!("/api/v1/repls/{repl}/checkpoints/{}", good.id);
    api.done(Method::DELETE, &path).await?;
    assert!(api.checkpoints(&repl).await?.iter().all(|point| point.id != good.id));
    let again = api.status_of(Method::POST, &format!("{path}/restore")).await?;
    assert_eq!(again, 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_made_before_an_import_and_only_by_editors() -> Result<()> {
    let (server, api, repl) = python().await?;
    let text = api.text(&repl, "main.py").await?;
    let archive = api.request(Method::GET, &format!("/api/v1/repls/{repl}/archive.zip"));
    let archive = archive.send().await?.error_for_status()?.bytes().await?;
    api.write(&repl, "main.py", "mine\n").await?;
    let import = api.request(Method::POST, &format!("/api/v1/repls/{repl}/import"));
    import.body(archive).send().await?.error_for_status()?;
    assert_eq!(api.text(&repl, "main.py").await?, text);
    let points = api.checkpoints(&repl).await?;
    assert_eq!(points.len(), 1);
    assert_eq!(points[0].reason, CheckpointReason::Import);
    let viewer = server.guest(&repl, Role::Viewer).await?;
    assert_eq!(viewer.checkpoints(&repl).await?, points);
    assert!(viewer.checkpoint(&repl, "no").await.is_err());
    assert!(viewer.restore_checkpoint(&repl, &points[0]).await.is_err());
    api.restore_checkpoint(&repl, &points[0]).await?;
    assert_eq!(api.text(&repl, "main.py").await?, "mine\n");

    for number in 0..25 {
        api.write(&repl, &format!("many/{number}.txt"), format!("{number}\n")).await?;
    }
    api.remove(&repl, "many").await?;
    let newest = api.checkpoints(&repl).await?.remove(0);
    assert_eq!(
        (newest.reason, newest.name.as_str()),
        (CheckpointReason::Replace, "Before deleting many")
    );
    api.restore_checkpoint(&repl, &newest).await?;
    assert_eq!(api.text(&repl, "many/24.txt").await?, "24\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_are_joined_and_thinned_and_the_history_stays_whole() -> Result<()> {
    let args = ["--save-after", "20ms"].map(str::to_owned).to_vec();
    let (mut server, api, repl) = python_on(Options { args, ..Options::default() }).await?;
    api.set_name("Ada").await?;
    let mut live = api.live(&repl).await?;
    live.join("main.py").await?;
    for number in 0..40 {
        live.append("main.py", &format!("# line {number}\n")).await?;
        live.stored("main.py").await?;
    }
    drop(live);
    let written = [("# line 0", "Ada"), ("# line 39", "Ada")];
    check(&api, &repl, "main.py", &written).await?;
    // The file's beginning, the state before it and 40 lines.
    assert_eq!(api.replay(&repl, "main.py").await?.frames.len(), 42);
    server.kill().await?;
    server.wipe_data_dir()?;
    server.restart().await?;
    eventually("the repl is found again", LIMIT, || async {
        Ok(api.repls().await?.into_iter().find(|known| known.id.to_string() == repl))
    })
    .await?;
    check(&api, &repl, "main.py", &written).await?;
    assert_eq!(api.replay(&repl, "main.py").await?.frames.len(), 42);

    // The accounts were in the data directory.
    api.set_name("Ada").await?;
    server.kill().await?;
    server.options_mut().args.extend(["--history-raw", "1s"].map(str::to_owned));
    server.restart().await?;
    let mut live = api.live(&repl).await?;
    live.join("main.py").await?;
    // A pack that was joined with a fresh one is old a second later, and looked at with a save.
    let mut frames = usize::MAX;
    for number in 0..10 {
        live.listen(Duration::from_millis(1_100)).await?;
        let line = if number == 0 { "# the end\n" } else { "# more\n" };
        live.append("main.py", line).await?;
        live.stored("main.py").await?;
        frames = api.replay(&repl, "main.py").await?.frames.len();
        if frames < 15 {
            break;
        }
    }
    assert!((3..15).contains(&frames), "{frames}");
    check(&api, &repl, "main.py", &[written[0], written[1], ("# the end", "Ada")]).await?;
    Ok(())
}

/// After a crash everybody sends what the server lost: who sends it did not write it.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_belongs_to_who_wrote_it_not_to_who_sent_it() -> Result<()> {
    let (mut server, api, repl) = python().await?;
    api.set_name("Ada").await?;
    let bob = server.guest(&repl, Role::Editor).await?;
    bob.set_name("Bob").await?;
    let (mut adas, mut bobs) = (api.live(&repl).await?, bob.live(&repl).await?);
    adas.join("main.py").await?;
    bobs.join("main.py").await?;
    let lost = adas.document("main.py")?.replica.append("# ada wrote it\n");
    bobs.send_update("main.py", &lost).await?;
    bobs.fsynced("main.py").await?;
    // Nobody knows better yet.
    let text = api.text(&repl, "main.py").await?;
    let line = text.lines().count() as u32;
    assert_eq!(author_of(&api, &repl, "main.py", line).await?.as_deref(), Some("Bob"));
    adas.show_caret("main.py").await?;
    adas.append("main.py", "# and came back\n").await?;
    adas.fsynced("main.py").await?;
    let written = [("# ada wrote it", "Ada"), ("# and came back", "Ada")];
    check(&api, &repl, "main.py", &written).await?;

    // That is certain now, whoever sends more in that name.
    let more = adas.document("main.py")?.replica.append("# by ada, sent by bob\n");
    bobs.show_caret("main.py").await?;
    bobs.send_update("main.py", &more).await?;
    bobs.fsynced("main.py").await?;
    let mut all = written.to_vec();
    all.push(("# by ada, sent by bob", "Ada"));
    check(&api, &repl, "main.py", &all).await?;
    drop((adas, bobs));
    server.kill().await?;
    server.restart().await?;
    check(&api, &repl, "main.py", &all).await?;
    Ok(())
}
