//! The real `tandem serve`, as a child process that can be killed at any moment and started again.

use std::collections::{BTreeSet, VecDeque};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use tandem_proto::role::Role;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::{Api, eventually, process, within};

/// How long a server may take until it listens, or until it has stopped in good order: it asks the
/// blob store about thirty things first, which may be slow, as may be the machine.
const START: Duration = Duration::from_secs(90);
const OWNER_TOKEN: &str = "owner-token-of-the-tests-0123456789";
const LOG_LINES: usize = 400;

/// What differs from `tandem serve` on defaults.
#[derive(Debug, Clone)]
pub struct Options {
    /// More arguments.
    pub args: Vec<String>,
    /// More environment variables.
    pub env: Vec<(String, String)>,
    /// `--blob-store`; the default is a folder beside the data directory, which survives
    /// [`Server::wipe_data_dir`].
    pub blob_store: Option<String>,
    /// `--idle-grace`.
    pub idle_grace: String,
    /// Everything it says is added to this file, beside the last lines that are kept.
    pub log_file: Option<PathBuf>,
    /// Where its folders are made; the default is where temporary files are.
    pub folder: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        // Nobody leaves by accident while a test still looks.
        Self {
            args: Vec::new(),
            env: Vec::new(),
            blob_store: None,
            idle_grace: "10m".to_owned(),
            log_file: None,
            folder: None,
        }
    }
}

/// How a stopped server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
}

/// A running (or killed) server and its folders.
pub struct Server {
    child: Option<Child>,
    pid: i32,
    port: u16,
    data_dir: PathBuf,
    options: Options,
    folder: TempDir,
    log: Arc<Mutex<VecDeque<String>>>,
    readers: JoinSet<()>,
}

impl Server {
    /// Starts a server on defaults, on a free port, with empty folders.
    ///
    /// # Errors
    /// When the programs are not built or the server does not get as far as listening; its last
    /// words are in the error.
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts a server with these differences.
    ///
    /// # Errors
    /// See [`Server::start`].
    pub async fn start_with(options: Options) -> Result<Self> {
        let place = options.folder.clone().unwrap_or_else(std::env::temp_dir);
        let folder = tempfile::Builder::new().prefix("tandem-test-").tempdir_in(place)?;
        // A server started as root goes on as an ordinary user, who must get at its folders.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let blobs = folder.path().join("blobs");
        std::fs::create_dir(&blobs)?;
        std::fs::set_permissions(&blobs, std::fs::Permissions::from_mode(0o777))?;
        let mut server = Self::new(options, folder);
        server.spawn().await?;
        Ok(server)
    }

    /// Starts a server on folders that belong to somebody else; only for seeing it refused.
    ///
    /// # Errors
    /// See [`Server::start`].
    pub async fn start_in(data_dir: PathBuf, blob_store: &str) -> Result<Self> {
        let options = Options { blob_store: Some(blob_store.to_owned()), ..Options::default() };
        Self::start_at(data_dir, options).await
    }

