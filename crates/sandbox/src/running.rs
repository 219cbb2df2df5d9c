//! The sandboxes one driver runs: their links, and who notices that they end.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tandem_proto::SandboxId;
use tandem_proto::agent::Op;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::driver::{Ended, Sandbox, SandboxError};
use crate::link::{AgentLink, LinkTask, Peer, listen};
use crate::os;
use crate::record::Record;

/// How long an agent may take to connect after its process runs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long killed processes may take to be gone.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Finds out why a sandbox ended, after it did.
pub(crate) type Autopsy = Pin<Box<dyn Future<Output = String> + Send>>;

/// All sandboxes of one driver. Dropping it lets go of them without ending them.
#[derive(Debug, Default)]
pub(crate) struct Running {
    tasks: TaskTracker,
    stop: CancellationToken,
    members: Mutex<HashMap<SandboxId, Member>>,
}

#[derive(Debug)]
struct Member {
    stop: CancellationToken,
    /// Absent while it starts.
    started: Option<Started>,
}

#[derive(Debug, Clone)]
struct Started {
    link: AgentLink,
    record: Record,
    ended: watch::Receiver<Option<Ended>>,
}

/// A sandbox whose socket listens and whose process is not started yet.
pub(crate) struct Prepared {
    sandbox: SandboxId,
    link: AgentLink,
    peer: watch::Sender<Option<Peer>>,
    stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Running {
    /// Takes the id and listens for the agent in `socket_folder`.
    pub(crate) fn prepare(
        &self,
        sandbox: SandboxId,
        socket_folder: &Path,
    ) -> Result<Prepared, SandboxError> {
        let stop = self.stop.child_token();
        {
            let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
            if members.contains_key(&sandbox) {
                return Err(SandboxError::Exists);
            }
            members.insert(sandbox, Member { stop: stop.clone(), started: None });
        }
        match listen(socket_folder) {
            Ok(listener) => {
                let LinkTask { link, run, peer } =
                    AgentLink::serve(sandbox, listener, stop.child_token());
                self.tasks.spawn(run);
                Ok(Prepared { sandbox, link, peer, stop })
            }
            Err(error) => {
                self.forget(sandbox);
                Err(SandboxError::io("cannot listen for the agent")(error))
            }
        }
    }

    /// Watches over a started sandbox.
    pub(crate) fn started(
        &self,
        prepared: Prepared,
        record: &Record,
        autopsy: Autopsy,
    ) -> Result<Sandbox, SandboxError> {
        let Prepared { sandbox, link, peer, stop } = prepared;
        let watched = record
            .agent
            .open()
            .and_then(|fd| fd.map(os::watch).transpose())
            .map_err(SandboxError::io("cannot watch over the sandbox"))?;
        peer.send_replace(Some(Peer { process: record.agent, uid: record.uid }));
        let (ended_sender, ended) = watch::channel(None);
        let started = Started { link: link.clone(), record: record.clone(), ended: ended.clone() };
        if let Some(member) =
            self.members.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&sandbox)
        {
            member.started = Some(started);
        }
        self.tasks.spawn(async move {
            // The peer's sender lives as long as the sandbox, else nobody would be let in.
            let _peer = peer;
            let left = stop.clone();
            tokio::select! {
                biased;
                () = gone(watched) => {
                    let reason = autopsy.await;
                    ended_sender.send_replace(Some(Ended { reason }));
                    left.cancel();
                }
                () = stop.cancelled() => {}
            }
        });
        Ok(Sandbox {
            id: sandbox,
            repl: record.repl,
            process: record.agent.pid,
            link,
            ended,
            limits_in_force: record.limits_in_force,
        })
    }

    /// Waits for the first connection of a fresh sandbox's agent.
    pub(crate) async fn connected(&self, sandbox: &Sandbox) -> Result<(), SandboxError> {
        let mut ended = sandbox.ended.clone();
        let reason = async {
            match ended.wait_for(Option::is_some).await {
                Ok(ended) => ended.as_ref().map(|ended| ended.reason.clone()).unwrap_or_default(),
                Err(_) => "the server is stopping".to_owned(),
            }
        };
        tokio::select! {
            biased;
            Ok(()) = sandbox.link.connected() => Ok(()),
            reason = reason => Err(SandboxError::Start(reason)),
            () = tokio::time::sleep(CONNECT_TIMEOUT) => Err(SandboxError::Start(format!(
                "its agent did not connect within {} s", CONNECT_TIMEOUT.as_secs()
            ))),
        }
    }

    /// Does something in the background, as long as the driver lives.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// What is known of a started one.
    pub(crate) fn record(&self, sandbox: SandboxId) -> Option<Record> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.get(&sandbox)?.started.as_ref().map(|started| started.record.clone())
    }

    /// Asks the processes inside to end by themselves.
    pub(crate) async fn ask_to_end(&self, sandbox: SandboxId, grace: Duration) {
        let link = {
            let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
            let started = members.get(&sandbox).and_then(|member| member.started.as_ref());
            started.filter(|started| started.ended.borrow().is_none()).map(|s| s.link.clone())
        };
        let Some(link) = link.filter(|_| !grace.is_zero()) else { return };
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let asked = link.request(Op::StopProcesses { grace_ms });
        // An agent that does not answer is killed with the rest.
        let _ = tokio::time::timeout(grace + Duration::from_millis(500), asked).await;
    }

    /// Ends the link and forgets the sandbox.
    pub(crate) fn forget(&self, sandbox: SandboxId) {
        let member = self.members.lock().unwrap_or_else(PoisonError::into_inner).remove(&sandbox);
        if let Some(member) = member {
            member.stop.cancel();
        }
    }
}

/// Waits until a process is gone; at once when it already was.
async fn gone(process: Option<AsyncFd<OwnedFd>>) {
    if let Some(process) = process {
        // An error can only mean that the descriptor is of no use; then it counts as gone.
        let _ = process.readable().await;
    }
}

/// Waits until a killed agent is gone, and with it every process of its pid namespace.
pub(crate) async fn wait_until_gone(record: &Record) -> Result<(), SandboxError> {
    let watched = record
        .agent
        .open()
        .and_then(|fd| fd.map(os::watch).transpose())
        .map_err(SandboxError::io("cannot watch the sandbox end"))?;
    tokio::time::timeout(KILL_TIMEOUT, gone(watched))
        .await
        .map_err(|_| SandboxError::Stop(format!("process {} does not end", record.agent.pid)))
}

/// Runs work that blocks where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SandboxError> + Send + 'static,
) -> Result<T, SandboxError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(SandboxError::Start(error.to_string())),
    }
}
