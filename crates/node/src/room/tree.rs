//! The tree of a repl: which file id lives where. Pure: changes are decided here, logged and
//! carried out by the room. Identity outlives renames; cycles and duplicate names cannot arise,
//! because every change is a request that is checked against the whole tree.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use tandem_proto::{FileId, RelPath, limits};

/// What file systems allow.
const MAX_NAME_BYTES: usize = 255;

/// What a node of the tree is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A regular file.
    File,
    /// A symbolic link and its target's text; never followed.
    Symlink(String),
    /// FIFO, socket or device: shown, not saved.
    Other,
}

/// One file or folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The folder that holds it.
    pub parent: FileId,
    /// Last part of its path.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Executable bit.
    pub executable: bool,
    /// Bytes on disk, 0 for folders.
    pub size: u64,
    /// Matched an ignore rule; its content is not tracked.
    pub ignored: bool,
}

/// Why a change of the tree is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// No such path or id.
    #[error("there is no such file or folder")]
    NotFound,
    /// The name is taken.
    #[error("a file or folder with that name exists")]
    Exists,
    /// A part of the path is a file.
    #[error("a part of the path is not a folder")]
    NotAFolder,
    /// A folder into itself.
    #[error("a folder cannot be moved into itself")]
    IntoItself,
    /// Over [`limits::MAX_TREE_ENTRIES`].
    #[error("the repl holds more than {} files", limits::MAX_TREE_ENTRIES)]
    Full,
    /// The new path is invalid.
    #[error(transparent)]
    Path(#[from] tandem_proto::PathError),
}

/// A change, as logged. Replaying one twice changes nothing the second time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Put a node in place, new or with new attributes.
    Put {
        /// Which.
        id: FileId,
        /// What it is now.
        node: Node,
    },
    /// Remove a node and all below it.
    Remove {
        /// Which.
        id: FileId,
    },
}

/// All files and folders of one repl.
#[derive(Debug, Default, Clone)]
pub struct Tree {
    nodes: HashMap<FileId, Node>,
    children: HashMap<FileId, BTreeMap<String, FileId>>,
    version: u64,
}

impl Tree {
    /// An empty tree at a version.
    pub fn new(version: u64) -> Self {
        Self { version, ..Self::default() }
    }

    /// Counts changes; part of every logged tree record.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Files and folders.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The node with this id.
    pub fn get(&self, id: FileId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// Every node.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &Node)> {
        self.nodes.iter().map(|(id, node)| (*id, node))
    }

    /// Children of a folder by name.
    pub fn children(&self, folder: FileId) -> impl Iterator<Item = (&str, FileId)> {
        self.children.get(&folder).into_iter().flatten().map(|(name, id)| (name.as_str(), *id))
    }

    /// The child of a folder with this name.
    pub fn child(&self, folder: FileId, name: &str) -> Option<FileId> {
        self.children.get(&folder)?.get(name).copied()
    }

    /// Whether this id is the root or a folder.
    pub fn is_folder(&self, id: FileId) -> bool {
        id == FileId::ROOT || self.get(id).is_some_and(|node| node.kind == Kind::Folder)
    }

    /// The id at a path.
    pub fn find(&self, path: &RelPath) -> Option<FileId> {
        let mut at = FileId::ROOT;
        for part in path.parts() {
            at = self.child(at, part)?;
        }
        Some(at)
    }

    /// The path of an id; `None` for the root and unknown ids.
    pub fn path(&self, id: FileId) -> Option<RelPath> {
        let mut parts = Vec::new();
        let mut at = id;
        while at != FileId::ROOT {
            let node = self.nodes.get(&at)?;
            parts.push(node.name.as_str());
            at = node.parent;
            if parts.len() > limits::MAX_PATH_DEPTH {
                return None;
            }
        }
        parts.reverse();
        RelPath::parse(&parts.join("/")).ok()
    }

    /// The folder at a path, for creating something in it: the changes that make the missing
    /// folders, and the folder's id.
    pub fn plan_folders(
        &self,
        folder: Option<&RelPath>,
        mut fresh: impl FnMut() -> FileId,
    ) -> Result<(Vec<Change>, FileId), TreeError> {
        let mut at = FileId::ROOT;
        let mut changes = Vec::new();
        for part in folder.into_iter().flat_map(RelPath::parts) {
            let existing = if changes.is_empty() { self.child(at, part) } else { None };
            at = match existing {
                Some(id) if self.is_folder(id) => id,
                Some(_) => return Err(TreeError::NotAFolder),
                None => {
                    let id = fresh();
                    let node = Node {
                        parent: at,
                        name: part.to_owned(),
                        kind: Kind::Folder,
                        executable: false,
                        size: 0,
                        ignored: false,
                    };
                    changes.push(Change::Put { id, node });
                    id
                }
            };
        }
        if self.len() + changes.len() >= limits::MAX_TREE_ENTRIES {
            return Err(TreeError::Full);
        }
        Ok((changes, at))
    }