    /// Starts a server with these differences on a data directory of the caller's.
    ///
    /// # Errors
    /// See [`Server::start`].
    pub async fn start_at(data_dir: PathBuf, options: Options) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut server = Self::new(options, folder);
        server.data_dir = data_dir;
        server.spawn().await?;
        Ok(server)
    }

    fn new(options: Options, folder: TempDir) -> Self {
        Self {
            child: None,
            pid: 0,
            port: 0,
            data_dir: folder.path().join("data"),
            options,
            folder,
            log: Arc::default(),
            readers: JoinSet::new(),
        }
    }

    async fn spawn(&mut self) -> Result<()> {
        process::program("tandem-agent")?;
        let mut command = Command::new(process::program("tandem")?);
        command
            .arg("serve")
            .arg("--no-open")
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--blob-store", &self.blob_store()])
            .args(["--idle-grace", &self.options.idle_grace])
            .args(&self.options.args)
            .env("TANDEM_TOKEN", OWNER_TOKEN)
            .envs(self.options.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().context("start tandem")?;
        let (said_port, mut port) = tokio::sync::mpsc::channel(1);
        let stdout = child.stdout.take().context("take standard output")?;
        let stderr = child.stderr.take().context("take standard error")?;
        let log = || Log { last: Arc::clone(&self.log), file: self.options.log_file.clone() };
        self.readers.spawn(read_lines(stderr, log(), None));
        self.readers.spawn(read_lines(stdout, log(), Some(said_port)));
        let listening = async {
            tokio::select! {
                Some(port) = port.recv() => Ok(port),
                status = child.wait() => Err(anyhow!("it ended with {}", status?)),
            }
        };
        match within("the line `listening on http://…`", START, listening).await {
            Ok(port) => self.port = port,
            Err(error) => return Err(error.context(format!("tandem said:\n{}", self.log()))),
        }
        self.pid = process::listener(self.port)?;
        self.child = Some(child);
        self.api().ready().await
    }

    /// Another command of the program, on the same folders and stores.
    ///
    /// # Errors
    /// When the program is not built.
    pub fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(process::program("tandem")?);
        command
            .args(args)
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--blob-store", &self.blob_store()])
            .envs(self.options.env.iter().cloned())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }

    /// A client with the owner's token.
    pub fn api(&self) -> Api {
        Api::new(self.port, OWNER_TOKEN)
    }

    /// A client with another token, or with none.
    pub fn api_with(&self, token: &str) -> Api {
        Api::new(self.port, token)
    }

    /// A client that came by a new share link to a repl.
    ///
    /// # Errors
    /// When the link cannot be made.
    pub async fn guest(&self, repl: &str, role: Role) -> Result<Api> {
        Ok(self.api_with(&self.api().link(repl, role).await?.token))
    }

    /// The port it listens on, the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Process id of the server itself.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone()
    }

    /// Its blob store's address.
    pub fn blob_store(&self) -> String {
        self.options
            .blob_store
            .clone()
            .unwrap_or_else(|| format!("file://{}", self.folder.path().join("blobs").display()))
    }

    /// Changes what the next start will differ in.
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Its last lines of output.
    pub fn log(&self) -> String {
        let lines = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("  {line}\n")).collect()
    }

    /// Ends the server as a power cut ends its process.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the server is not running")?;
        signal(self.pid, Signal::KILL)?;
        // The launcher, where there is one, ends when its server is gone.
        within("the killed server's end", START, async { Ok(child.wait().await?) }).await?;
        Ok(())
    }

    /// Stops the server's process where it is, as a suspended virtual machine does. Its sockets
    /// stay open and nobody answers.
    ///
    /// # Errors
    /// When it is not running.
    pub fn pause(&self) -> Result<()> {
        signal(self.pid, Signal::STOP)
    }

    /// Lets a paused server go on.
    ///
    /// # Errors
    /// When it is not running.
    pub fn resume(&self) -> Result<()> {
        signal(self.pid, Signal::CONT)
    }

    /// Stops the server in good order with SIGTERM.
    ///
    /// # Errors
    /// When it is not running or does not end.
    pub async fn stop(&mut self) -> Result<Stopped> {
        let mut child = self.child.take().context("the server is not running")?;
        let started = child.id().context("the server has ended by itself")?;
        signal(i32::try_from(started)?, Signal::TERM)?;
        let ended = within("a stop in good order", START, async { Ok(child.wait().await?) }).await;
        match ended {
            Ok(status) => Ok(Stopped { code: status.code() }),
            Err(error) => Err(error.context(format!("tandem said:\n{}", self.log()))),
        }
    }

    /// Stops the server for an update, with SIGUSR2: its sandboxes go on.
    ///
    /// # Errors
    /// When it is not running or does not end.
    pub async fn stop_for_update(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the server is not running")?;
        signal(self.pid, Signal::USR2)?;
        within("a stop for an update", START, async { Ok(child.wait().await?) }).await?;
        Ok(())
    }

    /// Lets it do nothing until [`Server::thaw`], as a paused machine does.
    ///
    /// # Errors
    /// When it is gone.
    pub fn freeze(&self) -> Result<()> {
        signal(self.pid, Signal::STOP)
    }

    /// See [`Server::freeze`].
    ///
    /// # Errors
    /// When it is gone.
    pub fn thaw(&self) -> Result<()> {
        signal(self.pid, Signal::CONT)
    }

    /// Loses the machine of a killed or stopped server: its sandboxes and its data directory are
    /// gone, the blob store stays.
    ///
    /// # Errors
    /// When it runs or something is left.
    pub async fn lose(&mut self) -> Result<()> {
        let sandboxes = sandbox_ids(&self.data_dir().join("sandboxes"));
        self.kill_sandboxes()?;
        eventually("no process of these sandboxes is left", START, || {
            let gone = !sandboxes.iter().any(|sandbox| has_processes(sandbox));
            async move { Ok(gone.then_some(())) }
        })
        .await?;
        self.wipe_data_dir()
    }

    /// Starts a killed or stopped server again, on the same port and folders.
    ///
    /// # Errors
    /// See [`Server::start`].
    pub async fn restart(&mut self) -> Result<()> {
        if self.child.is_some() {
            bail!("the server still runs");
        }
        self.spawn().await
    }

    /// Loses the machine: the data directory of a killed or stopped server is gone, the blob store
    /// stays. The next start is another server to the blob store, and takes over at once.
    ///
    /// # Errors
    /// When the server runs or the folder cannot be removed.
    pub fn wipe_data_dir(&mut self) -> Result<()> {
        if self.child.is_some() {
            bail!("the server still runs");
        }
        let take_over = "--take-over".to_owned();
        if !self.options.args.contains(&take_over) {
            self.options.args.push(take_over);
        }
        std::fs::remove_dir_all(self.data_dir()).context("remove the data directory")
    }

    /// Kills what a killed server left running in its sandboxes, as the loss of the machine does.
    ///
    /// # Errors
    /// When the server runs.
    pub fn kill_sandboxes(&self) -> Result<()> {
        if self.child.is_some() {
            bail!("the server still runs");
        }
        for sandbox in sandbox_ids(&self.data_dir().join("sandboxes")) {
            for pid in processes_of(&sandbox) {
                // It may have ended together with its init.
                let _ = signal(pid, Signal::KILL);
            }
        }
        Ok(())
    }

    /// Files of the local blob store under a prefix.
    ///
    /// # Errors
    /// When the store is not a folder, or cannot be listed.
    pub fn stored(&self, prefix: &str) -> Result<Vec<PathBuf>> {
        let url = self.blob_store();
        let root = url.strip_prefix("file://").context("the blob store is no folder")?;
        let mut files = Vec::new();
        let mut open = vec![Path::new(root).join(prefix)];
        while let Some(folder) = open.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries {
                let path = entry?.path();
                if path.is_dir() { open.push(path) } else { files.push(path) }
            }
        }
        Ok(files)
    }

    /// Waits until no process and no file of any sandbox of this server is left.
    ///
    /// # Errors
    /// After the limit.
    pub async fn no_sandboxes(&self, limit: Duration) -> Result<()> {
        let sandboxes = self.data_dir().join("sandboxes");
        let mut known = sandbox_ids(&sandboxes);
        eventually("no sandbox of this server is left", limit, || {
            let left = sandbox_ids(&sandboxes);
            known.extend(left.iter().cloned());
            let gone = left.is_empty() && !known.iter().any(|sandbox| has_processes(sandbox));
            async move { Ok(gone.then_some(())) }
        })
        .await
    }
}

