//! The modes a terminal is in, and the escape sequences that bring a fresh one into them.

use std::fmt::Write;

/// Private modes (`CSI ? n h`) that outlive the bytes which set them, and whether a fresh
/// terminal has them set. The alternate screen is apart because its order matters.
const PRIVATE: &[(u16, bool)] = &[
    (1, false),    // application cursor keys
    (5, false),    // reverse video
    (6, false),    // origin
    (7, true),     // wrap
    (9, false),    // mouse: X10
    (12, false),   // cursor blink
    (25, true),    // cursor visible
    (45, false),   // reverse wrap
    (66, false),   // application keypad
    (1000, false), // mouse: clicks
    (1002, false), // mouse: drags
    (1003, false), // mouse: everything
    (1004, false), // focus reports
    (1005, false), // mouse: UTF-8 coordinates
    (1006, false), // mouse: SGR coordinates
    (1007, false), // wheel as arrow keys
    (1015, false), // mouse: urxvt coordinates
    (1016, false), // mouse: pixels
    (2004, false), // bracketed paste
];
const ALTERNATE: [u16; 3] = [47, 1047, 1049];

/// Longest title kept, in characters.
pub(crate) const MAX_TITLE_CHARS: usize = 256;

/// Colours and attributes of the text that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Pen {
    /// Bit n stands for SGR n, of 1 to 9 and 21.
    attributes: u32,
    foreground: Option<Colour>,
    background: Option<Colour>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    Indexed(u8),
    Rgb(u8, u8, u8),
}

/// Everything but the text: what a viewer that missed earlier output must be told first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modes {
    /// Bit n stands for `PRIVATE[n]`.
    private: u32,
    alternate: Option<u16>,
    insert: bool,
    newline: bool,
    charsets: [u8; 4],
    shifted_out: bool,
    cursor_style: u8,
    region: Option<(u16, u16)>,
    pen: Pen,
    title: String,
}

impl Default for Modes {
    fn default() -> Self {
        let private = PRIVATE
            .iter()
            .enumerate()
            .fold(0, |bits, (index, (_, set))| bits | (u32::from(*set) << index));
        Self {
            private,
            alternate: None,
            insert: false,
            newline: false,
            charsets: [b'B'; 4],
            shifted_out: false,
            cursor_style: 0,
            region: None,
            pen: Pen::default(),
            title: String::new(),
        }
    }
}

impl Modes {
    /// Whether a full-screen program shows the alternate screen.
    pub fn is_alternate_screen(&self) -> bool {
        self.alternate.is_some()
    }

    /// The last title set, without control characters, at most 256 characters.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Whether a private mode (`CSI ? mode h`) is set; modes that are not tracked are unset.
    pub fn is_set(&self, mode: u16) -> bool {
        PRIVATE
            .iter()
            .position(|(number, _)| *number == mode)
            .is_some_and(|index| self.private & (1 << index) != 0)
    }

    /// Escape sequences that reset a terminal and bring it into these modes.
    pub fn prelude(&self) -> Vec<u8> {
        let mut out = String::from("\x1bc");
        if !self.title.is_empty() {
            let _ = write!(out, "\x1b]2;{}\x07", self.title);
        }
        if let Some(mode) = self.alternate {
            let _ = write!(out, "\x1b[?{mode}h\x1b[H");
        }
        self.write_changes(&Self::default(), &mut out);
        out.into_bytes()
    }

    /// Escape sequences that bring a terminal in these modes back to a fresh one's, without
    /// clearing its screen: what must follow the output of a program that is gone.
    pub fn leave(&self) -> Vec<u8> {
        let mut out = String::new();
        if let Some(mode) = self.alternate {
            let _ = write!(out, "\x1b[?{mode}l");
        }
        Self::default().write_changes(self, &mut out);
        out.into_bytes()
    }

    fn write_changes(&self, from: &Self, out: &mut String) {
        for (slot, designator) in ['(', ')', '*', '+'].into_iter().enumerate() {
            if self.charsets[slot] != from.charsets[slot] {
                let _ = write!(out, "\x1b{designator}{}", char::from(self.charsets[slot]));
            }
        }
        if self.shifted_out != from.shifted_out {
            out.push(if self.shifted_out { '\x0e' } else { '\x0f' });
        }
        if self.region != from.region {
            match self.region {
                Some((top, bottom)) => {
                    let _ = write!(out, "\x1b[{top};{bottom}r");
                }
                // Setting the region moves the cursor, so it is kept over the reset.
                None => out.push_str("\x1b7\x1b[r\x1b8"),
            }
        }
        for (index, (mode, _)) in PRIVATE.iter().enumerate() {
            let bit = 1 << index;
            if (self.private ^ from.private) & bit != 0 {
                let letter = if self.private & bit != 0 { 'h' } else { 'l' };
                let _ = write!(out, "\x1b[?{mode}{letter}");
            }
        }
        for (mode, now, was) in [(4, self.insert, from.insert), (20, self.newline, from.newline)] {
            if now != was {
                let _ = write!(out, "\x1b[{mode}{}", if now { 'h' } else { 'l' });
            }
        }
        if self.cursor_style != from.cursor_style {
            let _ = write!(out, "\x1b[{} q", self.cursor_style);
        }
        if self.pen != from.pen {
            self.pen.write(out);
        }
    }

