//! A repl's tree and contents as a manifest has them, and back.

use std::collections::HashMap;

use tandem_doc::text::{Eol, TextFormat};
use tandem_proto::{FileId, RelPath};
use tandem_store::{
    Content, ContentHash, Eol as StoredEol, Manifest, NodeKind, Positions, StoredDocument, TreeNode,
};

use super::contents::{Deleted, Files, Stored};
use super::open::OpenError;
use super::tree::{Change, Kind, Node, Tree};
use super::{Room, trash};
use crate::lease::wall_ms;

impl Room {
    /// The manifest of the tree as it is; contents come with [`set_contents`].
    pub(super) fn manifest(&self, seq: u64, covered: Positions) -> Manifest {
        let mut tree: Vec<TreeNode> =
            self.tree.iter().filter_map(|(id, node)| tree_node(id, node, None)).collect();
        let now = wall_ms();
        for deleted in self.deletions.iter().filter(|deleted| deleted.at_ms + trash::KEEP_MS > now)
        {
            for (id, node, stored) in &deleted.nodes {
                if self.tree.get(*id).is_none()
                    && !tree.iter().any(|other| other.id == *id)
                    && let Some(mut gone) = tree_node(*id, node, Some(deleted.at_ms))
                {
                    gone.content = stored.as_ref().map_or(Content::None, content);
                    tree.push(gone);
                }
            }
        }
        Manifest {
            repl: self.repl,
            epoch: self.lease.epoch,
            seq,
            parent: Some(self.saved.head().to_owned()),
            lineage: self.saved.lineage().to_vec(),
            tree_version: self.tree.version(),
            tree,
            covered,
            terminals: self.terminals.stored(),
            history: self.history.packs().to_vec(),
            checkpoints: self.history.checkpoints().to_vec(),
            ignored: self.ignored.stored(),
            swept_ms: self.saved.swept_ms,
            saved_ms: now,
        }
    }

    /// What is stored of every file of the tree.
    pub(super) fn stored_of_tree(&self) -> HashMap<FileId, Stored> {
        self.tree.iter().filter_map(|(id, _)| Some((id, self.files.stored(id)?.clone()))).collect()
    }
}

pub(super) fn tree_node(id: FileId, node: &Node, deleted_ms: Option<u64>) -> Option<TreeNode> {
    let kind = match &node.kind {
        Kind::Folder => NodeKind::Folder,
        Kind::File => NodeKind::File,
        Kind::Symlink(target) => NodeKind::Symlink { target: target.clone() },
        Kind::Other => return None,
    };
    // What is ignored is not saved, except that the folder itself comes back.
    if node.ignored && node.kind != Kind::Folder {
        return None;
    }
    Some(TreeNode {
        id,
        parent: node.parent,
        name: node.name.clone(),
        kind,
        executable: node.executable,
        content: Content::None,
        deleted_ms,
    })
}

/// Fills in where the content of each live file is.
pub(super) fn set_contents(manifest: &mut Manifest, stored: &HashMap<FileId, Stored>) {
    for node in manifest
        .tree
        .iter_mut()
        .filter(|node| node.deleted_ms.is_none() && node.kind == NodeKind::File)
    {
        if let Some(stored) = stored.get(&node.id) {
            node.content = content(stored);
        }
    }
}

fn content(stored: &Stored) -> Content {
    match stored {
        Stored::Blob(blob) => Content::Blob(blob.clone()),
        Stored::Document { generation, format, snapshot, hash, size } => {
            Content::Document(StoredDocument {
                snapshot: snapshot.clone().unwrap_or_default(),
                generation: *generation,
                eol: match format.eol {
                    Eol::Lf => StoredEol::Lf,
                    Eol::Crlf => StoredEol::Crlf,
                },
                bom: format.bom,
                size: *size,
                text_hash: ContentHash::from_bytes(hash.unwrap_or_default()),
            })
        }
    }
}

