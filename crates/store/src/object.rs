//! The wrapping of every stored object: magic, version, kind, checksum, zstd.
//!
//! The wrapping is a skippable zstd frame in front of an ordinary one, so `zstd -dc` shows what
//! is inside any object. What does not check out is an error that names the key.

use bytes::Bytes;

use crate::blob::{BlobError, BlobStore};

/// Largest content of one object.
pub const MAX_OBJECT_BYTES: usize = 512 * 1024 * 1024;

const SKIPPABLE: u32 = 0x184d_2a57;
const MAGIC: &[u8; 4] = b"TNDM";
const VERSION: u16 = 1;
/// Magic, version, kind, zero, length of the content.
const FIELDS: usize = 16;
const HASH: usize = 32;
const WRAPPING: usize = 8 + FIELDS + HASH;
const LEVEL: i32 = 3;
/// Over this, packing and unpacking leave the runtime's threads.
const INLINE_BYTES: usize = 32 * 1024;

/// What an object holds. The numbers are stored and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ObjectKind {
    Manifest = 1,
    Snapshot = 2,
    Blob = 3,
    Bundle = 4,
    Catalogue = 5,
    Template = 6,
    Scrollback = 7,
    LogChunk = 8,
    Heartbeat = 9,
    Claim = 10,
    History = 16,
}

impl ObjectKind {
    const ALL: [Self; 11] = [
        Self::Manifest,
        Self::Snapshot,
        Self::Blob,
        Self::Bundle,
        Self::Catalogue,
        Self::Template,
        Self::Scrollback,
        Self::LogChunk,
        Self::Heartbeat,
        Self::Claim,
        Self::History,
    ];

    /// Knows every kind or does not compile: none is forgotten in [`Self::ALL`].
    #[cfg(test)]
    fn place(self) -> usize {
        match self {
            Self::Manifest => 0,
            Self::Snapshot => 1,
            Self::Blob => 2,
            Self::Bundle => 3,
            Self::Catalogue => 4,
            Self::Template => 5,
            Self::Scrollback => 6,
            Self::LogChunk => 7,
            Self::Heartbeat => 8,
            Self::Claim => 9,
            Self::History => 10,
        }
    }
}

/// Why an object can't be had. Nothing here may be taken for "there is none".
#[derive(Debug, Clone, thiserror::Error)]
pub enum ObjectError {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] BlobError),
    /// Something names it, and it is not there.
    #[error("the object {key} is missing in the blob store")]
    Missing {
        /// Its key.
        key: String,
    },
    /// Its bytes are not those that were stored.
    #[error("the object {key} is corrupt: {reason}")]
    Corrupt {
        /// Its key.
        key: String,
        /// What does not check out.
        reason: &'static str,
    },
    /// It is intact and this version does not understand it.
    #[error("the object {key} can't be read by this version: {reason}")]
    Unsupported {
        /// Its key.
        key: String,
        /// What is new to us.
        reason: String,
    },
    /// A key that does not belong to the repl it was used for.
    #[error("the key {key} belongs to something else")]
    Foreign {
        /// The key.
        key: String,
    },
    /// Over [`MAX_OBJECT_BYTES`].
    #[error("an object of {bytes} bytes is too large")]
    TooLarge {
        /// Length of the content.
        bytes: usize,
    },
    /// The runtime stopped while packing it.
    #[error("packing an object was interrupted")]
    Interrupted,
}

impl ObjectError {
    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retryable(),
            Self::Interrupted => true,
            _ => false,
        }
    }

    pub(crate) fn unsupported(key: &str, reason: impl std::fmt::Display) -> Self {
        Self::Unsupported { key: key.to_owned(), reason: reason.to_string() }
    }
}

/// Wraps `content`.
pub(crate) async fn pack(kind: ObjectKind, content: Bytes) -> Result<Bytes, ObjectError> {
    if content.len() > MAX_OBJECT_BYTES {
        return Err(ObjectError::TooLarge { bytes: content.len() });
    }
    aside(content.len(), move || pack_now(kind, &content)).await?
}

/// Unwraps what [`pack`] made.
pub(crate) async fn unpack(
    kind: ObjectKind,
    key: &str,
    object: Bytes,
) -> Result<Bytes, ObjectError> {
    let key = key.to_owned();
    aside(object.len(), move || unpack_now(kind, &key, &object)).await?
}

/// Checks an object whatever it holds: its form, its checksum, and that its content can be had.
/// The answer is what it says it is, and the content.
pub(crate) async fn verify(key: &str, object: Bytes) -> Result<(ObjectKind, Bytes), ObjectError> {
    let owned = key.to_owned();
    let said = object.get(14).copied().unwrap_or_default();
    let Some(kind) = ObjectKind::ALL.into_iter().find(|kind| *kind as u8 == said) else {
        // Flipped, or of a later version: the checksum knows.
        return match aside(object.len(), move || is_intact(&object)).await? {
            true => Err(ObjectError::unsupported(key, "it is of an unknown kind")),
            false => {
                Err(ObjectError::Corrupt { key: owned, reason: "its checksum does not match" })
            }
        };
    };
    let content = aside(object.len(), move || unpack_now(kind, &owned, &object)).await??;
    Ok((kind, content))
}

/// Reads and unwraps an object that something names.
pub(crate) async fn get(
    blobs: &dyn BlobStore,
    kind: ObjectKind,
    key: &str,
) -> Result<Bytes, ObjectError> {
    match blobs.get(key).await? {
        Some(object) => unpack(kind, key, object).await,
        None => Err(ObjectError::Missing { key: key.to_owned() }),
    }
}

/// Serialises with names, so that fields can be added later.
pub(crate) fn encode<T: serde::Serialize>(key: &str, value: &T) -> Result<Bytes, ObjectError> {
    match rmp_serde::to_vec_named(value) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(ObjectError::unsupported(key, error)),
    }
}

