//! The pure half of a terminal: what was printed, by absolute offset, and which modes the
//! printing has brought a terminal into.
//!
//! Invariant: every byte of a terminal has one offset for ever, so replaying is idempotent and a
//! reader that knows its offset can always be told what it missed. Nothing here does IO or reads a
//! clock, and every buffer is bounded whatever the program prints.

mod modes;
mod parser;
mod repaint;
mod ring;
mod scrollback;

pub use modes::Modes;
pub use parser::ModeTracker;
pub use repaint::{Repaint, Screen};
pub use ring::Ring;
pub use scrollback::{Scrollback, Segment, SegmentError};
