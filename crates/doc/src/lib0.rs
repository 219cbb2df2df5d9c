//! The lib0 primitives of the v1 encoding, read strictly: a number has one encoding only, so
//! that no two decoders (ours, yrs, lib0 in JavaScript) can understand the same bytes
//! differently. Honest encoders never produce another form.

/// Why a primitive could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lib0Error {
    /// The input ends inside the value.
    Truncated,
    /// The number is over the reader's bound or not in its shortest form.
    Number,
    /// The string is not UTF-8.
    NotUtf8,
}

/// Reads from the front of a byte slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes were not read yet.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Lib0Error> {
        let (&first, rest) = self.rest.split_first().ok_or(Lib0Error::Truncated)?;
        self.rest = rest;
        Ok(first)
    }

    /// A varUint of at most `max`, which is below 2^56.
    pub(crate) fn number(&mut self, max: u64) -> Result<u64, Lib0Error> {
        let mut value = 0u64;
        for index in 0..8 {
            let byte = *self.rest.get(index).ok_or(Lib0Error::Truncated)?;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                if value > max || (byte == 0 && index > 0) {
                    return Err(Lib0Error::Number);
                }
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(Lib0Error::Number)
    }

    /// A varUint of at most `max`.
    pub(crate) fn number32(&mut self, max: u32) -> Result<u32, Lib0Error> {
        // The bound makes the cast exact.
        Ok(self.number(u64::from(max))? as u32)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Lib0Error> {
        let length = self.number(u64::from(u32::MAX))?;
        let length = usize::try_from(length).map_err(|_| Lib0Error::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Lib0Error::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, Lib0Error> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Lib0Error::NotUtf8)
    }
}

/// Appends a varUint.
pub(crate) fn write_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length and the bytes.
pub(crate) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_round_trip(value in 0u64..1 << 53) {
            let mut out = Vec::new();
            write_number(&mut out, value);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.number((1 << 53) - 1), Ok(value));
            prop_assert!(reader.is_empty());
            if value > 0 {
                prop_assert_eq!(Reader::new(&out).number(value - 1), Err(Lib0Error::Number));
            }
        }
    }

    #[test]
    fn only_the_shortest_form_is_read() {
        assert_eq!(Reader::new(&[0x80, 0]).number(10), Err(Lib0Error::Number));
        assert_eq!(Reader::new(&[0]).number(10), Ok(0));
        assert_eq!(Reader::new(&[0xff; 16]).number((1 << 53) - 1), Err(Lib0Error::Number));
        assert_eq!(Reader::new(&[0x80]).number(10), Err(Lib0Error::Truncated));
        assert_eq!(Reader::new(&[1, 0xff]).string(), Err(Lib0Error::NotUtf8));
        assert_eq!(Reader::new(&[9, b'a']).string(), Err(Lib0Error::Truncated));
    }
}
