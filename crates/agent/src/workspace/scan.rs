//! Listing the workspace.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use tandem_proto::RelPath;
use tandem_proto::agent::{AgentError, Entry, EntryKind};
use tandem_proto::limits::{MAX_PATH_DEPTH, MAX_TREE_ENTRIES};

use super::{Workspace, failure, names_in, stat_in};

/// Walks the workspace folder by folder, parents before children, the top first, so that a limit
/// cuts off what lies deepest.
#[derive(Debug)]
pub struct Walk<'workspace> {
    workspace: &'workspace Workspace,
    folders: VecDeque<Option<RelPath>>,
    seen: usize,
    limit: usize,
    truncated: bool,
    skipped: usize,
}

impl Workspace {
    /// Walks everything, or what lies under a folder, without what is ignored.
    pub fn walk(&self, under: Option<RelPath>) -> Result<Walk<'_>, AgentError> {
        self.open_folder(under.as_ref()).map_err(failure)?;
        Ok(Walk {
            workspace: self,
            folders: VecDeque::from([under]),
            seen: 0,
            limit: MAX_TREE_ENTRIES,
            truncated: false,
            skipped: 0,
        })
    }
}

impl Walk<'_> {
    /// Entries so far.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// Whether more than the limit were there.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Names that cannot be told of, so far.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// The entries of the next folder; `None` when there is no more.
    pub fn next_folder(&mut self) -> Option<Vec<Entry>> {
        while let Some(folder) = self.folders.pop_front() {
            let opened = self.workspace.open_folder(folder.as_ref());
            match opened.and_then(|opened| self.list(&opened, folder.as_ref())) {
                Ok(entries) if entries.is_empty() => {}
                Ok(entries) => return Some(entries),
                // Gone, replaced by a link, or closed to us: all of it has happened since its
                // parent was listed.
                Err(_) => self.skipped += 1,
            }
        }
        None
    }

    fn list(&mut self, opened: &OwnedFd, folder: Option<&RelPath>) -> Result<Vec<Entry>, Errno> {
        let left = self.limit.saturating_sub(self.seen);
        let (names, odd) = names_in(opened, left + 1)?;
        self.skipped += odd;
        let mut entries = Vec::new();
        for name in names {
            let path = match folder {
                Some(folder) => folder.join(&name),
                None => RelPath::parse(&name),
            };
            let Ok(path) = path else {
                self.skipped += 1;
                continue;
            };
            if entries.len() >= left {
                self.truncated = true;
                break;
            }
            let Ok(stat) = stat_in(opened, &name) else { continue };
            let entry = self.workspace.entry_in(opened, path, &stat);
            if entry.kind == EntryKind::Folder && !entry.ignored {
                if entry.path.parts().count() < MAX_PATH_DEPTH {
                    self.folders.push_back(Some(entry.path.clone()));
                } else {
                    self.skipped += 1;
                }
            }
            entries.push(entry);
        }
        self.seen += entries.len();
        Ok(entries)
    }
}
