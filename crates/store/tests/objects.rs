//! A repl's objects: what is stored comes back, what is damaged is an error that names the key,
//! and nothing damaged or missing is ever taken for "there is none".

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tandem_proto::history::{CheckpointReason, HistoryAuthor};
use tandem_proto::{
    BootId, Epoch, FileId, Generation, LinkId, Lsn, MemberId, NodeId, RelPath, ReplId, Role,
};
use tandem_store::blob::MemoryStore;
use tandem_store::{
    Authors, BlobRef, BlobStore, CatalogueRecord, Content, ContentHash, Eol, Grain, HistoryPack,
    Manifest, NewSnapshot, NodeKind, ObjectError, PackedBase, PackedEdit, PackedFile, ReplStore,
    StoredCheckpoint, StoredDocument, StoredFolder, StoredLink, StoredMember, StoredPack, Swept,
    TreeNode, join_lineage, list_repls, load_catalogue,
};

fn store() -> (Arc<MemoryStore>, ReplStore) {
    let blobs = Arc::new(MemoryStore::default());
    let repl = ReplStore::new(blobs.clone(), ReplId::from_random([1; 10]));
    (blobs, repl)
}

/// Replaces an object, which no caller of the crate could.
async fn replace(blobs: &MemoryStore, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = blobs.get(key).await.unwrap().unwrap().to_vec();
    change(&mut bytes);
    blobs.delete(key).await.unwrap();
    blobs.put(key, bytes.into()).await.unwrap();
}

fn manifest(repl: ReplId, epoch: u64, seq: u64) -> Manifest {
    let file = |n: u8, name: &str, kind, content| TreeNode {
        id: FileId::from_random([n; 10]),
        parent: FileId::ROOT,
        name: name.to_owned(),
        kind,
        executable: n.is_multiple_of(2),
        content,
        deleted_ms: (n == 3).then_some(12),
    };
    let document = StoredDocument {
        snapshot: "repls/x".to_owned(),
        generation: Generation(4),
        eol: Eol::Crlf,
        bom: true,
        size: 99,
        text_hash: ContentHash::of(b"text"),
    };
    let positions = [(1u8, 2u64, 3u64), (1, 9, u64::MAX), (4, 5, 6)];
    Manifest {
        repl,
        epoch: Epoch(epoch),
        seq,
        parent: Some("before".to_owned()),
        lineage: Vec::new(),
        tree_version: 7,
        tree: vec![
            file(1, "src", NodeKind::Folder, Content::None),
            file(2, "main.py", NodeKind::File, Content::Document(document)),
            file(3, "ä b", NodeKind::Symlink { target: "../x".to_owned() }, Content::None),
        ],
        covered: positions
            .map(|(node, boot, lsn)| ((NodeId::from_random([node; 10]), BootId(boot)), Lsn(lsn)))
            .into(),
        terminals: Vec::new(),
        history: Vec::new(),
        checkpoints: Vec::new(),
        ignored: Vec::new(),
        swept_ms: 0,
        saved_ms: 1_700_000_000_000,
    }
}

#[tokio::test]
async fn the_head_is_the_highest_manifest_without_a_database() {
    let (blobs, store) = store();
    assert_eq!(store.load_head(None).await.unwrap(), None);
    assert_eq!(store.highest_epoch().await.unwrap(), Epoch(0));
    for (epoch, seq) in [(9, 2), (10, 1), (10, 10), (10, 9), (2, 50)] {
        store.put_manifest(&manifest(store.repl(), epoch, seq)).await.unwrap();
    }
    let head = store.load_head(None).await.unwrap().unwrap();
    assert_eq!(head.manifest, manifest(store.repl(), 10, 10));
    assert!(head.damaged.is_empty());
    assert_eq!(store.highest_epoch().await.unwrap(), Epoch(10));
    assert_eq!(list_repls(&*blobs).await.unwrap(), [store.repl()]);

    let hinted = store.load_head(Some(&head.key)).await.unwrap().unwrap();
    assert_eq!(hinted, head);
    let gone = store.load_head(Some(&format!("{}x", head.key))).await;
    assert!(matches!(gone, Err(ObjectError::Missing { .. })), "{gone:?}");
    let foreign = store.load_head(Some("repls/other/e1/m/1.x")).await;
    assert!(matches!(foreign, Err(ObjectError::Foreign { .. })), "{foreign:?}");
}

