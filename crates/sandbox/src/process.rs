//! No sandbox at all: user code runs as the server's own user. Only for trusting oneself.
//!
//! What is weak, and cannot be mended without namespaces:
//! - User code reads and writes whatever the server's user may, the server's data included.
//! - Memory, disk and CPU time are not limited; there is no network of its own.
//! - The agent is not the first process of a pid namespace, so nothing ends with it. Processes
//!   are found by descent (the agent adopts orphans) and by the sandbox's id in their
//!   environment. After the agent was killed from outside, one that had cleared its environment
//!   is not found and goes on.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tandem_proto::SandboxId;
use tandem_proto::agent::SOCKET_NAME;

use crate::bubblewrap::find;
use crate::bubblewrap::start::{Log, apply_resource_limits, resource_limits};
use crate::driver::{
    Check, Holds, LaunchSpec, LimitsInForce, Sandbox, SandboxConfig, SandboxDriver, SandboxError,
};
use crate::identity::ProcessIdentity;
use crate::os;
use crate::record::{self, Record};
use crate::running::{Autopsy, Running, blocking, wait_until_gone};

const PROCESS: &str = "process";
/// In the environment of everything a sandbox runs; the agent passes on no name of its own.
const MARKER: &str = "SANDBOX_OF_TANDEM";
/// `sun_path` of a unix socket's address, without its end.
const MAX_SOCKET_PATH: usize = 107;
/// How often all processes of a sandbox are looked for and killed before giving up.
const KILL_ROUNDS: usize = 50;

/// Runs the agent as an ordinary process. An explicit choice of the operator.
pub struct ProcessDriver {
    running: Running,
    kit: Arc<Kit>,
}

struct Kit {
    sandboxes: PathBuf,
    agent: PathBuf,
}

impl ProcessDriver {
    /// Only for an operator who asked for it by name.
    ///
    /// # Errors
    /// When the agent is not found or the data directory cannot be used.
    pub fn new(config: SandboxConfig) -> Result<Self, SandboxError> {
        tracing::warn!(
            "--sandbox=process: programs of a repl run WITHOUT ANY ISOLATION, as the server's \
             user; they can read and change everything this user can"
        );
        let agent = find::agent(config.agent.as_deref())?;
        let sandboxes = record::sandboxes(&config.data_dir);
        find::make_private_folder(&sandboxes)?;
        let sandboxes =
            sandboxes.canonicalize().map_err(SandboxError::io("cannot use the data directory"))?;
        let kit = Arc::new(Kit { sandboxes, agent });
        Ok(Self { running: Running::default(), kit })
    }
}

impl Kit {
    fn folder(&self, sandbox: SandboxId) -> PathBuf {
        self.sandboxes.join(sandbox.as_str())
    }

    fn start(&self, spec: &LaunchSpec, folder: &Path) -> Result<(Record, Autopsy), SandboxError> {
        let socket = folder.join("socket").join(SOCKET_NAME);
        if socket.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(SandboxError::Unusable {
                problem: format!(
                    "the path of the data directory is too long: {}",
                    socket.display()
                ),
                remedy: "Use a shorter --data-dir.".into(),
            });
        }
        let home = folder.join("home");
        let workspace = home.join("workspace");
        fs::create_dir_all(&workspace).map_err(SandboxError::io("cannot make the home folder"))?;
        let log = Log::new().map_err(SandboxError::io("cannot make the log"))?;
        let writer = || log.writer().map_err(SandboxError::io("cannot make the log"));
        let mut command = Command::new(&self.agent);
        command
            .env_clear()
            .envs(
                ["PATH", "LANG", "TZ"]
                    .iter()
                    .filter_map(|name| std::env::var_os(name).map(|value| (*name, value))),
            )
            .env("HOME", &home)
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/bash")
            .env(MARKER, spec.sandbox.as_str())
            .env("TANDEM_SANDBOX", spec.sandbox.as_str())
            .env("TANDEM_WORKSPACE", &workspace)
            .env("TANDEM_AGENT_SOCKET", &socket)
            .envs(spec.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&workspace)
            .stdin(Stdio::null())
            .stdout(writer()?)
            .stderr(writer()?);
        let limits = resource_limits(&spec.limits, None);
        os::before_exec(&mut command, move || {
            rustix::process::setsid()?;
            rustix::thread::set_no_new_privs(true)?;
            apply_resource_limits(&limits)?;
            os::close_all_but(&[])
        });
        let mut agent = command.spawn().map_err(|error| SandboxError::Start(error.to_string()))?;
        let pid = i32::try_from(agent.id()).unwrap_or_default();
        let recorded = ProcessIdentity::of(pid)
            .ok_or_else(|| io::Error::other("the agent ended at once"))
            .and_then(|identity| {
                let uid = rustix::process::geteuid().as_raw();
                let record = Record::of(spec.sandbox, spec.repl, PROCESS).started(
                    identity,
                    uid,
                    LimitsInForce::default(),
                );
                record.save(folder).map(|()| record)
            });
        let record = match recorded {
            Ok(record) => record,
            Err(error) => {
                let _ = agent.kill();
                let _ = agent.wait();
                return Err(SandboxError::Start(format!("{error} {}", log.tail())));
            }
        };
        let autopsy: Autopsy = Box::pin(async move {
            let status = tokio::task::spawn_blocking(move || agent.wait()).await;
            let said = log.tail();
            match status {
                Ok(Ok(status)) => format!("its agent ended ({status}): {said}"),
                _ => format!("its agent ended: {said}"),
            }
        });
        Ok((record, autopsy))
    }
}

