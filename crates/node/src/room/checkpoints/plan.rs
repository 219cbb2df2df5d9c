//! What lies between the tree as it is and the tree of a checkpoint. Pure: paths and ids in, steps
//! out. Files that came later are deleted, as people delete (they can be brought back); a file that
//! was moved moves back; one that was deleted comes back with its history where that is possible.

use std::collections::{HashMap, HashSet};

use tandem_proto::{FileId, RelPath};
use tandem_store::{Content, Manifest, NodeKind, TreeNode};

/// A file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub id: FileId,
    /// Where.
    pub path: RelPath,
    /// Executable bit.
    pub executable: bool,
    /// What was in it.
    pub content: Content,
}

/// One step on the way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Delete what came later.
    Delete(RelPath),
    /// Move back.
    Move(RelPath, RelPath),
    /// Undo a deletion.
    BringBack(RelPath),
    /// Make a folder.
    MakeFolder(RelPath),
    /// Give a file its content.
    Fill(Wanted),
}

/// The tree as it is.
#[derive(Debug, Default)]
pub struct Present {
    /// Files by id, ignored ones left out.
    pub files: HashMap<FileId, RelPath>,
    /// Folders; those with anything that is ignored in them are not deleted as a whole.
    pub folders: HashMap<RelPath, bool>,
    /// What can be brought back: the file and where it was.
    pub deleted: HashMap<FileId, RelPath>,
}

/// Files and folders of a manifest; what has no place in its tree is left out.
pub fn wanted(manifest: &Manifest) -> (Vec<Wanted>, Vec<RelPath>) {
    let nodes: HashMap<FileId, &TreeNode> = manifest
        .tree
        .iter()
        .filter(|node| node.deleted_ms.is_none())
        .map(|node| (node.id, node))
        .collect();
    let path_of = |node: &TreeNode| -> Option<RelPath> {
        let mut names = vec![node.name.as_str()];
        let mut at = node.parent;
        while at != FileId::ROOT {
            let parent = nodes.get(&at)?;
            names.push(&parent.name);
            at = parent.parent;
            if names.len() > tandem_proto::limits::MAX_PATH_DEPTH {
                return None;
            }
        }
        names.reverse();
        RelPath::parse(&names.join("/")).ok()
    };
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for node in nodes.values() {
        let Some(path) = path_of(node) else { continue };
        match node.kind {
            NodeKind::Folder => folders.push(path),
            NodeKind::File => {
                let (id, executable, content) = (node.id, node.executable, node.content.clone());
                files.push(Wanted { id, path, executable, content });
            }
            NodeKind::Symlink { .. } => {}
        }
    }
    files.sort_by(|one, other| one.path.as_str().cmp(other.path.as_str()));
    folders.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    (files, folders)
}

/// The steps, in order.
pub fn steps(present: &Present, wanted: Vec<Wanted>, folders: Vec<RelPath>) -> Vec<Step> {
    let places: HashMap<&RelPath, FileId> =
        wanted.iter().map(|file| (&file.path, file.id)).collect();
    let homes: HashMap<FileId, &RelPath> =
        wanted.iter().map(|file| (file.id, &file.path)).collect();
    let occupied: HashSet<&RelPath> = present.files.values().collect();
    let mut needed: HashSet<RelPath> = folders.into_iter().collect();
    needed.extend(wanted.iter().flat_map(|file| above(&file.path)));
    let stale: HashSet<&RelPath> = present
        .folders
        .iter()
        .filter(|(folder, holds_ignored)| !needed.contains(*folder) && !**holds_ignored)
        .map(|(folder, _)| folder)
        .collect();

    let (mut moves, mut late, mut taken) = (Vec::new(), Vec::new(), HashSet::new());
    for (id, path) in &present.files {
        let home = homes.get(id).copied();
        // Where a folder is in the way, the file is made anew.
        let may_move =
            |home: &RelPath| !occupied.contains(home) && !present.folders.contains_key(home);
        if let Some(home) = home.filter(|home| *home != path && may_move(home)) {
            moves.push((path, home));
        } else if places.contains_key(path) {
            taken.insert(path);
        } else {
            late.push(path);
        }
    }
    let is_in_stale = |path: &RelPath| above(path).any(|folder| stale.contains(&folder));
    let (in_the_way, late): (Vec<&RelPath>, Vec<&RelPath>) =
        sorted(late).into_iter().partition(|path| needed.contains(*path));
    let made = needed.iter().filter(|folder| !present.folders.contains_key(*folder)).collect();
    let gone = stale.iter().copied().filter(|folder| !is_in_stale(folder)).collect();
    moves.sort_by_key(|(from, _)| from.as_str());

    let mut steps: Vec<Step> = Vec::new();
    steps.extend(in_the_way.into_iter().cloned().map(Step::Delete));
    steps.extend(sorted(made).into_iter().cloned().map(Step::MakeFolder));
    steps.extend(moves.into_iter().map(|(from, to)| Step::Move(from.clone(), to.clone())));
    steps.extend(late.into_iter().filter(|path| !is_in_stale(path)).cloned().map(Step::Delete));
    // What is to stay has moved out of them.
    steps.extend(sorted(gone).into_iter().cloned().map(Step::Delete));
    let back = wanted.iter().filter(|file| {
        !present.files.contains_key(&file.id)
            && !taken.contains(&file.path)
            && present.deleted.get(&file.id) == Some(&file.path)
    });
    steps.extend(back.map(|file| Step::BringBack(file.path.clone())));
    steps.extend(wanted.iter().cloned().map(Step::Fill));
    steps
}