#[tokio::test]
async fn a_corrupt_manifest_is_reported_and_a_newer_format_stops() {
    let (blobs, store) = store();
    let old = store.put_manifest(&manifest(store.repl(), 1, 1)).await.unwrap();
    let new = store.put_manifest(&manifest(store.repl(), 1, 2)).await.unwrap();
    replace(&blobs, &new, |bytes| bytes[70] ^= 1).await;
    let head = store.load_head(None).await.unwrap().unwrap();
    assert_eq!((head.key, head.damaged), (old.clone(), vec![new.clone()]));
    let hinted = store.load_head(Some(&new)).await.unwrap_err();
    assert!(matches!(&hinted, ObjectError::Corrupt { key, .. } if *key == new), "{hinted}");

    replace(&blobs, &old, |bytes| bytes.truncate(20)).await;
    let none = store.load_head(None).await;
    assert!(matches!(none, Err(ObjectError::Corrupt { .. })), "all corrupt is not empty: {none:?}");
}

#[tokio::test]
async fn a_database_that_is_behind_does_not_hide_newer_states() {
    let (_, store) = store();
    let old = store.put_manifest(&manifest(store.repl(), 4, 7)).await.unwrap();
    store.put_manifest(&manifest(store.repl(), 3, 99)).await.unwrap();
    assert_eq!(store.load_head(Some(&old)).await.unwrap().unwrap().key, old);
    let later = store.put_manifest(&manifest(store.repl(), 4, 8)).await.unwrap();
    assert_eq!(store.load_head(Some(&old)).await.unwrap().unwrap().key, later);
    let newest = store.put_manifest(&manifest(store.repl(), 6, 1)).await.unwrap();
    assert_eq!(store.load_head(Some(&old)).await.unwrap().unwrap().key, newest);
}

#[tokio::test]
async fn an_epoch_has_one_owner() {
    let (_, store) = store();
    let (one, other) = (NodeId::from_random([1; 10]), NodeId::from_random([2; 10]));
    assert!(store.claim(Epoch(3), one, BootId(1)).await.unwrap());
    assert_eq!(store.highest_epoch().await.unwrap(), Epoch(3), "an opening that saved nothing");
    assert!(!store.claim(Epoch(3), other, BootId(2)).await.unwrap());
    assert!(store.claim(Epoch(4), other, BootId(2)).await.unwrap());
    let both = tokio::join!(
        store.claim(Epoch(9), one, BootId(1)),
        store.claim(Epoch(9), other, BootId(2))
    );
    assert!(!(both.0.unwrap() && both.1.unwrap()), "two owners");
}

#[tokio::test]
async fn what_is_beside_the_line_of_the_head_is_found() {
    let (_, store) = store();
    for (epoch, seq) in [(1, 5), (2, 1), (2, 2), (2, 3), (2, 4), (3, 1), (5, 1)] {
        store.put_manifest(&manifest(store.repl(), epoch, seq)).await.unwrap();
    }
    // Epoch 2 wrote on after its second, from which epoch 4 began; epoch 3 was lost altogether.
    let head =
        Manifest { lineage: vec![(Epoch(1), 5), (Epoch(2), 2)], ..manifest(store.repl(), 4, 9) };
    let beside = store.beside(head.epoch, &head.lineage).await.unwrap();
    assert_eq!((beside.newest, beside.snapshots.len()), (Epoch(5), 0));
    let branches = beside.branches;
    let found: Vec<_> = branches
        .iter()
        .map(|branch| {
            let fork = branch.fork.as_ref().map(|fork| (fork.epoch.0, fork.seq));
            (branch.manifest.epoch.0, branch.manifest.seq, fork)
        })
        .collect();
    assert_eq!(found, [(2, 4, Some((2, 2))), (3, 1, None)]);

    let mut lineage = head.descend();
    assert_eq!(lineage, [(Epoch(1), 5), (Epoch(2), 2), (Epoch(4), 9)]);
    for branch in &branches {
        join_lineage(&mut lineage, &branch.manifest);
    }
    let next = Manifest { lineage, ..manifest(store.repl(), 6, 1) };
    let left = store.beside(next.epoch, &next.lineage).await.unwrap().branches;
    assert_eq!(left.len(), 1, "only epoch 5 is new: {left:?}");
    assert!(store.beside(Epoch(9), &[]).await.unwrap().branches.is_empty());
}

