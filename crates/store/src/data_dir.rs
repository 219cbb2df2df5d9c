//! The data directory of one process: locked, versioned, and the home of the node's identity.
//!
//! The lock lives as long as the value. Two processes on one directory would each believe that
//! they are the node and give out the same positions.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tandem_proto::{BootId, NodeId};

const VERSION: &str = "tandem data 1\n";

/// Why a data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process holds it.
    #[error("the data directory {} is in use by another tandem process{}", path.display(), by.map(|pid| format!(" ({pid})")).unwrap_or_default())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process, when it says so.
        by: Option<u32>,
    },
    /// It holds something else.
    #[error("{} is not empty and holds no tandem data; choose an empty or a new directory", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// A newer version of the program made it.
    #[error("{} was made by a newer version (\"{found}\"); this one reads \"tandem data 1\"", path.display())]
    Unsupported {
        /// The directory.
        path: PathBuf,
        /// What its version file says.
        found: String,
    },
    /// A file of it is not what we wrote.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The disk refused.
    #[error("can't {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// An open data directory.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    node: NodeId,
    boot: BootId,
    _lock: File,
}

impl DataDir {
    /// Opens or makes a data directory and takes its lock. Blocking, short.
    ///
    /// # Errors
    /// See [`DataDirError`]; each is for the operator to mend.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        make(path)?;
        let lock = lock(path)?;
        check_version(path)?;
        let node = node_id(path)?;
        Ok(Self { path: path.to_owned(), node, boot: BootId(rand::random()), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The durable identity of this node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// This start: random, new with every [`DataDir::open`].
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// Home of the [`crate::Log`].
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Home of the default blob store.
    pub fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
    }

    /// Any other file of the process, such as the metadata database or the owner's token.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    move |source| DataDirError::Io { action, path: path.to_owned(), source }
}

fn make(path: &Path) -> Result<(), DataDirError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error("make", path))?;
    let mode = std::fs::metadata(path).map_err(io_error("look at", path))?.permissions().mode();
    if !path.join("version").exists() && !is_fresh(path)? {
        return Err(DataDirError::Foreign { path: path.to_owned() });
    }
    if mode & 0o077 != 0 {
        std::fs::set_permissions(path, Permissions::from_mode(0o700))
            .map_err(io_error("close to others", path))?;
    }
    Ok(())
}

/// Empty, but for what a filesystem's root has, what the launcher makes before this, and what
/// an interrupted first start left.
fn is_fresh(path: &Path) -> Result<bool, DataDirError> {
    for entry in std::fs::read_dir(path).map_err(io_error("list", path))? {
        let name = entry.map_err(io_error("list", path))?.file_name();
        if !matches!(
            name.to_str(),
            Some("lost+found" | "lock" | "version.new" | "sandboxes" | "blobs")
        ) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lock(path: &Path) -> Result<File, DataDirError> {
    let lock_path = path.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock_path)
        .map_err(io_error("open", &lock_path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let by = holder.trim().parse().ok();
            return Err(DataDirError::InUse { path: path.to_owned(), by });
        }
        Err(error) => return Err(io_error("lock", &lock_path)(error.into())),
    }
    // Only so that the other process can say who it is.
    let noted = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    noted.map_err(io_error("write", &lock_path))?;
    Ok(file)
}

fn check_version(path: &Path) -> Result<(), DataDirError> {
    let file = path.join("version");
    match std::fs::read_to_string(&file) {
        Ok(found) if found == VERSION => Ok(()),
        Ok(found) if found.starts_with("tandem data ") => {
            Err(DataDirError::Unsupported { path: path.to_owned(), found: found.trim().to_owned() })
        }
        Ok(_) => Err(DataDirError::Damaged { path: file }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_durable(path, "version", VERSION)
        }
        Err(error) => Err(io_error("read", &file)(error)),
    }
}

fn node_id(path: &Path) -> Result<NodeId, DataDirError> {
    let file = path.join("node");
    match std::fs::read_to_string(&file) {
        Ok(text) => text.trim().parse().map_err(|_| DataDirError::Damaged { path: file }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let node = NodeId::from_random(rand::random());
            write_durable(path, "node", &format!("{node}\n"))?;
            Ok(node)
        }
        Err(error) => Err(io_error("read", &file)(error)),
    }
}

/// Whole or not at all, also after a power cut.
fn write_durable(directory: &Path, name: &str, text: &str) -> Result<(), DataDirError> {
    let path = directory.join(name);
    let unfinished = directory.join(format!("{name}.new"));
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&unfinished, &path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(io_error("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_lasts_and_boots_differ() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b");
        let first = DataDir::open(&path).unwrap();
        let (node, boot) = (first.node(), first.boot());
        drop(first);
        let again = DataDir::open(&path).unwrap();
        assert_eq!(again.node(), node);
        assert_ne!(again.boot(), boot);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_second_opening_is_refused_and_names_the_holder() {
        let home = tempfile::tempdir().unwrap();
        let held = DataDir::open(home.path()).unwrap();
        let error = DataDir::open(home.path()).unwrap_err();
        assert!(
            matches!(error, DataDirError::InUse { by: Some(pid), .. } if pid == std::process::id()),
            "{error}"
        );
        drop(held);
        DataDir::open(home.path()).unwrap();
    }

    #[test]
    fn foreign_newer_and_damaged_directories_are_left_alone() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("thesis.tex"), "x").unwrap();
        let mode = std::fs::metadata(home.path()).unwrap().permissions().mode();
        assert!(matches!(DataDir::open(home.path()), Err(DataDirError::Foreign { .. })));
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
        assert_eq!(std::fs::metadata(home.path()).unwrap().permissions().mode(), mode);

        let home = tempfile::tempdir().unwrap();
        drop(DataDir::open(home.path()).unwrap());
        std::fs::write(home.path().join("node"), "what").unwrap();
        assert!(matches!(DataDir::open(home.path()), Err(DataDirError::Damaged { .. })));
        std::fs::write(home.path().join("version"), "tandem data 2\n").unwrap();
        assert!(matches!(DataDir::open(home.path()), Err(DataDirError::Unsupported { .. })));
    }
}
