//! Made-up names and colours for people who have not chosen theirs.

use tandem_proto::MemberId;

const MANNERS: [&str; 24] = [
    "Amber", "Brave", "Bright", "Calm", "Clever", "Cosy", "Curious", "Eager", "Gentle", "Happy",
    "Keen", "Kind", "Lively", "Lucky", "Merry", "Mellow", "Nimble", "Patient", "Polite", "Quick",
    "Quiet", "Sunny", "Swift", "Witty",
];

const ANIMALS: [&str; 24] = [
    "Badger", "Beaver", "Crane", "Dolphin", "Falcon", "Ferret", "Finch", "Fox", "Gecko", "Heron",
    "Ibex", "Koala", "Lark", "Lemur", "Lynx", "Marten", "Otter", "Owl", "Panda", "Puffin", "Raven",
    "Seal", "Tapir", "Wren",
];

/// Colours of carets and avatars: legible under white text and beside each other, on dark and
/// on light backgrounds.
const COLOURS: [&str; 12] = [
    "#c2410c", "#b45309", "#4d7c0f", "#15803d", "#0f766e", "#0e7490", "#0369a1", "#1d4ed8",
    "#6d28d9", "#a21caf", "#be185d", "#be123c",
];

/// Longest display name in characters.
pub(crate) const MAX_NAME_CHARS: usize = 40;

/// A friendly name that is always the same for one member.
pub(crate) fn name(member: MemberId) -> String {
    let hash = blake3::hash(member.as_str().as_bytes());
    let bytes = hash.as_bytes();
    let manner = MANNERS[usize::from(bytes[0]) % MANNERS.len()];
    let animal = ANIMALS[usize::from(bytes[1]) % ANIMALS.len()];
    format!("{manner} {animal}")
}

/// A colour that is always the same for one member.
pub(crate) fn colour(member: MemberId) -> &'static str {
    let hash = blake3::hash(member.as_str().as_bytes());
    COLOURS[usize::from(hash.as_bytes()[2]) % COLOURS.len()]
}

/// Whether text is `#rrggbb`.
pub(crate) fn is_colour(text: &str) -> bool {
    text.len() == 7
        && text.starts_with('#')
        && text[1..].bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A name people typed, made presentable: trimmed, inner white space single, no control or
/// text-direction characters. `None` when nothing is left or it is too long.
pub(crate) fn clean_name(text: &str, max_chars: usize) -> Option<String> {
    if text.len() > max_chars * 8 {
        return None;
    }
    let clean: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let count = clean.chars().count();
    (count >= 1 && count <= max_chars && !clean.chars().any(hidden)).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_and_colours_valid() {
        let member = MemberId::from_random([9; 10]);
        assert_eq!(name(member), name(member));
        assert!(is_colour(colour(member)));
        assert!(COLOURS.iter().all(|colour| is_colour(colour)));
    }

    #[test]
    fn typed_names_are_cleaned_or_refused() {
        assert_eq!(clean_name("  Ada \n Lovelace ", 40).as_deref(), Some("Ada Lovelace"));
        assert_eq!(clean_name("日本", 40).as_deref(), Some("日本"));
        for bad in ["", "   ", "a\u{202e}b", "a\u{7}b", &"x".repeat(41)] {
            assert_eq!(clean_name(bad, 40), None, "{bad:?}");
        }
        for bad in ["", "red", "#12345", "#12345g", "#12é45"] {
            assert!(!is_colour(bad), "{bad}");
        }
    }
}
