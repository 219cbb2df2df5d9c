//! Web's own counters, and the page that prints the whole process's.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::app::Shared;
use crate::config::SharedRegistry;

/// What is counted.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) request_seconds: Histogram,
    pub(crate) forwarded: Counter,
    pub(crate) previews: Counter,
    pub(crate) sessions: Counter,
    pub(crate) refused_tokens: Counter,
    pub(crate) refused_hosts: Counter,
    pub(crate) collab_sockets: Gauge,
    pub(crate) collab_upstreams: Gauge,
    pub(crate) unrecorded: Gauge,
}

/// Few values each, so that the number of series stays small.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    /// `site`, `preview` or `other`.
    pub(crate) host: &'static str,
    /// First digit of the status.
    pub(crate) class: &'static str,
}

impl Metrics {
    pub(crate) fn register(shared: &SharedRegistry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            request_seconds: Histogram::new(exponential_buckets(0.000_5, 4.0, 9)),
            forwarded: Counter::default(),
            previews: Counter::default(),
            sessions: Counter::default(),
            refused_tokens: Counter::default(),
            refused_hosts: Counter::default(),
            collab_sockets: Gauge::default(),
            collab_upstreams: Gauge::default(),
            unrecorded: Gauge::default(),
        };
        let Ok(mut registry) = shared.lock() else { return metrics };
        let web = registry.sub_registry_with_prefix("tandem_web");
        web.register("requests", "Requests answered", metrics.requests.clone());
        web.register(
            "request_seconds",
            "Time until the answer's head",
            metrics.request_seconds.clone(),
        );
        web.register("forwarded", "Requests handed to a node", metrics.forwarded.clone());
        web.register("previews", "Preview requests handed to a node", metrics.previews.clone());
        web.register("sessions", "Tokens exchanged for a session", metrics.sessions.clone());
        web.register("refused_tokens", "Wrong tokens", metrics.refused_tokens.clone());
        web.register("refused_hosts", "Requests for foreign hosts", metrics.refused_hosts.clone());
        web.register("collab_sockets", "Open Hocuspocus sockets", metrics.collab_sockets.clone());
        web.register(
            "collab_upstreams",
            "Their connections to nodes",
            metrics.collab_upstreams.clone(),
        );
        web.register(
            "unrecorded_repls",
            "Repls whose newest change is not in the blob store's catalogue",
            metrics.unrecorded.clone(),
        );
        drop(registry);
        metrics
    }
}

/// `GET /metrics`.
pub(crate) async fn page(State(app): State<Shared>) -> Response {
    let mut out = String::new();
    let encoded = app.registry.lock().map(|registry| text::encode(&mut out, &registry));
    match encoded {
        Ok(Ok(())) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], out).into_response()
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
