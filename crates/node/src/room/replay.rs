//! The state of a repl from its manifest and the log above it.

use std::collections::HashMap;

use tandem_doc::text::TextFormat;
use tandem_proto::{FileId, Generation, Lsn};
use tandem_store::{Manifest, Positions, Record, RecordKind, StoredTerminal};

use super::base::{self, Base, LoggedEdit};
use super::files::{Deleted, Files, Logged, Stored, TreeRecord};
use super::history::History;
use super::manifest::from_manifest;
use super::open::OpenError;
use super::tree::{Change, Tree};

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
    pub history: History,
}

/// Rebuilds the state from the manifest and the log above it.
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
        files: Files::default(),
        history: History::new(manifest.history.clone(), manifest.checkpoints.clone()),
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
