//! No secret is ever written to the log, whatever the level.

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use reqwest::{Method, header};
use tandem_proto::collab::{self, kind};
use tandem_proto::lib0::{write_var_string, write_var_uint};
use tracing_subscriber::fmt::MakeWriter;

use support::{OWNER_TOKEN, Server, next, ok, problem, send};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn secrets_stay_out_of_the_log() {
    let captured = Captured::default();
    // Everything of the server, and what the libraries under it say; not the test's client.
    let filter =
        "trace,reqwest=off,hyper_util::client=off,tungstenite=debug,tokio_tungstenite=debug";
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(captured.clone())
        .with_ansi(false)
        .init();
    let server = Server::start().await;
    let repl = server.create().await;
    let (_, link) = server.link(repl, "editor").await;
    let (_, cookie) = server.sign_in(&link, None).await;
    let cookie = cookie.unwrap();
    ok(server.page(&cookie, Method::GET, "/api/v1/repls")).await;
    let wrong = "a-wrong-token-somebody-typed";
    problem(server.with(wrong, Method::GET, "/api/v1/me")).await;
    problem(server.request(Method::GET, &format!("/api/v1/me?token={wrong}"))).await;
    let tree = format!("/api/v1/repls/{repl}/tree");
    let seen = ok(server.owner(Method::GET, &format!("{tree}?token={OWNER_TOKEN}"))).await;
    let live = format!("/api/v1/repls/{repl}/live?token={link}");
    next(&mut server.socket(&live, &[]).await.unwrap()).await.unwrap();
    let refused = format!("/api/v1/repls/{repl}/live?token={wrong}");
    next(&mut server.socket(&refused, &[]).await.unwrap()).await.unwrap_err();
    let mut socket = server.socket("/api/v1/collab", &[]).await.unwrap();
    for token in [link.as_str(), OWNER_TOKEN, wrong] {
        let mut frame = collab::start(&format!("{repl}/a"), kind::AUTH);
        write_var_uint(&mut frame, 0);
        write_var_string(&mut frame, token);
        send(&mut socket, frame).await;
        next(&mut socket).await.unwrap();
    }
    let preview = format!("3000-{repl}.localhost:{}", server.address.port());
    let request = server.to_host(&preview, Method::GET, &format!("/?token={OWNER_TOKEN}"));
    ok(request.header(header::COOKIE, &cookie)).await;

    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("answered") && log.contains(repl.as_str()), "the log is not empty");
    let grant = &seen["grant"];
    assert!(grant.is_object());
    let session = cookie.split('=').nth(1).unwrap();
    for secret in [OWNER_TOKEN, link.as_str(), session, wrong] {
        if let Some(line) = log.lines().find(|line| line.contains(secret)) {
            panic!("a secret is in the log: {line}");
        }
    }
}
