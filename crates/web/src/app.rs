//! What every request handler shares. Clones of the handle share one instance.

use std::net::IpAddr;
use std::sync::Arc;

use http::{Extensions, HeaderMap};
use ipnet::IpNet;
use tandem_proto::{Grant, GrantSigner, MemberId, NodeId, ReplId, Role};
use tandem_store::BlobStore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attempts::Attempts;
use crate::client;
use crate::config::{Addresses, SharedRegistry};
use crate::metadata::{MemberRow, Metadata, ReplRow, wall_ms};
use crate::metrics::Metrics;
use crate::nodes::NodeDirectory;
use crate::template::Shelf;
use crate::token::TokenHash;

/// See the module.
pub(crate) struct App {
    pub(crate) addresses: Addresses,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) owner_token: TokenHash,
    /// The installation's owner.
    pub(crate) owner: MemberId,
    pub(crate) signer: GrantSigner,
    pub(crate) metadata: Metadata,
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) nodes: NodeDirectory,
    pub(crate) shelf: Shelf,
    pub(crate) attempts: Attempts,
    pub(crate) metrics: Metrics,
    pub(crate) registry: SharedRegistry,
    /// Cancelled when web stops.
    pub(crate) stopping: CancellationToken,
    /// Open sockets that web itself serves.
    pub(crate) sockets: TaskTracker,
}

/// The handle.
pub(crate) type Shared = Arc<App>;

impl App {
    /// A signed grant for one member on one repl at one node.
    pub(crate) fn grant(&self, who: &MemberRow, on: (ReplId, Role), node: NodeId) -> String {
        let (repl, role) = on;
        self.signer.sign(&Grant {
            member: who.id,
            name: who.name.clone(),
            colour: who.colour.clone(),
            repl,
            role,
            node,
            expires_ms: GrantSigner::expiry(wall_ms()),
        })
    }

    /// The right a member has on a repl.
    pub(crate) async fn role_on(
        &self,
        repl: &ReplRow,
        member: MemberId,
    ) -> Result<Option<Role>, crate::metadata::MetadataError> {
        if self.is_owner(repl, member) {
            return Ok(Some(Role::Owner));
        }
        self.metadata.role(repl.id, member).await
    }

    /// Whether a member is the repl's owner or the installation's, who owns everything.
    pub(crate) fn is_owner(&self, repl: &ReplRow, member: MemberId) -> bool {
        member == self.owner || member == repl.owner
    }

    /// Where a request really comes from.
    pub(crate) fn client_address(&self, headers: &HeaderMap, extensions: &Extensions) -> IpAddr {
        client::address(&self.trusted_proxies, headers, extensions)
    }
}
