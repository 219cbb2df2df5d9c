//! Sandboxes by bubblewrap: namespaces, a read-only system, and a filter on system calls.
//!
//! As an ordinary user the server starts bubblewrap itself. Started as root, the server keeps
//! no rights and the [`crate::launcher`] does what needs them. bubblewrap itself is never run
//! as root: its sandbox could then write to `/proc/sys` of the host.

pub(crate) mod arguments;
pub(crate) mod etc;
pub(crate) mod find;
pub(crate) mod start;
pub(crate) mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tandem_proto::SandboxId;

use self::arguments::{Home, View};
use self::etc::Etc;
use self::start::{Launch, Started, apply_resource_limits, resource_limits};
use self::tools::Tools;
use crate::driver::{
    Check, Holds, LaunchSpec, LimitsInForce, Sandbox, SandboxConfig, SandboxDriver, SandboxError,
};
use crate::launcher::LauncherClient;
use crate::record::{self, Record};
use crate::running::{Autopsy, Running, blocking, wait_until_gone};
use crate::seccomp::Programs;

/// The embedded default.
pub struct BubblewrapDriver {
    running: Running,
    kit: Arc<Kit>,
}

/// What every launch uses.
struct Kit {
    sandboxes: PathBuf,
    bubblewrap: PathBuf,
    agent: PathBuf,
    etc: Etc,
    tools: Tools,
    programs: Programs,
    prlimit: Option<PathBuf>,
}

impl BubblewrapDriver {
    /// Finds what it needs on this machine. Does blocking work; call it at start.
    ///
    /// # Errors
    /// When something is missing without which no sandbox can start, with how to mend it.
    pub fn new(
        config: SandboxConfig,
        launcher: Option<LauncherClient>,
    ) -> Result<Self, SandboxError> {
        let _ = launcher;
        if rustix::process::geteuid().is_root() {
            return Err(SandboxError::Unusable {
                problem: "the server runs as root, and a sandbox started by root is not safe"
                    .into(),
                remedy: "Start it through `tandem serve`, which gives up root's rights, or as an \
                         ordinary user."
                    .into(),
            });
        }
        let bubblewrap = find::bubblewrap()?;
        let agent = find::agent(config.agent.as_deref())?;
        let sandboxes = record::sandboxes(&config.data_dir);
        find::make_private_folder(&sandboxes)?;
        let etc = Etc::make(&sandboxes.join("etc"))
            .map_err(SandboxError::io("cannot write the sandboxes' /etc"))?;
        let search_path = std::env::var_os("PATH").unwrap_or_default();
        let tools = Tools::discover(&config.toolchains, &search_path);
        let programs = Programs::compile().map_err(|error| SandboxError::Unusable {
            problem: error.to_string(),
            remedy: "Use --sandbox=docker on this processor.".into(),
        })?;
        let prlimit = find::in_path("prlimit").filter(|path| path.starts_with("/usr"));
        let kit = Kit { sandboxes, bubblewrap, agent, etc, tools, programs, prlimit };
        Ok(Self { running: Running::default(), kit: Arc::new(kit) })
    }

    async fn start(&self, spec: LaunchSpec, folder: PathBuf) -> Result<Sandbox, SandboxError> {
        let prepared = self.running.prepare(spec.sandbox, &folder.join("socket"))?;
        let kit = self.kit.clone();
        let (started, record) = blocking(move || kit.start_as_user(&spec, &folder)).await?;
        let sandbox = self.running.started(prepared, &record, autopsy(started))?;
        self.running.connected(&sandbox).await?;
        Ok(sandbox)
    }
}

impl Kit {
    fn folder(&self, sandbox: SandboxId) -> PathBuf {
        self.sandboxes.join(sandbox.as_str())
    }

    /// Starts bubblewrap with the rights of an ordinary user.
    fn start_as_user(
        &self,
        spec: &LaunchSpec,
        folder: &Path,
    ) -> Result<(Started, Record), SandboxError> {
        let home = home_as_user(spec, folder)?;
        let seccomp = self
            .programs
            .descriptors()
            .map_err(SandboxError::io("cannot prepare the system call filter"))?;
        let launch = Launch::new(&self.bubblewrap, seccomp)
            .map_err(SandboxError::io("cannot prepare the start"))?;
        let arguments = launch.arguments(|seccomp, info| {
            View {
                sandbox: spec.sandbox,
                agent: &self.agent,
                socket_folder: &folder.join("socket"),
                home: &home,
                etc: &self.etc,
                tools: &self.tools,
                tool_sources: None,
                terminals: None,
                has_network: false,
                process_limit: self.prlimit.as_deref().map(|path| (path, spec.limits.processes)),
                env: &spec.env,
                seccomp,
                info,
            }
            .arguments()
        });
        let limits = resource_limits(&spec.limits, None);
        let started = launch.start(&arguments, move || {
            rustix::thread::set_no_new_privs(true)?;
            apply_resource_limits(&limits)
        })?;
        let in_force = LimitsInForce {
            processes: self.prlimit.is_some(),
            disk: matches!(home, Home::Memory(_)),
            own_network: true,
            ..LimitsInForce::default()
        };
        let uid = rustix::process::geteuid().as_raw();
        let record =
            Record::of(spec.sandbox, spec.repl, BUBBLEWRAP).started(started.agent, uid, in_force);
        if let Err(error) = record.save(folder) {
            // Without a record nobody would find it again.
            let _ = started.agent.kill();
            return Err(SandboxError::io("cannot record the sandbox")(error));
        }
        Ok((started, record))
    }
}

