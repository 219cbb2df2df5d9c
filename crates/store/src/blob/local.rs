//! Objects as files below one directory. A file is written beside, synced, and only then given
//! its name, so that a name always has a whole object behind it.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::folders::Folders;
use super::{BlobError, BlobStore, ObjectInfo, key};

/// Where files are written before they get their name. No key reaches it: its name has a dot.
const UNFINISHED: &str = ".unfinished";

/// What is unfinished for so long was left by a crash. Not sooner: another process, such as
/// the one that adds a template, may be writing.
const STALE: Duration = Duration::from_secs(3600);

/// A directory of objects.
#[derive(Debug, Clone)]
pub struct LocalStore {
    folders: Arc<Folders>,
}

impl LocalStore {
    /// Opens or makes the directory.
    ///
    /// # Errors
    /// [`BlobError::Other`], [`BlobError::Denied`] or [`BlobError::Full`] when the disk refuses.
    pub async fn open(root: &Path) -> Result<Self, BlobError> {
        let store = Self { folders: Arc::new(Folders::new(root.to_owned())) };
        let opened = store.clone();
        blocking("open the blob directory", move || {
            let unfinished = opened.folders.root.join(UNFINISHED);
            DirBuilder::new().recursive(true).mode(0o700).create(&unfinished)?;
            remove_stale(&unfinished)
        })
        .await?;
        Ok(store)
    }

    fn path(&self, key: &str) -> Result<PathBuf, BlobError> {
        key::check(key)?;
        Ok(self.folders.root.join(key))
    }
}

#[async_trait]
impl BlobStore for LocalStore {
    async fn put(&self, key: &str, object: Bytes) -> Result<(), BlobError> {
        let path = self.path(key)?;
        let folders = self.folders.clone();
        let stored = blocking("store an object", move || put(&folders, &path, &object)).await?;
        match stored {
            true => Ok(()),
            false => Err(BlobError::Conflict { key: key.to_owned() }),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BlobError> {
        let path = self.path(key)?;
        let folders = self.folders.clone();
        blocking("read an object", move || match std::fs::read(&path) {
            Ok(object) => Ok(Some(object.into())),
            Err(error) if is_absent(&error) => check_mounted(&folders.root).map(|()| None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, BlobError> {
        key::check_prefix(prefix)?;
        let (folders, prefix) = (self.folders.clone(), prefix.to_owned());
        blocking("list objects", move || {
            let mut found = Vec::new();
            check_mounted(&folders.root)?;
            let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
            collect(&folders.root.join(folder), folder, &prefix, &mut found)?;
            found.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(found)
        })
        .await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        key::check_folder(prefix)?;
        let (folders, folder) = (self.folders.clone(), self.folders.root.join(prefix));
        blocking("list objects", move || {
            check_mounted(&folders.root)?;
            let mut found = Vec::new();
            for entry in entries(&folder)? {
                let name = entry.file_name().into_string().unwrap_or_default();
                let hidden = name.is_empty() || name.starts_with('.');
                if !hidden && entry.file_type()?.is_dir() && has_object(&entry.path())? {
                    found.push(name);
                }
            }
            found.sort();
            Ok(found)
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        let path = self.path(key)?;
        let folders = self.folders.clone();
        blocking("delete an object", move || match std::fs::remove_file(&path) {
            Ok(()) => {
                folders.remove_empty(path.parent());
                Ok(())
            }
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(error),
        })
        .await
    }
}

fn remove_stale(unfinished: &Path) -> io::Result<()> {
    for entry in entries(unfinished)? {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| modified.elapsed().ok());
        if age.is_some_and(|age| age > STALE) {
            match std::fs::remove_file(entry.path()) {
                Err(error) if !is_absent(&error) => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// `false`: another object has that name.
fn put(folders: &Folders, path: &Path, object: &[u8]) -> io::Result<bool> {
    let unfinished = folders.root.join(UNFINISHED).join(format!("{:032x}", rand::random::<u128>()));
    let stored = write(&unfinished, object).and_then(|()| name(folders, &unfinished, path));
    if !matches!(stored, Ok(true)) {
        let _ = std::fs::remove_file(&unfinished);
    }
    match stored {
        Ok(false) => {
            // An earlier try may have stopped before it had synced the folders.
            let same = std::fs::read(path)? == object;
            folders.sync(path)?;
            Ok(same)
        }
        other => other,
    }
}

fn write(path: &Path, object: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(object)?;
    file.sync_all()
}

/// Gives a finished file its name; `false` when the name is taken.
fn name(folders: &Folders, unfinished: &Path, path: &Path) -> io::Result<bool> {
    // A `delete` may remove the empty folder between these steps; then once more.
    const TRIES: usize = 8;
    for attempt in 1.. {
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        match renameat_with(CWD, unfinished, CWD, path, RenameFlags::NOREPLACE) {
            Ok(()) => break,
            Err(rustix::io::Errno::EXIST) => return Ok(false),
            Err(rustix::io::Errno::NOENT) if attempt < TRIES => {}
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                match std::fs::hard_link(unfinished, path) {
                    Ok(()) => std::fs::remove_file(unfinished)?,
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
                    Err(error) => return Err(error),
                }
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    folders.sync(path)?;
    Ok(true)
}

/// An object is absent only while the store is there: a disk that is not mounted, or a folder
/// that somebody moved, must not look like a store without objects.
fn check_mounted(root: &Path) -> io::Result<()> {
    std::fs::metadata(root.join(UNFINISHED)).map(|_| ()).map_err(|error| {
        let text = format!("{} is not the blob directory that was opened: {error}", root.display());
        io::Error::other(text)
    })
}

fn entries(folder: &Path) -> io::Result<Vec<std::fs::DirEntry>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn collect(folder: &Path, key: &str, prefix: &str, found: &mut Vec<ObjectInfo>) -> io::Result<()> {
    for entry in entries(folder)? {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let key = if key.is_empty() { name } else { format!("{key}/{name}") };
        if entry.file_type()?.is_dir() {
            let inside = format!("{key}/");
            if inside.starts_with(prefix) || prefix.starts_with(&inside) {
                collect(&entry.path(), &key, prefix, found)?;
            }
        } else if key.starts_with(prefix) {
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(error),
            };
            let age = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            found.push(ObjectInfo {
                key,
                size: metadata.len(),
                modified_ms: age.as_millis() as u64,
            });
        }
    }
    Ok(())
}

fn has_object(folder: &Path) -> io::Result<bool> {
    for entry in entries(folder)? {
        if !entry.file_type()?.is_dir() || has_object(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

async fn blocking<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, BlobError> {
    let result = match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(error)),
    };
    result.map_err(|error| {
        let (action, detail) = (action.to_owned(), error.to_string());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                BlobError::Full { action, detail }
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                BlobError::Denied { action, detail }
            }
            _ => BlobError::Other { action, detail },
        }
    })
}
