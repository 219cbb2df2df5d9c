//! What a case gets: a driver in one of its modes, and the means to run things inside.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tandem_proto::agent::{Exit, Op, Reply, Spawn, TerminalKind, TerminalOutput};
use tandem_proto::{ReplId, SandboxId, TerminalId};
use tandem_sandbox::egress::RouterSettings;
use tandem_sandbox::{
    BubblewrapDriver, DockerConfig, DockerDriver, LaunchSpec, Limits, ProcessDriver, Sandbox,
    SandboxConfig, SandboxDriver,
};
use tandem_testkit::DOCKER_IMAGE;
use tokio::time::timeout;

use crate::network::{ClosedWorld, Network};

/// The longest a command inside may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// How the driver has its rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// bubblewrap with the launcher; the server was root.
    Launcher,
    /// bubblewrap by an ordinary user.
    User,
    /// bubblewrap with the launcher and a network, in a closed world.
    Network,
    /// No isolation.
    Process,
    /// Containers of the harness's own Docker daemon; the server was root.
    Docker,
    /// The same with a network, in a closed world.
    DockerNetwork,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Self::Launcher => "launcher",
            Self::User => "user",
            Self::Network => "network",
            Self::Process => "process",
            Self::Docker => "docker",
            Self::DockerNetwork => "docker-network",
        }
    }

    const ALL: [Self; 6] = [
        Self::Launcher,
        Self::User,
        Self::Network,
        Self::Process,
        Self::Docker,
        Self::DockerNetwork,
    ];

    /// Whether it needs the harness's Docker daemon.
    pub fn is_docker(self) -> bool {
        matches!(self, Self::Docker | Self::DockerNetwork)
    }

    /// Whether each sandbox has a user id of its own, and limits by control groups.
    pub fn has_rights(self) -> bool {
        matches!(self, Self::Launcher | Self::Docker)
    }
}

/// The socket of the harness's Docker daemon, in the environment of a case.
pub const DOCKER_SOCKET: &str = "TANDEM_TEST_DOCKER_SOCKET";

/// One thing that must hold.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub modes: &'static [Mode],
    pub phases: &'static [Phase],
    /// Another program in the agent's place.
    pub agent: Option<&'static str>,
}

type Work = for<'a> fn(&'a Bench) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

/// A server process of a case, all on one data directory.
#[derive(Clone, Copy)]
pub enum Phase {
    ToTheEnd(Work),
    /// Killed with SIGKILL when its work is done.
    Killed(Work),
}

pub fn all() -> Vec<Case> {
    let all = [crate::cases::CASES, crate::attacks::CASES, crate::network::CASES];
    all.into_iter().flatten().copied().collect()
}

/// A driver under test.
pub struct Bench {
    pub mode: Mode,
    pub driver: Arc<dyn SandboxDriver>,
    pub data_dir: PathBuf,
    /// In [`Mode::Network`] and [`Mode::DockerNetwork`].
    pub network: Option<Network>,
}

/// `MODE CASE PHASE DATA_DIR AGENT`
pub fn run(arguments: &[String]) -> ExitCode {
    let [mode, case, phase, data_dir, agent] = arguments else {
        eprintln!("wrong arguments");
        return ExitCode::FAILURE;
    };
    let mode = Mode::ALL.into_iter().find(|known| known.name() == mode).expect("a mode");
    let case = all().into_iter().find(|known| known.name == case).expect("a case");
    let phase = case.phases[phase.parse::<usize>().expect("a number")];
    let config = SandboxConfig {
        data_dir: data_dir.into(),
        agent: Some(case.agent.unwrap_or(agent).into()),
        docker: DockerConfig {
            socket: std::env::var_os(DOCKER_SOCKET).unwrap_or_default().into(),
            image: DOCKER_IMAGE.into(),
            runtime: None,
        },
        ..SandboxConfig::default()
    };
    match run_phase(mode, phase, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_phase(mode: Mode, phase: Phase, mut config: SandboxConfig) -> anyhow::Result<()> {
    let data_dir = config.data_dir.clone();
    let mut network = None;
    let driver: Arc<dyn SandboxDriver> = match mode {
        Mode::Launcher => {
            let launcher = tandem_sandbox::start_and_drop(&config, None, None)?;
            anyhow::ensure!(launcher.is_some(), "the launcher needs root");
            Arc::new(BubblewrapDriver::new(config, launcher)?)
        }
        Mode::User => {
            anyhow::ensure!(tandem_sandbox::start_and_drop(&config, None, None)?.is_none());
            Arc::new(BubblewrapDriver::new(config, None)?)
        }
        Mode::Network => {
            let world = ClosedWorld::enter()?;
            config.egress = Some(RouterSettings { total: Some(1_000_000_000), denied: vec![] });
            let launcher = tandem_sandbox::start_and_drop(&config, None, None)?
                .ok_or_else(|| anyhow::anyhow!("the launcher needs root"))?;
            network = Some(Network { world, launcher: launcher.clone() });
            Arc::new(BubblewrapDriver::new(config, Some(launcher))?)
        }
        Mode::Process => Arc::new(ProcessDriver::new(config)?),
        Mode::DockerNetwork => {
            let world = ClosedWorld::enter()?;
            config.egress = Some(RouterSettings { total: Some(1_000_000_000), denied: vec![] });
            let socket = config.docker.socket.clone();
            let launcher = tandem_sandbox::launcher::drop_rights(&config, None, Some(&socket))?
                .ok_or_else(|| anyhow::anyhow!("the launcher needs root"))?;
            network = Some(Network { world, launcher });
            Arc::new(DockerDriver::new(config)?)
        }
        Mode::Docker => {
            tandem_sandbox::launcher::drop_rights(&config, None, Some(&config.docker.socket))?;
            Arc::new(DockerDriver::new(config)?)
        }
    };
    let bench = Bench { mode, driver, data_dir, network };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (work, is_killed) = match phase {
        Phase::ToTheEnd(work) => (work, false),
        Phase::Killed(work) => (work, true),
    };
    runtime.block_on(work(&bench))?;
    if is_killed {
        // As a crash would: nothing is closed, nobody is told.
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::KILL)?;
    }
    runtime.block_on(bench.nothing_is_left())
}

pub fn random() -> [u8; 10] {
    rand::random()
}

impl Bench {
    pub fn spec(&self) -> LaunchSpec {
        LaunchSpec {
            sandbox: SandboxId::from_random(random()),
            repl: ReplId::from_random(random()),
            limits: Limits {
                memory_bytes: 256 << 20,
                processes: 64,
                cpu_percent: 100,
                disk_bytes: 64 << 20,
                inodes: 2_000,
                ptys: 8,
            },
            env: vec![("GREETING".into(), "hello".into())],
        }
    }

    pub async fn launch(&self) -> anyhow::Result<Sandbox> {
        Ok(self.driver.launch(self.spec()).await?)
    }

    pub async fn stop(&self, sandbox: &Sandbox) -> anyhow::Result<()> {
        Ok(self.driver.stop(sandbox.id, Duration::ZERO).await?)
    }

    /// What is recorded of a sandbox.
    pub fn record(&self, sandbox: &Sandbox) -> anyhow::Result<serde_json::Value> {
        let folder = self.data_dir.join("sandboxes").join(sandbox.id.as_str());
        Ok(serde_json::from_slice(&std::fs::read(folder.join("record.json"))?)?)
    }

    /// The folders of sandboxes that are there.
    pub fn folders(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.data_dir.join("sandboxes")).into_iter().flatten();
        let is_sandbox = |path: &PathBuf| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.parse::<SandboxId>().is_ok())
        };
        entries.flatten().map(|entry| entry.path()).filter(is_sandbox).collect()
    }

    /// A case must have stopped what it started.
    async fn nothing_is_left(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.folders().is_empty(), "files are left: {:?}", self.folders());
        Ok(())
    }
}