#[async_trait]
impl SandboxDriver for ProcessDriver {
    fn name(&self) -> &'static str {
        PROCESS
    }

    async fn probe(&self) -> Vec<Check> {
        vec![Check {
            name: "isolation".into(),
            holds: Holds::No,
            detail: "--sandbox=process runs user code as the server's own user".into(),
            remedy: Some("Use --sandbox=bubblewrap or --sandbox=docker.".into()),
            required: false,
        }]
    }

    async fn tools(&self, names: &[String]) -> Vec<String> {
        names.iter().filter(|name| find::in_path(name).is_some()).cloned().collect()
    }

    async fn launch(&self, spec: LaunchSpec) -> Result<Sandbox, SandboxError> {
        find::check_environment(&spec.env)?;
        let (id, folder) = (spec.sandbox, self.kit.folder(spec.sandbox));
        find::make_sandbox_folder(&folder)?;
        let started = async {
            let prepared = self.running.prepare(id, &folder.join("socket"))?;
            let kit = self.kit.clone();
            let (record, autopsy) = blocking(move || kit.start(&spec, &folder)).await?;
            let sandbox = self.running.started(prepared, &record, autopsy)?;
            self.running.connected(&sandbox).await?;
            Ok(sandbox)
        }
        .await;
        if started.is_err() {
            self.stop(id, Duration::ZERO).await?;
        }
        started
    }

    async fn adopt(&self) -> Result<Vec<Sandbox>, SandboxError> {
        let found = record::list(&self.kit.sandboxes)
            .map_err(SandboxError::io("cannot list the sandboxes"))?;
        let mut adopted = Vec::new();
        for (sandbox, folder) in found {
            match Record::load(&folder).filter(Record::is_alive) {
                Some(record) if record.driver == PROCESS => {
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
        let agent = record.as_ref().map(|record| record.agent);
        kill_all(sandbox, agent).await?;
        if let Some(record) = record {
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

/// Kills whatever is found of a sandbox until nothing is.
async fn kill_all(sandbox: SandboxId, agent: Option<ProcessIdentity>) -> Result<(), SandboxError> {
    for _ in 0..KILL_ROUNDS {
        let left = blocking(move || {
            let members = members(sandbox, agent)
                .map_err(SandboxError::io("cannot look for the sandbox's processes"))?;
            // The agent last: as long as it lives, orphans become its children and are found.
            let others = members.iter().any(|process| Some(*process) != agent);
            for process in members.iter().filter(|one| !others || Some(**one) != agent) {
                // One of another user was not started by this sandbox.
                let _ = process.kill();
            }
            Ok(members)
        })
        .await?;
        if left.is_empty() {
            return Ok(());
        }
        // Killed processes need a moment to be gone; new ones are found in the next round.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(SandboxError::Stop("new processes appear faster than they are killed".into()))
}

/// The processes of a sandbox: the agent, those with its id in their environment, and the
/// descendants of both.
fn members(sandbox: SandboxId, agent: Option<ProcessIdentity>) -> io::Result<Vec<ProcessIdentity>> {
    let marker = format!("{MARKER}={sandbox}");
    let mut members: Vec<ProcessIdentity> =
        agent.into_iter().filter(ProcessIdentity::is_alive).collect();
    let mut found: HashSet<i32> = members.iter().map(|process| process.pid).collect();
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Some(identity) = ProcessIdentity::of(pid) else { continue };
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let is_marked = environment.split(|byte| *byte == 0).any(|one| one == marker.as_bytes());
        if is_marked && found.insert(pid) {
            members.push(identity);
        } else if let Some(parent) = parent_of(pid) {
            parents.push((parent, identity));
        }
    }
    loop {
        let before = members.len();
        for (parent, identity) in &parents {
            if found.contains(parent) && found.insert(identity.pid) {
                members.push(*identity);
            }
        }
        if members.len() == before {
            return Ok(members);
        }
    }
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(1)?.parse().ok()
}
