//! What comes too late: log, snapshots and manifests of openings that had lost this repl.
//!
//! A server can be paused for minutes and write on when it wakes, before it learns that another
//! one holds the repl; two servers may not even know of each other. What they wrote is merged, not
//! dropped: edits as edits, files that only they had as files, another content of a file as a copy
//! beside it. What they deleted or renamed is left as it is here.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tandem_doc::{Applied, Rejected};
use tandem_proto::{Epoch, FileId, Generation, Lsn, MemberId};
use tandem_store::{
    Beside, Branch, Manifest, NewRecord, ObjectError, Positions, Record, RecordKind, ReplStore,
    SnapshotKey, merge_positions,
};

use super::contents::{Deleted, Logged, Stored};
use super::manifest::from_manifest;
use super::replay::{read_tree_record, unite};
use super::tree::{Change, Kind, Node};
use super::{Continuation, Ending, Room};
use crate::lease::wall_ms;
use crate::shared::Shared;

/// When to look, after the opening. Whoever wakes later than the last is found by the next opening.
const LOOKS: [Duration; 9] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(240),
    Duration::from_secs(420),
    Duration::from_secs(600),
];
/// While the room is busy with its own opening or ending.
const NOT_NOW: Duration = Duration::from_millis(500);
/// After a look that failed.
const AGAIN: Duration = Duration::from_secs(5);
/// Longest time one late edit may keep the room busy.
const MAX_APPLY: Duration = Duration::from_secs(1);

/// What was looked at, and when to look again.
#[derive(Debug)]
pub struct Late {
    opened: Instant,
    looked: usize,
    looking: bool,
    /// From the own log, at the opening.
    records: Vec<Record>,
    /// Snapshots of other epochs at the last look.
    snapshots: Option<HashSet<String>>,
}

/// Which snapshots of other epochs are no news.
struct Seen {
    /// Those of the last look; of documents that are not open they are contained when these are
    /// loaded.
    snapshots: Option<HashSet<String>>,
    /// Which history the open documents are of, and what they contain of it.
    merged: HashMap<FileId, (Generation, BTreeMap<Epoch, Lsn>)>,
}

impl Seen {
    fn has(&self, snapshot: &SnapshotKey) -> bool {
        match (self.merged.get(&snapshot.file), &self.snapshots) {
            (Some((generation, merged)), _) => {
                *generation != snapshot.generation
                    || merged.get(&snapshot.epoch) >= Some(&snapshot.lsn)
            }
            (None, Some(seen)) => seen.contains(&snapshot.key),
            (None, None) => true,
        }
    }
}

impl Late {
    /// Looks for the first time when the room is open.
    pub fn new(records: Vec<Record>) -> Self {
        Self { opened: Instant::now(), looked: 0, looking: false, records, snapshots: None }
    }

    /// When to look again.
    pub fn deadline(&self) -> Option<Instant> {
        let after = LOOKS.get(self.looked).filter(|_| !self.looking)?;
        Some(self.opened + *after)
    }
}

/// What one look found.
struct Found {
    newest: Epoch,
    records: Vec<Record>,
    /// Of all snapshots of other epochs.
    keys: HashSet<String>,
    /// Those that are new, with their states.
    snapshots: Vec<(SnapshotKey, Bytes)>,
    branches: Vec<Branch>,
}

/// An edit to be merged.
struct LateEdit {
    update: Bytes,
    generation: Generation,
    /// It is a whole state: the snapshot that the document contains afterwards.
    snapshot: Option<(Epoch, Lsn)>,
    author: Option<MemberId>,
    wall_ms: u64,
}

/// Files that are not here.
#[derive(Default)]
struct Adopted {
    /// Parents first.
    nodes: Vec<(FileId, Node, Option<Stored>)>,
    at: HashMap<FileId, usize>,
    /// Files that are blobs here and became documents there.
    documents: Vec<(FileId, Stored)>,
}

/// What is merged step by step, and what is contained when all of it is.
#[derive(Default)]
struct Work {
    /// The first is the root of the others.
    files: VecDeque<Vec<(FileId, Node, Option<Stored>)>>,
    documents: Vec<(FileId, Stored)>,
    edits: VecDeque<(FileId, Vec<LateEdit>)>,
    positions: Positions,
    branches: Vec<Manifest>,
    /// Something could not be merged yet: its objects stay.
    incomplete: bool,
}

