use anyhow::Result;
use reqwest::Method;
use tandem_proto::api::TreeKind;
use tandem_testkit::{Api, LIMIT, eventually};

use crate::python;

#[tokio::test(flavor = "multi_thread")]
async fn files_are_made_moved_deleted_and_brought_back() -> Result<()> {
    let (_server, api, repl) = python().await?;
    api.write(&repl, "src/deep/one.txt", "1").await?;
    let folder = api.tree(&repl, "src").await?;
    assert_eq!(folder.entries.len(), 1);
    assert_eq!(folder.entries[0].kind, TreeKind::Folder);

    api.rename(&repl, "src/deep", "src/moved").await?;
    assert_eq!(api.text(&repl, "src/moved/one.txt").await?, "1");
    // A move never replaces.
    let onto = format!("{}?move_to=main.py", Api::file_path(&repl, "src/moved/one.txt"));
    assert_eq!(api.status_of(Method::POST, &onto).await?, 409);
    // Nor does it put a folder into itself.
    let into = format!("{}?move_to=src/moved/inside", Api::file_path(&repl, "src/moved"));
    assert!(api.status_of(Method::POST, &into).await?.is_client_error());

    api.remove(&repl, "main.py").await?;
    assert_eq!(api.status_of(Method::GET, &Api::file_path(&repl, "main.py")).await?, 404);
    api.done(Method::POST, &format!("{}?restore", Api::file_path(&repl, "main.py"))).await?;
    assert!(api.text(&repl, "main.py").await?.contains("Hello from Python"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_kept_as_they_are() -> Result<()> {
    let (_server, api, repl) = python().await?;
    for name in ["with space.txt", "100%.txt", "ünïcode 文.txt", "a&b=c?d.txt", "+.txt"] {
        api.write(&repl, name, name).await?;
        assert_eq!(api.text(&repl, name).await?, name);
        let tree = api.tree(&repl, "").await?;
        assert!(tree.entries.iter().any(|entry| entry.name == name), "{name} in the tree");
        let mut live = api.live(&repl).await?;
        assert_eq!(live.join(name).await?.replica.text(), name);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repl_is_listed_renamed_forked_deleted_and_brought_back() -> Result<()> {
    let (_server, api, repl) = python().await?;
    let path = format!("/api/v1/repls/{repl}");
    let renamed = api
        .request(Method::PATCH, &path)
        .json(&serde_json::json!({ "name": "A better name" }))
        .send()
        .await?;
    assert!(renamed.status().is_success());
    assert_eq!(api.repl(&repl).await?.name, "A better name");

    let mut live = api.live(&repl).await?;
    live.join("main.py").await?;
    live.append("main.py", "# typed just before the fork\n").await?;
    live.fsynced("main.py").await?;
    let fork = api.fork(&repl).await?;
    assert_eq!(fork.name, "A better name (fork)");
    let fork = fork.id.to_string();
    assert!(api.text(&fork, "main.py").await?.contains("# typed just before the fork"));
    api.write(&fork, "main.py", "").await?;
    assert!(!api.text(&repl, "main.py").await?.is_empty(), "the source is another repl");

    api.delete(&repl).await?;
    assert!(
        api.repls()
            .await?
            .iter()
            .all(|known| { known.id.to_string() != repl || known.deleted_ms.is_some() })
    );
    assert!(api.text(&repl, "main.py").await.is_err());
    api.done(Method::POST, &format!("{path}/restore")).await?;
    eventually("the repl is back", LIMIT, || async {
        Ok(api.text(&repl, "main.py").await?.contains("before the fork").then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn user_files_are_never_active_on_our_own_origin() -> Result<()> {
    let (_server, api, repl) = python().await?;
    for name in ["page.html", "drawing.svg", "script.js"] {
        api.write(&repl, name, "<script>alert(1)</script>").await?;
        let answer = api.request(Method::GET, &Api::file_path(&repl, name)).send().await?;
        let header = |key: &str| {
            answer.headers().get(key).and_then(|value| value.to_str().ok()).unwrap_or_default()
        };
        let kind = header("content-type");
        assert!(
            kind.starts_with("text/plain") || kind == "application/octet-stream",
            "{name}: {kind}"
        );
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(header("content-disposition").starts_with("attachment"));
        assert!(header("content-security-policy").contains("sandbox"));
    }
    Ok(())
}
