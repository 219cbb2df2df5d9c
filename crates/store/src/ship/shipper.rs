//! Follows the log and stores what became durable. What is not stored yet stays in the log and
//! nowhere else: one chunk at a time is in memory, whatever the backlog.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use tandem_proto::{BootId, Lsn, NodeId};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::own::OwnChunks;
use super::{ChunkKey, ShipOptions, ShipState, ShippedLogs, chunk, clean, log_folder};
use crate::blob::{BlobError, BlobStore};
use crate::log::{Log, LogError, Record, Tail};
use crate::object::{self, ObjectError, ObjectKind};

/// How long [`Shipper::stop`] goes on trying.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// The first pause after a failure.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// Tries to store one chunk that may be under way at once.
const MOST_TRIES: u32 = 3;
const SLOWEST_BYTES_PER_SECOND: u64 = 128 * 1024;
/// Deletions that run at once.
const DELETIONS: usize = 4;

/// Ships one node's log. Dropped without [`Shipper::stop`], it stops at once.
#[derive(Debug)]
pub struct Shipper {
    shipped: watch::Receiver<Lsn>,
    state: watch::Receiver<ShipState>,
    trouble: watch::Receiver<Option<String>>,
    tasks: TaskTracker,
    /// Ship what there is without waiting, then end.
    stop: CancellationToken,
    /// End now.
    abort: CancellationToken,
}

impl Shipper {
    /// Starts shipping what `log` gets, and what earlier boots left in its directory unshipped.
    /// Also deletes what dead boots shipped and nobody needs; `logs` is where that is read.
    pub fn start(
        log: Arc<Log>,
        (blobs, logs): (Arc<dyn BlobStore>, Arc<ShippedLogs>),
        options: ShipOptions,
    ) -> Self {
        let (shipped_sender, shipped) = watch::channel(Lsn(0));
        let (state_sender, state) = watch::channel(ShipState::default());
        let (trouble_sender, trouble) = watch::channel(None);
        let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
        let shipping = Arc::new(Shipping {
            log,
            blobs,
            options,
            state: state_sender,
            trouble: trouble_sender,
            own: OwnChunks::default(),
            last_put: Mutex::new(None),
            stop: stop.clone(),
            abort: abort.clone(),
        });
        let tasks = TaskTracker::new();
        let keeping = shipping.clone();
        tasks.spawn(async move { keeping.housekeep(&logs).await });
        let own = shipping.clone();
        let current = tasks.spawn(async move { own.follow(&shipped_sender).await });
        let earlier = shipping.clone();
        let earlier = tasks.spawn(async move { earlier.ship_earlier().await });
        tasks.spawn(async move {
            shipping.clean_until_stopped().await;
            // What the last chunks and manifests made unneeded goes as well. A task that
            // panicked has said so.
            let _ = tokio::join!(current, earlier);
            shipping.clean().await;
        });
        tasks.close();
        Self { shipped, state, trouble, tasks, stop, abort }
    }

    /// Everything of this boot up to here is in the blob store, as a chunk or in what a committed
    /// manifest covers.
    pub fn shipped(&self) -> watch::Receiver<Lsn> {
        self.shipped.clone()
    }

    /// How it stands, for metrics and people.
    pub fn state(&self) -> watch::Receiver<ShipState> {
        self.state.clone()
    }

