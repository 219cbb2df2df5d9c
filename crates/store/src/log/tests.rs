//! Tests of the log: what it promises after a clean end, a crash and damage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tandem_proto::{BootId, Epoch, FileId, Generation, Lsn, MemberId, NodeId, ReplId};

use super::*;

fn node() -> NodeId {
    NodeId::from_random([7; 10])
}

fn repl(n: u8) -> ReplId {
    ReplId::from_random([n; 10])
}

fn record(n: u8, payload: impl Into<Bytes>) -> NewRecord {
    NewRecord {
        repl: repl(n),
        epoch: Epoch(3),
        kind: RecordKind::Update,
        document: FileId::from_random([n.wrapping_add(1); 10]),
        generation: Generation(2),
        author: n.is_multiple_of(2).then(|| MemberId::from_random([n; 10])),
        wall_ms: 1_700_000_000_000,
        payload: payload.into(),
    }
}

fn small() -> LogOptions {
    LogOptions { segment_bytes: 4096, retry: Duration::from_millis(5), ..LogOptions::default() }
}

async fn open(dir: &Path, boot: u64, options: LogOptions) -> Log {
    Log::open(dir, node(), BootId(boot), options).await.unwrap()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    segment::list(dir).unwrap()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("in time")
}

#[tokio::test]
async fn records_come_back_whole_and_in_order_over_boots_and_segments() {
    let dir = tempfile::tempdir().unwrap();
    let mut wanted: BTreeMap<u8, Vec<(u64, Lsn, NewRecord)>> = BTreeMap::new();
    for boot in 1..=3u64 {
        let log = open(dir.path(), boot, small()).await;
        for n in 0..200u64 {
            let which = (n % 5) as u8;
            let new = record(which, vec![n as u8; (n * 7 % 300) as usize]);
            let lsn = log.append(new.clone()).unwrap();
            wanted.entry(which).or_default().push((boot, lsn, new));
            if n % 17 == 0 {
                within(log.flush()).await.unwrap();
            }
        }
        log.close().await.unwrap();
    }
    assert!(files(dir.path()).len() > 20);
    let log = open(dir.path(), 4, small()).await;
    assert_eq!(log.repls_with_records().len(), 5);
    assert!(log.damage().is_empty());
    for (which, wanted) in wanted {
        let found = log.replay(repl(which)).await.unwrap();
        assert_eq!(found.len(), wanted.len());
        for (found, (boot, lsn, new)) in found.iter().zip(&wanted) {
            let expected = Record {
                node: node(),
                boot: BootId(*boot),
                lsn: *lsn,
                repl: new.repl,
                epoch: new.epoch,
                kind: new.kind,
                document: new.document,
                generation: new.generation,
                author: new.author,
                wall_ms: new.wall_ms,
                payload: new.payload.clone(),
            };
            assert_eq!(*found, expected);
        }
    }
    assert!(log.replay(repl(99)).await.unwrap().is_empty());
    log.close().await.unwrap();
}

/// What a log was given: position, whose, payload.
type Given = Vec<(Lsn, ReplId, Bytes)>;

/// Appends in batches of 1, 2, 3, 4 and again; each batch is durable before the next.
async fn fill(log: &Log, records: usize) -> Given {
    let mut given = Vec::new();
    let mut batch = 1;
    while given.len() < records {
        for _ in 0..batch {
            let n = given.len();
            let new = record((n % 3) as u8, vec![n as u8; 5 + n % 9]);
            let (repl, payload) = (new.repl, new.payload.clone());
            given.push((log.append(new).unwrap(), repl, payload));
        }
        within(log.flush()).await.unwrap();
        batch = batch % 4 + 1;
    }
    given
}

/// The bytes of a log's only file, as a crash would leave them.
fn image(dir: &Path) -> (std::ffi::OsString, Vec<u8>) {
    let files = files(dir);
    assert_eq!(files.len(), 1);
    (files[0].file_name().unwrap().to_owned(), std::fs::read(&files[0]).unwrap())
}

/// What an image gives back: for each repl its records or the damage, and all known damage.
struct Recovered {
    repls: BTreeMap<ReplId, Result<Vec<Record>, LogError>>,
    damage: Vec<Damage>,
}

