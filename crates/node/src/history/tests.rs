use std::collections::HashSet;
use std::time::{Duration, Instant};

use tandem_doc::Document;
use tandem_proto::history::{HistoryAuthor, REPLAY_MAGIC};
use tandem_proto::lib0::Reader;
use tandem_proto::{FileId, Generation, MemberId};
use tandem_store::{
    Authors, HistoryPack, PackedBase, PackedEdit, PackedFile, Snapshots, WrittenRun,
};

use super::*;

const FIRST: Generation = Generation(1);

fn person(number: u8) -> HistoryAuthor {
    HistoryAuthor {
        id: MemberId::from_random([number; 10]),
        name: format!("Person {number}"),
        colour: "#112233".to_owned(),
    }
}

fn soon() -> Deadline {
    Deadline(Instant::now() + Duration::from_secs(20))
}

/// Two people and a program write; `splits` says how many edits each pack holds.
struct Story {
    edits: Vec<PackedEdit>,
    texts: Vec<(u64, String)>,
    state: Vec<u8>,
    authors: Authors,
}

fn story() -> Story {
    let mut authors = Authors::default();
    authors.bind(11, &person(1), true);
    authors.bind(22, &person(2), true);
    let mut docs = [Document::new(11), Document::new(22), Document::new(33)];
    let steps: [(usize, u64, &str); 6] = [
        (0, 1_000, "one\n"),
        (0, 2_000, "one\ntwo\n"),
        (1, 3_000, "one\ntwo\nthree\n"),
        (2, 100_000, "one\ntwo\nthree\nfrom a program\n"),
        // The clock is set back.
        (1, 90_000, "one\ntwo, too\nthree\nfrom a program\n"),
        (0, 300_000, "two, too\nthree\nfrom a program\n"),
    ];
    let (mut edits, mut texts, mut now) = (Vec::new(), Vec::new(), 0);
    for (who, ms, text) in steps {
        let update = docs[who].replace(text).unwrap().unwrap();
        for other in (0..3).filter(|other| *other != who) {
            docs[other].merge_stored(&update).unwrap();
        }
        let author = [person(1).id, person(2).id, MemberId::PROGRAM][who];
        edits.push(PackedEdit { ms, author: Some(author), update: update.into() });
        now = ms.max(now);
        texts.push((now, text.to_owned()));
    }
    let state = docs[0].encode_state().unwrap();
    Story { edits, texts, state, authors }
}

impl Story {
    fn timeline(&self, packs: &[&[PackedEdit]], waiting: &[PackedEdit]) -> Timeline {
        let file = FileId::from_random([3; 10]);
        let material = Material {
            source: HistorySource {
                file,
                generation: Some(FIRST),
                packs: Vec::new(),
                waiting: vec![(FIRST, waiting.to_vec())],
                people: vec![person(1), person(2)],
                authors: self.authors.clone(),
                state: Some(self.state.clone().into()),
            },
            files: packs
                .iter()
                .map(|edits| PackedFile {
                    file,
                    generation: FIRST,
                    base: None,
                    runs: Vec::new(),
                    edits: edits.to_vec(),
                })
                .collect(),
            people: Vec::new(),
            snapshots: Snapshots::default(),
        };
        Timeline::new(material, soon()).unwrap()
    }
}

#[test]
fn every_moment_has_its_text_and_edits_that_are_there_twice_count_once() {
    let story = story();
    let edits = &story.edits;
    for timeline in [
        story.timeline(&[&edits[..2], &edits[2..5]], &edits[5..]),
        story.timeline(&[&edits[..4], &edits[2..5]], &edits[3..]),
        story.timeline(&[], edits),
    ] {
        for (ms, text) in &story.texts {
            let later = story.texts.iter().rev().find(|(other, _)| other == ms).unwrap();
            assert_eq!(timeline.text_at(*ms, soon()).unwrap(), later.1, "{ms} {text}");
        }
        assert_eq!(timeline.text_at(u64::MAX, soon()).unwrap(), story.texts[5].1);
        assert!(matches!(timeline.text_at(999, soon()), Err(HistoryError::Nothing)));
        let list = timeline.sessions(Page { before: None, limit: 10 });
        assert_eq!((list.from_ms, list.to_ms), (Some(1_000), Some(300_000)));
        let spans: Vec<_> = list.sessions.iter().map(|it| (it.from_ms, it.to_ms)).collect();
        assert_eq!(spans, [(300_000, 300_000), (100_000, 100_000), (1_000, 3_000)]);
        let counts: Vec<_> = list.sessions.iter().map(|it| (it.inserted, it.deleted)).collect();
        assert_eq!(counts, [(0, 4), (20, 0), (14, 0)]);
        assert_eq!(list.sessions[1].authors, [MemberId::PROGRAM, person(2).id]);
        assert_eq!(list.authors.len(), 3);
        assert!(!list.more);
        let page = timeline.sessions(Page { before: Some(300_000), limit: 1 });
        assert_eq!((page.sessions.len(), page.more), (1, true));
        assert_eq!(page.sessions[0].from_ms, 100_000);
    }
}

