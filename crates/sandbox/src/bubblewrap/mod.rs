//! Sandboxes by bubblewrap: namespaces, a read-only system, and a filter on system calls.
//!
//! As an ordinary user the server starts bubblewrap itself. Started as root, the server keeps
//! no rights and the [`crate::launcher`] does what needs them. bubblewrap itself is never run
//! as root: its sandbox could then write to `/proc/sys` of the host.

pub(crate) mod arguments;
pub(crate) mod etc;
pub(crate) mod find;
pub(crate) mod probe;
pub(crate) mod start;
pub(crate) mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tandem_proto::SandboxId;

use self::arguments::{Home, View};
use self::start::{Launch, Started, apply_resource_limits, resource_limits};
use self::tools::Tools;
use crate::driver::{
    Check, LaunchSpec, LimitsInForce, Sandbox, SandboxConfig, SandboxDriver, SandboxError,
    probe_spec,
};
use crate::launcher::LauncherClient;
use crate::record::{self, Record};
use crate::running::{Autopsy, Running, blocking};
use crate::seccomp::Programs;

/// The embedded default.
pub struct BubblewrapDriver {
    running: Running,
    kit: Arc<Kit>,
}

/// What every launch uses.
struct Kit {
    /// The folder of all sandboxes.
    sandboxes: PathBuf,
    tools: Tools,
    rights: Rights,
}

/// Who starts bubblewrap.
enum Rights {
    /// The privileged launcher.
    Launcher(Arc<LauncherClient>),
    /// The server itself, with what an ordinary user may do.
    User(UserKit),
}