async fn recover(dir: &Path) -> Result<Recovered, LogError> {
    let scanned = scan::scan(dir, node())?;
    let damage = scanned.index.damage.clone();
    let shared = Arc::new(Shared::new(scanned.index, 1, watch::channel(LogState::Ready).0));
    let mut repls = BTreeMap::new();
    for n in 0..3 {
        let repl = repl(n);
        let (damaged, plan) = {
            let index = shared.index();
            (index.damage_of(repl).cloned(), index.plan(repl))
        };
        let result = match damaged {
            Some(damage) => Err(LogError::Damaged(Box::new(damage))),
            None => collect(Replay::start(repl, plan, shared.clone())).await,
        };
        repls.insert(repl, result);
    }
    Ok(Recovered { repls, damage })
}

async fn collect(mut replay: Replay) -> Result<Vec<Record>, LogError> {
    let mut records = Vec::new();
    while let Some(record) = replay.next().await? {
        records.push(record);
    }
    Ok(records)
}

impl Recovered {
    /// Every repl either has all its records up to `sure`, in order and unchanged, or is told
    /// that it is damaged. Whether any was told.
    fn check(&self, given: &Given, sure: Lsn, what: &str) -> bool {
        let mut told = false;
        for (repl, result) in &self.repls {
            let wanted: Vec<_> = given.iter().filter(|(_, of, _)| of == repl).collect();
            match result {
                Ok(records) => {
                    for (record, (lsn, _, payload)) in records.iter().zip(&wanted) {
                        assert_eq!((record.lsn, &record.payload), (*lsn, payload), "{what}");
                    }
                    let missing = wanted.get(records.len());
                    assert!(records.len() <= wanted.len(), "{what}");
                    assert!(missing.is_none_or(|(lsn, _, _)| *lsn > sure), "{what}: {missing:?}");
                }
                Err(LogError::Damaged(_)) => told = true,
                Err(other) => panic!("{what}: {other}"),
            }
        }
        told
    }
}

#[tokio::test]
async fn an_image_cut_anywhere_gives_a_prefix_or_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1, small()).await;
    let given = fill(&log, 20).await;
    let (name, open_image) = image(dir.path());
    let end = Lsn(given.len() as u64);
    log.close().await.unwrap();
    let (_, sealed_image) = image(dir.path());
    assert!(sealed_image.len() < open_image.len(), "the preallocated rest is given back");

    for (sealed, whole) in [(false, &open_image), (true, &sealed_image)] {
        for length in 0..=whole.len() {
            let what = format!("sealed {sealed}, cut at {length}");
            let crash = tempfile::tempdir().unwrap();
            std::fs::write(crash.path().join(&name), &whole[..length]).unwrap();
            let told = recover(crash.path()).await.unwrap().check(&given, end, &what);
            // Behind the header of the seal nothing but its table can be lost.
            let harmless = sealed && length + 3 * format::SEAL_ENTRY >= whole.len();
            assert_eq!(told, length < whole.len() && !harmless, "{what}");
        }
        // Pages that never reached the disk read as zeros: a torn end, unless a seal or a later
        // batch stands behind them.
        for from in 64..whole.len() {
            let what = format!("sealed {sealed}, zeros from {from}");
            let crash = tempfile::tempdir().unwrap();
            let mut bytes = whole.clone();
            bytes[from..].fill(0);
            std::fs::write(crash.path().join(&name), &bytes).unwrap();
            recover(crash.path()).await.unwrap().check(&given, Lsn(0), &what);
        }
    }
}

#[tokio::test]
async fn every_changed_byte_is_noticed_and_others_keep_their_records() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1, small()).await;
    let given = fill(&log, 10).await;
    let (name, open_image) = image(dir.path());
    log.close().await.unwrap();
    let (_, sealed_image) = image(dir.path());
    let used = sealed_image.len();
    let last_batch = Lsn(given.len() as u64 - 4);
    let mut spared = 0;
    for (sealed, whole) in [(false, &open_image), (true, &sealed_image)] {
        let sure = if sealed { Lsn(given.len() as u64) } else { last_batch };
        for at in 0..used.min(whole.len()) {
            for change in [0x01, 0xff] {
                let what = format!("sealed {sealed}, byte {at} ^ {change:x}");
                let crash = tempfile::tempdir().unwrap();
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                std::fs::write(crash.path().join(&name), &bytes).unwrap();
                let recovered = match recover(crash.path()).await {
                    Ok(recovered) => recovered,
                    Err(error) => panic!("{what}: {error}"),
                };
                let told = recovered.check(&given, sure, &what);
                assert_eq!(told, !recovered.damage.is_empty(), "{what}");
                let fine = recovered.repls.values().filter(|result| result.is_ok()).count();
                spared += usize::from(told && fine > 0);
                let kept = std::fs::read(crash.path().join(&name)).unwrap();
                assert_eq!(kept, bytes, "{what}: a damaged file is left alone");
            }
        }
    }
    assert!(spared > 200, "damage in one repl's record stops only that repl: {spared}");
}

