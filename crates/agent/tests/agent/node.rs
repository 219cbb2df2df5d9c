//! A node's end of an agent: listens, takes its connections, asks and waits.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tandem_proto::agent::{
    AgentError, Configure, Dial, Entry, Event, Exit, Expect, FromAgent, Hello, Op, Reply, Spawn,
    StreamTarget, TerminalInput, TerminalKind, TerminalOutput, ToAgent,
};
use tandem_proto::{RelPath, TerminalId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

/// Longest wait for anything.
pub const LIMIT: Duration = Duration::from_secs(20);
pub const SANDBOX: &str = "aaaaaaaaaaaaaaab";

pub fn path(text: &str) -> RelPath {
    RelPath::parse(text).unwrap()
}

pub fn terminal(number: u8) -> TerminalId {
    TerminalId::from_random([number; 10])
}

pub async fn write_frame(stream: &mut (impl AsyncWriteExt + Unpin), message: &impl Serialize) {
    let bytes = rmp_serde::to_vec_named(message).unwrap();
    let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    stream.write_all(&[&length[..], &bytes].concat()).await.unwrap();
}

pub async fn read_frame<T: DeserializeOwned>(
    stream: &mut (impl AsyncReadExt + Unpin),
) -> Option<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.ok()?;
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(rmp_serde::from_slice(&bytes).unwrap())
}

/// Waits for a condition; the text says for what.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let limit = tokio::time::Instant::now() + LIMIT;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < limit, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<u64, oneshot::Sender<Result<Reply, AgentError>>>>,
    streams: Mutex<HashMap<u64, oneshot::Sender<Result<UnixStream, AgentError>>>>,
    events: Mutex<Vec<Event>>,
    news: Notify,
}

/// The agent's process and files, which outlive a node.
pub struct Sandbox {
    pub folder: tempfile::TempDir,
    pub agent: Child,
}

impl Sandbox {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(extra: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("workspace")).unwrap();
        // Another build, or a wrapper that puts it into a sandbox, can be put to the same tests.
        let program = std::env::var_os("TANDEM_TEST_AGENT")
            .unwrap_or_else(|| env!("CARGO_BIN_EXE_tandem-agent").into());
        let agent = Command::new(program)
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .env("HOME", folder.path())
            .env("TANDEM_AGENT_SOCKET", folder.path().join("agent.sock"))
            .env("TANDEM_WORKSPACE", folder.path().join("workspace"))
            .env("TANDEM_SANDBOX", SANDBOX)
            .envs(extra.iter().copied())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { folder, agent }
    }

    pub fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

/// A connected node.
pub struct Node {
    pub hello: Hello,
    control: tokio::sync::Mutex<OwnedWriteHalf>,
    shared: Arc<Shared>,
    next: AtomicU64,
    tasks: Vec<JoinHandle<()>>,
    socket: PathBuf,
}

impl Drop for Node {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// An agent and its node, as most tests need them.
pub async fn start() -> (Sandbox, Node) {
    let sandbox = Sandbox::start();
    let node = Node::listen(&sandbox).await;
    (sandbox, node)
}

impl Node {
    pub async fn listen(sandbox: &Sandbox) -> Self {
        Self::listen_at(&sandbox.socket(), &["node_modules"]).await
    }