#[tokio::test]
async fn a_document_is_the_union_of_what_no_newer_snapshot_contains() {
    let (blobs, store) = store();
    let (file, other) = (FileId::from_random([1; 10]), FileId::from_random([2; 10]));
    let snapshot = |epoch, generation, lsn, merged: &[(u64, u64)]| NewSnapshot {
        epoch: Epoch(epoch),
        file,
        generation: Generation(generation),
        lsn: Lsn(lsn),
        state: Bytes::from(format!("{epoch}/{generation}/{lsn}")),
        text_hash: ContentHash::of(b""),
        merged: merged.iter().map(|&(epoch, lsn)| (Epoch(epoch), Lsn(lsn))).collect(),
        authors: Authors::default(),
    };
    for new in [
        snapshot(1, 1, 5, &[]),
        snapshot(1, 1, 100, &[]),
        snapshot(2, 1, 7, &[(1, 100)]),
        snapshot(2, 1, 9, &[(1, 100)]),
        snapshot(10, 1, 3, &[]),
        snapshot(10, 2, 4, &[]),
    ] {
        let key = store.put_snapshot(&new).await.unwrap();
        assert_eq!(store.get_snapshot(&key).await.unwrap().content, new);
    }
    let states = |found: &tandem_store::Snapshots| -> Vec<String> {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        found.found.iter().map(|snapshot| text(&snapshot.content.state)).collect()
    };
    let found = store.get_snapshots(file, Generation(1)).await.unwrap();
    assert_eq!(states(&found), ["10/1/3", "2/1/9"]);
    let merged: BTreeMap<Epoch, Lsn> =
        [(1, 100), (2, 9), (10, 3)].map(|(epoch, lsn)| (Epoch(epoch), Lsn(lsn))).into();
    assert_eq!(found.merged, merged);

    // A returning node of epoch 1 stores more than the newer epoch had seen: it counts again.
    store.put_snapshot(&snapshot(1, 1, 101, &[])).await.unwrap();
    let found = store.get_snapshots(file, Generation(1)).await.unwrap();
    assert_eq!(states(&found), ["10/1/3", "2/1/9", "1/1/101"]);

    let index = store.snapshot_index().await.unwrap();
    assert_eq!(index.generation(file), Some(Generation(2)));
    assert!(!index.has(other, Generation(1)));
    assert!(store.get_snapshots(other, Generation(1)).await.unwrap().found.is_empty());

    let key = found.found[0].key.clone();
    replace(&blobs, &key, |bytes| *bytes.last_mut().unwrap() ^= 0x10).await;
    let error = store.get_snapshots(file, Generation(1)).await.unwrap_err();
    assert!(error.to_string().contains(&key), "{error}");
}

#[tokio::test]
async fn many_small_files_are_few_objects() {
    let (blobs, store) = store();
    let mut files: Vec<Bytes> = (0..500u32).map(|n| Bytes::from(format!("file {n}"))).collect();
    files.push(Bytes::from(vec![3; 200_000]));
    files.push(Bytes::new());
    files.push(files[7].clone());
    let refs = store.put_files(files.clone()).await.unwrap();
    assert_eq!(refs.len(), files.len());
    let objects = blobs.list("repls/").await.unwrap();
    assert_eq!(objects.len(), 2, "{objects:?}");
    let mut reader = store.blob_reader();
    for (blob, file) in refs.iter().zip(&files) {
        assert_eq!(reader.get(blob).await.unwrap(), *file);
        assert_eq!(blob.size, file.len() as u64);
        assert_eq!(blob.hash, ContentHash::of(file));
    }
    assert_eq!(store.get_blob(&refs[500]).await.unwrap(), files[500]);
    // Again: the same objects.
    assert_eq!(store.put_files(files).await.unwrap(), refs);
    assert_eq!(blobs.list("repls/").await.unwrap().len(), 2);
    assert!(store.put_files(Vec::new()).await.unwrap().is_empty());

    let alone = store.put_blob(Bytes::from_static(b"alone")).await.unwrap();
    let key = format!("repls/{}/b/{}", store.repl(), alone.hash);
    replace(&blobs, &key, |bytes| bytes.clear()).await;
    let error = store.get_blob(&alone).await.unwrap_err();
    assert!(matches!(error, ObjectError::Corrupt { .. }), "{error}");
    blobs.delete(&key).await.unwrap();
    let error = store.get_blob(&alone).await.unwrap_err();
    assert!(matches!(error, ObjectError::Missing { .. }), "{error}");
}

