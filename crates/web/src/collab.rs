//! `/api/v1/collab`: the Hocuspocus protocol, many documents of many repls on one socket. Web
//! reads only the address of a frame and answers tokens; every other frame goes unread to the
//! repl's node, on one connection for each repl and right.
//!
//! Invariant: a frame reaches a node only on a connection whose grant came from a token (or
//! the session) that was shown for this very address. No frame is dropped: queues are bounded
//! by bytes, and who does not read in time is disconnected.

mod desk;
mod queue;
mod socket;
mod upstream;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::response::Response;
use tandem_proto::limits;

use crate::app::Shared;
use crate::caller::{self, Caller};
use crate::problem::ApiError;
use crate::refusal;

/// Accepts a socket. Who it is may be known already, or is told for each document.
pub(crate) async fn accept(
    State(app): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let known: Option<Caller> = match caller::authenticate(&app, &parts).await {
        Ok(caller) => Some(caller),
        // Without a session of ours, each document's own token decides.
        Err(ApiError::Unauthenticated | ApiError::ForeignOrigin) => None,
        Err(error) => return Ok(refusal::answer(&app, &mut parts, error).await),
    };
    let client = app.client_address(&parts.headers, &parts.extensions);
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
        .await
        .map_err(|_| ApiError::BadRequest("this address takes WebSockets only".to_owned()))?;
    let tracker = app.sockets.clone();
    Ok(upgrade
        .max_message_size(limits::MAX_MESSAGE_BYTES)
        .max_frame_size(limits::MAX_MESSAGE_BYTES)
        .on_upgrade(move |socket| {
            tracker.track_future(socket::run(app, socket, socket::Client { known, client }))
        }))
}
