//! Each row of the race table between people who type and programs that write, on a real disk.

use std::time::Duration;

use anyhow::Result;
use tandem_proto::api::TreeKind;
use tandem_testkit::{LIMIT, LiveSocket, Options, TerminalSocket, eventually};

use crate::{at_rest, python_in_sandbox, python_on};

/// A server, a shell in its sandbox, and one joined document with this text.
macro_rules! open_document {
    ($server:ident, $api:ident, $repl:ident, $shell:ident, $live:ident, $text:expr) => {
        let (mut $server, $api, $repl, mut $live) = python_in_sandbox().await?;
        let _ = &mut $server;
        $api.write(&$repl, "f.txt", $text).await?;
        $live.join("f.txt").await?;
        let mut $shell = $api.shell(&$repl).await?;
        on_disk(&mut $shell, &mut $live).await?;
    };
}

async fn on_disk(shell: &mut TerminalSocket, live: &mut LiveSocket) -> Result<String> {
    at_rest(shell, live, "f.txt").await
}

fn count(text: &str, line: &str) -> usize {
    text.lines().filter(|candidate| *candidate == line).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_rewrites_while_people_type() -> Result<()> {
    open_document!(server, api, repl, shell, live, "head\n");
    // Read, change, write back, a hundred times: often between our check and our write.
    shell
        .execute(
            "(for n in $(seq 100); do sed \"1a program-$n\" f.txt > .tmp && cat .tmp > f.txt; \
             sleep 0.01; done; touch finished) >/dev/null 2>&1 &",
        )
        .await?;
    for number in 0..100 {
        live.append("f.txt", &format!("person-{number}\n")).await?;
        live.listen(Duration::from_millis(15)).await?;
    }
    live.fsynced("f.txt").await?;
    shell.execute("while [ ! -e finished ]; do sleep 0.05; done").await?;
    let text = on_disk(&mut shell, &mut live).await?;
    for number in 0..100 {
        let line = format!("person-{number}");
        assert_eq!(count(&text, &line), 1, "{line} in {text}");
    }
    assert_eq!(count(&text, "program-100"), 1, "what the program wrote last is there: {text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_through_a_descriptor_kept_open() -> Result<()> {
    open_document!(server, api, repl, shell, live, "head\n");
    shell.execute("exec 3>>f.txt").await?;
    live.append("f.txt", "what a person typed meanwhile\n").await?;
    live.fsynced("f.txt").await?;
    on_disk(&mut shell, &mut live).await?;
    // The descriptor may point to the file that was exchanged out.
    shell.execute("echo 0123456789 >&3; exec 3>&-").await?;
    live.wait_for_text("f.txt", "the late write", |text| text.contains("0123456789\n")).await?;
    let text = on_disk(&mut shell, &mut live).await?;
    assert_eq!(
        (count(&text, "what a person typed meanwhile"), count(&text, "0123456789")),
        (1, 1),
        "{text}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncation_and_a_slow_write() -> Result<()> {
    open_document!(server, api, repl, shell, live, "one\ntwo\nthree\n");
    shell
        .execute("{ : ; sleep 0.2; printf 'one\\n'; sleep 0.2; printf '2\\nthree\\n'; } > f.txt")
        .await?;
    let text = on_disk(&mut shell, &mut live).await?;
    assert_eq!(text, "one\n2\nthree\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_during_a_truncation_survives() -> Result<()> {
    open_document!(server, api, repl, shell, live, "one\ntwo\nthree\n");
    shell.send("{ sleep 0.4; printf 'one\\n2\\nthree\\n'; } > f.txt; touch finished\r").await?;
    shell.wait_for("touch finished").await?;
    live.append("f.txt", "typed\n").await?;
    live.fsynced("f.txt").await?;
    shell.execute("while [ ! -e finished ]; do sleep 0.05; done").await?;
    let text = on_disk(&mut shell, &mut live).await?;
    assert_eq!(count(&text, "typed"), 1, "{text}");
    assert_eq!((count(&text, "2"), count(&text, "two")), (1, 0), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editor_that_renames_over_the_file() -> Result<()> {
    open_document!(server, api, repl, shell, live, "one\ntwo\n");
    let identity = live.document("f.txt")?.identity;
    shell.execute("sed 's/two/2/' f.txt > .f.swp && mv .f.swp f.txt").await?;
    live.append("f.txt", "typed\n").await?;
    live.wait_for_text("f.txt", "the change", |text| text == "one\n2\ntyped\n").await?;
    on_disk(&mut shell, &mut live).await?;
    assert_eq!(live.document("f.txt")?.identity, identity, "the same document");
    assert!(api.tree(&repl, "").await?.entries.iter().all(|entry| entry.name != ".f.swp"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_while_open_and_an_edit_that_recreates_it() -> Result<()> {
    open_document!(server, api, repl, shell, live, "one\n");
    shell.execute("rm f.txt").await?;
    eventually("the tree lacks it", LIMIT, || async {
        let tree = api.tree(&repl, "").await?;
        Ok(tree.entries.iter().all(|entry| entry.name != "f.txt").then_some(()))
    })
    .await?;
    assert_eq!(live.text("f.txt")?, "one\n", "the open document stays");
    live.append("f.txt", "typed\n").await?;
    live.fsynced("f.txt").await?;
    eventually("the edit recreated it", LIMIT, || async {
        Ok((api.text(&repl, "f.txt").await? == "one\ntyped\n").then_some(()))
    })
    .await?;
    assert_eq!(on_disk(&mut shell, &mut live).await?, "one\ntyped\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_of_a_thousand_files() -> Result<()> {
    open_document!(server, api, repl, shell, live, "on main\n");
    shell
        .execute(
            "git init -q . && git config user.email a@example.com && git config user.name A && \
             mkdir many && for n in $(seq 1000); do echo $n > many/$n.txt; done && \
             git add -A && git commit -qm one && git checkout -qb other && \
             sed -i s/$/-other/ many/*.txt && echo on other > f.txt && git commit -qam two",
        )
        .await?;
    live.wait_for_text("f.txt", "the other branch", |text| text == "on other\n").await?;
    live.join("many/500.txt").await?;
    live.wait_for_text("many/500.txt", "the other branch", |text| text == "500-other\n").await?;
    shell.execute("git checkout -q -").await?;
    live.wait_for_text("f.txt", "main again", |text| text == "on main\n").await?;
    live.wait_for_text("many/500.txt", "main again", |text| text == "500\n").await?;
    assert_eq!(api.text(&repl, "many/999.txt").await?, "999\n", "an unopened file too");
    assert_eq!(shell.execute("git status --porcelain").await?, "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overflow_of_the_watcher() -> Result<()> {
    open_document!(server, api, repl, shell, live, "before\n");
    api.write(
        &repl,
        "storm.py",
        "import os\nos.mkdir('storm')\nfor n in range(15000):\n    \
         open(f'storm/{n}', 'w').close()\n    os.rename(f'storm/{n}', f'storm/r{n}')\n\
         open('f.txt', 'a').write('after\\n')\nimport shutil\nshutil.rmtree('storm')\n\
         open('last.txt', 'w').write('last')\n",
    )
    .await?;
    shell.execute("while [ ! -e storm.py ]; do sleep 0.05; done; python3 storm.py").await?;
    live.wait_for_text("f.txt", "the change", |text| text == "before\nafter\n").await?;
    eventually("the tree is right again", LIMIT, || async {
        let tree = api.tree(&repl, "").await?;
        let has = |name: &str| tree.entries.iter().any(|entry| entry.name == name);
        Ok((has("last.txt") && !has("storm")).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_touch_and_a_change_of_the_same_size_and_time() -> Result<()> {
    open_document!(server, api, repl, shell, live, "aaaa\n");
    shell.execute("touch f.txt; sleep 0.2").await?;
    live.listen(Duration::from_millis(200)).await?;
    assert_eq!(live.text("f.txt")?, "aaaa\n");
    shell.execute("touch -r f.txt .stamp; printf 'bbbb\\n' > f.txt; touch -r .stamp f.txt").await?;
    live.wait_for_text("f.txt", "the change", |text| text == "bbbb\n").await?;
    on_disk(&mut shell, &mut live).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_and_links() -> Result<()> {
    open_document!(server, api, repl, shell, live, "#!/bin/sh\n");
    shell.execute("chmod +x f.txt; ln -s /etc/passwd out; ln -s f.txt link; mkfifo fifo").await?;
    eventually("the tree shows what they are", LIMIT, || async {
        let tree = api.tree(&repl, "").await?;
        let entry = |name: &str| tree.entries.iter().find(|entry| entry.name == name);
        let done = entry("f.txt").is_some_and(|entry| entry.executable)
            && entry("out").is_some_and(|entry| entry.kind == TreeKind::Symlink)
            && entry("fifo").is_some_and(|entry| entry.kind == TreeKind::Other);
        Ok(done.then_some(()))
    })
    .await?;
    for name in ["out", "link", "fifo"] {
        let read = api.text(&repl, name).await;
        assert!(!read.is_ok_and(|text| text.contains("root:")), "{name} was followed");
    }
    // Writing keeps the mode.
    live.append("f.txt", "echo hi\n").await?;
    live.fsynced("f.txt").await?;
    on_disk(&mut shell, &mut live).await?;
    assert_eq!(shell.execute("./f.txt; stat -c %a f.txt").await?, "hi\n755");
    assert_eq!(shell.execute("readlink out link").await?, "/etc/passwd\nf.txt");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_writes_while_the_server_is_down() -> Result<()> {
    open_document!(server, api, repl, shell, live, "one\ntwo\nthree\n");
    live.append("f.txt", "typed\n").await?;
    live.fsynced("f.txt").await?;
    on_disk(&mut shell, &mut live).await?;
    shell.execute("(sleep 0.5; sed -i s/two/2/ f.txt; touch written) >/dev/null 2>&1 &").await?;
    drop(live);
    server.kill().await?;
    tokio::time::sleep(Duration::from_millis(800)).await;
    server.restart().await?;

    let mut live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    live.join("f.txt").await?;
    live.wait_for_text("f.txt", "the program's change", |text| {
        text.contains("2\n") && text.contains("typed\n")
    })
    .await?;
    let mut shell = api.shell(&repl).await?;
    assert_eq!(on_disk(&mut shell, &mut live).await?, "one\n2\nthree\ntyped\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_turns_binary_and_back() -> Result<()> {
    open_document!(server, api, repl, shell, live, "text\n");
    shell.execute("printf 'a\\000b' > f.txt").await?;
    eventually("the bytes are served", LIMIT, || async {
        Ok((api.read(&repl, "f.txt").await? == b"a\0b").then_some(()))
    })
    .await?;
    shell.execute("printf 'text again\\n' > f.txt").await?;
    eventually("it opens as a document again", LIMIT, || async {
        let mut fresh = api.live(&repl).await?;
        Ok((fresh.join("f.txt").await?.replica.text() == "text again\n").then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_was_binary_meanwhile_is_not_merged_with_its_past() -> Result<()> {
    let (server, api, repl) =
        python_on(Options { idle_grace: "500ms".to_owned(), ..Options::default() }).await?;
    let mut live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    api.write(&repl, "f.txt", "first life\n").await?;
    live.join("f.txt").await?;
    live.append("f.txt", "typed\n").await?;
    live.stored("f.txt").await?;
    // Its snapshot belongs to this opening of the repl, what follows to the next.
    drop(live);
    server.no_sandboxes(LIMIT).await?;
    let mut live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    let mut shell = api.shell(&repl).await?;
    shell.execute("printf 'a\\000b' > f.txt").await?;
    eventually("the bytes are served", LIMIT, || async {
        Ok((api.read(&repl, "f.txt").await? == b"a\0b").then_some(()))
    })
    .await?;
    // Level 2 of a later edit says that what came before it is stored as well.
    live.join("main.py").await?;
    live.append("main.py", "# later\n").await?;
    live.stored("main.py").await?;
    shell.execute("printf 'second life\\n' > f.txt").await?;
    drop(live);
    let mut live = eventually("it opens as a document again", LIMIT, || async {
        let mut fresh = api.live(&repl).await?;
        let text = fresh.join("f.txt").await?.replica.text();
        Ok((text == "second life\n").then_some(fresh))
    })
    .await?;
    live.append("f.txt", "typed\n").await?;
    live.stored("f.txt").await?;
    drop(live);
    shell.leave().await;
    server.no_sandboxes(LIMIT).await?;
    let mut fresh = api.live(&repl).await?;
    assert_eq!(fresh.join("f.txt").await?.replica.text(), "second life\ntyped\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_turned_binary_outlives_its_sandbox() -> Result<()> {
    let (server, api, repl) =
        python_on(Options { idle_grace: "500ms".to_owned(), ..Options::default() }).await?;
    let mut live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    api.write(&repl, "f.txt", "a text\n").await?;
    live.join("f.txt").await?;
    live.append("f.txt", "typed\n").await?;
    live.stored("f.txt").await?;
    let mut shell = api.shell(&repl).await?;
    shell.execute("printf 'a\\000b' > f.txt").await?;
    eventually("the bytes are served", LIMIT, || async {
        Ok((api.read(&repl, "f.txt").await? == b"a\0b").then_some(()))
    })
    .await?;
    shell.leave().await;
    drop(live);
    server.no_sandboxes(LIMIT).await?;
    assert_eq!(api.read(&repl, "f.txt").await?, b"a\0b");
    Ok(())
}
