//! How a WebSocket is refused. A page sees nothing of an HTTP status on an upgrade and would
//! try for ever; so the socket is accepted and closed at once with a code that says why, and
//! that stock clients take for final. Programs that can send an `Authorization` header can
//! read a status too, and get one.

use std::time::Duration;

use axum::extract::FromRequestParts as _;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse as _, Response};
use http::header;
use http::request::Parts;
use tandem_proto::live;

use crate::app::App;
use crate::origin;
use crate::problem::ApiError;

/// How long the other side may take to answer the close.
const GOODBYE: Duration = Duration::from_secs(2);

/// The answer to a request that failed with this error.
pub(crate) async fn answer(app: &App, parts: &mut Parts, error: ApiError) -> Response {
    let Some(code) = close_code(&error) else { return error.into_response() };
    if !origin::is_websocket(parts) || parts.headers.contains_key(header::AUTHORIZATION) {
        return error.into_response();
    }
    let Ok(upgrade) = WebSocketUpgrade::from_request_parts(parts, &()).await else {
        return error.into_response();
    };
    let reason = error.problem().code;
    let sockets = app.sockets.clone();
    upgrade
        .protocols([live::SUBPROTOCOL])
        .max_message_size(64 * 1024)
        .on_upgrade(move |socket| sockets.track_future(close(socket, code, reason)))
}

/// The code for a refusal that trying again will not change.
fn close_code(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::Unauthenticated | ApiError::BadToken => Some(4401),
        ApiError::Forbidden(_) => Some(4403),
        ApiError::NotFound(_) | ApiError::Deleted => Some(4404),
        _ => None,
    }
}

async fn close(mut socket: WebSocket, code: u16, reason: String) {
    let goodbye = async {
        let frame = CloseFrame { code, reason: reason.into() };
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            // Until the other side has answered; else it may never see the code.
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    // Who does not answer is cut off.
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
}
