//! A viewer of one terminal.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tandem_proto::agent::Exit;
use tandem_proto::api::{TerminalClientMessage, TerminalServerMessage};
use tokio_tungstenite::tungstenite::Message;

use crate::{Api, LIMIT, Socket};

static COMMANDS: AtomicU32 = AtomicU32::new(1);

/// A socket to a terminal, with everything it showed.
pub struct TerminalSocket {
    socket: Socket,
    output: Vec<u8>,
    /// Absolute offset behind the last byte received.
    offset: u64,
    resets: u32,
    exit: Option<Exit>,
}

impl TerminalSocket {
    pub(crate) async fn open(api: &Api, path: &str) -> Result<Self> {
        let host = format!("localhost:{}", api.port());
        let bearer = format!("Bearer {}", api.token());
        let socket = Socket::open(api.port(), &host, path, &[("authorization", &bearer)]).await?;
        Ok(Self { socket, output: Vec::new(), offset: 0, resets: 0, exit: None })
    }

    /// Everything shown so far, without what is not UTF-8.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Absolute offset behind the last byte received.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How often the server said that the screen starts anew.
    pub fn resets(&self) -> u32 {
        self.resets
    }

    /// How the process ended.
    pub fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// Types.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, keys: &str) -> Result<()> {
        self.socket.send(keys.as_bytes().to_vec()).await
    }

    /// Sends a control message.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn control(&mut self, message: &TerminalClientMessage) -> Result<()> {
        self.socket.send_text(&serde_json::to_string(message)?).await
    }

    /// Takes in one message, and acknowledges what it brought.
    ///
    /// # Errors
    /// When the connection is closed or nothing comes.
    pub async fn receive(&mut self) -> Result<()> {
        let message = self.socket.next().await?;
        self.take_in(message).await
    }

    async fn take_in(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Binary(bytes) => {
                self.output.extend_from_slice(&bytes);
                self.offset += bytes.len() as u64;
                self.control(&TerminalClientMessage::Ack { offset: self.offset }).await?;
            }
            Message::Text(text) => {
                let message = serde_json::from_str::<TerminalServerMessage>(&text)
                    .with_context(|| format!("read the control message {text}"))?;
                match message {
                    TerminalServerMessage::Reset { offset, .. } => {
                        self.offset = offset;
                        self.resets += 1;
                    }
                    TerminalServerMessage::Exit { exit } => self.exit = Some(exit),
                    TerminalServerMessage::Resize { .. } => {}
                }
            }
            other => bail!("an unexpected message {other:?}"),
        }
        Ok(())
    }

    /// Reads until the output holds `text`.
    ///
    /// # Errors
    /// When it does not appear within the limit, with what did appear.
    pub async fn wait_for(&mut self, text: &str) -> Result<()> {
        self.wait_for_within(text, LIMIT).await
    }

    /// Reads until the output holds `text`, for at most `limit`: a first compilation may be long
    /// and silent.
    ///
    /// # Errors
    /// See [`TerminalSocket::wait_for`].
    pub async fn wait_for_within(&mut self, text: &str, limit: Duration) -> Result<()> {
        let start = Instant::now();
        while !self.shown().contains(text) {
            let step = match self.socket.next_within(limit.saturating_sub(start.elapsed())).await {
                Ok(Some(message)) => self.take_in(message).await,
                Ok(None) => Err(anyhow!("nothing came")),
                Err(error) => Err(error),
            };
            if start.elapsed() > limit || step.is_err() {
                step.err().map_or(Ok(()), Err).with_context(|| {
                    format!("waited for {text:?}; the terminal shows {:?}", self.shown())
                })?;
                bail!("{text:?} did not appear in {:?}", self.shown());
            }
        }
        Ok(())
    }

    /// Reads until the process has ended.
    ///
    /// # Errors
    /// When it does not end within the limit.
    pub async fn wait_for_exit(&mut self) -> Result<Exit> {
        let start = Instant::now();
        loop {
            if let Some(exit) = self.exit {
                return Ok(exit);
            }
            self.receive()
                .await
                .with_context(|| format!("the terminal shows {:?}", self.shown()))?;
            if start.elapsed() > LIMIT {
                bail!("the process did not end; the terminal shows {:?}", self.shown());
            }
        }
    }

    /// Types a command line into a shell and returns its output once it has ended.
    ///
    /// # Errors
    /// When it fails (a status other than 0) or takes too long.
    pub async fn execute(&mut self, command: &str) -> Result<String> {
        // The marks are computed by the shell, so that the echo of the line does not hold them,
        // and used once, so that a replay of old output does not either.
        let number = COMMANDS.fetch_add(1, Ordering::Relaxed);
        let (begin, end) = (format!("<{number}:"), format!(":{number}>"));
        let line =
            format!("printf '<%d:' {number}; {{ {command}\n}}; printf ':%d:%d>' $? {number}\r");
        let from = self.output.len();
        self.send(&line).await?;
        let start = Instant::now();
        loop {
            let shown = String::from_utf8_lossy(&self.output[from..]).into_owned();
            if let Some((_, after)) = shown.rsplit_once(&begin)
                && let Some((before, _)) = after.split_once(&end)
            {
                let (output, status) = before.rsplit_once(':').context("find the exit status")?;
                if status != "0" {
                    bail!("{command:?} ended with {status}: {output}");
                }
                return Ok(output.replace("\r\n", "\n").trim().to_owned());
            }
            if start.elapsed() > LIMIT {
                bail!("{command:?} did not end; the terminal shows {shown:?}");
            }
            self.receive().await.with_context(|| format!("the terminal shows {shown:?}"))?;
        }
    }

    /// Closes the socket; the terminal lives on.
    pub async fn leave(self) {
        self.socket.close().await;
    }
}
