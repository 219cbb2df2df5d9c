//! Requests about one repl go to its node: the same path, with a grant in place of whatever
//! authenticated the caller. Upgrades and streaming bodies pass through untouched.
//!
//! Invariant: no cookie, token or `Authorization` of ours, and no header that only we may
//! set, reaches a node or a program.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, header};
use http_body_util::Limited;
use tandem_proto::{grant, limits};

use crate::app::{App, Shared};
use crate::caller::{Access, without_token};
use crate::problem::ApiError;
use crate::{cookie, refusal};

/// Carries the port of a preview to the node.
pub(crate) const PREVIEW_PORT: &str = "x-tandem-preview-port";

/// Largest body of a request that carries neither a file nor an archive.
const MAX_SMALL_BODY_BYTES: u64 = 1024 * 1024;

/// Any request about a repl that its node answers.
pub(crate) async fn forward(
    State(app): State<Shared>,
    access: Result<Access, ApiError>,
    request: Request,
) -> Result<Response, ApiError> {
    let access = match access {
        Ok(access) => access,
        Err(error) => {
            let (mut parts, _) = request.into_parts();
            return Ok(refusal::answer(&app, &mut parts, error).await);
        }
    };
    let (node, link) = app.nodes.place(access.repl.node).map_err(ApiError::NodeUnavailable)?;
    let grant = app.grant(&access.caller.member, (access.repl.id, access.role), node);
    let (mut parts, body) = request.into_parts();
    let limit = body_limit(&parts, &access);
    refuse_large(&parts.headers, limit)?;
    let client = app.client_address(&parts.headers, &parts.extensions);
    strip_private(&mut parts.headers);
    parts.headers.remove(header::COOKIE);
    parts.headers.remove(header::AUTHORIZATION);
    set_query(&mut parts, without_token);
    describe_client(&app, &mut parts, client);
    set_grant(&mut parts.headers, &grant)?;
    parts.extensions = passed_on(&mut parts.extensions);
    let body = Body::new(Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX)));
    app.metrics.forwarded.inc();
    let response =
        link.call(Request::from_parts(parts, body)).await.map_err(ApiError::NodeUnavailable)?;
    Ok(response)
}

/// Removes what only we may say, and what a proxy before us said that is not known to be one.
pub(crate) fn strip_private(headers: &mut HeaderMap) {
    let private: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            name.starts_with("x-tandem-")
                || name.starts_with("x-forwarded-")
                || name == "forwarded"
                || name == "x-real-ip"
        })
        .cloned()
        .collect();
    for name in private {
        headers.remove(name);
    }
}

/// Says who and what came in, for programs that build addresses.
pub(crate) fn describe_client(app: &App, parts: &mut Parts, client: std::net::IpAddr) {
    let host = parts.headers.get(header::HOST).cloned();
    let host = host.or_else(|| {
        parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
    });
    if let Some(host) = host {
        parts.headers.insert(header::HOST, host.clone());
        parts.headers.insert("x-forwarded-host", host);
    }
    let scheme = HeaderValue::from_static(app.addresses.site.scheme());
    parts.headers.insert("x-forwarded-proto", scheme);
    if let Ok(client) = HeaderValue::from_str(&client.to_string()) {
        parts.headers.insert("x-forwarded-for", client);
    }
}

pub(crate) fn set_grant(headers: &mut HeaderMap, grant: &str) -> Result<(), ApiError> {
    let mut value = HeaderValue::from_str(grant)
        .map_err(|_| ApiError::BadRequest("the grant could not be made".to_owned()))?;
    value.set_sensitive(true);
    headers.insert(grant::HEADER, value);
    Ok(())
}

/// What of a request's attachments another router may see: the means to upgrade, and the
/// peer. The rest belongs to our own routing, and path parameters would add up.
pub(crate) fn passed_on(extensions: &mut Extensions) -> Extensions {
    let mut kept = Extensions::new();
    if let Some(upgrade) = extensions.remove::<hyper::upgrade::OnUpgrade>() {
        kept.insert(upgrade);
    }
    if let Some(protocol) = extensions.remove::<hyper::ext::Protocol>() {
        kept.insert(protocol);
    }
    if let Some(peer) = extensions.remove::<ConnectInfo<SocketAddr>>() {
        kept.insert(peer);
    }
    kept
}

/// Keeps a program's cookies and removes ours.
pub(crate) fn strip_our_cookies(headers: &mut HeaderMap) {
    cookie::strip_ours(headers);
}

fn set_query(parts: &mut Parts, change: impl Fn(&str) -> String) {
    let Some(query) = parts.uri.query() else { return };
    let query = change(query);
    let path = parts.uri.path();
    let text = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let mut uri = parts.uri.clone().into_parts();
    uri.path_and_query = text.parse().ok();
    if let Ok(uri) = http::Uri::from_parts(uri) {
        parts.uri = uri;
    }
}

fn body_limit(parts: &Parts, access: &Access) -> u64 {
    let prefix = format!("/api/v1/repls/{}/", access.repl.id);
    let rest = parts.uri.path().strip_prefix(&prefix).unwrap_or_default();
    if rest == "import" {
        limits::MAX_IMPORT_BYTES
    } else if rest.starts_with("files/") && parts.method == Method::PUT {
        limits::MAX_UPLOAD_BYTES as u64
    } else {
        MAX_SMALL_BODY_BYTES
    }
}

fn refuse_large(headers: &HeaderMap, limit: u64) -> Result<(), ApiError> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    match length {
        Some(length) if length > limit => Err(ApiError::TooLarge { limit }),
        _ => Ok(()),
    }
}
