use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::{Method, StatusCode};
use tandem_proto::live::Refusal;
use tandem_proto::role::Role;
use tandem_testkit::{Api, CollabEvent, CollabSocket, Replica, Socket, YSocket};

use crate::{python, python_in_sandbox};

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_changes_nothing_over_http() -> Result<()> {
    let (server, api, repl) = python().await?;
    let viewer = server.guest(&repl, Role::Viewer).await?;
    let before = api.text(&repl, "main.py").await?;
    assert_eq!(viewer.text(&repl, "main.py").await?, before);

    let base = format!("/api/v1/repls/{repl}");
    let main = Api::file_path(&repl, "main.py");
    for (method, path) in [
        (Method::PUT, main.clone()),
        (Method::PUT, Api::file_path(&repl, "new.txt")),
        (Method::PUT, format!("{}/", Api::file_path(&repl, "folder"))),
        (Method::DELETE, main.clone()),
        (Method::POST, format!("{main}?move_to=other.py")),
        (Method::POST, format!("{main}?restore")),
        (Method::POST, format!("{base}/import")),
        (Method::POST, format!("{base}/run")),
        (Method::POST, format!("{base}/stop")),
        (Method::POST, format!("{base}/terminals")),
        (Method::PATCH, base.clone()),
        (Method::DELETE, base.clone()),
        (Method::POST, format!("{base}/fork")),
        (Method::POST, format!("{base}/links")),
        (Method::POST, "/api/v1/repls".to_owned()),
    ] {
        let answer = viewer
            .request(method.clone(), &path)
            .header("content-type", "application/json")
            .body(r#"{"name":"x","template":"python","role":"editor"}"#)
            .send()
            .await?;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{method} {path}");
        let kind = answer.headers().get("content-type").cloned();
        assert_eq!(
            kind.as_ref().map(|kind| kind.as_bytes()),
            Some(&b"application/problem+json"[..])
        );
    }
    assert_eq!(api.text(&repl, "main.py").await?, before);
    assert_eq!(api.status_of(Method::GET, &Api::file_path(&repl, "new.txt")).await?, 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_changes_nothing_over_any_socket() -> Result<()> {
    let (server, api, repl) = python().await?;
    let viewer = server.guest(&repl, Role::Viewer).await?;
    let before = api.text(&repl, "main.py").await?;

    let mut ours = viewer.live(&repl).await?;
    ours.join("main.py").await?;
    ours.append("main.py", "# by a viewer\n").await?;
    ours.wait_for("the refusal", |socket| socket.text_refused("main.py", Refusal::ReadOnly as u64))
        .await?;

    let mut yws = YSocket::open(&viewer, &repl, "main.py").await?;
    yws.synced().await?;
    yws.append("# by a viewer\n").await?;
    assert_eq!(yws.socket().closed().await?.code, Refusal::ReadOnly as u16);

    let address = format!("{repl}/main.py");
    let replica = Replica::default();
    let mut collab = CollabSocket::open(&viewer).await?;
    collab.join(&address, viewer.token(), &replica.state_vector()).await?;
    let scope =
        collab.wait_for(&address, |event| matches!(event, CollabEvent::Authenticated(_))).await?;
    assert_eq!(scope, CollabEvent::Authenticated("readonly".to_owned()));
    collab.send_sync(&address, 2, &replica.append("# by a viewer\n")).await?;
    let refused = collab
        .wait_for(&address, |event| {
            matches!(event, CollabEvent::Status(false) | CollabEvent::Closed)
        })
        .await;
    if let Err(error) = refused {
        ensure!(error.to_string().contains("4403"), "neither a status nor 4403: {error}");
    }

    // Nobody else sees any of it.
    let mut owner = api.live(&repl).await?;
    owner.join("main.py").await?;
    owner.listen(Duration::from_millis(300)).await?;
    assert_eq!(owner.text("main.py")?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_only_repeats_is_no_offence_of_a_viewer() -> Result<()> {
    let (server, _api, repl) = python().await?;
    let viewer = server.guest(&repl, Role::Viewer).await?;
    let mut yws = YSocket::open(&viewer, &repl, "main.py").await?;
    yws.synced().await?;
    let everything = yws.replica.difference(&Replica::default().state_vector())?;
    yws.send_sync(1, &everything).await?;
    let next = yws.socket().next_within(Duration::from_millis(300)).await;
    assert!(next.is_ok(), "still connected: {next:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_a_terminal_and_types_into_nothing() -> Result<()> {
    let (server, api, repl, _live) = python_in_sandbox().await?;
    let viewer = server.guest(&repl, Role::Viewer).await?;
    let mut shell = api.shell(&repl).await?;
    shell.execute("echo ready").await?;
    let terminals = api.status(&repl).await?.live.terminals;
    let mut watching = viewer.terminal(&repl, terminals[0].id.as_str(), None).await?;
    // Refused by closing or by ignoring; in no case does it reach the shell.
    let _ = watching.send("touch by-viewer\r").await;
    let seen = shell.execute("sleep 0.3; ls").await?;
    assert!(!seen.contains("by-viewer"), "{seen}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_reaches_its_own_repl_only() -> Result<()> {
    let (server, api, repl) = python().await?;
    let other = api.create("node").await?.id.to_string();
    let editor = server.guest(&repl, Role::Editor).await?;
    let listed: Vec<_> =
        editor.repls().await?.into_iter().map(|repl| repl.id.to_string()).collect();
    assert_eq!(listed, std::slice::from_ref(&repl));
    for path in [
        format!("/api/v1/repls/{other}"),
        format!("/api/v1/repls/{other}/tree"),
        Api::file_path(&other, "main.js"),
        format!("/api/v1/repls/{other}/status"),
        format!("/api/v1/repls/{other}/archive.zip"),
    ] {
        let status = editor.status_of(Method::GET, &path).await?;
        assert!(matches!(status.as_u16(), 403 | 404), "{path}: {status}");
    }
    assert!(editor.live(&other).await.is_err());
    let mut foreign = YSocket::open(&editor, &other, "main.js").await?;
    assert!(matches!(foreign.socket().closed().await?.code, 4401 | 4403 | 4404));

    // As an editor it may do what an editor does.
    editor.write(&repl, "by-editor.txt", "hello").await?;
    assert_eq!(api.text(&repl, "by-editor.txt").await?, "hello");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_opens_nothing() -> Result<()> {
    let (server, api, repl) = python().await?;
    let stranger = server.api_with("not-the-token");
    for path in [
        "/api/v1/repls".to_owned(),
        "/api/v1/me".to_owned(),
        format!("/api/v1/repls/{repl}"),
        Api::file_path(&repl, "main.py"),
    ] {
        assert_eq!(stranger.status_of(Method::GET, &path).await?, 401, "{path}");
        let anonymous = api.anonymous(Method::GET, &path).send().await?;
        assert_eq!(anonymous.status(), 401, "{path} without a token");
    }
    let mut yws = YSocket::open(&stranger, &repl, "main.py").await?;
    assert_eq!(yws.socket().closed().await?.code, 4401);
    let address = format!("{repl}/main.py");
    let mut collab = CollabSocket::open(&stranger).await?;
    collab.join(&address, "not-the-token", &Replica::default().state_vector()).await?;
    let denied = collab.wait_for(&address, |event| matches!(event, CollabEvent::Denied(_))).await?;
    assert!(matches!(denied, CollabEvent::Denied(_)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_link_stops_working() -> Result<()> {
    let (server, api, repl) = python().await?;
    let link = api.link(&repl, Role::Editor).await?;
    let guest = server.api_with(&link.token);
    guest.text(&repl, "main.py").await?;
    api.done(Method::DELETE, &format!("/api/v1/repls/{repl}/links/{}", link.id)).await?;
    assert_eq!(guest.status_of(Method::GET, &Api::file_path(&repl, "main.py")).await?, 401);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_elsewhere_can_do_nothing_with_the_cookie() -> Result<()> {
    let (server, api, repl) = python().await?;
    let site = format!("http://localhost:{}", server.port());
    let answer = api
        .anonymous(Method::POST, "/api/v1/session")
        .header("origin", &site)
        .json(&serde_json::json!({ "token": api.token() }))
        .send()
        .await?;
    ensure!(answer.status().is_success(), "{}", answer.status());
    let cookie = answer.headers()["set-cookie"].to_str()?.to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.to_lowercase().contains("domain="), "{cookie}");
    let cookie = cookie.split(';').next().unwrap_or_default();

    let path = Api::file_path(&repl, "main.py");
    let own = api.anonymous(Method::PUT, &path).header("cookie", cookie).header("origin", &site);
    assert!(own.body("print(1)\n").send().await?.status().is_success());
    let preview = format!("http://3000-{repl}.localhost:{}", server.port());
    for origin in [preview.as_str(), "http://evil.example", "null"] {
        let foreign =
            api.anonymous(Method::PUT, &path).header("cookie", cookie).header("origin", origin);
        assert_eq!(foreign.body("print(2)\n").send().await?.status(), 403, "{origin}");
        let host = format!("localhost:{}", server.port());
        let socket = Socket::open(
            server.port(),
            &host,
            &format!("/api/v1/repls/{repl}/live"),
            &[("cookie", cookie), ("origin", origin), ("sec-websocket-protocol", "tandem.v1")],
        )
        .await;
        if let Ok(mut socket) = socket {
            assert_eq!(socket.closed().await?.code, 4403, "{origin}");
        }
    }
    assert_eq!(api.text(&repl, "main.py").await?, "print(1)\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_name_is_not_served() -> Result<()> {
    let (server, _api, _repl) = python().await?;
    let answer = reqwest::Client::new()
        .get(format!("http://127.0.0.1:{}/", server.port()))
        .header("host", "rebound.example")
        .send()
        .await?;
    assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST);
    Ok(())
}