    pub(crate) fn set_private(&mut self, mode: u16, set: bool) {
        if ALTERNATE.contains(&mode) {
            self.alternate = set.then_some(mode);
        } else if let Some(index) = PRIVATE.iter().position(|(number, _)| *number == mode) {
            let bit = 1 << index;
            self.private = if set { self.private | bit } else { self.private & !bit };
            // The mouse protocols replace each other.
            if set && matches!(mode, 9 | 1000 | 1002 | 1003) {
                for other in [9, 1000, 1002, 1003] {
                    if other != mode {
                        self.set_private(other, false);
                    }
                }
            }
        }
    }

    pub(crate) fn set_ansi(&mut self, mode: u16, set: bool) {
        match mode {
            4 => self.insert = set,
            20 => self.newline = set,
            _ => {}
        }
    }

    pub(crate) fn set_charset(&mut self, slot: usize, set: u8) {
        if let Some(charset) = self.charsets.get_mut(slot) {
            *charset = set;
        }
    }

    pub(crate) fn set_shifted_out(&mut self, out: bool) {
        self.shifted_out = out;
    }

    pub(crate) fn set_cursor_style(&mut self, style: u16) {
        if let Ok(style @ 0..=6) = u8::try_from(style) {
            self.cursor_style = style;
        }
    }

    pub(crate) fn set_region(&mut self, top: u16, bottom: u16) {
        self.region = (top > 1 || bottom > 0).then_some((top.max(1), bottom));
        if bottom == 0 {
            self.region = None;
        }
    }

    pub(crate) fn set_title(&mut self, text: &str) {
        self.title =
            text.chars().filter(|c| !c.is_control()).take(MAX_TITLE_CHARS).collect::<String>();
    }

    pub(crate) fn soft_reset(&mut self) {
        let title = std::mem::take(&mut self.title);
        let alternate = self.alternate;
        *self = Self { alternate, title, ..Self::default() };
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Applies one `CSI … m`.
    pub(crate) fn set_pen(&mut self, params: &[u16]) {
        let pen = &mut self.pen;
        let mut rest = params;
        while let Some((&code, after)) = rest.split_first() {
            rest = after;
            match code {
                0 => *pen = Pen::default(),
                1..=9 | 21 => pen.attributes |= 1 << code,
                22 => pen.attributes &= !(1 << 1 | 1 << 2),
                23 => pen.attributes &= !(1 << 3),
                24 => pen.attributes &= !(1 << 4 | 1 << 21),
                25 => pen.attributes &= !(1 << 5 | 1 << 6),
                27..=29 => pen.attributes &= !(1 << (code - 20)),
                30..=37 => pen.foreground = Some(Colour::Indexed((code - 30) as u8)),
                90..=97 => pen.foreground = Some(Colour::Indexed((code - 82) as u8)),
                39 => pen.foreground = None,
                40..=47 => pen.background = Some(Colour::Indexed((code - 40) as u8)),
                100..=107 => pen.background = Some(Colour::Indexed((code - 92) as u8)),
                49 => pen.background = None,
                38 | 48 | 58 => {
                    let (colour, after) = colour(rest);
                    rest = after;
                    match code {
                        38 => pen.foreground = colour.or(pen.foreground),
                        48 => pen.background = colour.or(pen.background),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }
}

impl Pen {
    fn write(&self, out: &mut String) {
        out.push_str("\x1b[0");
        for attribute in (1..=9).chain([21]) {
            if self.attributes & (1 << attribute) != 0 {
                let _ = write!(out, ";{attribute}");
            }
        }
        for (prefix, colour) in [(38, self.foreground), (48, self.background)] {
            match colour {
                Some(Colour::Indexed(index)) => {
                    let _ = write!(out, ";{prefix};5;{index}");
                }
                Some(Colour::Rgb(red, green, blue)) => {
                    let _ = write!(out, ";{prefix};2;{red};{green};{blue}");
                }
                None => {}
            }
        }
        out.push('m');
    }
}

fn colour(params: &[u16]) -> (Option<Colour>, &[u16]) {
    let byte = |value: &u16| u8::try_from(*value).unwrap_or(u8::MAX);
    match params {
        [5, index, rest @ ..] => (Some(Colour::Indexed(byte(index))), rest),
        [2, red, green, blue, rest @ ..] => {
            (Some(Colour::Rgb(byte(red), byte(green), byte(blue))), rest)
        }
        _ => (None, &[]),
    }
}
