//! Where the files of an episode are now: they are renamed and moved while everybody types.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tandem_proto::api::TreeKind;
use tandem_proto::id::FileId;

use crate::Api;

/// All files of one repl by path, as last looked up.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Arc<Mutex<BTreeMap<String, FileId>>>);

/// What every name of a slot's file holds.
pub(super) fn mark(slot: usize) -> String {
    format!("f{slot}.")
}

impl Places {
    /// Looks again.
    pub(super) async fn refresh(&self, api: &Api, repl: &str) -> Result<()> {
        let mut found = BTreeMap::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for entry in api.tree(repl, &folder).await?.entries {
                let path = match folder.as_str() {
                    "" => entry.name,
                    folder => format!("{folder}/{}", entry.name),
                };
                match entry.kind {
                    TreeKind::Folder => folders.push(path),
                    TreeKind::File => drop(found.insert(path, entry.id)),
                    TreeKind::Symlink | TreeKind::Other => {}
                }
            }
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(())
    }

    /// Every file.
    pub(super) fn all(&self) -> BTreeMap<String, FileId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The file of a slot: the one with this id if it is still there, else one with its mark.
    pub(super) fn find(&self, slot: usize, id: Option<FileId>) -> Result<(FileId, String)> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = files.iter().find(|(_, file)| Some(**file) == id);
        let mark = mark(slot);
        let named = || {
            files.iter().find(|(path, _)| {
                path.rsplit('/').next().is_some_and(|name| name.starts_with(&mark))
            })
        };
        let (path, file) =
            same.or_else(named).with_context(|| format!("the file of slot {slot} is not there"))?;
        Ok((*file, path.clone()))
    }
}
