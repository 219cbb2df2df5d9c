use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::test_peer::Peer;

struct Scene {
    doc: Document,
    merge: DiskMerge,
    peer: Peer,
    now_ms: u64,
    fresh: u64,
}

impl Scene {
    fn new(text: &str) -> Self {
        let mut doc = Document::new(1);
        doc.replace(text).expect("seeds");
        let peer = Peer::new(2);
        peer.apply(&doc.encode_state().expect("encodes"));
        Self { doc, merge: DiskMerge::new(text), peer, now_ms: 100_000, fresh: 1_000 }
    }

    /// A person replaces the first `old` by `new`.
    fn types(&mut self, old: &str, new: &str) {
        let text = self.peer.text();
        let at = text[..text.find(old).expect("is there")].encode_utf16().count() as u32;
        let update = self.peer.edit(at, old.encode_utf16().count() as u32, new);
        self.merge.note_edit(&self.doc).expect("notes");
        self.doc.apply(&update).expect("applies");
    }

    fn writes(&mut self) {
        let text = self.merge.begin_write(&self.doc, self.now_ms);
        assert!(self.merge.written(&text, self.now_ms));
    }

    /// A program leaves `text` in the file.
    fn finds(&mut self, text: &str) -> Option<Vec<u8>> {
        self.fresh += 1;
        let update = self.merge.ingest(&mut self.doc, text, self.fresh, self.now_ms);
        let update = update.expect("ingests");
        if let Some(update) = &update {
            self.peer.apply(update);
        }
        assert_eq!(self.peer.text(), self.doc.text(), "the client has the same text");
        assert_eq!(**self.merge.base_text().expect("known"), *text);
        update
    }
}

#[test]
fn a_program_changes_a_file_at_rest() {
    let mut scene = Scene::new("a = 1\nb = 2\n");
    assert_eq!(scene.finds("a = 1\nb = 2\n"), None);
    assert!(scene.finds("a = 1\nb = 3\n").is_some());
    assert_eq!(scene.doc.text(), "a = 1\nb = 3\n");
    assert!(scene.merge.is_clean(&scene.doc));
    assert_eq!(scene.finds("a = 1\nb = 3\n"), None);
}

#[test]
fn edits_of_people_and_of_the_program_both_survive() {
    let mut scene = Scene::new("one\ntwo\nthree\n");
    scene.types("one", "ONE");
    assert!(!scene.merge.is_clean(&scene.doc));
    scene.finds("one\ntwo\nthree\nfour\n");
    assert_eq!(scene.doc.text(), "ONE\ntwo\nthree\nfour\n");
    // Again, on top of what it had written, before the document was written.
    scene.types("two", "TWO");
    scene.finds("zero\none\ntwo\nthree\nfour\n");
    assert_eq!(scene.doc.text(), "zero\nONE\nTWO\nthree\nfour\n");
    scene.writes();
    assert!(scene.merge.is_clean(&scene.doc));
}

#[test]
fn edits_while_a_write_is_under_way_are_not_taken_for_the_base() {
    let mut scene = Scene::new("a\n");
    scene.types("a", "ab");
    let text = scene.merge.begin_write(&scene.doc, scene.now_ms);
    scene.types("ab", "abc");
    assert!(scene.merge.written(&text, scene.now_ms));
    assert_eq!(**scene.merge.base_text().expect("known"), *"ab\n");
    assert!(!scene.merge.is_clean(&scene.doc));
    scene.finds("ab\nprogram\n");
    assert_eq!(scene.doc.text(), "abc\nprogram\n");
}

#[test]
fn our_own_write_seen_before_its_answer_is_an_echo() {
    let mut scene = Scene::new("a\n");
    scene.types("a", "ab");
    let text = scene.merge.begin_write(&scene.doc, scene.now_ms);
    scene.types("ab", "abc");
    assert_eq!(scene.finds("ab\n"), None);
    assert!(scene.merge.written(&text, scene.now_ms));
    scene.finds("ab\nx\n");
    assert_eq!(scene.doc.text(), "abc\nx\n");
}

