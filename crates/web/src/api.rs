//! The public interface of the site's host: which address is answered by whom.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::app::{App, Shared};
use crate::problem::ApiError;
use crate::{collab, forward, headers, link, metrics, notice, repl, session, site, template};

/// Largest JSON body.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

/// Routes of the site's host.
pub(crate) fn router(app: Shared) -> Router {
    let own = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics::page))
        .route("/api/v1/templates", get(template::list))
        .route("/api/v1/session", post(session::create).delete(session::remove))
        .route("/api/v1/me", get(session::me).patch(session::update_me))
        .route("/api/v1/repls", get(repl::list).post(repl::create))
        .route("/api/v1/repls/{repl}", get(repl::get).patch(repl::rename).delete(repl::delete))
        .route("/api/v1/repls/{repl}/fork", post(repl::fork))
        .route("/api/v1/repls/{repl}/restore", post(repl::restore))
        .route("/api/v1/repls/{repl}/links", get(link::list).post(link::create))
        .route("/api/v1/repls/{repl}/links/{link}", delete(link::remove))
        .route("/api/v1/collab", any(collab::accept));
    // One handler for each address a node answers, so that nothing else of a node's router
    // can be reached from outside.
    let nodes = Router::new()
        .route("/api/v1/repls/{repl}/tree", any(forward::forward))
        .route("/api/v1/repls/{repl}/files/{*path}", any(forward::forward))
        .route("/api/v1/repls/{repl}/history/{*path}", any(forward::forward))
        .route("/api/v1/repls/{repl}/checkpoints", any(forward::forward))
        .route("/api/v1/repls/{repl}/checkpoints/{id}", any(forward::forward))
        .route("/api/v1/repls/{repl}/checkpoints/{id}/restore", any(forward::forward))
        .route("/api/v1/repls/{repl}/archive.zip", any(forward::forward))
        .route("/api/v1/repls/{repl}/import", any(forward::forward))
        .route("/api/v1/repls/{repl}/run", any(forward::forward))
        .route("/api/v1/repls/{repl}/stop", any(forward::forward))
        .route("/api/v1/repls/{repl}/status", any(forward::forward))
        .route("/api/v1/repls/{repl}/egress", any(forward::forward))
        .route("/api/v1/repls/{repl}/terminals", any(forward::forward))
        .route("/api/v1/repls/{repl}/terminals/{terminal}", any(forward::forward))
        .route("/api/v1/repls/{repl}/terminals/{terminal}/ws", any(forward::forward))
        .route("/api/v1/repls/{repl}/sync/{*path}", any(forward::forward))
        .route("/api/v1/repls/{repl}/live", any(forward::forward));
    own.merge(nodes)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback_service(site::router())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(axum::middleware::from_fn_with_state(app.clone(), headers::secure))
        .with_state(app)
}

/// Health and metrics alone, for probes that know no name of ours.
pub(crate) fn probe_router(app: Shared) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics::page))
        .fallback(other_host)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(app.clone(), headers::secure))
        .with_state(app)
}

/// Answers a request that names no host of ours.
pub(crate) fn misdirected(app: &App, headers: &HeaderMap) -> Response {
    app.metrics.refused_hosts.inc();
    let error = ApiError::Misdirected(app.addresses.site.origin());
    if notice::is_wanted(headers) { notice::page(&error) } else { error.into_response() }
}

async fn other_host(State(app): State<Shared>, request: Request) -> Response {
    misdirected(&app, request.headers())
}

/// Whether an address answers data; everything else is a page or an asset of one.
pub(crate) fn is_data_path(path: &str) -> bool {
    ["/api/", "/internal/", "/healthz", "/readyz", "/metrics"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
        || path == "/api"
}

async fn method_not_allowed(request: Request) -> ApiError {
    ApiError::MethodNotAllowed(request.method().clone())
}

/// The process lives.
async fn healthz() -> &'static str {
    "ok\n"
}

/// The database and the blob store answer.
async fn readyz(State(app): State<Shared>) -> Response {
    let database = app.metadata.ping().await.map_err(|error| error.to_string());
    let blobs = app.shelf.reach(&app).await.map_err(|error| error.to_string());
    let word = |result: &Result<(), String>| match result {
        Ok(()) => "ok".to_owned(),
        Err(_) => "unreachable".to_owned(),
    };
    for (name, result) in [("database", &database), ("blob store", &blobs)] {
        if let Err(error) = result {
            tracing::warn!(part = name, error, "not ready");
        }
    }
    let ready = database.is_ok() && blobs.is_ok();
    let body = serde_json::json!({ "database": word(&database), "blob_store": word(&blobs) });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = (status, axum::Json(body)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
