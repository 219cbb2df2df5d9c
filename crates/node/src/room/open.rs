//! A room comes to life: lease, manifest, log. And a new repl gets its first manifest.
//!
//! A load that fails is an error and touches nothing; it is never an empty repl.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tandem_doc::text::{Eol, TextFormat};
use tandem_proto::{Epoch, FileId, Generation, Lsn, RelPath, ReplId};
use tandem_sandbox::Sandbox;
use tandem_store::{
    Content, ContentHash, Eol as StoredEol, Manifest, NodeKind, ObjectError, Positions, Record,
    RecordKind, ReplStore, StoredDocument, TreeNode,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::base::{self, Base, LoggedEdit};
use super::files::{Deleted, Files, Logged, Stored, TreeRecord};
use super::flush::Saved;
use super::leaving::Leaving;
use super::live::Live;
use super::mailbox::MAILBOX;
use super::people::Peers;
use super::sandbox::SandboxState;
use super::tree::{Change, Kind, Node, Tree};
use super::{Ending, Project, Room, RoomHandle, Summary, trash};
use crate::lease::{HeldLease, wall_ms};
use crate::shared::Shared;
use crate::web_client::WebError;

/// Why a room cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing is stored of this repl.
    #[error("there is no such repl")]
    Missing,
    /// Stored data is damaged; nothing was touched.
    #[error("the repl's stored data is damaged and nothing was changed: {0}")]
    Corrupt(String),
    /// Another node holds it.
    #[error("{0}")]
    Held(String),
    /// Try again.
    #[error("the repl cannot be opened now: {0}")]
    Unavailable(String),
}

impl From<ObjectError> for OpenError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Store(_) => Self::Unavailable(error.to_string()),
            _ => Self::Corrupt(error.to_string()),
        }
    }
}

impl From<WebError> for OpenError {
    fn from(error: WebError) -> Self {
        match error {
            WebError::Held(_) => Self::Held(error.to_string()),
            WebError::NotFound => Self::Missing,
            WebError::Unavailable(_) => Self::Unavailable(error.to_string()),
        }
    }
}

