//! The room's sandbox: started when somebody comes, filled from the tree, watched, ended.
//!
//! Editing never waits for it: without a sandbox the room answers from the manifest and the log.

use std::time::{Duration, Instant};

use tandem_proto::SandboxId;
use tandem_proto::agent::{Configure, Event, Hello, ListeningPort};
use tandem_proto::api::SandboxStatus;
use tandem_sandbox::{
    AgentLink, Ended, LaunchSpec, LimitsInForce, LinkEvent, Sandbox, SandboxError,
};
use tokio::sync::{mpsc, watch};

use super::mailbox::{Reply, RoomError};
use super::{Continuation, Room};

/// A failed sandbox is tried again when somebody asks after this.
const RETRY: Duration = Duration::from_secs(5);
/// One that could not start is tried again by itself while somebody is here, each time after
/// twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// A started sandbox.
struct Running {
    id: SandboxId,
    link: AgentLink,
    limits: LimitsInForce,
    events: Option<mpsc::Receiver<LinkEvent>>,
    ended: watch::Receiver<Option<Ended>>,
}

enum Stage {
    Off,
    Launching,
    /// The agent is there, the files are on their way.
    Filling(Running),
    Ready(Running),
    Failed {
        message: String,
        at: Instant,
    },
    Stopping,
}

/// Limits shown to people.
#[derive(Debug, Clone, Copy)]
pub struct ShownLimits {
    /// Memory, when it is limited.
    pub memory_bytes: Option<u64>,
    /// Disk, when it is limited.
    pub disk_bytes: Option<u64>,
}

/// See the module.
pub struct SandboxState {
    stage: Stage,
    stage_text: &'static str,
    ports: Vec<ListeningPort>,
    limits: tandem_sandbox::Limits,
    /// When it is tried again, and how long was waited for that.
    retry: Option<(Instant, Duration)>,
}

/// What a sandbox says.
#[derive(Debug)]
pub enum SandboxEvent {
    /// From its agent.
    Link(LinkEvent),
    /// It ended.
    Ended(String),
}

impl SandboxState {
    /// None yet.
    pub fn new(limits: tandem_sandbox::Limits) -> Self {
        Self { stage: Stage::Off, stage_text: "starting", ports: Vec::new(), limits, retry: None }
    }

    /// When to try again; what cannot be told yet is no reason to wake up.
    pub fn deadline(&self) -> Option<Instant> {
        let is_failed = matches!(self.stage, Stage::Failed { .. });
        self.retry.filter(|_| is_failed).map(|(at, _)| at)
    }

    fn running(&self) -> Option<&Running> {
        match &self.stage {
            Stage::Filling(running) | Stage::Ready(running) => Some(running),
            _ => None,
        }
    }

    /// The next event; never, without a sandbox. Cancel-safe.
    pub async fn next_event(&mut self) -> SandboxEvent {
        let (Stage::Filling(running) | Stage::Ready(running)) = &mut self.stage else {
            return std::future::pending().await;
        };
        loop {
            let Some(events) = &mut running.events else {
                let ended = running.ended.wait_for(Option::is_some).await;
                return SandboxEvent::Ended(reason(ended.ok().as_deref()));
            };
            tokio::select! {
                ended = running.ended.wait_for(Option::is_some) => {
                    return SandboxEvent::Ended(reason(ended.ok().as_deref()));
                }
                event = events.recv() => match event {
                    Some(event) => return SandboxEvent::Link(event),
                    None => running.events = None,
                }
            }
        }
    }

    /// The agent, when the files are there.
    pub fn ready_link(&self) -> Option<&AgentLink> {
        match &self.stage {
            Stage::Ready(running) => Some(&running.link),
            _ => None,
        }
    }

    /// The agent.
    pub fn link(&self) -> Option<&AgentLink> {
        self.running().map(|running| &running.link)
    }

    /// The sandbox's id.
    pub fn id(&self) -> Option<SandboxId> {
        self.running().map(|running| running.id)
    }

    /// Whether one runs.
    pub fn is_up(&self) -> bool {
        self.running().is_some()
    }

    /// Whether it will be ready, or failed, before long.
    pub fn is_coming(&self) -> bool {
        matches!(self.stage, Stage::Launching | Stage::Filling(_))
    }

    /// For `#live`.
    pub fn status(&self) -> SandboxStatus {
        match &self.stage {
            Stage::Off => SandboxStatus::Off,
            Stage::Launching => SandboxStatus::Starting { stage: self.stage_text.to_owned() },
            Stage::Filling(_) => SandboxStatus::Starting { stage: "copying files".to_owned() },
            Stage::Ready(_) => SandboxStatus::Ready,
            Stage::Failed { message, .. } => SandboxStatus::Failed { message: message.clone() },
            Stage::Stopping => SandboxStatus::Stopping,
        }
    }

    /// Listening ports.
    pub fn ports(&self) -> &[ListeningPort] {
        &self.ports
    }

    /// Limits that hold.
    pub fn limits(&self) -> Option<ShownLimits> {
        let force = self.running()?.limits;
        Some(ShownLimits {
            memory_bytes: force.memory.then_some(self.limits.memory_bytes),
            disk_bytes: force.disk.then_some(self.limits.disk_bytes),
        })
    }

