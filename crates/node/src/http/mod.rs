//! The node's router. Every request carries a grant signed by web; nothing else is trusted, and
//! nothing of accounts or sessions is known here.

mod archive;
mod checkpoints;
mod content;
mod files;
mod history;
mod internal;
mod problem;
mod run;
mod sockets;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::extract::{DefaultBodyLimit, Path};
use axum::routing::{delete, get, post};
use bytes::Bytes;
use http::request::Parts;
use serde::de::DeserializeOwned;
use tandem_proto::grant::HEADER;
use tandem_proto::history::HistoryAuthor;
use tandem_proto::{Grant, ReplId, limits};

use crate::lease::wall_ms;
use crate::node::Node;
use crate::room::RoomHandle;
pub use problem::Failure;

/// All routes of a node.
pub fn router(node: Node) -> Router {
    let repl = Router::new()
        .route("/tree", get(files::tree))
        .route(
            "/files/{*path}",
            get(files::read).put(files::write).delete(files::remove).post(files::act),
        )
        .route("/history/{*path}", get(history::read).post(history::act))
        .route("/checkpoints", get(checkpoints::list).post(checkpoints::make))
        .route("/checkpoints/{id}", delete(checkpoints::remove))
        .route("/checkpoints/{id}/restore", post(checkpoints::restore))
        .route("/archive.zip", get(archive::export))
        .route("/import", post(archive::import))
        .route("/run", post(run::run))
        .route("/stop", post(run::stop))
        .route("/status", get(run::status))
        .route("/egress", get(run::egress))
        .route("/terminals", get(run::terminals).post(run::open_terminal))
        .route("/terminals/{terminal}", delete(run::close_terminal))
        .route("/terminals/{terminal}/ws", get(sockets::terminal))
        .route("/sync/{*path}", get(sockets::y_websocket))
        .route("/live", get(sockets::live));
    Router::new()
        .nest("/api/v1/repls/{repl}", repl)
        .route("/collab/{repl}", get(sockets::hocuspocus))
        .route("/internal/v1/tools", get(internal::tools))
        .route("/internal/v1/repls/{repl}/seed", post(internal::seed))
        .route("/internal/v1/repls/{repl}/close", post(internal::close))
        .route("/internal/v1/repls/{repl}/revoke", post(internal::revoke))
        .route("/internal/v1/repls/{repl}", delete(internal::discard))
        .layer(DefaultBodyLimit::max(limits::MAX_UPLOAD_BYTES))
        .layer(axum::middleware::from_fn_with_state(node.clone(), crate::preview::serve))
        .with_state(node)
}

/// A request with a valid grant for the repl in its path.
pub struct Granted {
    /// Who, and what they may.
    pub grant: Grant,
    /// The node.
    pub node: Node,
}

impl FromRequestParts<Node> for Granted {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, node: &Node) -> Result<Self, Failure> {
        let grant = verify(parts, node)?;
        let named: Result<Path<std::collections::HashMap<String, String>>, _> =
            Path::from_request_parts(parts, node).await;
        let repl = named.ok().and_then(|path| path.get("repl")?.parse::<ReplId>().ok());
        if repl.is_some_and(|repl| repl != grant.repl) || repl.is_none() {
            return Err(Failure::not_found("there is no such repl"));
        }
        Ok(Self { grant, node: node.clone() })
    }
}

/// Checks the grant of a request.
pub fn verify(parts: &Parts, node: &Node) -> Result<Grant, Failure> {
    let text = parts.headers.get(HEADER).and_then(|value| value.to_str().ok());
    let verifier =
        node.grants().ok_or_else(|| Failure::unavailable("the node is still starting"))?;
    text.and_then(|text| verifier.verify(text, node.id(), wall_ms()).ok())
        .ok_or_else(|| Failure::new(401, "unauthorized", "Unauthorized", "a valid grant is needed"))
}

impl Granted {
    /// The repl's room, opened if need be.
    pub async fn room(&self) -> Result<RoomHandle, Failure> {
        self.node.room(self.grant.repl).await.map_err(Failure::from)
    }

    /// The caller as the author of edits.
    pub fn author(&self) -> HistoryAuthor {
        let Grant { member: id, name, colour, .. } = self.grant.clone();
        HistoryAuthor { id, name, colour }
    }

    /// Refuses viewers.
    pub fn editor(self) -> Result<Self, Failure> {
        if self.grant.role.may_edit() {
            return Ok(self);
        }
        Err(Failure::new(403, "read_only", "Read-only", "viewers cannot change anything here"))
    }
}

/// An optional JSON body.
fn body<T: DeserializeOwned + Default>(bytes: &Bytes) -> Result<T, Failure> {
    if bytes.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(bytes)
        .map_err(|error| Failure::invalid(format!("the body is not valid: {error}")))
}
