//! The other side of web's contract with nodes: grants are checked, and what arrives is said
//! back or remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tandem_proto::internal::{RevokeMember, SeedRepl, ToolsPresent};
use tandem_proto::{Grant, GrantSigner, GrantVerifier, MemberId, NodeId, ReplId};
use tokio::sync::watch;

#[derive(Clone)]
pub struct Standin {
    pub id: NodeId,
    verifier: GrantVerifier,
    seen: Arc<Mutex<Seen>>,
    revoked: watch::Sender<Option<MemberId>>,
}

#[derive(Default)]
pub struct Seen {
    pub seeded: HashMap<ReplId, Value>,
    pub removed: Vec<ReplId>,
    pub revoked: Vec<(ReplId, RevokeMember)>,
    pub refuse_seeds: bool,
    pub collab_sockets: usize,
}

impl Standin {
    pub fn new() -> Self {
        Self {
            id: NodeId::from_random([42; 10]),
            verifier: GrantSigner::from_secret(super::SECRET).verifier(),
            seen: Arc::default(),
            revoked: watch::Sender::new(None),
        }
    }

    pub fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    pub fn router(&self) -> Router {
        let repl = "/api/v1/repls/{repl}";
        let routes = Router::new()
            .route(&format!("{repl}/files/{{*path}}"), any(echo))
            .route(&format!("{repl}/tree"), get(echo))
            .route(&format!("{repl}/run"), post(echo))
            .route(&format!("{repl}/import"), post(echo))
            .route(&format!("{repl}/archive.zip"), get(stream))
            .route(&format!("{repl}/live"), get(socket))
            .route(&format!("{repl}/sync/{{*path}}"), get(socket))
            .route("/collab/{repl}", get(collab))
            .route("/internal/v1/tools", get(tools))
            .route("/internal/v1/repls/{repl}/seed", post(seed))
            .route("/internal/v1/repls/{repl}", delete(remove))
            .route("/internal/v1/repls/{repl}/revoke", post(revoke))
            .with_state(self.clone());
        Router::new().fallback(front).with_state((self.clone(), routes))
    }

    fn check(&self, headers: &HeaderMap) -> Result<Grant, StatusCode> {
        let text = headers.get("x-tandem-grant").ok_or(StatusCode::UNAUTHORIZED)?;
        assert_eq!(headers.get_all("x-tandem-grant").iter().count(), 1);
        let now_ms =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()
                as u64;
        self.verifier
            .verify(text.to_str().unwrap(), self.id, now_ms)
            .map_err(|_| StatusCode::UNAUTHORIZED)
    }
}

/// A grant for the repl of the address.
struct Granted(Grant);

impl FromRequestParts<Standin> for Granted {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, node: &Standin) -> Result<Self, StatusCode> {
        let grant = node.check(&parts.headers)?;
        // More than the node's own parameters would mean that web's leaked in.
        let Path(path) = Path::<Vec<(String, String)>>::from_request_parts(parts, node)
            .await
            .map_err(|_| StatusCode::BAD_REQUEST)?;
        let repls: Vec<_> = path.iter().filter(|(key, _)| key == "repl").collect();
        assert_eq!(repls.len(), 1, "{path:?}");
        if repls[0].1 != grant.repl.as_str() {
            return Err(StatusCode::FORBIDDEN);
        }
        Ok(Self(grant))
    }
}

/// Previews first: on their hosts every path is the program's.
async fn front(
    State((node, routes)): State<(Standin, Router)>,
    request: Request,
) -> Result<Response, StatusCode> {
    use tower::ServiceExt as _;
    if let Some(port) = request.headers().get("x-tandem-preview-port") {
        let port = port.to_str().unwrap().to_owned();
        let grant = node.check(request.headers())?;
        if request.headers().get("upgrade").is_some() {
            let (mut parts, _) = request.into_parts();
            let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
                .await
                .map_err(|_| StatusCode::BAD_REQUEST)?;
            return Ok(upgrade.on_upgrade(say_back));
        }
        let mut body = describe(request, &grant).await;
        body["preview_port"] = port.into();
        let answer = ([("set-cookie", "app=1"), ("x-app", "yes")], axum::Json(body));
        return Ok(answer.into_response());
    }
    match routes.oneshot(request).await {
        Ok(response) => Ok(response),
        Err(never) => match never {},
    }
}

