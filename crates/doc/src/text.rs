//! Bytes of a file to the text of a document and back. A document holds `\n` only; how lines
//! end and whether there is a byte order mark is kept beside it. What this cannot give back
//! byte for byte is not text.

use serde::{Deserialize, Serialize};

/// Largest file that becomes a document.
pub const MAX_FILE_BYTES: usize = 2 * 1024 * 1024;

const BOM: char = '\u{feff}';

/// How a text is written to its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct TextFormat {
    /// How lines end.
    pub eol: Eol,
    /// Whether the file starts with a UTF-8 byte order mark.
    pub bom: bool,
}

/// How lines end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Eol {
    /// `\n`.
    #[default]
    Lf,
    /// `\r\n`.
    Crlf,
}

/// Why a file is not a text document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotText {
    /// Over [`MAX_FILE_BYTES`].
    #[error("the file is larger than 2 MiB")]
    TooLarge,
    /// It contains a NUL byte.
    #[error("the file is binary")]
    Nul,
    /// It is not UTF-8.
    #[error("the file is not UTF-8")]
    NotUtf8,
    /// Some lines end with `\r\n`, others with `\n`, or a `\r` stands alone.
    #[error("the file mixes line endings")]
    MixedEol,
}

/// The text and format of a file.
///
/// # Errors
/// When [`encode_file`] could not give the same bytes back, or the file is too large.
pub fn decode_file(bytes: &[u8]) -> Result<(String, TextFormat), NotText> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(NotText::TooLarge);
    }
    if bytes.contains(&0) {
        return Err(NotText::Nul);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| NotText::NotUtf8)?;
    let (text, bom) = match text.strip_prefix(BOM) {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let returns = count(text, b'\r');
    if returns == 0 {
        return Ok((text.to_owned(), TextFormat { eol: Eol::Lf, bom }));
    }
    let pairs = text.matches("\r\n").count();
    if pairs != returns || pairs != count(text, b'\n') {
        return Err(NotText::MixedEol);
    }
    Ok((text.replace("\r\n", "\n"), TextFormat { eol: Eol::Crlf, bom }))
}

/// The bytes of a file with this text.
pub fn encode_file(text: &str, format: TextFormat) -> Vec<u8> {
    let body = match format.eol {
        Eol::Lf => std::borrow::Cow::Borrowed(text),
        Eol::Crlf => std::borrow::Cow::Owned(text.replace('\n', "\r\n")),
    };
    let mut bytes = Vec::with_capacity(body.len() + BOM.len_utf8());
    if format.bom {
        bytes.extend_from_slice("\u{feff}".as_bytes());
    }
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

/// Whether a piece of text has nothing that a file would not read back as it was written.
pub(crate) fn is_clean(text: &str) -> bool {
    !text.bytes().any(|byte| byte == b'\r' || byte == 0) && !text.contains(BOM)
}

fn count(text: &str, byte: u8) -> usize {
    text.bytes().filter(|&b| b == byte).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn formats_are_recognised() {
        let lf = TextFormat { eol: Eol::Lf, bom: false };
        let crlf = TextFormat { eol: Eol::Crlf, bom: false };
        for (bytes, expected) in [
            (&b""[..], Ok(("", lf))),
            (b"one line", Ok(("one line", lf))),
            (b"a\nb\n", Ok(("a\nb\n", lf))),
            (b"a\r\nb\r\n", Ok(("a\nb\n", crlf))),
            (b"\xef\xbb\xbfa\r\n", Ok(("a\n", TextFormat { eol: Eol::Crlf, bom: true }))),
            (b"\xef\xbb\xbf", Ok(("", TextFormat { eol: Eol::Lf, bom: true }))),
            (b"a\r\nb\n", Err(NotText::MixedEol)),
            (b"a\rb", Err(NotText::MixedEol)),
            (b"a\r\r\nb", Err(NotText::MixedEol)),
            (b"a\0b", Err(NotText::Nul)),
            (b"\xff\xfea\0", Err(NotText::Nul)),
            (b"caf\xe9", Err(NotText::NotUtf8)),
        ] {
            let decoded = decode_file(bytes);
            let decoded = decoded.as_ref().map(|(text, format)| (text.as_str(), *format));
            assert_eq!(decoded.map_err(|error| *error), expected, "{bytes:?}");
        }
        assert_eq!(decode_file(&vec![b'a'; MAX_FILE_BYTES + 1]), Err(NotText::TooLarge));
        assert!(decode_file(&vec![b'a'; MAX_FILE_BYTES]).is_ok());
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec![
                    "\r\n", "\n", "\r", "a", "é", "😀", "\u{feff}", "\u{2028}", " ",
                ]), 0..12),
        ) {
            let bytes = pieces.concat().into_bytes();
            if let Ok((text, format)) = decode_file(&bytes) {
                prop_assert!(!text.contains('\r'));
                prop_assert_eq!(encode_file(&text, format), bytes);
            }
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok((text, format)) = decode_file(&bytes) {
                prop_assert_eq!(encode_file(&text, format), bytes);
            }
        }

        #[test]
        fn clean_text_survives_its_file(text in "[a-z\n😀é]{0,20}", crlf: bool, bom: bool) {
            let eol = if crlf { Eol::Crlf } else { Eol::Lf };
            let format = TextFormat { eol, bom };
            let decoded = decode_file(&encode_file(&text, format));
            // Without a line there is nothing to tell the line ending from.
            let eol = if text.contains('\n') { eol } else { Eol::Lf };
            prop_assert_eq!(decoded, Ok((text, TextFormat { eol, bom })));
        }
    }
}
