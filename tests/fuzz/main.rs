//! Mutations of honest inputs, thrown at everything that reads bytes from outside: whatever they
//! are, nothing panics, hangs or takes much memory, and what is refused changes nothing.
//!
//! Short in `make test`; `make fuzz SECONDS=600` for long, `TARGET=update` for one of them. Inputs
//! that once broke something are in `tests/fuzz/corpus/TARGET/` and are tried first. While an input
//! is tried it lies in `tests/output/fuzz-TARGET.bin`, so that one that ends the process is found.

mod allocation;
mod documents;
mod messages;
mod mutate;
mod objects;

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mutate::Random;

#[global_allocator]
static ALLOCATOR: allocation::Counting = allocation::Counting;

/// Longest time for one input, in a debug build on a busy machine.
const SLOW: Duration = Duration::from_secs(4);
/// Most memory for one input beside a multiple of its length.
const MEMORY: usize = 96 << 20;
/// Longest input.
const LENGTH: usize = 16 << 10;
/// Inputs that are kept because they did something new.
const KEPT: usize = 400;

/// One reader of bytes.
trait Target {
    fn name(&self) -> &'static str;
    /// Honest inputs.
    fn seeds(&mut self, random: &mut Random) -> Vec<Vec<u8>>;
    /// Reads an input; says in few words what became of it. Panics when a promise is broken.
    fn read(&mut self, bytes: &[u8]) -> String;
}

fn targets() -> Vec<Box<dyn Target>> {
    vec![
        Box::new(documents::Update::default()),
        Box::new(documents::StateVector::default()),
        Box::new(documents::DiskText::default()),
        Box::new(messages::Carets::default()),
        Box::new(messages::Socket),
        Box::new(messages::Agent),
        Box::new(messages::Zip),
        Box::new(objects::Stored::default()),
        Box::new(objects::LogFile::default()),
        Box::new(objects::Chunk::default()),
    ]
}

#[test]
fn whatever_the_bytes_nothing_breaks() {
    let environment = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let seconds = environment("TANDEM_FUZZ_SECONDS").map_or(20, |text| text.parse().unwrap());
    let seed = environment("TANDEM_FUZZ_SEED")
        .map_or_else(|| u64::from(rand::random::<u32>()), |text| text.parse().unwrap());
    let only = environment("TANDEM_FUZZ_TARGET");
    println!("TANDEM_FUZZ_SEED={seed}");
    let mut targets = targets();
    targets.retain(|target| only.as_ref().is_none_or(|only| only == target.name()));
    assert!(!targets.is_empty(), "there is no target {only:?}");
    let each = Duration::from_secs(seconds) / u32::try_from(targets.len()).unwrap();
    for target in &mut targets {
        fuzz(&mut **target, seed, each);
    }
}

fn fuzz(target: &mut dyn Target, seed: u64, time: Duration) {
    let name = target.name();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(here.join("output")).unwrap();
    let current = here.join("output").join(format!("fuzz-{name}.bin"));
    let mut random = Random(seed);
    let mut pool = corpus(&here.join("fuzz/corpus").join(name));
    let known = pool.len();
    for input in &pool {
        attempt(target, input, &current);
    }
    pool.extend(target.seeds(&mut random));
    let mut seen = HashSet::new();
    let (mut tried, mut kept) = (0u64, 0);
    let begin = Instant::now();
    while begin.elapsed() < time {
        let mut input = pool[random.below(pool.len())].clone();
        // Now and then as it is: the next ones build on it.
        for _ in 0..random.below(5) {
            let other = &pool[random.below(pool.len())];
            random.mutate(&mut input, other);
        }
        input.truncate(LENGTH);
        tried += 1;
        if seen.insert(attempt(target, &input, &current)) && kept < KEPT {
            kept += 1;
            pool.push(input);
        }
    }
    // Only the input of a failure is of use.
    let _ = std::fs::remove_file(&current);
    println!("{name}: {tried} inputs, {known} known ones, {} kinds of outcome", seen.len());
}

fn corpus(folder: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.into_iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn attempt(target: &mut dyn Target, input: &[u8], current: &Path) -> String {
    std::fs::write(current, input).unwrap();
    let begin = Instant::now();
    let (outcome, most) = allocation::most_during(|| {
        std::panic::catch_unwind(AssertUnwindSafe(|| target.read(input)))
    });
    let (name, took) = (target.name(), begin.elapsed());
    let shown = current.display();
    let outcome = outcome.unwrap_or_else(|_| panic!("{name} broke; the input is in {shown}"));
    assert!(took < SLOW, "{name} took {took:?}; the input is in {shown}");
    let limit = MEMORY + 64 * input.len();
    assert!(most < limit, "{name} took {most} bytes; the input is in {shown}");
    outcome
}
