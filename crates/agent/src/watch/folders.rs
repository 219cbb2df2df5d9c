//! Which folders are watched, by inotify.

use std::collections::{BTreeMap, HashMap};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::FileType;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tandem_proto::RelPath;
use tandem_proto::limits::{MAX_PATH_DEPTH, MAX_TREE_ENTRIES};

use crate::workspace::{SCRATCH, Workspace};

/// Something that happened in a watched folder.
#[derive(Debug)]
pub enum Notice {
    /// To this path; a new folder must be added.
    Path { path: RelPath, created: bool, new_folder: bool },
    /// The kernel's queue was full: anything may have happened.
    Overflow,
}

/// The watches. Folder names are those at the time of the watch; a folder that is moved is
/// forgotten and added again under its new name.
#[derive(Debug)]
pub struct Folders {
    inotify: OwnedFd,
    /// By watch; the empty string is the workspace itself.
    by_watch: HashMap<i32, String>,
    by_path: BTreeMap<String, i32>,
}

/// Why a folder cannot be watched.
#[derive(Debug)]
pub enum Refused {
    /// The kernel's limit of watches is reached.
    Limit,
    /// It is gone, or no longer a folder.
    Gone,
}

impl Folders {
    /// Watches nothing yet.
    pub fn new() -> Result<Self, Errno> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { inotify, by_watch: HashMap::new(), by_path: BTreeMap::new() })
    }

    /// Readable when something happened.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.inotify)
    }

    /// Watches a folder and everything in it that is not ignored, and calls `found` with every
    /// path in it: what was made before its watch was set shows in no notice.
    pub fn add(
        &mut self,
        workspace: &Workspace,
        top: Option<&RelPath>,
        found: &mut dyn FnMut(&RelPath),
    ) -> Result<(), Refused> {
        let ignored = workspace.ignored();
        let mut waiting = vec![top.cloned()];
        let mut seen = 0;
        while let Some(path) = waiting.pop() {
            let Ok(folder) = workspace.open_folder(path.as_ref()) else {
                if path.as_ref() == top {
                    return Err(Refused::Gone);
                }
                continue;
            };
            self.watch(&folder, path.as_ref())?;
            let Ok(dir) = rustix::fs::Dir::read_from(&folder) else { continue };
            for entry in dir.flatten() {
                let Ok(name) = entry.file_name().to_str() else { continue };
                if matches!(name, "." | ".." | SCRATCH) {
                    continue;
                }
                let child = match &path {
                    Some(path) => path.join(name),
                    None => RelPath::parse(name),
                };
                let Ok(child) = child else { continue };
                seen += 1;
                if seen > MAX_TREE_ENTRIES * 2 {
                    return Err(Refused::Limit);
                }
                found(&child);
                let is_folder = match entry.file_type() {
                    FileType::Unknown => {
                        workspace.look(&child).ok().flatten().is_some_and(|stat| {
                            FileType::from_raw_mode(stat.st_mode) == FileType::Directory
                        })
                    }
                    kind => kind == FileType::Directory,
                };
                if is_folder && !ignored.contains(name) && child.parts().count() < MAX_PATH_DEPTH {
                    waiting.push(Some(child));
                }
            }
        }
        Ok(())
    }

    fn watch(&mut self, folder: &OwnedFd, path: Option<&RelPath>) -> Result<(), Refused> {
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR
            | WatchFlags::EXCL_UNLINK;
        // By descriptor: the path may lead elsewhere by now.
        let by_descriptor = format!("/proc/self/fd/{}", folder.as_raw_fd());
        match inotify::add_watch(&self.inotify, by_descriptor, flags) {
            Ok(watch) => {
                let path = path.map_or_else(String::new, |path| path.as_str().to_owned());
                if let Some(old) = self.by_watch.insert(watch, path.clone())
                    && old != path
                {
                    self.by_path.remove(&old);
                }
                self.by_path.insert(path, watch);
                Ok(())
            }
            Err(Errno::NOSPC | Errno::NOMEM) => Err(Refused::Limit),
            Err(_) => Err(Refused::Gone),
        }
    }

    /// Stops watching a folder that went away or moved, and everything in it.
    fn remove(&mut self, path: &RelPath) {
        let top = path.as_str().to_owned();
        let inside = format!("{top}/");
        let gone: Vec<(String, i32)> = self
            .by_path
            .range(top.clone()..)
            .take_while(|(path, _)| path.starts_with(&top))
            .filter(|(path, _)| **path == top || path.starts_with(&inside))
            .map(|(path, watch)| (path.clone(), *watch))
            .collect();
        for (path, watch) in gone {
            self.by_path.remove(&path);
            self.by_watch.remove(&watch);
            // A deleted folder's watch is gone already.
            let _ = inotify::remove_watch(&self.inotify, watch);
        }
    }

    /// Takes what happened since the last call, at most one buffer of it.
    pub fn read(&mut self, workspace: &Workspace) -> Vec<Notice> {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let Ok(inotify) = self.inotify.try_clone() else { return Vec::new() };
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        let ignored = workspace.ignored();
        let mut notices = Vec::new();
        // Any error: nothing more for now.
        while let Ok(event) = reader.next() {
            let flags = event.events();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                notices.push(Notice::Overflow);
            }
            if flags.contains(ReadFlags::IGNORED) {
                if let Some(path) = self.by_watch.remove(&event.wd())
                    && self.by_path.get(&path) == Some(&event.wd())
                {
                    self.by_path.remove(&path);
                }
                continue;
            }
            let name = event.file_name().and_then(|name| name.to_str().ok());
            let (Some(folder), Some(name)) = (self.by_watch.get(&event.wd()), name) else {
                continue;
            };
            if name == SCRATCH {
                continue;
            }
            let path = match folder.as_str() {
                "" => RelPath::parse(name),
                folder => RelPath::parse(&format!("{folder}/{name}")),
            };
            let Ok(path) = path else { continue };
            let came = flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
            let went = flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM);
            let is_ignored = ignored.contains(name);
            if is_ignored && !came && !went {
                continue;
            }
            let is_folder = flags.contains(ReadFlags::ISDIR);
            if is_folder && went {
                self.remove(&path);
            }
            notices.push(Notice::Path {
                path,
                created: flags.contains(ReadFlags::CREATE),
                new_folder: is_folder && came && !is_ignored,
            });
        }
        notices
    }
}
