//! One terminal socket: raw bytes both ways, JSON control beside them. Its stream goes straight
//! to the agent; the room only hears of sizes.

use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tandem_proto::agent::{TerminalInput, TerminalOutput};
use tandem_proto::api::{TerminalClientMessage, TerminalInfo, TerminalServerMessage};
use tandem_proto::{Grant, TerminalId};
use tandem_sandbox::TerminalStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::room::{Ask, Command, NewVisitor, RoomHandle};

/// A browser that takes nothing for this long is disconnected; it resumes by offset.
const STALL: Duration = Duration::from_secs(60);
const PING: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(65);
/// Largest piece of input in one frame to the agent.
const INPUT: usize = 32 * 1024;

/// Serves one viewer of a terminal from an absolute offset on.
pub async fn serve(
    socket: WebSocket,
    room: RoomHandle,
    grant: Grant,
    terminal: TerminalId,
    from: Option<u64>,
) {
    let (mut sink, stream) = socket.split();
    let cancel = CancellationToken::new();
    let visitor = NewVisitor { grant: grant.clone(), cancel: cancel.clone() };
    let peer = match room.ask_visit(visitor).await {
        Ok(peer) => peer,
        Err(_) => return close(&mut sink, 1013, "try again").await,
    };
    let opened = async {
        let door = room.ask(|reply| Ask::Terminal(terminal, reply)).await.map_err(|_| 4404_u16)?;
        let output =
            door.link.open_terminal(terminal, from).await.map_err(|error| match error {
                tandem_sandbox::LinkError::Agent(_) => 4404_u16,
                _ => 1013,
            })?;
        Ok::<_, u16>((output, door.info))
    };
    match opened.await {
        Ok((output, info)) => {
            let viewer = Viewer { sink, room: &room, grant, terminal, last_seen: Instant::now() };
            viewer.run(stream, output, info, cancel).await;
        }
        Err(4404) => close(&mut sink, 4404, "there is no such terminal").await,
        Err(code) => close(&mut sink, code, "the sandbox is not reachable now").await,
    }
    drop(room.send(Command::Detach(peer)).await);
}

async fn close(sink: &mut SplitSink<WebSocket, Message>, code: u16, reason: &'static str) {
    let frame = CloseFrame { code, reason: reason.into() };
    drop(tokio::time::timeout(STALL, sink.send(Message::Close(Some(frame)))).await);
}

struct Viewer<'a> {
    sink: SplitSink<WebSocket, Message>,
    room: &'a RoomHandle,
    grant: Grant,
    terminal: TerminalId,
    last_seen: Instant,
}

impl Viewer<'_> {
    async fn run(
        mut self,
        mut stream: SplitStream<WebSocket>,
        output: TerminalStream,
        mut info: watch::Receiver<TerminalInfo>,
        cancel: CancellationToken,
    ) {
        let (mut output, mut input) = output.split();
        let mut ping = tokio::time::interval(PING);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        info.mark_changed();
        let mut info_open = true;
        let mut output_open = true;
        loop {
            let more = tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    close(&mut self.sink, 4403, "access was withdrawn or the repl is closing").await;
                    false
                }
                incoming = stream.next() => match incoming {
                    Some(Ok(message)) => {
                        self.last_seen = Instant::now();
                        match self.receive(message).await {
                            Incoming::Nothing => true,
                            Incoming::ToAgent(frames) => {
                                let mut alive = true;
                                for frame in frames {
                                    alive = alive && input.send(frame).await.is_ok();
                                }
                                alive
                            }
                            Incoming::End => false,
                        }
                    }
                    _ => false,
                },
                changed = info.changed(), if info_open => {
                    info_open = changed.is_ok();
                    let now = info.borrow_and_update().clone();
                    self.control(&TerminalServerMessage::Resize { cols: now.cols, rows: now.rows, driver: now.driver }).await
                }
                received = output.recv(), if output_open => match received {
                    Ok(Some(received)) => self.show(received).await,
                    _ => {
                        output_open = false;
                        // The agent is reconnecting or the terminal was closed: the browser
                        // comes back with its offset.
                        close(&mut self.sink, 1012, "the terminal's stream ended").await;
                        false
                    }
                },
                _ = ping.tick() => {
                    self.last_seen.elapsed() < SILENCE && self.write(Message::Ping(Bytes::new())).await
                }
            };
            if !more {
                return;
            }
        }
    }

    async fn write(&mut self, message: Message) -> bool {
        matches!(tokio::time::timeout(STALL, self.sink.send(message)).await, Ok(Ok(())))
    }

    async fn control(&mut self, message: &TerminalServerMessage) -> bool {
        match serde_json::to_string(message) {
            Ok(text) => self.write(Message::Text(text.into())).await,
            Err(_) => false,
        }
    }

    async fn show(&mut self, output: TerminalOutput) -> bool {
        match output {
            TerminalOutput::Chunk { bytes, .. } => self.write(Message::Binary(bytes)).await,
            TerminalOutput::Restart { offset, prelude } => {
                let prelude = String::from_utf8_lossy(&prelude).into_owned();
                self.control(&TerminalServerMessage::Reset { offset, prelude }).await
            }
            TerminalOutput::Exited { exit } => {
                self.control(&TerminalServerMessage::Exit { exit }).await
            }
        }
    }

    async fn receive(&mut self, message: Message) -> Incoming {
        match message {
            Message::Binary(bytes) if self.grant.role.may_edit() => {
                let mut rest = bytes;
                let mut frames = Vec::with_capacity(1 + rest.len() / INPUT);
                while !rest.is_empty() {
                    let piece = rest.split_to(rest.len().min(INPUT));
                    frames.push(TerminalInput::Input { bytes: piece });
                }
                Incoming::ToAgent(frames)
            }
            Message::Binary(_) => {
                close(&mut self.sink, 4403, "viewers cannot type").await;
                Incoming::End
            }
            Message::Text(text) => match serde_json::from_str::<TerminalClientMessage>(&text) {
                Ok(TerminalClientMessage::Ack { offset }) => {
                    Incoming::ToAgent(vec![TerminalInput::Ack { offset }])
                }
                Ok(TerminalClientMessage::Resize { cols, rows, drive }) => {
                    if self.grant.role.may_edit() {
                        let resize = Ask::Resize {
                            terminal: self.terminal,
                            member: self.grant.member,
                            size: (cols, rows),
                            drive,
                        };
                        if self.room.send(Command::Ask(resize)).await.is_err() {
                            return Incoming::End;
                        }
                    }
                    Incoming::Nothing
                }
                Err(_) => {
                    close(&mut self.sink, 4400, "the control message is malformed").await;
                    Incoming::End
                }
            },
            Message::Ping(_) | Message::Pong(_) => Incoming::Nothing,
            Message::Close(_) => Incoming::End,
        }
    }
}

enum Incoming {
    Nothing,
    ToAgent(Vec<TerminalInput>),
    End,
}