const BUBBLEWRAP: &str = "bubblewrap";

#[async_trait]
impl SandboxDriver for BubblewrapDriver {
    fn name(&self) -> &'static str {
        BUBBLEWRAP
    }

    async fn probe(&self) -> Vec<Check> {
        let agent = &self.kit.agent;
        let is_static = find::is_static(agent);
        vec![Check {
            name: "agent".into(),
            holds: if is_static { Holds::Yes } else { Holds::Partly },
            detail: format!("{}, static: {is_static}", agent.display()),
            remedy: None,
            required: true,
        }]
    }

    async fn tools(&self, names: &[String]) -> Vec<String> {
        names.iter().filter(|name| self.kit.tools.has(name)).cloned().collect()
    }

    async fn launch(&self, spec: LaunchSpec) -> Result<Sandbox, SandboxError> {
        find::check_environment(&spec.env)?;
        let (sandbox, folder) = (spec.sandbox, self.kit.folder(spec.sandbox));
        find::make_sandbox_folder(&folder)?;
        let started = self.start(spec, folder).await;
        if started.is_err() {
            self.stop(sandbox, Duration::ZERO).await?;
        }
        started
    }

    async fn adopt(&self) -> Result<Vec<Sandbox>, SandboxError> {
        let found = record::list(&self.kit.sandboxes)
            .map_err(SandboxError::io("cannot list the sandboxes"))?;
        let mut adopted = Vec::new();
        for (sandbox, folder) in found {
            match Record::load(&folder).filter(Record::is_alive) {
                Some(record) if record.driver == BUBBLEWRAP => {
                    let prepared = self.running.prepare(sandbox, &folder.join("socket"))?;
                    let autopsy: Autopsy = Box::pin(async { "its agent ended".to_owned() });
                    adopted.push(self.running.started(prepared, &record, autopsy)?);
                }
                _ => self.stop(sandbox, Duration::ZERO).await?,
            }
        }
        Ok(adopted)
    }

    async fn stop(&self, sandbox: SandboxId, grace: Duration) -> Result<(), SandboxError> {
        self.running.ask_to_end(sandbox, grace).await;
        let folder = self.kit.folder(sandbox);
        let record = self.running.record(sandbox).or_else(|| Record::load(&folder));
        if let Some(record) = record.filter(Record::is_alive) {
            record.agent.kill().map_err(SandboxError::io("cannot kill the sandbox"))?;
            wait_until_gone(&record).await?;
        }
        self.running.forget(sandbox);
        blocking(move || {
            record::remove_folder(&folder)
                .map_err(SandboxError::io("cannot remove the sandbox's files"))
        })
        .await
    }
}

/// Where an ordinary user's sandbox keeps its files: in memory with a size where that is a small
/// part of what this machine has, else in a folder without a bound.
fn home_as_user(spec: &LaunchSpec, folder: &Path) -> Result<Home, SandboxError> {
    let memory = find::total_memory().unwrap_or(0);
    if spec.limits.disk_bytes <= memory / 4 {
        return Ok(Home::Memory(spec.limits.disk_bytes));
    }
    let home = folder.join("home");
    fs::create_dir(&home).map_err(SandboxError::io("cannot make the home folder"))?;
    Ok(Home::Folder(home))
}

/// Waits for bubblewrap, so that it leaves no zombie, and tells what it said.
fn autopsy(started: Started) -> Autopsy {
    let Started { mut outer, log, .. } = started;
    Box::pin(async move {
        let status = tokio::task::spawn_blocking(move || outer.wait()).await;
        let how = match status {
            Ok(Ok(status)) => format!("its agent ended ({status})"),
            _ => "its agent ended".to_owned(),
        };
        match log.tail() {
            said if said.is_empty() => how,
            said => format!("{how}: {said}"),
        }
    })
}
