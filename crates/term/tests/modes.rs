//! The mode tracker against what programs print, split anywhere, hostile or not.

use proptest::prelude::*;
use tandem_term::{ModeTracker, Modes, Screen};

fn modes_after(bytes: &[u8]) -> Modes {
    let mut tracker = ModeTracker::new();
    tracker.feed(bytes);
    tracker.modes().clone()
}

#[test]
fn sequences_and_what_a_repaint_says() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"plain text\r\n", b"\x1bc"),
        (b"\x1b[?1049h\x1b[?25l", b"\x1bc\x1b[?1049h\x1b[H\x1b[?25l"),
        (b"\x1b[?1049h\x1b[?1049l", b"\x1bc"),
        (b"\x1b[?1;2004h", b"\x1bc\x1b[?1h\x1b[?2004h"),
        (b"\x1b[?1000h\x1b[?1002h\x1b[?1006h", b"\x1bc\x1b[?1002h\x1b[?1006h"),
        (b"\x1b]0;make \xc3\xa4\x07", b"\x1bc\x1b]2;make \xc3\xa4\x07"),
        (b"\x1b]2;st\x1b\\", b"\x1bc\x1b]2;st\x07"),
        (b"\x1b]2;a\x01b\nc\x07", b"\x1bc\x1b]2;abc\x07"),
        (b"\x1b(0\x0e", b"\x1bc\x1b(0\x0e"),
        (b"\x1b(0\x1b(B", b"\x1bc"),
        (b"\x1b=", b"\x1bc\x1b[?66h"),
        (b"\x1b[4 q", b"\x1bc\x1b[4 q"),
        (b"\x1b[3;20r", b"\x1bc\x1b[3;20r"),
        (b"\x1b[3;20r\x1b[r", b"\x1bc"),
        (b"\x1b[1;31m", b"\x1bc\x1b[0;1;38;5;1m"),
        (b"\x1b[38;2;1;2;3;48:5:200m", b"\x1bc\x1b[0;38;2;1;2;3;48;5;200m"),
        (b"\x1b[31m\x1b[m", b"\x1bc"),
        (b"\x1b[?25l\x1b[31m\x1bc", b"\x1bc"),
        (b"\x1b[?25l\x1b[!p", b"\x1bc"),
        (b"\x1bPq\x1b[?25l\x1b\\", b"\x1bc\x1b[?25l"),
        (b"\x1bP1;2|[?25l\x1b\\", b"\x1bc"),
        (b"\x1b]8;;http://x\x07\x1b[?7l", b"\x1bc\x1b[?7l"),
        (b"\x1b[?2\x18004h", b"\x1bc"),
    ];
    for (input, want) in cases {
        let got = modes_after(input).prelude();
        assert_eq!(
            String::from_utf8_lossy(&got).escape_debug().to_string(),
            String::from_utf8_lossy(want).escape_debug().to_string(),
            "after {}",
            String::from_utf8_lossy(input).escape_debug()
        );
    }
}

#[test]
fn titles_are_bounded() {
    let mut long = b"\x1b]2;".to_vec();
    long.extend(std::iter::repeat_n(b'x', 1000));
    long.push(7);
    assert_eq!(modes_after(&long).title().len(), 256);
    let mut endless = b"\x1b]2;".to_vec();
    endless.extend(std::iter::repeat_n(b'x', 500_000));
    let mut tracker = ModeTracker::new();
    tracker.feed(&endless);
    assert!(!tracker.is_between_sequences());
    tracker.feed(b"\x07\x1b[?25l");
    assert_eq!(tracker.modes().title(), "");
    assert!(!tracker.modes().is_set(25));
}

#[test]
fn a_repaint_starts_at_a_line_with_the_modes_of_that_place() {
    let mut screen = Screen::new(1024 * 1024);
    assert_eq!(screen.repaint().offset, 0);
    for line in 0..40_000 {
        let colour = 31 + line % 6;
        screen.push(format!("\x1b[{colour}mline {line} {}\x1b[0m\n", "·".repeat(20)).as_bytes());
    }
    let repaint = screen.repaint();
    let end = screen.ring().end();
    assert!(end - repaint.offset <= 128 * 1024, "{}", end - repaint.offset);
    assert!(end - repaint.offset >= 64 * 1024);
    let shown = screen.ring().read(repaint.offset, 20).unwrap();
    assert!(String::from_utf8(shown).is_ok_and(|text| text.starts_with("\x1b[3")));
    assert_eq!(repaint.prelude, b"\x1bc");
    assert!(!repaint.needs_redraw);
}

#[test]
fn output_without_newlines_still_has_places() {
    let mut screen = Screen::new(256 * 1024);
    for _ in 0..1000 {
        screen.push(&[b'x'; 1000]);
    }
    let repaint = screen.repaint();
    assert!(repaint.offset >= screen.ring().start() && repaint.offset < screen.ring().end());
    // An escape string that never ends cannot be cut, so nothing of it is shown.
    screen.push(b"\x1b]2;");
    for _ in 0..1000 {
        screen.push(&[b'x'; 1000]);
    }
    assert_eq!(screen.repaint().offset, screen.ring().end());
}

#[test]
fn leave_undoes_what_a_killed_program_left_behind() {
    let input = b"\x1b[?1049h\x1b[?1003h\x1b[?1006h\x1b[?25l\x1b[?2004h\x1b[31m\x1b(0\x1b[2;9r";
    let mut tracker = ModeTracker::new();
    tracker.feed(input);
    let leave = tracker.modes().leave();
    tracker.feed(&leave);
    assert_eq!(tracker.modes(), &Modes::default());
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\x1b[".to_vec()),
        Just(b"\x1b]2;".to_vec()),
        Just(b"\x1bP".to_vec()),
        Just(b"\x1b\\".to_vec()),
        Just(b"?1049h".to_vec()),
        Just(b"?25l".to_vec()),
        Just(b";;;;38;5m".to_vec()),
        Just(b"99999999999999h".to_vec()),
        prop::collection::vec(any::<u8>(), 0..8),
        Just(b"\n".to_vec()),
        "[a-z]{0,9}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    // A case is a whole session of a terminal, and unoptimised builds are slow.
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn splitting_changes_nothing(input in hostile(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(input.len() + 1);
        let mut split = ModeTracker::new();
        split.feed(&input[..cut]);
        split.feed(&input[cut..]);
        prop_assert_eq!(split.modes(), &modes_after(&input));
    }

    #[test]
    fn a_prelude_brings_a_fresh_terminal_into_the_same_modes(input in hostile()) {
        let modes = modes_after(&input);
        prop_assert_eq!(modes_after(&modes.prelude()), modes);
    }

    #[test]
    fn a_repaint_then_the_rest_ends_in_the_same_modes(inputs in prop::collection::vec(hostile(), 0..40)) {
        let mut screen = Screen::new(2048);
        for input in &inputs {
            screen.push(input);
        }
        let repaint = screen.repaint();
        let rest = screen.ring().read(repaint.offset, usize::MAX).unwrap();
        let mut shown = repaint.prelude;
        shown.extend(rest);
        // Modes are only comparable where the program itself is between sequences.
        let mut whole = ModeTracker::new();
        whole.feed(&inputs.concat());
        if whole.is_between_sequences() {
            prop_assert_eq!(&modes_after(&shown), screen.modes());
        }
    }
}