/// An opened room, not running yet.
pub struct Opened {
    /// The door.
    pub handle: RoomHandle,
    /// How to end it.
    pub endings: mpsc::Sender<Ending>,
    /// Its lease, for renewal.
    pub lease: HeldLease,
    /// To be polled.
    pub run: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// What the manifest and the log say.
struct Loaded {
    tree: Tree,
    files: Files,
    deletions: Vec<Deleted>,
    edits: HashMap<FileId, Vec<(Generation, LoggedEdit)>>,
    bases: HashMap<FileId, Vec<Base>>,
    /// What the manifest contains.
    covered: Positions,
    /// The same and what was replayed above it.
    older: Positions,
    tree_changed: bool,
}

/// Opens a repl's room on this node.
pub(crate) async fn open(
    shared: Arc<Shared>,
    repl: ReplId,
    sandbox: Option<Sandbox>,
) -> Result<Opened, OpenError> {
    let store = ReplStore::new(shared.blobs.clone(), repl);
    let (lease, head) = take_lease(&shared, &store).await?;
    let head = store.load_head(head.as_deref()).await?.ok_or(OpenError::Missing)?;
    // What the manifest contains is not replayed: its log may have gone in parts.
    shared.log.covered(repl, &head.manifest.covered);
    let records = shared.log.replay(repl).await.map_err(|error| match error {
        tandem_store::LogError::Damaged { .. } => OpenError::Corrupt(error.to_string()),
        error => OpenError::Unavailable(error.to_string()),
    })?;
    let loaded = replay(&head.manifest, records)?;
    let notices = match head.damaged.len() {
        0 => shared.notices.clone(),
        count => {
            let mut notices = shared.notices.clone();
            notices.push(format!("{count} newer saved states of this repl are damaged; recent changes of its files may be missing."));
            notices
        }
    };
    Ok(build(shared, store, lease, (head.key, loaded), (sandbox, notices)))
}

async fn take_lease(
    shared: &Arc<Shared>,
    store: &ReplStore,
) -> Result<(HeldLease, Option<String>), OpenError> {
    let seen = store.highest_epoch().await?;
    let lease = shared.web.lease(store.repl(), seen).await?;
    let held = HeldLease::new(lease.epoch, Duration::from_millis(lease.lasts_ms));
    Ok((held, lease.head))
}

fn build(
    shared: Arc<Shared>,
    store: ReplStore,
    lease: HeldLease,
    (head, loaded): (String, Loaded),
    (sandbox, notices): (Option<Sandbox>, Vec<String>),
) -> Opened {
    let (inbox_sender, inbox) = mpsc::channel(MAILBOX);
    let (summary_sender, summary) = watch::channel(Summary::default());
    let (endings, endings_receiver) = mpsc::channel(4);
    let finished = CancellationToken::new();
    let closing = CancellationToken::new();
    let client_id = shared.random_client_id();
    let generation = Generation((lease.epoch.0 << 20) | (wall_ms() & 0xf_ffff));
    let mut room = Room {
        repl: store.repl(),
        lease: lease.clone(),
        inbox,
        tasks: JoinSet::new(),
        tree: loaded.tree,
        files: loaded.files,
        documents: super::documents::Documents::default(),
        peers: Peers::default(),
        live: Live::new(client_id, generation, notices),
        deferred: super::deferred::Deferred::default(),
        durable: shared.log.durable(),
        last_lsn: shared.log.current(),
        sandbox: SandboxState::new(shared.limits),
        waiting_for_sandbox: Vec::new(),
        disk: super::disk::Disk::default(),
        terminals: super::terminals::Terminals::default(),
        project: Project::default(),
        saved: Saved::new(Some(head), 1, (loaded.covered, loaded.older)),
        leaving: Leaving::new(shared.room.idle_grace),
        summary: summary_sender,
        closing: closing.clone(),
        updated_ms: wall_ms(),
        ending: None,
        deletions: loaded.deletions.into(),
        evict: std::collections::HashSet::new(),
        bases: loaded.bases,
        store,
        shared,
    };
    room.load_with_log(loaded.edits);
    if loaded.tree_changed {
        room.saved.tree_changed();
    }
    if let Some(sandbox) = sandbox {
        room.adopt_sandbox(sandbox);
    }
    let handle = RoomHandle { inbox: inbox_sender, summary, closing, finished: finished.clone() };
    let run = Box::pin(room.run(endings_receiver, finished));
    Opened { handle, endings, lease, run }
}

impl Room {
    /// First thing in the loop.
    pub(super) fn started(&mut self) {
        tracing::info!(repl = %self.repl, epoch = %self.lease.epoch, files = self.tree.len(), "the repl is open");
        self.read_project();
    }

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
            parent: self.saved.head().map(str::to_owned),
            tree_version: self.tree.version(),
            tree,
            covered,
            terminals: Vec::new(),
            saved_ms: now,
        }
    }

    /// What is stored of every file of the tree.
    pub(super) fn stored_of_tree(&self) -> HashMap<FileId, Stored> {
        self.tree.iter().filter_map(|(id, _)| Some((id, self.files.stored(id)?.clone()))).collect()
    }
}

