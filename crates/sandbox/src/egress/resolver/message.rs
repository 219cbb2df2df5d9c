//! The few messages of DNS that the resolver speaks: one question, and addresses as its answer.
//!
//! Nothing is passed on as it came. A question is taken apart and written anew, and of an answer
//! only addresses are taken, so neither carries more than names and addresses.

use std::net::Ipv4Addr;

const HEADER_BYTES: usize = 12;
const MAX_NAME_BYTES: usize = 255;
const MAX_LABEL_BYTES: usize = 63;
/// More of one name are not passed on: an answer with these fits into what every client takes over
/// UDP, however long the name is.
const MAX_ADDRESSES: usize = 14;
/// Records of an answer that are looked at.
const MAX_RECORDS: usize = 64;
const CLASS_INTERNET: u16 = 1;
const TYPE_ADDRESS: u16 = 1;
const TYPE_SIX: u16 = 28;
const IS_ANSWER: u8 = 0x80;
const OPCODE: u8 = 0x78;
const IS_TRUNCATED: u8 = 0x02;
const WANTS_RECURSION: u8 = 0x01;
const HAS_RECURSION: u8 = 0x80;
/// Points at the question's name.
const SAME_NAME: [u8; 2] = [0xc0, HEADER_BYTES as u8];

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Fine = 0,
    ServerFailed = 2,
    NoSuchName = 3,
    NotSupported = 4,
    Refused = 5,
}

/// What a sandbox asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    id: u16,
    wants_recursion: bool,
    /// In lower case, without a dot at its end.
    pub(super) name: String,
    kind: u16,
    /// As it was written, so that an answer repeats it.
    raw: Vec<u8>,
}

/// Addresses and how long they hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) addresses: Vec<Ipv4Addr>,
    pub(super) seconds: u32,
}

/// What the node's own resolver answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Known(Addresses),
    Failed(Outcome),
    /// Ask again over TCP.
    Truncated,
}

