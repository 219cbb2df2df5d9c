//! Web's own requests to nodes: fill a new repl, let one go, close somebody's sockets, ask
//! which commands exist.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use tandem_proto::grant;
use tandem_proto::internal::{RevokeMember, SeedRepl, ToolsPresent};
use tandem_proto::problem::Problem;
use tandem_proto::{ReplId, Role};

use crate::app::App;
use crate::caller::{Access, Caller};
use crate::metadata::ReplRow;
use crate::nodes::{NodeError, NodeLink};
use crate::problem::ApiError;

/// A node copies a whole workspace when it seeds a fork.
const PATIENCE: Duration = Duration::from_secs(60);
/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Fills a new repl.
pub(crate) async fn seed(
    app: &App,
    caller: &Caller,
    repl: ReplId,
    from: (&SeedRepl, Option<&ReplRow>),
) -> Result<(), ApiError> {
    let (seed, source) = from;
    let body = serde_json::to_vec(seed).unwrap_or_default();
    // A fork is made where its source is open, so that it has what was typed last.
    let place = source.and_then(|source| source.node);
    let path = format!("/internal/v1/repls/{repl}/seed");
    repl_call(app, place, (caller, repl), request(Method::POST, &path, Some(body))).await
}

/// Closes a repl's room and stops its sandbox, keeping what is stored.
pub(crate) async fn remove(app: &App, access: &Access) -> Result<(), ApiError> {
    let path = format!("/internal/v1/repls/{}", access.repl.id);
    let on = (&access.caller, access.repl.id);
    repl_call(app, access.repl.node, on, request(Method::DELETE, &path, None)).await
}

/// Closes a member's sockets on a repl.
pub(crate) async fn revoke(
    app: &App,
    access: &Access,
    revoked: &RevokeMember,
) -> Result<(), ApiError> {
    let path = format!("/internal/v1/repls/{}/revoke", access.repl.id);
    let body = serde_json::to_vec(revoked).unwrap_or_default();
    let on = (&access.caller, access.repl.id);
    repl_call(app, access.repl.node, on, request(Method::POST, &path, Some(body))).await
}

/// Which of these commands exist where a node's sandboxes run.
pub(crate) async fn tools(link: &dyn NodeLink, names: &[String]) -> Result<Vec<String>, NodeError> {
    let names: String = form_urlencoded::byte_serialize(names.join(",").as_bytes()).collect();
    let path = format!("/internal/v1/tools?names={names}");
    let answer = call(link, request(Method::GET, &path, None)).await?;
    let tools: ToolsPresent = serde_json::from_slice(&answer)
        .map_err(|error| NodeError::Unreachable(format!("unreadable answer: {error}")))?;
    Ok(tools.present)
}

fn request(method: Method, path: &str, body: Option<Vec<u8>>) -> Request<Body> {
    let mut request = Request::new(Body::from(body.unwrap_or_default()));
    *request.method_mut() = method;
    if let Ok(uri) = path.parse() {
        *request.uri_mut() = uri;
    }
    request
        .headers_mut()
        .insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    request
}

async fn repl_call(
    app: &App,
    place: Option<tandem_proto::NodeId>,
    on: (&Caller, ReplId),
    mut request: Request<Body>,
) -> Result<(), ApiError> {
    let (node, link) = app.nodes.place(place).map_err(ApiError::NodeUnavailable)?;
    let grant = app.grant(&on.0.member, (on.1, Role::Owner), node);
    if let Ok(value) = grant.parse() {
        request.headers_mut().insert(grant::HEADER, value);
    }
    call(&*link, request).await.map(drop).map_err(ApiError::NodeUnavailable)
}

async fn call(link: &dyn NodeLink, request: Request<Body>) -> Result<Bytes, NodeError> {
    let answer = async {
        let response = link.call(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| NodeError::Unreachable(error.to_string()))?
            .to_bytes();
        refuse(status, &body)?;
        Ok(body)
    };
    tokio::time::timeout(PATIENCE, answer)
        .await
        .map_err(|_| NodeError::Unreachable("no answer in time".to_owned()))?
}

fn refuse(status: StatusCode, body: &[u8]) -> Result<(), NodeError> {
    if status.is_success() {
        return Ok(());
    }
    let detail = serde_json::from_slice::<Problem>(body).map(|problem| problem.detail);
    Err(NodeError::Refused { status: status.as_u16(), detail: detail.unwrap_or_default() })
}
