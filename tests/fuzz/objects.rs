//! What was stored: objects whose checksum is right and whose content is not, and segments of the
//! log as a broken disk gives them back.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tandem_proto::{BootId, Epoch, FileId, Generation, Lsn, MemberId, NodeId, ReplId};
use tandem_store::blob::MemoryStore;
use tandem_store::ship::{ShipOptions, ShippedLogs, Shipper};
use tandem_store::{
    Authors, BlobStore, CatalogueRecord, Content, ContentHash, Log, LogOptions, Manifest,
    NewRecord, NewSnapshot, NodeKind, ObjectError, Positions, RecordKind, ReplStore, TreeNode,
    load_catalogue,
};
use tokio::runtime::Runtime;

use crate::Target;
use crate::mutate::Random;

/// Magic and checksum; see `tandem_store`'s `object.rs`.
const WRAPPING: usize = 56;
const HASH_AT: usize = 24;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn repl() -> ReplId {
    ReplId::from_random([1; 10])
}

/// The content of an object.
fn opened(object: &[u8]) -> Vec<u8> {
    zstd::bulk::decompress(&object[WRAPPING..], 1 << 24).expect("what was just packed")
}

/// The object with another content and a checksum that fits.
fn sealed(object: &[u8], content: &[u8]) -> Bytes {
    let mut out = object[..WRAPPING].to_vec();
    out[16..24].copy_from_slice(&(content.len() as u64).to_le_bytes());
    out.extend(zstd::bulk::compress(content, 3).expect("packs"));
    let mut hasher = blake3::Hasher::new();
    hasher.update(&out[..HASH_AT]).update(&out[WRAPPING..]);
    out[HASH_AT..WRAPPING].copy_from_slice(hasher.finalize().as_bytes());
    out.into()
}

/// Manifests, snapshots and catalogue records. The first byte says which.
pub struct Stored {
    runtime: Runtime,
    /// Keys and objects as they were stored.
    objects: Vec<(String, Bytes)>,
}

impl Default for Stored {
    fn default() -> Self {
        Self { runtime: runtime(), objects: Vec::new() }
    }
}

impl Target for Stored {
    fn name(&self) -> &'static str {
        "stored"
    }

    fn seeds(&mut self, _random: &mut Random) -> Vec<Vec<u8>> {
        let blobs = Arc::new(MemoryStore::default());
        let store = ReplStore::new(blobs.clone(), repl());
        self.objects = self.runtime.block_on(async {
            let keys = [
                store.put_manifest(&manifest()).await.expect("stores"),
                store.put_snapshot(&snapshot()).await.expect("stores"),
                store.put_meta(&record()).await.expect("stores"),
            ];
            let mut objects = Vec::new();
            for key in keys {
                let object = blobs.get(&key).await.expect("reads").expect("is there");
                objects.push((key, object));
            }
            objects
        });
        let seed = |(kind, (_, object)): (usize, &(String, Bytes))| {
            let mut seed = vec![kind as u8];
            seed.extend(opened(object));
            assert_eq!(
                sealed(object, &seed[1..]).len(),
                object.len(),
                "the wrapping is as assumed"
            );
            seed
        };
        self.objects.iter().enumerate().map(seed).collect()
    }

    fn read(&mut self, bytes: &[u8]) -> String {
        let Some((kind, content)) = bytes.split_first() else { return "empty".to_owned() };
        let kind = usize::from(*kind) % self.objects.len().max(1);
        let Some((key, object)) = self.objects.get(kind) else { return "no object".to_owned() };
        let blobs: Arc<dyn BlobStore> = Arc::new(MemoryStore::default());
        let store = ReplStore::new(blobs.clone(), repl());
        let outcome: Result<(), ObjectError> = self.runtime.block_on(async {
            blobs.put(key, sealed(object, content)).await?;
            match kind {
                0 => store.get_manifest(key).await.map(drop),
                1 => store.get_snapshot(key).await.map(drop),
                _ => load_catalogue(&blobs).await.map(drop),
            }
        });
        match outcome {
            Ok(()) => format!("{kind} is good"),
            Err(ObjectError::Unsupported { reason, .. }) => reason.chars().take(30).collect(),
            Err(error) => error.to_string().replace(key.as_str(), ""),
        }
    }
}

fn manifest() -> Manifest {
    let file = |n: u8, name: &str, kind| TreeNode {
        id: FileId::from_random([n; 10]),
        parent: FileId::ROOT,
        name: name.to_owned(),
        kind,
        executable: false,
        content: Content::None,
        deleted_ms: None,
    };
    Manifest {
        repl: repl(),
        epoch: Epoch(3),
        seq: 4,
        parent: Some("before".to_owned()),
        lineage: vec![(Epoch(1), 3)],
        tree_version: 7,
        tree: vec![
            file(1, "src", NodeKind::Folder),
            file(2, "main.py", NodeKind::File),
            file(3, "link", NodeKind::Symlink { target: "../x".to_owned() }),
        ],
        covered: Positions::from([((NodeId::from_random([4; 10]), BootId(5)), Lsn(6))]),
        terminals: Vec::new(),
        history: Vec::new(),
        checkpoints: Vec::new(),
        ignored: Vec::new(),
        swept_ms: 0,
        saved_ms: 1_700_000_000_000,
    }
}

fn snapshot() -> NewSnapshot {
    NewSnapshot {
        epoch: Epoch(3),
        file: FileId::from_random([2; 10]),
        generation: Generation(1),
        lsn: Lsn(9),
        state: Bytes::from_static(&[0, 0]),
        text_hash: ContentHash::of(b""),
        merged: BTreeMap::from([(Epoch(1), Lsn(2))]),
        authors: Authors::default(),
    }
}