#[test]
fn each_line_names_who_wrote_it_last() {
    let story = story();
    let timeline = story.timeline(&[&story.edits], &[]);
    let lines = timeline.blame(soon()).unwrap();
    let brief: Vec<_> = lines.iter().map(|it| (it.line, it.lines, it.author, it.ms)).collect();
    assert_eq!(
        brief,
        [
            (1, 1, Some(person(2).id), Some(100_000)),
            (2, 1, Some(person(2).id), Some(3_000)),
            (3, 1, Some(MemberId::PROGRAM), Some(100_000)),
        ]
    );
}

type Frames = Vec<(u64, u64, Vec<u8>)>;

fn frames(bytes: &[u8]) -> (Vec<HistoryAuthor>, Frames) {
    let rest = bytes.strip_prefix(REPLAY_MAGIC).unwrap();
    let mut reader = Reader::new(rest);
    let people = serde_json::from_str(reader.var_string().unwrap()).unwrap();
    let mut frames = Vec::new();
    while !reader.is_empty() {
        let (ms, author) = (reader.var_uint().unwrap(), reader.var_uint().unwrap());
        frames.push((ms, author, reader.var_bytes().unwrap().to_vec()));
    }
    (people, frames)
}

#[test]
fn a_playback_leads_from_the_text_before_to_the_text_after() {
    let story = story();
    let timeline = story.timeline(&[&story.edits], &[]);
    let playback = timeline.playback(Some(3_000), Some(100_000), soon()).unwrap();
    assert_eq!(playback.next_from, None);
    let (people, frames) = frames(&playback.bytes);
    let mut document = Document::new(1);
    document.merge_stored(&frames[0].2).unwrap();
    assert_eq!(document.text(), "one\ntwo\n");
    let mut seen = Vec::new();
    for (ms, author, update) in &frames[1..] {
        document.merge_stored(update).unwrap();
        seen.push((*ms, people[*author as usize - 1].id));
    }
    assert_eq!(
        seen,
        [(3_000, person(2).id), (100_000, MemberId::PROGRAM), (100_000, person(2).id)]
    );
    assert_eq!(document.text(), story.texts[4].1);
}

#[test]
fn a_state_before_the_first_edit_is_no_edit() {
    let story = story();
    let mut before = Document::new(5);
    before.merge_stored(&story.edits[0].update).unwrap();
    before.merge_stored(&story.edits[1].update).unwrap();
    let mut timeline = story.timeline(&[], &[]).material;
    timeline.files = vec![PackedFile {
        file: timeline.source.file,
        generation: FIRST,
        base: Some(PackedBase { ms: 3_000, state: before.encode_state().unwrap().into() }),
        runs: vec![WrittenRun { client: 11, start: 0, end: 4, ms: 1_000, author: None }],
        edits: story.edits[2..].to_vec(),
    }];
    let timeline = Timeline::new(timeline, soon()).unwrap();
    assert_eq!(timeline.text_at(10, soon()).unwrap(), "one\ntwo\n");
    assert_eq!(timeline.text_at(3_000, soon()).unwrap(), story.texts[2].1);
    let list = timeline.sessions(Page { before: None, limit: 10 });
    assert_eq!(list.sessions.last().unwrap().inserted, 6);
    assert_eq!(list.from_ms, Some(3_000));
}

#[test]
fn what_does_not_fit_is_left_out_and_nothing_panics() {
    let story = story();
    let mut edits = story.edits.clone();
    edits[1].update = vec![1, 2, 3, 4, 5].into();
    let timeline = story.timeline(&[&edits], &[]);
    timeline.text_at(u64::MAX, soon()).unwrap();
    timeline.blame(soon()).unwrap();
    timeline.playback(None, None, soon()).unwrap();
    let late = Deadline(Instant::now() - Duration::from_secs(1));
    assert!(matches!(timeline.text_at(u64::MAX, late), Err(HistoryError::TooLong)));
}

