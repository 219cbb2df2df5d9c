//! The control connection: the node's requests, in order, and their answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tandem_proto::RelPath;
use tandem_proto::agent::{AgentError, Entry, Event, FromAgent, Op, Reply, ToAgent};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::dial::Agent;
use crate::frame::{self, FrameError};
use crate::processes;
use crate::stream;
use crate::workspace::{Workspace, Write};

/// File requests waiting. When full, the connection is no longer read.
const FILE_QUEUE: usize = 32;
/// Streams open at a time.
pub const MAX_STREAMS: usize = 512;
/// Entries of one message of a scan.
const SCAN_CHUNK: usize = 500;
/// Longest time between the two signals of a stop.
const MAX_GRACE: Duration = Duration::from_secs(60);

/// A write to a file that a program is writing is tried again so often and so many times: longer
/// than [`Workspace::write`] waits for a file to be quiet.
const PUT_OFF: Duration = Duration::from_millis(25);
const MOST_PUT_OFF: u32 = 40;

type Answers = mpsc::Sender<FromAgent>;

/// A request about files, and where its answer goes.
#[derive(Debug)]
pub struct FileRequest {
    id: u64,
    op: Op,
    answers: Answers,
    /// How often it was put off.
    put_off: u32,
}

/// The queue of file requests, one after the other: the node relies on their order.
pub fn file_queue() -> (mpsc::Sender<FileRequest>, mpsc::Receiver<FileRequest>) {
    mpsc::channel(FILE_QUEUE)
}