async fn describe(request: Request, grant: &Grant) -> Value {
    let (parts, body) = request.into_parts();
    let headers: Vec<(String, String)> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let body = axum::body::to_bytes(body, usize::MAX).await.map(|bytes| bytes.len());
    json!({
        "method": parts.method.as_str(),
        "target": parts.uri.path_and_query().unwrap().as_str(),
        "headers": headers,
        "body": body.ok(),
        "grant": grant,
    })
}

async fn echo(Granted(grant): Granted, request: Request) -> axum::Json<Value> {
    axum::Json(describe(request, &grant).await)
}

/// Endless, so that whoever collects it never answers.
async fn stream(Granted(_): Granted) -> Body {
    let chunks = futures_util::stream::repeat_with(|| {
        Ok::<_, std::io::Error>(bytes::Bytes::from_static(b"chunk"))
    });
    Body::from_stream(chunks)
}

async fn socket(Granted(grant): Granted, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |mut socket| async move {
        let hello = serde_json::to_vec(&grant).unwrap();
        if socket.send(Message::Binary(hello.into())).await.is_ok() {
            say_back(socket).await;
        }
    })
}

async fn say_back(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Binary(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Answers each frame with itself behind the member's role, until that member is revoked.
async fn collab(
    State(node): State<Standin>,
    Granted(grant): Granted,
    upgrade: WebSocketUpgrade,
) -> Response {
    let mut revoked = node.revoked.subscribe();
    node.seen().collab_sockets += 1;
    upgrade.on_upgrade(move |mut socket| async move {
        loop {
            tokio::select! {
                message = socket.recv() => match message {
                    Some(Ok(Message::Binary(bytes))) => {
                        let mut answer = bytes.to_vec();
                        answer.extend_from_slice(grant.role.as_str().as_bytes());
                        if bytes.ends_with(b"die") {
                            let close = CloseFrame { code: 4503, reason: "asked".into() };
                            let _ = socket.send(Message::Close(Some(close))).await;
                            break;
                        }
                        if socket.send(Message::Binary(answer.into())).await.is_err() {
                            break;
                        }
                    }
                    Some(Ok(_)) => {}
                    _ => break,
                },
                _ = revoked.changed() => {
                    if *revoked.borrow() == Some(grant.member) {
                        let close = CloseFrame { code: 4403, reason: "revoked".into() };
                        let _ = socket.send(Message::Close(Some(close))).await;
                        break;
                    }
                }
            }
        }
        node.seen().collab_sockets -= 1;
    })
}

async fn tools(Query(query): Query<HashMap<String, String>>) -> axum::Json<ToolsPresent> {
    let present = query["names"].split(',').filter(|name| *name == "python3");
    axum::Json(ToolsPresent { present: present.map(str::to_owned).collect() })
}

async fn seed(
    State(node): State<Standin>,
    Granted(grant): Granted,
    axum::Json(seed): axum::Json<SeedRepl>,
) -> StatusCode {
    let mut seen = node.seen();
    if seen.refuse_seeds {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    seen.seeded.insert(grant.repl, serde_json::to_value(&seed).unwrap());
    StatusCode::NO_CONTENT
}

async fn remove(State(node): State<Standin>, Granted(grant): Granted) -> StatusCode {
    node.seen().removed.push(grant.repl);
    StatusCode::NO_CONTENT
}

async fn revoke(
    State(node): State<Standin>,
    Granted(grant): Granted,
    axum::Json(revoke): axum::Json<RevokeMember>,
) -> StatusCode {
    node.revoked.send_replace(Some(revoke.member));
    node.seen().revoked.push((grant.repl, revoke));
    StatusCode::NO_CONTENT
}
