//! Frames on the sockets to an agent: a length, then MessagePack, from hostile bytes.
//!
//! A frame is bounded before it is buffered, and its shape is counted before it is decoded: a
//! few bytes of MessagePack can announce a structure that takes a hundred times their size in
//! memory, so the number of values and their depth are limited first.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Most values (strings, numbers, containers, keys) in one frame. A scan chunk of 1,000 entries
/// has about 25,000.
const MAX_VALUES: u64 = 200_000;
/// Deepest nesting of arrays and maps.
const MAX_DEPTH: usize = 24;
const LENGTH_BYTES: usize = 4;

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Above the bound of this connection.
    #[error("a frame of {length} bytes is above the bound of {max}")]
    TooLarge {
        /// Announced.
        length: usize,
        /// Allowed.
        max: usize,
    },
    /// Not MessagePack, too many values in it, or bytes behind it.
    #[error("a frame is malformed: {0}")]
    Shape(&'static str),
    /// MessagePack, but not the message that belongs here.
    #[error("a frame is not the expected message: {0}")]
    Message(String),
    /// The stream ended inside a frame.
    #[error("the connection ended inside a frame")]
    Cut,
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

/// Encodes a message as one frame.
pub(crate) fn encode<T: Serialize>(message: &T, max: usize) -> Result<Bytes, FrameError> {
    let mut frame = vec![0; LENGTH_BYTES];
    rmp_serde::encode::write_named(&mut frame, message)
        .map_err(|error| FrameError::Message(error.to_string()))?;
    let length = frame.len() - LENGTH_BYTES;
    if length > max {
        return Err(FrameError::TooLarge { length, max });
    }
    let announced = u32::try_from(length)
        .map_err(|_| FrameError::TooLarge { length, max: u32::MAX as usize })?;
    frame[..LENGTH_BYTES].copy_from_slice(&announced.to_le_bytes());
    Ok(frame.into())
}

/// Takes one whole frame off the front of `buffer`; `None` when more bytes are needed.
pub(crate) fn decode<T: DeserializeOwned>(
    buffer: &mut BytesMut,
    max: usize,
) -> Result<Option<T>, FrameError> {
    let Some(header) = buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_le_bytes(*header) as usize;
    if length > max {
        return Err(FrameError::TooLarge { length, max });
    }
    if buffer.len() < LENGTH_BYTES + length {
        return Ok(None);
    }
    buffer.advance(LENGTH_BYTES);
    let body = buffer.split_to(length);
    check_shape(&body)?;
    rmp_serde::from_slice(&body).map(Some).map_err(|error| FrameError::Message(error.to_string()))
}

/// Reads frames from one half of a connection. [`FrameReader::next`] is cancel-safe.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    io: R,
    buffer: BytesMut,
    max: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(io: R, buffer: BytesMut, max: usize) -> Self {
        Self { io, buffer, max }
    }

    /// The next message, `None` at a clean end. Bytes are buffered as they come, never because
    /// a header announced them.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        Ok(self.next_sized().await?.map(|(message, _)| message))
    }

    /// [`FrameReader::next`] with the size the frame had.
    pub(crate) async fn next_sized<T: DeserializeOwned>(
        &mut self,
    ) -> Result<Option<(T, usize)>, FrameError> {
        loop {
            let before = self.buffer.len();
            if let Some(message) = decode(&mut self.buffer, self.max)? {
                return Ok(Some((message, before - self.buffer.len())));
            }
            if self.io.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(FrameError::Cut) };
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn io_mut(&mut self) -> &mut R {
        &mut self.io
    }

    /// The connection and what was read from it beyond the last frame.
    pub(crate) fn into_parts(self) -> (R, BytesMut) {
        (self.io, self.buffer)
    }
}