#[tokio::test]
async fn a_newer_format_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1, small()).await;
    fill(&log, 3).await;
    log.close().await.unwrap();
    let (name, mut bytes) = image(dir.path());
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..60]).to_le_bytes();
    bytes[60..64].copy_from_slice(&crc);
    std::fs::write(dir.path().join(name), &bytes).unwrap();
    let error = Log::open(dir.path(), node(), BootId(2), small()).await.unwrap_err();
    assert!(matches!(error, LogError::Unsupported { version: 2, .. }), "{error}");
}

#[tokio::test]
async fn damage_in_the_middle_stops_only_its_repls_until_a_manifest_covers_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1, small()).await;
    let given = fill(&log, 200).await;
    log.close().await.unwrap();
    let before = files(dir.path());
    assert!(before.len() > 4);
    // One payload byte of repl 1 in the second file.
    let mut bytes = std::fs::read(&before[1]).unwrap();
    let target = repl(1).to_string();
    let at = bytes
        .windows(16)
        .enumerate()
        .filter(|(at, window)| *window == target.as_bytes() && *at > 1_000)
        .map(|(at, _)| at)
        .nth(1)
        .unwrap();
    bytes[at + 70] ^= 1;
    std::fs::write(&before[1], &bytes).unwrap();

    let log = open(dir.path(), 2, small()).await;
    let damage = log.damage();
    assert_eq!(damage.len(), 1, "{damage:?}");
    let error = log.replay(repl(1)).await.unwrap_err();
    assert!(matches!(&error, LogError::Damaged(found) if **found == damage[0]), "{error}");
    let Suspects::Only(suspects) = &damage[0].suspects else { panic!("{damage:?}") };
    for n in [0, 2].into_iter().map(repl).filter(|repl| !suspects.contains(repl)) {
        let found = log.replay(n).await.unwrap();
        let wanted = given.iter().filter(|(_, of, _)| *of == n).count();
        assert_eq!(found.len(), wanted);
    }
    let covered = [((node(), BootId(1)), damage[0].last)].into();
    log.covered(repl(1), &covered);
    let rest = log.replay(repl(1)).await.unwrap();
    assert!(!rest.is_empty() && rest.iter().all(|record| record.lsn > damage[0].last));
    // Everybody has moved on; the damaged file stays for a person to look at.
    for n in 0..3 {
        log.covered(repl(n), &log.horizon());
    }
    log.close().await.unwrap();
    assert_eq!(files(dir.path()), [before[1].clone()]);
}

#[tokio::test]
async fn a_crash_leaves_a_log_that_the_next_start_ends_properly() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1, small()).await;
    let given = fill(&log, 10).await;
    let (name, bytes) = image(dir.path());
    let crash = tempfile::tempdir().unwrap();
    std::fs::write(crash.path().join(&name), &bytes).unwrap();
    std::fs::write(crash.path().join("00000001-x.new"), "unfinished").unwrap();
    let log = open(crash.path(), 2, small()).await;
    let sealed = std::fs::read(crash.path().join(&name)).unwrap();
    assert!(sealed.len() < bytes.len());
    assert!(!crash.path().join("00000001-x.new").exists());
    let recovered = recover(crash.path()).await.unwrap();
    assert!(!recovered.check(&given, Lsn(10), "after the next start"));
    let found = log.replay(repl(0)).await.unwrap();
    assert_eq!(found.len(), 4);
    log.close().await.unwrap();
}

