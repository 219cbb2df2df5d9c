use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use proptest::prelude::*;
use tandem_proto::{BootId, Epoch, FileId, Generation, Lsn, MemberId, NodeId, ReplId};

use super::*;
use crate::blob::{BlobError, BlobStore, MemoryStore, ObjectInfo};
use crate::log::{Log, LogOptions, NewRecord, Record, RecordKind};
use crate::object::{ObjectError, ObjectKind};
use crate::position::Positions;

fn repl(byte: u8) -> ReplId {
    ReplId::from_random([byte; 10])
}

fn node(byte: u8) -> NodeId {
    NodeId::from_random([byte; 10])
}

fn new_record(of: ReplId, payload: &[u8]) -> NewRecord {
    NewRecord {
        repl: of,
        epoch: Epoch(3),
        kind: RecordKind::Update,
        document: FileId::from_random([9; 10]),
        generation: Generation(u64::MAX),
        author: Some(MemberId::from_random([4; 10])),
        wall_ms: 1_700_000_000_000,
        payload: Bytes::copy_from_slice(payload),
    }
}

fn record(of: ReplId, lsn: u64, payload: &[u8]) -> Record {
    let NewRecord { epoch, kind, document, generation, author, wall_ms, payload, .. } =
        new_record(of, payload);
    let (node, boot, lsn, repl) = (node(1), BootId(7), Lsn(lsn), of);
    let author = author.filter(|_| lsn.0 % 2 == 0);
    Record { node, boot, lsn, repl, epoch, kind, document, generation, author, wall_ms, payload }
}

/// A memory store that fails on demand and counts.
#[derive(Debug, Default)]
struct Moody {
    inner: MemoryStore,
    failing: AtomicBool,
    /// So many puts never get an answer.
    stuck: AtomicU64,
    puts: AtomicU64,
    gets: AtomicU64,
    lists: AtomicU64,
}

impl Moody {
    fn check(&self) -> Result<(), BlobError> {
        match self.failing.load(Ordering::SeqCst) {
            true => Err(BlobError::Unavailable { action: "work".into(), detail: "mood".into() }),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl BlobStore for Moody {
    async fn put(&self, key: &str, object: Bytes) -> Result<(), BlobError> {
        self.check()?;
        let stuck =
            self.stuck.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if stuck.is_ok() {
            std::future::pending::<()>().await;
        }
        self.puts.fetch_add(1, Ordering::SeqCst);
        self.inner.put(key, object).await
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>, BlobError> {
        self.check()?;
        self.gets.fetch_add(1, Ordering::SeqCst);
        self.inner.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, BlobError> {
        self.check()?;
        self.lists.fetch_add(1, Ordering::SeqCst);
        // As over a network.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.inner.list(prefix).await
    }
    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        self.check()?;
        self.inner.list_folders(prefix).await
    }
    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        self.check()?;
        self.inner.delete(key).await
    }
}

fn quick() -> ShipOptions {
    ShipOptions {
        interval: Duration::from_millis(20),
        max_backoff: Duration::from_millis(50),
        clean_every: Duration::from_millis(10),
        ..ShipOptions::default()
    }
}

struct Bench {
    folder: tempfile::TempDir,
    blobs: Arc<Moody>,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), blobs: Arc::default() }
    }

    #[allow(clippy::field_reassign_with_default, reason = "the others are private to the log")]
    async fn log(&self, boot: u64) -> Arc<Log> {
        let mut options = LogOptions::default();
        options.segment_bytes = 256 * 1024;
        let path = self.folder.path().join("log");
        Arc::new(Log::open(&path, node(1), BootId(boot), options).await.unwrap())
    }

    fn ship(&self, log: &Arc<Log>, options: ShipOptions) -> Shipper {
        let logs = ShippedLogs::new(self.blobs.clone(), (log.node(), log.boot()));
        Shipper::start(log.clone(), (self.blobs.clone(), Arc::new(logs)), options)
    }