impl Room {
    /// Looks when it is time and the disk, if there is one, is known: what is brought back is
    /// written there.
    pub(super) fn look_for_late(&mut self, now: Instant) {
        if self.late.deadline().is_none_or(|at| at > now) {
            return;
        }
        if self.ending.is_some()
            || self.sandbox.is_coming()
            || self.documents.is_loading_with_log()
            || !self.lease.may_ack()
            || !self.log_takes_records()
        {
            self.late.opened += NOT_NOW;
            return;
        }
        self.late.looking = true;
        let (shared, store, own) = (self.shared.clone(), self.store.clone(), self.lease.epoch);
        let above = self.saved.contained();
        let lineage = self.saved.lineage().to_vec();
        let seen = Seen {
            snapshots: self.late.snapshots.clone(),
            merged: self
                .documents
                .open()
                .map(|(file, document)| (file, (document.generation, document.merged.clone())))
                .collect(),
        };
        self.spawn(async move {
            let found = look(&shared, &store, (own, above), seen, &lineage).await;
            Box::new(move |room: &mut Room| room.late_found(found)) as Continuation
        });
    }

    fn late_found(&mut self, found: Result<Found, ObjectError>) {
        self.late.looking = false;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                // The same look again, not the next.
                self.late.opened += AGAIN;
                tracing::debug!(repl = %self.repl, %error, "what came late cannot be looked for now");
                return;
            }
        };
        self.late.looked += 1;
        if self.ending.is_some() {
            return;
        }
        if found.newest > self.lease.epoch {
            tracing::error!(repl = %self.repl, epoch = %found.newest, "another server has opened this repl");
            return self.end(Ending::LostLease);
        }
        self.late.snapshots = Some(found.keys);
        let records = unite(std::mem::take(&mut self.late.records), found.records);
        if records.is_empty() && found.snapshots.is_empty() && found.branches.is_empty() {
            return;
        }
        tracing::info!(
            repl = %self.repl,
            records = records.len(),
            snapshots = found.snapshots.len(),
            manifests = found.branches.len(),
            "merging what another opening of this repl wrote too late"
        );
        let work = self.plan_late(records, found.snapshots, found.branches);
        self.merge_late(work);
    }

    fn plan_late(
        &mut self,
        records: Vec<Record>,
        snapshots: Vec<(SnapshotKey, Bytes)>,
        branches: Vec<Branch>,
    ) -> Work {
        let mut work = Work::default();
        let mut adopted = Adopted::default();
        for branch in branches {
            self.plan_branch(&mut adopted, &branch);
            merge_positions(&mut work.positions, &branch.manifest.covered);
            work.branches.push(branch.manifest);
        }
        let mut edits: BTreeMap<FileId, Vec<LateEdit>> = BTreeMap::new();
        for (SnapshotKey { epoch, file, generation, lsn, .. }, update) in snapshots {
            let snapshot = Some((epoch, lsn));
            let edit = LateEdit { update, generation, snapshot, author: None, wall_ms: wall_ms() };
            edits.entry(file).or_default().push(edit);
        }
        for record in records {
            let position = work.positions.entry((record.node, record.boot)).or_default();
            *position = (*position).max(record.lsn);
            match record.kind {
                RecordKind::Tree => match read_tree_record(&record) {
                    Ok(record) => self.plan_change(&mut adopted, record.change),
                    Err(error) => {
                        tracing::error!(repl = %self.repl, %error, "a late record is left out");
                    }
                },
                RecordKind::Update => edits.entry(record.document).or_default().push(LateEdit {
                    update: record.payload,
                    generation: record.generation,
                    snapshot: None,
                    author: record.author,
                    wall_ms: record.wall_ms,
                }),
                RecordKind::Author => {
                    if let Ok(author) = serde_json::from_slice(&record.payload) {
                        self.history.replay_author(record.document, &author);
                    }
                }
                RecordKind::Base => {}
            }
        }
        work.edits = edits.into_iter().collect();
        work.documents = std::mem::take(&mut adopted.documents);
        work.files = adopted.groups();
        work
    }

    fn is_known(&self, file: FileId) -> bool {
        self.tree.get(file).is_some()
            || self
                .deletions
                .iter()
                .any(|deleted| deleted.nodes.iter().any(|(gone, _, _)| *gone == file))
    }

    fn plan_change(&self, adopted: &mut Adopted, change: Logged) {
        match change {
            Logged::Tree(Change::Put { id, node }) => {
                if adopted.has(id) || !self.is_known(id) {
                    adopted.put(id, node);
                }
            }
            // What was deleted there may be wanted here.
            Logged::Tree(Change::Remove { id }) => adopted.remove(id),
            Logged::Content(id, stored) => self.plan_content(adopted, id, stored),
        }
    }

    fn plan_content(&self, adopted: &mut Adopted, id: FileId, stored: Stored) {
        if let Some(at) = adopted.at.get(&id) {
            adopted.nodes[*at].2 = Some(stored);
        } else if matches!(stored, Stored::Document { .. })
            && matches!(self.files.stored(id), Some(Stored::Blob(_)))
        {
            adopted.documents.push((id, stored));
        }
    }

    fn plan_branch(&self, adopted: &mut Adopted, branch: &Branch) {
        let Ok((tree, files, _)) = from_manifest(&branch.manifest) else {
            tracing::error!(repl = %self.repl, epoch = %branch.manifest.epoch, "a late manifest is damaged and left out");
            return;
        };
        let before = branch.fork.as_ref().and_then(|fork| from_manifest(fork).ok());
        for id in tree.subtree(FileId::ROOT) {
            let Some(node) = tree.get(id) else { continue };
            let theirs = files.stored(id);
            if !self.is_known(id) {
                adopted.put(id, node.clone());
                if let Some(theirs) = theirs {
                    self.plan_content(adopted, id, theirs.clone());
                }
                continue;
            }
            match (theirs, self.files.stored(id)) {
                (Some(Stored::Blob(theirs)), ours) if node.kind == Kind::File => {
                    let same = matches!(ours, Some(Stored::Blob(ours)) if ours.hash == theirs.hash);
                    let began_with = before.as_ref().and_then(|(_, files, _)| files.stored(id));
                    let unchanged =
                        matches!(began_with, Some(Stored::Blob(old)) if old.hash == theirs.hash);
                    if !same && !unchanged && self.tree.get(id).is_some() {
                        // Both changed it: theirs is kept beside ours.
                        let copy = self.shared.random_file_id();
                        adopted.put(copy, node.clone());
                        adopted.set(copy, Stored::Blob(theirs.clone()));
                    }
                }
                (Some(theirs), _) => self.plan_content(adopted, id, theirs.clone()),
                (None, _) => {}
            }
        }
    }

    /// Files, then what they hold, then edits; each step goes on where the one before ended.
    fn merge_late(&mut self, mut work: Work) {
        if self.ending.is_some() {
            return;
        }
        if let Some(files) = work.files.pop_front() {
            return match self.place(files) {
                Some(files) => self.bring_back(files, move |room, outcome| {
                    if let Err(error) = outcome {
                        tracing::error!(repl = %room.repl, %error, "a late file could not be taken in");
                        work.incomplete = true;
                    }
                    room.merge_late(work);
                }),
                None => self.merge_late(work),
            };
        }
        for (file, stored) in std::mem::take(&mut work.documents) {
            // Whoever opened it here meanwhile made the same document from the same bytes.
            if matches!(self.files.stored(file), Some(Stored::Blob(_)))
                && self.documents.slot_mut(file).is_none()
                && !self.files.is_dirty(file)
            {
                self.log_content(file, stored);
            }
        }
        while let Some((file, edits)) = work.edits.pop_front() {
            self.revive(file);
            if self.tree.get(file).is_none() {
                continue;
            }
            if self.documents.get(file).is_none() {
                return self.when_loaded(file, move |room| {
                    work.incomplete |= !room.merge_late_edits(file, edits);
                    room.merge_late(work);
                });
            }
            work.incomplete |= !self.merge_late_edits(file, edits);
        }
        if !work.incomplete {
            self.saved.contains(&work.positions, &work.branches);
        }
        self.saved.tree_changed();
    }

    /// The place where a file of another opening, and what is below it, can be.
    fn place(&self, mut nodes: Vec<(FileId, Node, Option<Stored>)>) -> Option<Deleted> {
        let (_, root, _) = nodes.first_mut()?;
        if !self.tree.is_folder(root.parent) {
            root.parent = FileId::ROOT;
        }
        root.name = self.tree.free_name(root.parent, &root.name);
        let path = match self.tree.path(root.parent) {
            Some(parent) => parent.join(&root.name),
            None => tandem_proto::RelPath::parse(&root.name),
        };
        Some(Deleted { path: path.ok()?, nodes, at_ms: wall_ms() })
    }

    /// Merges edits into an open document; whether all could be.
    fn merge_late_edits(&mut self, file: FileId, edits: Vec<LateEdit>) -> bool {
        let mut merged = true;
        self.authors_loaded(file);
        for edit in edits {
            let Some(document) = self.documents.get_mut(file) else { return false };
            if document.generation != edit.generation {
                tracing::error!(repl = %self.repl, %file, "a late edit belongs to another history of its file and is left out");
                continue;
            }
            let until = Instant::now() + MAX_APPLY;
            let noted = document.disk.merge.note_edit(&document.doc);
            let applied = noted
                .and_then(|()| document.doc.apply_within(&edit.update, || Instant::now() < until));
            if let (Ok(_), Some((epoch, lsn))) = (&applied, edit.snapshot) {
                let contained = document.merged.entry(epoch).or_default();
                *contained = (*contained).max(lsn);
            }
            match applied {
                Ok(Applied::New) => self.accept_late(file, edit),
                Ok(Applied::Known) => {}
                Err(Rejected::Broken) => {
                    self.document_broke(file);
                    return false;
                }
                Err(reason) => {
                    tracing::warn!(repl = %self.repl, %file, %reason, "a late edit cannot be merged yet");
                    merged = false;
                }
            }
        }
        merged
    }

    fn accept_late(&mut self, file: FileId, edit: LateEdit) {
        let bytes = edit.update.len();
        let record = NewRecord {
            repl: self.repl,
            epoch: self.lease.epoch,
            kind: RecordKind::Update,
            document: file,
            generation: edit.generation,
            author: edit.author,
            wall_ms: edit.wall_ms,
            payload: edit.update.clone(),
        };
        let Some(lsn) = self.log_record(record) else { return };
        self.note_edited(file, lsn, bytes);
        self.broadcast(file, &edit.update, None);
    }
}