impl Question {
    /// Reads one; `None` for what is none, and is not answered.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let id = number(bytes, 0)?;
        let flags = *bytes.get(2)?;
        if flags & IS_ANSWER != 0 || flags & OPCODE != 0 || number(bytes, 4)? != 1 {
            return None;
        }
        let (name, end) = name(bytes, HEADER_BYTES)?;
        let kind = number(bytes, end)?;
        if number(bytes, end + 2)? != CLASS_INTERNET {
            return None;
        }
        let raw = bytes.get(HEADER_BYTES..end + 4)?.to_vec();
        Some(Self { id, wants_recursion: flags & WANTS_RECURSION != 0, name, kind, raw })
    }

    /// Whether it asks for addresses that sandboxes can use.
    pub(super) fn is_for_addresses(&self) -> bool {
        self.kind == TYPE_ADDRESS
    }

    /// Whether it asks for something that is known to be absent, without asking anybody.
    pub(super) fn is_for_six(&self) -> bool {
        self.kind == TYPE_SIX
    }

    /// The same question for the node's own resolver.
    pub(super) fn write(&self, id: u16) -> Vec<u8> {
        let mut bytes = id.to_be_bytes().to_vec();
        bytes.extend([WANTS_RECURSION, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        bytes.extend(&self.raw);
        bytes
    }

    /// What the node's own resolver answered; `None` when that is not to this question.
    pub(super) fn read_answer(&self, id: u16, bytes: &[u8]) -> Option<Answer> {
        if number(bytes, 0)? != id || bytes.get(2)? & IS_ANSWER == 0 || number(bytes, 4)? != 1 {
            return None;
        }
        let (asked, end) = name(bytes, HEADER_BYTES)?;
        if asked != self.name || number(bytes, end)? != self.kind {
            return None;
        }
        match bytes.get(3)? & 0x0f {
            0 => {}
            3 => return Some(Answer::Failed(Outcome::NoSuchName)),
            _ => return Some(Answer::Failed(Outcome::ServerFailed)),
        }
        if bytes.get(2)? & IS_TRUNCATED != 0 {
            return Some(Answer::Truncated);
        }
        let count = usize::from(number(bytes, 6)?).min(MAX_RECORDS);
        let mut found = Addresses { addresses: Vec::new(), seconds: u32::MAX };
        let mut at = end + 4;
        for _ in 0..count {
            // Whatever alias the record is of: the chain is the other resolver's to follow.
            at = name_end(bytes, at)?;
            let kind = number(bytes, at)?;
            let class = number(bytes, at + 2)?;
            let seconds = u32::from_be_bytes(bytes.get(at + 4..at + 8)?.try_into().ok()?);
            let length = usize::from(number(bytes, at + 8)?);
            let data = bytes.get(at + 10..at + 10 + length)?;
            if kind == TYPE_ADDRESS && class == CLASS_INTERNET {
                let four: [u8; 4] = data.try_into().ok()?;
                if found.addresses.len() < MAX_ADDRESSES {
                    found.addresses.push(four.into());
                }
            }
            found.seconds = found.seconds.min(seconds);
            at += 10 + length;
        }
        Some(Answer::Known(found))
    }

    /// The answer to the sandbox, without records.
    pub(super) fn reply(&self, outcome: Outcome) -> Vec<u8> {
        self.answer(outcome, &Addresses::default())
    }

    /// The answer to the sandbox.
    pub(super) fn answer(&self, outcome: Outcome, found: &Addresses) -> Vec<u8> {
        let mut bytes = self.id.to_be_bytes().to_vec();
        let recursion = if self.wants_recursion { WANTS_RECURSION } else { 0 };
        bytes.extend([IS_ANSWER | recursion, HAS_RECURSION | outcome as u8, 0, 1]);
        let count = u16::try_from(found.addresses.len()).unwrap_or(0);
        bytes.extend(count.to_be_bytes());
        bytes.extend([0, 0, 0, 0]);
        bytes.extend(&self.raw);
        for address in &found.addresses {
            bytes.extend(SAME_NAME);
            bytes.extend(TYPE_ADDRESS.to_be_bytes());
            bytes.extend(CLASS_INTERNET.to_be_bytes());
            bytes.extend(found.seconds.to_be_bytes());
            bytes.extend(4u16.to_be_bytes());
            bytes.extend(address.octets());
        }
        bytes
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes: [u8; 2] = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
    Some(u16::from_be_bytes(bytes))
}

/// A name that is written out, and where it ends. A question has no other.
fn name(bytes: &[u8], from: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut at = from;
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        if length == 0 {
            return (!name.is_empty()).then_some((name, at));
        }
        if length > MAX_LABEL_BYTES || at + length - from > MAX_NAME_BYTES {
            return None;
        }
        let label = bytes.get(at..at + length)?;
        let is_plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if !label.iter().all(is_plain) {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
        at += length;
    }
}

/// Where a name ends that may point elsewhere.
fn name_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = *bytes.get(at)?;
        match length & 0xc0 {
            0xc0 => return Some(at + 2),
            0 if length == 0 => return Some(at + 1),
            0 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ask(name: &str, kind: u16) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34, WANTS_RECURSION, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.bytes());
        }
        bytes.push(0);
        bytes.extend(kind.to_be_bytes());
        bytes.extend(CLASS_INTERNET.to_be_bytes());
        bytes
    }

    #[test]
    fn a_question_is_answered_with_addresses() {
        let question = Question::read(&ask("Files.Example.org", TYPE_ADDRESS)).unwrap();
        assert_eq!(question.name, "files.example.org");
        assert!(question.is_for_addresses());
        let found = Addresses {
            addresses: vec![Ipv4Addr::new(198, 18, 1, 1), Ipv4Addr::new(198, 18, 1, 2)],
            seconds: 60,
        };
        let answer = question.answer(Outcome::Fine, &found);
        assert_eq!(question.read_answer(0x1234, &answer), Some(Answer::Known(found)));
        assert_eq!(question.read_answer(0x1235, &answer), None, "another's answer");
        let other = Question::read(&ask("example.org", TYPE_ADDRESS)).unwrap();
        assert_eq!(other.read_answer(0x1234, &answer), None);
        let none = question.reply(Outcome::NoSuchName);
        let failed = Some(Answer::Failed(Outcome::NoSuchName));
        assert_eq!(question.read_answer(0x1234, &none), failed);
        assert_eq!(Question::read(&question.write(7)).unwrap().name, question.name);
        assert!(Question::read(&ask("x.org", TYPE_SIX)).unwrap().is_for_six());
    }

    #[test]
    fn aliases_are_passed_over() {
        let question = Question::read(&ask("www.example.org", TYPE_ADDRESS)).unwrap();
        let mut bytes = question.reply(Outcome::Fine);
        bytes[7] = 2;
        // An alias, then the address of what it stands for.
        bytes.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 30, 0, 6, 3, b'c', b'd', b'n', 0xc0, 16]);
        bytes.extend([3, b'c', b'd', b'n', 0xc0, 16, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 198, 18, 1, 9]);
        let found = Addresses { addresses: vec![Ipv4Addr::new(198, 18, 1, 9)], seconds: 30 };
        assert_eq!(question.read_answer(0x1234, &bytes), Some(Answer::Known(found)));
    }

    #[test]
    fn what_is_no_question_is_not_answered() {
        let good = ask("example.org", TYPE_ADDRESS);
        for length in 0..good.len() {
            assert!(Question::read(&good[..length]).is_none(), "{length}");
        }
        for (at, value) in [(2, IS_ANSWER), (2, 0x10), (5, 0), (5, 2), (12, 0xc0), (12, 64)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(Question::read(&bad).is_none(), "{at} {value}");
        }
        let long = vec!["a".repeat(63); 5].join(".");
        assert!(Question::read(&ask(&long, TYPE_ADDRESS)).is_none());
        assert!(Question::read(&ask("a b.org", TYPE_ADDRESS)).is_none());
    }

    proptest! {
        #[test]
        fn anything_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Question::read(&bytes);
            let question = Question::read(&ask("a.org", TYPE_ADDRESS)).unwrap();
            let mut answer = question.reply(Outcome::Fine);
            answer[7] = 9;
            answer.extend(&bytes);
            let _ = question.read_answer(0x1234, &answer);
            let _ = question.read_answer(0x1234, &bytes);
        }
    }
}
