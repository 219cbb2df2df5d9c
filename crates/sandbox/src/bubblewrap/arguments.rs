//! The command line of bubblewrap: what a sandbox sees.

use std::ffi::OsString;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tandem_proto::SandboxId;
use tandem_proto::agent::{HOME, SOCKET_DIR, WORKSPACE};

use super::tools::Tools;
use crate::inside::{
    AGENT, HOST_NAME, MASKED, RUN_BYTES, SHM_BYTES, TMP_BYTES, path_variable, variables,
};

/// The user and group inside.
pub(crate) const UID_INSIDE: u32 = 1000;

/// Where the home folder comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Home {
    /// A folder (on an image of its own, or not).
    Folder(PathBuf),
    /// Memory of this size.
    Memory(u64),
}

/// A sandbox to be described. All paths are as bubblewrap sees them when it starts.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) sandbox: SandboxId,
    pub(crate) agent: &'a Path,
    pub(crate) socket_folder: &'a Path,
    pub(crate) home: &'a Home,
    /// See [`super::etc`].
    pub(crate) etc: &'a Path,
    pub(crate) tools: &'a Tools,
    /// Where the tool roots are, when not at their sources.
    pub(crate) tool_sources: Option<&'a [PathBuf]>,
    /// A devpts of its own with a bounded number of terminals.
    pub(crate) terminals: Option<&'a Path>,
    /// It is started in a network namespace of its own already.
    pub(crate) has_network: bool,
    /// Set a limit of processes inside, where only the sandbox's own are counted.
    pub(crate) process_limit: Option<(&'a Path, u32)>,
    pub(crate) env: &'a [(String, String)],
    pub(crate) seccomp: &'a [BorrowedFd<'a>],
    pub(crate) info: BorrowedFd<'a>,
}

impl View<'_> {
    /// The arguments, the agent's command at their end.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut line = Line::default();
        let uid = UID_INSIDE.to_string();
        line.add(&["--unshare-user", "--uid", &uid, "--gid", &uid, "--disable-userns"]);
        line.add(&["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]);
        if !self.has_network {
            line.add(&["--unshare-net"]);
        }
        line.add(&["--hostname", HOST_NAME, "--new-session", "--as-pid-1", "--cap-drop", "ALL"]);
        self.system(&mut line);
        self.kernel(&mut line);
        self.memory(&mut line);
        line.bind("--ro-bind", self.agent, Path::new(AGENT));
        line.bind("--ro-bind", self.socket_folder, Path::new(SOCKET_DIR));
        line.add(&["--remount-ro", "/run"]);
        match self.home {
            Home::Folder(folder) => line.bind("--bind", folder, Path::new(HOME)),
            Home::Memory(bytes) => line.memory("0755", *bytes, HOME),
        }
        line.add(&["--dir", WORKSPACE, "--chdir", WORKSPACE]);
        self.environment(&mut line);
        line.add(&["--info-fd", &self.info.as_raw_fd().to_string()]);
        for program in self.seccomp {
            line.add(&["--add-seccomp-fd", &program.as_raw_fd().to_string()]);
        }
        line.add(&["--remount-ro", "/", "--"]);
        if let Some((program, processes)) = self.process_limit {
            line.0.push(program.into());
            line.add(&[&format!("--nproc={processes}:{processes}"), "--"]);
        }
        line.add(&[AGENT]);
        line.0
    }

    /// Programs and their configuration.
    fn system(&self, line: &mut Line) {
        line.bind("--ro-bind", Path::new("/usr"), Path::new("/usr"));
        for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
            let at = Path::new("/").join(name);
            match std::fs::read_link(&at) {
                Ok(target) => {
                    line.add(&["--symlink"]);
                    line.0.push(target.into());
                    line.0.push(at.into());
                }
                Err(_) if at.is_dir() => line.bind("--ro-bind", &at, &at),
                Err(_) => {}
            }
        }
        for (index, root) in self.tools.roots.iter().enumerate() {
            let moved = self.tool_sources.and_then(|sources| sources.get(index));
            line.bind("--ro-bind", moved.unwrap_or(&root.source), &root.target);
        }
        line.bind("--ro-bind", self.etc, Path::new("/etc"));
    }

    /// `/proc` and `/dev`.
    fn kernel(&self, line: &mut Line) {
        line.add(&["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"]);
        for name in MASKED {
            let at = Path::new("/proc").join(name);
            // Root's alone are closed already: nobody inside is the host's root.
            let is_open = at.metadata().is_ok_and(|found| found.permissions().mode() & 0o007 != 0);
            if is_open {
                line.bind("--ro-bind", Path::new("/dev/null"), &at);
            }
        }
        line.add(&["--dev", "/dev"]);
        if let Some(terminals) = self.terminals {
            line.bind("--dev-bind", terminals, Path::new("/dev/pts"));
        }
        line.memory("1777", SHM_BYTES, "/dev/shm");
        line.add(&["--remount-ro", "/dev"]);
    }

    /// Places in memory, each with a size; they count as the sandbox's memory.
    fn memory(&self, line: &mut Line) {
        line.memory("1777", TMP_BYTES, "/tmp");
        line.add(&["--symlink", "/tmp", "/var/tmp"]);
        line.memory("0755", RUN_BYTES, "/run");
    }

    fn environment(&self, line: &mut Line) {
        line.add(&["--clearenv"]);
        line.set("PATH", path_variable(&self.tools.path_variable()));
        for (name, value) in variables(self.sandbox) {
            line.set(name, value);
        }
        for (name, value) in self.env {
            line.set(name, value);
        }
    }
}

#[derive(Default)]
struct Line(Vec<OsString>);

impl Line {
    fn add(&mut self, arguments: &[&str]) {
        self.0.extend(arguments.iter().map(OsString::from));
    }

    fn bind(&mut self, how: &str, from: &Path, to: &Path) {
        self.0.extend([how.into(), from.into(), to.into()]);
    }

    fn memory(&mut self, mode: &str, bytes: u64, at: &str) {
        self.add(&["--perms", mode, "--size", &bytes.to_string(), "--tmpfs", at]);
    }

    fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.extend(["--setenv".into(), name.into(), value.into()]);
    }
}
