//! The launcher's own process: one thread, root, and nothing from users to read.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::UnshareFlags;
use tandem_proto::{ReplId, SandboxId};

use super::cgroup::{self, Groups, Hierarchies};
use super::disk::Disks;
use super::message::{
    Answer, Call, Greeting, Received, Request, Response, Setup, receive, send, send_with,
};
use super::network::{self, Network};
use super::steps::{HomeSource, Stage, Steps};
use super::{LAUNCHER_STAGE, probe};
use crate::bubblewrap::BUBBLEWRAP;
use crate::bubblewrap::arguments::{Home, View};
use crate::bubblewrap::etc;
use crate::bubblewrap::find;
use crate::bubblewrap::start::{Launch, Log, Started, resource_limits};
use crate::driver::{Limits, LimitsInForce, SandboxError};
use crate::egress::GATEWAY;
use crate::os;
use crate::record::{self, Record};
use crate::seccomp::Programs;
use crate::uids::Uids;

/// How long one request waits for killed processes before it answers "not yet".
const KILL_WAIT: Duration = Duration::from_millis(200);
/// One outer bubblewrap counts as a process of the sandbox's user.
const OWN_PROCESSES: u32 = 1;

/// The launcher's state.
pub(super) struct Launcher {
    setup: Setup,
    /// The folder of all sandboxes, shown on the stage: the path to it lies in a folder that the
    /// server may change.
    sandboxes: PathBuf,
    stage: PathBuf,
    tool_sources: Vec<PathBuf>,
    etc: PathBuf,
    programs: Programs,
    hierarchies: Hierarchies,
    disks: Result<Disks, String>,
    network: Network,
    children: HashMap<SandboxId, Made>,
    uids: Uids,
}

/// A sandbox that this launcher started.
struct Made {
    outer: Child,
    log: Log,
    cgroups: Vec<PathBuf>,
}

/// Serves one server until it closes its end.
///
/// # Errors
/// When the launcher cannot be set up, or the socket fails.
pub(super) fn serve(socket: BorrowedFd<'_>) -> io::Result<()> {
    // A signal for the server's terminal is not for this process.
    let _ = rustix::process::setsid();
    let setup = match receive::<Greeting>(socket)? {
        Received::Message(Greeting::Sandboxes(setup)) => *setup,
        Received::Message(Greeting::Network(setup)) => return network::serve(socket, &setup),
        Received::Malformed(error) => return Err(io::Error::other(error)),
        Received::End => return Ok(()),
    };
    let mut launcher = match Launcher::new(setup) {
        Ok(launcher) => {
            send(socket, &Answer { id: 0, response: Response::Done })?;
            launcher
        }
        Err(error) => {
            let response = Response::Failed(error.to_string());
            send(socket, &Answer { id: 0, response })?;
            return Err(error);
        }
    };
    loop {
        let answer = match receive::<Call>(socket)? {
            Received::Message(Call { id, request: Request::Network(request) }) => {
                let (answer, descriptors) = launcher.network.answer(request);
                let answer = Answer { id, response: Response::Network(answer) };
                send_with(socket, &answer, &network::borrowed(&descriptors))?;
                continue;
            }
            Received::Message(call) => {
                Answer { id: call.id, response: launcher.answer(call.request) }
            }
            Received::Malformed(error) => {
                Answer { id: 0, response: Response::Failed(format!("not a request: {error}")) }
            }
            Received::End => return Ok(()),
        };
        send(socket, &answer)?;
    }
}

