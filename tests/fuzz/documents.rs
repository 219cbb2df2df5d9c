//! Updates, state vectors and disk texts against documents.

use tandem_doc::{DiskMerge, Document, Rejected};
use tandem_testkit::Replica;

use crate::Target;
use crate::mutate::Random;

/// Edits of three people who saw some of each other's work.
fn honest_updates(random: &mut Random, count: usize) -> Vec<Vec<u8>> {
    let people = [Replica::default(), Replica::default(), Replica::default()];
    let mut updates = Vec::new();
    for _ in 0..count {
        let person = &people[random.below(3)];
        let length = person.length();
        let at = random.below(length as usize + 1) as u32;
        let update = if length > 3 && random.below(3) == 0 {
            person.remove(at.min(length - 2), 2)
        } else {
            person.insert(at, ["a", "bc", "line\n", "é", "two\nlines\n"][random.below(5)])
        };
        if random.below(2) == 0 {
            for other in &people {
                other.apply(&update).unwrap();
            }
        }
        updates.push(update);
        if random.below(5) == 0 {
            updates.push(person.difference(&[0]).unwrap());
        }
    }
    updates
}

/// Scan, gate and application of an update to a document with a history.
#[derive(Default)]
pub struct Update {
    document: Option<Document>,
    applied: u32,
}

impl Target for Update {
    fn name(&self) -> &'static str {
        "update"
    }

    fn seeds(&mut self, random: &mut Random) -> Vec<Vec<u8>> {
        (0..4).flat_map(|_| honest_updates(random, 20)).collect()
    }

    fn read(&mut self, bytes: &[u8]) -> String {
        self.applied += 1;
        if self.applied.is_multiple_of(300) {
            self.document = None;
        }
        let document = self.document.get_or_insert_with(|| Document::new(1));
        let before = (document.text(), document.state_vector());
        let outcome = document.apply(bytes);
        match &outcome {
            Ok(_) => {}
            Err(Rejected::Broken) => panic!("the document broke"),
            // Refused whole.
            Err(_) => assert_eq!((document.text(), document.state_vector()), before),
        }
        if outcome.is_ok() || self.applied.is_multiple_of(50) {
            let state = document.encode_state().expect("a document can always be stored");
            let loaded = Document::load(1 << 50, &state).expect("what was stored can be loaded");
            assert_eq!(loaded.state_vector(), document.state_vector());
        }
        match outcome {
            Ok(applied) => format!("{applied:?}"),
            Err(rejected) => rejected.to_string(),
        }
    }
}

/// What a peer says it has.
#[derive(Default)]
pub struct StateVector {
    document: Option<Document>,
}

impl Target for StateVector {
    fn name(&self) -> &'static str {
        "state-vector"
    }

    fn seeds(&mut self, random: &mut Random) -> Vec<Vec<u8>> {
        let mut document = Document::new(1);
        let mut seeds = vec![vec![0]];
        for update in honest_updates(random, 60) {
            // Some have a gap: they are refused.
            let _ = document.apply(&update);
            seeds.push(document.state_vector());
        }
        self.document = Some(document);
        seeds
    }

    fn read(&mut self, bytes: &[u8]) -> String {
        let document = self.document.get_or_insert_with(|| Document::new(1));
        match document.encode_diff(bytes) {
            Ok(difference) => {
                assert_eq!(document.is_known(&difference), Ok(true));
                format!("{} bytes", difference.len())
            }
            Err(Rejected::Broken) => panic!("the document broke"),
            Err(rejected) => rejected.to_string(),
        }
    }
}

/// A file's bytes on disk, against what people typed meanwhile. The first byte says how much the
/// people do, the rest is the text.
#[derive(Default)]
pub struct DiskText {
    next_client: u64,
}

impl Target for DiskText {
    fn name(&self) -> &'static str {
        "disk-text"
    }

    fn seeds(&mut self, random: &mut Random) -> Vec<Vec<u8>> {
        let mut seeds = vec![b"\x03one\ntwo\nthree\n".to_vec(), b"\x00".to_vec()];
        for lines in 1..20 {
            let mut seed = vec![random.below(256) as u8];
            for _ in 0..lines {
                let line = ["fn main() {\n", "}\n", "\n", "\tlet x = 1;\n", "é😀\n", "\r\n"];
                seed.extend_from_slice(line[random.below(6)].as_bytes());
            }
            seeds.push(seed);
        }
        seeds
    }

    fn read(&mut self, bytes: &[u8]) -> String {
        let Some((people, bytes)) = bytes.split_first() else { return "empty".to_owned() };
        let (text, _) = match tandem_doc::text::decode_file(bytes) {
            Ok(decoded) => decoded,
            Err(reason) => return reason.to_string(),
        };
        self.next_client += 1;
        let mut document = Document::new(1);
        let base = "fn main() {\n\tlet x = 1;\n\n}\none\ntwo\nthree\n";
        document.replace(base).unwrap();
        let mut merge = DiskMerge::new(base);
        let person = Replica::default();
        person.apply(&document.encode_state().unwrap()).unwrap();
        let typed: Vec<String> =
            (0..people % 5).map(|number| format!("<typed by a person: {number}>\n")).collect();
        for (number, typed) in typed.iter().enumerate() {
            // At the start of a line, where nothing is in the middle of something.
            let text = person.text();
            let starts: Vec<usize> =
                std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
            let at = starts[(usize::from(*people) * (number + 1)) % starts.len()];
            let update = person.insert(at as u32, typed);
            merge.note_edit(&document).unwrap();
            document.apply(&update).unwrap();
        }
        merge.ingest(&mut document, &text, (1 << 40) + self.next_client, 0).expect("merges");
        let merged = document.text();
        for typed in &typed {
            assert_eq!(merged.matches(typed).count(), 1, "{typed} in {merged:?}");
        }
        if typed.is_empty() {
            assert_eq!(merged, text, "nobody typed: the disk is what counts");
        }
        format!("{} typed, clean: {}", typed.len(), merge.is_clean(&document))
    }
}
