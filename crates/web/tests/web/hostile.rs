use reqwest::{Method, header};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{OWNER_TOKEN, Server, ok, problem};

/// Status and head of the answer to raw bytes.
async fn raw(server: &Server, bytes: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    tokio::time::timeout(std::time::Duration::from_secs(10), reading).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    (status, text)
}

#[tokio::test]
async fn foreign_hosts_get_nothing() {
    let server = Server::start().await;
    let repl = server.create().await;
    for path in ["/", "/api/v1/repls", &format!("/api/v1/repls/{repl}/tree"), "/assets/x.js"] {
        for host in ["evil.example", "localhost", "localhost:1", "evil.localhost:80"] {
            let request = server.to_host(host, Method::GET, path).bearer_auth(OWNER_TOKEN);
            assert_eq!(problem(request).await, (421, "misdirected".to_owned()), "{host} {path}");
        }
    }
    for target in [
        "GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".to_owned(),
        format!(
            "GET / HTTP/1.1\r\nHost: {0}\r\nHost: {0}\r\nConnection: close\r\n\r\n",
            server.host()
        ),
        format!(
            "GET http://evil.example/ HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            server.host()
        ),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
    ] {
        let (status, text) = raw(&server, &target).await;
        assert!(status == 421 || status == 400, "{target} -> {text}");
    }
    let person = server.to_host(&server.address.to_string(), Method::GET, "/");
    let page = person.header(header::ACCEPT, "text/html,*/*").send().await.unwrap();
    assert_eq!(page.status().as_u16(), 421);
    let text = page.text().await.unwrap();
    assert!(text.contains(&format!("<a href=\"{}/\">", server.origin())), "{text}");
    // By its bare address only probes answer.
    let address = server.address.to_string();
    for (path, status) in
        [("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/", 421), ("/api/v1/me", 421)]
    {
        let response = server.to_host(&address, Method::GET, path).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn the_cookie_works_for_our_own_pages_only() {
    let server = Server::start().await;
    let repl = server.create().await;
    let (_, cookie) = server.sign_in(OWNER_TOKEN, None).await;
    let cookie = cookie.unwrap();
    let preview = format!("http://3000-{repl}.localhost:{}", server.address.port());
    let foreign = (403, "foreign_origin".to_owned());
    let path = format!("/api/v1/repls/{repl}");
    for origin in [
        None,
        Some("null"),
        Some("http://evil.example"),
        Some(preview.as_str()),
        Some("http://localhost"),
    ] {
        for (method, path) in [
            (Method::DELETE, path.clone()),
            (Method::POST, format!("{path}/run")),
            (Method::PUT, format!("{path}/files/a")),
            (Method::PATCH, "/api/v1/me".to_owned()),
            (Method::DELETE, "/api/v1/session".to_owned()),
        ] {
            let mut request =
                server.request(method, &path).header(header::COOKIE, &cookie).json(&json!({}));
            if let Some(origin) = origin {
                request = request.header(header::ORIGIN, origin);
            }
            assert_eq!(problem(request).await, foreign, "{origin:?} {path}");
        }
    }
    for site in ["cross-site", "same-site"] {
        let request = server
            .request(Method::GET, "/api/v1/repls")
            .header(header::COOKIE, &cookie)
            .header("sec-fetch-site", site);
        assert_eq!(problem(request).await, foreign);
    }
    ok(server.request(Method::GET, "/api/v1/repls").header(header::COOKIE, &cookie)).await;
    let sign_in = server
        .request(Method::POST, "/api/v1/session")
        .header(header::ORIGIN, "http://evil.example")
        .json(&json!({ "token": OWNER_TOKEN }));
    assert_eq!(problem(sign_in).await, foreign, "nobody is signed in by another site");
    let form = server
        .request(Method::POST, "/api/v1/session")
        .header(header::CONTENT_TYPE, "text/plain")
        .body(format!("{{\"token\":\"{OWNER_TOKEN}\"}}"));
    assert_eq!(problem(form).await, (415, "not_json".to_owned()));
    // The repl is still there.
    ok(server.owner(Method::GET, &path)).await;
}

#[tokio::test]
async fn wrong_tokens_are_refused_and_then_slowed() {
    let server = Server::start().await;
    let (_, cookie) = server.sign_in(OWNER_TOKEN, None).await;
    let long = "x".repeat(5_000);
    let almost = &OWNER_TOKEN[1..];
    for token in ["", "wrong", almost, "ä", &long] {
        let request = server
            .request(Method::GET, "/api/v1/me")
            .header(header::AUTHORIZATION, format!("Bearer {token}").as_bytes());
        let (status, code) = problem(request).await;
        assert_eq!(status, 401, "{token} {code}");
    }
    let mut statuses = Vec::new();
    for n in 0..60 {
        let request = server.with(&format!("guess-{n}"), Method::GET, "/api/v1/me");
        statuses.push(problem(request).await.0);
    }
    assert_eq!(statuses[0], 401);
    assert_eq!(*statuses.last().unwrap(), 429);
    let request = server.owner(Method::GET, "/api/v1/me");
    assert_eq!(problem(request).await, (429, "too_many_attempts".to_owned()));
    ok(server.page(cookie.as_deref().unwrap(), Method::GET, "/api/v1/me")).await;
    let both =
        server.page(cookie.as_deref().unwrap(), Method::GET, "/api/v1/me").bearer_auth("wrong");
    assert_eq!(problem(both).await.0, 429, "a wrong token is not replaced by a cookie");
}

#[tokio::test]
async fn odd_paths_reach_nothing() {
    let server = Server::start().await;
    let repl = server.create().await;
    for path in [
        "/api/v1/repls/../../internal/v1/nodes".to_owned(),
        "/api/v1/repls/%2e%2e/tree".to_owned(),
        format!("/api/v1/repls/{repl}/seed"),
        format!("/api/v1/repls/{repl}/internal/v1/tools"),
        format!("/api/v1/repls/{repl}//tree"),
        format!("/api/v1/repls/{repl}/files/"),
        format!("/api/v1/repls/{repl}%00/tree"),
        format!("/api/v1/repls/{}/tree", repl.as_str().to_uppercase()),
        "/api/v1/repls/%ff/tree".to_owned(),
        "/api/v1/nothing".to_owned(),
        "/api".to_owned(),
        "/collab/x".to_owned() + ".bin",
        "/internal/v1/tools?names=sh".to_owned(),
        "/assets/../../package.json".to_owned(),
        "/../../crates/web/Cargo.toml".to_owned(),
    ] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {OWNER_TOKEN}\r\n\
             Connection: close\r\n\r\n",
            server.host()
        );
        let (status, text) = raw(&server, &request).await;
        assert_eq!(status, 404, "{path} -> {text}");
    }
    // What a node's own router must judge arrives as it was sent.
    let path = format!("/api/v1/repls/{repl}/files/..%2f..%2fetc/passwd");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {OWNER_TOKEN}\r\n\
         Connection: close\r\n\r\n",
        server.host()
    );
    let (status, text) = raw(&server, &request).await;
    assert!(status == 200 && text.contains(&path), "{text}");
}

#[tokio::test]
async fn bad_bodies_get_a_clear_answer() {
    let server = Server::start().await;
    let create = || server.owner(Method::POST, "/api/v1/repls");
    let as_json =
        |body: String| create().header(header::CONTENT_TYPE, "application/json").body(body);
    let huge = format!("{{\"template\":\"{}\"}}", "x".repeat(100_000));
    for (request, status, code) in [
        (create().body("template=python"), 415, "not_json"),
        (create(), 415, "not_json"),
        (as_json("{".to_owned()), 400, "bad_request"),
        (as_json("[]".to_owned()), 422, "unprocessable"),
        (as_json("{\"template\":7}".to_owned()), 422, "unprocessable"),
        (as_json(huge), 413, "too_large"),
        (server.owner(Method::PUT, "/api/v1/repls"), 405, "method_not_allowed"),
        (server.owner(Method::DELETE, "/healthz"), 405, "method_not_allowed"),
        (server.request(Method::POST, "/r/x"), 405, "method_not_allowed"),
        (server.owner(Method::GET, "/api/v1/collab"), 400, "bad_request"),
    ] {
        assert_eq!(problem(request).await, (status, code.to_owned()));
    }
}