/// What an ordinary user's launches use.
struct UserKit {
    bubblewrap: PathBuf,
    agent: PathBuf,
    etc: PathBuf,
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
        launcher: Option<Arc<LauncherClient>>,
    ) -> Result<Self, SandboxError> {
        if rustix::process::geteuid().is_root() {
            return Err(SandboxError::Unusable {
                problem: "the server runs as root, and a sandbox started by root is not safe"
                    .into(),
                remedy: "Start it through `tandem serve`, which gives up root's rights, or as an \
                         ordinary user."
                    .into(),
            });
        }
        let sandboxes = record::sandboxes(&config.data_dir);
        let kit = match launcher {
            Some(launcher) => Kit {
                sandboxes,
                tools: launcher.tools().clone(),
                rights: Rights::Launcher(launcher),
            },
            None => {
                let user = UserKit::find(&config, &sandboxes)?;
                let search_path = std::env::var_os("PATH").unwrap_or_default();
                let tools = Tools::discover(&config.toolchains, &search_path);
                Kit { sandboxes, tools, rights: Rights::User(user) }
            }
        };
        Ok(Self { running: Running::default(), kit: Arc::new(kit) })
    }

    /// Work of the kit, where it may block.
    async fn with_kit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Kit) -> Result<T, SandboxError> + Send + 'static,
    ) -> Result<T, SandboxError> {
        let kit = self.kit.clone();
        blocking(move || work(&kit)).await
    }

    async fn start(&self, spec: LaunchSpec) -> Result<Sandbox, SandboxError> {
        let id = spec.sandbox;
        let prepared = self.running.prepare(id, &self.kit.folder(id).join("socket"))?;
        let (record, ending) = self.with_kit(move |kit| kit.start(&spec)).await?;
        let autopsy = self.autopsy(id, ending);
        let sandbox = self.running.started(prepared, &record, autopsy)?;
        self.running.connected(&sandbox).await?;
        Ok(sandbox)
    }

    /// Finds out how a sandbox ended, and leaves no zombie.
    fn autopsy(&self, sandbox: SandboxId, ending: Ending) -> Autopsy {
        let kit = self.kit.clone();
        Box::pin(async move {
            let told = blocking(move || match ending {
                Ending::Unknown => Ok("its agent ended".to_owned()),
                Ending::Child(started) => Ok(user_autopsy(*started)),
                Ending::Launcher => match &kit.rights {
                    Rights::Launcher(launcher) => launcher.why(sandbox),
                    Rights::User(_) => Ok("its agent ended".to_owned()),
                },
            });
            told.await.unwrap_or_else(|error| error.to_string())
        })
    }

    /// Kills all processes of a sandbox and waits until they are gone.
    async fn kill(&self, sandbox: SandboxId) -> Result<(), SandboxError> {
        let deadline = Instant::now() + KILL_TIMEOUT;
        while !self.with_kit(move |kit| kit.kill(sandbox)).await? {
            if Instant::now() > deadline {
                return Err(SandboxError::Stop("they do not end after SIGKILL".into()));
            }
            // Between two attempts; each of them waits for the end by itself.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

/// How the end of a sandbox can be found out.
enum Ending {
    /// bubblewrap is a child of this process.
    Child(Box<Started>),
    /// The launcher knows.
    Launcher,
    /// It was started by an earlier server.
    Unknown,
}

impl UserKit {
    fn find(config: &SandboxConfig, sandboxes: &Path) -> Result<Self, SandboxError> {
        let bubblewrap = find::bubblewrap()?;
        let agent = find::agent(config.agent.as_deref())?;
        find::make_private_folder(sandboxes)?;
        let etc = sandboxes.join("etc");
        let survivors = record::list(sandboxes).map(|found| !found.is_empty()).unwrap_or(true);
        // Those that still run have this very folder as their /etc.
        if !(survivors && etc.is_dir()) {
            etc::make(&etc, None).map_err(SandboxError::io("cannot write the sandboxes' /etc"))?;
        }
        let programs = Programs::compile().map_err(|error| SandboxError::Unusable {
            problem: error.to_string(),
            remedy: "Use --sandbox=docker on this processor.".into(),
        })?;
        let prlimit = find::in_path("prlimit").filter(|path| path.starts_with("/usr"));
        Ok(Self { bubblewrap, agent, etc, programs, prlimit })
    }
}

impl Kit {
    fn folder(&self, sandbox: SandboxId) -> PathBuf {
        self.sandboxes.join(sandbox.as_str())
    }

    fn prepare(&self, sandbox: SandboxId) -> Result<(), SandboxError> {
        match &self.rights {
            Rights::Launcher(launcher) => launcher.prepare(sandbox),
            Rights::User(_) => find::make_sandbox_folder(&self.folder(sandbox)),
        }
    }

    fn start(&self, spec: &LaunchSpec) -> Result<(Record, Ending), SandboxError> {
        match &self.rights {
            Rights::Launcher(launcher) => Ok((launcher.make(spec)?, Ending::Launcher)),
            Rights::User(user) => {
                let folder = self.folder(spec.sandbox);
                let (started, record) = user.start(spec, &folder, &self.tools)?;
                Ok((record, Ending::Child(Box::new(started))))
            }
        }
    }

    /// Kills; says whether all is gone.
    fn kill(&self, sandbox: SandboxId) -> Result<bool, SandboxError> {
        match &self.rights {
            Rights::Launcher(launcher) => launcher.kill(sandbox),
            Rights::User(_) => {
                let record = Record::load(&self.folder(sandbox)).filter(Record::is_alive);
                let Some(record) = record else { return Ok(true) };
                record.agent.kill().map_err(SandboxError::io("cannot kill the sandbox"))?;
                record.agent.wait(KILL_WAIT).map_err(SandboxError::io("cannot wait for its end"))
            }
        }
    }

    fn remove(&self, sandbox: SandboxId) -> Result<(), SandboxError> {
        match &self.rights {
            Rights::Launcher(launcher) => launcher.remove(sandbox),
            Rights::User(_) => record::remove_folder(&self.folder(sandbox))
                .map_err(SandboxError::io("cannot remove the sandbox's files")),
        }
    }

    fn list(&self) -> Result<Vec<SandboxId>, SandboxError> {
        match &self.rights {
            Rights::Launcher(launcher) => launcher.list(),
            Rights::User(_) => {
                let found = record::list(&self.sandboxes)
                    .map_err(SandboxError::io("cannot list the sandboxes"))?;
                Ok(found.into_iter().map(|(sandbox, _)| sandbox).collect())
            }
        }
    }
}

impl UserKit {
    /// Starts bubblewrap with the rights of an ordinary user.
    fn start(
        &self,
        spec: &LaunchSpec,
        folder: &Path,
        tools: &Tools,
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
                tools,
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
            // A signal from the server's terminal is not for bubblewrap.
            rustix::process::setsid()?;
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

/// How long killed processes may take to be gone, in all and within one attempt.
const KILL_TIMEOUT: Duration = Duration::from_secs(15);
const KILL_WAIT: Duration = Duration::from_millis(500);
/// The name of this driver.
pub(crate) const BUBBLEWRAP: &str = "bubblewrap";

#[async_trait]
impl SandboxDriver for BubblewrapDriver {
    fn name(&self) -> &'static str {
        BUBBLEWRAP
    }

    async fn probe(&self) -> Vec<Check> {
        probe::probe(self).await
    }

    async fn ready(&self) -> Result<(), SandboxError> {
        let sandbox = self.launch(probe_spec()).await.map_err(probe::explain)?;
        self.stop(sandbox.id, Duration::ZERO).await
    }

    async fn tools(&self, names: &[String]) -> Vec<String> {
        names.iter().filter(|name| self.kit.tools.has(name)).cloned().collect()
    }

    async fn launch(&self, spec: LaunchSpec) -> Result<Sandbox, SandboxError> {
        find::check_environment(&spec.env)?;
        let id = spec.sandbox;
        // A sandbox that exists is not touched, whatever comes after.
        self.with_kit(move |kit| kit.prepare(id)).await?;
        let started = self.start(spec).await;
        if started.is_err() {
            self.stop(id, Duration::ZERO).await?;
        }
        started
    }

    async fn adopt(&self) -> Result<Vec<Sandbox>, SandboxError> {
        let mut adopted = Vec::new();
        for sandbox in self.with_kit(Kit::list).await? {
            let folder = self.kit.folder(sandbox);
            match Record::load(&folder).filter(Record::is_alive) {
                Some(record) if record.driver == BUBBLEWRAP => {
                    let prepared = self.running.prepare(sandbox, &folder.join("socket"))?;
                    let autopsy = self.autopsy(sandbox, Ending::Unknown);
                    adopted.push(self.running.started(prepared, &record, autopsy)?);
                }
                _ => self.stop(sandbox, Duration::ZERO).await?,
            }
        }
        Ok(adopted)
    }

    async fn stop(&self, sandbox: SandboxId, grace: Duration) -> Result<(), SandboxError> {
        self.running.ask_to_end(sandbox, grace).await;
        self.kill(sandbox).await?;
        self.running.forget(sandbox);
        self.with_kit(move |kit| kit.remove(sandbox)).await
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
fn user_autopsy(started: Started) -> String {
    let Started { mut outer, log, .. } = started;
    let how = match outer.wait() {
        Ok(status) => format!("its agent ended ({status})"),
        Err(_) => "its agent ended".to_owned(),
    };
    match log.tail() {
        said if said.is_empty() => how,
        said => format!("{how}: {said}"),
    }
}