    /// As another machine sees it.
    fn shipped(&self) -> ShippedLogs {
        ShippedLogs::new(self.blobs.clone(), (node(2), BootId(99)))
    }

    async fn chunks(&self) -> Vec<String> {
        let listed = self.blobs.inner.list("nodes/").await.unwrap();
        listed.into_iter().map(|info| info.key).collect()
    }
}

async fn reached(shipper: &Shipper, lsn: Lsn) {
    let mut shipped = shipper.shipped();
    let reached = shipped.wait_for(|shipped| *shipped >= lsn);
    tokio::time::timeout(Duration::from_secs(10), reached).await.unwrap().unwrap();
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition().await {
        assert!(start.elapsed() < Duration::from_secs(10), "waited for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_was_shipped_is_read_back_by_repl_and_position() {
    let bench = Bench::new();
    let log = bench.log(7).await;
    let shipper = bench.ship(&log, quick());
    let mut last = Lsn(0);
    for index in 0..100u8 {
        last = log.append(new_record(repl(index % 3), &[index; 50])).unwrap();
        if index % 10 == 0 {
            log.wait_durable(last).await.unwrap();
        }
    }
    reached(&shipper, last).await;
    let logs = bench.shipped();
    let own = log.replay(repl(1)).await.unwrap();
    assert_eq!(logs.records(repl(1), &Positions::new()).await.unwrap(), own);
    let above = Positions::from([((node(1), BootId(7)), own[20].lsn)]);
    assert_eq!(logs.records(repl(1), &above).await.unwrap(), own[21..]);
    assert_eq!(logs.records(repl(8), &Positions::new()).await.unwrap(), []);
    // The own current boot is left out: the log itself knows better.
    let same = ShippedLogs::new(bench.blobs.clone(), (node(1), BootId(7)));
    assert_eq!(same.records(repl(1), &Positions::new()).await.unwrap(), []);
    shipper.stop().await;
}

#[tokio::test]
async fn a_thousand_repls_of_a_lost_machine_read_each_chunk_once() {
    let bench = Bench::new();
    let log = bench.log(7).await;
    let shipper = bench.ship(&log, quick());
    let mut last = Lsn(0);
    for round in 0..3u8 {
        for index in 0..=255u8 {
            last = log.append(new_record(repl(index), &[round; 20])).unwrap();
        }
        reached(&shipper, last).await;
    }
    shipper.stop().await;
    let chunks = bench.chunks().await.len() as u64;
    let logs = Arc::new(bench.shipped());
    let mut opening = tokio::task::JoinSet::new();
    for index in 0..=255u8 {
        let logs = logs.clone();
        opening.spawn(async move { logs.records(repl(index), &Positions::new()).await });
    }
    while let Some(records) = opening.join_next().await {
        assert_eq!(records.unwrap().unwrap().len(), 3);
    }
    assert_eq!(bench.blobs.gets.load(Ordering::SeqCst), chunks);
    let lists = bench.blobs.lists.load(Ordering::SeqCst);
    assert!(lists < 50, "openings at one time share listings: {lists}");
}

#[tokio::test]
async fn one_object_for_all_repls_in_each_interval() {
    let bench = Bench::new();
    let log = bench.log(7).await;
    let interval = Duration::from_millis(200);
    let shipper = bench.ship(&log, ShipOptions { interval, ..quick() });
    let start = std::time::Instant::now();
    let mut last = Lsn(0);
    while start.elapsed() < interval * 5 {
        for index in 0..200u8 {
            last = log.append(new_record(repl(index), &[index; 20])).unwrap();
        }
        log.wait_durable(last).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    reached(&shipper, last).await;
    let puts = bench.blobs.puts.load(Ordering::SeqCst);
    let most = start.elapsed().as_millis() / interval.as_millis() + 1;
    assert!((3..=most).contains(&u128::from(puts)), "{puts} objects in {:?}", start.elapsed());
    assert_eq!(shipper.state().borrow().puts, puts);
    shipper.stop().await;
}

#[tokio::test]
async fn an_outage_is_said_and_its_backlog_goes_in_parts() {
    let bench = Bench::new();
    let log = bench.log(7).await;
    let shipper = bench.ship(&log, ShipOptions { chunk_bytes: 64 * 1024, ..quick() });
    bench.blobs.failing.store(true, Ordering::SeqCst);
    let mut last = Lsn(0);
    for index in 0..100u8 {
        last = log.append(new_record(repl(index % 2), &[index; 10_000])).unwrap();
        log.wait_durable(last).await.unwrap();
    }
    let mut state = shipper.state();
    let failing = state.wait_for(|state| state.error.is_some());
    tokio::time::timeout(Duration::from_secs(5), failing).await.unwrap().unwrap();
    assert_eq!(*shipper.shipped().borrow(), Lsn(0));
    bench.blobs.failing.store(false, Ordering::SeqCst);
    reached(&shipper, last).await;
    until("good news", async || {
        *shipper.state().borrow()
            == ShipState { error: None, waiting_since_ms: None, ..shipper.state().borrow().clone() }
    })
    .await;
    assert!(bench.chunks().await.len() > 10);
    let logs = bench.shipped();
    for of in [repl(0), repl(1)] {
        let records = logs.records(of, &Positions::new()).await.unwrap();
        assert_eq!(records, log.replay(of).await.unwrap());
    }
    shipper.stop().await;
}

#[tokio::test]
async fn one_stuck_connection_holds_nobody_back() {
    let bench = Bench::new();
    let log = bench.log(7).await;
    let hedge = Duration::from_millis(30);
    let shipper = bench.ship(&log, ShipOptions { hedge, ..quick() });
    bench.blobs.stuck.store(2, Ordering::SeqCst);
    let last = log.append(new_record(repl(1), b"one")).unwrap();
    reached(&shipper, last).await;
    assert_eq!(bench.chunks().await.len(), 1);
    shipper.stop().await;
}

#[tokio::test]
async fn chunks_go_when_manifests_cover_all_their_repls() {
    let bench = Bench::new();
    let log = bench.log(7).await;
    let shipper = bench.ship(&log, quick());
    let own = (node(1), BootId(7));
    let first = log.append(new_record(repl(1), b"one")).unwrap();
    let second = log.append(new_record(repl(2), b"two")).unwrap();
    reached(&shipper, second).await;
    log.covered(repl(1), &Positions::from([(own, first)]));
    let third = log.append(new_record(repl(1), b"three")).unwrap();
    reached(&shipper, third).await;
    assert_eq!(bench.chunks().await.len(), 2, "one repl still needs the first");
    log.covered(repl(2), &Positions::from([(own, second)]));
    until("the first chunk's end", async || bench.chunks().await.len() == 1).await;
    let left = bench.shipped().records(repl(1), &Positions::new()).await.unwrap();
    assert_eq!(left.iter().map(|record| record.lsn).collect::<Vec<_>>(), [third]);
    // What is covered before its turn is never shipped, and counts as shipped.
    let fourth = log.append(new_record(repl(2), b"four")).unwrap();
    log.wait_durable(fourth).await.unwrap();
    log.covered(repl(2), &Positions::from([(own, fourth)]));
    log.covered(repl(1), &Positions::from([(own, third)]));
    reached(&shipper, fourth).await;
    shipper.stop().await;
    assert_eq!(bench.chunks().await, [""; 0], "a stop in good order leaves nothing behind");
}

#[tokio::test]
async fn the_next_start_ships_what_the_last_one_could_not() {
    let bench = Bench::new();
    let log = bench.log(7).await;
    let shipper = bench.ship(&log, quick());
    let first = log.append(new_record(repl(1), b"shipped")).unwrap();
    reached(&shipper, first).await;
    // The process dies here.
    drop(shipper);
    let second = log.append(new_record(repl(1), b"not shipped")).unwrap();
    log.wait_durable(second).await.unwrap();
    drop(log);
    until("the end of the first log", async || {
        let open = bench.log(8).await;
        open.earlier_boots() == [(node(1), BootId(7))]
    })
    .await;
    let log = bench.log(9).await;
    let before = bench.chunks().await;
    let shipper = bench.ship(&log, quick());
    until("the tail", async || bench.chunks().await.len() == before.len() + 1).await;
    let records = bench.shipped().records(repl(1), &Positions::new()).await.unwrap();
    assert_eq!(records.iter().map(|record| record.lsn).collect::<Vec<_>>(), [first, second]);
    shipper.stop().await;
}

#[tokio::test]
async fn housekeeping_deletes_what_a_dead_boot_left_covered() {
    let bench = Bench::new();
    let log = bench.log(7).await;
    let shipper = bench.ship(&log, quick());
    let first = log.append(new_record(repl(1), b"one")).unwrap();
    reached(&shipper, first).await;
    let second = log.append(new_record(repl(2), b"two")).unwrap();
    reached(&shipper, second).await;
    drop(shipper);
    let covers = |lsn| Committed::Covers(Positions::from([((node(1), BootId(7)), lsn)]));
    let logs = bench.shipped();
    let young = delete_covered(&logs, |_| std::future::ready(Ok(covers(second)))).await.unwrap();
    assert_eq!(young, Cleaned::default(), "it may still live");
    bench.blobs.inner.age(Duration::from_secs(120));
    // Another sign tells the store's time.
    bench.blobs.inner.put("nodes/now", Bytes::new()).await.unwrap();
    for (state, left) in
        [(Committed::Unknown, 2), (covers(Lsn(0)), 2), (covers(first), 1), (Committed::Gone, 0)]
    {
        delete_covered(&logs, |_| std::future::ready(Ok(state.clone()))).await.unwrap();
        assert_eq!(bench.chunks().await.len(), left + 1, "{state:?}");
    }
}

#[tokio::test]
async fn a_server_that_merged_a_dead_ones_log_deletes_it() {
    let bench = Bench::new();
    let log = bench.log(7).await;
    let shipper = bench.ship(&log, quick());
    let last = log.append(new_record(repl(1), b"one")).unwrap();
    reached(&shipper, last).await;
    drop(shipper);
    bench.blobs.inner.age(Duration::from_secs(120));
    bench.blobs.inner.put("nodes/now", Bytes::new()).await.unwrap();
    // It exists, so that only coverage counts.
    bench.blobs.inner.put(&format!("repls/{}/meta/1.x", repl(1)), Bytes::new()).await.unwrap();

    let other = tempfile::tempdir().unwrap();
    let own = (node(2), BootId(1));
    let log = Log::open(&other.path().join("log"), own.0, own.1, LogOptions::default()).await;
    let log = Arc::new(log.unwrap());
    let housekeep_every = Duration::from_millis(10);
    let shipper = bench.ship(&log, ShipOptions { housekeep_every, ..quick() });
    let lists = || bench.blobs.lists.load(Ordering::SeqCst);
    let before = lists();
    until("some passes", async || lists() > before + 3).await;
    assert_eq!(bench.chunks().await.len(), 2, "nobody has opened the repl yet");
    log.covered(repl(1), &Positions::from([((node(1), BootId(7)), last), (own, Lsn(9))]));
    until("the chunk's end", async || bench.chunks().await == ["nodes/now"]).await;
    shipper.stop().await;
}

#[tokio::test]
async fn a_damaged_chunk_is_an_error_and_never_no_records() {
    let bench = Bench::new();
    let log = bench.log(7).await;
    let shipper = bench.ship(&log, quick());
    let last = log.append(new_record(repl(1), b"one")).unwrap();
    reached(&shipper, last).await;
    drop(shipper);
    let key = bench.chunks().await.remove(0);
    let mut object = bench.blobs.inner.get(&key).await.unwrap().unwrap().to_vec();
    let end = object.len() - 1;
    object[end] ^= 1;
    bench.blobs.inner.delete(&key).await.unwrap();
    bench.blobs.inner.put(&key, object.into()).await.unwrap();
    let logs = bench.shipped();
    let error = logs.records(repl(1), &Positions::new()).await.unwrap_err();
    assert!(matches!(error, ObjectError::Corrupt { .. }), "{error}");
    let error = logs.records(repl(1), &Positions::new()).await.unwrap_err();
    assert!(matches!(error, ObjectError::Corrupt { .. }), "again: {error}");
    // Moving it away accepts the loss.
    bench.blobs.inner.delete(&key).await.unwrap();
    assert_eq!(logs.records(repl(1), &Positions::new()).await.unwrap(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn chunks_round_trip(payloads in proptest::collection::vec((0u8..5, proptest::collection::vec(any::<u8>(), 0..40)), 1..30)) {
        let records: Vec<Record> = payloads
            .iter()
            .enumerate()
            .map(|(at, (of, payload))| record(repl(*of), 10 + 3 * at as u64, payload))
            .collect();
        let (key, index, content) = chunk::encode((node(1), BootId(7)), &records).unwrap();
        let key = key.unique();
        prop_assert_eq!(chunk::decode_index(&key, &content).unwrap(), index.clone());
        let mut back: Vec<Record> = index
            .repls
            .iter()
            .flat_map(|group| chunk::decode_group(&key, (&content, &index), group).unwrap())
            .collect();
        back.sort_by_key(|record| record.lsn);
        prop_assert_eq!(back, records);
    }

    #[test]
    fn hostile_chunks_are_refused_and_cost_no_more_than_their_length(
        at in any::<prop::sample::Index>(),
        bytes in proptest::collection::vec(any::<u8>(), 1..8),
        cut in any::<prop::sample::Index>(),
        noise in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let records: Vec<Record> =
            (1..20).map(|lsn| record(repl((lsn % 4) as u8), lsn, &[lsn as u8; 30])).collect();
        let (key, _, content) = chunk::encode((node(1), BootId(7)), &records).unwrap();
        let key = key.unique();
        let mut bad = content.to_vec();
        let at = at.index(bad.len());
        for (slot, byte) in bad[at..].iter_mut().zip(&bytes) {
            *slot = *byte;
        }
        for content in [&bad[..], &content[..cut.index(content.len())], &noise[..]] {
            if let Ok(index) = chunk::decode_index(&key, content) {
                for group in &index.repls {
                    if let Ok(records) = chunk::decode_group(&key, (content, &index), group) {
                        let held: usize = records.iter().map(|record| record.payload.len()).sum();
                        prop_assert!(held <= content.len());
                    }
                }
            }
        }
    }

    #[test]
    fn keys_of_chunks_parse_back_and_others_do_not(from in 1u64.., length in 0u64..1000, text in "[a-z0-9/.-]{0,60}") {
        let key = ChunkKey { node: node(1), boot: BootId(7), from: Lsn(from), to: Lsn(from.saturating_add(length)) };
        prop_assert_eq!(ChunkKey::parse(&key.unique()), Some(key));
        let _ = ChunkKey::parse(&text);
        prop_assert_eq!(ChunkKey::parse(&format!("nodes/{text}")), None);
    }
}

#[tokio::test]
async fn a_chunk_is_no_other_object() {
    let (key, _, content) =
        chunk::encode((node(1), BootId(7)), &[record(repl(1), 1, b"x")]).unwrap();
    let key = key.unique();
    let object = crate::object::pack(ObjectKind::Blob, content.clone()).await.unwrap();
    let blobs = MemoryStore::default();
    blobs.put(&key, object).await.unwrap();
    assert!(shipper::get(&blobs, &key).await.is_err());
    let other = key.replace("/1-1.", "/1-2.");
    assert!(chunk::decode_index(&other, &content).is_err(), "it says its own range");
}
