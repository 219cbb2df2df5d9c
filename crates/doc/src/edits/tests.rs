use super::*;
use proptest::prelude::*;

const BOM: char = '\u{feff}';

fn apply(old: &str, edits: &[Edit]) -> String {
    let units: Vec<u16> = old.encode_utf16().collect();
    let mut out = Vec::new();
    let mut from = 0;
    for edit in edits {
        out.extend_from_slice(&units[from..edit.at as usize]);
        out.extend(edit.insert.encode_utf16());
        from = (edit.at + edit.delete) as usize;
    }
    out.extend_from_slice(&units[from..]);
    String::from_utf16(&out).expect("no edit cuts a character in two")
}

fn lines() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        proptest::sample::select(vec!["a", "b", "let x = 1;", "😀", "é", "\n", "\n", "  "]),
        0..30,
    )
    .prop_map(|pieces| pieces.concat())
}

#[test]
fn edits_are_small_and_named_by_character() {
    let check = |old: &str, new: &str, expected: &[(u32, u32, &str)]| {
        let edits = diff(old, new);
        let found: Vec<_> =
            edits.iter().map(|edit| (edit.at, edit.delete, edit.insert.as_str())).collect();
        assert_eq!(found, expected, "{old:?} to {new:?}");
    };
    check("same", "same", &[]);
    check("", "new\n", &[(0, 0, "new\n")]);
    check("old\n", "", &[(0, 4, "")]);
    check("one\ntwo\nthree\n", "one\nthree\n", &[(4, 4, "")]);
    check("let x=1;\n", "let x = 1;\n", &[(5, 1, " = ")]);
    check("😀 a\nkeep\nb\n", "😀 A\nkeep\nB\n", &[(3, 1, "A"), (10, 1, "B")]);
}

#[test]
fn work_is_bounded_by_size() {
    // Two large texts with nothing in common but letters: replaced, not compared.
    let old = "abcdefgh ".repeat(20_000);
    let new = "hgfedcba ".repeat(20_000);
    assert_eq!(apply(&old, &diff(&old, &new)), new);
    assert!(diff(&old, &new).len() < 4);
    // Short lines in random order, the worst for a search.
    let mut state = 1u32;
    let mut digits = || {
        let mut text = String::new();
        for _ in 0..100_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text.push(if state >> 31 == 0 { '0' } else { '1' });
            text.push('\n');
        }
        text
    };
    let (old, new) = (digits(), digits());
    assert_eq!(apply(&old, &diff(&old, &new)), new);
    // A change on every other of 40,000 lines makes as many edits as the text's size allows.
    let old = "keep\nvalue = 1;\n".repeat(20_000);
    let new = "keep\nvalue = 2;\n".repeat(20_000);
    let edits = diff(&old, &new);
    assert_eq!(apply(&old, &edits), new);
    assert_eq!(edits.len(), MAX_EDIT_COST / old.len());
}

proptest! {
    #[test]
    fn edits_lead_from_one_text_to_the_other(old in lines(), new in lines()) {
        prop_assert_eq!(apply(&old, &diff(&old, &new)), new);
    }

    #[test]
    fn a_union_has_both_and_its_deletions_leave_the_new(old in lines(), new in lines()) {
        let (inserts, deletes) = union(&old, &new);
        prop_assert!(inserts.iter().all(|edit| edit.delete == 0));
        prop_assert!(deletes.iter().all(|edit| edit.insert.is_empty()));
        let both = apply(&old, &inserts);
        prop_assert_eq!(apply(&both, &deletes), new);
    }

    #[test]
    fn cleaned_text_is_clean(text in "[a\r\n\0\u{feff}😀]{0,20}") {
        let cleaned = apply(&text, &cleaning(&text));
        prop_assert!(!cleaned.contains(['\r', '\0']));
        prop_assert!(!cleaned.starts_with(BOM));
    }
}
