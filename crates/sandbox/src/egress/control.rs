//! The sandboxes' network as the server uses it: plugging in and out, and what to tell people.

use std::path::PathBuf;
use std::sync::Arc;

use tandem_proto::egress::{EgressMode, EgressReport};
use tandem_proto::{ReplId, SandboxId};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::desk::Desk;
use super::policy::HostPattern;
use super::resolver::{self, Upstream};
use crate::driver::SandboxError;
use crate::launcher::LauncherClient;

/// What the operator said at the start.
#[derive(Debug, Clone, Default)]
pub struct EgressOptions {
    /// What sandboxes may reach when the operator's file says nothing else.
    pub mode: EgressMode,
    /// The hosts of the mode "allow-list".
    pub allow: Vec<HostPattern>,
    /// Where the operator's file is.
    pub data_dir: PathBuf,
    /// Another file than this machine's own that names the resolvers to ask.
    pub resolv_conf: Option<PathBuf>,
}

/// Sums of all sandboxes since the server's start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressTotals {
    /// Bytes out and in.
    pub sent: u64,
    /// See `sent`.
    pub received: u64,
    /// Refused packets and questions.
    pub refused: u64,
    /// Of each repl that has a network now: bytes out and in.
    pub repls: Vec<(ReplId, u64, u64)>,
}

/// See the module. Its tasks end with [`Egress::stop`].
#[derive(Debug)]
pub struct Egress {
    desk: Arc<Desk>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Egress {
    /// Begins to answer for names and to count. Call it where the runtime is.
    ///
    /// # Errors
    /// When the launcher has no network to give, in words for the operator.
    pub fn start(
        launcher: Arc<LauncherClient>,
        options: EgressOptions,
    ) -> Result<Self, SandboxError> {
        let io = SandboxError::io("cannot answer sandboxes' questions for names");
        let socket = launcher.resolver_socket()?;
        let socket =
            socket.set_nonblocking(true).and_then(|()| UdpSocket::from_std(socket)).map_err(io)?;
        let resolv_conf = options.resolv_conf.clone();
        let desk = Arc::new(Desk::new(launcher, options));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let upstream = Upstream::load(resolv_conf.as_deref());
        // Its socket keeps the router alive, so it ends when nobody can steer the router any more.
        let steered = stop.child_token();
        tasks.spawn(resolver::run(socket, upstream, desk.clone(), steered.clone()));
        let seen = desk.load_policy();
        tasks.spawn(desk.clone().follow_policy(seen, stop.clone()));
        tasks.spawn(desk.clone().count_all(steered));
        tasks.close();
        Ok(Self { desk, tasks, stop })
    }

    /// Plugs a sandbox in that has just started, or was adopted; `process` is one of its own. What
    /// fails is told in the repl's report.
    pub async fn attach(&self, sandbox: SandboxId, repl: ReplId, process: i32) {
        self.desk.attach(sandbox, repl, process).await;
    }

    /// Unplugs a sandbox that is about to end, after a last look at its counters.
    pub async fn detach(&self, sandbox: SandboxId) {
        self.desk.detach(sandbox).await;
    }

    /// What a repl's programs sent and received.
    pub fn report(&self, repl: ReplId) -> EgressReport {
        self.desk.report(repl)
    }

    /// Sums for the metrics.
    pub fn totals(&self) -> EgressTotals {
        self.desk.totals()
    }

    /// Ends the tasks.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}
