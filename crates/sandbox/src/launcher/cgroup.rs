//! Control groups, version 2 where it is delegated, else version 1: what limits memory,
//! processes and CPU time of a whole sandbox.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tandem_proto::SandboxId;

use crate::driver::{Limits, LimitsInForce};
use crate::identity;

/// The group that holds all sandboxes.
const GROUP: &str = "tandem";
/// bubblewrap's outer process and one that it forks belong to the group but not to the user.
const OWN_PROCESSES: u32 = 2;
const PERIOD_US: u64 = 100_000;
const MIN_QUOTA_US: u64 = 1_000;

/// The hierarchies in which groups can be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hierarchies {
    /// Where `sandboxes` groups go, with which controllers.
    bases: Vec<Base>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Base {
    folder: PathBuf,
    version: Version,
    memory: bool,
    pids: bool,
    cpu: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The groups of one sandbox.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) folders: Vec<PathBuf>,
    pub(super) in_force: LimitsInForce,
}

impl Hierarchies {
    /// Finds what this process may use.
    pub(super) fn detect() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::from_texts(&mounts, &own)
    }

    fn from_texts(mounts: &str, own: &str) -> Self {
        let mut bases = Vec::new();
        for line in mounts.lines() {
            let mut fields = line.split(' ').skip(1);
            let (Some(at), Some(kind), Some(options)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let at = Path::new(at);
            match kind {
                "cgroup2" => bases.extend(version_two(at, own)),
                "cgroup" => bases.extend(version_one(at, options, own)),
                _ => {}
            }
        }
        // The second version has everything in one place; a mixed set would count twice.
        if let Some(two) = bases.iter().position(|base| base.version == Version::Two) {
            bases = vec![bases.swap_remove(two)];
        }
        Self { bases }
    }

    /// What was found, in words; `None` when nothing was.
    pub(super) fn describe(&self) -> Option<String> {
        let folder = |base: &Base| base.folder.display().to_string();
        let all: Vec<String> = self.bases.iter().map(folder).collect();
        let version = match self.bases.first()?.version {
            Version::One => "version 1",
            Version::Two => "version 2",
        };
        Some(format!("{version}: {}", all.join(", ")))
    }

    /// Makes a sandbox's groups with its limits. What cannot be limited is not claimed to be.
    pub(super) fn make(&self, sandbox: SandboxId, limits: &Limits) -> io::Result<Groups> {
        let mut groups = Groups::default();
        for base in &self.bases {
            let folder = base.folder.join(sandbox.as_str());
            match fs::create_dir(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    remove(&groups.folders);
                    return Err(error);
                }
                _ => {}
            }
            groups.folders.push(folder.clone());
            let force = &mut groups.in_force;
            force.memory |= base.memory && base.limit_memory(&folder, limits.memory_bytes);
            force.processes |=
                base.pids && set(&folder, "pids.max", u64::from(limits.processes + OWN_PROCESSES));
            force.cpu |= base.cpu && base.limit_cpu(&folder, limits.cpu_percent);
        }
        Ok(groups)
    }
}

impl Base {
    fn limit_memory(&self, folder: &Path, bytes: u64) -> bool {
        match self.version {
            Version::Two => {
                // Absent where the kernel does not account swap.
                set(folder, "memory.swap.max", 0);
                set(folder, "memory.max", bytes)
            }
            Version::One => {
                let limited = set(folder, "memory.limit_in_bytes", bytes);
                set(folder, "memory.memsw.limit_in_bytes", bytes);
                limited
            }
        }
    }

    fn limit_cpu(&self, folder: &Path, percent: u32) -> bool {
        let quota = (u64::from(percent) * PERIOD_US / 100).max(MIN_QUOTA_US);
        match self.version {
            Version::Two => {
                fs::write(folder.join("cpu.max"), format!("{quota} {PERIOD_US}")).is_ok()
            }
            Version::One => {
                set(folder, "cpu.cfs_period_us", PERIOD_US)
                    && set(folder, "cpu.cfs_quota_us", quota)
            }
        }
    }
}