impl Launcher {
    fn new(setup: Setup) -> io::Result<Self> {
        use rustix::mount::{mount, mount_bind, mount_bind_recursive, mount_change};
        let in_step = |step: &str| {
            let step = step.to_owned();
            move |error: io::Error| io::Error::new(error.kind(), format!("cannot {step}: {error}"))
        };
        os::unshare(UnshareFlags::NEWNS).map_err(in_step("make a mount namespace"))?;
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
            .map_err(|error| in_step("make mounts private")(error.into()))?;
        let stage = PathBuf::from(LAUNCHER_STAGE);
        fs::create_dir_all(&stage).map_err(in_step("make the stage"))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("tmpfs", &stage, "tmpfs", flags, Some(c"mode=0755,size=64m"))
            .map_err(|error| in_step("mount the stage")(error.into()))?;
        Stage::new(&stage).make().map_err(in_step("make the stage"))?;
        File::create(stage.join("agent")).map_err(in_step("make the stage"))?;
        mount_bind(&setup.agent, stage.join("agent"))
            .map_err(|error| in_step("show the agent")(error.into()))?;
        let sandboxes = stage.join("sandboxes");
        show_sandboxes(&setup, &sandboxes).map_err(in_step("use the sandboxes' folder"))?;
        let images = stage.join("images");
        fs::create_dir(&images).map_err(in_step("make the stage"))?;
        let flags = flags | MountFlags::NOEXEC;
        mount("tmpfs", &images, "tmpfs", flags, Some(c"mode=0700,size=256m"))
            .map_err(|error| in_step("mount the stage")(error.into()))?;
        let mut tool_sources = Vec::new();
        for (index, root) in setup.tools.roots.iter().enumerate() {
            // Private homes are closed to the sandboxes' users, so each root is shown here.
            let at = stage.join("tools").join(index.to_string());
            fs::create_dir_all(&at).map_err(in_step("make the stage"))?;
            mount_bind_recursive(&root.source, &at)
                .map_err(|error| in_step("show a toolchain")(error.into()))?;
            tool_sources.push(at);
        }
        let etc = stage.join("etc");
        let network = Network::open(setup.egress.as_ref());
        let resolver = network.is_on().then_some(GATEWAY);
        etc::make(&etc, resolver).map_err(in_step("write /etc"))?;
        let programs = Programs::compile().map_err(io::Error::other)?;
        let disks = Disks::detect(&images, &stage.join("home"));
        let launcher = Self {
            uids: Uids::new(setup.uids),
            sandboxes,
            stage,
            tool_sources,
            etc,
            programs,
            hierarchies: Hierarchies::detect(),
            disks,
            network,
            children: HashMap::new(),
            setup,
        };
        launcher.sweep().map_err(in_step("clear the sandboxes' folder"))?;
        Ok(launcher)
    }

    /// Removes what no launcher made: it could be anything.
    fn sweep(&self) -> io::Result<()> {
        for (_, folder) in record::list(&self.sandboxes)? {
            if fs::symlink_metadata(&folder)?.uid() != 0 {
                record::remove_folder(&folder)?;
            }
        }
        Ok(())
    }

    fn answer(&mut self, request: Request) -> Response {
        let result = match request {
            Request::Prepare { sandbox } => self.prepare(sandbox).map(|()| Response::Done),
            Request::Make { sandbox, repl, limits, env } => {
                self.make(sandbox, repl, &limits, &env).map(|made| Response::Made(Box::new(made)))
            }
            Request::Kill { sandbox } => {
                self.kill(sandbox).map(|is_empty| Response::Killed { is_empty })
            }
            Request::Remove { sandbox } => self.remove(sandbox).map(|()| Response::Done),
            Request::Why { sandbox } => Ok(Response::Ended { reason: self.why(sandbox) }),
            Request::List => record::list(&self.sandboxes)
                .map(|found| Response::Listed(found.into_iter().map(|(id, _)| id).collect()))
                .map_err(SandboxError::io("cannot list the sandboxes")),
            Request::Probe => {
                let mut checks = probe::probe(&self.hierarchies, &self.disks, &self.setup.agent);
                checks.extend(self.network.check());
                Ok(Response::Probed(checks))
            }
            // Answered where descriptors can go along.
            Request::Network(_) => Err(SandboxError::Invalid("not here".into())),
        };
        match result {
            Ok(response) => response,
            Err(SandboxError::Exists) => Response::Exists,
            Err(SandboxError::Start(reason)) => Response::NotStarted(reason),
            Err(error) => Response::Failed(error.to_string()),
        }
    }

    fn folder(&self, sandbox: SandboxId) -> PathBuf {
        self.sandboxes.join(sandbox.as_str())
    }

