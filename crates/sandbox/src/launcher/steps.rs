//! What happens between fork and exec of one sandbox: everything that needs root, and then the
//! loss of it.
//!
//! The launcher has one thread, so these steps may allocate. What fails is named on standard
//! error, which is the sandbox's log, because only an error number survives the way back.

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
use rustix::process::{Gid, Resource, Rlimit, Uid};
use rustix::thread::UnshareFlags;

use super::{cgroup, disk};
use crate::bubblewrap::start::apply_resource_limits;
use crate::inside::{LOWEST_PORT, OOM_SCORE};
use crate::os;

/// Where things are put in the mount namespace of one sandbox, as bubblewrap finds them.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    pub(super) socket: PathBuf,
    pub(super) home: PathBuf,
    pub(super) terminals: PathBuf,
}

impl Stage {
    pub(super) fn new(stage: &Path) -> Self {
        let at = |name: &str| stage.join(name);
        Self { socket: at("socket"), home: at("home"), terminals: at("terminals") }
    }

    pub(super) fn make(&self) -> io::Result<()> {
        [&self.socket, &self.home, &self.terminals].into_iter().try_for_each(fs::create_dir)
    }
}

/// Where the home folder comes from.
#[derive(Debug)]
pub(super) enum HomeSource {
    /// A block device with a filesystem.
    Device(PathBuf),
    /// A folder on the server's own filesystem.
    Folder(PathBuf),
}

/// Everything that is done for one sandbox.
#[derive(Debug)]
pub(super) struct Steps {
    pub(super) uid: u32,
    pub(super) cgroups: Vec<PathBuf>,
    pub(super) stage: Stage,
    pub(super) socket_folder: PathBuf,
    pub(super) home: HomeSource,
    pub(super) terminals: u32,
    pub(super) limits: Vec<(Resource, Rlimit)>,
}

impl Steps {
    pub(super) fn run(&self) -> io::Result<()> {
        named("join the control groups", cgroup::join(&self.cgroups))?;
        named("make namespaces", os::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWNET))?;
        named("set up the network", self.network())?;
        named("set up the file systems", self.mounts())?;
        named("set resource limits", apply_resource_limits(&self.limits))?;
        // Some systems keep it from being changed; the limits of the groups hold all the same.
        let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE.to_string());
        named("become the sandbox's user", become_user(self.uid, self.uid, &[]))
    }

    fn network(&self) -> io::Result<()> {
        fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", LOWEST_PORT)?;
        loopback_up()
    }

    fn mounts(&self) -> io::Result<()> {
        use rustix::mount::{mount, mount_bind, mount_change};
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
        mount_bind(&self.socket_folder, &self.stage.socket)?;
        match &self.home {
            HomeSource::Device(device) => {
                named("mount the disk image", disk::mount(device, &self.stage.home))?;
                chown(&self.stage.home, Some(self.uid), Some(self.uid))?;
            }
            HomeSource::Folder(folder) => mount_bind(folder, &self.stage.home)?,
        }
        let options = format!(
            "newinstance,max={},mode=0620,ptmxmode=0666,gid={}\0",
            self.terminals, self.uid
        );
        let options =
            std::ffi::CStr::from_bytes_with_nul(options.as_bytes()).map_err(io::Error::other)?;
        let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
        Ok(mount("devpts", &self.stage.terminals, "devpts", flags, Some(options))?)
    }
}

/// Takes a user id for good: afterwards this process has no rights beyond that user's, and no
/// program it runs can gain any. `groups` are kept beside its own. For the calling thread, so there must be only one.
pub(super) fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    if uid == 0 || gid == 0 || groups.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "that user is root"));
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let groups: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
    rustix::thread::set_thread_groups(&groups)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    rustix::thread::set_no_new_privs(true)?;
    if rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_ok() {
        return Err(io::Error::other("root's rights came back"));
    }
    Ok(())
}

fn named(step: &str, result: io::Result<()>) -> io::Result<()> {
    if let Err(error) = &result {
        let text = format!("cannot {step}: {error}\n");
        let _ = io::stderr().write_all(text.as_bytes());
    }
    result
}

/// Brings the loopback interface of this network namespace up.
fn loopback_up() -> io::Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST: u16 = 1;
    const LOOPBACK_INDEX: i32 = 1;
    const IFF_UP: u32 = 1;
    let socket: OwnedFd = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // NETLINK_ROUTE is protocol 0.
        None,
    )?;
    // struct nlmsghdr and struct ifinfomsg, in this machine's byte order.
    let mut message = Vec::with_capacity(32);
    message.extend_from_slice(&32u32.to_ne_bytes());
    message.extend_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(&LOOPBACK_INDEX.to_ne_bytes());
    message.extend_from_slice(&IFF_UP.to_ne_bytes());
    message.extend_from_slice(&IFF_UP.to_ne_bytes());
    // Handled before the call returns; a failure would show as no loopback address inside.
    rustix::net::send(&socket, &message, SendFlags::empty())?;
    Ok(())
}