/// A controller's hierarchy, with a group of ours in it.
fn version_one(at: &Path, options: &str, own: &str) -> Option<Base> {
    let controllers: Vec<&str> = options.split(',').collect();
    let has = |name: &str| controllers.contains(&name);
    let (memory, pids, cpu) = (has("memory"), has("pids"), has("cpu"));
    if !(memory || pids || cpu) {
        return None;
    }
    // Below our own group, so that what limits the server limits the sandboxes too.
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let names = fields.next()?;
        let path = fields.next()?;
        names.split(',').any(|name| controllers.contains(&name) && !name.is_empty()).then_some(path)
    });
    let own = at.join(path.unwrap_or("/").trim_start_matches('/'));
    // A container may see its own path but not have it.
    let own = if own.is_dir() { own } else { at.to_owned() };
    let folder = own.join(GROUP);
    make_group(&folder).then_some(Base { folder, version: Version::One, memory, pids, cpu })
}

/// The unified hierarchy, if its controllers can be had.
fn version_two(at: &Path, own: &str) -> Option<Base> {
    let has_controllers = |folder: &Path| {
        let found = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
        found.split_whitespace().any(|name| name == "memory" || name == "pids")
    };
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let own = at.join(path.trim_start_matches('/'));
    // The top of the hierarchy may hold processes and hand out controllers at the same time;
    // our own group may do so only when the processes in it move to a leaf.
    let base = [at.to_owned(), own].into_iter().find_map(|parent| {
        if !has_controllers(&parent) {
            return None;
        }
        if !enable(&parent) {
            move_to_leaf(&parent).then(|| enable(&parent)).filter(|enabled| *enabled)?;
        }
        let folder = parent.join(GROUP);
        (make_group(&folder) && enable(&folder)).then_some(folder)
    })?;
    let given = fs::read_to_string(base.join("cgroup.subtree_control")).unwrap_or_default();
    let has = |name: &str| given.split_whitespace().any(|given| given == name);
    Some(Base {
        version: Version::Two,
        memory: has("memory"),
        pids: has("pids"),
        cpu: has("cpu"),
        folder: base,
    })
}

/// Hands the controllers of a group to its children.
fn enable(group: &Path) -> bool {
    // One by one: a kernel without one of them still gives the others.
    for controller in ["+memory", "+pids", "+cpu"] {
        let _ = fs::write(group.join("cgroup.subtree_control"), controller);
    }
    let given = fs::read_to_string(group.join("cgroup.subtree_control")).unwrap_or_default();
    given.contains("memory") || given.contains("pids")
}

/// Moves this process and the server, whose group it is, out of the way.
fn move_to_leaf(group: &Path) -> bool {
    let leaf = group.join("tandem-server");
    if !make_group(&leaf) {
        return false;
    }
    let server = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    let own = Some(rustix::process::getpid().as_raw_nonzero().get());
    [server, own]
        .into_iter()
        .flatten()
        .all(|pid| fs::write(leaf.join("cgroup.procs"), pid.to_string()).is_ok())
}

fn make_group(folder: &Path) -> bool {
    match fs::create_dir(folder) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir(),
    }
}

/// Sets a limit and looks whether it holds (a kernel rounds to pages).
fn set(folder: &Path, name: &str, value: u64) -> bool {
    let file = folder.join(name);
    if fs::write(&file, value.to_string()).is_err() {
        return false;
    }
    let read: Option<u64> =
        fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
    read.is_some_and(|read| read.abs_diff(value) < 1 << 16)
}

/// Puts the calling process, which must have one thread, into groups. Only system calls and small
/// allocations.
pub(super) fn join(folders: &[PathBuf]) -> io::Result<()> {
    for folder in folders {
        // By thread where the kernel lets one (version 1): moving a whole process waits until no
        // process of the machine is between fork and exec, 5 to 20 ms on an idle one.
        let by_thread = fs::OpenOptions::new().write(true).open(folder.join("tasks"));
        match by_thread.and_then(|mut tasks| io::Write::write_all(&mut tasks, b"0")) {
            Ok(()) => {}
            Err(_) => fs::write(folder.join("cgroup.procs"), "0")?,
        }
    }
    Ok(())
}

