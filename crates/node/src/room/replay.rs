//! The state of a repl from its manifest and the log above it.

use std::collections::HashMap;

use tandem_doc::text::TextFormat;
use tandem_proto::{Epoch, FileId, Generation, Lsn};
use tandem_store::{Manifest, Positions, Record, RecordKind, StoredFolder, StoredTerminal};

use super::base::{self, Base, LoggedEdit};
use super::contents::{Deleted, Files, Logged, Stored, TreeRecord};
use super::history::History;
use super::manifest::from_manifest;
use super::open::OpenError;
use super::tree::{Change, Node, Tree};

/// What the manifest and the log say.
pub(super) struct Loaded {
    pub tree: Tree,
    pub files: Files,
    pub deletions: Vec<Deleted>,
    pub edits: HashMap<FileId, Vec<(Generation, LoggedEdit)>>,
    pub bases: HashMap<FileId, Vec<Base>>,
    /// What the manifest contains.
    pub covered: Positions,
    /// The same and what was replayed above it.
    pub older: Positions,
    pub tree_changed: bool,
    pub terminals: Vec<StoredTerminal>,
    pub ignored: Vec<StoredFolder>,
    pub history: History,
    /// Records of openings before the manifest's, which it does not cover: somebody wrote them who
    /// had lost the repl.
    pub late: Vec<Record>,
}

/// One log out of the own one and what was shipped: each record once, opening by opening.
pub(super) fn unite(own: Vec<Record>, shipped: Vec<Record>) -> Vec<Record> {
    let mut records = own;
    records.extend(shipped);
    records.sort_by_key(|record| (record.epoch, record.node, record.boot, record.lsn));
    records.dedup_by_key(|record| (record.node, record.boot, record.lsn));
    records
}