/// See [`encode`]. The bytes have passed their checksum: what we can't read is newer than us.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(
    key: &str,
    bytes: &[u8],
) -> Result<T, ObjectError> {
    rmp_serde::from_slice(bytes).map_err(|error| ObjectError::unsupported(key, error))
}

/// The random end of a key, which makes it unique.
pub(crate) fn suffix() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// Runs `work` here when it is short, else beside the runtime.
pub(crate) async fn aside<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ObjectError> {
    if bytes <= INLINE_BYTES {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| ObjectError::Interrupted)
}

fn pack_now(kind: ObjectKind, content: &[u8]) -> Result<Bytes, ObjectError> {
    let mut out = vec![0u8; WRAPPING + zstd::zstd_safe::compress_bound(content.len())];
    out[..4].copy_from_slice(&SKIPPABLE.to_le_bytes());
    out[4..8].copy_from_slice(&((FIELDS + HASH) as u32).to_le_bytes());
    out[8..12].copy_from_slice(MAGIC);
    out[12..14].copy_from_slice(&VERSION.to_le_bytes());
    out[14] = kind as u8;
    out[16..24].copy_from_slice(&(content.len() as u64).to_le_bytes());
    let packed = zstd::bulk::compress_to_buffer(content, &mut out[WRAPPING..], LEVEL)
        .map_err(|_| ObjectError::TooLarge { bytes: content.len() })?;
    out.truncate(WRAPPING + packed);
    let hash = checksum(&out);
    out[24..WRAPPING].copy_from_slice(&hash);
    out.shrink_to_fit();
    Ok(out.into())
}

fn unpack_now(kind: ObjectKind, key: &str, object: &[u8]) -> Result<Bytes, ObjectError> {
    let corrupt = |reason| ObjectError::Corrupt { key: key.to_owned(), reason };
    let Some((wrapping, packed)) = object.split_at_checked(WRAPPING) else {
        return Err(corrupt("it is too short"));
    };
    if wrapping[..4] != SKIPPABLE.to_le_bytes() || &wrapping[8..12] != MAGIC {
        return Err(corrupt("it does not start as our objects do"));
    }
    let version = u16::from_le_bytes([wrapping[12], wrapping[13]]);
    // The layout up to the checksum is the same in every version, so this is known to be true
    // before a version is believed.
    if checksum(object) != wrapping[24..WRAPPING] {
        return Err(corrupt("its checksum does not match"));
    }
    if version != VERSION {
        return Err(ObjectError::unsupported(key, format!("it has version {version}")));
    }
    if wrapping[14] != kind as u8 {
        return Err(corrupt("it is another kind of object"));
    }
    let mut length = [0u8; 8];
    length.copy_from_slice(&wrapping[16..24]);
    let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_OBJECT_BYTES {
        return Err(corrupt("it claims to be too large"));
    }
    match zstd::bulk::decompress(packed, length) {
        Ok(content) if content.len() == length => Ok(content.into()),
        _ => Err(corrupt("it can't be decompressed")),
    }
}

fn is_intact(object: &[u8]) -> bool {
    object.len() >= WRAPPING && object[8..12] == *MAGIC && checksum(object) == object[24..WRAPPING]
}

fn checksum(object: &[u8]) -> [u8; HASH] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&object[..8 + FIELDS]);
    hasher.update(&object[WRAPPING..]);
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn content_comes_back_and_every_flipped_byte_is_noticed() {
        for content in [&b""[..], b"x", &[7; 100_000]] {
            let content = Bytes::copy_from_slice(content);
            let object = pack(ObjectKind::Blob, content.clone()).await.unwrap();
            assert_eq!(unpack(ObjectKind::Blob, "k", object.clone()).await.unwrap(), content);
            let plain = zstd::stream::decode_all(&object[..]).unwrap();
            assert_eq!(plain, content, "readable by any zstd");
            for at in 0..object.len() {
                let mut bad = object.to_vec();
                bad[at] ^= 1;
                let error = unpack(ObjectKind::Blob, "k", bad.into()).await;
                // The length of the skippable frame is for other programs only.
                assert!(error.is_err() || (4..8).contains(&at), "byte {at}");
                assert!(unpack(ObjectKind::Blob, "k", object.slice(..at)).await.is_err());
            }
            assert!(unpack(ObjectKind::Manifest, "k", object).await.is_err());
        }
    }

    #[tokio::test]
    async fn every_kind_is_verified_and_an_unknown_one_is_not_called_corrupt() {
        for (place, kind) in ObjectKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.place(), place);
            let object = pack(kind, Bytes::from_static(b"x")).await.unwrap();
            assert_eq!(verify("k", object.clone()).await.unwrap().0, kind);
            let mut bad = object.to_vec();
            bad[14] = 200;
            let error = verify("k", bad.clone().into()).await.unwrap_err();
            assert!(matches!(error, ObjectError::Corrupt { .. }), "{error}");
            let hash = checksum(&bad);
            bad[24..WRAPPING].copy_from_slice(&hash);
            let error = verify("k", bad.into()).await.unwrap_err();
            assert!(matches!(error, ObjectError::Unsupported { .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn a_newer_version_is_not_called_corrupt() {
        let mut object = pack(ObjectKind::Blob, Bytes::from_static(b"x")).await.unwrap().to_vec();
        object[12] = 2;
        let hash = checksum(&object);
        object[24..WRAPPING].copy_from_slice(&hash);
        let error = unpack(ObjectKind::Blob, "k", object.into()).await.unwrap_err();
        assert!(matches!(error, ObjectError::Unsupported { .. }), "{error}");
    }
}
