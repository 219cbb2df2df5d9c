//! Folders that nobody watches (`node_modules`) outlive the machine, too.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tandem_store::ReplStore;
use tandem_store::blob::BlobStoreUrl;
use tandem_testkit::{Api, Fault, FaultProxy, LIMIT, Options, S3Server, Scope, Server, eventually};

use crate::outlive::{after_loss, all_stored, eager};
use crate::python_on;

/// Folders that nobody watches: saved as a whole, brought back whole, and never silently left out.
#[tokio::test(flavor = "multi_thread")]
async fn ignored_folders_outlive_the_machine() -> Result<()> {
    let mut options = eager();
    let quota = ["--save-ignored-every", "1s", "--save-ignored-mib", "40"];
    options.args.extend(quota.map(str::to_owned));
    let (mut server, api, repl) = python_on(options).await?;
    let live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    api.execute(
        &repl,
        "mkdir -p node_modules/a/b .venv/bin target app/node_modules && \
         for n in $(seq 400); do echo $n > node_modules/a/b/$n.js; done; \
         head -c 12000000 /dev/urandom > node_modules/large.node; \
         mkdir node_modules/.cache; echo made again > node_modules/.cache/x; \
         ln -s ../a node_modules/.link; printf '#!/bin/sh\\necho ran\\n' > .venv/bin/tool; \
         chmod +x .venv/bin/tool; mkfifo node_modules/pipe; echo cache > target/x; \
         echo nested > app/node_modules/n; echo a file of that name > app/venv; \
         find node_modules -name .cache -prune -o -type f -exec sha256sum {} + | sort > sums",
    )
    .await?;
    saved_folders(&server, &repl, &[".venv", "app/node_modules", "node_modules"]).await?;
    all_stored(&api, &repl).await?;
    drop(live);

    let live = after_loss(&mut server, &api, &repl).await?;
    let found = api
        .execute(
            &repl,
            "find node_modules -type f -exec sha256sum {} + | sort | cmp - sums && echo same; \
             .venv/bin/tool; readlink node_modules/.link; cat app/node_modules/n app/venv; \
             ls target 2>/dev/null; true",
        )
        .await?;
    ensure!(found == "same\nran\n../a\nnested\na file of that name", "{found}");

    // What did not change is not stored again.
    let blobs = format!("repls/{repl}/b");
    let bytes = |server: &Server| -> Result<u64> {
        Ok(server.stored(&blobs)?.iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum())
    };
    let before = bytes(&server)?;
    api.execute(&repl, "echo more > node_modules/a/more.js").await?;
    eventually("the change is saved", LIMIT, || async {
        Ok((bytes(&server)? > before).then_some(()))
    })
    .await?;
    let grown = bytes(&server)? - before;
    ensure!(grown < 9_000_000, "{grown} more bytes for one small file");

    // Over the quota it is said, and what was saved stays.
    api.execute(
        &repl,
        "truncate -s 300G node_modules/sparse || truncate -s 60M node_modules/sparse",
    )
    .await?;
    eventually("it is said", LIMIT, || async {
        let notices = api.status(&repl).await?.live.notices;
        Ok(notices
            .iter()
            .any(|one| one.contains("Not saved beyond this machine: node_modules."))
            .then_some(()))
    })
    .await?;
    api.execute(&repl, "rm node_modules/sparse; rm -r app/node_modules").await?;
    eventually("it is no longer said", LIMIT, || async {
        let notices = api.status(&repl).await?.live.notices;
        Ok((!notices.iter().any(|one| one.contains("Not saved beyond this machine"))).then_some(()))
    })
    .await?;
    saved_folders(&server, &repl, &[".venv", "node_modules"]).await?;
    drop(live);
    server.stop().await?;
    let checked = server.command(&["check", "--repl", &repl])?.output().await?;
    ensure!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    Ok(())
}

async fn saved_folders(server: &Server, repl: &str, wanted: &[&str]) -> Result<()> {
    let url = server.blob_store();
    let root = PathBuf::from(url.strip_prefix("file://").context("a folder")?);
    let blobs = tandem_store::blob::open(&BlobStoreUrl::File(root)).await?;
    let store = ReplStore::new(blobs, repl.parse()?);
    eventually("these ignored folders are named", LIMIT, || async {
        let Ok(Some(head)) = store.load_head(None).await else { return Ok(None) };
        let named = head.manifest.ignored.iter().map(|folder| folder.path.as_str());
        Ok(named.eq(wanted.iter().copied()).then_some(()))
    })
    .await
}

async fn notices_contain(api: &Api, repl: &str, words: &str) -> Result<()> {
    eventually("people are told", LIMIT, || async {
        let notices = api.status(repl).await?.live.notices;
        Ok(notices.iter().any(|notice| notice.contains(words)).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ignored_folder_over_its_quota_holds_no_leave_up_and_is_told_of_later() -> Result<()> {
    let mut options = eager();
    options.idle_grace = "300ms".to_owned();
    options.args.extend(["--save-ignored-mib", "1"].map(str::to_owned));
    let (server, api, repl) = python_on(options).await?;
    let live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    api.execute(
        &repl,
        "mkdir node_modules .venv; head -c 2000000 /dev/zero > node_modules/large; \
         echo small > .venv/small",
    )
    .await?;
    all_stored(&api, &repl).await?;
    drop(live);
    server.no_sandboxes(Duration::from_secs(20)).await?;
    let _live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    notices_contain(&api, &repl, "could not be saved: node_modules.").await?;
    let found = api.execute(&repl, "cat .venv/small; ls node_modules").await?;
    ensure!(found == "small", "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_keeps_the_sandbox_and_a_crash_while_saving_loses_nothing_older()
-> Result<()> {
    let s3 = S3Server::start().await?;
    let proxy = FaultProxy::start(s3.address()).await?;
    let (mut server, api, repl) = python_on(Options {
        blob_store: Some(s3.blob_store_at(proxy.address())),
        env: s3.env(),
        idle_grace: "300ms".to_owned(),
        ..eager()
    })
    .await?;
    let live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    api.execute(&repl, "mkdir node_modules; head -c 200000 /dev/urandom > node_modules/first")
        .await?;
    all_stored(&api, &repl).await?;
    // Of the leave, only what is ignored is not stored yet.
    proxy.set(Fault::Internal, Scope::Puts);
    drop(live);
    eventually("it was tried", LIMIT, || async {
        Ok(server.log().contains("the repl stays: it cannot be saved").then_some(()))
    })
    .await?;
    proxy.clear();
    server.no_sandboxes(Duration::from_secs(20)).await?;

    let live = after_loss(&mut server, &api, &repl).await?;
    ensure!(api.execute(&repl, "stat -c %s node_modules/first").await? == "200000");
    // What did not change costs no request for its content.
    proxy.take_counts();
    drop(live);
    server.no_sandboxes(Duration::from_secs(20)).await?;
    let counts = proxy.take_counts();
    ensure!(!counts.contains_key("PUT blob"), "{counts:?}");

    let live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    api.execute(&repl, "head -c 3000000 /dev/urandom > node_modules/second").await?;
    proxy.take_counts();
    proxy.set(Fault::Blackhole, Scope::Puts);
    drop(live);
    eventually("it is being saved", LIMIT, || async {
        Ok(proxy.take_counts().contains_key("PUT blob").then_some(()))
    })
    .await?;
    // What hangs already hangs on.
    proxy.clear();
    let _live = after_loss(&mut server, &api, &repl).await?;
    let found = api.execute(&repl, "ls node_modules; stat -c %s node_modules/first").await?;
    ensure!(found == "first\n200000", "{found}");
    Ok(())
}