/// Names of the folders that the launcher keeps for sandboxes.
fn sandbox_ids(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Whether any process has this sandbox's id in its environment, as all inside have.
fn has_processes(sandbox: &str) -> bool {
    !processes_of(sandbox).is_empty()
}

fn processes_of(sandbox: &str) -> Vec<i32> {
    let wanted = format!("TANDEM_SANDBOX={sandbox}").into_bytes();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_inside = |folder: &Path| {
        std::fs::read(folder.join("environ"))
            .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|it| it == wanted))
    };
    processes
        .filter(|process| is_inside(&process.path()))
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .collect()
}

fn signal(pid: i32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(pid).context("a process id is positive")?;
    kill_process(pid, signal).context("signal the server")
}

/// Where what the server says is kept.
struct Log {
    last: Arc<Mutex<VecDeque<String>>>,
    file: Option<PathBuf>,
}

impl Log {
    fn add(&self, line: String) {
        if let Some(file) = &self.file
            && let Ok(mut file) = std::fs::OpenOptions::new().append(true).create(true).open(file)
        {
            // A full disk must not end the test that looks for what happens then.
            let _ = writeln!(file, "{line}");
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == LOG_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
}

/// Keeps the last lines, and sends the port once the server says that it listens.
async fn read_lines(
    stream: impl AsyncRead + Unpin,
    log: Log,
    said_port: Option<tokio::sync::mpsc::Sender<u16>>,
) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(said_port) = &said_port
            && let Some(address) = line.trim().strip_prefix("listening on http://")
            && let Some(port) =
                address.rsplit(':').next().and_then(|port| port.trim_end_matches('/').parse().ok())
        {
            // Only the first such line is waited for.
            let _ = said_port.try_send(port);
        }
        log.add(line);
    }
}

impl Drop for Server {
    /// In good order, so that no sandbox is left behind.
    fn drop(&mut self) {
        // The test runner shows this only when the test fails.
        eprintln!("the server on port {} said:\n{}", self.port, self.log());
        let Some(mut child) = self.child.take() else { return };
        let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else { return };
        let _ = signal(pid, Signal::TERM);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(8) {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
