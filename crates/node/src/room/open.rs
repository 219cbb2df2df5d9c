//! A room comes to life: lease, manifest, log.
//!
//! A load that fails is an error and touches nothing; it is never an empty repl.

use std::sync::Arc;
use std::time::Duration;

use tandem_proto::{Epoch, Generation, ReplId};
use tandem_sandbox::Sandbox;
use tandem_store::{ObjectError, ReplStore};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::flush::Saved;
use super::late::Late;
use super::leaving::Leaving;
use super::live::Live;
use super::mailbox::MAILBOX;
use super::people::Peers;
use super::replay::{Loaded, replay, unite};
use super::sandbox::SandboxState;
use super::terminals::Terminals;
use super::troubles::Troubles;
use super::{Ending, Project, Room, RoomHandle, Summary};
use crate::lease::{HeldLease, wall_ms};
use crate::shared::Shared;
use crate::web_client::WebError;

/// Epochs that are tried.
const CLAIMS: usize = 8;

/// Why a room cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing is stored of this repl.
    #[error("there is no such repl")]
    Missing,
    /// Stored data is damaged; nothing was touched.
    #[error("the repl's stored data is damaged and nothing was changed: {0}")]
    Corrupt(String),
    /// Another node holds it.
    #[error("{0}")]
    Held(String),
    /// Try again.
    #[error("the repl cannot be opened now: {0}")]
    Unavailable(String),
}

impl From<ObjectError> for OpenError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Store(_) => Self::Unavailable(error.to_string()),
            _ => Self::Corrupt(error.to_string()),
        }
    }
}

impl From<WebError> for OpenError {
    fn from(error: WebError) -> Self {
        match error {
            WebError::Held(_) => Self::Held(error.to_string()),
            WebError::NotFound => Self::Missing,
            WebError::Unavailable(_) => Self::Unavailable(error.to_string()),
        }
    }
}

/// An opened room, not running yet.
pub struct Opened {
    /// The door.
    pub handle: RoomHandle,
    /// How to end it.
    pub endings: mpsc::Sender<Ending>,
    /// Its lease, for renewal.
    pub lease: HeldLease,
    /// To be polled.
    pub run: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Opens a repl's room on this node.
pub(crate) async fn open(
    shared: Arc<Shared>,
    repl: ReplId,
    sandbox: Option<Sandbox>,
) -> Result<Opened, OpenError> {
    let store = ReplStore::new(shared.blobs.clone(), repl);
    let (lease, database_head) = take_lease(&shared, &store).await?;
    let head = store.load_head(database_head.as_deref()).await?.ok_or(OpenError::Missing)?;
    // What the manifest contains is not replayed: its log may have gone in parts.
    shared.log.covered(repl, &head.manifest.covered);
    let records = shared.log.replay(repl).await.map_err(|error| match error {
        tandem_store::LogError::Damaged { .. } => OpenError::Corrupt(error.to_string()),
        error => OpenError::Unavailable(error.to_string()),
    })?;
    let shipped = shared.shipped_logs.records(repl, &head.manifest.covered).await?;
    let loaded = replay(&head.manifest, unite(records, shipped))?;
    let notices = match head.damaged.len() {
        0 => shared.notices.clone(),
        count => {
            let mut notices = shared.notices.clone();
            notices.push(format!("{count} newer saved states of this repl are damaged; recent changes of its files may be missing."));
            notices
        }
    };
    let saved = Saved::new(&head, database_head, (loaded.covered.clone(), loaded.older.clone()));
    Ok(build(shared, store, lease, (saved, loaded), (sandbox, notices)))
}

/// Takes the repl at an epoch that nobody ever had: above what the database and the blob store
/// know, and with no other name under it.
pub(super) async fn take_lease(
    shared: &Arc<Shared>,
    store: &ReplStore,
) -> Result<(HeldLease, Option<String>), OpenError> {
    let mut seen = store.highest_epoch().await?;
    let strangers = shared.alive.strangers().await?;
    if !strangers.is_empty() {
        // It opened the repl after us and may not know of us: taking the repl back would make the
        // two of us take turns for ever.
        let holders = store.claimants(seen).await?;
        if let Some(holder) = holders.iter().find(|holder| strangers.contains(holder)) {
            return Err(OpenError::Held(format!(
                "another server (node {holder}) with a database of its own has this repl; stop one of the two"
            )));
        }
    }
    for _ in 0..CLAIMS {
        let lease = shared.web.lease(store.repl(), seen).await?;
        if store.claim(lease.epoch, shared.node, shared.boot).await? {
            let held = HeldLease::new(lease.epoch, Duration::from_millis(lease.lasts_ms));
            return Ok((held, lease.head));
        }
        // So that two do not meet at every next one as well.
        seen = Epoch(lease.epoch.0 + rand::random_range(0..8));
    }
    Err(OpenError::Held("other servers without this database open this repl all the time".into()))
}

fn build(
    shared: Arc<Shared>,
    store: ReplStore,
    lease: HeldLease,
    (saved, loaded): (Saved, Loaded),
    (sandbox, notices): (Option<Sandbox>, Vec<String>),
) -> Opened {
    let (inbox_sender, inbox) = mpsc::channel(MAILBOX);
    let (summary_sender, summary) = watch::channel(Summary::default());
    let (endings, endings_receiver) = mpsc::channel(4);
    let finished = CancellationToken::new();
    let closing = CancellationToken::new();
    let client_id = shared.random_client_id();
    let generation = Generation((lease.epoch.0 << 20) | (wall_ms() & 0xf_ffff));
    let mut room = Room {
        repl: store.repl(),
        lease: lease.clone(),
        inbox,
        tasks: JoinSet::new(),
        tree: loaded.tree,
        files: loaded.files,
        documents: super::documents::Documents::default(),
        peers: Peers::default(),
        live: Live::new(client_id, generation, notices),
        deferred: super::deferred::Deferred::default(),
        durable: shared.log.durable(),
        last_lsn: shared.log.current(),
        shipped: shared.shipper.shipped(),
        awaiting_shipped: false,
        troubles: Troubles::new(shared.shipper.trouble(), shared.log.state()),
        sandbox: SandboxState::new(shared.limits),
        waiting_for_sandbox: Vec::new(),
        disk: super::disk::Disk::default(),
        terminals: Terminals::restore(&loaded.terminals, sandbox.is_some()),
        saving: super::terminals::Saving::default(),
        uploads: super::uploads::Uploads::default(),
        storing: 0,
        ignored: super::ignored::Ignored::new(loaded.ignored),
        project: Project::default(),
        project_looks: 0,
        saved,
        late: Late::new(loaded.late),
        leaving: Leaving::new(shared.room.idle_grace),
        summary: summary_sender,
        closing: closing.clone(),
        updated_ms: wall_ms(),
        ending: None,
        deletions: loaded.deletions.into(),
        evict: std::collections::HashSet::new(),
        bases: loaded.bases,
        history: loaded.history,
        store,
        shared,
    };
    room.load_with_log(loaded.edits);
    if loaded.tree_changed {
        room.saved.tree_changed();
    }
    if let Some(sandbox) = sandbox {
        room.adopt_sandbox(sandbox);
    }
    let handle = RoomHandle { inbox: inbox_sender, summary, closing, finished: finished.clone() };
    let run = Box::pin(room.run(endings_receiver, finished));
    Opened { handle, endings, lease, run }
}

impl Room {
    /// First thing in the loop.
    pub(super) fn started(&mut self) {
        tracing::info!(repl = %self.repl, epoch = %self.lease.epoch, files = self.tree.len(), "the repl is open");
        self.read_project();
        self.troubles_changed();
    }
}