impl Adopted {
    fn has(&self, id: FileId) -> bool {
        self.at.contains_key(&id)
    }

    fn put(&mut self, id: FileId, node: Node) {
        match self.at.get(&id) {
            Some(at) => self.nodes[*at].1 = node,
            None => {
                self.at.insert(id, self.nodes.len());
                self.nodes.push((id, node, None));
            }
        }
    }

    fn set(&mut self, id: FileId, stored: Stored) {
        if let Some(at) = self.at.get(&id) {
            self.nodes[*at].2 = Some(stored);
        }
    }

    fn remove(&mut self, id: FileId) {
        let mut gone = HashSet::from([id]);
        for (below, node, _) in &self.nodes {
            if gone.contains(&node.parent) {
                gone.insert(*below);
            }
        }
        self.nodes.retain(|(id, _, _)| !gone.contains(id));
        self.at = self.nodes.iter().enumerate().map(|(at, (id, _, _))| (*id, at)).collect();
    }

    /// Each file or folder whose parent is not among them, with what is below it.
    fn groups(self) -> VecDeque<Vec<(FileId, Node, Option<Stored>)>> {
        let mut groups: VecDeque<Vec<(FileId, Node, Option<Stored>)>> = VecDeque::new();
        let mut group_of: HashMap<FileId, usize> = HashMap::new();
        for (id, node, stored) in self.nodes {
            let group = group_of.get(&node.parent).copied();
            let at = group.unwrap_or(groups.len());
            group_of.insert(id, at);
            match groups.get_mut(at) {
                Some(group) => group.push((id, node, stored)),
                None => groups.push_back(vec![(id, node, stored)]),
            }
        }
        groups
    }
}

async fn look(
    shared: &Shared,
    store: &ReplStore,
    (own, above): (Epoch, Positions),
    seen: Seen,
    lineage: &[(Epoch, u64)],
) -> Result<Found, ObjectError> {
    let mut records = shared.shipped_logs.records(store.repl(), &above).await?;
    records.retain(|record| record.epoch < own);
    let Beside { newest, snapshots: beside, branches } = store.beside(own, lineage).await?;
    let keys = beside.iter().map(|snapshot| snapshot.key.clone()).collect();
    let mut snapshots = Vec::new();
    for snapshot in beside.into_iter().filter(|snapshot| !seen.has(snapshot)) {
        let state = store.get_snapshot(&snapshot.key).await?.content.state;
        snapshots.push((snapshot, state));
    }
    Ok(Found { newest, records, keys, snapshots, branches })
}
