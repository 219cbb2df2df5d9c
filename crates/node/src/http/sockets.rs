//! Upgrades to WebSockets.

use axum::extract::{Path, Query, WebSocketUpgrade};
use axum::response::Response;
use serde::Deserialize;
use tandem_proto::{limits, live};

use super::problem::Failure;
use super::{Granted, run};
use crate::socket::protocol::Protocol;
use crate::socket::{documents, terminal as terminal_socket};

fn sized(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade.max_message_size(limits::MAX_MESSAGE_BYTES).max_frame_size(limits::MAX_MESSAGE_BYTES)
}

/// `…/live`: `tandem.v1`.
pub async fn live(granted: Granted, upgrade: WebSocketUpgrade) -> Result<Response, Failure> {
    // Opened first: a repl that is not there is an HTTP error.
    granted.room().await?;
    let upgrade = sized(upgrade).protocols([live::SUBPROTOCOL]);
    Ok(upgrade.on_upgrade(move |socket| {
        documents::serve(socket, granted.node, granted.grant, Protocol::Live, None)
    }))
}

/// `…/sync/{path}`: y-websocket, one document.
pub async fn y_websocket(
    granted: Granted,
    Path((_, path)): Path<(String, String)>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Failure> {
    // Opened first: a repl that is not there is an HTTP error.
    granted.room().await?;
    let only = Some(path.as_str().into());
    Ok(sized(upgrade).on_upgrade(move |socket| {
        documents::serve(socket, granted.node, granted.grant, Protocol::YWebsocket, only)
    }))
}

/// `/collab/{repl}`: Hocuspocus, as web forwards it.
pub async fn hocuspocus(granted: Granted, upgrade: WebSocketUpgrade) -> Result<Response, Failure> {
    // Opened first: a repl that is not there is an HTTP error.
    granted.room().await?;
    Ok(sized(upgrade).on_upgrade(move |socket| {
        documents::serve(socket, granted.node, granted.grant, Protocol::Hocuspocus, None)
    }))
}

#[derive(Deserialize)]
pub struct From {
    from: Option<u64>,
}

/// `…/terminals/{id}/ws?from=`.
pub async fn terminal(
    granted: Granted,
    Path((_, id)): Path<(String, String)>,
    Query(query): Query<From>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Failure> {
    let room = granted.room().await?;
    let id = run::parse(&id)?;
    Ok(sized(upgrade).on_upgrade(move |socket| {
        terminal_socket::serve(socket, room, granted.grant, id, query.from)
    }))
}
