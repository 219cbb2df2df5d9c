//! The agent's life: dials the node, again and again, until it has been alone for too long.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tandem_proto::agent::{AgentError, Dial, Hello, VERSION};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::control::{self, FileRequest, MAX_STREAMS};
use crate::frame;
use crate::outbox::Outbox;
use crate::ports::Ports;
use crate::processes;
use crate::reap::Reaper;
use crate::terminal::Terminals;
use crate::watch::Watcher;
use crate::workspace::Workspace;

const FIRST_RETRY: Duration = Duration::from_millis(20);
const LAST_RETRY: Duration = Duration::from_secs(1);
/// Between the two signals when the agent ends.
const END_GRACE: Duration = Duration::from_secs(2);

/// Why the agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The workspace cannot be opened.
    #[error("cannot open the workspace")]
    Workspace(#[source] AgentError),
    /// A thread or signal is refused.
    #[error("cannot set up")]
    Io(#[from] std::io::Error),
}

/// Everything that outlives a connection.
#[derive(Debug)]
pub struct Agent {
    config: Config,
    workspace: Arc<Workspace>,
    terminals: Terminals,
    watcher: Watcher,
    ports: Ports,
    outbox: Outbox,
    files: mpsc::Sender<FileRequest>,
    streams: Arc<Semaphore>,
    tasks: TaskTracker,
    filled: AtomicBool,
}

impl Agent {
    pub fn socket(&self) -> &Path {
        &self.config.socket
    }

    pub fn workspace_path(&self) -> &Path {
        &self.config.workspace
    }

    pub fn workspace(&self) -> &Arc<Workspace> {
        &self.workspace
    }

    pub fn terminals(&self) -> &Terminals {
        &self.terminals
    }

    pub fn watcher(&self) -> &Watcher {
        &self.watcher
    }

    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub fn files(&self) -> &mpsc::Sender<FileRequest> {
        &self.files
    }

    pub fn streams(&self) -> &Arc<Semaphore> {
        &self.streams
    }

    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// The workspace holds the repl's files; the next node is told.
    pub fn mark_filled(&self) {
        self.filled.store(true, Ordering::Relaxed);
    }

    /// Answers a stream that is one too many.
    pub fn refuse_stream(&self, stream: u64) {
        let socket = self.config.socket.clone();
        self.tasks.spawn(async move {
            let result = Err(AgentError::Other("too many streams".to_owned()));
            if let Ok(mut connection) = UnixStream::connect(socket).await {
                // The node may have gone: then nobody waits.
                let _ = frame::write(&mut connection, &Dial::Stream { stream, result }).await;
            }
        });
    }
}

/// Runs the agent until it is stopped or has been without a node for too long; then every
/// process of the sandbox is ended.
///
/// # Errors
/// When it cannot start; nothing was started then.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), StartError> {
    let workspace = Workspace::open(&config.workspace, &config.home);
    let workspace = Arc::new(workspace.map_err(StartError::Workspace)?);
    let outbox = Outbox::default();
    let reaper = Reaper::default();
    let ended_children = Reaper::listen()?;
    let tasks = TaskTracker::new();
    let watcher = Watcher::start(workspace.clone(), outbox.clone(), config.watch_by_scanning)?;
    let terminals = Terminals::new(&config, reaper.clone(), outbox.clone(), tasks.clone());
    let (files, file_requests) = control::file_queue();
    let agent = Arc::new(Agent {
        config,
        workspace,
        terminals,
        watcher,
        ports: Ports::default(),
        outbox,
        files,
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        tasks,
        filled: AtomicBool::new(false),
    });
    let reaping = reaper.run(ended_children);
    tokio::pin!(reaping);
    tokio::select! {
        () = stop.cancelled() => {}
        () = dial(&agent) => {}
        () = &mut reaping => {}
        () = agent.ports.run(&agent.outbox) => {}
        () = control::files(agent.clone(), file_requests) => {}
    }
    agent.outbox.disconnect();
    tokio::select! {
        () = processes::stop_all(END_GRACE) => {}
        () = &mut reaping => {}
    }
    Ok(())
}

/// Returns when there was no node for too long.
async fn dial(agent: &Arc<Agent>) {
    let mut alone_since = Instant::now();
    let mut retry = FIRST_RETRY;
    while alone_since.elapsed() < agent.config.orphaned_after {
        if let Ok(connection) = UnixStream::connect(&agent.config.socket).await
            && connected(agent, connection).await
        {
            alone_since = Instant::now();
            retry = FIRST_RETRY;
        }
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(LAST_RETRY);
    }
    crate::say(format_args!("no server came back; the sandbox ends"));
}

/// Serves one control connection; whether a node was there.
async fn connected(agent: &Arc<Agent>, connection: UnixStream) -> bool {
    let hello = Hello {
        version: VERSION,
        sandbox: agent.config.sandbox,
        terminals: agent.terminals.states(),
        filled: agent.filled.load(Ordering::Relaxed),
        scrollback: true,
    };
    let (reader, mut writer) = connection.into_split();
    if frame::write(&mut writer, &Dial::Control(hello)).await.is_err() {
        return false;
    }
    let (answers, queue) = agent.outbox.connect();
    let gone = CancellationToken::new();
    let serving = async {
        let spoke = control::serve(agent, reader, &answers, &gone).await;
        agent.outbox.disconnect();
        spoke
    };
    let sending = async {
        // Without a way out there is no use in reading on.
        let _ = control::send(writer, queue).await;
        gone.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        spoke = serving => spoke,
        () = sending => false,
    }
}
