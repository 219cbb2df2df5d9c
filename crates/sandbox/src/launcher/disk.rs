//! A sandbox's home folder on a filesystem of its own, so that its bytes and its files end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::SeekFrom as RustixSeek;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::bubblewrap::find;
use crate::driver::Limits;
use crate::os;

/// Between finding a free loop device and taking it, somebody else may take it.
const ATTEMPTS: usize = 16;

/// What makes images, where this machine has it.
#[derive(Debug)]
pub(super) struct Disks {
    mkfs: PathBuf,
    /// Where templates are kept: empty filesystems, of which only the parts that are not zero
    /// take space and time to copy.
    folder: PathBuf,
    /// Where one may be mounted for a moment.
    at: PathBuf,
    /// The template there is, by size and number of files; limits are the same for most.
    template: Option<(u64, u64)>,
}

/// An image attached as long as `device` is open or it is mounted.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) device_path: PathBuf,
    /// Closed after it was mounted.
    pub(super) _device: OwnedFd,
}

impl Disks {
    /// Tries one: `folder` keeps the template, and `at` is where it may be mounted for a moment.
    pub(super) fn detect(folder: &Path, at: &Path) -> Result<Self, String> {
        let mkfs = find::in_path("mkfs.ext4").ok_or("mkfs.ext4 is not installed")?;
        let (folder, at) = (folder.to_owned(), at.to_owned());
        let mut disks = Self { mkfs, folder, at, template: None };
        match disks.template(&Limits::default()) {
            Ok(_) => Ok(disks),
            Err(error) => Err(format!("no disk image can be mounted: {error}")),
        }
    }

    /// Makes an image of the size of `limits`.
    pub(super) fn make(&mut self, image: &Path, limits: &Limits) -> io::Result<Disk> {
        let mut file = new_file(image)?;
        let template = self.template(limits)?;
        file.set_len(limits.disk_bytes)?;
        copy_data(&mut File::open(template)?, &mut file)?;
        attach(&file)
    }

    fn template(&mut self, limits: &Limits) -> io::Result<PathBuf> {
        let path = self.folder.join("template.img");
        let wanted = (limits.disk_bytes, limits.inodes);
        if self.template == Some(wanted) {
            return Ok(path);
        }
        self.template = None;
        let _ = fs::remove_file(&path);
        let file = new_file(&path)?;
        file.set_len(limits.disk_bytes)?;
        // No journal: nothing of it outlives the sandbox, so there is nothing to be recovered.
        let output = Command::new(&self.mkfs)
            .args(["-q", "-F", "-m", "0", "-b", "4096", "-I", "256"])
            .args(["-O", "^has_journal", "-N", &limits.inodes.to_string()])
            .args(["-E", "lazy_itable_init=1,nodiscard"])
            .arg(&path)
            .env_clear()
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("mkfs.ext4 failed: {}", said.trim())));
        }
        let disk = attach(&file)?;
        mount(&disk.device_path, &self.at)?;
        // Belongs to root and means nothing to who works here.
        let emptied = fs::remove_dir(self.at.join("lost+found"));
        rustix::mount::unmount(&self.at, UnmountFlags::empty())?;
        emptied?;
        self.template = Some(wanted);
        Ok(path)
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Copies what is not a hole.
fn copy_data(from: &mut File, to: &mut File) -> io::Result<()> {
    let mut at = 0;
    loop {
        let start = match rustix::fs::seek(&*from, RustixSeek::Data(at)) {
            Ok(start) => start,
            // Only a hole is left.
            Err(rustix::io::Errno::NXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(&*from, RustixSeek::Hole(start))?;
        from.seek(SeekFrom::Start(start))?;
        to.seek(SeekFrom::Start(start))?;
        io::copy(&mut Read::by_ref(from).take(end - start), to)?;
        at = end;
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

/// Mounts it; to be called in the mount namespace that keeps it. Nothing of it outlives the
/// sandbox, so no write waits for the server's disk: a sandbox that syncs all the time would
/// slow everybody.
pub(super) fn mount(device: &Path, at: &Path) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
    Ok(rustix::mount::mount(device, at, "ext4", flags, Some(c"noinit_itable,nobarrier"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_copied_and_holes_stay_holes() {
        use std::os::unix::fs::{FileExt, MetadataExt};
        let folder = tempfile::tempdir().unwrap();
        let mut from = new_file(&folder.path().join("from")).unwrap();
        from.set_len(64 << 20).unwrap();
        from.write_all_at(b"first", 0).unwrap();
        from.write_all_at(b"middle", 20 << 20).unwrap();
        let mut to = new_file(&folder.path().join("to")).unwrap();
        to.set_len(64 << 20).unwrap();
        copy_data(&mut from, &mut to).unwrap();
        let read = |file: &File, at| {
            let mut bytes = [0; 6];
            file.read_exact_at(&mut bytes, at).unwrap();
            bytes
        };
        assert_eq!(&read(&to, 0), b"first\0");
        assert_eq!(&read(&to, 20 << 20), b"middle");
        assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20);
    }
}
