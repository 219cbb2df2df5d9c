//! A node: the map of rooms, their leases, and the start and end of all.
//!
//! The map opens each room once, whoever asks first; a room that is closing is waited for and
//! opened anew.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dashmap::DashMap;
use tandem_proto::egress::EgressReport;
use tandem_proto::internal::{NodeHeartbeat, ReplLoad, SeedRepl};
use tandem_proto::{Epoch, GrantVerifier, NodeId, ReplId};
use tandem_sandbox::Sandbox;
use tandem_store::{ReplStore, TemplateError, Templates};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::lease::HeldLease;
use crate::metrics::Metrics;
use crate::room::{self, Ask, Ending, FileContent, OpenError, RoomHandle, SeedFile, Summary};
use crate::shared::Shared;

/// Between heartbeats and lease renewals.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Histories that are read at once.
const HISTORY_READERS: usize = 4;
/// Longest wait for rooms at shutdown.
const SHUTDOWN: Duration = Duration::from_secs(60);

/// Why a room cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenRoomError {
    /// Nothing is stored of this repl.
    #[error("there is no such repl")]
    Missing,
    /// Stored data is damaged; nothing was touched.
    #[error("{0}")]
    Corrupt(String),
    /// Another node holds it.
    #[error("{0}")]
    Held(String),
    /// Try again.
    #[error("{0}")]
    Unavailable(String),
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl From<OpenError> for OpenRoomError {
    fn from(error: OpenError) -> Self {
        let text = error.to_string();
        match error {
            OpenError::Missing => Self::Missing,
            OpenError::Corrupt(_) => Self::Corrupt(text),
            OpenError::Held(_) => Self::Held(text),
            OpenError::Unavailable(_) => Self::Unavailable(text),
        }
    }
}

struct Entry {
    handle: RoomHandle,
    endings: mpsc::Sender<Ending>,
    lease: HeldLease,
}

/// One lock per repl: whoever opens it holds the lock, the others wait and find it open.
type Cell = Arc<Mutex<Option<Entry>>>;

struct Inner {
    shared: Arc<Shared>,
    rooms: DashMap<ReplId, Cell>,
    grants: OnceLock<GrantVerifier>,
    tasks: TaskTracker,
    stopping: CancellationToken,
    metrics: Metrics,
    /// Readers of histories.
    history: Semaphore,
}

/// See the module; cheap to clone.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