/// Kills what is in the groups: at once where the kernel offers it, else one by one. Nothing in
/// a sandbox can leave its groups.
pub(super) fn kill(folders: &[PathBuf]) {
    for folder in folders {
        if fs::write(folder.join("cgroup.kill"), "1").is_ok() {
            continue;
        }
        let members = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        for pid in members.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// Whether no process is in any of the groups (or they do not exist).
pub(super) fn are_empty(folders: &[PathBuf]) -> bool {
    // A zombie is dead: whoever has to reap it may take seconds (a container's first process), and
    // it holds nothing any more.
    let runs = |pid: &str| pid.parse().is_ok_and(identity::runs);
    folders.iter().all(|folder| {
        fs::read_to_string(folder.join("cgroup.procs")).is_ok_and(|text| !text.lines().any(runs))
            || !folder.exists()
    })
}

/// Whether the memory limit killed a process of the groups.
pub(super) fn ran_out_of_memory(folders: &[PathBuf]) -> bool {
    let mut files = folders
        .iter()
        .flat_map(|folder| ["memory.events", "memory.oom_control"].map(|name| folder.join(name)));
    files.any(|file| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let killed = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        killed.and_then(|count| count.trim().parse::<u64>().ok()).is_some_and(|count| count > 0)
    })
}

/// Removes empty groups; a group lingers for a moment after its last process.
pub(super) fn remove(folders: &[PathBuf]) {
    let deadline = Instant::now() + Duration::from_millis(500);
    for folder in folders {
        while let Err(error) = fs::remove_dir(folder) {
            let is_busy = error.raw_os_error() == Some(libc::EBUSY);
            if !is_busy || Instant::now() > deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_version_is_used_where_its_controllers_are() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path();
        fs::write(at.join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        // A plain file keeps the last word written; enough to be taken for enabled.
        fs::create_dir(at.join(GROUP)).unwrap();
        fs::write(at.join(GROUP).join("cgroup.subtree_control"), "").unwrap();
        let base = version_two(at, "0::/user.slice\n");
        // "+cpu" was the last word, so neither memory nor pids seem to be there.
        assert_eq!(base, None);

        assert!(!enable(at));
        fs::write(at.join("cgroup.controllers"), "cpu\n").unwrap();
        assert_eq!(version_two(at, "0::/\n"), None);
    }

    #[test]
    fn the_first_version_is_used_below_our_own_group() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path();
        fs::create_dir_all(at.join("service/web")).unwrap();
        let base = version_one(at, "rw,relatime,memory", "4:memory:/service/web\n0::/\n").unwrap();
        assert_eq!(base.folder, at.join("service/web").join(GROUP));
        assert!(base.memory && !base.pids);
        let base = version_one(at, "rw,pids", "3:pids:/not/here\n").unwrap();
        assert_eq!(base.folder, at.join(GROUP), "a path that is not visible here");
        assert_eq!(version_one(at, "rw,freezer", "2:freezer:/\n"), None);
    }

    #[test]
    fn limits_are_claimed_only_when_they_read_back() {
        let root = tempfile::tempdir().unwrap();
        let base = Base {
            folder: root.path().to_owned(),
            version: Version::One,
            memory: true,
            pids: true,
            cpu: true,
        };
        let hierarchies = Hierarchies { bases: vec![base] };
        let sandbox = SandboxId::from_random([1; 10]);
        let groups = hierarchies.make(sandbox, &Limits::default()).unwrap();
        // Files of a plain folder keep what is written to them.
        assert!(groups.in_force.memory && groups.in_force.processes && groups.in_force.cpu);
        let folder = &groups.folders[0];
        assert_eq!(fs::read_to_string(folder.join("pids.max")).unwrap(), "258");
        assert_eq!(fs::read_to_string(folder.join("cpu.cfs_quota_us")).unwrap(), "100000");
        assert!(!ran_out_of_memory(&groups.folders));
        fs::write(folder.join("memory.oom_control"), "under_oom 0\noom_kill 3\n").unwrap();
        assert!(ran_out_of_memory(&groups.folders));
    }
}