    /// A name that is free in a folder, as close to this one as can be: `a.txt`, `a (2).txt`, …
    pub fn free_name(&self, folder: FileId, name: &str) -> String {
        if self.child(folder, name).is_none() {
            return name.to_owned();
        }
        let (stem, ending) = match name.rfind('.').filter(|at| *at > 0) {
            Some(at) => name.split_at(at),
            None => (name, ""),
        };
        // Long names would exceed the limit with a number behind.
        let keep = MAX_NAME_BYTES.saturating_sub(ending.len() + 12);
        let end = (0..=keep.min(stem.len())).rev().find(|at| stem.is_char_boundary(*at));
        let stem = &stem[..end.unwrap_or(0)];
        (2_u64..)
            .map(|number| format!("{stem} ({number}){ending}"))
            .find(|name| self.child(folder, name).is_none())
            .unwrap_or_default()
    }

    /// Checks a move. The target's parent must exist.
    pub fn plan_move(&self, id: FileId, to: &RelPath) -> Result<Change, TreeError> {
        let node = self.get(id).ok_or(TreeError::NotFound)?;
        let parent = match to.parent() {
            None => FileId::ROOT,
            Some(parent) => self.find(&parent).ok_or(TreeError::NotFound)?,
        };
        if !self.is_folder(parent) {
            return Err(TreeError::NotAFolder);
        }
        if self.child(parent, to.name()).is_some() {
            return Err(TreeError::Exists);
        }
        if self.is_below(parent, id) {
            return Err(TreeError::IntoItself);
        }
        Ok(Change::Put { id, node: Node { parent, name: to.name().to_owned(), ..node.clone() } })
    }

    /// Whether `id` is `folder` or lies under it.
    pub fn is_below(&self, id: FileId, folder: FileId) -> bool {
        let mut at = id;
        for _ in 0..=limits::MAX_PATH_DEPTH {
            if at == folder {
                return true;
            }
            match self.nodes.get(&at) {
                Some(node) => at = node.parent,
                None => return false,
            }
        }
        false
    }

    /// `id` and everything below it, parents first.
    pub fn subtree(&self, id: FileId) -> Vec<FileId> {
        let mut out = vec![id];
        let mut index = 0;
        while index < out.len() {
            let at = out[index];
            out.extend(self.children(at).map(|(_, child)| child));
            index += 1;
        }
        out
    }

    /// Applies a change and returns the folders whose listing changed. A change that does not
    /// fit the tree (unknown parent, name taken by another) is skipped: it can only come from a
    /// damaged or hostile record.
    pub fn apply(&mut self, change: &Change) -> Vec<FileId> {
        self.version += 1;
        match change {
            Change::Put { id, node } => {
                let fits = *id != FileId::ROOT
                    && self.is_folder(node.parent)
                    && !self.is_below(node.parent, *id)
                    && RelPath::parse(&node.name).is_ok_and(|path| path.parts().count() == 1)
                    && self.child(node.parent, &node.name).is_none_or(|taken| taken == *id);
                if !fits {
                    return Vec::new();
                }
                if node.kind != Kind::Folder {
                    let below: Vec<FileId> = self.children(*id).map(|(_, child)| child).collect();
                    for child in below {
                        self.remove(child);
                    }
                }
                let mut touched = vec![node.parent];
                if let Some(old) = self.nodes.insert(*id, node.clone())
                    && (old.parent, &old.name) != (node.parent, &node.name)
                {
                    if let Some(names) = self.children.get_mut(&old.parent) {
                        names.remove(&old.name);
                    }
                    if old.parent != node.parent {
                        touched.push(old.parent);
                    }
                }
                self.children.entry(node.parent).or_default().insert(node.name.clone(), *id);
                touched
            }
            Change::Remove { id } => {
                let Some(parent) = self.nodes.get(id).map(|node| node.parent) else {
                    return Vec::new();
                };
                self.remove(*id);
                vec![parent]
            }
        }
    }

    fn remove(&mut self, id: FileId) {
        for gone in self.subtree(id) {
            self.children.remove(&gone);
            if let Some(node) = self.nodes.remove(&gone)
                && let Some(names) = self.children.get_mut(&node.parent)
            {
                names.remove(&node.name);
            }
        }
    }

