//! The files of the workspace.
//!
//! Invariant: no path that a program controls is ever followed. Every file is opened beneath the
//! workspace's own descriptor with all links refused, and a name inside a folder is used only
//! together with that folder's descriptor.

mod archive;
mod change;
mod entry;
mod late;
mod read;
mod scan;
mod scratch;
mod write;

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use tandem_proto::RelPath;
use tandem_proto::agent::{AgentError, Signature};

pub use archive::{pack, unpack};
pub use entry::signature;
pub use scratch::SCRATCH;
use scratch::Scratch;
pub use write::Write;

/// Most own writes remembered, so that the watcher does not report them back.
const MAX_OWN_WRITES: usize = 2048;

/// The workspace of this sandbox.
#[derive(Debug)]
pub struct Workspace {
    root: OwnedFd,
    scratch: Scratch,
    ignore: RwLock<Arc<HashSet<String>>>,
    own_writes: Mutex<HashMap<RelPath, Signature>>,
    /// Since when a write to a path was put off because somebody else was writing.
    unsettled: Mutex<HashMap<RelPath, Instant>>,
    kept: Mutex<Vec<late::Kept>>,
}

/// A folder and a name in it.
#[derive(Debug)]
struct Place<'path> {
    folder: OwnedFd,
    name: &'path str,
}

impl Workspace {
    /// Opens the workspace, and makes it where the home folder came empty. Temporary files lie in `home` when that is on the same mount.
    pub fn open(path: &Path, home: &Path) -> Result<Self, AgentError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // Mostly it is there; what is wrong beyond that, opening says.
        let _ = rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o755));
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(failure)?;
        let scratch = Scratch::open(&root, path, home).map_err(failure)?;
        Ok(Self {
            root,
            scratch,
            ignore: RwLock::default(),
            own_writes: Mutex::default(),
            unsettled: Mutex::default(),
            kept: Mutex::default(),
        })
    }

    /// Names that are neither scanned into nor watched.
    pub fn set_ignored(&self, names: Vec<String>) {
        let names = Arc::new(names.into_iter().collect());
        *self.ignore.write().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// See [`Workspace::set_ignored`].
    pub fn ignored(&self) -> Arc<HashSet<String>> {
        self.ignore.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a file is as one of our own writes left it.
    pub fn is_own_write(&self, path: &RelPath, found: &Signature) -> bool {
        self.own_writes().get(path) == Some(found)
    }

    /// Opens a folder; `None` is the workspace itself.
    pub fn open_folder(&self, path: Option<&RelPath>) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        match path {
            Some(path) => open_beneath(&self.root, path.as_str(), flags),
            None => self.root.try_clone().map_err(|error| errno_of(&error)),
        }
    }

    /// Looks at a path without opening it; `None` when nothing is there.
    pub fn look(&self, path: &RelPath) -> Result<Option<Stat>, Errno> {
        let found = self.place(path).and_then(|place| stat_in(&place.folder, place.name));
        match found {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn place<'path>(&self, path: &'path RelPath) -> Result<Place<'path>, Errno> {
        let folder = self.open_folder(path.parent().as_ref())?;
        Ok(Place { folder, name: path.name() })
    }

    /// As `place`, and makes the folders that are missing.
    fn make_place<'path>(&self, path: &'path RelPath) -> Result<Place<'path>, Errno> {
        match self.place(path) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        if let Some(parent) = path.parent() {
            self.make_folders(&parent)?;
        }
        self.place(path)
    }

    fn make_folders(&self, path: &RelPath) -> Result<(), Errno> {
        let mut folder = self.open_folder(None)?;
        for part in path.parts() {
            match rustix::fs::mkdirat(&folder, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            folder = open_beneath(&folder, part, OFlags::RDONLY | OFlags::DIRECTORY)?;
        }
        Ok(())
    }

    fn own_writes(&self) -> MutexGuard<'_, HashMap<RelPath, Signature>> {
        self.own_writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_own_write(&self, path: &RelPath, signature: Signature) {
        let mut own_writes = self.own_writes();
        if own_writes.len() >= MAX_OWN_WRITES {
            // Forgetting costs only a report of what the node already knows.
            own_writes.clear();
        }
        own_writes.insert(path.clone(), signature);
    }
}

/// Opens `path` beneath `folder`; any link on the way is refused.
fn open_beneath(folder: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mode = if flags.contains(OFlags::CREATE) { Mode::RUSR | Mode::WUSR } else { Mode::empty() };
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(folder, path, flags, mode, resolve) {
            // A rename somewhere made the kernel unsure that the path stays beneath.
            Err(Errno::AGAIN) if tries < 8 => tries += 1,
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

fn stat_in(folder: &OwnedFd, name: &str) -> Result<Stat, Errno> {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Names in a folder that are UTF-8 and not ours, sorted, and how many are not UTF-8.
fn names_in(folder: &OwnedFd, most: usize) -> Result<(Vec<String>, usize), Errno> {
    let mut names = Vec::new();
    let mut odd = 0;
    let mut dir = Dir::read_from(folder)?;
    while let Some(entry) = dir.read() {
        let entry = entry?;
        match entry.file_name().to_str() {
            Ok("." | ".." | SCRATCH) => {}
            Ok(name) => names.push(name.to_owned()),
            Err(_) => odd += 1,
        }
        if names.len() >= most {
            break;
        }
    }
    names.sort_unstable();
    Ok((names, odd))
}

fn refuse_reserved(path: &RelPath) -> Result<(), AgentError> {
    if path.parts().any(|part| part == SCRATCH) {
        return Err(AgentError::Invalid(format!("{SCRATCH} is reserved")));
    }
    Ok(())
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// What a failed system call means to the node.
pub fn failure(errno: Errno) -> AgentError {
    match errno {
        Errno::NOENT => AgentError::NotFound,
        Errno::EXIST | Errno::NOTEMPTY => AgentError::Exists,
        // LOOP and XDEV: a link on the way, or one that would have led out.
        Errno::LOOP | Errno::XDEV | Errno::NOTDIR | Errno::ISDIR | Errno::NXIO => {
            AgentError::WrongKind
        }
        Errno::NOSPC | Errno::DQUOT => AgentError::NoSpace,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => AgentError::Denied,
        Errno::FBIG => AgentError::TooLarge,
        Errno::TXTBSY | Errno::BUSY | Errno::AGAIN => AgentError::Busy,
        Errno::NAMETOOLONG | Errno::INVAL => AgentError::Invalid(errno.to_string()),
        other => AgentError::Other(other.to_string()),
    }
}