/// Everything a tail gives, in small parts.
async fn read_tail(log: &Log, boot: u64, after: Lsn) -> Vec<Record> {
    let mut tail = log.tail((node(), BootId(boot)), after);
    let mut found = Vec::new();
    loop {
        let before = tail.position();
        let part = log.read_tail(&mut tail, 300).await.unwrap();
        assert_eq!(part.to, tail.position());
        found.extend(part.records);
        if tail.position() == before {
            return found;
        }
    }
}

async fn replay_all(log: &Log) -> Vec<Record> {
    let mut all = Vec::new();
    for repl in log.repls_with_records() {
        all.extend(log.replay(repl).await.unwrap());
    }
    all.sort_by_key(|record| (record.boot, record.lsn));
    all
}

#[tokio::test]
async fn a_tail_gives_what_all_replays_give_and_nothing_covered() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1, small()).await;
    fill(&log, 300).await;
    let all = replay_all(&log).await;
    assert_eq!(read_tail(&log, 1, Lsn(0)).await, all);
    assert_eq!(read_tail(&log, 1, Lsn(123)).await, all[123..]);
    let covered = Positions::from([((node(), BootId(1)), Lsn(200))]);
    log.covered(repl(0), &covered);
    log.covered(repl(1), &Positions::from([((node(), BootId(1)), Lsn(300))]));
    let left = replay_all(&log).await;
    assert!(left.len() < all.len());
    assert_eq!(read_tail(&log, 1, Lsn(0)).await, left);
    log.close().await.unwrap();
    // The same of an earlier boot, beside the current one.
    let log = open(dir.path(), 2, small()).await;
    fill(&log, 20).await;
    assert_eq!(log.earlier_boots(), [(node(), BootId(1))]);
    let all = replay_all(&log).await;
    let (old, new): (Vec<Record>, Vec<Record>) =
        all.into_iter().partition(|record| record.boot == BootId(1));
    assert_eq!(read_tail(&log, 1, Lsn(0)).await, old);
    assert_eq!(read_tail(&log, 2, Lsn(0)).await, new);
    log.close().await.unwrap();
}

#[tokio::test]
async fn a_tail_goes_on_behind_damage_that_the_log_has_reported() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1, small()).await;
    fill(&log, 300).await;
    let all = replay_all(&log).await;
    log.close().await.unwrap();
    let path = files(dir.path()).remove(1);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 200].fill(0xaa);
    std::fs::write(&path, bytes).unwrap();
    let log = open(dir.path(), 2, small()).await;
    let lost = log.damage();
    assert!(!lost.is_empty());
    let lost = |lsn: Lsn| lost.iter().any(|damage| damage.first <= lsn && lsn <= damage.last);
    let found = read_tail(&log, 1, Lsn(0)).await;
    let wanted: Vec<&Record> = all.iter().filter(|record| !lost(record.lsn)).collect();
    assert_eq!(found.iter().collect::<Vec<_>>(), wanted);
    log.close().await.unwrap();
}

#[tokio::test]
async fn a_forgotten_repl_holds_no_file_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1, small()).await;
    fill(&log, 100).await;
    log.close().await.unwrap();
    let log = open(dir.path(), 2, small()).await;
    fill(&log, 100).await;
    log.append(record(1, "still queued")).unwrap();
    for n in 0..3 {
        log.forget(repl(n)).await;
    }
    assert!(log.repls_with_records().is_empty());
    log.close().await.unwrap();
    assert!(files(dir.path()).is_empty());
}

