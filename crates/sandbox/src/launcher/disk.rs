//! A sandbox's home folder on a filesystem of its own, so that its bytes and its files end.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bubblewrap::find;
use crate::driver::Limits;
use crate::os;

/// Between finding a free loop device and taking it, somebody else may take it.
const ATTEMPTS: usize = 16;

/// What makes images, where this machine has it.
#[derive(Debug, Clone)]
pub(super) struct Disks {
    mkfs: PathBuf,
}

/// A formatted image, attached as long as `device` is open or it is mounted.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) device_path: PathBuf,
    /// Closed after it was mounted.
    pub(super) _device: OwnedFd,
}

impl Disks {
    pub(super) fn detect() -> Result<Self, String> {
        let mkfs = find::in_path("mkfs.ext4").ok_or("mkfs.ext4 is not installed")?;
        if !Path::new("/dev/loop-control").exists() {
            return Err("this machine has no loop devices".into());
        }
        Ok(Self { mkfs })
    }

    /// Makes an image of the size of `limits` whose top folder belongs to `uid`.
    pub(super) fn make(&self, image: &Path, limits: &Limits, uid: u32) -> io::Result<Disk> {
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(image)?;
        file.set_len(limits.disk_bytes)?;
        // No journal: nothing of it outlives the sandbox, so there is nothing to be recovered.
        let output = Command::new(&self.mkfs)
            .args(["-q", "-F", "-m", "0", "-b", "4096", "-I", "256"])
            .args(["-O", "^has_journal", "-N", &limits.inodes.to_string()])
            .args(["-E", &format!("lazy_itable_init=1,nodiscard,root_owner={uid}:{uid}")])
            .arg(image)
            .env_clear()
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("mkfs.ext4 failed: {}", said.trim())));
        }
        attach(&file)
    }
}

fn attach(image: &File) -> io::Result<Disk> {
    let open = |path: &Path| -> io::Result<OwnedFd> {
        Ok(OpenOptions::new().read(true).write(true).open(path)?.into())
    };
    let control = open(Path::new("/dev/loop-control"))?;
    let mut last = io::Error::other("no free loop device");
    for _ in 0..ATTEMPTS {
        let number = os::free_loop_device(control.as_fd())?;
        let device_path = PathBuf::from(format!("/dev/loop{number}"));
        let device = open(&device_path)?;
        match os::attach_loop(&device, image.as_fd()) {
            Ok(()) => return Ok(Disk { device_path, _device: device }),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// Mounts it; to be called in the mount namespace that keeps it.
pub(super) fn mount(device: &Path, at: &Path) -> io::Result<()> {
    use rustix::mount::MountFlags;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
    rustix::mount::mount(device, at, "ext4", flags, Some(c"noinit_itable"))?;
    // Belongs to root and means nothing to who works here.
    let _ = fs::remove_dir(at.join("lost+found"));
    Ok(())
}
