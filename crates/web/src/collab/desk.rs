//! Which addresses of one socket are known, on which upstream each is, and what waits for its
//! token. No IO.

use std::collections::HashMap;

use bytes::Bytes;
use tandem_proto::{MemberId, ReplId, Role, collab};

/// Addresses on one socket.
const MAX_ADDRESSES: usize = 1_024;
/// Frames waiting for tokens on one socket.
const MAX_WAITING_FRAMES: usize = 256;
/// Their bytes.
const MAX_WAITING_BYTES: usize = 1024 * 1024;

/// One connection to a node: a repl, and as whom with which right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Line {
    pub(super) repl: ReplId,
    pub(super) member: MemberId,
    pub(super) role: Role,
    /// Sessions of one document must not share a connection: for a room, who connects twice is
    /// two peers.
    pub(super) session: u16,
}

/// More is asked of one socket than it may hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

#[derive(Debug)]
enum Address {
    Waiting(Vec<Bytes>),
    On(Line),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Desk {
    addresses: HashMap<String, Address>,
    waiting_frames: usize,
    waiting_bytes: usize,
}

impl Desk {
    /// Where a frame goes; `None` when it was kept until its address has shown a token.
    pub(super) fn route(&mut self, address: &str, frame: &Bytes) -> Result<Option<Line>, TooMuch> {
        if let Some(Address::On(line)) = self.addresses.get(address) {
            return Ok(Some(*line));
        }
        self.waiting_frames += 1;
        self.waiting_bytes += frame.len();
        if self.waiting_frames > MAX_WAITING_FRAMES || self.waiting_bytes > MAX_WAITING_BYTES {
            return Err(TooMuch);
        }
        let waiting = self.entry(address)?;
        if let Address::Waiting(frames) = waiting {
            frames.push(frame.clone());
        }
        Ok(None)
    }

    /// The session number an address is on, or the first that no other address of the same
    /// document is on.
    pub(super) fn session(&self, address: &str) -> u16 {
        if let Some(Address::On(line)) = self.addresses.get(address) {
            return line.session;
        }
        let name = collab::document_name(address);
        let taken: Vec<u16> = self
            .addresses
            .iter()
            .filter(|(other, _)| collab::document_name(other) == name)
            .filter_map(|(_, state)| match state {
                Address::On(line) => Some(line.session),
                Address::Waiting(_) => None,
            })
            .collect();
        (0..).find(|session| !taken.contains(session)).unwrap_or_default()
    }

    /// An address has shown its right: what waited, in order.
    pub(super) fn admit(&mut self, address: &str, line: Line) -> Result<Vec<Bytes>, TooMuch> {
        let entry = self.entry(address)?;
        let frames = match std::mem::replace(entry, Address::On(line)) {
            Address::Waiting(frames) => frames,
            Address::On(_) => Vec::new(),
        };
        self.forget_waiting(&frames);
        Ok(frames)
    }

    /// An address was refused or left: what waited is dropped with it. The line it was on, if
    /// no other address is on that.
    pub(super) fn leave(&mut self, address: &str) -> Option<Line> {
        match self.addresses.remove(address)? {
            Address::Waiting(frames) => {
                self.forget_waiting(&frames);
                None
            }
            Address::On(line) => (!self.uses(line)).then_some(line),
        }
    }

    /// An address that shows another right than before leaves its old line: that, if no other
    /// address is on it.
    pub(super) fn leave_other(&mut self, address: &str, line: Line) -> Option<Line> {
        match self.addresses.get(address) {
            Some(Address::On(old)) if *old != line => self.leave(address),
            _ => None,
        }
    }

    /// Every address of a line that ended leaves.
    pub(super) fn end(&mut self, line: Line) -> Vec<String> {
        let is_on = |state: &Address| matches!(state, Address::On(on) if *on == line);
        let gone: Vec<String> = self
            .addresses
            .iter()
            .filter(|(_, state)| is_on(state))
            .map(|(address, _)| address.clone())
            .collect();
        self.addresses.retain(|_, state| !is_on(state));
        gone
    }

    /// Whether any address has shown a right.
    pub(super) fn is_admitted(&self) -> bool {
        self.addresses.values().any(|state| matches!(state, Address::On(_)))
    }

    fn uses(&self, line: Line) -> bool {
        self.addresses.values().any(|state| matches!(state, Address::On(on) if *on == line))
    }