fn sorted(mut paths: Vec<&RelPath>) -> Vec<&RelPath> {
    paths.sort_by_key(|path| path.as_str());
    paths
}

/// The folders that hold a path.
fn above(path: &RelPath) -> impl Iterator<Item = RelPath> {
    std::iter::successors(path.parent(), RelPath::parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    fn id(number: u8) -> FileId {
        FileId::from_random([number; 10])
    }

    fn present(files: &[(u8, &str)], folders: &[(&str, bool)], deleted: &[(u8, &str)]) -> Present {
        Present {
            files: files.iter().map(|(number, at)| (id(*number), path(at))).collect(),
            folders: folders.iter().map(|(at, ignored)| (path(at), *ignored)).collect(),
            deleted: deleted.iter().map(|(number, at)| (id(*number), path(at))).collect(),
        }
    }

    /// The steps in brief, without those that fill.
    fn brief(present: &Present, files: &[(u8, &str)], folders: &[&str]) -> Vec<String> {
        let wanted = files
            .iter()
            .map(|(number, at)| Wanted {
                id: id(*number),
                path: path(at),
                executable: false,
                content: Content::None,
            })
            .collect();
        let steps = steps(present, wanted, folders.iter().map(|at| path(at)).collect());
        let fills = steps.iter().filter(|step| matches!(step, Step::Fill(_))).count();
        assert_eq!(fills, files.len());
        steps
            .iter()
            .filter_map(|step| match step {
                Step::Delete(at) => Some(format!("delete {at}")),
                Step::Move(from, to) => Some(format!("move {from} {to}")),
                Step::BringBack(at) => Some(format!("back {at}")),
                Step::MakeFolder(at) => Some(format!("folder {at}")),
                Step::Fill(_) => None,
            })
            .collect()
    }

    #[test]
    fn nothing_moves_when_nothing_moved() {
        let now = present(&[(1, "a"), (2, "f/b")], &[("f", false)], &[]);
        assert!(brief(&now, &[(1, "a"), (2, "f/b")], &["f"]).is_empty());
    }

    #[test]
    fn later_files_go_moved_ones_move_back_and_deleted_ones_come_back() {
        let now = present(
            &[(1, "moved"), (3, "new/c"), (4, "new/d")],
            &[("new", false)],
            &[(2, "old/b"), (5, "gone")],
        );
        let steps = brief(&now, &[(1, "a"), (2, "old/b")], &["old"]);
        assert_eq!(steps, ["folder old", "move moved a", "delete new", "back old/b"]);
    }

    #[test]
    fn what_is_ignored_keeps_its_folder() {
        let now = present(&[(3, "web/c")], &[("web", true)], &[]);
        assert_eq!(brief(&now, &[], &[]), ["delete web/c"]);
    }

    #[test]
    fn files_and_folders_that_are_in_each_others_way() {
        // `x` was a folder and is a file now; `y` was a file and is a folder now.
        let now = present(&[(1, "x"), (2, "y/b")], &[("y", false)], &[]);
        let steps = brief(&now, &[(3, "x/a"), (4, "y")], &["x"]);
        assert_eq!(steps, ["delete x", "folder x", "delete y"]);
        // The file that lies in the folder's place lies in the folder now.
        let now = present(&[(1, "y/y")], &[("y", false)], &[]);
        let steps = brief(&now, &[(1, "y")], &[]);
        assert_eq!(steps, ["delete y"], "and `y` is made anew");
    }

    #[test]
    fn files_that_changed_places_get_each_others_content() {
        let now = present(&[(1, "b"), (2, "a")], &[], &[]);
        assert!(brief(&now, &[(1, "a"), (2, "b")], &[]).is_empty());
    }
}
