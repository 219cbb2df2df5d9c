//! Signs of life in the blob store. Two servers on one bucket without a database in common know
//! of each other only by these: a server that finds a fresh one of another does not start.
//!
//! `nodes/<node>/<boot>/alive/<n>`, a new one every ten seconds. Ages are differences of the store's
//! own times, so that no two machines' clocks are compared.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_proto::{BootId, NodeId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::blob::{BlobStore, ObjectInfo};
use crate::object::{self, ObjectError, ObjectKind};

/// How long a removal at the end may take.
const REMOVAL: Duration = Duration::from_secs(2);

/// Times of the signs of life; the same on all servers of one blob store.
#[derive(Debug, Clone, Copy)]
pub struct AliveOptions {
    /// Between two signs.
    pub beat: Duration,
    /// A server that was silent for this long is taken for dead.
    pub silence: Duration,
    /// What to do about a server that is not.
    pub others: Others,
}

impl Default for AliveOptions {
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            others: Others::Refuse,
        }
    }
}

/// What a sign of life says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Whose.
    pub node: NodeId,
    /// Which start.
    pub boot: BootId,
    /// Which metadata database it uses. Servers that share one know of each other's leases and
    /// may share the blob store as well.
    pub database: String,
}

/// Why a server may not start.
#[derive(Debug, thiserror::Error)]
pub enum AliveError {
    /// Another one uses this blob store.
    #[error(
        "another server (node {node}) uses this blob store with a database of its own; two such servers would take each other's repls. Stop that one, or start with --take-over if it must give way"
    )]
    InUse {
        /// Which.
        node: NodeId,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] ObjectError),
}

/// Whether another living server stops this one from starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// It does.
    Refuse,
    /// It has to give way.
    TakeOver,
}

/// Signs of life of one server, until [`Alive::stop`].
#[derive(Debug)]
pub struct Alive {
    blobs: Arc<dyn BlobStore>,
    heartbeat: Heartbeat,
    options: AliveOptions,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The newest sign of life of one boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Life {
    pub number: u64,
    pub modified_ms: u64,
    /// All that are there.
    pub keys: Vec<String>,
}

impl Alive {
    /// Gives the first sign of life and makes sure that no other server lives on this store. One
    /// that was silent only for a moment is watched until it speaks or is taken for dead.
    ///
    /// # Errors
    /// See [`AliveError`].
    pub async fn start(
        blobs: Arc<dyn BlobStore>,
        heartbeat: Heartbeat,
        options: AliveOptions,
    ) -> Result<Self, AliveError> {
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let beating =
            Beating { blobs: blobs.clone(), heartbeat: heartbeat.clone(), every: options.beat };
        beating.beat(0).await?;
        let until = stop.clone();
        tasks.spawn(async move { beating.run(until).await });
        tasks.close();
        let alive =
            Self { blobs: blobs.clone(), heartbeat: heartbeat.clone(), options, tasks, stop };
        match make_way(&*blobs, &heartbeat, options).await {
            Ok(()) => Ok(alive),
            Err(error) => {
                alive.stop().await;
                Err(error)
            }
        }
    }

    /// Other nodes that live on this blob store with a database of their own and that this server
    /// has to give way to. Whoever started with orders to take over gives way to nobody.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn strangers(&self) -> Result<Vec<NodeId>, ObjectError> {
        if self.options.others == Others::TakeOver {
            return Ok(Vec::new());
        }
        let found = fresh(&*self.blobs, &self.heartbeat, self.options.silence).await?;
        Ok(found.into_keys().map(|(node, _)| node).collect())
    }

    /// Ends the signs of life and removes the last one: another server may start at once.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Beating {
    blobs: Arc<dyn BlobStore>,
    heartbeat: Heartbeat,
    every: Duration,
}

impl Beating {
    async fn run(self, stop: CancellationToken) {
        let mut last = 0;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(self.every) => {}
            }
            let beat = async {
                self.beat(last + 1).await?;
                Ok::<_, ObjectError>(self.blobs.delete(&self.key(last)).await?)
            };
            tokio::select! {
                () = stop.cancelled() => break,
                done = beat => match done {
                    Ok(()) => last += 1,
                    // Whoever ships or saves says that the store fails; this comes again.
                    Err(error) => tracing::debug!(%error, "no sign of life could be given"),
                },
            }
        }
        for number in [last, last + 1] {
            let key = self.key(number);
            let removed = tokio::time::timeout(REMOVAL, self.blobs.delete(&key));
            if !matches!(removed.await, Ok(Ok(()))) {
                tracing::debug!("the last sign of life stays; it is out of date in a moment");
            }
        }
    }

    fn key(&self, number: u64) -> String {
        format!("{}{number}", folder((self.heartbeat.node, self.heartbeat.boot)))
    }

    async fn beat(&self, number: u64) -> Result<(), ObjectError> {
        let key = self.key(number);
        let content = object::encode(&key, &self.heartbeat)?;
        let object = object::pack(ObjectKind::Heartbeat, content).await?;
        Ok(self.blobs.put(&key, object).await?)
    }
}

fn folder((node, boot): (NodeId, BootId)) -> String {
    format!("nodes/{node}/{boot}/alive/")
}

/// `nodes/<node>/<boot>/alive/<n>`.
fn parse(key: &str) -> Option<((NodeId, BootId), u64)> {
    let mut parts = key.strip_prefix("nodes/")?.split('/');
    let boot = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    if parts.next()? != "alive" {
        return None;
    }
    let number = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some((boot, number))
}

