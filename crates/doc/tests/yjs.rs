//! The document against real Yjs: random honest histories of several clients with undo,
//! offline batches, out-of-order and repeated delivery, a writing server and programs that
//! change the file. In the end everyone has the same text.
//!
//! A case is replayed by its seed: `TANDEM_YJS_SEED=17 cargo test -p tandem-doc --test yjs`;
//! `TANDEM_YJS_CASES=20000` runs more of them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tandem_doc::{Applied, DiskMerge, Document, Rejected, SharedMap};

const CASES: u64 = 300;

/// The node process with the Yjs clients of one case at a time.
struct Yjs {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Yjs {
    fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/yjs");
        assert!(
            folder.join("node_modules/yjs/package.json").exists(),
            "Yjs is not installed: run `npm ci` in crates/doc/tests/yjs (or `make test`)"
        );
        let mut process = Command::new("node")
            .arg("peer.mjs")
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node is needed for this test: install Node.js 20 or later");
        let input = process.stdin.take().expect("a pipe");
        let output = BufReader::new(process.stdout.take().expect("a pipe"));
        Self { process, input, output }
    }

    fn ask(&mut self, command: &str, mut request: Value) -> Value {
        request["command"] = json!(command);
        writeln!(self.input, "{request}").expect("node reads");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("node answers");
        let answer: Value = serde_json::from_str(&line).expect("node answers with JSON");
        assert!(answer.get("error").is_none(), "Yjs failed at {request}: {answer}");
        answer
    }

    fn bytes(&mut self, command: &str, request: Value, field: &str) -> Vec<u8> {
        from_hex(self.ask(command, request)[field].as_str().expect("hex"))
    }
}

impl Drop for Yjs {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(digits: &str) -> Vec<u8> {
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex"))
        .collect()
}

/// A small generator (splitmix64): the same numbers from the same seed on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn text(&mut self) -> String {
        let pieces = ["a", "b", "\n", "xy", "😀", "é", "line\n", "fn f() {}\n", "𝒳", ""];
        (0..self.below(4)).map(|_| pieces[self.below(pieces.len() as u64) as usize]).collect()
    }
}

/// One case: the server, its clients, and what is under way between them.
struct Case<'a> {
    yjs: &'a mut Yjs,
    random: Random,
    document: Document,
    disk: DiskMerge,
    /// Updates from each client that did not arrive yet, in any order.
    to_server: Vec<Vec<Vec<u8>>>,
    /// Updates for each client, in order.
    to_client: Vec<Vec<Vec<u8>>>,
    fresh_client: u64,
    now_ms: u64,
}

