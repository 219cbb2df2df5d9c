//! Whole trees at once, as tar.
//!
//! Unpacking takes from the archive only names, kinds, contents and the executable bit. Links
//! are made as they were saved, whatever they point to, and are never written through; hard
//! links and devices are refused.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{FileType, OFlags, Timespec, Timestamps, fchmod, fstat, futimens};
use rustix::fs::{renameat, symlinkat};
use rustix::io::Errno;
use tandem_proto::RelPath;
use tandem_proto::agent::AgentError;
use tandem_proto::limits::{MAX_ARCHIVE_ENTRIES, MAX_PATH_DEPTH};

use super::change::mode_with;
use super::entry::{file_type, signature};
use super::{Workspace, errno_of, failure, names_in, open_beneath, refuse_reserved, stat_in};

/// Longest name in an archive.
const MAX_NAME: u64 = 4096;

/// Unpacks a tar into the workspace, replacing what is there; how many entries it had.
pub fn unpack(workspace: &Workspace, from: impl Read) -> Result<u64, AgentError> {
    let broken = |error: std::io::Error| AgentError::Invalid(format!("broken archive: {error}"));
    let mut archive = tar::Archive::new(from);
    let mut count = 0;
    let mut long_name: Option<String> = None;
    let mut long_target: Option<String> = None;
    // Raw: names longer than a header holds are otherwise read into memory without a bound.
    for entry in archive.entries().map_err(broken)?.raw(true) {
        let mut entry = entry.map_err(broken)?;
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() || kind.is_gnu_longlink() {
            let text = read_name(&mut entry)?;
            let slot = if kind.is_gnu_longname() { &mut long_name } else { &mut long_target };
            *slot = Some(text);
            continue;
        }
        let name = match long_name.take() {
            Some(name) => name,
            None => utf8(entry.header().path_bytes().into_owned())?,
        };
        let target = long_target.take();
        count += 1;
        if count > MAX_ARCHIVE_ENTRIES {
            return Err(AgentError::TooLarge);
        }
        let name = name.strip_prefix("./").unwrap_or(&name).trim_end_matches('/');
        if name.is_empty() || name == "." {
            continue;
        }
        let path = RelPath::parse(name).map_err(|error| AgentError::Invalid(error.to_string()))?;
        refuse_reserved(&path)?;
        if kind.is_dir() {
            workspace.make_folders_over(&path)?;
        } else if kind.is_file() || kind.is_contiguous() {
            let executable = entry.header().mode().map_err(broken)? & 0o111 != 0;
            let modified = entry.header().mtime().unwrap_or(0);
            workspace.unpack_file(&path, &mut entry, executable, modified)?;
        } else if kind.is_symlink() {
            let target = match target {
                Some(target) => target,
                None => utf8(entry.header().link_name_bytes().unwrap_or_default().into_owned())?,
            };
            workspace.unpack_link(&path, &target)?;
        } else {
            return Err(AgentError::Invalid(format!("{path} is not a file, folder or link")));
        }
    }
    Ok(count)
}

fn read_name(entry: &mut impl Read) -> Result<String, AgentError> {
    let mut bytes = Vec::new();
    let read = entry.take(MAX_NAME + 1).read_to_end(&mut bytes);
    read.map_err(|error| failure(errno_of(&error)))?;
    if bytes.len() as u64 > MAX_NAME {
        return Err(AgentError::Invalid("a name in the archive is too long".to_owned()));
    }
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    utf8(bytes)
}

fn utf8(bytes: Vec<u8>) -> Result<String, AgentError> {
    String::from_utf8(bytes)
        .map_err(|_| AgentError::Invalid("a name in the archive is not UTF-8".to_owned()))
}

impl Workspace {
    /// Makes a folder and its parents; a file or link in the way of the last one goes.
    fn make_folders_over(&self, path: &RelPath) -> Result<(), AgentError> {
        match self.make_folders(path) {
            Err(Errno::NOTDIR | Errno::LOOP) => {}
            other => return other.map_err(failure),
        }
        self.clear(path)?;
        self.make_folders(path).map_err(failure)
    }

    /// Removes what is at a path unless it is a regular file, which a rename replaces.
    fn clear(&self, path: &RelPath) -> Result<(), AgentError> {
        if let Some(purge) = self.delete(path)? {
            self.purge(&purge);
        }
        Ok(())
    }

    fn unpack_file(
        &self,
        path: &RelPath,
        content: &mut impl Read,
        executable: bool,
        modified: u64,
    ) -> Result<(), AgentError> {
        let place = self.make_place(path).map_err(failure)?;
        let (temporary, file) = self.scratch.create().map_err(failure)?;
        let mut fill = || -> Result<(), Errno> {
            let mut file = File::from(file.try_clone().map_err(|error| errno_of(&error))?);
            std::io::copy(content, &mut file).map_err(|error| errno_of(&error))?;
            fchmod(&file, mode_with(0o644, executable))?;
            if let Ok(seconds) = i64::try_from(modified)
                && seconds > 0
            {
                let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
                futimens(&file, &Timestamps { last_access: time, last_modification: time })?;
            }
            Ok(())
        };
        let scratch = self.scratch.folder();
        let moved =
            fill().and_then(|()| match renameat(scratch, &temporary, &place.folder, place.name) {
                Err(Errno::ISDIR) => {
                    let folder = self.scratch.take(&place.folder, place.name)?;
                    self.scratch.purge(&folder);
                    renameat(scratch, &temporary, &place.folder, place.name)
                }
                other => other,
            });
        if moved.is_err() {
            self.scratch.remove(&temporary);
        }
        moved.map_err(failure)
    }