/// Sends what is queued until the connection or the queue ends.
pub async fn send(
    mut writer: OwnedWriteHalf,
    mut queue: mpsc::Receiver<FromAgent>,
) -> Result<(), FrameError> {
    while let Some(message) = queue.recv().await {
        match frame::write(&mut writer, &message).await {
            Ok(()) => {}
            // One answer too large for a frame must not end everything.
            Err(FrameError::TooLarge(_)) => {
                if let FromAgent::Response { id, .. } = message {
                    let refusal = FromAgent::Response { id, result: Err(AgentError::TooLarge) };
                    frame::write(&mut writer, &refusal).await?;
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Serves the node's messages until the connection ends; whether the node ever said anything.
pub async fn serve(
    agent: &Arc<Agent>,
    mut reader: OwnedReadHalf,
    answers: &Answers,
    gone: &CancellationToken,
) -> bool {
    let mut spoke = false;
    loop {
        let message = tokio::select! {
            () = gone.cancelled() => return spoke,
            message = frame::read::<ToAgent>(&mut reader) => message,
        };
        match message {
            Ok(Some(ToAgent::Configure(configure))) => {
                agent.workspace().set_ignored(configure.ignore);
                // Everything is watched before the next request, so the scan that follows
                // misses nothing.
                agent.watcher().restart().await;
                let ports = agent.ports().known();
                agent.outbox().event(Event::Ports { ports }).await;
            }
            Ok(Some(ToAgent::Request { id, op })) => request(agent, id, op, answers).await,
            Ok(Some(ToAgent::OpenStream { stream, target })) => {
                let streaming = agent.clone();
                let Ok(permit) = agent.streams().clone().try_acquire_owned() else {
                    agent.refuse_stream(stream);
                    continue;
                };
                agent.tasks().spawn(async move {
                    stream::run(streaming, stream, target).await;
                    drop(permit);
                });
            }
            Ok(None) => return spoke,
            Err(error) => {
                crate::say(format_args!("the control connection ends: {error}"));
                return spoke;
            }
        }
        spoke = true;
    }
}

async fn request(agent: &Arc<Agent>, id: u64, op: Op, answers: &Answers) {
    let terminals = agent.terminals();
    let done = |result: Result<(), AgentError>| result.map(|()| Reply::Done);
    let result = match op {
        Op::Spawn(spawn) => {
            let spawned = terminals.spawn(spawn).map(|pid| Reply::Spawned { pid });
            agent.ports().expect_soon();
            spawned
        }
        Op::Resize { terminal, cols, rows } => done(terminals.resize(terminal, cols, rows)),
        Op::Signal { terminal, signal } => done(terminals.signal(terminal, signal)),
        Op::CloseTerminal { terminal } => done(terminals.close(terminal)),
        Op::Usage => Ok(Reply::Usage(processes::usage(agent.workspace_path()))),
        Op::CheckPorts => {
            agent.ports().check(agent.outbox()).await;
            Ok(Reply::Done)
        }
        Op::MarkFilled => {
            agent.mark_filled();
            Ok(Reply::Done)
        }
        Op::StopProcesses { grace_ms } => {
            let answers = answers.clone();
            let grace = Duration::from_millis(grace_ms).min(MAX_GRACE);
            agent.tasks().spawn(async move {
                processes::stop_all(grace).await;
                respond(&answers, id, Ok(Reply::Done)).await;
            });
            return;
        }
        Op::Scan { under } => {
            let (workspace, answers) = (agent.workspace().clone(), answers.clone());
            agent.tasks().spawn_blocking(move || {
                let result = scan(&workspace, id, under, &answers);
                // An error means that the connection ended.
                let _ = answers.blocking_send(FromAgent::Response { id, result });
            });
            return;
        }
        op @ (Op::Write { .. }
        | Op::Read { .. }
        | Op::Stat { .. }
        | Op::MakeFolder { .. }
        | Op::Rename { .. }
        | Op::Delete { .. }
        | Op::SetExecutable { .. }) => {
            let request = FileRequest { id, op, answers: answers.clone(), put_off: 0 };
            if agent.files().send(request).await.is_ok() {
                return;
            }
            Err(AgentError::Other("the agent is ending".to_owned()))
        }
    };
    respond(answers, id, result).await;
}

async fn respond(answers: &Answers, id: u64, result: Result<Reply, AgentError>) {
    // An error means that the connection ended: nobody waits for the answer.
    let _ = answers.send(FromAgent::Response { id, result }).await;
}

/// Does file requests, and looks late at replaced files, for ever.
pub async fn files(agent: Arc<Agent>, mut requests: mpsc::Receiver<FileRequest>) {
    loop {
        let next_look = agent.workspace().next_late_look();
        let look = async {
            match next_look {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            request = requests.recv() => {
                let Some(request) = request else { return };
                do_file_request(&agent, request).await;
            }
            () = look => {
                let workspace = agent.workspace().clone();
                let looked =
                    tokio::task::spawn_blocking(move || workspace.look_late(Instant::now())).await;
                if let Ok(paths) = looked && !paths.is_empty() {
                    agent.outbox().event(Event::Changed { paths }).await;
                }
            }
        }
    }
}

async fn do_file_request(agent: &Arc<Agent>, request: FileRequest) {
    let (doing, op) = (agent.clone(), request.op.clone());
    let result = tokio::task::spawn_blocking(move || file(&doing, op)).await;
    let result = result.unwrap_or_else(|_| Err(AgentError::Other("the request failed".to_owned())));
    let is_busy = matches!((&request.op, &result), (Op::Write { .. }, Err(AgentError::Busy)));
    if is_busy && request.put_off < MOST_PUT_OFF {
        // A program is writing that file: everything else goes on meanwhile.
        let files = agent.files().clone();
        agent.tasks().spawn(async move {
            tokio::time::sleep(PUT_OFF).await;
            let put_off = request.put_off + 1;
            // An error means that the agent ends.
            let _ = files.send(FileRequest { put_off, ..request }).await;
        });
        return;
    }
    respond(&request.answers, request.id, result).await;
}

fn file(agent: &Arc<Agent>, op: Op) -> Result<Reply, AgentError> {
    let workspace = agent.workspace();
    match op {
        Op::Write { path, content, executable, expect } => {
            workspace.write(&Write { path, content, executable, expect })
        }
        Op::Read { path, max_bytes } => workspace.read(&path, max_bytes),
        Op::Stat { path } => workspace.stat(&path).map(Reply::Entry),
        Op::MakeFolder { path } => workspace.make_folder(&path).map(|()| Reply::Done),
        Op::Rename { from, to } => workspace.rename(&from, &to).map(|()| Reply::Done),
        Op::Delete { path } => {
            if let Some(purge) = workspace.delete(&path)? {
                let purging = workspace.clone();
                agent.tasks().spawn_blocking(move || purging.purge(&purge));
            }
            Ok(Reply::Done)
        }
        Op::SetExecutable { path, executable } => {
            workspace.set_executable(&path, executable).map(|()| Reply::Done)
        }
        other => Err(AgentError::Invalid(format!("{other:?} is not about files"))),
    }
}

fn scan(
    workspace: &Workspace,
    id: u64,
    under: Option<RelPath>,
    answers: &Answers,
) -> Result<Reply, AgentError> {
    let ended = |_| AgentError::Other("the connection ended".to_owned());
    let mut walk = workspace.walk(under)?;
    let mut waiting: VecDeque<Entry> = VecDeque::new();
    let send = |entries: Vec<Entry>| {
        answers.blocking_send(FromAgent::Event(Event::ScanChunk { id, entries })).map_err(ended)
    };
    while let Some(entries) = walk.next_folder() {
        waiting.extend(entries);
        while waiting.len() >= SCAN_CHUNK {
            send(waiting.drain(..SCAN_CHUNK).collect())?;
        }
    }
    if !waiting.is_empty() {
        send(waiting.into())?;
    }
    if walk.skipped() > 0 {
        crate::say(format_args!("a scan skipped {} names or folders", walk.skipped()));
    }
    Ok(Reply::Scanned { count: walk.seen() as u64, truncated: walk.is_truncated() })
}