/// What a command inside said.
#[derive(Debug)]
pub struct Output {
    pub text: String,
    pub exit: Exit,
}

impl Output {
    pub fn lines(&self) -> Vec<&str> {
        self.text.lines().map(str::trim_end).collect()
    }
}

/// Runs a shell script on a terminal inside.
pub async fn shell(sandbox: &Sandbox, script: &str) -> anyhow::Result<Output> {
    run_inside(sandbox, &["bash", "-c", script]).await
}

/// Runs a Python program inside.
pub async fn python(sandbox: &Sandbox, program: &str) -> anyhow::Result<Output> {
    run_inside(sandbox, &["python3", "-c", program]).await
}

pub async fn run_inside(sandbox: &Sandbox, argv: &[&str]) -> anyhow::Result<Output> {
    let terminal = start_inside(sandbox, argv).await?;
    let output = timeout(COMMAND_LIMIT, read_to_exit(sandbox, terminal))
        .await
        .map_err(|_| anyhow::anyhow!("{argv:?} takes too long"))??;
    sandbox.link.request(Op::CloseTerminal { terminal }).await?;
    Ok(output)
}

/// Starts something inside and does not wait for it.
pub async fn start_inside(sandbox: &Sandbox, argv: &[&str]) -> anyhow::Result<TerminalId> {
    let terminal = TerminalId::from_random(random());
    let spawn = Spawn {
        terminal,
        kind: TerminalKind::Console,
        title: argv[0].to_owned(),
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: Vec::new(),
        cwd: None,
        cols: 200,
        rows: 50,
        history: Bytes::new(),
    };
    match sandbox.link.request(Op::Spawn(spawn)).await? {
        Reply::Spawned { .. } => Ok(terminal),
        other => anyhow::bail!("{other:?}"),
    }
}

pub async fn read_to_exit(sandbox: &Sandbox, terminal: TerminalId) -> anyhow::Result<Output> {
    let mut stream = sandbox.link.open_terminal(terminal, Some(0)).await?;
    let mut text = Vec::new();
    while let Some(output) = stream.recv().await? {
        match output {
            TerminalOutput::Chunk { bytes, .. } => text.extend_from_slice(&bytes),
            TerminalOutput::Restart { .. } => {}
            TerminalOutput::Exited { exit } => {
                let text = String::from_utf8_lossy(&text).into_owned();
                return Ok(Output { text, exit });
            }
        }
    }
    anyhow::bail!("the terminal ended without an exit: {}", String::from_utf8_lossy(&text))
}

/// Has the harness, which keeps its rights, kill a process.
pub fn ask_to_kill(data_dir: &Path, pid: i64) -> anyhow::Result<()> {
    let draft = data_dir.join("kill.new");
    std::fs::write(&draft, pid.to_string())?;
    Ok(std::fs::rename(draft, data_dir.join(KILL))?)
}

/// See [`ask_to_kill`].
pub const KILL: &str = "kill";

/// Waits for something under a limit.
pub async fn eventually(
    what: &str,
    mut holds: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(15);
    while !holds().await? {
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Processes of this machine that satisfy a condition on `/proc/PID`.
pub fn processes(condition: impl Fn(&Path) -> bool) -> usize {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
        .filter(|entry| condition(&entry.path()))
        .count()
}