    /// Takes the sandbox away from the room, to stop it or to leave it running.
    pub fn take(&mut self) -> Option<SandboxId> {
        let id = self.id();
        self.stage = Stage::Stopping;
        self.ports.clear();
        id
    }
}

fn reason(ended: Option<&Option<Ended>>) -> String {
    ended
        .and_then(Option::as_ref)
        .map_or_else(|| "the sandbox ended".to_owned(), |ended| ended.reason.clone())
}

impl Room {
    /// Somebody is here: a sandbox is wanted.
    pub(super) fn want_sandbox(&mut self) {
        let wanted = match &self.sandbox.stage {
            Stage::Off => true,
            Stage::Failed { at, .. } => at.elapsed() >= RETRY,
            _ => false,
        };
        if wanted {
            self.start_sandbox();
        }
    }

    fn start_sandbox(&mut self) {
        if self.ending.is_some() {
            return;
        }
        self.sandbox.stage = Stage::Launching;
        self.live.changed();
        let spec = LaunchSpec {
            sandbox: self.shared.random_sandbox_id(),
            repl: self.repl,
            limits: self.sandbox.limits,
            env: self.shared.sandbox_env(self.repl),
        };
        let driver = self.shared.driver.clone();
        self.spawn(async move {
            let launched = driver.launch(spec).await;
            Box::new(move |room: &mut Room| room.sandbox_launched(launched)) as Continuation
        });
    }

    fn sandbox_launched(&mut self, launched: Result<Sandbox, SandboxError>) {
        match launched {
            // The room closed meanwhile, and looked for a sandbox before this one was there.
            Ok(sandbox) if self.closing.is_cancelled() => self.discard_sandbox(sandbox.id),
            Ok(sandbox) => {
                self.take_in(sandbox);
                self.fill_sandbox();
            }
            Err(error) => {
                tracing::warn!(repl = %self.repl, %error, "the sandbox did not start");
                let waited = self.sandbox.retry.map(|(_, waited)| waited * 2);
                let wait = waited.unwrap_or(FIRST_RETRY).min(LAST_RETRY);
                self.sandbox_failed(format!("The sandbox could not start: {error}. Editing goes on; the start is tried again by itself, and with Run or a shell."));
                self.sandbox.retry = Some((Instant::now() + wait, wait));
            }
        }
    }

    /// Tries a failed start again when its time has come and somebody is here.
    pub(super) fn retry_sandbox(&mut self, now: Instant) {
        let is_due = self.sandbox.deadline().is_some_and(|at| at <= now);
        let Some((_, waited)) = self.sandbox.retry.filter(|_| is_due) else { return };
        // Nobody here: whoever comes next asks for it.
        self.sandbox.retry = Some((now + LAST_RETRY, waited));
        if !self.peers.is_empty() {
            self.start_sandbox();
        }
    }

    fn discard_sandbox(&mut self, id: SandboxId) {
        let shared = self.shared.clone();
        self.spawn(async move {
            let stopped = shared.stop_sandbox(id, Duration::ZERO).await;
            Box::new(move |room: &mut Room| {
                if let Err(error) = stopped {
                    tracing::error!(repl = %room.repl, %error, "the sandbox could not be stopped");
                }
            }) as Continuation
        });
    }

    fn take_in(&mut self, sandbox: Sandbox) {
        self.sandbox.retry = None;
        self.connect_to_network(sandbox.id, sandbox.process);
        let events = sandbox.link.take_events();
        self.sandbox.stage = Stage::Filling(Running {
            id: sandbox.id,
            link: sandbox.link,
            limits: sandbox.limits_in_force,
            events,
            ended: sandbox.ended,
        });
        self.configure_agent();
        self.live.changed();
    }

    /// It has a loopback interface alone until this is done, and when it fails.
    fn connect_to_network(&mut self, id: SandboxId, process: i32) {
        let Ok(egress) = self.shared.egress.clone() else { return };
        let repl = self.repl;
        self.spawn(async move {
            egress.attach(id, repl, process).await;
            Box::new(|_: &mut Room| {}) as Continuation
        });
    }

    /// A sandbox that an earlier server left running: its disk is the truth about programs'
    /// writes, ours about people's edits.
    pub(super) fn adopt_sandbox(&mut self, sandbox: Sandbox) {
        self.disk.set_adopted();
        self.take_in(sandbox);
    }

    /// Tells the agent what to ignore.
    pub(super) fn configure_agent(&mut self) {
        let Some(link) = self.sandbox.link().cloned() else { return };
        let configure = Configure { ignore: self.project.ignore.clone() };
        self.spawn(async move {
            // A lost connection is configured anew by the link.
            drop(link.configure(configure).await);
            Box::new(|_: &mut Room| {}) as Continuation
        });
    }

    fn sandbox_failed(&mut self, message: String) {
        self.sandbox.stage = Stage::Failed { message, at: Instant::now() };
        self.sandbox.ports.clear();
        self.files.forget_disk();
        self.disk.sandbox_gone();
        self.terminals.sandbox_gone();
        self.live.changed();
        self.sandbox_settled();
    }

