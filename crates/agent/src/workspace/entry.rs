//! What the node is told of one thing in the workspace.

use rustix::fs::{FileType, Stat};
use tandem_proto::RelPath;
use tandem_proto::agent::{Entry, EntryKind, Signature};

use super::Workspace;

/// Longest link target told of; a longer one is cut.
const MAX_TARGET: usize = 4096;

/// The state of a file.
pub fn signature(stat: &Stat) -> Signature {
    let nanoseconds = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000) + nanos;
    Signature {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec as i64),
        ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64),
    }
}

/// Kind of a thing.
pub fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The entry of a path, `target` if it is a link.
pub fn entry_of(path: RelPath, stat: &Stat, target: Option<String>) -> Entry {
    let kind = match file_type(stat) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Folder,
        FileType::Symlink => EntryKind::Symlink(target.unwrap_or_default()),
        _ => EntryKind::Other,
    };
    Entry {
        path,
        executable: kind == EntryKind::File && stat.st_mode & 0o111 != 0,
        kind,
        signature: signature(stat),
        ignored: false,
    }
}

impl Workspace {
    /// The entry of a name in an open folder.
    pub(super) fn entry_in(
        &self,
        folder: &std::os::fd::OwnedFd,
        path: RelPath,
        stat: &Stat,
    ) -> Entry {
        let target = (file_type(stat) == FileType::Symlink).then(|| {
            // It may be gone or something else by now: then its target is not known.
            let target = rustix::fs::readlinkat(folder, path.name(), Vec::new());
            let target = target.map(|target| target.to_string_lossy().into_owned());
            let mut target = target.unwrap_or_default();
            // Bytes that are not UTF-8 were replaced by longer ones.
            while target.len() > MAX_TARGET {
                target.pop();
            }
            target
        });
        let ignored = self.ignored();
        let is_ignored = path.parts().any(|part| ignored.contains(part));
        Entry { ignored: is_ignored, ..entry_of(path, stat, target) }
    }
}
