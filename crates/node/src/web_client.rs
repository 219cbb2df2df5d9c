//! The node's calls to web's internal API: heartbeat, leases, heads. In one process the calls go
//! to web's router in place, from another machine over HTTP; the bodies are the same.

use std::time::Duration;

use axum::body::Body;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tandem_proto::internal::{
    Lease, LeaseRequest, MoveHead, NodeHeartbeat, NodeWelcome, ReleaseLease, RenewLeases,
    RenewedLeases,
};
use tandem_proto::{Epoch, NodeId, ReplId};
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;

/// Largest accepted answer.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where calls go.
pub type WebService =
    BoxCloneSyncService<Request<Body>, http::Response<Body>, std::convert::Infallible>;

/// See the module.
#[derive(Clone)]
pub struct WebClient {
    node: NodeId,
    service: WebService,
}

/// Why web did not do something.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// Another node holds the repl.
    #[error("another server holds this repl: {0}")]
    Held(String),
    /// No such repl.
    #[error("there is no such repl")]
    NotFound,
    /// Not reached, or failed. Worth a retry.
    #[error("the web server did not answer: {0}")]
    Unavailable(String),
}

impl WebClient {
    /// A client of this node.
    pub fn new(node: NodeId, service: WebService) -> Self {
        Self { node, service }
    }

    /// Says that this node is there.
    pub async fn heartbeat(&self, heartbeat: &NodeHeartbeat) -> Result<NodeWelcome, WebError> {
        self.call("/internal/v1/nodes", heartbeat).await
    }

    /// Takes the lease of a repl.
    pub async fn lease(&self, repl: ReplId, seen_epoch: Epoch) -> Result<Lease, WebError> {
        let request = LeaseRequest { repl, node: self.node, seen_epoch };
        self.call("/internal/v1/leases", &request).await
    }

    /// Renews the leases of all held repls.
    pub async fn renew(&self, leases: Vec<(ReplId, Epoch)>) -> Result<RenewedLeases, WebError> {
        self.call("/internal/v1/leases/renew", &RenewLeases { node: self.node, leases }).await
    }

    /// Gives a lease back.
    pub async fn release(&self, repl: ReplId, epoch: Epoch) -> Result<(), WebError> {
        let request = ReleaseLease { repl, node: self.node, epoch };
        self.send("/internal/v1/leases/release", &request).await.map(|_| ())
    }

    /// Moves a repl's head; `false` when this node does not hold it any more.
    pub async fn move_head(
        &self,
        repl: ReplId,
        epoch: Epoch,
        from: Option<String>,
        to: String,
    ) -> Result<bool, WebError> {
        match self.send("/internal/v1/heads", &MoveHead { repl, epoch, from, to }).await {
            Ok(_) => Ok(true),
            Err(WebError::Held(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, WebError> {
        let bytes = self.send(path, body).await?;
        serde_json::from_slice(&bytes).map_err(|error| WebError::Unavailable(error.to_string()))
    }

    async fn send(&self, path: &str, body: &impl Serialize) -> Result<bytes::Bytes, WebError> {
        let unavailable = |error: &dyn std::fmt::Display| WebError::Unavailable(error.to_string());
        let body = serde_json::to_vec(body).map_err(|error| unavailable(&error))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .map_err(|error| unavailable(&error))?;
        let answer = tokio::time::timeout(TIMEOUT, async {
            let Ok(response) = self.service.clone().oneshot(request).await;
            let status = response.status();
            let body = http_body_util::Limited::new(response.into_body(), MAX_ANSWER);
            body.collect().await.map(|body| (status, body.to_bytes()))
        });
        let (status, bytes) = match answer.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(unavailable(&error)),
            Err(_) => return Err(WebError::Unavailable("no answer in time".to_owned())),
        };
        match status {
            status if status.is_success() => Ok(bytes),
            StatusCode::CONFLICT => Err(WebError::Held(detail(&bytes))),
            StatusCode::NOT_FOUND => Err(WebError::NotFound),
            status => Err(WebError::Unavailable(format!("{status}: {}", detail(&bytes)))),
        }
    }
}

fn detail(bytes: &[u8]) -> String {
    serde_json::from_slice::<tandem_proto::problem::Problem>(bytes)
        .map_or_else(|_| "no reason given".to_owned(), |problem| problem.detail)
}
