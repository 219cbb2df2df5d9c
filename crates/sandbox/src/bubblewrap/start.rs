//! Starting the prepared command line, and finding the agent's process.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::MemfdFlags;
use rustix::pipe::PipeFlags;
use rustix::process::{Resource, Rlimit};
use serde::Deserialize;

use crate::driver::{Limits, SandboxError};
use crate::identity::ProcessIdentity;
use crate::inside::TMP_BYTES;
use crate::os;

/// How long bubblewrap may take until the agent's process exists.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// What is shown of the output of something that failed.
const MAX_LOG_BYTES: usize = 2048;
/// What bubblewrap says about itself is about 150 bytes.
const MAX_INFO_BYTES: usize = 4096;

/// Something that runs and its output so far.
#[derive(Debug)]
pub(crate) struct Started {
    /// bubblewrap itself, outside.
    pub(crate) outer: Child,
    /// The agent.
    pub(crate) agent: ProcessIdentity,
    pub(crate) log: Log,
}

/// Standard output and error of a sandbox's first processes: in memory, which the sandbox's own
/// limits pay for.
#[derive(Debug)]
pub(crate) struct Log(File);

impl Log {
    pub(crate) fn new() -> io::Result<Self> {
        let fd = rustix::fs::memfd_create("tandem-agent-log", MemfdFlags::CLOEXEC)?;
        Ok(Self(File::from(fd)))
    }

    pub(crate) fn writer(&self) -> io::Result<Stdio> {
        Ok(self.0.try_clone()?.into())
    }

    /// The end of what was written, fit to be shown.
    pub(crate) fn tail(&self) -> String {
        let length = self.0.metadata().map(|found| found.len()).unwrap_or(0);
        let mut bytes = vec![0; MAX_LOG_BYTES];
        let from = length.saturating_sub(MAX_LOG_BYTES as u64);
        let read = self.0.read_at(&mut bytes, from).unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes[..read]);
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        text.trim().chars().map(shown).collect()
    }
}

/// A command line that is ready to be started.
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) log: Log,
    pub(crate) seccomp: Vec<OwnedFd>,
    pub(crate) info: InfoPipe,
}

/// Where bubblewrap says which process it made.
#[derive(Debug)]
pub(crate) struct InfoPipe {
    pub(crate) read: OwnedFd,
    pub(crate) write: OwnedFd,
}

impl InfoPipe {
    pub(crate) fn new() -> io::Result<Self> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self { read, write })
    }
}

/// The resource limits of every process inside. The address space is never limited: runtimes
/// reserve much more than they use.
///
/// `processes` counts all processes of the user id, so it is for a sandbox that has its own.
pub(crate) fn resource_limits(limits: &Limits, processes: Option<u32>) -> Vec<(Resource, Rlimit)> {
    let both = |value: u64| Rlimit { current: Some(value), maximum: Some(value) };
    let mut all = vec![
        (Resource::Core, both(0)),
        (Resource::Nofile, Rlimit { current: Some(1024), maximum: Some(8192) }),
        // Above every place's own size, which then says "no space"; this one ends a program
        // that makes a sparse file of a terabyte.
        (Resource::Fsize, both(limits.disk_bytes.max(TMP_BYTES).saturating_add(1 << 20))),
        (Resource::Memlock, both(64 * 1024)),
        (Resource::Msgqueue, both(0)),
    ];
    if let Some(processes) = processes {
        all.push((Resource::Nproc, both(processes.into())));
    }
    all
}

/// Lowers limits of the calling process; one that is lower already stays.
pub(crate) fn apply_resource_limits(limits: &[(Resource, Rlimit)]) -> io::Result<()> {
    for (resource, wanted) in limits {
        let now = rustix::process::getrlimit(*resource);
        let lower = |wanted: Option<u64>, now: Option<u64>| match (wanted, now) {
            (Some(wanted), Some(now)) => Some(wanted.min(now)),
            (wanted, now) => wanted.or(now),
        };
        let maximum = lower(wanted.maximum, now.maximum);
        let current = lower(wanted.current, maximum);
        rustix::process::setrlimit(*resource, Rlimit { current, maximum })?;
    }
    Ok(())
}

