//! The sync messages of y-protocols: `[0 step1 | 1 step2 | 2 update][bytes]`.

use crate::lib0::{Reader, write_bytes};

/// One message; the bytes are not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMessage<'a> {
    /// The sender's state vector; asks for a step 2.
    Step1(&'a [u8]),
    /// What the receiver of a step 1 lacks, as an update.
    Step2(&'a [u8]),
    /// An edit, as an update.
    Update(&'a [u8]),
}

/// Why bytes are not a sync message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// The message type is none of the three.
    #[error("unknown sync message type")]
    UnknownType,
    /// It ends early, or a number is not well formed.
    #[error("malformed sync message")]
    Malformed,
    /// Bytes follow the message.
    #[error("bytes follow the sync message")]
    Trailing,
}

/// Parses exactly one message.
///
/// # Errors
/// See [`SyncError`].
pub fn parse(bytes: &[u8]) -> Result<SyncMessage<'_>, SyncError> {
    let mut reader = Reader::new(bytes);
    let kind = reader.byte().map_err(|_| SyncError::Malformed)?;
    if kind > 2 {
        return Err(SyncError::UnknownType);
    }
    let body = reader.bytes().map_err(|_| SyncError::Malformed)?;
    if !reader.is_empty() {
        return Err(SyncError::Trailing);
    }
    Ok(match kind {
        0 => SyncMessage::Step1(body),
        1 => SyncMessage::Step2(body),
        _ => SyncMessage::Update(body),
    })
}

impl SyncMessage<'_> {
    /// Appends the message to `out`, which may hold the start of a frame.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let (kind, body) = match self {
            Self::Step1(body) => (0, body),
            Self::Step2(body) => (1, body),
            Self::Update(body) => (2, body),
        };
        out.reserve(body.len() + 6);
        out.push(kind);
        write_bytes(out, body);
    }

    /// The message alone.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn malformed_messages_are_errors() {
        assert_eq!(parse(&[]), Err(SyncError::Malformed));
        assert_eq!(parse(&[3, 0]), Err(SyncError::UnknownType));
        assert_eq!(parse(&[0, 2, 0]), Err(SyncError::Malformed));
        assert_eq!(parse(&[0, 1, 0, 0]), Err(SyncError::Trailing));
        assert_eq!(parse(&[0, 1, 0]), Ok(SyncMessage::Step1(&[0])));
    }

    proptest! {
        #[test]
        fn messages_round_trip(kind in 0..3, body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let message = match kind {
                0 => SyncMessage::Step1(&body),
                1 => SyncMessage::Step2(&body),
                _ => SyncMessage::Update(&body),
            };
            let bytes = message.encode();
            prop_assert_eq!(parse(&bytes), Ok(message));
        }
    }
}
