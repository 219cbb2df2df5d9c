//! The whole of web: started once, asked for its two routers, and closed.

use std::sync::Arc;

use axum::Router;
use tandem_proto::{GrantSigner, MemberId};
use tandem_store::BlobStore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, Shared};
use crate::attempts::Attempts;
use crate::config::{ConfigError, WebConfig, looks_same_site};
use crate::metadata::{Metadata, MetadataError, wall_ms};
use crate::metrics::Metrics;
use crate::nodes::NodeDirectory;
use crate::session::made_up;
use crate::template::Shelf;
use crate::token::{NoRandomness, Token, random};
use crate::{catalogue, entry, housekeeping, lease};

/// Name of the setting that holds the installation's owner.
const OWNER: &str = "owner";

/// Why web does not start. Written for the operator.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// An address or secret is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database does not work.
    #[error("{0}")]
    Metadata(String),
    /// The blob store could not be read for repls the database does not know.
    #[error("the catalogue could not be read from the blob store: {0}")]
    Catalogue(String),
    /// The operating system gives no randomness.
    #[error("the operating system gives no random bytes")]
    Randomness,
}

impl From<MetadataError> for WebError {
    fn from(error: MetadataError) -> Self {
        Self::Metadata(error.to_string())
    }
}

impl From<NoRandomness> for WebError {
    fn from(_: NoRandomness) -> Self {
        Self::Randomness
    }
}

/// A running web: site, API, sharing, leases, and the way to nodes.
pub struct Web {
    app: Shared,
    tasks: TaskTracker,
}

impl Web {
    /// Opens the database, takes in repls that only the blob store knows, and starts the
    /// housekeeping.
    ///
    /// # Errors
    /// See [`WebError`]; nothing runs then.
    pub async fn start(
        config: WebConfig,
        blobs: Arc<dyn BlobStore>,
        nodes: NodeDirectory,
    ) -> Result<Self, WebError> {
        let addresses = config.addresses()?;
        if looks_same_site(&addresses.site, &addresses.preview_domain) {
            tracing::warn!(
                preview_domain = addresses.preview_domain,
                "previews share the site's registrable domain: programs' pages count as \
                 same-site. A domain of their own is safer"
            );
        }
        let owner_token = Token::presented(&config.owner_token).ok_or(ConfigError::WeakToken)?;
        let metadata = Metadata::open(&config.database_url).await?;
        catalogue::rebuild(&metadata, &blobs).await?;
        let owner = owner(&metadata).await?;
        let app = Arc::new(App {
            addresses,
            trusted_proxies: config.trusted_proxies,
            owner_token: owner_token.hash(),
            owner,
            signer: GrantSigner::from_secret(config.grant_secret),
            metadata,
            shelf: Shelf::new(Arc::clone(&blobs)),
            blobs,
            nodes,
            attempts: Attempts::default(),
            metrics: Metrics::register(&config.registry),
            registry: config.registry,
            stopping: CancellationToken::new(),
            sockets: TaskTracker::new(),
        });
        let tasks = TaskTracker::new();
        tasks.spawn(housekeeping::run(Arc::clone(&app)));
        tasks.close();
        Ok(Self { app, tasks })
    }

    /// The public service: site, API and previews. Serve it with connection info of
    /// `SocketAddr`, so that clients can be told apart.
    pub fn router(&self) -> Router {
        entry::router(Arc::clone(&self.app))
    }

    /// The service for nodes. It trusts who reaches it: never serve it where people can.
    pub fn internal_router(&self) -> Router {
        lease::router(Arc::clone(&self.app))
    }

    /// The site's address as people open it.
    pub fn public_origin(&self) -> String {
        self.app.addresses.site.origin()
    }

    /// Tells open sockets to come back later, ends the housekeeping, records what is not
    /// recorded, and closes the database. Nodes may need the internal router until they have
    /// flushed: close them first.
    pub async fn close(self) {
        self.app.stopping.cancel();
        self.app.sockets.close();
        self.app.sockets.wait().await;
        self.tasks.wait().await;
        self.app.metadata.close().await;
    }

    /// Tells open sockets to come back later; the first half of [`Web::close`].
    pub fn close_sockets(&self) {
        self.app.stopping.cancel();
    }
}

/// The installation's owner: made at the first start, or found in what the blob store holds.
async fn owner(metadata: &Metadata) -> Result<MemberId, WebError> {
    let known = match metadata.setting(OWNER).await? {
        Some(text) => text,
        None => {
            let fresh = match metadata.commonest_owner().await? {
                Some(owner) => owner,
                None => MemberId::from_random(random()?),
            };
            metadata.setting_or(OWNER, fresh.as_str()).await?
        }
    };
    let owner: MemberId =
        known.parse().map_err(|_| MetadataError::Corrupt { column: "owner setting" })?;
    metadata.add_member(&made_up(owner), wall_ms()).await?;
    Ok(owner)
}