impl Launch {
    pub(crate) fn new(program: &Path, seccomp: Vec<OwnedFd>) -> io::Result<Self> {
        Ok(Self { program: program.to_owned(), log: Log::new()?, seccomp, info: InfoPipe::new()? })
    }

    /// Makes the arguments with this launch's descriptors.
    pub(crate) fn arguments(
        &self,
        make: impl FnOnce(&[BorrowedFd<'_>], BorrowedFd<'_>) -> Vec<OsString>,
    ) -> Vec<OsString> {
        let seccomp: Vec<_> = self.seccomp.iter().map(OwnedFd::as_fd).collect();
        make(&seccomp, self.info.write.as_fd())
    }

    /// Runs it, `prepare` in the child before descriptors are closed (see [`os::before_exec`]).
    pub(crate) fn start<F>(
        self,
        arguments: &[OsString],
        mut prepare: F,
    ) -> Result<Started, SandboxError>
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        let Self { program, log, seccomp, info } = self;
        let mut command = Command::new(&program);
        command.args(arguments).env_clear().current_dir("/").stdin(Stdio::null());
        let writer = || log.writer().map_err(SandboxError::io("cannot make the log"));
        command.stdout(writer()?).stderr(writer()?);
        let InfoPipe { read, write } = info;
        os::before_exec(&mut command, move || {
            prepare()?;
            let mut keep = [write.as_fd(); 8];
            let count = seccomp.len().min(keep.len() - 1);
            for (slot, program) in keep[1..].iter_mut().zip(&seccomp) {
                *slot = program.as_fd();
            }
            os::close_all_but(&keep[..=count])
        });
        let mut outer = command.spawn().map_err(|source| {
            SandboxError::Start(match (source.kind(), log.tail()) {
                (io::ErrorKind::NotFound, _) => {
                    format!("{} is not installed", program.display())
                }
                (_, said) if said.is_empty() => source.to_string(),
                (_, said) => format!("{said}: {source}"),
            })
        })?;
        // This end belongs to the child alone now, so that its end is noticed.
        drop(command);
        match agent_process(&read) {
            Ok(agent) => Ok(Started { outer, agent, log }),
            Err(error) => {
                // What bubblewrap made does not end with it.
                for child in children_of(outer.id()) {
                    let _ = child.kill();
                }
                let _ = outer.kill();
                let _ = outer.wait();
                let said = log.tail();
                let why = if said.is_empty() { error.to_string() } else { said };
                Err(SandboxError::Start(why))
            }
        }
    }
}

fn children_of(pid: u32) -> Vec<ProcessIdentity> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.filter_map(ProcessIdentity::of).collect()
}

/// Reads what bubblewrap says about the process it made.
fn agent_process(info: &OwnedFd) -> io::Result<ProcessIdentity> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Info {
        child_pid: i32,
    }
    let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    let deadline = Instant::now() + START_TIMEOUT;
    let mut said = Vec::new();
    let mut reader = File::from(info.try_clone()?);
    loop {
        if let Ok(info) = serde_json::from_slice::<Info>(&said) {
            return ProcessIdentity::of(info.child_pid)
                .ok_or_else(|| invalid("the sandbox ended at once"));
        }
        if said.len() > MAX_INFO_BYTES {
            return Err(invalid("bubblewrap does not say which process it made"));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| invalid("the clock is wrong"))?;
        let mut waiting = [PollFd::new(info, PollFlags::IN)];
        match rustix::event::poll(&mut waiting, Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        let mut part = [0; 512];
        let length = reader.read(&mut part)?;
        if length == 0 {
            return Err(invalid("bubblewrap ended before it started the agent"));
        }
        said.extend_from_slice(&part[..length]);
    }
}
