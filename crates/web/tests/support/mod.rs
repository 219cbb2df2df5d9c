//! A real web on port 0, a client, and a small real node beside it that checks every grant
//! and says back what it got.

#![allow(dead_code, reason = "not every test file uses everything")]

pub mod node;

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tandem_proto::ReplId;
use tandem_store::{BlobStore, Templates};
use tandem_web::{NodeDirectory, SharedRegistry, Web, WebConfig};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

use node::Standin;

pub const OWNER_TOKEN: &str = "the-owners-own-secret-token";
pub const SECRET: [u8; 32] = [7; 32];

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A running web with a node beside it.
pub struct Server {
    pub address: SocketAddr,
    pub node: Standin,
    pub internal: axum::Router,
    pub web: Option<Web>,
    pub blobs: Arc<dyn BlobStore>,
    directory: Arc<tempfile::TempDir>,
    serving: tokio::task::JoinHandle<()>,
    client: reqwest::Client,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A blob store with two templates: one that this server can run, one that it cannot.
pub async fn blobs() -> Arc<dyn BlobStore> {
    let blobs: Arc<dyn BlobStore> =
        tandem_store::blob::open(&tandem_store::BlobStoreUrl::Memory).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, requires) in [("python", "python3"), ("cobol", "cobc")] {
        let template = folder.path().join(name);
        std::fs::create_dir_all(template.join("files")).unwrap();
        let manifest = format!(
            "name = \"{name}\"\ntitle = \"The {name}\"\ndescription = \"d\"\n\
             language = \"{name}\"\nversion = \"1\"\nrequires = [\"{requires}\"]\n"
        );
        std::fs::write(template.join("template.toml"), manifest).unwrap();
        std::fs::write(template.join("files/main"), "hello\n").unwrap();
        Templates::new(Arc::clone(&blobs)).add(&template).await.unwrap();
    }
    blobs
}

impl Server {
    pub async fn start() -> Self {
        Self::with_blobs(blobs().await).await
    }

    pub async fn with_blobs(blobs: Arc<dyn BlobStore>) -> Self {
        Self::on(blobs, Arc::new(tempfile::tempdir().unwrap())).await
    }

    /// Another web on the same blob store, with an empty database.
    pub async fn restored(&self) -> Self {
        Self::on(Arc::clone(&self.blobs), Arc::new(tempfile::tempdir().unwrap())).await
    }

    /// Another web on the same database and blob store.
    pub async fn twin(&self) -> Self {
        Self::on(Arc::clone(&self.blobs), Arc::clone(&self.directory)).await
    }

    async fn on(blobs: Arc<dyn BlobStore>, directory: Arc<tempfile::TempDir>) -> Self {
        let node = Standin::new();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = WebConfig {
            public_url: format!("http://localhost:{}", address.port()),
            preview_domain: "localhost".to_owned(),
            insecure_http: false,
            trusted_proxies: Vec::new(),
            owner_token: OWNER_TOKEN.to_owned(),
            grant_secret: SECRET,
            database_url: format!("sqlite://{}/web.db", directory.path().display()),
            registry: SharedRegistry::default(),
        };
        let nodes = NodeDirectory::in_process(node.id, node.router());
        let web = Web::start(config, Arc::clone(&blobs), nodes).await.unwrap();
        let serving = tandem_web::serve(listener, web.router(), CancellationToken::new());
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        let client =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let internal = web.internal_router();
        Self { address, node, internal, web: Some(web), blobs, directory, serving, client }
    }

    pub fn host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.host())
    }

    /// A request to the site without any right.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.to_host(&self.host(), method, path)
    }

    /// A request that names another host.
    pub fn to_host(&self, host: &str, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
            .header(header::HOST, host)
    }

    /// The same with a bearer token.
    pub fn with(&self, token: &str, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.request(method, path).bearer_auth(token)
    }

    pub fn owner(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.with(OWNER_TOKEN, method, path)
    }

    /// The same with a cookie, as our own page sends it.
    pub fn page(&self, cookie: &str, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.request(method, path)
            .header(header::COOKIE, cookie)
            .header(header::ORIGIN, self.origin())
            .header("sec-fetch-site", "same-origin")
    }

    pub async fn create(&self) -> ReplId {
        let response = self
            .owner(Method::POST, "/api/v1/repls")
            .json(&json!({ "template": "python" }))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        let repl: Value = response.json().await.unwrap();
        repl["id"].as_str().unwrap().parse().unwrap()
    }

    /// Id and token of a new link.
    pub async fn link(&self, repl: ReplId, role: &str) -> (String, String) {
        let response = self
            .owner(Method::POST, &format!("/api/v1/repls/{repl}/links"))
            .json(&json!({ "role": role }))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        let link: Value = response.json().await.unwrap();
        let url = link["url"].as_str().unwrap();
        let token = link["token"].as_str().unwrap();
        assert_eq!(url, format!("{}/r/{repl}#token={token}", self.origin()));
        (link["id"].as_str().unwrap().to_owned(), token.to_owned())
    }

    /// Exchanges a token for a cookie (`name=value`), as a browser without or with one.
    pub async fn sign_in(&self, token: &str, cookie: Option<&str>) -> (Value, Option<String>) {
        let mut request = self
            .request(Method::POST, "/api/v1/session")
            .header(header::ORIGIN, self.origin())
            .json(&json!({ "token": token }));
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        let set = response.headers().get(header::SET_COOKIE).map(|value| {
            let text = value.to_str().unwrap();
            for part in ["Path=/", "HttpOnly", "SameSite=Strict"] {
                assert!(text.contains(part), "{text}");
            }
            assert!(!text.contains("Domain"), "{text}");
            text.split(';').next().unwrap().to_owned()
        });
        (response.json().await.unwrap(), set)
    }

    /// Opens a WebSocket with these headers.
    pub async fn socket(&self, path: &str, headers: &[(&str, &str)]) -> Result<Socket, u16> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        request.headers_mut().insert("host", self.host().parse().unwrap());
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((socket, _)) => Ok(socket),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
                Err(response.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Status and problem code of an answer, which must be a problem document.
pub async fn problem(request: reqwest::RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap());
    assert_eq!(kind, Some("application/problem+json"), "status {status}");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status);
    assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
    (status, body["code"].as_str().unwrap().to_owned())
}

/// The JSON of a successful answer.
pub async fn ok(request: reqwest::RequestBuilder) -> Value {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

pub async fn send(socket: &mut Socket, bytes: Vec<u8>) {
    socket.send(Message::Binary(bytes.into())).await.unwrap();
}

/// The next binary frame, or the code the server closed with.
pub async fn next(socket: &mut Socket) -> Result<Vec<u8>, u16> {
    let limit = std::time::Duration::from_secs(20);
    loop {
        let message = tokio::time::timeout(limit, socket.next()).await.expect("a frame in time");
        match message {
            Some(Ok(Message::Binary(bytes))) => return Ok(bytes.to_vec()),
            Some(Ok(Message::Close(close))) => {
                return Err(close.map_or(1005, |close| close.code.into()));
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Err(1006),
        }
    }
}
