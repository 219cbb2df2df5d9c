//! The two lib0 encodings that framing needs: variable-length unsigned integers (7-bit
//! groups, low first) and length-prefixed strings and byte arrays. Source: `dmonad/lib0`.

/// Why bytes are not what the reader asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lib0Error {
    /// The input ended early.
    #[error("the message ends early")]
    Truncated,
    /// A number over 2^53 - 1, which JavaScript peers cannot hold.
    #[error("a number is too large")]
    TooLarge,
    /// A string that is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
}

/// The largest integer that every peer can represent.
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Reads values from the front of a byte slice without copying.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Everything not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all bytes were read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads a varUint of at most 2^53 - 1.
    pub fn var_uint(&mut self) -> Result<u64, Lib0Error> {
        let mut value: u64 = 0;
        for (index, &byte) in self.rest.iter().enumerate() {
            if index >= 8 {
                return Err(Lib0Error::TooLarge);
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                if value > MAX_SAFE_INTEGER {
                    return Err(Lib0Error::TooLarge);
                }
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(Lib0Error::Truncated)
    }

    /// Reads a length and that many bytes.
    pub fn var_bytes(&mut self) -> Result<&'a [u8], Lib0Error> {
        let length = self.var_uint()?;
        if length > self.rest.len() as u64 {
            return Err(Lib0Error::Truncated);
        }
        let (bytes, rest) = self.rest.split_at(length as usize);
        self.rest = rest;
        Ok(bytes)
    }

    /// Reads a length and that much UTF-8.
    pub fn var_string(&mut self) -> Result<&'a str, Lib0Error> {
        std::str::from_utf8(self.var_bytes()?).map_err(|_| Lib0Error::NotUtf8)
    }
}

/// Appends a varUint.
pub fn write_var_uint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length and the bytes.
pub fn write_var_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_var_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a length and the text.
pub fn write_var_string(out: &mut Vec<u8>, text: &str) {
    write_var_bytes(out, text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_round_trip(value in 0..=MAX_SAFE_INTEGER) {
            let mut out = Vec::new();
            write_var_uint(&mut out, value);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.var_uint(), Ok(value));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn any_bytes_are_refused_or_read_within_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            let _ = reader.var_uint();
            let _ = reader.var_string();
            prop_assert!(reader.rest().len() <= bytes.len());
        }
    }
}
