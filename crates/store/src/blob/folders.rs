//! Which folders of a local store are known to be on the disk, so that storing an object syncs
//! its own folder and not all above it every time.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// More are forgotten, which costs a sync each when they are used again.
const KNOWN: usize = 50_000;

/// The folders below one root. Only this process removes folders, and only through here.
#[derive(Debug)]
pub(super) struct Folders {
    pub root: PathBuf,
    hasher: RandomState,
    /// Hashes of folders whose entries in all folders above are durable.
    known: Mutex<HashSet<u64>>,
}

impl Folders {
    pub fn new(root: PathBuf) -> Self {
        Self { root, hasher: RandomState::new(), known: Mutex::default() }
    }

    fn hash(&self, folder: &Path) -> u64 {
        self.hasher.hash_one(folder)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the name of a file durable. Blocking.
    pub fn sync(&self, file: &Path) -> io::Result<()> {
        let mut synced = Vec::new();
        for folder in file.ancestors().skip(1) {
            sync_one(folder)?;
            let hash = self.hash(folder);
            if folder == self.root || self.known().contains(&hash) {
                break;
            }
            synced.push(hash);
        }
        let mut known = self.known();
        if known.len() > KNOWN {
            known.clear();
        }
        // While the file is there, nobody has removed and remade a folder since we synced it.
        if file.exists() {
            known.extend(synced);
        }
        Ok(())
    }

    /// Removes a folder and those above that are empty then. One that is filled meanwhile
    /// stays. Blocking.
    pub fn remove_empty(&self, folder: Option<&Path>) {
        let mut folder = folder;
        while let Some(path) = folder.filter(|path| *path != self.root) {
            let mut known = self.known();
            if std::fs::remove_dir(path).is_err() {
                break;
            }
            known.remove(&self.hash(path));
            drop(known);
            folder = path.parent();
        }
    }
}

fn sync_one(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
