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
use tandem_sandbox::{LinkError, TerminalStream};
use tokio::sync::watch;
use tokio::time::Interval;
use tokio_util::sync::CancellationToken;

use super::restored::{self, Restored};
use crate::room::{Ask, Command, NewVisitor, RoomHandle, TerminalDoor};

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
    let mut viewer = Viewer { sink, room: &room, grant, terminal, last_seen: Instant::now() };
    let mut wires = Wires::new(stream);
    let mut from = from;
    loop {
        let door = match room.ask(|reply| Ask::Terminal(terminal, reply)).await {
            Ok(door) => door,
            Err(_) => break viewer.close(4404, "there is no such terminal").await,
        };
        match door {
            TerminalDoor::Restored { store, key, info } => {
                let shown = Restored { store, key, info, from };
                match restored::view(&mut viewer, shown, &mut wires, &cancel).await {
                    restored::Ended::Restarted => from = None,
                    restored::Ended::Closed => break,
                }
            }
            TerminalDoor::Live { link, info } => {
                match link.open_terminal(terminal, from).await {
                    Ok(output) => viewer.run(wires, output, info, cancel).await,
                    Err(LinkError::Agent(_)) => {
                        viewer.close(4404, "there is no such terminal").await;
                    }
                    Err(_) => viewer.close(1013, "the sandbox is not reachable now").await,
                }
                break;
            }
        }
    }
    drop(room.send(Command::Detach(peer)).await);
}

async fn close(sink: &mut SplitSink<WebSocket, Message>, code: u16, reason: &'static str) {
    let frame = CloseFrame { code, reason: reason.into() };
    drop(tokio::time::timeout(STALL, sink.send(Message::Close(Some(frame)))).await);
}

/// What comes in, and when to ask whether anybody is there.
pub(super) struct Wires {
    /// From the browser.
    pub stream: SplitStream<WebSocket>,
    /// When to ask.
    pub ping: Interval,
}

impl Wires {
    fn new(stream: SplitStream<WebSocket>) -> Self {
        let mut ping = tokio::time::interval(PING);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self { stream, ping }
    }
}

/// One browser in front of one terminal.
pub(super) struct Viewer<'a> {
    sink: SplitSink<WebSocket, Message>,
    pub(super) room: &'a RoomHandle,
    grant: Grant,
    pub(super) terminal: TerminalId,
    last_seen: Instant,
}

impl Viewer<'_> {
    async fn run(
        &mut self,
        wires: Wires,
        output: TerminalStream,
        mut info: watch::Receiver<TerminalInfo>,
        cancel: CancellationToken,
    ) {
        let (mut output, mut input) = output.split();
        let Wires { mut stream, mut ping } = wires;
        info.mark_changed();
        let mut info_open = true;
        let mut output_open = true;
        loop {
            let more = tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    self.close(4403, "access was withdrawn or the repl is closing").await;
                    false
                }
                incoming = stream.next() => match incoming {
                    Some(Ok(message)) => {
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
                    self.size(&now).await
                }
                received = output.recv(), if output_open => match received {
                    Ok(Some(received)) => self.show(received).await,
                    _ => {
                        output_open = false;
                        // The agent is reconnecting or the terminal was closed: the browser
                        // comes back with its offset.
                        self.close(1012, "the terminal's stream ended").await;
                        false
                    }
                },
                _ = ping.tick() => self.ask_alive().await,
            };
            if !more {
                return;
            }
        }
    }

    async fn write(&mut self, message: Message) -> bool {
        matches!(tokio::time::timeout(STALL, self.sink.send(message)).await, Ok(Ok(())))
    }

    /// Closes the socket and says why.
    pub(super) async fn close(&mut self, code: u16, reason: &'static str) {
        close(&mut self.sink, code, reason).await;
    }

    /// Asks whether the browser is there; false when it has been silent for too long.
    pub(super) async fn ask_alive(&mut self) -> bool {
        self.last_seen.elapsed() < SILENCE && self.write(Message::Ping(Bytes::new())).await
    }

    /// Tells the size in force and who sets it.
    pub(super) async fn size(&mut self, info: &TerminalInfo) -> bool {
        let (cols, rows, driver) = (info.cols, info.rows, info.driver);
        self.control(&TerminalServerMessage::Resize { cols, rows, driver }).await
    }

    /// Sends output.
    pub(super) async fn output(&mut self, bytes: Bytes) -> bool {
        self.write(Message::Binary(bytes)).await
    }

    pub(super) async fn control(&mut self, message: &TerminalServerMessage) -> bool {
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

    pub(super) async fn receive(&mut self, message: Message) -> Incoming {
        self.last_seen = Instant::now();
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
                self.close(4403, "viewers cannot type").await;
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
                    self.close(4400, "the control message is malformed").await;
                    Incoming::End
                }
            },
            Message::Ping(_) | Message::Pong(_) => Incoming::Nothing,
            Message::Close(_) => Incoming::End,
        }
    }
}

/// What a message from a browser asks for.
pub(super) enum Incoming {
    /// Nothing (more).
    Nothing,
    /// To be passed on to the program.
    ToAgent(Vec<TerminalInput>),
    /// The socket is to end.
    End,
}