pub(super) fn stored(content: &Content) -> Option<Stored> {
    match content {
        Content::None => None,
        Content::Blob(blob) => Some(Stored::Blob(blob.clone())),
        Content::Document(document) => Some(Stored::Document {
            generation: document.generation,
            format: TextFormat {
                eol: match document.eol {
                    StoredEol::Lf => Eol::Lf,
                    StoredEol::Crlf => Eol::Crlf,
                },
                bom: document.bom,
            },
            snapshot: Some(document.snapshot.clone()).filter(|key| !key.is_empty()),
            hash: Some(*document.text_hash.as_bytes()).filter(|hash| *hash != [0; 32]),
            size: document.size,
        }),
    }
}

/// Tree, contents and deletions.
pub(super) type FromManifest = (Tree, Files, Vec<Deleted>);

pub(super) fn from_manifest(manifest: &Manifest) -> Result<FromManifest, OpenError> {
    let mut tree = Tree::new(0);
    let mut files = Files::default();
    let mut children: HashMap<FileId, Vec<&TreeNode>> = HashMap::new();
    let (alive, gone): (Vec<&TreeNode>, Vec<&TreeNode>) =
        manifest.tree.iter().partition(|node| node.deleted_ms.is_none());
    for node in &alive {
        children.entry(node.parent).or_default().push(node);
    }
    let mut open = vec![FileId::ROOT];
    while let Some(folder) = open.pop() {
        for node in children.remove(&folder).unwrap_or_default() {
            let content = stored(&node.content);
            tree.apply(&Change::Put { id: node.id, node: from_tree_node(node) });
            if let Some(content) = content {
                files.set_stored(node.id, content);
            }
            open.push(node.id);
        }
    }
    if tree.len() != alive.len() {
        let lost = alive.len() - tree.len();
        return Err(OpenError::Corrupt(format!(
            "{lost} files of the manifest have no place in its tree"
        )));
    }
    tree.set_version(manifest.tree_version);
    let deletions = deletions(&tree, &gone);
    Ok((tree, files, deletions))
}

pub(super) fn from_tree_node(node: &TreeNode) -> Node {
    let size = match &node.content {
        Content::None => 0,
        Content::Document(document) => document.size,
        Content::Blob(blob) => blob.size,
    };
    let kind = match &node.kind {
        NodeKind::Folder => Kind::Folder,
        NodeKind::File => Kind::File,
        NodeKind::Symlink { target } => Kind::Symlink(target.clone()),
    };
    Node {
        parent: node.parent,
        name: node.name.clone(),
        kind,
        executable: node.executable,
        size,
        ignored: false,
    }
}

/// Tombstones to deletions: those whose folder is still there are their roots.
fn deletions(tree: &Tree, gone: &[&TreeNode]) -> Vec<Deleted> {
    let ids: HashMap<FileId, &TreeNode> = gone.iter().map(|node| (node.id, *node)).collect();
    let mut out = Vec::new();
    for root in gone.iter().filter(|node| !ids.contains_key(&node.parent)) {
        let parent = match root.parent {
            FileId::ROOT => None,
            parent => match tree.path(parent) {
                Some(path) => Some(path),
                None => continue,
            },
        };
        let path = match &parent {
            None => RelPath::parse(&root.name),
            Some(parent) => parent.join(&root.name),
        };
        let Ok(path) = path else { continue };
        let mut nodes = vec![(root.id, from_tree_node(root), stored(&root.content))];
        let mut index = 0;
        while index < nodes.len() && nodes.len() <= gone.len() {
            let at = nodes[index].0;
            nodes.extend(
                gone.iter()
                    .filter(|node| node.parent == at && node.id != at)
                    .map(|node| (node.id, from_tree_node(node), stored(&node.content))),
            );
            index += 1;
        }
        out.push(Deleted { path, nodes, at_ms: root.deleted_ms.unwrap_or_default() });
    }
    out.sort_by_key(|deleted| deleted.at_ms);
    out
}