    /// Whoever waited for a sandbox goes on, with or without one.
    pub(super) fn sandbox_settled(&mut self) {
        for waiting in std::mem::take(&mut self.waiting_for_sandbox) {
            waiting(self);
        }
    }

    /// Ends a sandbox that cannot be used and says why.
    pub(super) fn abandon_sandbox(&mut self, message: String) {
        tracing::warn!(repl = %self.repl, message, "the sandbox is given up");
        if let Some(id) = self.sandbox.take() {
            self.discard_sandbox(id);
        }
        self.sandbox_failed(message);
    }

    /// The sandbox holds what the tree says.
    pub(super) fn sandbox_ready(&mut self) {
        self.adopted_ready();
        self.write_everything_unwritten();
        self.sandbox_settled();
        self.inspect_changed();
    }

    /// The agent may be used from now on.
    pub(super) fn adopted_ready(&mut self) {
        let stage = std::mem::replace(&mut self.sandbox.stage, Stage::Off);
        self.sandbox.stage = match stage {
            Stage::Filling(running) => Stage::Ready(running),
            other => other,
        };
        self.live.changed();
    }

    /// Does something when there is a sandbox, starting one if need be.
    pub(super) fn with_sandbox<T: Send + 'static>(
        &mut self,
        reply: Reply<T>,
        then: impl FnOnce(&mut Room, AgentLink, Reply<T>) + Send + 'static,
    ) {
        self.want_sandbox();
        if let Some(link) = self.sandbox.ready_link().cloned() {
            return then(self, link, reply);
        }
        if self.sandbox.is_coming() {
            self.waiting_for_sandbox.push(Box::new(move |room| {
                match room.sandbox.ready_link().cloned() {
                    Some(link) => then(room, link, reply),
                    None => drop(reply.send(Err(room.no_sandbox()))),
                }
            }));
            return;
        }
        drop(reply.send(Err(self.no_sandbox())));
    }

    fn no_sandbox(&self) -> RoomError {
        RoomError::Unavailable(match &self.sandbox.stage {
            Stage::Failed { message, .. } => message.clone(),
            _ => "there is no sandbox now; try again".to_owned(),
        })
    }

    /// Something from the sandbox.
    pub(super) fn sandbox_event(&mut self, event: SandboxEvent) {
        match event {
            SandboxEvent::Ended(reason) => {
                tracing::warn!(repl = %self.repl, reason, "the sandbox ended");
                self.abandon_sandbox(format!("The sandbox ended: {reason}. Your files are safe; it starts again with Run or a shell."));
            }
            SandboxEvent::Link(LinkEvent::Connected(hello)) => self.agent_connected(hello),
            SandboxEvent::Link(LinkEvent::Disconnected) => {
                tracing::info!(repl = %self.repl, "the agent's connection was lost");
                self.disk.connection_lost();
            }
            SandboxEvent::Link(LinkEvent::Event(event)) => self.agent_event(event),
        }
    }

    fn agent_connected(&mut self, hello: Hello) {
        self.saving.possible = hello.scrollback;
        self.terminals.agent_has(hello.terminals);
        self.live.changed();
        if self.disk.is_adopted() && !hello.filled {
            tracing::info!(repl = %self.repl, "an earlier server died while it filled this sandbox");
            self.disk.fill_again();
            return self.fill_sandbox();
        }
        // The first connection of a new sandbox is not scanned: it is being filled.
        if self.disk.is_known() || self.disk.is_adopted() {
            self.rescan();
        }
    }

    fn agent_event(&mut self, event: Event) {
        match event {
            Event::Changed { paths } => {
                self.disk.changed.extend(paths);
                self.inspect_changed();
            }
            Event::Overflow => self.rescan(),
            Event::ScanChunk { id: _, entries } => {
                self.disk.scanned(entries);
                if self.disk.scan_is_whole() {
                    self.scan_finished();
                }
            }
            Event::Ports { ports } => {
                self.sandbox.ports = ports;
                self.live.changed();
            }
            Event::Exited { terminal, exit } => self.terminal_exited(terminal, exit),
            Event::Title { terminal, title } => {
                self.terminals.set_title(terminal, &title);
                self.live.changed();
            }
        }
    }

    /// Where a port can be dialled.
    pub(super) fn port_door(&mut self, port: u16, reply: Reply<(AgentLink, ListeningPort)>) {
        let listening = self.sandbox.ports.iter().find(|listening| listening.port == port).copied();
        let answer = match (listening, self.sandbox.ready_link()) {
            (Some(listening), Some(link)) => Ok((link.clone(), listening)),
            (None, Some(_)) => {
                Err(RoomError::NotFound(format!("nothing listens on port {port} yet")))
            }
            (_, None) => {
                let coming = self.sandbox.is_coming();
                self.want_sandbox();
                Err(RoomError::Unavailable(if coming || self.sandbox.is_coming() {
                    "the sandbox is starting".to_owned()
                } else {
                    "the sandbox is not running".to_owned()
                }))
            }
        };
        drop(reply.send(answer));
    }
}
