//! Tests of the log: what it promises after a clean end, a crash and damage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
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
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
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
