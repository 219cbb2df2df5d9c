use std::time::Duration;

use anyhow::Result;
use reqwest::Method;
use tandem_proto::live::Refusal;
use tandem_testkit::{Api, Replica, YSocket};
use tokio_tungstenite::tungstenite::Message;

use crate::python;

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_a_problem_document() -> Result<()> {
    let (_server, api, _repl) = python().await?;
    for repl in ["aaaaaaaaaaaaaaaa", "not-an-id", "..%2f..", "%00"] {
        for rest in ["", "/tree", "/status", "/files/main.py", "/archive.zip"] {
            let path = format!("/api/v1/repls/{repl}{rest}");
            let answer = api.request(Method::GET, &path).send().await?;
            assert!(matches!(answer.status().as_u16(), 400 | 404), "{path}: {}", answer.status());
            let kind = answer.headers()["content-type"].to_str()?.to_owned();
            assert_eq!(kind, "application/problem+json", "{path}");
            let problem: serde_json::Value = serde_json::from_str(&answer.text().await?)?;
            assert!(problem["title"].is_string() && problem["status"].is_number(), "{problem}");
        }
    }
    let answer = api
        .request(Method::POST, "/api/v1/repls")
        .json(&serde_json::json!({ "template": "cobol" }))
        .send()
        .await?;
    assert!(answer.status().is_client_error());
    let broken = api
        .request(Method::POST, "/api/v1/repls")
        .header("content-type", "application/json")
        .body("{")
        .send()
        .await?;
    assert!(broken.status().is_client_error());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_out_of_the_workspace_are_refused() -> Result<()> {
    let (_server, api, repl) = python().await?;
    let before = api.tree(&repl, "").await?.entries.len();
    let long = "x".repeat(5000);
    let deep = "d/".repeat(300) + "f";
    for path in [
        "%2e%2e/outside",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "a/%2e%2e/%2e%2e/b",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "nul%00name",
        "a//b",
        "new%0aline",
        &long,
        &deep,
    ] {
        let shown = &path[..path.len().min(40)];
        for method in ["PUT", "GET", "DELETE"] {
            let address = format!("/api/v1/repls/{repl}/files/{path}");
            let status = api.raw_status(method, &address).await?;
            // A name that could exist on a disk is looked for; it cannot be made.
            let missing = method != "PUT" && matches!(status, 404 | 204);
            assert!(matches!(status, 400 | 414 | 431) || missing, "{method} {shown}: {status}");
        }
        let to = format!("{}?move_to={path}", Api::file_path(&repl, "main.py"));
        let status = api.raw_status("POST", &to).await?;
        assert!((400..500).contains(&status), "move to {shown}: {status}");
    }
    assert_eq!(api.tree(&repl, "").await?.entries.len(), before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_harm_nobody_else() -> Result<()> {
    let (_server, api, repl) = python().await?;
    let mut honest = api.live(&repl).await?;
    honest.join("main.py").await?;

    let frames: [&[u8]; 12] = [
        &[],
        &[0],
        &[0, 0],
        &[0, 2, 5, 1],
        &[0, 2, 1, 0xff],
        &[0, 9, 0],
        &[77],
        &[1, 3, 1, 1, 1],
        &[0xff; 40],
        // An update that once made every later encode panic.
        &[0, 2, 11, 0x01, 0x01, 0x01, 0x01, 0xd2, 0x84, 0x3d, 0x0c, 0x44, 0x0f, 0x00],
        // Counts far beyond the bytes that are there.
        &[0, 2, 6, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x00],
        &[2, 0, 1, b'x'],
    ];
    for frame in frames {
        let mut socket = YSocket::open(&api, &repl, "main.py").await?;
        socket.synced().await?;
        socket.socket().send(frame.to_vec()).await?;
        // Refused, ignored or closed: all the same to the others.
        let _ = socket.socket().next_within(Duration::from_millis(50)).await;

        let mut own = api.live(&repl).await?;
        own.join("main.py").await?;
        own.socket().send(frame.to_vec()).await?;
        let _ = own.socket().next_within(Duration::from_millis(50)).await;

        let mut collab = tandem_testkit::CollabSocket::open(&api).await?;
        collab.socket().send(frame.to_vec()).await?;
        let _ = collab.socket().next_within(Duration::from_millis(50)).await;
    }
    let mut text = YSocket::open(&api, &repl, "main.py").await?;
    text.socket().send_message(Message::Text("hello".into())).await?;

    honest.append("main.py", "# still here\n").await?;
    honest.fsynced("main.py").await?;
    assert!(api.text(&repl, "main.py").await?.ends_with("# still here\n"));
    Ok(())
}

/// The byte strings that the fuzz tests keep, each as an edit over each protocol.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_updates_reach_nobody_and_not_the_next_opening() -> Result<()> {
    let (mut server, api, repl) = python().await?;
    let mut honest = api.live(&repl).await?;
    let begin = honest.join("main.py").await?.replica.text();
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/update");
    let mut updates = Vec::new();
    for file in std::fs::read_dir(corpus)? {
        let file = file?;
        // Those are honest edits in a wrong order.
        if !file.file_name().to_string_lossy().starts_with("out-of-order") {
            updates.push(std::fs::read(file.path())?);
        }
    }
    assert!(updates.len() > 5, "the corpus is there");
    // A state vector that claims what cannot be, as an edit and as itself.
    updates.push(vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]);
    let address = format!("{repl}/main.py");
    for update in &updates {
        let mut own = api.live(&repl).await?;
        own.join("main.py").await?;
        own.send_update("main.py", update).await?;
        let mut stock = YSocket::open(&api, &repl, "main.py").await?;
        stock.synced().await?;
        stock.send_sync(2, update).await?;
        stock.send_sync(0, update).await?;
        let mut provider = tandem_testkit::CollabSocket::open(&api).await?;
        provider.join(&address, api.token(), &[0]).await?;
        provider.send_sync(&address, 2, update).await?;
        provider.send_sync(&address, 0, update).await?;
        // Refused, reset or closed: all the same to the others.
        for socket in [own.socket(), stock.socket(), provider.socket()] {
            let _ = socket.next_within(Duration::from_millis(20)).await;
        }
        honest.append("main.py", "# still here\n").await?;
        honest.fsynced("main.py").await?;
    }
    let text = format!("{begin}{}", "# still here\n".repeat(updates.len()));
    assert_eq!(honest.text("main.py")?, text, "nothing of it reached another client");
    assert_eq!(api.text(&repl, "main.py").await?, text);

    server.kill().await?;
    server.restart().await?;
    let mut fresh = api.live(&repl).await?;
    assert_eq!(fresh.join("main.py").await?.replica.text(), text);
    fresh.append("main.py", "# and on\n").await?;
    fresh.stored("main.py").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_update_is_refused_by_number() -> Result<()> {
    let (_server, api, repl) = python().await?;
    let mut other = api.live(&repl).await?;
    other.join("main.py").await?;
    let mut socket = api.live(&repl).await?;
    socket.join("main.py").await?;
    let before = other.text("main.py")?;
    let update = Replica::default().append(&"x".repeat(9 * 1024 * 1024));
    socket.send_update("main.py", &update).await?;
    socket
        .wait_for("the refusal", |socket| socket.text_refused("main.py", Refusal::TooLarge as u64))
        .await?;
    // 16 MiB in one frame, on the stock protocol.
    let mut yws = YSocket::open(&api, &repl, "main.py").await?;
    yws.synced().await?;
    yws.send_sync(2, &vec![0; 16 * 1024 * 1024]).await?;
    assert_eq!(yws.socket().closed().await?.code, Refusal::TooLarge as u16);

    other.append("main.py", "#\n").await?;
    other.fsynced("main.py").await?;
    assert_eq!(other.text("main.py")?, format!("{before}#\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_with_a_gap_is_not_applied() -> Result<()> {
    let (_server, api, repl) = python().await?;
    let mut socket = api.live(&repl).await?;
    socket.join("main.py").await?;
    let before = socket.text("main.py")?;
    // The second edit of a client whose first edit the server never gets.
    let replica = Replica::default();
    replica.append("first");
    let second = replica.append("second");
    socket.send_update("main.py", &second).await?;
    socket.listen(Duration::from_millis(300)).await?;
    assert_eq!(api.text(&repl, "main.py").await?, before);

    let mut honest = api.live(&repl).await?;
    honest.join("main.py").await?;
    honest.append("main.py", "#\n").await?;
    honest.fsynced("main.py").await?;
    assert_eq!(api.text(&repl, "main.py").await?, format!("{before}#\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_text_stays_as_it_is() -> Result<()> {
    let (_server, api, repl) = python().await?;
    let latin1 = b"caf\xe9\n".to_vec();
    api.write(&repl, "latin1.txt", latin1.clone()).await?;
    assert_eq!(api.read(&repl, "latin1.txt").await?, latin1);
    let mut socket = YSocket::open(&api, &repl, "latin1.txt").await?;
    assert_eq!(socket.socket().closed().await?.code, Refusal::NotText as u16);
    assert_eq!(api.read(&repl, "latin1.txt").await?, latin1);
    Ok(())
}