#[tokio::test]
async fn the_catalogue_survives_in_the_blob_store_alone() {
    let (blobs, store) = store();
    assert_eq!(store.load_meta().await.unwrap(), None);
    let mut record = CatalogueRecord {
        repl: store.repl(),
        name: "first".to_owned(),
        template: "python".to_owned(),
        language: "python".to_owned(),
        owner: MemberId::from_random([1; 10]),
        created_ms: 1,
        updated_ms: 2,
        deleted_ms: None,
        members: vec![StoredMember {
            id: MemberId::from_random([1; 10]),
            name: "Ada".to_owned(),
            colour: "#336699".to_owned(),
            role: Role::Owner,
        }],
        links: vec![StoredLink {
            id: LinkId::from_random([1; 10]),
            role: Role::Viewer,
            token_hash: "abc".to_owned(),
            created_ms: 3,
        }],
    };
    for n in 0..12 {
        record.name = format!("name {n}");
        store.put_meta(&record).await.unwrap();
    }
    assert_eq!(store.load_meta().await.unwrap().unwrap(), record);
    let mut later = record.clone();
    later.name = "corrupt".to_owned();
    let key = store.put_meta(&later).await.unwrap();
    replace(&blobs, &key, |bytes| bytes[60] ^= 1).await;
    assert_eq!(store.load_meta().await.unwrap().unwrap(), record, "the highest valid one wins");

    let other = ReplStore::new(blobs.clone(), ReplId::from_random([9; 10]));
    other.put_manifest(&manifest(other.repl(), 1, 1)).await.unwrap();
    let all: Arc<dyn BlobStore> = blobs.clone();
    let catalogue = load_catalogue(&all).await.unwrap();
    assert_eq!(catalogue.records, [record.clone()]);
    assert_eq!(catalogue.failed.len(), 1, "a repl without a record is not passed over");
    assert_eq!(catalogue.failed[0].0, other.repl());
    other.delete_all().await.unwrap();
    assert!(matches!(other.put_meta(&record).await, Err(ObjectError::Foreign { .. })));
    store.put_manifest(&manifest(store.repl(), 1, 1)).await.unwrap();
    store.delete_all().await.unwrap();
    assert!(blobs.list("").await.unwrap().is_empty());
}

#[tokio::test]
async fn scrollback_comes_back() {
    let (_, store) = store();
    let terminal = tandem_proto::TerminalId::from_random([5; 10]);
    let bytes = Bytes::from(vec![9; 50_000]);
    let key = store.put_scrollback(terminal, 1_000, bytes.clone()).await.unwrap();
    assert!(key.contains("/1000-51000."), "{key}");
    assert_eq!(store.get_scrollback(&key).await.unwrap(), (1_000, bytes));
}