    fn entry(&mut self, address: &str) -> Result<&mut Address, TooMuch> {
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(address) {
            return Err(TooMuch);
        }
        Ok(self.addresses.entry(address.to_owned()).or_insert_with(|| Address::Waiting(Vec::new())))
    }

    fn forget_waiting(&mut self, frames: &[Bytes]) {
        self.waiting_frames = self.waiting_frames.saturating_sub(frames.len());
        let bytes: usize = frames.iter().map(Bytes::len).sum();
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
    }
}

/// The repl a document name begins with, when something follows it.
pub(super) fn repl_of(address: &str) -> Option<ReplId> {
    let (repl, rest) = collab::document_name(address).split_once('/')?;
    if rest.is_empty() {
        return None;
    }
    repl.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(role: Role) -> Line {
        let (repl, member) = (ReplId::from_random([1; 10]), MemberId::from_random([2; 10]));
        Line { repl, member, role, session: 0 }
    }

    #[test]
    fn frames_wait_for_their_own_token_in_order() {
        let mut desk = Desk::default();
        let (one, two) = (Bytes::from_static(b"1"), Bytes::from_static(b"2"));
        assert_eq!(desk.route("a", &one), Ok(None));
        assert_eq!(desk.route("b", &one), Ok(None));
        assert_eq!(desk.route("a", &two), Ok(None));
        let viewer = line(Role::Viewer);
        assert_eq!(desk.admit("a", viewer), Ok(vec![one.clone(), two]));
        assert_eq!(desk.route("a", &one), Ok(Some(viewer)));
        assert_eq!(desk.route("b", &one), Ok(None), "another address's token counts for nothing");
    }

    #[test]
    fn a_line_ends_with_its_last_address() {
        let mut desk = Desk::default();
        let editor = line(Role::Editor);
        desk.admit("a", editor).unwrap();
        desk.admit("b", editor).unwrap();
        desk.admit("c", line(Role::Viewer)).unwrap();
        assert_eq!(desk.leave("a"), None);
        assert_eq!(desk.leave("b"), Some(editor));
        assert_eq!(desk.leave("b"), None);
        desk.admit("a", editor).unwrap();
        assert_eq!(desk.end(editor), ["a"]);
        assert!(desk.is_admitted());
        assert_eq!(desk.route("a", &Bytes::new()), Ok(None));
    }

    #[test]
    fn sessions_of_one_document_are_on_lines_of_their_own() {
        let mut desk = Desk::default();
        desk.admit("r/a", line(Role::Editor)).unwrap();
        assert_eq!(desk.session("r/b"), 0, "another document shares the line");
        assert_eq!(desk.session("r/a"), 0, "the same address keeps it");
        assert_eq!(desk.session("r/a\0one"), 1);
        desk.admit("r/a\0one", Line { session: 1, ..line(Role::Editor) }).unwrap();
        assert_eq!(desk.session("r/a\0two"), 2);
        desk.leave("r/a");
        assert_eq!(desk.session("r/a\0two"), 0);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut desk = Desk::default();
        for _ in 0..MAX_WAITING_FRAMES {
            desk.route("a", &Bytes::from_static(b"x")).unwrap();
        }
        assert_eq!(desk.route("a", &Bytes::from_static(b"x")), Err(TooMuch));
        let mut desk = Desk::default();
        assert_eq!(desk.route("a", &Bytes::from(vec![0; MAX_WAITING_BYTES + 1])), Err(TooMuch));
        let mut desk = Desk::default();
        for n in 0..MAX_ADDRESSES {
            desk.admit(&n.to_string(), line(Role::Editor)).unwrap();
        }
        assert_eq!(desk.admit("one more", line(Role::Editor)), Err(TooMuch));
        assert!(desk.admit("3", line(Role::Viewer)).is_ok());
    }

    #[test]
    fn addresses_name_a_repl_and_something_in_it() {
        let repl = ReplId::from_random([1; 10]);
        assert_eq!(repl_of(&format!("{repl}/main.py")), Some(repl));
        assert_eq!(repl_of(&format!("{repl}/a/b\0session")), Some(repl));
        for bad in [repl.to_string(), format!("{repl}/"), "x/main.py".into(), String::new()] {
            assert_eq!(repl_of(&bad), None, "{bad}");
        }
    }
}
