//! A folder of our own on the workspace's mount, for files that are not complete yet and for
//! files that were just replaced.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, renameat_with, unlinkat};
use rustix::io::Errno;

use super::{names_in, open_beneath};

/// Name of the folder; nothing with this name is ever scanned, watched, read or written.
pub const SCRATCH: &str = ".tandem-scratch";

/// Most folders whose removal is under way at a time.
const MAX_PURGE: usize = 1_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Scratch {
    folder: OwnedFd,
    next: AtomicU64,
}

impl Scratch {
    /// Opens or makes the folder: in the home folder, where nobody looks, if files can be renamed
    /// from there into the workspace; else in the workspace, hidden from git.
    pub fn open(root: &OwnedFd, workspace: &Path, home: &Path) -> Result<Self, Errno> {
        if workspace.parent() == Some(home)
            && let Ok(home) = rustix::fs::openat(
                CWD,
                home,
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )
            && let Ok(scratch) = Self::open_in(&home)
            && scratch.reaches(root)
        {
            return Ok(scratch);
        }
        let scratch = Self::open_in(root)?;
        // Without it the folder only shows in `git status`.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        if let Ok(file) = open_beneath(&scratch.folder, ".gitignore", flags) {
            let _ = rustix::io::write(file, b"*\n");
        }
        Ok(scratch)
    }

    fn open_in(parent: &OwnedFd) -> Result<Self, Errno> {
        match rustix::fs::mkdirat(parent, SCRATCH, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let folder = open_beneath(parent, SCRATCH, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let scratch = Self { folder, next: AtomicU64::new(0) };
        scratch.purge_all();
        Ok(scratch)
    }

    /// Whether a file can be renamed from here into the workspace.
    fn reaches(&self, root: &OwnedFd) -> bool {
        let Ok((name, _file)) = self.create() else { return false };
        let moved = renameat_with(&self.folder, &name, root, SCRATCH, RenameFlags::NOREPLACE);
        if moved.is_ok() {
            let _ = unlinkat(root, SCRATCH, AtFlags::empty());
        } else {
            self.remove(&name);
        }
        // A leftover of an earlier agent in the workspace has the same name: it was on this
        // mount, and so is the folder.
        moved.is_ok() || moved == Err(Errno::EXIST)
    }

    /// The folder.
    pub fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    /// A name that nothing has.
    pub fn new_name(&self) -> String {
        format!("t{}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A new empty file, readable and writable by us only.
    pub fn create(&self) -> Result<(String, OwnedFd), Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        loop {
            let name = self.new_name();
            match open_beneath(&self.folder, &name, flags) {
                Ok(file) => return Ok((name, file)),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) {
        // A leftover is removed when an agent starts.
        let _ = unlinkat(&self.folder, name, AtFlags::empty());
    }

    /// Moves a thing here, whatever it is; its new name.
    pub fn take(&self, folder: &OwnedFd, name: &str) -> Result<String, Errno> {
        loop {
            let new = self.new_name();
            match renameat_with(folder, name, &self.folder, &new, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(new),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Removes a thing with everything in it, however deep: folders inside are moved up here
    /// first, so neither descriptors nor stack grow with depth.
    pub fn purge(&self, name: &str) {
        let mut waiting = vec![name.to_owned()];
        let mut rounds = 0;
        while let Some(name) = waiting.pop() {
            rounds += 1;
            if rounds > MAX_PURGE {
                return;
            }
            if unlinkat(&self.folder, &name, AtFlags::empty()).is_ok()
                || unlinkat(&self.folder, &name, AtFlags::REMOVEDIR).is_ok()
            {
                continue;
            }
            let Ok(folder) = open_beneath(&self.folder, &name, OFlags::RDONLY | OFlags::DIRECTORY)
            else {
                continue;
            };
            let before = waiting.len();
            self.empty(&folder, &mut waiting);
            if unlinkat(&self.folder, &name, AtFlags::REMOVEDIR).is_err() && waiting.len() > before
            {
                waiting.insert(before, name);
            }
        }
    }

    fn empty(&self, folder: &OwnedFd, waiting: &mut Vec<String>) {
        let Ok(dir) = rustix::fs::Dir::read_from(folder) else { return };
        for entry in dir.flatten() {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..")
                || unlinkat(folder, name, AtFlags::empty()).is_ok()
                || unlinkat(folder, name, AtFlags::REMOVEDIR).is_ok()
            {
                continue;
            }
            let new = self.new_name();
            let moved = renameat_with(folder, name, &self.folder, &new, RenameFlags::NOREPLACE);
            if moved.is_ok() {
                waiting.push(new);
            }
        }
    }

    fn purge_all(&self) {
        let Ok((names, _)) = names_in(&self.folder, usize::MAX) else { return };
        for name in names.iter().filter(|name| *name != ".gitignore") {
            self.purge(name);
        }
    }
}