#[tokio::test]
async fn sweeping_removes_only_what_is_old_and_contained_elsewhere() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let (blobs, store) = store();
    let file = FileId::from_random([2; 10]);
    let put = async |epoch, lsn, merged: &[(u64, u64)]| {
        let snapshot = NewSnapshot {
            epoch: Epoch(epoch),
            file,
            generation: Generation(4),
            lsn: Lsn(lsn),
            state: Bytes::from_static(b"state"),
            text_hash: ContentHash::of(b""),
            merged: merged.iter().map(|&(epoch, lsn)| (Epoch(epoch), Lsn(lsn))).collect(),
            authors: Authors::default(),
        };
        store.put_snapshot(&snapshot).await.unwrap()
    };
    let earlier = put(1, 5, &[]).await;
    let unmerged = put(2, 9, &[]).await;
    let below = put(3, 1, &[(1, 5), (2, 8)]).await;
    let named = put(3, 2, &[(1, 5), (2, 8)]).await;
    let above = put(3, 7, &[]).await;
    let orphan = store.put_blob(Bytes::from_static(b"orphan")).await.unwrap();
    let used = store.put_blob(Bytes::from_static(b"used")).await.unwrap();
    // A checkpoint of an older state, and the history of that time, which is in the newer pack.
    let kept = put(1, 2, &[]).await;
    let mut before = manifest(store.repl(), 1, 1);
    before.parent = None;
    let packs = [pack(&store, 1).await, pack(&store, 2).await];
    before.history = vec![packs[0].clone()];
    if let Content::Document(document) = &mut before.tree[1].content {
        document.snapshot = kept.clone();
    }
    let old_piece = store.put_blob(Bytes::from_static(b"old piece")).await.unwrap();
    before.ignored = vec![folder_of(&old_piece)];
    let pinned = store.put_manifest(&before).await.unwrap();
    // Pieces of ignored folders: of now, and of the checkpoint, which has only what people edit.
    let piece = store.put_blob(Bytes::from_static(b"piece")).await.unwrap();
    let mut manifests = Vec::new();
    for seq in 1..=5 {
        let mut new = manifest(store.repl(), 3, seq);
        new.parent = None;
        new.ignored = vec![folder_of(&piece)];
        new.history = vec![packs[1].clone()];
        new.checkpoints = vec![StoredCheckpoint {
            id: tandem_proto::CheckpointId::from_random([1; 10]),
            name: "before".to_owned(),
            made_ms: 1,
            author: None,
            reason: CheckpointReason::Manual,
            files: 1,
            manifest: pinned.clone(),
        }];
        for node in &mut new.tree {
            if let Content::Document(document) = &mut node.content {
                document.snapshot = named.clone();
            }
        }
        new.tree[0].content = Content::Blob(used.clone());
        manifests.push(store.put_manifest(&new).await.unwrap());
    }
    let folder = format!("repls/{}/", store.repl());
    let unknown = format!("{folder}future/x");
    blobs.put(&unknown, Bytes::from_static(b"of a later version")).await.unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now_ms = now.as_millis() as u64;

    let nothing = Swept::default();
    assert_eq!(store.sweep(Epoch(3), now_ms + DAY_MS / 2).await.unwrap(), nothing, "young");
    assert_eq!(store.sweep(Epoch(2), now_ms + 2 * DAY_MS).await.unwrap(), nothing, "not ours");
    assert_eq!(store.sweep(Epoch(4), now_ms + 2 * DAY_MS).await.unwrap(), nothing, "not saved yet");
    let swept = store.sweep(Epoch(3), now_ms + 2 * DAY_MS).await.unwrap();
    assert_eq!(swept.objects, 7, "{swept:?}");
    let mut left: Vec<String> =
        blobs.list("").await.unwrap().into_iter().map(|info| info.key).collect();
    let mut wanted = vec![unmerged, named, above, unknown, format!("{folder}b/{}", used.hash)];
    wanted.extend(manifests.split_off(2));
    wanted.push(format!("{folder}b/{}", piece.hash));
    wanted.extend([kept, pinned, packs[1].key.clone()]);
    left.sort();
    wanted.sort();
    assert_eq!(left, wanted);
    assert!(![earlier, below].iter().any(|key| left.contains(key)));
    assert!(store.get_blob(&orphan).await.is_err());
    assert!(store.get_blob(&old_piece).await.is_err());
    assert_eq!(store.sweep(Epoch(3), now_ms + 2 * DAY_MS).await.unwrap(), nothing);
}

fn folder_of(piece: &BlobRef) -> StoredFolder {
    let path = RelPath::parse("node_modules").unwrap();
    StoredFolder { path, chunks: vec![piece.clone()], bytes: piece.size, behind: false }
}

async fn pack(store: &ReplStore, number: u8) -> StoredPack {
    let member = tandem_proto::MemberId::from_random([number; 10]);
    let edit = |ms| PackedEdit {
        ms,
        author: Some(member),
        update: Bytes::from(vec![number; ms as usize % 7]),
    };
    let pack = HistoryPack {
        people: vec![HistoryAuthor {
            id: member,
            name: "Ada".to_owned(),
            colour: "#ff0000".to_owned(),
        }],
        files: vec![PackedFile {
            file: FileId::from_random([2; 10]),
            generation: Generation(4),
            base: Some(PackedBase { ms: 995, state: Bytes::from_static(b"base") }),
            runs: Vec::new(),
            edits: [1_000u64, 1_003, 990].map(edit).to_vec(),
        }],
    };
    let stored = store.put_history(&pack, (0, Grain::Edit)).await.unwrap().unwrap();
    assert_eq!((stored.from_ms, stored.to_ms), (990, 1_003));
    assert_eq!(store.get_history(&stored.key).await.unwrap(), pack);
    stored
}

#[tokio::test]
async fn a_damaged_history_pack_is_an_error() {
    let (blobs, store) = store();
    let stored = pack(&store, 3).await;
    replace(&blobs, &stored.key, |bytes| bytes[90] ^= 1).await;
    let error = store.get_history(&stored.key).await.unwrap_err();
    assert!(matches!(error, ObjectError::Corrupt { .. }), "{error}");
    let nothing = store.put_history(&HistoryPack::default(), (0, Grain::Edit)).await.unwrap();
    assert_eq!(nothing, None);
}
