//! Frames: a little-endian length and that many bytes of MessagePack with named fields.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tandem_proto::limits::MAX_AGENT_FRAME_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("the connection ended")]
    Io(#[from] std::io::Error),
    #[error("a frame of {0} bytes is too large")]
    TooLarge(usize),
    #[error("a frame is not understood")]
    Decode(#[from] rmp_serde::decode::Error),
    #[error("a frame cannot be written")]
    Encode(#[from] rmp_serde::encode::Error),
}

/// A frame with its length in front.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut out = vec![0; 4];
    let mut serializer = rmp_serde::Serializer::new(&mut out).with_struct_map();
    message.serialize(&mut serializer)?;
    let length = out.len() - 4;
    if length > MAX_AGENT_FRAME_BYTES {
        return Err(FrameError::TooLarge(length));
    }
    let length = u32::try_from(length).map_err(|_| FrameError::TooLarge(length))?;
    out[..4].copy_from_slice(&length.to_le_bytes());
    Ok(out)
}

/// Writes one frame.
pub async fn write<T: Serialize>(
    writer: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<(), FrameError> {
    writer.write_all(&encode(message)?).await?;
    Ok(())
}

/// Reads one frame; `None` when the connection ended between frames. Not cancel safe.
pub async fn read<T: DeserializeOwned>(
    reader: &mut (impl AsyncRead + Unpin),
) -> Result<Option<T>, FrameError> {
    let mut length = [0; 4];
    match reader.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_AGENT_FRAME_BYTES {
        return Err(FrameError::TooLarge(length));
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).await?;
    Ok(Some(rmp_serde::from_slice(&bytes)?))
}