/// A document written by three people over `days`, one letter or so at a time, with deletions.
fn long_story(seed: u64, days: u64) -> (Vec<PackedEdit>, Vec<(u64, String)>) {
    use rand::{Rng as _, SeedableRng as _};
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut docs: Vec<Document> = [11, 22, 33].into_iter().map(Document::new).collect();
    let (mut edits, mut texts) = (Vec::new(), Vec::new());
    let mut ms = 1_700_000_000_000;
    let end = ms + days * 24 * 60 * 60 * 1000;
    while ms < end {
        ms += random.random_range(1..3_000_000);
        let who = random.random_range(0..3);
        let mut text: Vec<char> = docs[who].text().chars().collect();
        let at = random.random_range(0..=text.len());
        if random.random_bool(0.4) && at + 2 < text.len() {
            text.drain(at..at + 2);
        } else {
            text.splice(at..at, "añ\n".chars());
        }
        let text: String = text.into_iter().collect();
        let Some(update) = docs[who].replace(&text).unwrap() else { continue };
        for other in (0..3).filter(|other| *other != who) {
            docs[other].merge_stored(&update).unwrap();
        }
        let author = Some(person(who as u8 + 1).id);
        edits.push(PackedEdit { ms, author, update: update.into() });
        texts.push((ms, text));
    }
    (edits, texts)
}

#[test]
fn thinned_histories_end_alike_and_still_know_who_wrote_what() {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    for seed in 0..4 {
        let (edits, texts) = long_story(seed, 16);
        let file = FileId::from_random([3; 10]);
        let pack = |edits: &[PackedEdit]| HistoryPack {
            people: vec![person(1), person(2), person(3)],
            files: vec![PackedFile {
                file,
                generation: FIRST,
                base: None,
                runs: Vec::new(),
                edits: edits.to_vec(),
            }],
        };
        let timeline = |files: Vec<PackedFile>| {
            let material = Material {
                source: HistorySource {
                    file,
                    generation: Some(FIRST),
                    packs: Vec::new(),
                    waiting: Vec::new(),
                    people: Vec::new(),
                    authors: Authors::default(),
                    state: None,
                },
                files,
                people: Vec::new(),
                snapshots: Snapshots::default(),
            };
            Timeline::new(material, soon()).unwrap()
        };
        let whole = timeline(pack(&edits).files);
        let middle = edits.len() / 2;
        let joined = join(vec![pack(&edits[..middle]), pack(&edits[middle..])]);
        assert_eq!(joined, pack(&edits), "joining leaves nothing out");

        let now = edits.last().unwrap().ms;
        let day = Duration::from_millis(DAY);
        let retention = Retention { raw: day, hourly: 4 * day, daily: 8 * day };
        let mut packs = vec![pack(&edits[..middle]), pack(&edits[middle..])];
        // Once, or bit by bit, as time goes on.
        let thinned = if seed % 2 == 0 {
            thin(packs, &HashSet::from([file]), (retention, now), soon()).unwrap()
        } else {
            let early = edits[middle].ms;
            let first =
                thin(vec![packs.remove(0)], &HashSet::from([file]), (retention, early), soon());
            let both = vec![first.unwrap(), packs.remove(0)];
            thin(both, &HashSet::from([file]), (retention, now), soon()).unwrap()
        };
        let kept = &thinned.files[0];
        let left = kept.edits.len();
        assert!(left < edits.len() && left > 0, "{left} of {}", edits.len());
        let days = kept.edits.iter().filter(|edit| now - edit.ms > 5 * DAY).count();
        assert!((1..=5).contains(&days), "{days}");
        let thinned = timeline(thinned.files.clone());
        let (end, raw) = (texts.last().unwrap(), now - DAY);
        assert_eq!(thinned.text_at(u64::MAX, soon()).unwrap(), end.1);
        for (ms, text) in texts.iter().filter(|(ms, _)| *ms >= raw) {
            assert_eq!(thinned.text_at(*ms, soon()).unwrap(), *text, "seed {seed}");
        }
        for edit in &kept.edits {
            let then = texts.iter().rev().find(|(ms, _)| *ms <= edit.ms).unwrap();
            assert_eq!(thinned.text_at(edit.ms, soon()).unwrap(), then.1, "seed {seed}");
        }
        let authors = |timeline: &Timeline| {
            let lines = timeline.blame(soon()).unwrap();
            lines.iter().flat_map(|run| vec![run.author; run.lines as usize]).collect::<Vec<_>>()
        };
        assert!(authors(&thinned) == authors(&whole), "seed {seed}: other authors");
        let gone = thin(vec![pack(&edits)], &HashSet::new(), (retention, now), soon()).unwrap();
        assert!(gone.files.is_empty());
    }
}
