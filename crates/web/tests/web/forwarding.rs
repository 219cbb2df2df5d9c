use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use tandem_proto::{Grant, limits};

use crate::support::{OWNER_TOKEN, Server, next, ok, problem, send};

fn header<'a>(seen: &'a Value, name: &str) -> Vec<&'a str> {
    seen["headers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|pair| pair[0] == name)
        .map(|pair| pair[1].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_node_gets_a_grant_in_place_of_secrets() {
    let server = Server::start().await;
    let repl = server.create().await;
    let path = format!("/api/v1/repls/{repl}/files/src/main%20x.py?move_to=a%2Fb");
    let (_, token) = server.link(repl, "editor").await;
    let (body, cookie) = server.sign_in(&token, None).await;
    let seen = ok(server
        .page(cookie.as_deref().unwrap(), Method::POST, &path)
        .header("x-tandem-grant", "forged")
        .header("x-tandem-preview-port", "3000")
        .header("x-forwarded-for", "198.18.0.9")
        .header("forwarded", "for=198.18.0.9")
        .header("x-kept", "yes")
        .body("12345"))
    .await;
    assert_eq!((&seen["method"], &seen["target"]), (&json!("POST"), &json!(path)));
    assert_eq!(seen["body"], 5);
    for gone in ["cookie", "authorization", "x-tandem-preview-port", "forwarded"] {
        assert_eq!(header(&seen, gone), Vec::<&str>::new(), "{gone}");
    }
    assert_eq!(header(&seen, "x-kept"), ["yes"]);
    assert_eq!(header(&seen, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(header(&seen, "x-forwarded-proto"), ["http"]);
    assert_eq!(header(&seen, "x-forwarded-host"), [server.host()]);
    let grant: Grant = serde_json::from_value(seen["grant"].clone()).unwrap();
    assert_eq!(grant.member.as_str(), body["me"]["member"]);
    assert_eq!(grant.name, body["me"]["name"]);
    assert_eq!((grant.repl, grant.role.as_str()), (repl, "editor"));
    assert_eq!(grant.node, server.node.id);

    let seen =
        ok(server.owner(Method::GET, &format!("/api/v1/repls/{repl}/tree?dir=a&token=x"))).await;
    assert_eq!(seen["target"], format!("/api/v1/repls/{repl}/tree?dir=a"));
    assert_eq!(header(&seen, "authorization"), Vec::<&str>::new());
    assert_eq!(seen["grant"]["role"], "owner");
}

#[tokio::test]
async fn sockets_pass_through() {
    let server = Server::start().await;
    let repl = server.create().await;
    let (_, viewer) = server.link(repl, "viewer").await;
    let path = format!("/api/v1/repls/{repl}/sync/main.py");
    let mut by_query = server.socket(&format!("{path}?token={viewer}&from=3"), &[]).await.unwrap();
    let grant: Grant = serde_json::from_slice(&next(&mut by_query).await.unwrap()).unwrap();
    assert_eq!(grant.role.as_str(), "viewer");
    let large = vec![7; 3 * 1024 * 1024];
    send(&mut by_query, large.clone()).await;
    assert_eq!(next(&mut by_query).await.unwrap(), large);

    let live = format!("/api/v1/repls/{repl}/live");
    let bearer = format!("Bearer {OWNER_TOKEN}");
    let mut by_header = server.socket(&live, &[("authorization", &bearer)]).await.unwrap();
    let grant: Grant = serde_json::from_slice(&next(&mut by_header).await.unwrap()).unwrap();
    assert_eq!(grant.role.as_str(), "owner");

    let (_, cookie) = server.sign_in(&viewer, None).await;
    let cookie = cookie.unwrap();
    let ours = [("cookie", cookie.as_str()), ("origin", &server.origin())];
    next(&mut server.socket(&live, &ours).await.unwrap()).await.unwrap();

    let refuse = async |path: &str, headers: &[(&str, &str)]| {
        server.socket(path, headers).await.map(drop).unwrap_err()
    };
    // A program reads the status; a page can only read why its socket was closed.
    assert_eq!(refuse(&live, &[("authorization", "Bearer wrong")]).await, 401);
    let other = server.create().await;
    let token = format!("Bearer {viewer}");
    let elsewhere = format!("/api/v1/repls/{other}/live");
    assert_eq!(refuse(&elsewhere, &[("authorization", &token)]).await, 404);
    let page = [("sec-websocket-protocol", "tandem.v1")];
    for (path, code) in [
        (live.clone(), 4401),
        (format!("{live}?token=wrong"), 4401),
        (format!("{path}?token=wrong"), 4401),
        (format!("{elsewhere}?token={viewer}"), 4404),
        ("/api/v1/repls/nonsense/live".to_owned(), 4401),
        (format!("/api/v1/repls/nonsense/live?token={viewer}"), 4404),
        ("/api/v1/collab?token=wrong".to_owned(), 4401),
    ] {
        let mut socket = server.socket(&path, &page).await.unwrap();
        assert_eq!(next(&mut socket).await, Err(code), "{path}");
    }
    assert_eq!(refuse(&live, &[("cookie", &cookie)]).await, 403, "no origin");
    let preview = format!("http://3000-{repl}.localhost:{}", server.address.port());
    for origin in ["null", "http://evil.example", &preview] {
        assert_eq!(refuse(&live, &[("cookie", &cookie), ("origin", origin)]).await, 403);
        // A token shown on purpose is somebody's own business.
        let headers = [("origin", origin)];
        server.socket(&format!("{live}?token={viewer}"), &headers).await.unwrap();
    }
}

#[tokio::test]
async fn a_query_token_is_for_sockets_only() {
    let server = Server::start().await;
    let repl = server.create().await;
    let path = format!("/api/v1/repls/{repl}/tree?token={OWNER_TOKEN}");
    assert_eq!(problem(server.request(Method::GET, &path)).await.0, 401);
}

#[tokio::test]
async fn bodies_stream_and_are_bounded() {
    let server = Server::start().await;
    let repl = server.create().await;
    let endless = server.owner(Method::GET, &format!("/api/v1/repls/{repl}/archive.zip"));
    let mut stream = endless.send().await.unwrap().bytes_stream();
    let mut got = 0;
    while got < 1_000_000 {
        got += stream.next().await.unwrap().unwrap().len();
    }
    drop(stream);

    let chunk = bytes::Bytes::from(vec![1; 64 * 1024]);
    let upload = |chunks: usize| {
        let chunk = chunk.clone();
        let stream = futures_util::stream::iter(0..chunks)
            .map(move |_| Ok::<_, std::io::Error>(chunk.clone()));
        reqwest::Body::wrap_stream(stream)
    };
    let file = format!("/api/v1/repls/{repl}/files/big.bin");
    let seen = ok(server.owner(Method::PUT, &file).body(upload(320))).await;
    assert_eq!(seen["body"], 320 * 64 * 1024);
    let run = format!("/api/v1/repls/{repl}/run");
    let seen = ok(server.owner(Method::POST, &run).body(upload(17))).await;
    assert_eq!(seen["body"], Value::Null, "the node's reading fails at the limit");

    let says = |path: &str, method, length: u64| {
        server.owner(method, path).header("content-length", length)
    };
    let import = format!("/api/v1/repls/{repl}/import");
    for (path, method, limit) in [
        (&file, Method::PUT, limits::MAX_UPLOAD_BYTES as u64),
        (&import, Method::POST, limits::MAX_IMPORT_BYTES),
        (&run, Method::POST, 1024 * 1024),
    ] {
        let answer = problem(says(path, method, limit + 1)).await;
        assert_eq!(answer, (413, "too_large".to_owned()), "{path}");
    }
}