    /// [`ShipState::error`] alone, which changes rarely.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.clone()
    }

    /// Ships what is durable now and ends; gives up after a while when the blob store does not
    /// take it. What is left stays in the log, and the next start ships it.
    pub async fn stop(&self) {
        self.stop.cancel();
        if tokio::time::timeout(STOP_WITHIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("the last part of the log could not be shipped; it stays on the disk");
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for Shipper {
    fn drop(&mut self) {
        self.stop.cancel();
        self.abort.cancel();
    }
}

struct Shipping {
    log: Arc<Log>,
    blobs: Arc<dyn BlobStore>,
    options: ShipOptions,
    state: watch::Sender<ShipState>,
    trouble: watch::Sender<Option<String>>,
    own: OwnChunks,
    /// When the last chunk was sent off; whoever holds the lock sends the next one.
    last_put: Mutex<Option<Instant>>,
    stop: CancellationToken,
    abort: CancellationToken,
}

/// Shipping ends before it is done.
struct Aborted;

impl Shipping {
    /// Until the end of the log, or [`Shipping::stop`] and nothing is left.
    async fn follow(&self, shipped: &watch::Sender<Lsn>) {
        let mut durable = self.log.durable();
        let mut tail = self.log.tail((self.log.node(), self.log.boot()), Lsn(0));
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {}
                // A log that has ended still holds what it wrote.
                changed = durable.wait_for(|durable| *durable > tail.position()) => drop(changed),
            }
            if *durable.borrow() <= tail.position() {
                return;
            }
            self.state.send_if_modified(|state| {
                state.waiting_since_ms.is_none() && {
                    state.waiting_since_ms = Some(now_ms());
                    true
                }
            });
            self.gather(&mut durable).await;
            let Ok(last) = self.ship_part(&mut tail).await else { return };
            shipped.send_replace(tail.position());
            let done = *durable.borrow() <= tail.position();
            self.state.send_modify(|state| {
                state.waiting_since_ms = if done { None } else { last.or(state.waiting_since_ms) };
            });
        }
    }

    /// Waits until a chunk is due.
    async fn gather(&self, durable: &mut watch::Receiver<Lsn>) {
        let since = Instant::now();
        let before = self.log.durable_bytes();
        let due = since + self.options.interval;
        let mut open = true;
        while open && self.log.durable_bytes().saturating_sub(before) < self.options.early_bytes {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep_until(due.into()) => return,
                changed = durable.changed() => open = changed.is_ok(),
            }
        }
    }

    /// Ships the next part of `tail`; says when its last record was made.
    async fn ship_part(&self, tail: &mut Tail) -> Result<Option<u64>, Aborted> {
        let mut next = tail.clone();
        let part = loop {
            let mut backoff = FIRST_BACKOFF;
            match self.log.read_tail(&mut next, self.options.chunk_bytes).await {
                Ok(part) => break part,
                Err(error) => self.failed(&error, &mut backoff).await?,
            }
        };
        let last = part.records.last().map(|record| record.wall_ms);
        self.ship(part.records).await?;
        *tail = next;
        Ok(last)
    }

    async fn ship(&self, records: Vec<Record>) -> Result<(), Aborted> {
        let Some(first) = records.first() else { return Ok(()) };
        let boot = (first.node, first.boot);
        let bytes = records.iter().map(|record| record.payload.len()).sum();
        let encoded = object::aside(bytes, move || chunk::encode(boot, &records)).await;
        let Ok(Some((key, index, content))) = encoded else { return Err(Aborted) };
        let Ok(object) = object::pack(ObjectKind::LogChunk, content).await else {
            return Err(Aborted);
        };
        let key = self.store(&key, &object).await?;
        self.own.add(key, &index);
        self.state.send_modify(|state| {
            state.puts += 1;
            state.bytes += object.len() as u64;
        });
        Ok(())
    }

    /// Tries until it is stored. Always under the same key: a try whose answer was lost is no
    /// second chunk.
    async fn store(&self, key: &ChunkKey, object: &Bytes) -> Result<String, Aborted> {
        let mut unique = key.unique();
        let mut backoff = FIRST_BACKOFF;
        loop {
            self.my_turn().await?;
            let put = self.put_hedged(&unique, object);
            let outcome = tokio::select! {
                () = self.abort.cancelled() => return Err(Aborted),
                outcome = tokio::time::timeout(self.options.attempt + slow_link(object), put) => outcome,
            };
            match outcome {
                Ok(Ok(())) => {
                    self.worked();
                    return Ok(unique);
                }
                Ok(Err(error)) => {
                    if matches!(error, BlobError::Conflict { .. }) {
                        unique = key.unique();
                    }
                    self.failed(&error, &mut backoff).await?;
                }
                Err(_) => self.failed(&"it does not answer in time", &mut backoff).await?,
            }
        }
    }

    /// Asks again while the first answer keeps us waiting; the same bytes under the same key are
    /// one object. An error counts when no other try is left.
    async fn put_hedged(&self, key: &str, object: &Bytes) -> Result<(), BlobError> {
        let mut tries = FuturesUnordered::new();
        let mut more = MOST_TRIES;
        let hedge = self.options.hedge + slow_link(object);
        loop {
            if more > 0 {
                more -= 1;
                tries.push(self.blobs.put(key, object.clone()));
            }
            tokio::select! {
                Some(outcome) = tries.next() => match outcome {
                    Err(_) if !tries.is_empty() => {}
                    outcome => return outcome,
                },
                () = tokio::time::sleep(hedge), if more > 0 => {}
            }
        }
    }

    /// Waits until the last chunk is long enough ago.
    async fn my_turn(&self) -> Result<(), Aborted> {
        let mut last = self.last_put.lock().await;
        if let Some(last) = *last {
            let next = last + self.options.interval;
            tokio::select! {
                () = self.abort.cancelled() => return Err(Aborted),
                // The last chunks of all go without a pause.
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep_until(next.into()) => {}
            }
        }
        *last = Some(Instant::now());
        Ok(())
    }

    /// Says it once and waits before the next try.
    async fn failed(
        &self,
        error: &impl std::fmt::Display,
        backoff: &mut Duration,
    ) -> Result<(), Aborted> {
        self.tell(Some(error.to_string()));
        let pause = backoff.mul_f64(rand::random_range(0.75..1.25));
        *backoff = (*backoff * 2).min(self.options.max_backoff);
        tokio::select! {
            () = self.abort.cancelled() => Err(Aborted),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    fn worked(&self) {
        self.tell(None);
    }

    /// The operator reads of each change once, and not of every try.
    fn tell(&self, error: Option<String>) {
        self.state
            .send_if_modified(|state| std::mem::replace(&mut state.error, error.clone()) != error);
        self.trouble.send_if_modified(|told| {
            match (&told, &error) {
                (None, Some(error)) => tracing::error!(error, "the log cannot be shipped to the blob store; edits are on this machine's disk only"),
                (Some(_), None) => tracing::info!("the log is shipped to the blob store again"),
                _ => {}
            }
            std::mem::replace(told, error.clone()) != error
        });
    }

    /// Ships what earlier boots left in the directory, behind what is in the blob store.
    async fn ship_earlier(&self) {
        for boot in self.log.earlier_boots() {
            let Ok(after) = self.last_shipped(boot).await else { return };
            let mut tail = self.log.tail(boot, after);
            loop {
                if self.stop.is_cancelled() {
                    return;
                }
                let before = tail.position();
                match self.ship_earlier_part(&mut tail).await {
                    Ok(()) if tail.position() == before => break,
                    Ok(()) => {}
                    Err(Stuck::Aborted) => return,
                    Err(Stuck::Log(error)) => {
                        tracing::error!(boot = %boot.1, %error, "an earlier log cannot be read to its end; what is behind is not shipped");
                        break;
                    }
                }
            }
        }
    }

    async fn ship_earlier_part(&self, tail: &mut Tail) -> Result<(), Stuck> {
        let mut next = tail.clone();
        let part = self.log.read_tail(&mut next, self.options.chunk_bytes).await;
        let part = part.map_err(Stuck::Log)?;
        self.ship(part.records).await.map_err(|Aborted| Stuck::Aborted)?;
        *tail = next;
        Ok(())
    }

    /// Chunks of one boot are stored in order, so the highest says how far that boot came.
    async fn last_shipped(&self, boot: (NodeId, BootId)) -> Result<Lsn, Aborted> {
        let mut backoff = FIRST_BACKOFF;
        loop {
            match self.blobs.list(&log_folder(boot)).await {
                Ok(listed) => {
                    let keys = listed.iter().filter_map(|info| ChunkKey::parse(&info.key));
                    return Ok(keys.map(|key| key.to).max().unwrap_or_default());
                }
                Err(error) => self.failed(&error, &mut backoff).await?,
            }
        }
    }

    async fn clean_until_stopped(&self) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(self.options.clean_every) => self.clean().await,
            }
        }
    }

    async fn housekeep(&self, logs: &ShippedLogs) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(self.options.housekeep_every) => {}
            }
            let done = tokio::select! {
                () = self.stop.cancelled() => return,
                done = clean::of_dead_boots(logs, &self.log) => done,
            };
            match done {
                Ok(cleaned) if cleaned.chunks > 0 => {
                    tracing::info!(chunks = cleaned.chunks, "removed shipped logs of dead servers");
                }
                Ok(_) => {}
                // The store's troubles are told where edits wait for it.
                Err(error) => tracing::debug!(%error, "no housekeeping now"),
            }
        }
    }

    /// Deletes chunks that committed manifests cover.
    async fn clean(&self) {
        let covered = self.own.take_covered(&self.log);
        if covered.is_empty() || self.abort.is_cancelled() {
            return;
        }
        let deletions = stream::iter(covered)
            .map(|key| async move { (self.blobs.delete(&key).await, key) })
            .buffer_unordered(DELETIONS)
            .collect::<Vec<_>>();
        let outcomes = tokio::select! {
            () = self.abort.cancelled() => return,
            outcomes = deletions => outcomes,
        };
        let all = outcomes.len();
        let failed: Vec<String> =
            outcomes.into_iter().filter(|(done, _)| done.is_err()).map(|(_, key)| key).collect();
        let deleted = (all - failed.len()) as u64;
        self.own.put_back(failed.into_iter(), (self.log.node(), self.log.boot()));
        self.state.send_modify(|state| state.deleted += deleted);
    }
}

enum Stuck {
    Aborted,
    Log(LogError),
}

/// How much longer an object of this length may take: a large part must get through a slow link,
/// and not be in its own way there.
fn slow_link(object: &Bytes) -> Duration {
    Duration::from_secs(object.len() as u64 / SLOWEST_BYTES_PER_SECOND)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Reads a chunk.
pub(super) async fn get(blobs: &dyn BlobStore, key: &str) -> Result<Option<Bytes>, ObjectError> {
    match blobs.get(key).await? {
        Some(object) => object::unpack(ObjectKind::LogChunk, key, object).await.map(Some),
        None => Ok(None),
    }
}