    pub async fn listen_at(socket: &Path, ignore: &[&str]) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        // The agent may run as somebody else.
        std::fs::set_permissions(socket, std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .unwrap();
        let shared = Arc::new(Shared::default());
        let (controls, mut control) = mpsc::channel(1);
        let accepting = tokio::spawn({
            let shared = shared.clone();
            async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    match read_frame::<Dial>(&mut stream).await {
                        Some(Dial::Control(hello)) => {
                            controls.send((hello, stream)).await.unwrap();
                        }
                        Some(Dial::Stream { stream: number, result }) => {
                            let waiting = shared.streams.lock().unwrap().remove(&number);
                            let _ = waiting.unwrap().send(result.map(|()| stream));
                        }
                        None => {}
                    }
                }
            }
        });
        let (hello, stream) = tokio::time::timeout(LIMIT, control.recv()).await.unwrap().unwrap();
        let (mut reader, writer) = stream.into_split();
        let reading = tokio::spawn({
            let shared = shared.clone();
            async move {
                while let Some(message) = read_frame::<FromAgent>(&mut reader).await {
                    match message {
                        FromAgent::Response { id, result } => {
                            if let Some(waiting) = shared.answers.lock().unwrap().remove(&id) {
                                let _ = waiting.send(result);
                            }
                        }
                        FromAgent::Event(event) => shared.events.lock().unwrap().push(event),
                    }
                    shared.news.notify_waiters();
                }
            }
        });
        let node = Self {
            hello,
            control: tokio::sync::Mutex::new(writer),
            shared,
            next: AtomicU64::new(1),
            tasks: vec![accepting, reading],
            socket: socket.to_owned(),
        };
        let ignore = ignore.iter().map(|name| (*name).to_owned()).collect();
        node.send(&ToAgent::Configure(Configure { ignore })).await;
        // Settings are in force when the next request is answered.
        node.ask(Op::Usage).await.unwrap();
        node
    }

    pub async fn send(&self, message: &ToAgent) {
        write_frame(&mut *self.control.lock().await, message).await;
    }

    pub async fn ask(&self, op: Op) -> Result<Reply, AgentError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.shared.answers.lock().unwrap().insert(id, sender);
        self.send(&ToAgent::Request { id, op }).await;
        tokio::time::timeout(LIMIT, receiver).await.expect("no answer").expect("connection ended")
    }

    pub async fn open(&self, target: StreamTarget) -> Result<UnixStream, AgentError> {
        let stream = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.shared.streams.lock().unwrap().insert(stream, sender);
        self.send(&ToAgent::OpenStream { stream, target }).await;
        tokio::time::timeout(LIMIT, receiver).await.expect("no stream").unwrap()
    }

    pub fn events(&self) -> Vec<Event> {
        self.shared.events.lock().unwrap().clone()
    }

    pub fn forget_events(&self) {
        self.shared.events.lock().unwrap().clear();
    }

    /// Waits for an event that `pick` takes.
    pub async fn event<T>(&self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let news = self.shared.news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                if let Some(found) = self.events().iter().find_map(&mut pick) {
                    return found;
                }
                news.await;
            }
        };
        match tokio::time::timeout(LIMIT, waiting).await {
            Ok(found) => found,
            Err(_) => {
                let got: String = format!("{:?}", self.events()).chars().take(2000).collect();
                panic!("waited too long for {what}; got {got}")
            }
        }
    }

    pub async fn exit(&self, id: TerminalId) -> Exit {
        self.event("an exit", |event| match event {
            Event::Exited { terminal, exit } if *terminal == id => Some(*exit),
            _ => None,
        })
        .await
    }

    /// Waits until a path was reported as changed.
    pub async fn changed(&self, wanted: &str) {
        let wanted = path(wanted);
        self.event("a change", |event| match event {
            Event::Changed { paths } => paths.contains(&wanted).then_some(()),
            _ => None,
        })
        .await;
    }

    pub async fn write(
        &self,
        at: &str,
        content: &[u8],
        expect: Expect,
    ) -> Result<Reply, AgentError> {
        let content = Bytes::copy_from_slice(content);
        self.ask(Op::Write { path: path(at), content, executable: None, expect }).await
    }

    pub async fn scan(&self, under: Option<&str>) -> Vec<Entry> {
        self.forget_events();
        let under = under.map(path);
        self.ask(Op::Scan { under }).await.unwrap();
        let mut all = Vec::new();
        for event in self.events() {
            if let Event::ScanChunk { entries, .. } = event {
                all.extend(entries);
            }
        }
        all
    }

    pub async fn spawn(&self, id: TerminalId, argv: &[&str]) -> Result<Reply, AgentError> {
        self.ask(Op::Spawn(program(id, argv))).await
    }

    pub async fn view(&self, id: TerminalId, from: Option<u64>) -> View {
        let target = StreamTarget::Terminal { terminal: id, from };
        View { stream: self.open(target).await.unwrap(), offset: from, restarts: 0 }
    }

    /// Runs a program to its end and returns all it printed.
    pub async fn run(&self, number: u8, argv: &[&str]) -> (String, Exit) {
        let id = terminal(number);
        self.spawn(id, argv).await.unwrap();
        let mut view = self.view(id, Some(0)).await;
        let (text, exit) = view.until_exit().await;
        (text, exit)
    }
}

pub fn program(id: TerminalId, argv: &[&str]) -> Spawn {
    Spawn {
        terminal: id,
        kind: TerminalKind::Shell,
        title: "test".to_owned(),
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: Vec::new(),
        cwd: None,
        cols: 80,
        rows: 24,
        history: Bytes::new(),
    }
}

/// A stream of a terminal; checks that its output is contiguous.
pub struct View {
    pub stream: UnixStream,
    pub offset: Option<u64>,
    pub restarts: usize,
}

impl View {
    pub async fn next(&mut self) -> Option<TerminalOutput> {
        let output = read_frame::<TerminalOutput>(&mut self.stream).await;
        match &output {
            Some(TerminalOutput::Chunk { offset, bytes }) => {
                assert!(bytes.len() <= 64 * 1024 && !bytes.is_empty());
                if let Some(expected) = self.offset {
                    assert_eq!(*offset, expected, "output is contiguous");
                }
                self.offset = Some(offset + bytes.len() as u64);
            }
            Some(TerminalOutput::Restart { offset, .. }) => {
                self.offset = Some(*offset);
                self.restarts += 1;
            }
            Some(TerminalOutput::Exited { .. }) | None => {}
        }
        output
    }

    /// Output until it contains `text`.
    pub async fn until(&mut self, text: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(text) {
            let next = tokio::time::timeout(LIMIT, self.next()).await;
            match next.unwrap_or_else(|_| panic!("waited too long for {text:?}; got {seen:?}")) {
                Some(TerminalOutput::Chunk { bytes, .. }) => {
                    seen.push_str(&String::from_utf8_lossy(&bytes));
                }
                Some(_) => {}
                None => panic!("ended before {text:?}: {seen:?}"),
            }
        }
        seen
    }

    pub async fn until_exit(&mut self) -> (String, Exit) {
        let mut seen = String::new();
        loop {
            let next = tokio::time::timeout(LIMIT, self.next()).await;
            match next.unwrap_or_else(|_| panic!("waited too long for an exit; got {seen:?}")) {
                Some(TerminalOutput::Chunk { bytes, .. }) => {
                    seen.push_str(&String::from_utf8_lossy(&bytes));
                }
                Some(TerminalOutput::Restart { .. }) => {}
                Some(TerminalOutput::Exited { exit }) => return (seen, exit),
                None => panic!("ended before the exit: {seen:?}"),
            }
        }
    }

    pub async fn type_in(&mut self, text: &str) {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        write_frame(&mut self.stream, &TerminalInput::Input { bytes }).await;
    }

    pub async fn ack(&mut self) {
        let offset = self.offset.unwrap_or(0);
        write_frame(&mut self.stream, &TerminalInput::Ack { offset }).await;
    }
}
