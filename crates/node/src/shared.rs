//! What every room of a node shares. Made once at start, never changed.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use tandem_proto::egress::EgressReport;
use tandem_proto::{BootId, CheckpointId, FileId, NodeId, ReplId, SandboxId, TerminalId};
use tandem_sandbox::egress::Egress;
use tandem_sandbox::{Limits, SandboxDriver, SandboxError};
use tandem_store::alive::Alive;
use tandem_store::ship::{ShippedLogs, Shipper};
use tandem_store::{BlobStore, Log};

use crate::room::RoomConfig;
use crate::web_client::WebClient;

/// See the module.
pub struct Shared {
    /// This node.
    pub node: NodeId,
    /// This start of it.
    pub boot: BootId,
    /// The log of all rooms.
    pub log: Arc<Log>,
    /// Takes the log to the blob store.
    pub shipper: Arc<Shipper>,
    /// What other boots shipped.
    pub shipped_logs: Arc<ShippedLogs>,
    /// This server's signs of life, and who else gives any.
    pub alive: Arc<Alive>,
    /// Where everything ends up.
    pub blobs: Arc<dyn BlobStore>,
    /// How sandboxes are made.
    pub driver: Arc<dyn SandboxDriver>,
    /// The sandboxes' network; else why there is none.
    pub egress: Result<Arc<Egress>, String>,
    /// Leases and heads.
    pub web: WebClient,
    /// Timings of rooms.
    pub room: RoomConfig,
    /// What a sandbox may use.
    pub limits: Limits,
    /// How preview addresses are made.
    pub preview: PreviewAddress,
    /// What people should know about this host.
    pub notices: Vec<String>,
}

/// How the address of a preview is made from a port and a repl.
#[derive(Debug, Clone)]
pub struct PreviewAddress {
    /// `http` or `https`.
    pub scheme: String,
    /// The preview domain.
    pub domain: String,
    /// Port in the address, when it is not the scheme's own.
    pub port: Option<u16>,
}

impl Shared {
    /// The address of a preview.
    pub fn preview_url(&self, repl: ReplId, port: u16) -> String {
        let PreviewAddress { scheme, domain, port: listen } = &self.preview;
        let listen = listen.map(|listen| format!(":{listen}")).unwrap_or_default();
        format!("{scheme}://{port}-{repl}.{domain}{listen}")
    }

    /// Environment of every process in a sandbox, beside the driver's own. The allowed-hosts
    /// variables let dev servers accept the preview's Host header.
    pub fn sandbox_env(&self, repl: ReplId) -> Vec<(String, String)> {
        let domain = &self.preview.domain;
        vec![
            ("REPL_ID".to_owned(), repl.to_string()),
            ("__VITE_ADDITIONAL_SERVER_ALLOWED_HOSTS".to_owned(), format!(".{domain}")),
        ]
    }

    /// Ends a sandbox, with a last look at what passed of it.
    ///
    /// # Errors
    /// As [`SandboxDriver::stop`].
    pub async fn stop_sandbox(&self, id: SandboxId, grace: Duration) -> Result<(), SandboxError> {
        if let Ok(egress) = &self.egress {
            egress.detach(id).await;
        }
        self.driver.stop(id, grace).await
    }

    /// What a repl's programs sent and received.
    pub fn egress_report(&self, repl: ReplId) -> EgressReport {
        match &self.egress {
            Ok(egress) => egress.report(repl),
            Err(why) => EgressReport { problem: Some(why.clone()), ..EgressReport::default() },
        }
    }

    /// A Yjs client id that was never used: 53 random bits, above the 32 that browsers use.
    pub fn random_client_id(&self) -> u64 {
        rand::rng().random_range((1 << 32)..(1 << 53))
    }

    /// A new file's identity.
    pub fn random_file_id(&self) -> FileId {
        FileId::from_random(rand::rng().random())
    }

    /// A new terminal's identity.
    pub fn random_terminal_id(&self) -> TerminalId {
        TerminalId::from_random(rand::rng().random())
    }

    /// A new checkpoint's identity.
    pub fn random_checkpoint_id(&self) -> CheckpointId {
        CheckpointId::from_random(rand::rng().random())
    }

    /// A new sandbox's identity.
    pub fn random_sandbox_id(&self) -> SandboxId {
        SandboxId::from_random(rand::rng().random())
    }
}
