//! What every way of running user code must offer.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tandem_proto::{ReplId, SandboxId};
use tokio::sync::watch;

use crate::egress::RouterSettings;
use crate::link::{AgentLink, LinkError};

/// A way to run user code. One conformance suite holds for all implementations.
#[async_trait]
pub trait SandboxDriver: Send + Sync + 'static {
    /// The name given to `--sandbox`.
    fn name(&self) -> &'static str;

    /// Tries what this machine gives, by effect, and says what does not hold and how to mend it.
    async fn probe(&self) -> Vec<Check>;

    /// Starts one real sandbox and ends it: what a server does before it says it is ready.
    ///
    /// # Errors
    /// When this machine cannot run one, with how to mend it where that is known.
    async fn ready(&self) -> Result<(), SandboxError> {
        let sandbox = self.launch(probe_spec()).await?;
        self.stop(sandbox.id, Duration::ZERO).await
    }

    /// Whether a server without working sandboxes must not start: what is missing is not mended
    /// while it runs, as a daemon's start or an image would be.
    fn is_needed_at_start(&self) -> bool {
        true
    }

    /// Which of these commands exist inside a sandbox; all, where that cannot be found out now: a
    /// repl can be made then, and its sandbox tells what is wrong.
    async fn tools(&self, names: &[String]) -> Vec<String>;

    /// Starts a sandbox and waits until its agent has connected. All or nothing: after an error
    /// no process and no file of it is left.
    ///
    /// Not cancel-safe: run it to its end, or call [`SandboxDriver::stop`] afterwards.
    async fn launch(&self, spec: LaunchSpec) -> Result<Sandbox, SandboxError>;

    /// Takes over the sandboxes that an earlier server on the same data directory left running,
    /// and clears away what is left of dead ones. Call once, before the first launch.
    async fn adopt(&self) -> Result<Vec<Sandbox>, SandboxError>;

    /// Ends a sandbox: asks its processes to end, kills after `grace`, and returns when no
    /// process and no file of it is left. Stopping one that is gone is fine.
    async fn stop(&self, sandbox: SandboxId, grace: Duration) -> Result<(), SandboxError>;
}

/// What the drivers need to know about this machine.
#[derive(Debug, Clone, Default)]
pub struct SandboxConfig {
    /// The server's data directory; sandboxes live in its `sandboxes` folder.
    pub data_dir: PathBuf,
    /// The agent's executable; looked for beside the server's own when absent.
    pub agent: Option<PathBuf>,
    /// Roots of toolchains to show read-only inside, besides those that are found.
    pub toolchains: Vec<PathBuf>,
    /// For the Docker driver.
    pub docker: DockerConfig,
    /// The sandboxes' network, where they are to have one. It takes root's rights.
    pub egress: Option<RouterSettings>,
}

/// What the Docker driver needs to know.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    /// The daemon's unix socket. The daemon must run on this machine.
    pub socket: PathBuf,
    /// What sandboxes see as their system: bash, and the languages.
    pub image: String,
    /// Another runtime the daemon knows; its own choice when absent. Not gVisor's: see
    /// [`crate::docker`].
    pub runtime: Option<String>,
}

impl Default for DockerConfig {
    fn default() -> Self {
        Self { socket: "/run/docker.sock".into(), image: "tandem-languages".into(), runtime: None }
    }
}

/// A sandbox to be started.
#[derive(Debug, Clone)]
pub struct LaunchSpec {
    /// Its new id.
    pub sandbox: SandboxId,
    /// The repl it runs.
    pub repl: ReplId,
    /// What it may use.
    pub limits: Limits,
    /// Added to the environment of every process inside.
    pub env: Vec<(String, String)>,
}

/// A sandbox that belongs to no repl, to see whether one starts.
pub(crate) fn probe_spec() -> LaunchSpec {
    let limits = Limits {
        memory_bytes: 128 << 20,
        processes: 64,
        disk_bytes: 32 << 20,
        inodes: 1024,
        ..Limits::default()
    };
    LaunchSpec {
        sandbox: SandboxId::from_random(rand::random()),
        repl: ReplId::from_random(rand::random()),
        limits,
        env: Vec::new(),
    }
}

/// What a sandbox may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of all its processes, page cache and tmpfs included.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u32,
    /// CPU time in percent of one core.
    pub cpu_percent: u32,
    /// Bytes of its home folder.
    pub disk_bytes: u64,
    /// Files and folders of its home folder.
    pub inodes: u64,
    /// Pseudo terminals.
    pub ptys: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            processes: 256,
            cpu_percent: 100,
            disk_bytes: 2 << 30,
            inodes: 200_000,
            ptys: 32,
        }
    }
}

/// Which limits this machine really enforces on a sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsInForce {
    /// Memory is limited by a control group.
    pub memory: bool,
    /// Processes are limited, by a control group or by a resource limit of an own uid.
    pub processes: bool,
    /// CPU time is limited.
    pub cpu: bool,
    /// The home folder cannot grow above its size.
    pub disk: bool,
    /// The number of files in the home folder is limited.
    pub inodes: bool,
    /// Pseudo terminals are limited.
    pub ptys: bool,
    /// The sandbox runs under a user id of the host that no other sandbox and no person has.
    pub own_uid: bool,
    /// It has its own network with nothing but a loopback interface.
    pub own_network: bool,
}

/// A running sandbox.
#[derive(Debug)]
pub struct Sandbox {
    /// Its id.
    pub id: SandboxId,
    /// The repl it runs.
    pub repl: ReplId,
    /// Its first process, as this machine counts.
    pub process: i32,
    /// The connection to its agent.
    pub link: AgentLink,
    /// Becomes `Some` when it ended. Its files stay until [`SandboxDriver::stop`].
    pub ended: watch::Receiver<Option<Ended>>,
    /// What is enforced on it.
    pub limits_in_force: LimitsInForce,
}

/// That and why a sandbox ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// In words, for people.
    pub reason: String,
}

/// Whether something holds on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holds {
    /// Yes.
    Yes,
    /// In part; the detail says which.
    Partly,
    /// No.
    No,
}

/// One line of `tandem doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Short and stable, for scripts.
    pub name: String,
    /// The outcome.
    pub holds: Holds,
    /// What was found.
    pub detail: String,
    /// What to do about it, when something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// No sandbox starts without it.
    pub required: bool,
}

impl Check {
    pub(crate) fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub(crate) fn remedy(self, remedy: &str) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// Why a driver could not do something. The text says how to mend it where that is possible.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// This machine cannot run sandboxes of this kind as it is.
    #[error("{problem}. {remedy}")]
    Unusable {
        /// What is missing.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// The request itself is wrong.
    #[error("the sandbox cannot be started: {0}")]
    Invalid(String),
    /// A sandbox with this id is there already.
    #[error("a sandbox with this id exists")]
    Exists,
    /// The sandbox's program ended or did not answer while it started.
    #[error("the sandbox did not start: {0}")]
    Start(String),
    /// The privileged launcher refused or failed.
    #[error("the launcher failed: {0}")]
    Launcher(String),
    /// The connection to its agent failed.
    #[error("the agent failed: {0}")]
    Link(#[from] LinkError),
    /// Processes were left after killing them.
    #[error("processes of the sandbox could not be ended: {0}")]
    Stop(String),
    /// The operating system refused something.
    #[error("{action}: {source}")]
    Io {
        /// What was tried, as "cannot …".
        action: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl SandboxError {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}
