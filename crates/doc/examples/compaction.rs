//! What a document costs after a million edits: time to open, bytes stored, memory.
//!
//! `make bench-compaction`. Traces are in `benches/traces`; each line is a median of five.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tandem_doc::Document;
use yrs::block::ClientID;
use yrs::{Doc, OffsetKind, Options, Text, Transact};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[derive(Deserialize)]
struct Trace {
    txns: Vec<Transaction>,
}

#[derive(Deserialize)]
struct Transaction {
    patches: Vec<(u32, u32, String)>,
}

/// One edit: position, characters deleted, text inserted.
type Patch = (u32, u32, String);

fn load(name: &str) -> Outcome<Trace> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/traces").join(name);
    let unpacked = Command::new("gzip").arg("-dc").arg(&file).output()?;
    if !unpacked.status.success() {
        return Err(format!("gzip cannot read {}", file.display()).into());
    }
    Ok(serde_json::from_slice(&unpacked.stdout)?)
}

fn patches(trace: &Trace) -> Vec<Patch> {
    trace.txns.iter().flat_map(|transaction| transaction.patches.iter().cloned()).collect()
}

/// A trace again and again, each time in front of the text of the time before: an editor finds a
/// place from the front, and a person's edits lie near each other.
fn repeated(trace: &Trace, times: usize) -> Vec<Patch> {
    let once = patches(trace);
    (0..times).flat_map(|_| once.iter().cloned()).collect()
}

/// Somebody who types words, jumps about and takes some of it back, in sections of 25,000 edits of
/// one character each, one in front of the other.
fn synthetic(count: usize) -> Vec<Patch> {
    let mut state = 1u64;
    let mut below = |end: u32| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % u64::from(end.max(1))) as u32
    };
    let (mut length, mut caret) = (0u32, 0u32);
    let mut all: Vec<Patch> = Vec::with_capacity(count);
    let mut section = 0;
    while all.len() < count {
        if all.len() / 25_000 > section {
            section = all.len() / 25_000;
            (length, caret) = (0, 0);
        }
        if below(12) == 0 {
            caret = below(length + 1);
        }
        let back = if below(6) == 0 { below(12) } else { 0 };
        for _ in 0..back.min(caret) {
            caret -= 1;
            length -= 1;
            all.push((caret, 1, String::new()));
        }
        for _ in 0..1 + below(9) {
            let letter = char::from(b'a' + below(26) as u8);
            all.push((caret, 0, letter.to_string()));
            (caret, length) = (caret + 1, length + 1);
        }
    }
    all.truncate(count);
    all
}

/// All of it in one place: typed and deleted again.
fn churn(count: usize) -> Vec<Patch> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        all.extend((0..50).map(|at| (at, 0, "x".to_owned())));
        all.extend((0..50).rev().map(|at| (at, 1, String::new())));
    }
    all.truncate(count);
    all
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The median of five runs, and the last result.
fn timed<T>(mut work: impl FnMut() -> Outcome<T>) -> Outcome<(Duration, T)> {
    let mut times = Vec::new();
    let mut last = None;
    for _ in 0..5 {
        // Freeing what the last run made is not part of the next.
        drop(last.take());
        let begin = processor_time()?;
        last = Some(work()?);
        times.push(processor_time()? - begin);
    }
    Ok((median(times), last.ok_or("five runs")?))
}

/// Time on the processor: other work on the machine does not count.
fn processor_time() -> Outcome<Duration> {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = schedule.split_whitespace().next().ok_or("no time on the processor")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

fn resident_bytes() -> Outcome<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split_whitespace().nth(1).ok_or("no resident pages")?.parse()?;
    Ok(pages * 4096)
}

/// Types like a browser, so that the document sees one update for each edit.
struct Person {
    doc: Doc,
}

impl Person {
    fn new(client: u64) -> Self {
        let offset_kind = OffsetKind::Utf16;
        let doc = Doc::with_options(Options {
            client_id: ClientID::new(client),
            offset_kind,
            ..Options::default()
        });
        Self { doc }
    }

    fn edit(&self, (at, deleted, text): &Patch) -> Vec<u8> {
        let content = self.doc.get_or_insert_text("content");
        let mut transaction = self.doc.transact_mut();
        if *deleted > 0 {
            content.remove_range(&mut transaction, *at, *deleted);
        }
        if !text.is_empty() {
            content.insert(&mut transaction, *at, text);
        }
        transaction.encode_update_v1()
    }
}