    fn prepare(&self, sandbox: SandboxId) -> Result<(), SandboxError> {
        let folder = self.folder(sandbox);
        let make = |folder: &Path, mode| DirBuilder::new().mode(mode).create(folder);
        match make(&folder, 0o755) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(SandboxError::Exists);
            }
            made => made.map_err(SandboxError::io("cannot make the sandbox's folder"))?,
        }
        let socket = folder.join("socket");
        make(&socket, 0o711)
            .and_then(|()| chown(&socket, Some(self.setup.server_uid), Some(self.setup.server_gid)))
            .map_err(SandboxError::io("cannot make the socket's folder"))
    }

    fn make(
        &mut self,
        sandbox: SandboxId,
        repl: ReplId,
        limits: &Limits,
        env: &[(String, String)],
    ) -> Result<Record, SandboxError> {
        check_limits(limits)?;
        find::check_environment(env)?;
        let folder = self.folder(sandbox);
        if Record::load(&folder).is_some() || !folder.is_dir() {
            return Err(SandboxError::Invalid("it was not prepared".into()));
        }
        let uid = self.uids.free()?;
        let groups = self
            .hierarchies
            .make(sandbox, limits)
            .map_err(SandboxError::io("cannot make the control groups"))?;
        let cgroups = groups.folders.clone();
        match self.start(Fresh { sandbox, repl, limits, env, folder: &folder, uid }, groups) {
            Ok((record, started)) => {
                let Started { outer, log, .. } = started;
                self.children.insert(sandbox, Made { outer, log, cgroups });
                Ok(record)
            }
            Err(error) => {
                // Whatever was started already; the server's Kill and Remove follow.
                cgroup::kill(&cgroups);
                cgroup::remove(&cgroups);
                Err(error)
            }
        }
    }

    fn start(
        &mut self,
        fresh: Fresh<'_>,
        groups: Groups,
    ) -> Result<(Record, Started), SandboxError> {
        let Fresh { sandbox, repl, limits, env, folder, uid } = fresh;
        let (home, disk) = self.home(folder, limits, uid)?;
        let has_quota = disk.is_some();
        let stage = Stage::new(&self.stage);
        let seccomp = self
            .programs
            .descriptors()
            .map_err(SandboxError::io("cannot prepare the system call filter"))?;
        let launch = Launch::new(&self.setup.bubblewrap, seccomp)
            .map_err(SandboxError::io("cannot prepare the start"))?;
        let arguments = launch.arguments(|seccomp, info| {
            View {
                sandbox,
                agent: &self.stage.join("agent"),
                socket_folder: &stage.socket,
                home: &Home::Folder(stage.home.clone()),
                etc: &self.etc,
                tools: &self.setup.tools,
                tool_sources: Some(&self.tool_sources),
                terminals: Some(&stage.terminals),
                has_network: true,
                process_limit: None,
                env,
                seccomp,
                info,
            }
            .arguments()
        });
        let steps = Steps {
            uid,
            cgroups: groups.folders.clone(),
            stage,
            socket_folder: folder.join("socket"),
            home,
            terminals: limits.ptys,
            limits: resource_limits(limits, Some(limits.processes + OWN_PROCESSES)),
        };
        let started = launch.start(&arguments, move || steps.run())?;
        drop(disk);
        let in_force = LimitsInForce {
            processes: true,
            disk: has_quota,
            inodes: has_quota,
            ptys: true,
            own_uid: true,
            own_network: true,
            ..groups.in_force
        };
        let mut record =
            Record::of(sandbox, repl, BUBBLEWRAP).started(started.agent, uid, in_force);
        record.cgroups = groups.folders;
        if let Err(error) = record.save(folder) {
            // Without a record nobody would find it again.
            let _ = started.agent.kill();
            return Err(SandboxError::io("cannot record the sandbox")(error));
        }
        Ok((record, started))
    }

    /// The home folder's source, and its disk image where this machine can have one.
    fn home(
        &mut self,
        folder: &Path,
        limits: &Limits,
        uid: u32,
    ) -> Result<(HomeSource, Option<super::disk::Disk>), SandboxError> {
        if let Ok(disks) = &mut self.disks {
            let disk = disks
                .make(&folder.join("home.img"), limits)
                .map_err(SandboxError::io("cannot make the disk image"))?;
            return Ok((HomeSource::Device(disk.device_path.clone()), Some(disk)));
        }
        let home = folder.join("home");
        DirBuilder::new()
            .mode(0o700)
            .create(&home)
            .and_then(|()| chown(&home, Some(uid), Some(uid)))
            .map_err(SandboxError::io("cannot make the home folder"))?;
        Ok((HomeSource::Folder(home), None))
    }

    fn cgroups(&self, sandbox: SandboxId) -> Vec<PathBuf> {
        match self.children.get(&sandbox) {
            Some(made) => made.cgroups.clone(),
            None => Record::load(&self.folder(sandbox)).map(|r| r.cgroups).unwrap_or_default(),
        }
    }

    fn kill(&mut self, sandbox: SandboxId) -> Result<bool, SandboxError> {
        let record = Record::load(&self.folder(sandbox));
        let cgroups = self.cgroups(sandbox);
        let alive = record.filter(Record::is_alive);
        if let Some(record) = &alive {
            record.agent.kill().map_err(SandboxError::io("cannot kill the sandbox"))?;
        }
        let deadline = Instant::now() + KILL_WAIT;
        loop {
            cgroup::kill(&cgroups);
            if let Some(made) = self.children.get_mut(&sandbox) {
                let _ = made.outer.try_wait();
            }
            let is_gone = alive.as_ref().is_none_or(|record| !record.is_alive());
            if is_gone && cgroup::are_empty(&cgroups) {
                return Ok(true);
            }
            if Instant::now() > deadline {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn remove(&mut self, sandbox: SandboxId) -> Result<(), SandboxError> {
        let folder = self.folder(sandbox);
        if Record::load(&folder).is_some_and(|record| record.is_alive()) {
            return Err(SandboxError::Invalid("it still runs".into()));
        }
        self.network.forget(sandbox);
        cgroup::remove(&self.cgroups(sandbox));
        if let Some(mut made) = self.children.remove(&sandbox) {
            // The agent is gone, so bubblewrap ends by itself at once.
            let _ = made.outer.wait();
        }
        record::remove_folder(&folder)
            .map_err(SandboxError::io("cannot remove the sandbox's files"))
    }

    fn why(&mut self, sandbox: SandboxId) -> String {
        let out_of_memory = cgroup::ran_out_of_memory(&self.cgroups(sandbox));
        let memory = if out_of_memory { "it ran out of memory; " } else { "" };
        let Some(made) = self.children.get_mut(&sandbox) else {
            return format!("{memory}its agent ended");
        };
        let how = match made.outer.try_wait() {
            Ok(Some(status)) => format!("{memory}its agent ended ({status})"),
            _ => format!("{memory}its agent ended"),
        };
        match made.log.tail() {
            said if said.is_empty() => how,
            said => format!("{how}: {said}"),
        }
    }
}

/// A sandbox about to be started.
#[derive(Clone, Copy)]
struct Fresh<'a> {
    sandbox: SandboxId,
    repl: ReplId,
    limits: &'a Limits,
    env: &'a [(String, String)],
    folder: &'a Path,
    uid: u32,
}

/// The server is not root, so what it asks for is bounded.
fn check_limits(limits: &Limits) -> Result<(), SandboxError> {
    let within = (16 << 20..=1 << 50).contains(&limits.memory_bytes)
        && (4..=32_768).contains(&limits.processes)
        && (1..=1_000_000).contains(&limits.cpu_percent)
        && (16 << 20..=1 << 44).contains(&limits.disk_bytes)
        && (64..=100_000_000).contains(&limits.inodes)
        && (1..=4_096).contains(&limits.ptys);
    if within { Ok(()) } else { Err(SandboxError::Invalid("its limits are out of bounds".into())) }
}

/// Makes the folder of all sandboxes root's own and shows it at `at`, whatever the server makes
/// of the path to it.
fn show_sandboxes(setup: &Setup, at: &Path) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let data_dir = rustix::fs::open(&setup.data_dir, flags, Mode::empty())?;
    match rustix::fs::mkdirat(&data_dir, "sandboxes", Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let folder = rustix::fs::openat(&data_dir, "sandboxes", flags, Mode::empty())?;
    rustix::fs::fchown(&folder, Some(rustix::fs::Uid::ROOT), Some(rustix::fs::Gid::ROOT))?;
    rustix::fs::fchmod(&folder, Mode::from_raw_mode(0o755))?;
    fs::create_dir(at)?;
    rustix::mount::mount_bind(format!("/proc/self/fd/{}", folder.as_raw_fd()), at)?;
    Ok(())
}