#[test]
fn a_write_that_an_ingest_overtook_does_not_count() {
    let mut scene = Scene::new("a\n");
    scene.types("a", "ab");
    let text = scene.merge.begin_write(&scene.doc, scene.now_ms);
    scene.finds("a\nprogram\n");
    assert!(!scene.merge.written(&text, scene.now_ms));
    assert_eq!(scene.doc.text(), "ab\nprogram\n");
}

#[test]
fn a_formatter_that_read_an_earlier_version_does_not_take_later_typing_back() {
    let mut scene = Scene::new("def f( x ):\n  return  x\n");
    scene.types("return", "yield");
    scene.writes();
    // The formatter reads here.
    scene.now_ms += 300;
    scene.types("\n  yield", "\n  y = 1\n  yield");
    scene.writes();
    scene.now_ms += 200;
    scene.finds("def f(x):\n  yield x\n");
    assert_eq!(scene.doc.text(), "def f(x):\n  y = 1\n  yield x\n");
}

#[test]
fn a_program_that_read_a_write_which_was_taken_back_doubles_nothing() {
    let mut scene = Scene::new("begin\n");
    scene.types("begin\n", "begin\nw1\nw2\n");
    // Our write is exchanged in, and back: a program was faster.
    scene.merge.begin_write(&scene.doc, scene.now_ms);
    scene.types("w2\n", "w2\nw3\n");
    scene.finds("begin-1\n");
    // Another one has read what was there for that moment.
    scene.finds("begin-2\nw1\nw2\n");
    let text = scene.doc.text();
    let typed = text.lines().filter(|line| line.starts_with('w')).collect::<Vec<_>>();
    assert_eq!(typed, ["w1", "w2", "w3"], "{text}");
}

#[test]
fn a_write_whose_answer_was_lost_is_an_echo_later() {
    let mut scene = Scene::new("a\n");
    scene.types("a\n", "a\nb\n");
    scene.merge.begin_write(&scene.doc, scene.now_ms);
    scene.types("b\n", "b\nc\n");
    scene.merge.begin_write(&scene.doc, scene.now_ms);
    scene.types("c\n", "c\nd\n");
    assert_eq!(scene.finds("a\nb\n"), None);
    scene.finds("A\nb\n");
    assert_eq!(scene.doc.text(), "A\nb\nc\nd\n");
}

#[test]
fn a_slow_program_takes_nothing_back_that_was_typed_while_it_worked() {
    let mut scene = Scene::new("begin\n");
    let mut last = "begin\n".to_owned();
    for number in 0..25 {
        let line = format!("w{number}\n");
        scene.types(&last, &format!("{last}{line}"));
        last = line;
        scene.writes();
        scene.now_ms += 100;
    }
    // It had read the file after the third line.
    scene.finds("begin-1\nw0\nw1\nw2\n");
    let lines = scene.doc.text().lines().filter(|line| line.starts_with('w')).count();
    assert_eq!(lines, 25, "{}", scene.doc.text());
}

/// Many lines are changed by the program itself, and in the older version they were fewer.
#[test]
fn what_a_program_has_seen_is_told_by_the_lines_that_it_left() {
    let numbered = |from: usize, to: usize, word: &str| -> String {
        (from..to).map(|number| format!("{word}{number}\n")).collect()
    };
    let mut scene = Scene::new(&numbered(0, 5, "begin-"));
    scene.types("begin-4\n", &format!("{}w0\n", numbered(4, 60, "begin-")));
    scene.merge.begin_write(&scene.doc, scene.now_ms);
    scene.types("w0\n", &format!("w0\n{}", numbered(1, 20, "w")));
    scene.writes();
    scene.types("w19\n", "w19\nw20\n");
    let found = format!("{}{}", numbered(0, 60, "changed-"), numbered(0, 20, "w"));
    scene.finds(&found);
    assert_eq!(scene.doc.text(), format!("{found}w20\n"));
    // The same by a program that was slow: what was typed since is not its doing.
    scene.types("w20\n", &numbered(20, 30, "w"));
    scene.writes();
    scene.types("changed-1\n", "changed-1\nchanged-1b\n");
    scene.types("w29\n", "w29\nw30\n");
    scene.writes();
    scene.types("w30\n", "w30\nw31\n");
    let slow = format!("{}{}", numbered(0, 60, "again-"), numbered(0, 30, "w"));
    scene.finds(&slow);
    assert!(scene.doc.text().ends_with("w29\nw30\nw31\n"), "{}", scene.doc.text());
    assert_eq!(scene.doc.text().matches("w25\n").count(), 1);
}