fn record() -> CatalogueRecord {
    CatalogueRecord {
        repl: repl(),
        name: "A repl".to_owned(),
        template: "python".to_owned(),
        language: "python".to_owned(),
        owner: MemberId::from_random([7; 10]),
        created_ms: 1,
        updated_ms: 2,
        deleted_ms: None,
        members: Vec::new(),
        links: Vec::new(),
    }
}

fn new_record(number: u8) -> NewRecord {
    NewRecord {
        repl: repl(),
        epoch: Epoch(3),
        kind: RecordKind::Update,
        document: FileId::from_random([number; 10]),
        generation: Generation(1),
        author: None,
        wall_ms: u64::from(number),
        payload: Bytes::from(vec![number; usize::from(number)]),
    }
}

fn boot(number: u64) -> (NodeId, BootId) {
    (NodeId::from_random([4; 10]), BootId(number))
}

fn small_log() -> LogOptions {
    LogOptions { segment_bytes: 64 << 10, ..LogOptions::default() }
}

/// A segment of the log as a broken disk gives it back.
pub struct LogFile {
    runtime: Runtime,
    name: String,
}

impl Default for LogFile {
    fn default() -> Self {
        Self { runtime: runtime(), name: String::new() }
    }
}

impl Target for LogFile {
    fn name(&self) -> &'static str {
        "log-file"
    }

    fn seeds(&mut self, _random: &mut Random) -> Vec<Vec<u8>> {
        let folder = tempfile::tempdir().expect("a folder");
        let (node, own) = boot(1);
        self.runtime.block_on(async {
            let log = Log::open(folder.path(), node, own, small_log()).await.expect("opens");
            for number in 1..30 {
                let lsn = log.append(new_record(number)).expect("appends");
                log.wait_durable(lsn).await.expect("writes");
            }
            log.close().await.expect("closes");
        });
        let files = std::fs::read_dir(folder.path()).expect("lists");
        let files: Vec<_> = files.map(|file| file.expect("lists").path()).collect();
        let segment = files.iter().find(|file| {
            std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0)
        });
        let segment = segment.expect("a segment");
        self.name = segment.file_name().expect("a name").to_string_lossy().into_owned();
        let mut bytes = std::fs::read(segment).expect("reads");
        // What was preallocated and not written is zero.
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        bytes.truncate(end);
        vec![bytes]
    }

    fn read(&mut self, bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(&self.name), bytes).expect("writes");
        let (node, own) = boot(2);
        self.runtime.block_on(async {
            let log = match Log::open(folder.path(), node, own, small_log()).await {
                Ok(log) => log,
                Err(error) => return error.to_string().chars().take(20).collect(),
            };
            let replayed = match log.replay(repl()).await {
                Ok(records) => {
                    for record in &records {
                        // Whole as it was written, or not there.
                        let number = record.wall_ms as u8;
                        assert_eq!(record.payload, new_record(number).payload);
                    }
                    format!("{} records", records.len())
                }
                Err(error) => error.to_string().chars().take(20).collect(),
            };
            log.close().await.expect("closes");
            replayed
        })
    }
}

/// A shipped piece of a log, with a checksum that fits.
pub struct Chunk {
    runtime: Runtime,
    chunk: Option<(String, Bytes)>,
}

impl Default for Chunk {
    fn default() -> Self {
        Self { runtime: runtime(), chunk: None }
    }
}

impl Target for Chunk {
    fn name(&self) -> &'static str {
        "chunk"
    }

    fn seeds(&mut self, _random: &mut Random) -> Vec<Vec<u8>> {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = Arc::new(MemoryStore::default());
        let (node, own) = boot(1);
        let (key, object) = self.runtime.block_on(async {
            let log = Log::open(folder.path(), node, own, small_log()).await.expect("opens");
            let log = Arc::new(log);
            let mut last = Lsn(0);
            for number in 1..30 {
                last = log.append(new_record(number)).expect("appends");
            }
            log.wait_durable(last).await.expect("writes");
            let store: Arc<dyn BlobStore> = blobs.clone();
            let logs = Arc::new(ShippedLogs::new(store.clone(), (node, own)));
            let shipper = Shipper::start(log, (store, logs), ShipOptions::default());
            shipper.shipped().wait_for(|shipped| *shipped >= last).await.expect("ships");
            shipper.stop().await;
            let chunks = blobs.list("nodes/").await.expect("lists");
            let key = chunks.iter().find(|info| info.key.contains("/log/"));
            let key = key.expect("a chunk").key.clone();
            let object = blobs.get(&key).await.expect("reads").expect("is there");
            (key, object)
        });
        let content = opened(&object);
        assert_eq!(sealed(&object, &content).len(), object.len(), "the wrapping is as assumed");
        self.chunk = Some((key, object));
        vec![content]
    }

    fn read(&mut self, bytes: &[u8]) -> String {
        let Some((key, object)) = &self.chunk else { return "no chunk".to_owned() };
        let blobs: Arc<dyn BlobStore> = Arc::new(MemoryStore::default());
        let outcome = self.runtime.block_on(async {
            blobs.put(key, sealed(object, bytes)).await?;
            ShippedLogs::new(blobs, boot(2)).records(repl(), &Positions::default()).await
        });
        match outcome {
            Ok(records) => format!("{} records", records.len()),
            Err(error) => error.to_string().replace(key.as_str(), "").chars().take(60).collect(),
        }
    }
}