/// Rebuilds the state from the manifest and the log above it.
///
/// The log may hold several openings after the manifest's, each of which began with what it found
/// of those before; what was shipped too late for that comes in between. So a record of a later
/// opening counts more than one of an earlier, and nothing that was made is left out.
pub(super) fn replay(manifest: &Manifest, records: Vec<Record>) -> Result<Loaded, OpenError> {
    let (tree, mut files, deletions) = from_manifest(manifest)?;
    let mut loaded = Loaded {
        tree,
        bases: HashMap::new(),
        deletions,
        edits: HashMap::new(),
        covered: manifest.covered.clone(),
        older: manifest.covered.clone(),
        tree_changed: false,
        terminals: manifest.terminals.clone(),
        ignored: manifest.ignored.clone(),
        files: Files::default(),
        history: History::new(manifest.history.clone(), manifest.checkpoints.clone()),
        late: Vec::new(),
    };
    let mut opening = Opening { epoch: manifest.epoch, version: manifest.tree_version };
    let mut removed: HashMap<FileId, Epoch> = HashMap::new();
    for (id, _) in loaded.tree.iter() {
        if let Some(Stored::Document { hash: Some(hash), .. }) = files.stored(id) {
            loaded.bases.insert(id, vec![Base::of_snapshot(*hash)]);
        }
    }
    for (order, record) in records.into_iter().enumerate() {
        if record.epoch < manifest.epoch {
            if manifest.covered.get(&(record.node, record.boot)) < Some(&record.lsn) {
                loaded.late.push(record);
            }
            continue;
        }
        let position = loaded.older.entry((record.node, record.boot)).or_insert(Lsn(0));
        let covered = record.lsn <= *position;
        *position = (*position).max(record.lsn);
        match record.kind {
            RecordKind::Tree => {
                if record.epoch > opening.epoch {
                    // It may have begun without the last changes of the one before.
                    opening = Opening { epoch: record.epoch, version: 0 };
                }
                replay_tree(&mut loaded, &mut files, &mut removed, (&mut opening, &record))?;
            }
            RecordKind::Update if !covered => {
                if removed.get(&record.document).is_some_and(|removed| *removed < record.epoch) {
                    // Whoever edited it later did not know that it was deleted.
                    revive(&mut loaded, &mut files, record.document);
                    removed.remove(&record.document);
                }
                let (file, generation) = (record.document, record.generation);
                let Record { boot, lsn, author, wall_ms: ms, payload: update, .. } = record;
                let edit = LoggedEdit { order, boot, lsn, ms, author, update };
                loaded.edits.entry(file).or_default().push((generation, edit));
            }
            RecordKind::Base => {
                if let Some(base) = Base::read(&record, order) {
                    base::push(loaded.bases.entry(record.document).or_default(), base);
                }
            }
            RecordKind::Author if !covered => {
                if let Ok(author) = serde_json::from_slice(&record.payload) {
                    loaded.history.replay_author(record.document, &author);
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

/// One opening of the repl, as far as its tree records were replayed.
struct Opening {
    epoch: Epoch,
    /// Its last change that is contained.
    version: u64,
}

fn replay_tree(
    loaded: &mut Loaded,
    files: &mut Files,
    removed: &mut HashMap<FileId, Epoch>,
    (opening, record): (&mut Opening, &Record),
) -> Result<(), OpenError> {
    let TreeRecord { version, change } = read_tree_record(record)?;
    if version <= opening.version && !matches!(change, Logged::Content(..)) {
        return Ok(());
    }
    loaded.tree_changed = true;
    match change {
        Logged::Tree(change) => {
            if let Change::Remove { id } = &change
                && let Some(path) = loaded.tree.path(*id)
            {
                let below = loaded.tree.subtree(*id);
                removed.extend(below.iter().map(|file| (*file, record.epoch)));
                let nodes = below
                    .into_iter()
                    .filter_map(|file| {
                        Some((file, loaded.tree.get(file)?.clone(), files.stored(file).cloned()))
                    })
                    .collect();
                loaded.deletions.push(Deleted { path, nodes, at_ms: record.wall_ms });
            }
            let change = match change {
                Change::Put { id, node } => make_place(&mut loaded.tree, id, node),
                remove => remove,
            };
            loaded.tree.apply(&change);
            let reached = loaded.tree.version().max(version);
            loaded.tree.set_version(reached);
            opening.version = version;
        }
        // A later manifest may know better than an old record.
        Logged::Content(file, stored) => {
            if version >= opening.version {
                files.set_stored(file, stored);
            }
        }
    }
    Ok(())
}

/// What a tree record says.
pub(super) fn read_tree_record(record: &Record) -> Result<TreeRecord, OpenError> {
    serde_json::from_slice(&record.payload).map_err(|error| {
        OpenError::Corrupt(format!("a tree record of the log cannot be read: {error}"))
    })
}

/// A node of one opening in a tree that holds changes of another which it never saw: the name may
/// be taken, the folder gone.
fn make_place(tree: &mut Tree, id: FileId, node: Node) -> Change {
    let parent = if tree.is_folder(node.parent) { node.parent } else { FileId::ROOT };
    if let Some(taken) = tree.child(parent, &node.name).filter(|taken| *taken != id)
        && let Some(other) = tree.get(taken).cloned()
    {
        let name = tree.free_name(parent, &other.name);
        tree.apply(&Change::Put { id: taken, node: Node { name, ..other } });
    }
    Change::Put { id, node: Node { parent, ..node } }
}

fn revive(loaded: &mut Loaded, files: &mut Files, file: FileId) {
    let found = loaded.deletions.iter().rev().find_map(|deleted| {
        let (_, node, stored) = deleted.nodes.iter().find(|(id, _, _)| *id == file)?;
        Some((node.clone(), stored.clone()))
    });
    let Some((node, stored)) = found else { return };
    let change = make_place(&mut loaded.tree, file, node);
    loaded.tree.apply(&change);
    loaded.tree_changed = true;
    if let Some(stored) = stored {
        files.set_stored(file, stored);
    }
}