#[test]
fn a_late_echo_of_an_earlier_version_changes_nothing() {
    let mut scene = Scene::new("a\n");
    scene.types("a", "ab");
    scene.writes();
    scene.now_ms += 300;
    scene.types("ab", "abc");
    scene.writes();
    scene.now_ms += 100;
    assert_eq!(scene.finds("ab\n"), None);
    assert_eq!(scene.doc.text(), "abc\n");
    assert!(!scene.merge.is_clean(&scene.doc));
}

#[test]
fn a_program_that_restores_an_older_version_is_believed() {
    let mut scene = Scene::new("a\n");
    scene.types("a", "ab");
    scene.writes();
    scene.now_ms += 5_000;
    scene.finds("a\n");
    assert_eq!(scene.doc.text(), "a\n");
}

#[test]
fn with_an_unknown_base_nothing_is_lost() {
    let mut scene = Scene::new("shared\nours = 1\n");
    scene.merge = DiskMerge::unknown_base();
    assert!(!scene.merge.is_clean(&scene.doc));
    scene.finds("shared\ntheirs = 2\nmore\n");
    assert_eq!(scene.doc.text(), "shared\nours = 1\ntheirs = 2\nmore\n");
    // From then on the base is known.
    scene.finds("shared\ntheirs = 3\nmore\n");
    assert_eq!(scene.doc.text(), "shared\nours = 1\ntheirs = 3\nmore\n");
    scene.writes();
    scene.now_ms += 60_000;
    scene.finds("shared\n");
    assert_eq!(scene.doc.text(), "shared\n");
}

#[test]
fn a_file_that_is_only_behind_has_nothing_to_ingest() {
    let mut scene = Scene::new("new\n");
    scene.merge = DiskMerge::behind("old\n");
    assert_eq!(scene.finds("old\n"), None);
    assert!(!scene.merge.is_clean(&scene.doc));
    scene.writes();
    assert!(scene.merge.is_clean(&scene.doc));
}

#[test]
fn an_edit_taken_back_leaves_the_disk_at_rest() {
    let mut scene = Scene::new("line\nkeep\n");
    scene.types("line\n", "");
    scene.types("keep", "line\nkeep");
    assert!(scene.merge.is_clean(&scene.doc));
    // The program deletes what a person typed anew: it had seen that very text.
    scene.finds("keep\n");
    assert_eq!(scene.doc.text(), "keep\n");
}

#[test]
fn at_rest_nothing_is_kept_but_the_text() {
    let mut scene = Scene::new("a\n");
    scene.types("a", "ab");
    scene.writes();
    scene.types("ab", "abc");
    scene.types("abc", "ab");
    scene.merge.rest(&scene.doc, scene.now_ms + RING_MS + 1);
    assert!(scene.merge.earlier.is_empty());
    assert!(scene.merge.base.as_ref().is_some_and(|base| matches!(base.shadow, Shadow::Live)));
}

/// Who took a character away.
#[derive(Debug, Default, Clone, Copy)]
struct Fate {
    by_person: bool,
    by_program: bool,
}

/// Every character occurs once, so each can be followed.
#[derive(Debug, Default)]
struct Model {
    fates: BTreeMap<char, Fate>,
    next: u32,
}

impl Model {
    fn fresh(&mut self, length: usize) -> String {
        let fresh = (0..length).map(|index| {
            self.next += 1;
            // From two planes, so that some take two UTF-16 units; lines in between.
            let plane = if self.next.is_multiple_of(3) { 0x1_0400 } else { 0x4e00 };
            let char = char::from_u32(plane + self.next).expect("a character");
            self.fates.insert(char, Fate::default());
            if index % 4 == 3 { format!("{char}\n") } else { char.to_string() }
        });
        fresh.collect()
    }