#[tokio::test]
async fn covered_segments_go_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1, small()).await;
    let given = fill(&log, 300).await;
    let count = files(dir.path()).len();
    assert!(count > 5);
    let at = |lsn: u64| Positions::from([((node(), BootId(1)), Lsn(lsn))]);
    // Foreign positions cover nothing of ours.
    let foreign = Positions::from([((NodeId::from_random([9; 10]), BootId(1)), Lsn(u64::MAX))]);
    for n in 0..3 {
        log.covered(repl(n), &foreign);
    }
    for n in 0..2 {
        log.covered(repl(n), &at(300));
    }
    assert!(!log.has_records(repl(0)));
    assert_eq!(log.repls_with_records(), [repl(2)]);
    assert_eq!(log.replay(repl(2)).await.unwrap().len(), 100);
    log.covered(repl(2), &at(150));
    // A file of notes alone goes when it is full or the log is closed, and its notes with it.
    let last = log.append(record(2, vec![7; 9])).unwrap();
    within(log.flush()).await.unwrap();
    let rest = log.replay(repl(2)).await.unwrap();
    let wanted: Vec<Lsn> = given
        .iter()
        .filter(|(lsn, of, _)| *of == repl(2) && *lsn > Lsn(150))
        .map(|(lsn, _, _)| *lsn)
        .chain([last])
        .collect();
    assert_eq!(rest.iter().map(|record| record.lsn).collect::<Vec<_>>(), wanted);
    log.close().await.unwrap();
    let left = files(dir.path()).len();
    assert!(left < count, "{left} of {count}");

    // What is covered is known after a restart without the blob store.
    let log = open(dir.path(), 2, small()).await;
    assert_eq!(log.repls_with_records(), [repl(2)]);
    let again = log.replay(repl(2)).await.unwrap();
    assert_eq!(again.iter().map(|record| record.lsn).collect::<Vec<_>>(), wanted);
    log.covered(repl(2), &log.horizon());
    log.close().await.unwrap();
    let log = open(dir.path(), 3, small()).await;
    assert!(log.repls_with_records().is_empty());
    log.close().await.unwrap();
    assert!(files(dir.path()).is_empty());
}

#[tokio::test]
async fn records_appended_while_reading_and_after_covering_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1, small()).await;
    for round in 1..=50u64 {
        let lsn = log.append(record(0, vec![round as u8; 64])).unwrap();
        log.append(record(1, vec![0; 64])).unwrap();
        let found = log.replay(repl(0)).await.unwrap();
        assert_eq!(found.len(), 1, "round {round}");
        assert_eq!((found[0].lsn, found[0].boot), (lsn, BootId(1)));
        log.covered(repl(0), &Positions::from([((node(), BootId(1)), lsn)]));
        assert!(log.replay(repl(0)).await.unwrap().is_empty());
    }
    assert_eq!(log.replay(repl(1)).await.unwrap().len(), 50);
    log.close().await.unwrap();
}

#[tokio::test]
async fn a_failed_fsync_ends_the_log_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let options = small();
    let log = open(dir.path(), 1, options.clone()).await;
    let mut durable = log.durable();
    log.append(record(0, "a")).unwrap();
    assert_eq!(within(log.flush()).await.unwrap(), Lsn(1));
    options.faults.fail_sync.store(true, Ordering::SeqCst);
    let lsn = log.append(record(0, "b")).unwrap();
    let error = within(log.wait_durable(lsn)).await.unwrap_err();
    assert!(matches!(error, LogError::Failed { .. }), "{error}");
    options.faults.fail_sync.store(false, Ordering::SeqCst);
    assert!(matches!(log.append(record(0, "c")), Err(LogError::Failed { .. })));
    within(async { while durable.changed().await.is_ok() {} }).await;
    assert_eq!(*durable.borrow(), Lsn(1), "never more than was synced");
    assert!(matches!(log.close().await, Err(LogError::Failed { .. })));
}

