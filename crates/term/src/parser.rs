//! Finds the escape sequences that change modes in what a program prints.
//!
//! A deliberately small reader of ECMA-48: it never interprets text, keeps at most a few hundred
//! bytes of an unfinished sequence, and costs the same per byte whatever the program prints.

use crate::modes::Modes;

const MAX_PARAMS: usize = 32;
/// Bytes kept of an OSC string; a longer one still ends where it ends, but is ignored.
const MAX_STRING: usize = 2048;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ground,
    Escape,
    /// After `ESC` and an intermediate such as `(`.
    EscapeIntermediate(u8),
    Csi,
    /// OSC: kept, ends with BEL or ST.
    Osc,
    /// DCS, APC, PM, SOS: skipped, ends with ST.
    Skipped,
    /// `ESC` inside a string: `\` ends it, anything else starts a new sequence.
    StringEscape,
}

/// Follows the output of a program and knows the modes it has set.
#[derive(Debug)]
pub struct ModeTracker {
    modes: Modes,
    state: State,
    params: Vec<u16>,
    /// `?`, `>`, `=`, `<` in front of the parameters, or 0.
    private: u8,
    /// The last intermediate (`0x20..=0x2f`), or 0.
    intermediate: u8,
    string: Vec<u8>,
    string_too_long: bool,
}

impl Default for ModeTracker {
    fn default() -> Self {
        Self::new()
    }
}

impl ModeTracker {
    /// A fresh terminal.
    pub fn new() -> Self {
        Self {
            modes: Modes::default(),
            state: State::Ground,
            params: Vec::new(),
            private: 0,
            intermediate: 0,
            string: Vec::new(),
            string_too_long: false,
        }
    }

    /// The modes after everything fed so far.
    pub fn modes(&self) -> &Modes {
        &self.modes
    }

    /// Whether the next byte starts something new: output may be cut here.
    pub fn is_between_sequences(&self) -> bool {
        self.state == State::Ground
    }

    /// Reads more output, split anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.state == State::Ground {
                // Nearly all output is text: skip to the next byte that can matter.
                let Some(at) = rest.iter().position(|b| matches!(b, 0x1b | 0x0e | 0x0f)) else {
                    return;
                };
                self.step(rest[at]);
                rest = &rest[at + 1..];
            } else {
                self.step(rest[0]);
                rest = &rest[1..];
            }
        }
    }

    fn step(&mut self, byte: u8) {
        match (self.state, byte) {
            (State::Osc, 0x07) => self.end_string(true),
            (State::Osc | State::Skipped, 0x1b) => {
                if self.state == State::Skipped {
                    self.string_too_long = true;
                }
                self.state = State::StringEscape;
            }
            (State::Osc, _) => self.keep(byte),
            (State::Skipped, 0x18 | 0x1a) => self.state = State::Ground,
            (State::Skipped, _) => {}
            (State::StringEscape, b'\\') => self.end_string(!self.string_too_long),
            (State::StringEscape, _) => {
                self.end_string(false);
                self.state = State::Escape;
                self.step(byte);
            }
            (_, 0x1b) => self.state = State::Escape,
            (_, 0x18 | 0x1a) => self.state = State::Ground,
            (_, 0x0e) => self.modes.set_shifted_out(true),
            (_, 0x0f) => self.modes.set_shifted_out(false),
            // Other control characters are executed in the middle of a sequence.
            (_, 0..0x20) => {}
            (State::Ground, _) => {}
            (State::Escape, _) => self.escape(byte),
            (State::EscapeIntermediate(_), 0x20..=0x2f) => {}
            (State::EscapeIntermediate(intermediate), _) => {
                self.state = State::Ground;
                let slot = match intermediate {
                    b'(' => 0,
                    b')' | b'-' => 1,
                    b'*' | b'.' => 2,
                    b'+' | b'/' => 3,
                    _ => return,
                };
                if (0x30..=0x7e).contains(&byte) {
                    self.modes.set_charset(slot, byte);
                }
            }
            (State::Csi, _) => self.csi(byte),
        }
    }

    fn escape(&mut self, byte: u8) {
        self.state = State::Ground;
        match byte {
            b'[' => {
                self.params.clear();
                self.private = 0;
                self.intermediate = 0;
                self.state = State::Csi;
            }
            b']' => {
                self.string.clear();
                self.string_too_long = false;
                self.state = State::Osc;
            }
            b'P' | b'X' | b'^' | b'_' => {
                self.string.clear();
                self.state = State::Skipped;
            }
            0x20..=0x2f => self.state = State::EscapeIntermediate(byte),
            b'c' => self.modes.reset(),
            b'=' => self.modes.set_private(66, true),
            b'>' => self.modes.set_private(66, false),
            _ => {}
        }
    }

    fn csi(&mut self, byte: u8) {
        match byte {
            b'0'..=b'9' => {
                if self.params.is_empty() {
                    self.params.push(0);
                }
                if let Some(last) = self.params.last_mut() {
                    *last = last.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                }
            }
            b';' | b':' => {
                if self.params.is_empty() {
                    self.params.push(0);
                }
                if self.params.len() < MAX_PARAMS {
                    self.params.push(0);
                }
            }
            b'<'..=b'?' => self.private = byte,
            0x20..=0x2f => self.intermediate = byte,
            0x40..=0x7e => {
                self.state = State::Ground;
                self.run(byte);
            }
            // DEL is ignored, and bytes of text do not belong here.
            0x7f => {}
            _ => self.state = State::Ground,
        }
    }

    fn run(&mut self, last: u8) {
        let first = self.params.first().copied().unwrap_or(0);
        let second = self.params.get(1).copied().unwrap_or(0);
        match (self.private, self.intermediate, last) {
            (b'?', 0, b'h' | b'l') => {
                for mode in &self.params {
                    self.modes.set_private(*mode, last == b'h');
                }
            }
            (0, 0, b'h' | b'l') => {
                for mode in &self.params {
                    self.modes.set_ansi(*mode, last == b'h');
                }
            }
            (0, 0, b'm') if self.params.is_empty() => self.modes.set_pen(&[0]),
            (0, 0, b'm') => self.modes.set_pen(&self.params),
            (0, 0, b'r') => self.modes.set_region(first, second),
            (0, b' ', b'q') => self.modes.set_cursor_style(first),
            (0, b'!', b'p') => self.modes.soft_reset(),
            _ => {}
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.string.len() < MAX_STRING {
            self.string.push(byte);
        } else {
            self.string_too_long = true;
        }
    }

    fn end_string(&mut self, complete: bool) {
        self.state = State::Ground;
        if complete
            && !self.string_too_long
            && let [b'0' | b'2', b';', title @ ..] = self.string.as_slice()
        {
            let title = String::from_utf8_lossy(title);
            self.modes.set_title(&title);
        }
        self.string.clear();
        self.string_too_long = false;
    }
}