impl Node {
    /// A node that serves nothing before [`Node::start`].
    pub fn new(shared: Shared) -> Self {
        let inner = Inner {
            shared: Arc::new(shared),
            rooms: DashMap::new(),
            grants: OnceLock::new(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            metrics: Metrics::default(),
            history: Semaphore::new(HISTORY_READERS),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Waits for its turn to read a history.
    pub(crate) async fn history_slot(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed.
        self.inner.history.acquire().await.ok()
    }

    /// Its requests, grants required.
    pub fn router(&self) -> axum::Router {
        crate::http::router(self.clone())
    }

    /// Its counters and gauges.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Registers with web, takes over the sandboxes an earlier server left, finishes what its
    /// log still owes to the blob store, and goes on renewing leases.
    ///
    /// # Errors
    /// When web cannot be reached or gives a bad key, or the driver cannot look for survivors.
    pub async fn start(&self) -> Result<(), StartError> {
        let welcome = self.inner.shared.web.heartbeat(&self.heartbeat()).await?;
        let key = decode_key(&welcome.grant_key).ok_or(StartError::BadKey)?;
        // Set once: a second start keeps the first key.
        drop(self.inner.grants.set(key));
        let survivors = self.inner.shared.driver.adopt().await?;
        let node = self.clone();
        self.inner.tasks.spawn(async move { node.keep_leases().await });
        for sandbox in survivors {
            self.adopt(sandbox).await;
        }
        let node = self.clone();
        self.inner.tasks.spawn(async move { node.finish_log().await });
        Ok(())
    }

    async fn adopt(&self, sandbox: Sandbox) {
        let (repl, id) = (sandbox.repl, sandbox.id);
        let cell = self.cell(repl);
        let mut slot = cell.lock().await;
        tracing::info!(%repl, sandbox = %id, "an earlier server left this sandbox running");
        if let Err(error) = self.open_into(&mut slot, repl, Some(sandbox)).await {
            tracing::warn!(%repl, sandbox = %id, %error, "its repl cannot be opened; stopping the sandbox");
            if let Err(error) = self.inner.shared.stop_sandbox(id, Duration::from_secs(1)).await {
                tracing::error!(%repl, sandbox = %id, %error, "the sandbox could not be stopped");
            }
        }
    }

    /// Opens each repl that has records in the log of an earlier boot, so that they reach the
    /// blob store; it leaves again by itself.
    async fn finish_log(&self) {
        for repl in self.inner.shared.log.repls_with_records() {
            if self.inner.stopping.is_cancelled() {
                return;
            }
            match self.room(repl).await {
                Ok(room) => drop(room.ask(Ask::Flush).await),
                Err(OpenRoomError::Missing) => {}
                Err(error) => {
                    tracing::error!(%repl, %error, "a repl with edits in the log cannot be opened")
                }
            }
        }
    }

    /// The repl's room, opened if need be.
    pub async fn room(&self, repl: ReplId) -> Result<RoomHandle, OpenRoomError> {
        let cell = self.cell(repl);
        let mut slot = cell.lock().await;
        if let Some(entry) = &*slot {
            if !entry.handle.is_closing() {
                return Ok(entry.handle.clone());
            }
            entry.handle.finished().await;
            *slot = None;
        }
        self.open_into(&mut slot, repl, None).await
    }

    fn cell(&self, repl: ReplId) -> Cell {
        self.inner.rooms.entry(repl).or_default().clone()
    }

    async fn open_into(
        &self,
        slot: &mut Option<Entry>,
        repl: ReplId,
        sandbox: Option<Sandbox>,
    ) -> Result<RoomHandle, OpenRoomError> {
        if self.inner.stopping.is_cancelled() {
            return Err(OpenRoomError::Stopping);
        }
        let opened = room::open(self.inner.shared.clone(), repl, sandbox).await?;
        self.inner.metrics.rooms_opened.inc();
        self.inner.tasks.spawn(opened.run);
        let handle = opened.handle.clone();
        *slot = Some(Entry { handle: opened.handle, endings: opened.endings, lease: opened.lease });
        Ok(handle)
    }

    /// The room, if it is open.
    pub fn open_room(&self, repl: ReplId) -> Option<RoomHandle> {
        let cell = self.inner.rooms.get(&repl)?.clone();
        let slot = cell.try_lock().ok()?;
        slot.as_ref().map(|entry| entry.handle.clone()).filter(|handle| !handle.is_closing())
    }

    /// Fills a new repl.
    pub async fn seed(&self, repl: ReplId, seed: SeedRepl) -> Result<(), crate::http::Failure> {
        use crate::http::Failure;
        let (files, folders) = match seed {
            SeedRepl::Template { template } => {
                let templates = Templates::new(self.inner.shared.blobs.clone());
                let template = templates.load(&template).await.map_err(|error| match error {
                    TemplateError::Unknown { .. } => Failure::not_found(error.to_string()),
                    error => Failure::unavailable(error.to_string()),
                })?;
                let files = template.files.into_iter().map(|file| SeedFile {
                    path: file.path,
                    executable: file.executable,
                    content: file.content,
                });
                (files.collect(), Vec::new())
            }
            SeedRepl::Fork { source } => self.fork_source(source).await?,
        };
        let cell = self.cell(repl);
        let slot = cell.lock().await;
        if slot.is_some() {
            return Err(Failure::new(409, "conflict", "Conflict", "this repl was filled already"));
        }
        room::seed(&self.inner.shared, repl, files, folders)
            .await
            .map_err(|error| OpenRoomError::from(error).into())
    }

    async fn fork_source(
        &self,
        source: ReplId,
    ) -> Result<(Vec<SeedFile>, Vec<tandem_proto::RelPath>), crate::http::Failure> {
        let export = self.room(source).await?.ask(Ask::Export).await?;
        let mut reader = self.store(source).blob_reader();
        let mut files = Vec::with_capacity(export.files.len());
        for file in export.files {
            let content = match file.content {
                FileContent::Bytes(bytes) => bytes,
                FileContent::Blob(blob) => reader
                    .get(&blob)
                    .await
                    .map_err(|error| crate::http::Failure::unavailable(error.to_string()))?,
                FileContent::Disk(..) => continue,
            };
            files.push(SeedFile { path: file.path, executable: file.executable, content });
        }
        Ok((files, export.folders))
    }

    /// Closes a deleted repl's room and keeps nothing of it on this node.
    pub async fn discard(&self, repl: ReplId) {
        let cell = self.cell(repl);
        let mut slot = cell.lock().await;
        if let Some(entry) = slot.take() {
            // A room that has ended needs no telling.
            let _ = entry.endings.send(Ending::Discard).await;
            entry.handle.finished().await;
        }
        self.inner.shared.log.forget(repl).await;
    }

    /// Which of these commands exist inside sandboxes.
    pub async fn tools(&self, names: &[String]) -> Vec<String> {
        self.inner.shared.driver.tools(names).await
    }

    /// What a repl's programs sent and received.
    pub fn egress(&self, repl: ReplId) -> EgressReport {
        self.inner.shared.egress_report(repl)
    }

    /// A repl's part of the blob store.
    pub fn store(&self, repl: ReplId) -> ReplStore {
        ReplStore::new(self.inner.shared.blobs.clone(), repl)
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.inner.shared.node
    }

    /// Checks grants, once the node is started.
    pub fn grants(&self) -> Option<&GrantVerifier> {
        self.inner.grants.get()
    }

    /// Whether the log takes records.
    pub fn log_error(&self) -> Option<String> {
        match &*self.inner.shared.log.state().borrow() {
            tandem_store::LogState::Ready => None,
            tandem_store::LogState::ReadOnly { reason }
            | tandem_store::LogState::Failed { reason } => Some(reason.clone()),
            tandem_store::LogState::Closed => Some("the server is stopping".to_owned()),
        }
    }

    fn entries(&self) -> Vec<(ReplId, RoomHandle, HeldLease, mpsc::Sender<Ending>)> {
        self.inner
            .rooms
            .iter()
            .filter_map(|cell| {
                let slot = cell.value().try_lock().ok()?;
                let entry = slot.as_ref()?;
                Some((
                    *cell.key(),
                    entry.handle.clone(),
                    entry.lease.clone(),
                    entry.endings.clone(),
                ))
            })
            .collect()
    }

    fn heartbeat(&self) -> NodeHeartbeat {
        let repls = self.entries().into_iter().map(|(repl, handle, _, _)| {
            let Summary { online, running, updated_ms } = handle.summary();
            ReplLoad { repl, online, running, updated_ms }
        });
        NodeHeartbeat {
            node: self.id(),
            boot: self.inner.shared.boot,
            address: String::new(),
            repls: repls.collect(),
        }
    }

    async fn keep_leases(&self) {
        let mut ticks = tokio::time::interval(HEARTBEAT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.inner.stopping.cancelled() => return,
                _ = ticks.tick() => {}
            }
            self.forget_closed();
            self.renew().await;
            if let Err(error) = self.inner.shared.web.heartbeat(&self.heartbeat()).await {
                tracing::warn!(%error, "the heartbeat did not reach web");
            }
            self.inner
                .metrics
                .observe(self.entries().iter().map(|(_, handle, _, _)| handle.summary()));
        }
    }

    async fn renew(&self) {
        let entries = self.entries();
        let leases: Vec<(ReplId, Epoch)> = entries
            .iter()
            .filter(|(_, handle, _, _)| !handle.is_closing())
            .map(|(repl, _, lease, _)| (*repl, lease.epoch))
            .collect();
        if leases.is_empty() {
            return;
        }
        // The new end counts from before the request.
        let asked = std::time::Instant::now();
        let renewed = match self.inner.shared.web.renew(leases).await {
            Ok(renewed) => renewed,
            Err(error) => {
                tracing::warn!(%error, "the leases could not be renewed");
                return;
            }
        };
        let lasts = Duration::from_millis(renewed.lasts_ms).saturating_sub(asked.elapsed());
        for (repl, _, lease, endings) in entries {
            if renewed.held.contains(&repl) {
                lease.extend(lasts);
            } else if renewed.lost.contains(&repl) {
                tracing::error!(%repl, "the lease was lost to another server");
                lease.expire();
                let _ = endings.send(Ending::LostLease).await;
            }
        }
    }

    fn forget_closed(&self) {
        self.inner.rooms.retain(|_, cell| {
            if Arc::strong_count(cell) > 1 {
                return true;
            }
            match cell.try_lock() {
                Ok(slot) => slot.as_ref().is_some_and(|entry| !entry.handle.is_finished()),
                Err(_) => true,
            }
        });
    }

    /// Ends all rooms: flushes, and stops sandboxes or leaves them for the next server.
    pub async fn shutdown(&self, keep_sandboxes: bool) {
        let ending = if keep_sandboxes { Ending::KeepSandbox } else { Ending::Stop };
        self.inner.stopping.cancel();
        // No room opens from here on but those that are just opening, which hold their lock.
        let cells: Vec<Cell> = self.inner.rooms.iter().map(|cell| cell.value().clone()).collect();
        let told = cells.into_iter().map(|cell| async move {
            if let Some(entry) = &*cell.lock().await {
                let _ = entry.endings.send(ending).await;
            }
        });
        self.inner.tasks.close();
        let ended = async {
            futures_util::future::join_all(told).await;
            self.inner.tasks.wait().await;
        };
        if tokio::time::timeout(SHUTDOWN, ended).await.is_err() {
            tracing::error!("some repls did not close in time; their edits are in the log");
        }
        if let Err(error) = self.inner.shared.log.flush().await {
            tracing::error!(%error, "the log could not be flushed");
        }
    }
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Web was not reached.
    #[error(transparent)]
    Web(#[from] crate::web_client::WebError),
    /// Web's key cannot be used.
    #[error("web's grant key cannot be used")]
    BadKey,
    /// The sandbox driver failed.
    #[error("sandboxes of an earlier server cannot be looked for: {0}")]
    Sandbox(#[from] tandem_sandbox::SandboxError),
}

fn decode_key(text: &str) -> Option<GrantVerifier> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()?;
    GrantVerifier::from_public(bytes.try_into().ok()?).ok()
}