/// Walks MessagePack without building anything: exactly one value, bounded in number of parts
/// and in depth.
fn check_shape(mut rest: &[u8]) -> Result<(), FrameError> {
    const CUT: FrameError = FrameError::Shape("it ends early");
    // How many values each open container still waits for.
    let mut open = [0u64; MAX_DEPTH];
    open[0] = 1;
    let mut depth = 0;
    let mut values = 0u64;
    loop {
        while open[depth] == 0 {
            if depth == 0 {
                let whole = rest.is_empty();
                return if whole { Ok(()) } else { Err(FrameError::Shape("bytes behind it")) };
            }
            depth -= 1;
        }
        open[depth] -= 1;
        values += 1;
        if values > MAX_VALUES {
            return Err(FrameError::Shape("too many values"));
        }
        let (&marker, tail) = rest.split_first().ok_or(CUT)?;
        rest = tail;
        let mut size = |bytes: usize| -> Result<u64, FrameError> {
            let (head, tail) = rest.split_at_checked(bytes).ok_or(CUT)?;
            rest = tail;
            Ok(head.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
        };
        let (skip, inside) = match marker {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (0, 0),
            0x80..=0x8f => (0, 2 * u64::from(marker & 0x0f)),
            0x90..=0x9f => (0, u64::from(marker & 0x0f)),
            0xa0..=0xbf => (u64::from(marker & 0x1f), 0),
            0xc1 => return Err(FrameError::Shape("a reserved byte")),
            0xc4 | 0xd9 => (size(1)?, 0),
            0xc5 | 0xda => (size(2)?, 0),
            0xc6 | 0xdb => (size(4)?, 0),
            0xc7 => (size(1)? + 1, 0),
            0xc8 => (size(2)? + 1, 0),
            0xc9 => (size(4)? + 1, 0),
            0xcc | 0xd0 => (1, 0),
            0xcd | 0xd1 => (2, 0),
            0xca | 0xce | 0xd2 => (4, 0),
            0xcb | 0xcf | 0xd3 => (8, 0),
            0xd4..=0xd8 => ((1 << (marker - 0xd4)) + 1, 0),
            0xdc => (0, size(2)?),
            0xdd => (0, size(4)?),
            0xde => (0, 2 * size(2)?),
            0xdf => (0, 2 * size(4)?),
        };
        let skip = usize::try_from(skip).map_err(|_| CUT)?;
        rest = rest.get(skip..).ok_or(CUT)?;
        if inside > 0 {
            depth += 1;
            *open.get_mut(depth).ok_or(FrameError::Shape("too deep"))? = inside;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tandem_proto::RelPath;
    use tandem_proto::agent::{Dial, Event, FromAgent, TerminalOutput};

    use super::*;

    const MAX: usize = 1 << 16;

    fn body(bytes: &[u8]) -> BytesMut {
        let mut frame = BytesMut::from(&(bytes.len() as u32).to_le_bytes()[..]);
        frame.extend_from_slice(bytes);
        frame
    }

    #[test]
    fn a_frame_round_trips_and_waits_for_its_end() {
        let message =
            FromAgent::Event(Event::Changed { paths: vec![RelPath::parse("a/b.txt").unwrap()] });
        let frame = encode(&message, MAX).unwrap();
        for cut in 0..frame.len() {
            let mut partial = BytesMut::from(&frame[..cut]);
            assert!(decode::<FromAgent>(&mut partial, MAX).unwrap().is_none(), "{cut}");
            assert_eq!(partial.len(), cut, "nothing is consumed");
        }
        let mut two = BytesMut::from(&frame[..]);
        two.extend_from_slice(&frame);
        for _ in 0..2 {
            let decoded = decode::<FromAgent>(&mut two, MAX).unwrap();
            assert!(matches!(decoded, Some(FromAgent::Event(Event::Changed { .. }))));
        }
        assert!(two.is_empty());
    }

    #[test]
    fn hostile_frames_are_refused() {
        let mut huge = BytesMut::from(&u32::MAX.to_le_bytes()[..]);
        assert!(matches!(decode::<Dial>(&mut huge, MAX), Err(FrameError::TooLarge { .. })));
        for (bytes, why) in [
            (&[][..], "empty"),
            (&[0xc1], "reserved"),
            (&[0xdd, 0xff, 0xff, 0xff, 0xff], "four billion values"),
            (&[0xdb, 0xff, 0xff, 0xff, 0xff, b'a'], "a string of 4 GB"),
            (&[0x01, 0x02], "two values"),
            (&[0x91; 200], "deep"),
            (&[0xc0], "not a message"),
        ] {
            assert!(decode::<FromAgent>(&mut body(bytes), MAX).is_err(), "{why}");
        }
        // A path that leaves the workspace is no message at all.
        let bad = rmp_serde::to_vec_named(&serde_json::json!({
            "Event": {"Changed": {"paths": ["../../etc/passwd"]}}
        }))
        .unwrap();
        assert!(matches!(decode::<FromAgent>(&mut body(&bad), MAX), Err(FrameError::Message(_))));
    }

    #[test]
    fn many_small_values_are_refused_before_they_take_memory() {
        let mut array = vec![0xdd];
        array.extend_from_slice(&1_000_000u32.to_be_bytes());
        array.extend(std::iter::repeat_n(0x01, 1_000_000));
        let refused = decode::<FromAgent>(&mut body(&array), 2 << 20);
        assert!(matches!(refused, Err(FrameError::Shape("too many values"))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut raw = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = decode::<FromAgent>(&mut raw, MAX) {}
            let _ = decode::<FromAgent>(&mut body(&bytes), MAX);
            let _ = decode::<Dial>(&mut body(&bytes), MAX);
            let _ = decode::<TerminalOutput>(&mut body(&bytes), MAX);
        }

        #[test]
        fn a_damaged_frame_is_survived(at in 0usize..64, byte in any::<u8>()) {
            let message = TerminalOutput::Chunk { offset: 77, bytes: Bytes::from_static(b"hello") };
            let mut frame = BytesMut::from(&encode(&message, MAX).unwrap()[..]);
            let at = at % frame.len();
            frame[at] = byte;
            let _ = decode::<TerminalOutput>(&mut frame, MAX);
        }

        #[test]
        fn the_shape_check_refuses_nothing_that_is_encoded(
            names in proptest::collection::vec("[a-z]{1,300}", 0..20),
            offset in any::<u64>(),
            payload in proptest::collection::vec(any::<u8>(), 0..2_000),
        ) {
            let paths = names.iter().filter_map(|name| RelPath::parse(name).ok()).collect();
            let mut frame = BytesMut::from(
                &encode(&FromAgent::Event(Event::Changed { paths }), 1 << 20).unwrap()[..],
            );
            prop_assert!(decode::<FromAgent>(&mut frame, 1 << 20).unwrap().is_some());
            let chunk = TerminalOutput::Chunk { offset, bytes: payload.into() };
            let mut frame = BytesMut::from(&encode(&chunk, 1 << 20).unwrap()[..]);
            prop_assert!(decode::<TerminalOutput>(&mut frame, 1 << 20).unwrap().is_some());
        }
    }
}
