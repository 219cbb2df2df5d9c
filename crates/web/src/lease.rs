//! Web's internal API: nodes register, take and keep leases, and move heads here. It is not
//! part of the public router.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json as Answer, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use tandem_proto::internal::{
    LeaseRequest, MoveHead, NodeHeartbeat, NodeWelcome, ReleaseLease, RenewLeases, RenewedLeases,
};

use crate::app::Shared;
use crate::metadata::{HeadMove, LeaseAnswer};
use crate::problem::{ApiError, Json};

/// A node with very many repls says so in one body.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Routes for nodes.
pub(crate) fn router(app: Shared) -> Router {
    Router::new()
        .route("/internal/v1/nodes", post(heartbeat))
        .route("/internal/v1/leases", post(take))
        .route("/internal/v1/leases/renew", post(renew))
        .route("/internal/v1/leases/release", post(release))
        .route("/internal/v1/heads", post(move_head))
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(app)
}

async fn heartbeat(
    State(app): State<Shared>,
    Json(beat): Json<NodeHeartbeat>,
) -> Result<Answer<NodeWelcome>, ApiError> {
    app.metadata.heartbeat(&beat).await?;
    let grant_key = URL_SAFE_NO_PAD.encode(app.signer.verifier().public());
    Ok(Answer(NodeWelcome { grant_key }))
}

async fn take(
    State(app): State<Shared>,
    Json(request): Json<LeaseRequest>,
) -> Result<Response, ApiError> {
    match app.metadata.take_lease(&request).await? {
        LeaseAnswer::Granted(lease) => Ok(Answer(lease).into_response()),
        LeaseAnswer::Held => Err(ApiError::Conflict {
            code: "lease_held",
            detail: "another node holds this repl".to_owned(),
        }),
        LeaseAnswer::NoRepl => Err(ApiError::NotFound("there is no such repl")),
    }
}

async fn renew(
    State(app): State<Shared>,
    Json(request): Json<RenewLeases>,
) -> Result<Answer<RenewedLeases>, ApiError> {
    Ok(Answer(app.metadata.renew_leases(&request).await?))
}

async fn release(
    State(app): State<Shared>,
    Json(request): Json<ReleaseLease>,
) -> Result<StatusCode, ApiError> {
    app.metadata.release_lease(&request).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn move_head(
    State(app): State<Shared>,
    Json(request): Json<MoveHead>,
) -> Result<StatusCode, ApiError> {
    match app.metadata.move_head(&request).await? {
        HeadMove::Moved => Ok(StatusCode::NO_CONTENT),
        HeadMove::Refused => Err(ApiError::Conflict {
            code: "head_moved",
            detail: "another opening of this repl moved its head".to_owned(),
        }),
    }
}
