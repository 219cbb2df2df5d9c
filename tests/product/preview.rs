use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use reqwest::Method;
use tandem_testkit::{LIMIT, eventually};
use tokio_tungstenite::tungstenite::Message;

use crate::python_in_sandbox;

/// A web program with everything a preview must pass: pages, events, big bodies, a WebSocket.
const PROGRAM: &str = r#"
import base64, hashlib, json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/":
            self.answer("hello")
        elif self.path == "/headers":
            self.answer(json.dumps({k.lower(): v for k, v in self.headers.items()}))
        elif self.path == "/events":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            for n in range(3):
                self.wfile.write(f"data: {n}\n\n".encode()); self.wfile.flush()
                time.sleep(0.4)
            self.close_connection = True
        elif self.path == "/big":
            self.send_response(200)
            self.send_header("Content-Length", str(64 << 20))
            self.end_headers()
            for n in range(64):
                self.wfile.write(bytes([n]) * (1 << 20))
        elif self.path == "/cookie":
            self.send_response(200)
            self.send_header("Set-Cookie", "a=b; Domain=localhost; Path=/")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/socket":
            accept = base64.b64encode(hashlib.sha1((self.headers["Sec-WebSocket-Key"]
                + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Accept", accept)
            self.end_headers()
            while True:
                head = self.rfile.read(2)
                if len(head) < 2 or head[0] & 15 == 8: return
                mask = self.rfile.read(4)
                body = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(head[1] & 127)))
                self.wfile.write(bytes([0x81, len(body)]) + body); self.wfile.flush()
        else:
            self.send_error(404)

    def do_POST(self):
        left = int(self.headers["Content-Length"]); total = hashlib.sha256()
        while left:
            chunk = self.rfile.read(min(left, 1 << 16)); left -= len(chunk); total.update(chunk)
        self.answer(total.hexdigest())

    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_): pass

ThreadingHTTPServer((sys.argv[2], int(sys.argv[1])), Handler).serve_forever()
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_web_program_is_reached_in_every_way() -> Result<()> {
    let (_server, api, repl, _live) = python_in_sandbox().await?;
    api.write(&repl, "web.py", PROGRAM).await?;
    api.write(&repl, "tandem.toml", "run = \"python3 web.py 3000 127.0.0.1\"\n").await?;
    api.run(&repl, None).await?;
    let preview = api.preview(&repl, 3000);
    assert_eq!(preview.page("/").await?, "hello");

    let port = eventually("the port is in the live state", LIMIT, || async {
        Ok(api.status(&repl).await?.live.ports.into_iter().find(|port| port.port == 3000))
    })
    .await?;
    assert!(port.allowed);
    assert!(port.url.is_some_and(|url| url.contains(preview.host())));

    // Nothing of ours reaches the program; what is the program's own does.
    let sent = preview
        .request(Method::GET, "/headers")
        .header("cookie", "__Host-tandem=x; tandem_8080=y; own=z")
        .header("authorization", "Basic abc")
        .send()
        .await?;
    let headers: serde_json::Value = serde_json::from_str(&sent.text().await?)?;
    let cookie = headers["cookie"].as_str().unwrap_or_default();
    assert!(cookie.contains("own=z") && !cookie.contains("tandem"), "{headers}");
    assert_eq!(headers["authorization"], "Basic abc");
    assert!(headers.get("x-tandem-grant").is_none(), "{headers}");
    assert_eq!(headers["host"], preview.host());
    let answer = preview.request(Method::GET, "/cookie").send().await?;
    let cookie = answer.headers()["set-cookie"].to_str()?.to_lowercase();
    assert!(!cookie.contains("domain"), "{cookie}");

    // Events come one by one, not at the end.
    let begin = Instant::now();
    let mut events = preview.request(Method::GET, "/events").send().await?.bytes_stream();
    let first = events.next().await.context("an event")??;
    assert!(first.starts_with(b"data: 0"), "{first:?}");
    ensure!(begin.elapsed() < Duration::from_millis(390), "buffered: {:?}", begin.elapsed());

    // Big bodies stream both ways.
    let big = preview.request(Method::GET, "/big").send().await?.bytes().await?;
    assert_eq!(big.len(), 64 << 20);
    assert!(
        big.chunks(1 << 20).enumerate().all(|(n, chunk)| chunk.iter().all(|b| *b as usize == n))
    );
    let sum = preview.request(Method::POST, "/").body(big).send().await?.text().await?;
    let again = preview.request(Method::GET, "/big").send().await?.bytes().await?;
    let same = preview.request(Method::POST, "/").body(again).send().await?.text().await?;
    assert_eq!((sum.len(), &sum), (64, &same));

    let mut socket = preview.websocket("/socket").await?;
    socket.send_text("echo me").await?;
    assert_eq!(socket.next().await?, Message::Text("echo me".into()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_web_ports_are_reached() -> Result<()> {
    let (_server, api, repl, _live) = python_in_sandbox().await?;
    api.write(&repl, "web.py", PROGRAM).await?;
    let mut shell = api.shell(&repl).await?;
    shell
        .execute("while [ ! -e web.py ]; do sleep 0.05; done; (python3 web.py 1999 0.0.0.0 &) 2>/dev/null; (python3 web.py 2001 :: & python3 web.py 2002 0.0.0.0 &) 2>/dev/null; sleep 0.5")
        .await?;
    assert_eq!(api.preview(&repl, 2002).page("/").await?, "hello");
    for port in [22, 1999, 8, 2000] {
        let answer = api.preview(&repl, port).request(Method::GET, "/").send().await?;
        assert_eq!(answer.status(), 403, "port {port}");
    }
    let refused = eventually("port 1999 is shown as refused", LIMIT, || async {
        Ok(api.status(&repl).await?.live.ports.into_iter().find(|port| port.port == 1999))
    })
    .await?;
    assert!(!refused.allowed && refused.url.is_none());
    // Nobody listens there: a clear answer, not a hang.
    let begin = Instant::now();
    let nobody = api.preview(&repl, 4000).request(Method::GET, "/").send().await?;
    assert!(nobody.status().is_server_error() || nobody.status() == 404, "{}", nobody.status());
    assert!(begin.elapsed() < Duration::from_secs(15));
    let unknown = api.preview("aaaaaaaaaaaaaaaa", 3000).request(Method::GET, "/").send().await?;
    assert_eq!(unknown.status(), 404);
    Ok(())
}
