//! The link against an agent that is this test itself, honest and not.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tandem_proto::agent::{
    Dial, Exit, FromAgent, Signature, TerminalInput, TerminalOutput, ToAgent, Usage, VERSION,
};
use tandem_proto::agent::{Entry, EntryKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::frame::encode;
use super::*;
use crate::identity::ProcessIdentity;

const LIMIT: Duration = Duration::from_secs(10);
const MAX: usize = 4 << 20;

/// A link, its folder, and the means to dial it as its agent.
struct Bench {
    link: AgentLink,
    events: mpsc::Receiver<LinkEvent>,
    socket: PathBuf,
    peer: watch::Sender<Option<Peer>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

fn sandbox() -> SandboxId {
    SandboxId::from_random([3; 10])
}

fn own() -> Peer {
    let process = ProcessIdentity::of(std::process::id() as i32).unwrap();
    Peer { process, uid: rustix::process::geteuid().as_raw() }
}

fn hello() -> Hello {
    Hello {
        version: VERSION,
        sandbox: sandbox(),
        terminals: Vec::new(),
        filled: false,
        scrollback: true,
    }
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = listen(folder.path()).unwrap();
        let stop = CancellationToken::new();
        let LinkTask { link, run, peer } = AgentLink::serve(sandbox(), listener, stop.clone());
        let events = link.take_events().unwrap();
        assert!(link.take_events().is_none(), "events are taken once");
        peer.send_replace(Some(own()));
        let socket = folder.path().join("agent.sock");
        let task = tokio::spawn(run);
        Self { link, events, socket, peer, stop, task, _folder: folder }
    }

    async fn dial(&self, dial: &Dial) -> Agent {
        let mut socket = UnixStream::connect(&self.socket).await.unwrap();
        socket.write_all(&encode(dial, MAX).unwrap()).await.unwrap();
        Agent(FrameReader::new(socket, BytesMut::new(), MAX))
    }

    async fn connect(&mut self) -> Agent {
        let mut agent = self.dial(&Dial::Control(hello())).await;
        assert!(matches!(agent.next().await, ToAgent::Configure(_)), "settings come first");
        assert!(matches!(self.event().await, LinkEvent::Connected(_)));
        agent
    }

    async fn event(&mut self) -> LinkEvent {
        timeout(LIMIT, self.events.recv()).await.expect("an event in time").expect("an event")
    }
}

struct Agent(FrameReader<UnixStream>);

impl Agent {
    async fn next(&mut self) -> ToAgent {
        timeout(LIMIT, self.0.next()).await.expect("a frame in time").unwrap().expect("a frame")
    }

    async fn request(&mut self) -> (u64, Op) {
        match self.next().await {
            ToAgent::Request { id, op } => (id, op),
            other => panic!("{other:?}"),
        }
    }

    async fn stream(&mut self) -> u64 {
        match self.next().await {
            ToAgent::OpenStream { stream, .. } => stream,
            other => panic!("{other:?}"),
        }
    }

    async fn send(&mut self, message: &FromAgent) {
        self.raw(&encode(message, MAX).unwrap()).await;
    }

    async fn raw(&mut self, bytes: &[u8]) {
        self.0.io_mut().write_all(bytes).await.unwrap();
    }

    async fn answer(&mut self, id: u64, result: Result<Reply, AgentError>) {
        self.send(&FromAgent::Response { id, result }).await;
    }

    /// Whether the server closes this connection.
    async fn is_closed(&mut self) -> bool {
        let closed = async {
            loop {
                match self.0.next::<ToAgent>().await {
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return true,
                }
            }
        };
        timeout(LIMIT, closed).await.unwrap_or(false)
    }
}

fn usage() -> Reply {
    Reply::Usage(Usage { processes: 7, ..Usage::default() })
}

fn entry(path: &str) -> Entry {
    Entry {
        path: RelPath::parse(path).unwrap(),
        kind: EntryKind::File,
        signature: Signature { device: 1, inode: 2, size: 3, mtime_ns: 4, ctime_ns: 5 },
        executable: false,
        ignored: false,
    }
}

#[tokio::test]
async fn requests_are_answered_in_any_order_and_errors_are_passed_on() {
    let mut bench = Bench::new();
    assert!(matches!(bench.link.request(Op::Usage).await, Err(LinkError::Disconnected)));
    let mut agent = bench.connect().await;
    assert!(bench.link.is_connected());
    let first = tokio::spawn({
        let link = bench.link.clone();
        async move { link.request(Op::Usage).await }
    });
    let (first_id, _) = agent.request().await;
    let second = tokio::spawn({
        let link = bench.link.clone();
        async move { link.request(Op::CheckPorts).await }
    });
    let (second_id, _) = agent.request().await;
    agent.answer(second_id, Err(AgentError::NoSpace)).await;
    agent.answer(first_id, Ok(usage())).await;
    assert!(matches!(second.await.unwrap(), Err(LinkError::Agent(AgentError::NoSpace))));
    assert!(matches!(first.await.unwrap(), Ok(Reply::Usage(Usage { processes: 7, .. }))));
    bench.stop.cancel();
    timeout(LIMIT, &mut bench.task).await.unwrap().unwrap();
    assert!(matches!(bench.link.request(Op::Usage).await, Err(LinkError::Gone)));
}

#[tokio::test]
async fn settings_are_repeated_to_every_new_connection() {
    let mut bench = Bench::new();
    let mut agent = bench.connect().await;
    let configure = Configure { ignore: vec!["target".into()] };
    bench.link.configure(configure.clone()).await.unwrap();
    assert!(matches!(agent.next().await, ToAgent::Configure(c) if c.ignore == ["target"]));
    drop(agent);
    assert!(matches!(bench.event().await, LinkEvent::Disconnected));
    let mut again = bench.dial(&Dial::Control(hello())).await;
    assert!(matches!(again.next().await, ToAgent::Configure(c) if c.ignore == ["target"]));
}

#[tokio::test]
async fn the_newest_control_connection_wins_and_what_waited_fails() {
    let mut bench = Bench::new();
    let mut old = bench.connect().await;
    let waiting = tokio::spawn({
        let link = bench.link.clone();
        async move { link.request(Op::Usage).await }
    });
    old.request().await;
    let mut new = bench.dial(&Dial::Control(hello())).await;
    assert!(matches!(bench.event().await, LinkEvent::Disconnected));
    assert!(matches!(bench.event().await, LinkEvent::Connected(_)));
    assert!(matches!(waiting.await.unwrap(), Err(LinkError::Disconnected)));
    assert!(old.is_closed().await);
    assert!(matches!(new.next().await, ToAgent::Configure(_)));
}

#[tokio::test]
async fn only_the_recorded_process_is_let_in() {
    let bench = Bench::new();
    for wrong in [
        None,
        Some(Peer { uid: own().uid + 1, ..own() }),
        Some(Peer { process: ProcessIdentity::of(1).unwrap(), ..own() }),
        Some(Peer { process: ProcessIdentity { start_ticks: 1, ..own().process }, ..own() }),
    ] {
        bench.peer.send_replace(wrong);
        let mut agent = bench.dial(&Dial::Control(hello())).await;
        if wrong.is_none() {
            // Not known yet: it waits, and is refused when it turns out to be another.
            bench.peer.send_replace(Some(Peer { uid: own().uid + 1, ..own() }));
        }
        assert!(agent.is_closed().await);
        assert!(!bench.link.is_connected());
    }
}

#[tokio::test]
async fn a_greeting_that_lies_is_refused_and_the_next_is_heard() {
    let mut bench = Bench::new();
    let other = SandboxId::from_random([9; 10]);
    for lie in [Hello { sandbox: other, ..hello() }, Hello { version: VERSION + 1, ..hello() }] {
        let mut agent = bench.dial(&Dial::Control(lie)).await;
        assert!(agent.is_closed().await);
    }
    for garbage in [&b"\xff\xff\xff\xff"[..], b"\x01\0\0\0\xc1", b"\x04\0\0\0GET "] {
        let mut socket = UnixStream::connect(&bench.socket).await.unwrap();
        socket.write_all(garbage).await.unwrap();
        let mut rest = Vec::new();
        timeout(LIMIT, socket.read_to_end(&mut rest)).await.unwrap().ok();
    }
    bench.connect().await;
}

#[tokio::test]
async fn broken_rules_close_the_control_connection_only() {
    let mut bench = Bench::new();
    let long_title =
        Event::Title { terminal: TerminalId::from_random([1; 10]), title: "x".repeat(300) };
    let violations = [
        encode(&FromAgent::Response { id: 999, result: Ok(Reply::Done) }, MAX).unwrap(),
        encode(&FromAgent::Event(Event::ScanChunk { id: 999, entries: vec![] }), MAX).unwrap(),
        encode(&FromAgent::Event(long_title), MAX).unwrap(),
        Bytes::from_static(b"\x01\0\0\0\xc1"),
        Bytes::from_static(b"\xff\xff\xff\xff"),
    ];
    for violation in violations {
        let mut agent = bench.connect().await;
        // A stream that stands is not touched.
        let opening = tokio::spawn({
            let link = bench.link.clone();
            async move { link.open_tcp([127, 0, 0, 1].into(), 80).await }
        });
        let stream = agent.stream().await;
        let mut other = bench.dial(&Dial::Stream { stream, result: Ok(()) }).await;
        let mut tcp = opening.await.unwrap().unwrap();
        agent.raw(&violation).await;
        assert!(agent.is_closed().await);
        assert!(matches!(bench.event().await, LinkEvent::Disconnected));
        other.raw(b"still here").await;
        let mut heard = [0; 10];
        timeout(LIMIT, tcp.read_exact(&mut heard)).await.unwrap().unwrap();
        assert_eq!(&heard, b"still here");
    }
}

#[tokio::test]
async fn a_reply_of_the_wrong_kind_fails_its_request_and_the_connection() {
    let mut bench = Bench::new();
    let mut agent = bench.connect().await;
    let path = RelPath::parse("a").unwrap();
    let asked = tokio::spawn({
        let (link, path) = (bench.link.clone(), path.clone());
        async move { link.request(Op::Read { path, max_bytes: 2 }).await }
    });
    let (id, _) = agent.request().await;
    let too_much = Reply::Content { content: Bytes::from_static(b"abc"), entry: entry("a") };
    agent.answer(id, Ok(too_much)).await;
    assert!(matches!(asked.await.unwrap(), Err(LinkError::Protocol(_))));
    assert!(agent.is_closed().await);
}

#[tokio::test]
async fn a_late_answer_is_ignored() {
    let mut bench = Bench::new();
    let mut agent = bench.connect().await;
    let asked = tokio::spawn({
        let link = bench.link.clone();
        async move { link.request(Op::Usage).await }
    });
    let (id, _) = agent.request().await;
    asked.abort();
    assert!(asked.await.is_err());
    agent.answer(id, Ok(usage())).await;
    agent.answer(id, Ok(usage())).await;
    agent.send(&FromAgent::Event(Event::Overflow)).await;
    assert!(matches!(bench.event().await, LinkEvent::Event(Event::Overflow)));
}

#[tokio::test]
async fn events_that_nobody_takes_close_the_connection_and_a_new_one_starts_afresh() {
    let mut bench = Bench::new();
    let mut agent = bench.connect().await;
    let frame = encode(&FromAgent::Event(Event::Overflow), MAX).unwrap();
    let flood = frame.repeat(1000);
    let flooding = tokio::spawn(async move {
        loop {
            if agent.0.io_mut().write_all(&flood).await.is_err() {
                return;
            }
        }
    });
    timeout(LIMIT, flooding).await.unwrap().unwrap();
    // Not complete any more, and said so.
    let mut heard = 0;
    while !matches!(bench.event().await, LinkEvent::Disconnected) {
        heard += 1;
    }
    assert!(heard <= 64, "the backlog is dropped, what was handed out stays: {heard}");
    bench.connect().await;
}

#[tokio::test]
async fn a_scan_of_a_full_workspace_is_not_an_overflow() {
    let mut bench = Bench::new();
    let mut agent = bench.connect().await;
    let scanning = tokio::spawn({
        let link = bench.link.clone();
        async move { link.request(Op::Scan { under: None }).await }
    });
    let (id, _) = agent.request().await;
    let entries: Vec<_> = (0..1000).map(|n| entry(&format!("folder/file-{n}.txt"))).collect();
    for _ in 0..50 {
        let entries = entries.clone();
        agent.send(&FromAgent::Event(Event::ScanChunk { id, entries })).await;
    }
    agent.answer(id, Ok(Reply::Scanned { count: 50_000, truncated: false })).await;
    // The answer is not stuck behind events that nobody has taken yet.
    let scanned = timeout(LIMIT, scanning).await.unwrap().unwrap();
    assert!(matches!(scanned, Ok(Reply::Scanned { count: 50_000, .. })));
    for _ in 0..50 {
        assert!(matches!(bench.event().await, LinkEvent::Event(Event::ScanChunk { .. })));
    }
}

#[tokio::test]
async fn unasked_streams_are_closed_and_refusals_passed_on() {
    let mut bench = Bench::new();
    let mut agent = bench.connect().await;
    let mut unasked = bench.dial(&Dial::Stream { stream: 12345, result: Ok(()) }).await;
    assert!(unasked.is_closed().await);
    let opening = tokio::spawn({
        let link = bench.link.clone();
        async move { link.open_tcp([127, 0, 0, 1].into(), 81).await }
    });
    let stream = agent.stream().await;
    let refused = Dial::Stream { stream, result: Err(AgentError::Refused) };
    let mut connection = bench.dial(&refused).await;
    assert!(matches!(opening.await.unwrap(), Err(LinkError::Agent(AgentError::Refused))));
    assert!(connection.is_closed().await);
    // A number is good once.
    let mut again = bench.dial(&Dial::Stream { stream, result: Ok(()) }).await;
    assert!(again.is_closed().await);
}

#[tokio::test]
async fn tcp_is_half_closed_and_keeps_bytes_that_came_with_the_greeting() {
    let mut bench = Bench::new();
    let mut agent = bench.connect().await;
    let opening = tokio::spawn({
        let link = bench.link.clone();
        async move { link.open_tcp([127, 0, 0, 1].into(), 8080).await }
    });
    let stream = agent.stream().await;
    let mut bytes = encode(&Dial::Stream { stream, result: Ok(()) }, MAX).unwrap().to_vec();
    bytes.extend_from_slice(b"early");
    let mut socket = UnixStream::connect(&bench.socket).await.unwrap();
    socket.write_all(&bytes).await.unwrap();
    let mut tcp = opening.await.unwrap().unwrap();
    tcp.write_all(b"question").await.unwrap();
    tcp.shutdown().await.unwrap();
    let mut question = String::new();
    timeout(LIMIT, socket.read_to_string(&mut question)).await.unwrap().unwrap();
    assert_eq!(question, "question");
    socket.write_all(b" answer").await.unwrap();
    drop(socket);
    let mut answer = String::new();
    timeout(LIMIT, tcp.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, "early answer");
}

async fn terminal(bench: &mut Bench, agent: &mut Agent) -> (TerminalStream, Agent) {
    let opening = tokio::spawn({
        let link = bench.link.clone();
        async move { link.open_terminal(TerminalId::from_random([5; 10]), None).await }
    });
    let stream = agent.stream().await;
    let agent_end = bench.dial(&Dial::Stream { stream, result: Ok(()) }).await;
    (opening.await.unwrap().unwrap(), agent_end)
}

fn chunk(offset: u64, bytes: &'static [u8]) -> Bytes {
    encode(&TerminalOutput::Chunk { offset, bytes: Bytes::from_static(bytes) }, MAX).unwrap()
}

#[tokio::test]
async fn terminal_output_is_contiguous_or_cut_off() {
    let mut bench = Bench::new();
    let mut agent = bench.connect().await;
    let (mut stream, mut end) = terminal(&mut bench, &mut agent).await;
    let restart = TerminalOutput::Restart { offset: 100, prelude: Bytes::from_static(b"\x1bc") };
    end.raw(&encode(&restart, MAX).unwrap()).await;
    end.raw(&chunk(100, b"abc")).await;
    end.raw(&chunk(103, b"d")).await;
    let exit = Exit { code: Some(0), signal: None, duration_ms: 1 };
    end.raw(&encode(&TerminalOutput::Exited { exit }, MAX).unwrap()).await;
    for _ in 0..4 {
        assert!(timeout(LIMIT, stream.recv()).await.unwrap().unwrap().is_some());
    }
    end.raw(&chunk(105, b"a hole before it")).await;
    assert!(matches!(stream.recv().await, Err(LinkError::Protocol(_))));
    assert!(matches!(stream.recv().await, Ok(None)));

    for lie in [
        chunk(u64::MAX, b"overflow"),
        encode(&TerminalOutput::Chunk { offset: 0, bytes: vec![0; 64 * 1024 + 1].into() }, MAX)
            .unwrap(),
    ] {
        let (mut stream, mut end) = terminal(&mut bench, &mut agent).await;
        end.raw(&lie).await;
        assert!(stream.recv().await.is_err());
    }
    let (mut stream, mut end) = terminal(&mut bench, &mut agent).await;
    end.raw(&chunk(50, b"x")).await;
    end.raw(&encode(&TerminalOutput::Restart { offset: 10, prelude: Bytes::new() }, MAX).unwrap())
        .await;
    assert!(stream.recv().await.is_ok());
    assert!(stream.recv().await.is_err(), "backwards");
}

#[tokio::test]
async fn terminal_input_is_split_into_frames() {
    let mut bench = Bench::new();
    let mut agent = bench.connect().await;
    let (mut stream, mut end) = terminal(&mut bench, &mut agent).await;
    let pasted = vec![b'x'; 150_000];
    let sending = tokio::spawn({
        let bytes = pasted.clone().into();
        async move {
            stream.send(TerminalInput::Input { bytes }).await.unwrap();
            stream.send(TerminalInput::Ack { offset: 9 }).await.unwrap();
        }
    });
    let mut typed = Vec::new();
    loop {
        match timeout(LIMIT, end.0.next::<TerminalInput>()).await.unwrap().unwrap().unwrap() {
            TerminalInput::Input { bytes } => {
                assert!(bytes.len() <= 64 * 1024);
                typed.extend_from_slice(&bytes);
            }
            TerminalInput::Ack { offset } => break assert_eq!(offset, 9),
        }
    }
    assert_eq!(typed, pasted);
    sending.await.unwrap();
}

#[tokio::test]
async fn transfers_tell_their_result() {
    let mut bench = Bench::new();
    let mut agent = bench.connect().await;
    for result in [Ok(3), Err(AgentError::NoSpace)] {
        let unpacking = tokio::spawn({
            let link = bench.link.clone();
            async move { link.unpack(&b"not really a tar"[..]).await }
        });
        let stream = agent.stream().await;
        let mut end = bench.dial(&Dial::Stream { stream, result: Ok(()) }).await;
        if result.is_ok() {
            let mut tar = Vec::new();
            end.0.io_mut().read_to_end(&mut tar).await.unwrap();
            assert_eq!(tar, b"not really a tar");
        }
        end.raw(&encode(&TransferEnd { result: result.clone() }, MAX).unwrap()).await;
        match (unpacking.await.unwrap(), result) {
            (Ok(count), Ok(expected)) => assert_eq!(count, expected),
            (Err(LinkError::Agent(AgentError::NoSpace)), Err(_)) => {}
            (other, _) => panic!("{other:?}"),
        }
    }
    let packing = tokio::spawn({
        let link = bench.link.clone();
        async move {
            let mut tar = link.pack(vec![RelPath::parse("src").unwrap()]).await.unwrap();
            let mut bytes = Vec::new();
            tar.read_to_end(&mut bytes).await.unwrap();
            bytes
        }
    });
    let stream = agent.stream().await;
    let mut end = bench.dial(&Dial::Stream { stream, result: Ok(()) }).await;
    end.raw(b"tar bytes").await;
    drop(end);
    assert_eq!(packing.await.unwrap(), b"tar bytes");
}

#[tokio::test]
async fn a_page_full_of_requests_is_served_at_once() {
    let mut bench = Bench::new();
    let mut agent = bench.connect().await;
    let wanted = 200;
    let opening: Vec<_> = (0..wanted)
        .map(|_| {
            let link = bench.link.clone();
            tokio::spawn(async move { link.open_tcp([127, 0, 0, 1].into(), 80).await })
        })
        .collect();
    let mut dialled = Vec::new();
    for _ in 0..wanted {
        let stream = agent.stream().await;
        dialled.push(bench.dial(&Dial::Stream { stream, result: Ok(()) }).await);
    }
    let mut open = Vec::new();
    for one in opening {
        open.push(timeout(LIMIT, one).await.unwrap().unwrap().unwrap());
    }
    assert_eq!(open.len(), wanted);
}

#[tokio::test]
async fn connections_are_bounded_in_number_and_more_wait() {
    let mut bench = Bench::new();
    let mut agent = bench.connect().await;
    let mut held = Vec::new();
    for _ in 0..MAX_TCP {
        held.push(bench.link.connections.clone().try_acquire_owned().unwrap());
    }
    let opening = tokio::spawn({
        let link = bench.link.clone();
        async move { link.open_tcp([127, 0, 0, 1].into(), 80).await }
    });
    // A terminal does not wait for them.
    let (_stream, _end) = terminal(&mut bench, &mut agent).await;
    assert!(!opening.is_finished());
    held.pop();
    let stream = agent.stream().await;
    let _end = bench.dial(&Dial::Stream { stream, result: Ok(()) }).await;
    assert!(timeout(LIMIT, opening).await.unwrap().unwrap().is_ok());
}
