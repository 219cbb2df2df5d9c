//! The form of an archive: a head, frames, an end.
//!
//! ```text
//! "TANDEM BACKUP\n"  version u16 LE
//! frame: tag u8, key length u32 LE, payload length u64 LE, blake3 of tag, key and payload; key; payload
//! ```
//! Tags: 1 a repl begins (key: its id), 2 an object, 3 the repl is whole, 4 the archive is whole
//! (payload: how many objects, u64 LE, and the blake3 of all frames' hashes).

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::BackupError;
use crate::object::MAX_OBJECT_BYTES;

/// Version of the form.
pub const VERSION: u16 = 1;
const MAGIC: &[u8] = b"TANDEM BACKUP\n";
const HEAD: usize = 1 + 4 + 8 + 32;
const MAX_KEY: usize = 1024;
/// A stored object: its content, what compression may add at worst, its wrapping.
const MAX_PAYLOAD: u64 = MAX_OBJECT_BYTES as u64 + (8 << 20);

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A repl begins.
    Repl(String),
    /// An object and its key.
    Object(String, Bytes),
    /// All objects of the repl were there.
    ReplEnd(String),
}

fn written(source: std::io::Error) -> BackupError {
    BackupError::Io { action: "written", source }
}

/// Writes an archive.
pub struct Writer<W> {
    to: W,
    all: blake3::Hasher,
    objects: u64,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Begins an archive.
    pub async fn new(mut to: W) -> Result<Self, BackupError> {
        to.write_all(MAGIC).await.map_err(written)?;
        to.write_all(&VERSION.to_le_bytes()).await.map_err(written)?;
        Ok(Self { to, all: blake3::Hasher::new(), objects: 0 })
    }

    /// Adds a frame.
    pub async fn put(&mut self, frame: &Frame) -> Result<(), BackupError> {
        match frame {
            Frame::Repl(repl) => self.write(1, repl, &[]).await,
            Frame::Object(key, object) => {
                self.objects += 1;
                self.write(2, key, object).await
            }
            Frame::ReplEnd(repl) => self.write(3, repl, &[]).await,
        }
    }

    /// Ends the archive: without this it is not whole.
    pub async fn end(mut self) -> Result<W, BackupError> {
        let mut payload = self.objects.to_le_bytes().to_vec();
        payload.extend_from_slice(self.all.clone().finalize().as_bytes());
        self.write(4, "", &payload).await?;
        self.to.flush().await.map_err(written)?;
        Ok(self.to)
    }

    async fn write(&mut self, tag: u8, key: &str, payload: &[u8]) -> Result<(), BackupError> {
        let hash = frame_hash(tag, key, payload);
        self.all.update(&hash);
        let mut head = Vec::with_capacity(HEAD + key.len());
        head.push(tag);
        head.extend_from_slice(&(key.len() as u32).to_le_bytes());
        head.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        head.extend_from_slice(&hash);
        head.extend_from_slice(key.as_bytes());
        self.to.write_all(&head).await.map_err(written)?;
        self.to.write_all(payload).await.map_err(written)
    }
}

fn frame_hash(tag: u8, key: &str, payload: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[tag]);
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key.as_bytes());
    hasher.update(payload);
    *hasher.finalize().as_bytes()
}

/// Reads an archive.
pub struct Reader<R> {
    from: R,
    at: u64,
    all: blake3::Hasher,
    objects: u64,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Begins to read.
    pub async fn new(mut from: R) -> Result<Self, BackupError> {
        let mut head = [0; MAGIC.len() + 2];
        from.read_exact(&mut head).await.map_err(|_| BackupError::NoArchive)?;
        let (magic, version) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(BackupError::NoArchive);
        }
        let version = u16::from_le_bytes([version[0], version[1]]);
        if version != VERSION {
            return Err(BackupError::Version(version));
        }
        Ok(Self { from, at: head.len() as u64, all: blake3::Hasher::new(), objects: 0 })
    }

    /// What is wrong here.
    pub fn damaged(&self, reason: &'static str) -> BackupError {
        BackupError::Damaged { at: self.at, reason }
    }

    async fn exactly(&mut self, length: usize) -> Result<Vec<u8>, BackupError> {
        // Room is made as bytes come: a length is only a claim.
        let mut bytes = Vec::with_capacity(length.min(1 << 20));
        let read = (&mut self.from).take(length as u64).read_to_end(&mut bytes).await;
        let read = read.map_err(|source| BackupError::Io { action: "read", source })?;
        self.at += read as u64;
        match read == length {
            true => Ok(bytes),
            false => Err(self.damaged("it ends too early")),
        }
    }

    /// The next frame; `None` when the archive was read as a whole.
    pub async fn next(&mut self) -> Result<Option<Frame>, BackupError> {
        let head = self.exactly(HEAD).await?;
        let tag = head[0];
        let key_length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut length = [0; 8];
        length.copy_from_slice(&head[5..13]);
        let length = u64::from_le_bytes(length);
        if key_length > MAX_KEY || length > MAX_PAYLOAD {
            return Err(self.damaged("a length is out of bounds"));
        }
        let key = self.exactly(key_length).await?;
        let payload = self.exactly(usize::try_from(length).unwrap_or(usize::MAX)).await?;
        let key = String::from_utf8(key).map_err(|_| self.damaged("a key is no text"))?;
        let hash = frame_hash(tag, &key, &payload);
        if hash != head[13..HEAD] {
            return Err(self.damaged("a checksum does not match"));
        }
        let before = self.all.clone().finalize();
        self.all.update(&hash);
        match tag {
            1 => Ok(Some(Frame::Repl(key))),
            2 => {
                self.objects += 1;
                Ok(Some(Frame::Object(key, payload.into())))
            }
            3 => Ok(Some(Frame::ReplEnd(key))),
            4 => {
                let mut expected = self.objects.to_le_bytes().to_vec();
                expected.extend_from_slice(before.as_bytes());
                match payload == expected {
                    true => Ok(None),
                    false => Err(self.damaged("frames are missing or were added")),
                }
            }
            _ => Err(self.damaged("an unknown kind of frame")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sample() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new()).await.unwrap();
        for frame in frames() {
            writer.put(&frame).await.unwrap();
        }
        writer.end().await.unwrap()
    }

    fn frames() -> [Frame; 3] {
        [
            Frame::Repl("a".to_owned()),
            Frame::Object("repls/a/b/1".to_owned(), Bytes::from_static(b"content")),
            Frame::ReplEnd("a".to_owned()),
        ]
    }

    async fn read(bytes: &[u8]) -> Result<Vec<Frame>, BackupError> {
        let mut reader = Reader::new(bytes).await?;
        let mut frames = Vec::new();
        while let Some(frame) = reader.next().await? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[tokio::test]
    async fn what_is_written_is_read_and_every_flipped_or_missing_byte_is_noticed() {
        let bytes = sample().await;
        assert_eq!(read(&bytes).await.unwrap(), frames());
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(read(&bad).await.is_err(), "byte {at}");
            assert!(read(&bytes[..at]).await.is_err(), "cut at {at}");
        }
    }

    #[tokio::test]
    async fn a_claimed_length_makes_no_room() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.push(2);
        bytes.extend_from_slice(&3_u32.to_le_bytes());
        bytes.extend_from_slice(&MAX_PAYLOAD.to_le_bytes());
        bytes.extend_from_slice(&[0; 40]);
        assert!(matches!(read(&bytes).await, Err(BackupError::Damaged { .. })));
        assert!(matches!(
            read(b"PK\x03\x04 and so on, long enough").await,
            Err(BackupError::NoArchive)
        ));
    }
}