#[tokio::test]
async fn a_full_disk_is_read_only_and_nothing_taken_is_lost() {
    for in_the_middle in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let options = small();
        let log = open(dir.path(), 1, options.clone()).await;
        let mut state = log.state();
        let mut given = fill(&log, 6).await;
        options.faults.full.store(!in_the_middle, Ordering::SeqCst);
        options.faults.full_write.store(in_the_middle, Ordering::SeqCst);
        let full = within(async {
            loop {
                match log.append(record(0, vec![1; 500])) {
                    Ok(lsn) => given.push((lsn, repl(0), Bytes::from(vec![1; 500]))),
                    Err(error) => break error,
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(matches!(full, LogError::ReadOnly { .. }), "{full}");
        assert!(matches!(&*state.borrow_and_update(), LogState::ReadOnly { .. }));
        let waiting = log.wait_durable(given.last().unwrap().0).await;
        assert!(matches!(waiting, Err(LogError::ReadOnly { .. })));
        assert_eq!(log.replay(repl(1)).await.unwrap().len(), 2, "reading goes on");
        options.faults.full.store(false, Ordering::SeqCst);
        options.faults.full_write.store(false, Ordering::SeqCst);
        within(state.wait_for(|state| *state == LogState::Ready)).await.unwrap();
        within(log.flush()).await.unwrap();
        let lsn = log.append(record(0, "after")).unwrap();
        within(log.wait_durable(lsn)).await.unwrap();
        assert_eq!(lsn.0, given.len() as u64 + 1);
        log.close().await.unwrap();
        let log = open(dir.path(), 2, small()).await;
        assert!(log.damage().is_empty());
        let found = log.replay(repl(0)).await.unwrap();
        let wanted = given.iter().filter(|(_, of, _)| *of == repl(0)).count() + 1;
        assert_eq!(found.len(), wanted);
        log.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_disk_that_is_full_at_the_start_is_used_when_it_has_space() {
    let dir = tempfile::tempdir().unwrap();
    let options = small();
    options.faults.full.store(true, Ordering::SeqCst);
    let log = open(dir.path(), 1, options.clone()).await;
    let refused = log.append(record(0, "a"));
    assert!(matches!(refused, Err(LogError::ReadOnly { .. })), "{refused:?}");
    options.faults.full.store(false, Ordering::SeqCst);
    let mut state = log.state();
    within(state.wait_for(|state| *state == LogState::Ready)).await.unwrap();
    log.append(record(0, "a")).unwrap();
    assert_eq!(log.replay(repl(0)).await.unwrap().len(), 1);
    log.close().await.unwrap();
}

#[tokio::test]
async fn closing_on_a_full_disk_says_how_much_was_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let options = small();
    let log = open(dir.path(), 1, options.clone()).await;
    options.faults.full_write.store(true, Ordering::SeqCst);
    log.append(record(0, "a")).unwrap();
    let mut state = log.state();
    within(state.wait_for(|state| matches!(state, LogState::ReadOnly { .. }))).await.unwrap();
    let error = within(log.close()).await.unwrap_err();
    assert!(matches!(error, LogError::Unwritten { records: 1 }), "{error}");
}

#[tokio::test]
async fn the_quota_makes_it_read_only_until_something_is_covered() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { quota_bytes: 16 * 1024, ..small() };
    let log = open(dir.path(), 1, options).await;
    let mut last = Lsn(0);
    within(async {
        while let Ok(lsn) = log.append(record(0, vec![1; 400])) {
            last = lsn;
            let _ = log.wait_durable(lsn).await;
        }
    })
    .await;
    let mut state = log.state();
    assert!(matches!(&*state.borrow_and_update(), LogState::ReadOnly { .. }));
    log.covered(repl(0), &Positions::from([((node(), BootId(1)), Lsn(last.0 - 1))]));
    within(state.wait_for(|state| *state == LogState::Ready)).await.unwrap();
    within(log.wait_durable(last)).await.unwrap();
    assert_eq!(log.replay(repl(0)).await.unwrap().len(), 1);
    log.close().await.unwrap();
}

#[tokio::test]
async fn the_queue_is_bounded_and_large_records_pass() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { queue_bytes: 10_000, ..small() };
    let log = open(dir.path(), 1, options.clone()).await;
    options.faults.full_write.store(true, Ordering::SeqCst);
    let too_large = log.append(record(0, vec![0; MAX_PAYLOAD_BYTES + 1]));
    assert!(matches!(too_large, Err(LogError::TooLarge { .. })));
    let refused = (0..100).find_map(|_| log.append(record(0, vec![0; 1_000])).err()).unwrap();
    assert!(matches!(refused, LogError::Full | LogError::ReadOnly { .. }), "{refused}");
    options.faults.full_write.store(false, Ordering::SeqCst);
    let mut state = log.state();
    within(state.wait_for(|state| *state == LogState::Ready)).await.unwrap();
    within(log.flush()).await.unwrap();
    // Larger than the queue and than a segment: alone it passes.
    let lsn = log.append(record(1, vec![5; 100_000])).unwrap();
    within(log.wait_durable(lsn)).await.unwrap();
    assert_eq!(log.replay(repl(1)).await.unwrap()[0].payload.len(), 100_000);
    log.close().await.unwrap();
}

#[tokio::test]
async fn dropped_without_closing_it_still_writes_what_it_took() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1, small()).await;
    let mut durable = log.durable();
    let lsn = log.append(record(0, "x")).unwrap();
    drop(log);
    within(durable.wait_for(|durable| *durable >= lsn)).await.unwrap();
}
