//! The front door: which host a request is for, one line of log for each, and nothing of it
//! that is secret.

use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use tower::ServiceExt as _;
use tracing::Instrument as _;

use crate::app::Shared;
use crate::host::{self, Named};
use crate::metrics::RequestLabels;
use crate::{api, preview};

#[derive(Clone)]
struct Doors {
    app: Shared,
    site: Router,
    probes: Router,
}

/// The whole public service.
pub(crate) fn router(app: Shared) -> Router {
    let doors =
        Doors { site: api::router(app.clone()), probes: api::probe_router(app.clone()), app };
    Router::new().fallback(enter).with_state(doors)
}

async fn enter(State(doors): State<Doors>, request: Request) -> Response {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let named = host::named(&doors.app.addresses, &parts);
    // The path only: a query may hold a token.
    let span = tracing::info_span!(
        "request",
        method = %parts.method,
        path = parts.uri.path(),
        repl = tracing::field::Empty,
        host = label(named),
    );
    let request = Request::from_parts(parts, body);
    let response = async {
        match named {
            Named::Site => infallible(doors.site.oneshot(request).await),
            Named::BareAddress => infallible(doors.probes.oneshot(request).await),
            Named::Preview { port, repl } => {
                tracing::Span::current().record("repl", tracing::field::display(repl));
                preview::serve(&doors.app, (port, repl), request).await
            }
            Named::Foreign => api::misdirected(&doors.app, request.headers()),
        }
    }
    .instrument(span.clone())
    .await;
    let elapsed = started.elapsed();
    let status = response.status().as_u16();
    span.in_scope(|| {
        tracing::debug!(status, elapsed_us = elapsed.as_micros() as u64, "answered");
    });
    let metrics = &doors.app.metrics;
    metrics.request_seconds.observe(elapsed.as_secs_f64());
    let labels = RequestLabels { host: label(named), class: class(status) };
    metrics.requests.get_or_create(&labels).inc();
    response
}

fn infallible(result: Result<Response, std::convert::Infallible>) -> Response {
    match result {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn label(named: Named) -> &'static str {
    match named {
        Named::Site => "site",
        Named::Preview { .. } => "preview",
        Named::BareAddress | Named::Foreign => "other",
    }
}

fn class(status: u16) -> &'static str {
    match status {
        100..200 => "1",
        200..300 => "2",
        300..400 => "3",
        400..500 => "4",
        _ => "5",
    }
}