fn measure(name: &str, edits: &[Patch]) -> Outcome<()> {
    let person = Person::new(7);
    let mut document = Document::new(1);
    let mut applying = Duration::ZERO;
    for some in edits.chunks(1_000) {
        let updates: Vec<Vec<u8>> = some.iter().map(|edit| person.edit(edit)).collect();
        let begin = processor_time()?;
        for update in &updates {
            document
                .apply(update)
                .map_err(|error| format!("an honest edit is refused: {error}"))?;
        }
        applying += processor_time()? - begin;
    }
    let logged = edits.len();
    let text = document.text();
    let (verifying, snapshot) =
        timed(|| Ok(document.encode_verified().map_err(|error| format!("{error:?}"))?))?;
    drop(document);
    drop(person);
    let memory = held_by_another_process(&snapshot, &text)?;
    let (opening, _) = timed(|| {
        let opened = Document::load(2, &snapshot)?;
        let length = opened.text().len();
        Ok((opened, length))
    })?;
    println!(
        "| {name} | {logged} | {:.1} µs | {} | {} | {:.0} ms | {:.0} ms | {:.1} MB |",
        applying.as_secs_f64() * 1e6 / logged as f64,
        text.len(),
        snapshot.len(),
        verifying.as_secs_f64() * 1e3,
        opening.as_secs_f64() * 1e3,
        memory as f64 / 1e6,
    );
    Ok(())
}

/// What an open document takes in a process that did nothing else: here the allocator would only
/// reuse what was freed.
fn held_by_another_process(snapshot: &[u8], text: &str) -> Outcome<u64> {
    let file = std::env::temp_dir().join(format!("tandem-compaction-{}", std::process::id()));
    std::fs::write(&file, snapshot)?;
    let held = Command::new(std::env::current_exe()?).arg("hold").arg(&file).output();
    std::fs::remove_file(&file)?;
    let said = String::from_utf8(held?.stdout)?;
    let (bytes, length) = said.trim().split_once(' ').ok_or("nothing was said")?;
    if length.parse::<usize>()? != text.len() {
        return Err("what was loaded is not what was stored".into());
    }
    Ok(bytes.parse()?)
}

fn hold(file: &Path) -> Outcome<()> {
    let snapshot = std::fs::read(file)?;
    let before = resident_bytes()?;
    let document = Document::load(2, &snapshot)?;
    let bytes = resident_bytes()?.saturating_sub(before);
    println!("{bytes} {}", document.text().len());
    Ok(())
}

/// Memory of many open documents beside their texts.
fn idle(count: usize, text: &str) -> Outcome<()> {
    let state = {
        let mut document = Document::new(3);
        document.replace(text)?;
        document.encode_state()?
    };
    let before = resident_bytes()?;
    let held: Result<Vec<Document>, _> =
        (0..count).map(|number| Document::load(10 + number as u64, &state)).collect();
    let held = held?;
    let each = (resident_bytes()?.saturating_sub(before)) as f64 / held.len() as f64;
    println!(
        "{count} open documents of {} characters: {:.1} kB each, {:.1} kB beside the text",
        text.len(),
        each / 1e3,
        (each - text.len() as f64) / 1e3
    );
    Ok(())
}

fn main() -> Outcome<()> {
    if let (Some("hold"), Some(file)) =
        (std::env::args().nth(1).as_deref(), std::env::args().nth(2))
    {
        return hold(Path::new(&file));
    }
    let begun = Instant::now();
    // First, while the allocator holds nothing back that was freed.
    idle(2_000, &"let x = 1; // a line of a small file\n".repeat(30))?;
    let paper = load("automerge-paper.json.gz")?;
    let blog = load("seph-blog1.json.gz")?;
    println!("| edits | count | apply each | text | stored | store and compare | open | memory |");
    println!("|---|---|---|---|---|---|---|---|");
    measure("a paper (trace)", &patches(&paper))?;
    measure("a blog post (trace)", &patches(&blog))?;
    measure("the paper four times", &repeated(&paper, 4))?;
    for count in [250_000, 500_000, 1_000_000] {
        measure("typing all over a file", &synthetic(count))?;
    }
    for count in [100_000, 1_000_000] {
        measure("typed and deleted in one place", &churn(count))?;
    }
    println!("\n{:.0} s in all", begun.elapsed().as_secs_f64());
    Ok(())
}