impl Case<'_> {
    fn step(&mut self) {
        let client = self.random.below(self.to_server.len() as u64) as usize;
        match self.random.below(100) {
            0..45 => {
                let request = json!({
                    "client": client,
                    "at": self.random.below(40),
                    "remove": if self.random.below(3) == 0 { self.random.below(6) } else { 0 },
                    "insert": self.random.text(),
                });
                self.make("edit", client, request);
            }
            45..50 => self.make("undo", client, json!({ "client": client })),
            50..52 => self.make("redo", client, json!({ "client": client })),
            52..54 => self.send_merged(client),
            54..78 => self.deliver_to_server(client),
            78..92 => self.deliver_to_client(client),
            92..94 => self.reconnect(client),
            94..96 => {
                let text = self.document.text() + "server\n";
                self.before_edit();
                let update = self.document.replace(&text).expect("replaces");
                self.broadcast(update, None);
            }
            96..97 => {
                let text = self.disk.begin_write(&self.document, self.now_ms);
                self.disk.written(&text, self.now_ms);
            }
            _ => self.run_program(),
        }
        self.now_ms += self.random.below(700);
    }

    fn make(&mut self, command: &str, client: usize, request: Value) {
        let answer = self.yjs.ask(command, request);
        for update in answer["updates"].as_array().expect("a list") {
            self.to_server[client].push(from_hex(update.as_str().expect("hex")));
        }
    }

    /// What a client made offline is sent as one update.
    fn send_merged(&mut self, client: usize) {
        let updates: Vec<_> = self.to_server[client].drain(..).map(|u| to_hex(&u)).collect();
        if !updates.is_empty() {
            let merged = self.yjs.bytes("merge", json!({ "updates": updates }), "update");
            self.to_server[client].push(merged);
        }
    }

    fn deliver_to_server(&mut self, client: usize) {
        if self.to_server[client].is_empty() {
            return;
        }
        let at = self.random.below(self.to_server[client].len() as u64) as usize;
        let update = self.to_server[client].remove(at);
        if self.random.below(8) == 0 {
            self.to_server[client].push(update.clone());
        }
        self.before_edit();
        match self.document.apply(&update) {
            Ok(Applied::New) => self.broadcast(Some(update), Some(client)),
            Ok(Applied::Known) => {}
            Err(Rejected::Gap) => self.exchange(client),
            Err(error) => panic!("an honest update was refused: {error}: {}", to_hex(&update)),
        }
    }

    /// Step 1 to a client and its answer, which must not have a gap.
    fn exchange(&mut self, client: usize) {
        let vector = to_hex(&self.document.state_vector());
        let request = json!({ "client": client, "vector": vector });
        let update = self.yjs.bytes("diff", request, "update");
        self.before_edit();
        match self.document.apply_within(&update, || true) {
            Ok(Applied::New) => self.broadcast(Some(update), Some(client)),
            Ok(Applied::Known) => {}
            Err(error) => panic!("a full difference was refused: {error}: {}", to_hex(&update)),
        }
    }

    fn deliver_to_client(&mut self, client: usize) {
        if !self.to_client[client].is_empty() {
            let update = to_hex(&self.to_client[client].remove(0));
            self.yjs.ask("apply", json!({ "client": client, "update": update }));
        }
    }

    /// The socket went: what was under way is lost, and both sides exchange state vectors.
    fn reconnect(&mut self, client: usize) {
        self.to_server[client].clear();
        self.to_client[client].clear();
        self.exchange(client);
        let vector = self.yjs.bytes("vector", json!({ "client": client }), "vector");
        let update = to_hex(&self.document.encode_diff(&vector).expect("encodes"));
        self.yjs.ask("apply", json!({ "client": client, "update": update }));
    }

    fn broadcast(&mut self, update: Option<Vec<u8>>, except: Option<usize>) {
        let Some(update) = update else { return };
        for (client, queue) in self.to_client.iter_mut().enumerate() {
            if Some(client) != except {
                queue.push(update.clone());
            }
        }
    }

    fn before_edit(&mut self) {
        self.disk.note_edit(&self.document).expect("notes");
    }

    fn run_program(&mut self) {
        let base = self.disk.base_text().expect("a base").to_string();
        let mut lines: Vec<&str> = base.split_inclusive('\n').collect();
        let at = self.random.below(lines.len() as u64 + 1) as usize;
        if self.random.below(2) == 0 && at < lines.len() {
            lines.remove(at);
        } else {
            lines.insert(at, "program 😀\n");
        }
        let (text, now_ms) = (lines.concat(), self.now_ms);
        self.fresh_client += 1;
        let update = self.disk.ingest(&mut self.document, &text, self.fresh_client, now_ms);
        self.broadcast(update.expect("ingests"), None);
    }

    /// Everything arrives; then all have the same text.
    fn settle(mut self) {
        let clients = self.to_server.len();
        for client in 0..clients {
            while !self.to_server[client].is_empty() {
                self.deliver_to_server(client);
            }
        }
        let state = self.document.encode_state().expect("encodes");
        for client in 0..clients {
            while !self.to_client[client].is_empty() {
                self.deliver_to_client(client);
            }
            let text = self.yjs.ask("text", json!({ "client": client }));
            assert_eq!(
                text["text"].as_str(),
                Some(self.document.text().as_str()),
                "client {client}"
            );
            let pending = self.yjs.ask("pending", json!({ "client": client }));
            assert_eq!(pending["pending"], json!(false), "client {client}");
            // The state vectors agree: neither side lacks anything.
            let vector = self.yjs.bytes("vector", json!({ "client": client }), "vector");
            assert_eq!(self.document.encode_diff(&vector).expect("encodes")[0], 0);
        }
        // A stored state is the document, to us and to a client that comes new.
        let loaded = Document::load(1 << 52, &state).expect("loads");
        assert_eq!(loaded.text(), self.document.text());
        self.yjs.ask("start", json!({ "ids": [77] }));
        self.yjs.ask("apply", json!({ "client": 0, "update": to_hex(&state) }));
        let text = self.yjs.ask("text", json!({ "client": 0 }));
        assert_eq!(text["text"].as_str(), Some(self.document.text().as_str()));
    }
}

fn run_case(yjs: &mut Yjs, seed: u64) {
    let mut random = Random(seed);
    let clients = 2 + random.below(3) as usize;
    // Neighbouring and far ids: their order decides who comes first.
    let ids: Vec<u64> = (0..clients as u64)
        .map(
            |n| if random.below(2) == 0 { 100 + n } else { (random.below(1 << 40) << 8) + n + 256 },
        )
        .collect();
    yjs.ask("start", json!({ "ids": ids }));
    let mut document = Document::new(50 + random.below(100_000_000));
    let seeded = document.replace("first\nsecond 😀\n").expect("seeds").expect("changes");
    let mut case = Case {
        disk: DiskMerge::new(document.text()),
        document,
        to_server: vec![Vec::new(); clients],
        to_client: vec![vec![seeded]; clients],
        fresh_client: (1 << 52) + seed * 1_000,
        now_ms: 1_000_000,
        yjs,
        random,
    };
    let steps = 20 + case.random.below(150);
    for _ in 0..steps {
        case.step();
    }
    case.settle();
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is not a number")))
}

#[test]
fn honest_histories_converge_with_yjs() {
    let mut yjs = Yjs::start();
    let seeds = match number("TANDEM_YJS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TANDEM_YJS_CASES").unwrap_or(CASES),
    };
    for seed in seeds {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run_case(&mut yjs, seed);
        }));
        if let Err(panic) = result {
            eprintln!("replay with TANDEM_YJS_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_map_of_the_server_reads_the_same_in_yjs() {
    let mut yjs = Yjs::start();
    let mut map = SharedMap::new(5, "folder");
    let values = BTreeMap::from([
        ("a".to_owned(), json!({ "name": "é😀", "size": 5_000_000_000u64, "ok": true })),
        ("b".to_owned(), json!([1, -2, 0.5, null, "x"])),
    ]);
    map.replace(values.clone()).expect("replaces");
    map.set("c", json!(1)).expect("sets");
    map.remove("c").expect("removes");
    let update = to_hex(&map.encode_state().expect("encodes"));
    let answer = yjs.ask("map", json!({ "name": "folder", "update": update }));
    assert_eq!(answer["map"], json!(values));
}