    /// Sets the version after loading or replay.
    pub fn set_version(&mut self, version: u64) {
        self.version = version;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(n: u8) -> FileId {
        FileId::from_random([n; 10])
    }

    fn node(parent: FileId, name: &str, kind: Kind) -> Node {
        Node { parent, name: name.to_owned(), kind, executable: false, size: 0, ignored: false }
    }

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    fn sample() -> Tree {
        let mut tree = Tree::new(0);
        tree.apply(&Change::Put { id: id(1), node: node(FileId::ROOT, "src", Kind::Folder) });
        tree.apply(&Change::Put { id: id(2), node: node(id(1), "main.py", Kind::File) });
        tree.apply(&Change::Put { id: id(3), node: node(id(1), "deep", Kind::Folder) });
        tree
    }

    #[test]
    fn finds_both_ways() {
        let tree = sample();
        assert_eq!(tree.find(&path("src/main.py")), Some(id(2)));
        assert_eq!(tree.path(id(2)), Some(path("src/main.py")));
        assert_eq!(tree.find(&path("src/none")), None);
        assert_eq!(tree.path(FileId::ROOT), None);
    }

    #[test]
    fn a_move_keeps_the_identity_and_refuses_nonsense() {
        let mut tree = sample();
        let change = tree.plan_move(id(2), &path("app.py")).unwrap();
        assert_eq!(tree.apply(&change), vec![FileId::ROOT, id(1)]);
        assert_eq!(tree.find(&path("app.py")), Some(id(2)));
        assert_eq!(tree.plan_move(id(1), &path("src/deep/src")), Err(TreeError::IntoItself));
        assert_eq!(tree.plan_move(id(1), &path("app.py")), Err(TreeError::Exists));
        assert_eq!(tree.plan_move(id(1), &path("none/x")), Err(TreeError::NotFound));
        assert_eq!(tree.plan_move(id(1), &path("app.py/x")), Err(TreeError::NotAFolder));
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        let mut tree = sample();
        assert_eq!(tree.free_name(id(1), "other.py"), "other.py");
        assert_eq!(tree.free_name(id(1), "main.py"), "main (2).py");
        tree.apply(&Change::Put { id: id(4), node: node(id(1), "main (2).py", Kind::File) });
        assert_eq!(tree.free_name(id(1), "main.py"), "main (3).py");
        let long = format!("{}.py", "ü".repeat(126));
        tree.apply(&Change::Put { id: id(5), node: node(id(1), &long, Kind::File) });
        assert!(tree.free_name(id(1), &long).len() <= MAX_NAME_BYTES);
        assert_eq!(tree.free_name(FileId::ROOT, "src"), "src (2)");
    }

    #[test]
    fn folders_are_planned_once() {
        let mut tree = sample();
        let mut next = 10;
        let (changes, folder) = tree
            .plan_folders(Some(&path("src/a/b")), || {
                next += 1;
                id(next)
            })
            .unwrap();
        assert_eq!(changes.len(), 2);
        for change in &changes {
            tree.apply(change);
        }
        assert_eq!(tree.path(folder), Some(path("src/a/b")));
        assert!(matches!(
            tree.plan_folders(Some(&path("src/main.py")), || id(9)),
            Err(TreeError::NotAFolder)
        ));
    }

    #[test]
    fn removing_a_folder_removes_what_is_below() {
        let mut tree = sample();
        tree.apply(&Change::Remove { id: id(1) });
        assert_eq!(tree.len(), 0);
        assert_eq!(tree.children(FileId::ROOT).count(), 0);
    }

    fn change() -> impl Strategy<Value = Change> {
        let ids = 0u8..8;
        prop_oneof![
            (ids.clone(), ids.clone(), "[a-c]|\\.\\.|", any::<bool>()).prop_map(
                |(i, p, name, folder)| {
                    let parent = if p == 0 { FileId::ROOT } else { id(p) };
                    let kind = if folder { Kind::Folder } else { Kind::File };
                    Change::Put { id: id(i), node: node(parent, &name, kind) }
                }
            ),
            ids.prop_map(|i| Change::Remove { id: id(i) }),
        ]
    }

    proptest! {
        #[test]
        fn any_changes_leave_a_tree(changes in proptest::collection::vec(change(), 0..60)) {
            let mut tree = Tree::new(0);
            for change in &changes {
                tree.apply(change);
            }
            for (id, _) in tree.iter() {
                let path = tree.path(id);
                prop_assert!(path.is_some(), "unreachable {id}");
                prop_assert_eq!(tree.find(&path.unwrap()), Some(id));
            }
            prop_assert_eq!(tree.subtree(FileId::ROOT).len(), tree.len() + 1);
        }
    }
}