fn tree_node(id: FileId, node: &Node, deleted_ms: Option<u64>) -> Option<TreeNode> {
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

fn stored(content: &Content) -> Option<Stored> {
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

/// Rebuilds the state from the manifest and the log above it.
fn replay(manifest: &Manifest, records: Vec<Record>) -> Result<Loaded, OpenError> {
    let (tree, mut files, deletions) = from_manifest(manifest)?;
    let mut loaded = Loaded {
        tree,
        bases: HashMap::new(),
        deletions,
        edits: HashMap::new(),
        covered: manifest.covered.clone(),
        older: manifest.covered.clone(),
        tree_changed: false,
        files: Files::default(),
    };
    for (id, _) in loaded.tree.iter() {
        if let Some(Stored::Document { hash: Some(hash), .. }) = files.stored(id) {
            loaded.bases.insert(id, vec![Base::of_snapshot(*hash)]);
        }
    }
    for (order, record) in records.into_iter().enumerate() {
        let position = loaded.older.entry((record.node, record.boot)).or_insert(Lsn(0));
        let covered = record.lsn <= *position;
        *position = (*position).max(record.lsn);
        match record.kind {
            RecordKind::Tree => replay_tree(&mut loaded, &mut files, &record)?,
            RecordKind::Update if !covered => {
                let (boot, lsn, update) = (record.boot, record.lsn, record.payload);
                let edit = LoggedEdit { order, boot, lsn, update };
                loaded.edits.entry(record.document).or_default().push((record.generation, edit));
            }
            RecordKind::Base => {
                if let Some(base) = Base::read(&record, order) {
                    base::push(loaded.bases.entry(record.document).or_default(), base);
                }
            }
            RecordKind::Update | RecordKind::Author => {}
        }
    }
    // A document that never got a snapshot has its whole history in the log. Edits of an older
    // history than the current one are contained in it as text.
    for (file, edits) in &mut loaded.edits {
        if let Some(Stored::Document { generation, .. }) = files.stored(*file) {
            edits.retain(|(of, _)| of == generation);
        }
        if loaded.tree.get(*file).is_some()
            && !matches!(files.stored(*file), Some(Stored::Document { .. }))
        {
            let generation = edits.first().map_or(Generation(1), |(of, _)| *of);
            let stored = Stored::Document {
                generation,
                format: TextFormat::default(),
                snapshot: None,
                hash: None,
                size: 0,
            };
            files.set_stored(*file, stored);
        }
    }
    loaded.files = files;
    Ok(loaded)
}

fn replay_tree(loaded: &mut Loaded, files: &mut Files, record: &Record) -> Result<(), OpenError> {
    let TreeRecord { version, change } =
        serde_json::from_slice(&record.payload).map_err(|error| {
            OpenError::Corrupt(format!("a tree record of the log cannot be read: {error}"))
        })?;
    if version <= loaded.tree.version() && !matches!(change, Logged::Content(..)) {
        return Ok(());
    }
    loaded.tree_changed = true;
    match change {
        Logged::Tree(change) => {
            if let Change::Remove { id } = &change
                && let Some(path) = loaded.tree.path(*id)
            {
                let nodes = loaded
                    .tree
                    .subtree(*id)
                    .into_iter()
                    .filter_map(|file| {
                        Some((file, loaded.tree.get(file)?.clone(), files.stored(file).cloned()))
                    })
                    .collect();
                loaded.deletions.push(Deleted { path, nodes, at_ms: record.wall_ms });
            }
            loaded.tree.apply(&change);
            loaded.tree.set_version(version);
        }
        // A later manifest may know better than an old record.
        Logged::Content(file, stored) => {
            if version >= loaded.tree.version() {
                files.set_stored(file, stored);
            }
        }
    }
    Ok(())
}

type FromManifest = (Tree, Files, Vec<Deleted>);

fn from_manifest(manifest: &Manifest) -> Result<FromManifest, OpenError> {
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

fn from_tree_node(node: &TreeNode) -> Node {
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

/// One file of a new repl.
pub(crate) struct SeedFile {
    /// Where.
    pub path: RelPath,
    /// Executable bit.
    pub executable: bool,
    /// Its bytes.
    pub content: Bytes,
}

/// Writes a new repl's first manifest. The lease stays with this node, which opens it next.
pub(crate) async fn seed(
    shared: &Arc<Shared>,
    repl: ReplId,
    files: Vec<SeedFile>,
    folders: Vec<RelPath>,
) -> Result<(), OpenError> {
    let store = ReplStore::new(shared.blobs.clone(), repl);
    let (lease, head) = take_lease(shared, &store).await?;
    if head.is_some() {
        return Err(OpenError::Held("this repl was filled already".to_owned()));
    }
    let blobs = store.put_files(files.iter().map(|file| file.content.clone()).collect()).await?;
    let mut tree = Tree::new(0);
    let mut contents = HashMap::new();
    let fresh = || shared.random_file_id();
    let place = |error: super::tree::TreeError| OpenError::Corrupt(error.to_string());
    for folder in &folders {
        let (changes, _) = tree.plan_folders(Some(folder), fresh).map_err(place)?;
        for change in changes {
            tree.apply(&change);
        }
    }
    for (file, blob) in files.iter().zip(blobs) {
        let (changes, parent) =
            tree.plan_folders(file.path.parent().as_ref(), fresh).map_err(place)?;
        for change in changes {
            tree.apply(&change);
        }
        let id = fresh();
        let node = Node {
            parent,
            name: file.path.name().to_owned(),
            kind: Kind::File,
            executable: file.executable,
            size: blob.size,
            ignored: false,
        };
        tree.apply(&Change::Put { id, node });
        contents.insert(id, Stored::Blob(blob));
    }
    let mut manifest = Manifest {
        repl,
        epoch: lease.epoch,
        seq: 0,
        parent: None,
        tree_version: tree.version(),
        tree: tree.iter().filter_map(|(id, node)| tree_node(id, node, None)).collect(),
        // Damage older than the repl is not its own.
        covered: shared.log.horizon(),
        terminals: Vec::new(),
        saved_ms: wall_ms(),
    };
    set_contents(&mut manifest, &contents);
    let key = store.put_manifest(&manifest).await?;
    commit(shared, repl, lease.epoch, key).await
}

async fn commit(
    shared: &Arc<Shared>,
    repl: ReplId,
    epoch: Epoch,
    key: String,
) -> Result<(), OpenError> {
    match shared.web.move_head(repl, epoch, None, key).await? {
        true => Ok(()),
        false => Err(OpenError::Held("another server holds this repl".to_owned())),
    }
}
