//! A bare WebSocket: frames in and out, and how it was closed.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use futures_util::{SinkExt, StreamExt};
use http::Request;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::{LIMIT, within};

/// How the other side closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("closed with {code} {reason:?}")]
pub struct Closed {
    /// Close code; 1006 when there was none.
    pub code: u16,
    /// Text.
    pub reason: String,
}

/// One connection.
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
}

impl Socket {
    /// Connects to `127.0.0.1:port` and asks for `path` (with its query) as `host`.
    ///
    /// # Errors
    /// When the upgrade is refused; the status is in the text.
    pub async fn open(port: u16, host: &str, path: &str, headers: &[(&str, &str)]) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.context("connect")?;
        stream.set_nodelay(true)?;
        let mut request = Request::get(format!("ws://{host}{path}"))
            .header("host", host)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let config = WebSocketConfig::default()
            .max_message_size(Some(256 << 20))
            .max_frame_size(Some(256 << 20));
        let upgrade = async {
            tokio_tungstenite::client_async_with_config(request.body(())?, stream, Some(config))
                .await
                .with_context(|| format!("upgrade {path}"))
        };
        let (stream, _) = within("a WebSocket upgrade", LIMIT, upgrade).await?;
        Ok(Self { stream })
    }

    /// Sends a binary message.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.send_message(Message::Binary(bytes.into())).await
    }

    /// Sends a text message.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_text(&mut self, text: &str) -> Result<()> {
        self.send_message(Message::Text(text.into())).await
    }

    /// Sends any message.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_message(&mut self, message: Message) -> Result<()> {
        within("room to send", LIMIT, async { Ok(self.stream.send(message).await?) }).await
    }

    /// The next text or binary message.
    ///
    /// # Errors
    /// [`Closed`], or when nothing comes within the limit.
    pub async fn next(&mut self) -> Result<Message> {
        self.next_within(LIMIT).await?.ok_or_else(|| anyhow!("nothing came for {LIMIT:?}"))
    }

    /// The next text or binary message, or `None` when nothing comes within this time.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn next_within(&mut self, limit: Duration) -> Result<Option<Message>> {
        let until = tokio::time::Instant::now() + limit;
        loop {
            let Ok(next) = tokio::time::timeout_at(until, self.stream.next()).await else {
                return Ok(None);
            };
            match next {
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) = frame.map_or((1006, String::new()), |frame| {
                        (u16::from(frame.code), frame.reason.to_string())
                    });
                    return Err(Closed { code, reason }.into());
                }
                Some(Ok(message)) => return Ok(Some(message)),
                None
                | Some(Err(
                    Error::ConnectionClosed
                    | Error::AlreadyClosed
                    | Error::Io(_)
                    | Error::Protocol(_),
                )) => {
                    return Err(Closed { code: 1006, reason: String::new() }.into());
                }
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// Reads until the other side closes, and says how.
    ///
    /// # Errors
    /// When it stays open.
    pub async fn closed(&mut self) -> Result<Closed> {
        let reading = async {
            loop {
                if let Err(error) = self.next().await {
                    return error.downcast::<Closed>();
                }
            }
        };
        within("the other side to close", LIMIT, reading).await
    }

    /// Leaves by the front door.
    pub async fn close(mut self) {
        // A connection that is gone already needs no good-bye.
        let _ = self.stream.close(None).await;
    }
}