/// The newest sign of each boot in a listing.
pub(crate) fn newest(listed: &[ObjectInfo]) -> HashMap<(NodeId, BootId), Life> {
    let mut lives: HashMap<(NodeId, BootId), Life> = HashMap::new();
    for info in listed {
        let Some((boot, number)) = parse(&info.key) else { continue };
        let life = lives.entry(boot).or_insert(Life { number, modified_ms: 0, keys: Vec::new() });
        life.keys.push(info.key.clone());
        life.number = life.number.max(number);
        life.modified_ms = life.modified_ms.max(info.modified_ms);
    }
    lives
}

/// Returns when no other server without our database lives.
async fn make_way(
    blobs: &dyn BlobStore,
    own: &Heartbeat,
    options: AliveOptions,
) -> Result<(), AliveError> {
    let silence = options.silence;
    let first = fresh(blobs, own, silence).await?;
    if let (Some((node, _)), Others::TakeOver) = (first.keys().next(), options.others) {
        tracing::warn!(%node, "taking over from a server that was alive a moment ago");
        return Ok(());
    }
    let mut said = false;
    loop {
        let now = fresh(blobs, own, silence).await?;
        if now.is_empty() {
            return Ok(());
        }
        for (boot, number) in &now {
            if first.get(boot).is_none_or(|before| number > before) {
                return Err(AliveError::InUse { node: boot.0 });
            }
        }
        if !said {
            said = true;
            tracing::warn!(
                ?silence,
                "another server used this blob store a moment ago; starting when it stays silent (--take-over starts at once)"
            );
        }
        tokio::time::sleep(options.beat / 10).await;
    }
}

/// Other nodes with a fresh sign of life and another database: which sign.
async fn fresh(
    blobs: &dyn BlobStore,
    own: &Heartbeat,
    silence: Duration,
) -> Result<HashMap<(NodeId, BootId), u64>, ObjectError> {
    let listed = blobs.list("nodes/").await?;
    let lives = newest(&listed);
    let now_ms = lives.get(&(own.node, own.boot)).map_or(0, |life| life.modified_ms);
    let mut found = HashMap::new();
    for (boot, life) in lives {
        let silent = now_ms.saturating_sub(life.modified_ms) >= silence.as_millis() as u64;
        if boot.0 == own.node || silent || shares_database(blobs, boot, &life, own).await? {
            continue;
        }
        found.insert(boot, life.number);
    }
    Ok(found)
}

async fn shares_database(
    blobs: &dyn BlobStore,
    boot: (NodeId, BootId),
    life: &Life,
    own: &Heartbeat,
) -> Result<bool, ObjectError> {
    let key = format!("{}{}", folder(boot), life.number);
    match object::get(blobs, ObjectKind::Heartbeat, &key).await {
        Ok(bytes) => {
            let theirs: Result<Heartbeat, _> = object::decode(&key, &bytes);
            Ok(theirs.is_ok_and(|theirs| theirs.database == own.database))
        }
        Err(error @ (ObjectError::Store(_) | ObjectError::Interrupted)) => Err(error),
        // It was replaced by the next one, or is from another version: somebody lives.
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::MemoryStore;

    const QUICK: AliveOptions = AliveOptions {
        beat: Duration::from_millis(50),
        silence: Duration::from_millis(400),
        others: Others::Refuse,
    };

    fn heartbeat(byte: u8, database: &str) -> Heartbeat {
        Heartbeat {
            node: NodeId::from_random([byte; 10]),
            boot: BootId(u64::from(byte)),
            database: database.to_owned(),
        }
    }

    #[tokio::test]
    async fn a_living_server_keeps_another_from_starting_until_it_stops() {
        let blobs: Arc<dyn BlobStore> = Arc::new(MemoryStore::default());
        let first = Alive::start(blobs.clone(), heartbeat(1, "a"), QUICK).await.unwrap();
        let error = Alive::start(blobs.clone(), heartbeat(2, "b"), QUICK).await.unwrap_err();
        assert!(matches!(error, AliveError::InUse { node } if node == heartbeat(1, "a").node));
        // A server with the same database, the same node's next start, and one with orders.
        for (heartbeat, others) in [
            (heartbeat(3, "a"), Others::Refuse),
            (Heartbeat { boot: BootId(9), ..heartbeat(1, "z") }, Others::Refuse),
            (heartbeat(4, "c"), Others::TakeOver),
        ] {
            let options = AliveOptions { others, ..QUICK };
            Alive::start(blobs.clone(), heartbeat, options).await.unwrap().stop().await;
        }
        first.stop().await;
        assert_eq!(blobs.list("nodes/").await.unwrap(), [], "nothing is left behind");
        Alive::start(blobs.clone(), heartbeat(2, "b"), QUICK).await.unwrap().stop().await;
    }

    #[tokio::test]
    async fn a_server_that_died_without_a_word_is_waited_for() {
        let blobs: Arc<dyn BlobStore> = Arc::new(MemoryStore::default());
        let dead = heartbeat(1, "a");
        let beating = Beating { blobs: blobs.clone(), heartbeat: dead, every: QUICK.beat };
        beating.beat(7).await.unwrap();
        let started = std::time::Instant::now();
        let second = Alive::start(blobs.clone(), heartbeat(2, "b"), QUICK).await.unwrap();
        assert!(started.elapsed() >= QUICK.silence - QUICK.beat);
        second.stop().await;
    }
}