    fn unpack_link(&self, path: &RelPath, target: &str) -> Result<(), AgentError> {
        if target.is_empty() || target.contains('\0') {
            return Err(AgentError::Invalid(format!("{path} links to nothing")));
        }
        let place = self.make_place(path).map_err(failure)?;
        self.clear(path)?;
        symlinkat(target, &place.folder, place.name).map_err(failure)
    }
}

/// Packs paths, folders with their contents, into a tar; an empty list means everything.
///
/// Ignored folders are left out, except those that were asked for by name or from inside; so is
/// what a rule of `skip` names.
pub fn pack(
    workspace: &Workspace,
    paths: Vec<RelPath>,
    skip: Vec<String>,
    to: impl Write,
) -> Result<u64, AgentError> {
    let mut packing = Packing {
        workspace,
        skip,
        ignored: workspace.ignored(),
        builder: tar::Builder::new(to),
        count: 0,
    };
    if paths.is_empty() {
        packing.folder(None, false)?;
    }
    for path in paths {
        refuse_reserved(&path)?;
        let place = workspace.place(&path).map_err(failure)?;
        let everything = path.parts().any(|part| packing.ignored.contains(part));
        if packing.one(&place.folder, &path)? {
            packing.folder(Some(path), everything)?;
        }
    }
    packing.builder.into_inner().map_err(|error| failure(errno_of(&error)))?;
    Ok(packing.count)
}

struct Packing<'workspace, W: Write> {
    workspace: &'workspace Workspace,
    skip: Vec<String>,
    ignored: Arc<HashSet<String>>,
    builder: tar::Builder<W>,
    count: u64,
}

impl<W: Write> Packing<'_, W> {
    /// Everything in a folder, parents first.
    fn folder(&mut self, top: Option<RelPath>, everything: bool) -> Result<(), AgentError> {
        let mut waiting = VecDeque::from([top]);
        while let Some(path) = waiting.pop_front() {
            let folder = match self.workspace.open_folder(path.as_ref()) {
                Ok(folder) => folder,
                // Programs go on while we pack: what has vanished is not part of the tree. What
                // is closed to us can be saved by nobody.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => continue,
                Err(errno) => return Err(failure(errno)),
            };
            let (mut names, _) = names_in(&folder, usize::MAX).map_err(failure)?;
            // The same tree is the same archive on any filesystem.
            names.sort_unstable();
            for name in names {
                if !everything && self.ignored.contains(&name) {
                    continue;
                }
                let child = match &path {
                    Some(path) => path.join(&name),
                    None => RelPath::parse(&name),
                };
                let Ok(child) = child else { continue };
                if child.is_named_by(&self.skip) {
                    continue;
                }
                if self.one(&folder, &child)? && child.parts().count() < MAX_PATH_DEPTH {
                    waiting.push_back(Some(child));
                }
            }
        }
        Ok(())
    }

    /// One entry; whether it is a folder.
    fn one(&mut self, folder: &OwnedFd, path: &RelPath) -> Result<bool, AgentError> {
        let stat = match stat_in(folder, path.name()) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(failure(errno)),
        };
        let mut header = tar::Header::new_gnu();
        header.set_mode(if stat.st_mode & 0o111 == 0 { 0o644 } else { 0o755 });
        header.set_mtime(0);
        header.set_size(0);
        let io = |error: std::io::Error| failure(errno_of(&error));
        match file_type(&stat) {
            FileType::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                let name = format!("{path}/");
                self.builder.append_data(&mut header, name, std::io::empty()).map_err(io)?;
            }
            FileType::Symlink => {
                let target = match rustix::fs::readlinkat(folder, path.name(), Vec::new()) {
                    Ok(target) => target,
                    Err(Errno::NOENT | Errno::INVAL) => return Ok(false),
                    Err(errno) => return Err(failure(errno)),
                };
                let Ok(target) = target.to_str() else { return Ok(false) };
                header.set_entry_type(tar::EntryType::Symlink);
                self.builder.append_link(&mut header, path.as_str(), target).map_err(io)?;
            }
            FileType::RegularFile => return self.file(folder, path, header).map(|()| false),
            _ => return Ok(false),
        }
        self.count += 1;
        Ok(file_type(&stat) == FileType::Directory)
    }

    fn file(
        &mut self,
        folder: &OwnedFd,
        path: &RelPath,
        mut header: tar::Header,
    ) -> Result<(), AgentError> {
        let file = match open_beneath(folder, path.name(), OFlags::RDONLY) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP | Errno::ACCESS | Errno::NXIO) => return Ok(()),
            Err(errno) => return Err(failure(errno)),
        };
        let stat = fstat(&file).map_err(failure)?;
        if file_type(&stat) != FileType::RegularFile {
            return Ok(());
        }
        let size = signature(&stat).size;
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
        header.set_size(size);
        // A file that shrinks is filled up: the archive stays whole, and the change is reported
        // by the watcher like any other.
        let content = File::from(file).chain(std::io::repeat(0)).take(size);
        let io = |error: std::io::Error| failure(errno_of(&error));
        self.builder.append_data(&mut header, path.as_str(), content).map_err(io)?;
        self.count += 1;
        Ok(())
    }
}
