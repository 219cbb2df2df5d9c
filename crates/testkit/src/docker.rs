//! A real Docker daemon of our own, beside any other: its own socket and state, no network and no
//! firewall rule, and one image made without a registry.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::process;

/// The image's name.
pub const IMAGE: &str = "tandem-test";
/// Who may use the socket besides root: a group that nobody is in.
const GROUP: u32 = 199_997;
/// A loaded machine starts a daemon in many seconds.
const START_LIMIT: Duration = Duration::from_secs(60);
const END_LIMIT: Duration = Duration::from_secs(30);

/// The daemon; ends when dropped, and when the thread that started it ends.
pub struct DockerDaemon {
    folder: TempDir,
    flags: Vec<String>,
    child: Option<Child>,
}

impl DockerDaemon {
    /// Why no daemon can be started here; `None` when one can.
    pub fn missing() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("a Docker daemon of the tests' own needs root".to_owned());
        }
        if dockerd().is_none() {
            return Some("dockerd is not installed (Debian: apt-get install docker.io)".to_owned());
        }
        match image_tar() {
            tar if tar.is_file() => None,
            tar => Some(format!("{} is missing: run scripts/get-image.sh test", tar.display())),
        }
    }

    /// Starts it with the image in it. `flags` go to dockerd.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(flags: &[&str]) -> Result<Self> {
        // Short: the sockets below it have long names.
        let folder = tempfile::Builder::new().prefix("td-").tempdir_in("/tmp")?;
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        fs::write(folder.path().join("daemon.json"), "{}")?;
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut daemon = Self { folder, flags, child: None };
        daemon.restart()?;
        daemon.import_image()?;
        Ok(daemon)
    }

    /// `--docker-socket`.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// Ends it as a crash does. Containers go on until the next one starts, or longer.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the Docker daemon does not run")?;
        child.kill().context("kill the Docker daemon")?;
        child.wait().context("wait for the Docker daemon")?;
        // Its containerd is killed with it, a moment later; a daemon that starts meanwhile takes
        // it for living.
        let file = self.folder.path().join("run/containerd/containerd.pid");
        let Ok(pid) = fs::read_to_string(&file) else { return Ok(()) };
        let deadline = Instant::now() + END_LIMIT;
        while fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
            .is_ok_and(|stat| !stat.contains(") Z "))
        {
            ensure!(Instant::now() < deadline, "the daemon's containerd does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        fs::remove_file(file)?;
        Ok(())
    }

    /// Asks it to end and waits; without live-restore its containers end, too.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.context("a pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let deadline = Instant::now() + END_LIMIT;
        while child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                bail!("the Docker daemon did not end by itself");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Starts it, again.
    ///
    /// # Errors
    /// When it does not answer in time; its log says why.
    pub fn restart(&mut self) -> Result<()> {
        let at = |name: &str| self.folder.path().join(name);
        let option = |name: &str, value: &Path| format!("--{name}={}", value.display());
        let log = fs::OpenOptions::new().create(true).append(true).open(at("log"))?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(dockerd().context("dockerd is not installed")?)
            .arg(format!("--host=unix://{}", self.socket().display()))
            .arg(option("data-root", &at("data")))
            .arg(option("exec-root", &at("run")))
            .arg(option("pidfile", &at("pid")))
            .arg(option("config-file", &at("daemon.json")))
            .arg(format!("--group={GROUP}"))
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .args(["--ip-forward=false", "--ip-masq=false"])
            .args(["--log-level=warn", "--shutdown-timeout=3"])
            .args(&self.flags)
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start dockerd")?;
        self.child = Some(child);
        let deadline = Instant::now() + START_LIMIT;
        while self.call("GET", "/_ping", None).is_err() {
            let has_ended =
                self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))));
            if has_ended || Instant::now() > deadline {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                bail!("the Docker daemon does not answer:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Puts the image in.
    ///
    /// # Errors
    /// When the daemon refuses.
    pub fn import_image(&self) -> Result<()> {
        let tar = fs::File::open(image_tar()).context("open the image")?;
        self.call("POST", &format!("/images/create?fromSrc=-&repo={IMAGE}"), Some(tar))?;
        Ok(())
    }

    /// Takes the image's name away, as `docker rmi` does.
    ///
    /// # Errors
    /// When the daemon refuses.
    pub fn remove_image(&self) -> Result<()> {
        self.call("DELETE", &format!("/images/{IMAGE}?force=true"), None)?;
        Ok(())
    }

    /// Names of all containers.
    ///
    /// # Errors
    /// When the daemon refuses.
    pub fn containers(&self) -> Result<Vec<String>> {
        let listed = self.call("GET", "/containers/json?all=1", None)?;
        let listed: serde_json::Value = serde_json::from_slice(&listed)?;
        let names = listed.as_array().into_iter().flatten();
        Ok(names.filter_map(|one| Some(one["Names"][0].as_str()?.to_owned())).collect())
    }

    /// One request, whose answer ends with the connection.
    fn call(&self, method: &str, path: &str, body: Option<fs::File>) -> Result<Vec<u8>> {
        let mut socket = UnixStream::connect(self.socket())?;
        socket.set_read_timeout(Some(START_LIMIT))?;
        let length =
            body.as_ref().map(|body| body.metadata()).transpose()?.map_or(0, |it| it.len());
        write!(
            socket,
            "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Length: {length}\r\n\r\n"
        )?;
        if let Some(mut body) = body {
            std::io::copy(&mut body, &mut socket)?;
        }
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("an answer")?;
        let body = answer.split_off(end + 4);
        let head = String::from_utf8_lossy(&answer);
        let is_good = head.split(' ').nth(1).is_some_and(|status| status.starts_with('2'));
        ensure!(is_good, "{method} {path}: {head}{}", String::from_utf8_lossy(&body));
        Ok(body)
    }
}

impl Drop for DockerDaemon {
    fn drop(&mut self) {
        if self.child.is_none() {
            // The one that takes the crashed one's containers down with it.
            drop(self.restart());
        }
        if let Ok(names) = self.containers() {
            for name in names {
                let path = format!("/containers/{}?force=1&v=1", name.trim_start_matches('/'));
                drop(self.call("DELETE", &path, None));
            }
        }
        if let Err(error) = self.stop() {
            eprintln!("{error:#}");
        }
        // One that crashed leaves its own mounts, which would keep the folder.
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(1).map(Path::new));
        for place in places.filter(|place| place.starts_with(self.folder.path())) {
            let _ = rustix::mount::unmount(place, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

fn dockerd() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    folders.map(|folder| folder.join("dockerd")).find(|program| program.is_file())
}

/// Made by `scripts/get-image.sh test`.
fn image_tar() -> PathBuf {
    let cache = std::env::var_os("TANDEM_CACHE")
        .map_or_else(|| process::repository().join(".cache"), PathBuf::from);
    cache.join("docker/test.tar")
}
