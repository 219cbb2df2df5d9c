//! `{port}-{repl}.{domain}`: the page a program serves. Everything about such a request is
//! the program's own, except our cookies and headers, which it never sees.
//!
//! Who knows a repl's id may see its previews; the id cannot be guessed.

use axum::extract::Request;
use axum::response::Response;
use http::HeaderValue;
use tandem_proto::{MemberId, ReplId, Role, limits};

use crate::app::App;
use crate::forward::{
    PREVIEW_PORT, describe_client, passed_on, set_grant, strip_our_cookies, strip_private,
};
use crate::notice;
use crate::problem::ApiError;
use crate::session::made_up;

/// Answers a request for a preview host.
pub(crate) async fn serve(app: &App, at: (u16, ReplId), request: Request) -> Response {
    match proxy(app, at, request).await {
        Ok(response) => response,
        Err(error) => {
            error.log();
            notice::page(&error)
        }
    }
}

async fn proxy(
    app: &App,
    (port, repl): (u16, ReplId),
    request: Request,
) -> Result<Response, ApiError> {
    if !limits::is_allowed_port(port) {
        return Err(ApiError::PortRefused(port));
    }
    let gone = ApiError::NotFound("no program is shown at this address: there is no such repl");
    let repl = match app.metadata.repl(repl).await? {
        Some(repl) if repl.deleted_ms.is_none() => repl,
        _ => return Err(gone),
    };
    let (node, link) = app.nodes.place(repl.node).map_err(ApiError::NodeUnavailable)?;
    let visitor = made_up(MemberId::from_random(crate::token::random()?));
    let grant = app.grant(&visitor, (repl.id, Role::Viewer), node);
    let (mut parts, body) = request.into_parts();
    let client = app.client_address(&parts.headers, &parts.extensions);
    strip_private(&mut parts.headers);
    strip_our_cookies(&mut parts.headers);
    describe_client(app, &mut parts, client);
    set_grant(&mut parts.headers, &grant)?;
    parts.headers.insert(PREVIEW_PORT, HeaderValue::from(port));
    parts.extensions = passed_on(&mut parts.extensions);
    app.metrics.previews.inc();
    link.call(Request::from_parts(parts, body)).await.map_err(ApiError::NodeUnavailable)
}
