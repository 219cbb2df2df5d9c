//! Changes of the tree: folders, renames, deletions, executable bits.

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, fchmod, fstat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use tandem_proto::RelPath;
use tandem_proto::agent::AgentError;

use super::entry::file_type;
use super::{Workspace, failure, open_beneath, refuse_reserved, stat_in};

impl Workspace {
    /// Makes a folder and its parents.
    pub fn make_folder(&self, path: &RelPath) -> Result<(), AgentError> {
        refuse_reserved(path)?;
        self.make_folders(path).map_err(|errno| match errno {
            // A file lies where a folder is wanted.
            Errno::NOTDIR => AgentError::Exists,
            errno => failure(errno),
        })
    }

    /// Renames; nothing may be at `to`.
    pub fn rename(&self, from: &RelPath, to: &RelPath) -> Result<(), AgentError> {
        refuse_reserved(from)?;
        refuse_reserved(to)?;
        let from = self.place(from).map_err(failure)?;
        let to = self.place(to).map_err(failure)?;
        let flags = RenameFlags::NOREPLACE;
        renameat_with(&from.folder, from.name, &to.folder, to.name, flags).map_err(failure)
    }

    /// Deletes a file, or a folder with everything in it. What is returned must be given to
    /// [`Workspace::purge`], which may take long.
    pub fn delete(&self, path: &RelPath) -> Result<Option<Purge>, AgentError> {
        refuse_reserved(path)?;
        let gone = |errno| matches!(errno, Errno::NOENT | Errno::NOTDIR);
        let place = match self.place(path) {
            Ok(place) => place,
            Err(errno) if gone(errno) => return Ok(None),
            Err(errno) => return Err(failure(errno)),
        };
        match unlinkat(&place.folder, place.name, AtFlags::empty()) {
            Ok(()) => return Ok(None),
            Err(errno) if gone(errno) => return Ok(None),
            Err(Errno::ISDIR) => {}
            Err(errno) => return Err(failure(errno)),
        }
        match unlinkat(&place.folder, place.name, AtFlags::REMOVEDIR) {
            Ok(()) => return Ok(None),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(failure(errno)),
        }
        // The rename is the deletion: all of it is gone at once, whatever programs do in it.
        self.scratch.take(&place.folder, place.name).map(Purge).map(Some).map_err(failure)
    }

    /// Frees the space of what was deleted.
    pub fn purge(&self, purge: &Purge) {
        self.scratch.purge(&purge.0);
    }

    /// Sets or clears the executable bits of a regular file.
    pub fn set_executable(&self, path: &RelPath, executable: bool) -> Result<(), AgentError> {
        refuse_reserved(path)?;
        let place = self.place(path).map_err(failure)?;
        let found = stat_in(&place.folder, place.name).map_err(failure)?;
        if file_type(&found) != FileType::RegularFile {
            return Err(AgentError::WrongKind);
        }
        let file = open_beneath(&place.folder, place.name, OFlags::RDONLY).map_err(failure)?;
        let stat = fstat(&file).map_err(failure)?;
        if file_type(&stat) != FileType::RegularFile {
            return Err(AgentError::WrongKind);
        }
        fchmod(&file, mode_with(stat.st_mode, executable)).map_err(failure)
    }
}

/// A folder that was deleted and still takes space.
#[derive(Debug)]
pub struct Purge(String);

/// Permission bits with the executable ones set (wherever one may read) or cleared.
pub(super) fn mode_with(mode: u32, executable: bool) -> Mode {
    let mode = mode & 0o777;
    Mode::from_raw_mode(if executable { mode | (mode & 0o444) >> 2 } else { mode & !0o111 })
}
