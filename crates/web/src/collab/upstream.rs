//! One connection to a node for one repl and right.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use tandem_proto::{ReplId, Role, grant};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::queue::{Receiver, Sender};
use crate::app::App;
use crate::metadata::{MemberRow, ReplRow};
use crate::nodes::{NodeError, NodeStream};

/// A document's whole state may be far larger than what a client may send.
const MAX_MESSAGE_BYTES: usize = 256 * 1024 * 1024;
/// How long a node may take to accept, and to answer a close.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection's WebSocket.
pub(super) type NodeSocket = WebSocketStream<Box<dyn NodeStream>>;

/// Connects to the repl's node.
pub(super) async fn connect(
    app: &App,
    member: &MemberRow,
    on: (&ReplRow, Role),
) -> Result<NodeSocket, NodeError> {
    let (repl, role) = on;
    let (node, link) = app.nodes.place(repl.node)?;
    let unreachable = |error: &dyn std::fmt::Display| NodeError::Unreachable(error.to_string());
    let mut request = format!("ws://node/collab/{}", repl.id)
        .into_client_request()
        .map_err(|error| unreachable(&error))?;
    let mut grant = HeaderValue::from_str(&app.grant(member, (repl.id, role), node))
        .map_err(|error| unreachable(&error))?;
    grant.set_sensitive(true);
    request.headers_mut().insert(grant::HEADER, grant);
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let opening = async {
        let stream = link.connect().await?;
        tokio_tungstenite::client_async_with_config(request, stream, Some(config))
            .await
            .map(|(socket, _)| socket)
            .map_err(|error| unreachable(&error))
    };
    tokio::time::timeout(PATIENCE, opening)
        .await
        .map_err(|_| NodeError::Unreachable("no answer in time".to_owned()))?
}

/// Carries frames both ways until either side ends; the code the node closed with.
pub(super) async fn carry(
    repl: ReplId,
    socket: NodeSocket,
    mut to_node: Receiver,
    to_client: Sender,
) -> u16 {
    let (mut sink, mut stream) = socket.split();
    let up = async {
        while let Some(frame) = to_node.take().await {
            if sink.send(Message::Binary(frame.bytes.clone())).await.is_err() {
                break;
            }
        }
        // The node answers the close, which ends the other half.
        let _ = sink.close().await;
        tokio::time::sleep(PATIENCE).await;
    };
    let down = async {
        while let Some(message) = stream.next().await {
            match message {
                Ok(Message::Binary(bytes)) => {
                    if to_client.put(bytes).await.is_err() {
                        return NORMAL;
                    }
                }
                Ok(Message::Close(close)) => {
                    return close.map_or(NORMAL, |close| close.code.into());
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%repl, %error, "an upstream broke");
                    return AWAY;
                }
            }
        }
        AWAY
    };
    tokio::select! {
        code = down => code,
        () = up => NORMAL,
    }
}

/// WebSocket close codes.
pub(super) const NORMAL: u16 = 1000;
const AWAY: u16 = 1001;