    fn check(&self, text: &str) {
        for (char, fate) in &self.fates {
            let found = text.matches(*char).count();
            match (fate.by_person, fate.by_program) {
                (false, false) => assert_eq!(found, 1, "{char:?} was lost or doubled"),
                (false, true) => assert_eq!(found, 0, "{char:?} was taken out by the program"),
                // A program may write anew what a person deleted meanwhile.
                (true, _) => assert!(found <= 1, "{char:?} was doubled"),
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Person { at: usize, delete: usize, insert: usize },
    Program { edits: Vec<(usize, usize, usize)> },
    Write,
    LateWrite { at: usize, insert: usize },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let person = (0..200usize, 0..4usize, 0..5usize).prop_map(|(at, delete, insert)| Act::Person {
        at,
        delete,
        insert,
    });
    let program = proptest::collection::vec((0..200usize, 0..8usize, 0..5usize), 1..4)
        .prop_map(|edits| Act::Program { edits });
    let late = (0..200usize, 1..4usize).prop_map(|(at, insert)| Act::LateWrite { at, insert });
    let act = prop_oneof![5 => person, 3 => program, 2 => Just(Act::Write), 1 => late];
    proptest::collection::vec(act, 1..24)
}

/// Replaces `delete` characters at `at`, and says which.
fn splice(text: &str, at: usize, delete: usize, insert: &str) -> (String, Vec<char>) {
    let mut chars: Vec<char> = text.chars().collect();
    let at = at % (chars.len() + 1);
    let end = (at + delete).min(chars.len());
    let gone = chars.splice(at..end, insert.chars()).collect();
    (chars.into_iter().collect(), gone)
}

impl Scene {
    fn person(&mut self, model: &mut Model, (at, delete, insert): (usize, usize, usize)) {
        let text = self.peer.text();
        let insert = model.fresh(insert);
        let (_, gone) = splice(&text, at, delete, &insert);
        let at = at % (text.chars().count() + 1);
        let units = |chars: String| chars.encode_utf16().count() as u32;
        let start = units(text.chars().take(at).collect());
        let removed = units(gone.iter().collect());
        for char in gone {
            model.fates.entry(char).or_default().by_person = true;
        }
        let update = self.peer.edit(start, removed, &insert);
        self.merge.note_edit(&self.doc).expect("notes");
        self.doc.apply(&update).expect("applies");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nobodys_work_is_lost(acts in acts()) {
        let mut model = Model::default();
        let seed = model.fresh(30);
        let mut scene = Scene::new(&seed);
        for act in acts {
            // Out of the ring's time: each program read what was on disk last.
            scene.now_ms += 20_000;
            match act {
                Act::Person { at, delete, insert } => {
                    scene.person(&mut model, (at, delete, insert));
                }
                Act::Program { edits } => {
                    let mut text = scene.merge.base_text().expect("known").to_string();
                    for (at, delete, insert) in edits {
                        let insert = model.fresh(insert);
                        let (next, gone) = splice(&text, at, delete, &insert);
                        for char in gone {
                            model.fates.entry(char).or_default().by_program = true;
                        }
                        text = next;
                    }
                    scene.finds(&text);
                }
                Act::Write => scene.writes(),
                Act::LateWrite { at, insert } => {
                    let text = scene.merge.begin_write(&scene.doc, scene.now_ms);
                    scene.person(&mut model, (at, 0, insert));
                    prop_assert!(scene.merge.written(&text, scene.now_ms));
                }
            }
            model.fates.remove(&'\n');
            model.check(&scene.doc.text());
            prop_assert_eq!(scene.peer.text(), scene.doc.text());
        }
        // At rest, disk and document are the same.
        scene.writes();
        prop_assert!(scene.merge.is_clean(&scene.doc));
        let state = scene.doc.encode_state().expect("encodes");
        prop_assert_eq!(Document::load(5, &state).expect("loads").text(), scene.doc.text());
    }
}
