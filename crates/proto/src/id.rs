//! Identifiers as newtypes: parsed once at the edge, never re-checked.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Length in characters of every random identifier.
pub const RANDOM_ID_LEN: usize = 16;

/// The alphabet of random identifiers: lower-case RFC 4648 base32, so that an identifier
/// is a DNS label, a file name and a URL segment without escaping.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Why a string is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} must be {RANDOM_ID_LEN} characters of a-z and 2-7")]
pub struct IdError {
    kind: &'static str,
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ts_rs::TS)]
        #[ts(type = "string")]
        pub struct $name([u8; RANDOM_ID_LEN]);

        impl $name {
            /// Makes an identifier from 10 random bytes (80 bits).
            pub fn from_random(random: [u8; 10]) -> Self {
                let mut out = [0u8; RANDOM_ID_LEN];
                let mut bits: u128 = 0;
                for byte in random {
                    bits = (bits << 8) | u128::from(byte);
                }
                for (index, slot) in out.iter_mut().enumerate() {
                    *slot = ALPHABET[((bits >> (75 - 5 * index)) & 31) as usize];
                }
                Self(out)
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                // Only bytes of ALPHABET are ever stored.
                std::str::from_utf8(&self.0).unwrap_or_default()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let bytes: [u8; RANDOM_ID_LEN] =
                    text.as_bytes().try_into().map_err(|_| IdError { kind: $kind })?;
                if bytes.iter().all(|byte| ALPHABET.contains(byte)) {
                    Ok(Self(bytes))
                } else {
                    Err(IdError { kind: $kind })
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

random_id!(
    /// A repl: a project with its files, history and members. Also the DNS label of its preview.
    ReplId, "a repl id"
);
random_id!(
    /// A file or folder of a repl, independent of its path. The guid of its document.
    FileId, "a file id"
);
random_id!(
    /// A person or guest.
    MemberId, "a member id"
);
random_id!(
    /// One terminal (shell or console) of a repl.
    TerminalId, "a terminal id"
);
random_id!(
    /// A node process's durable identity, kept in its data directory.
    NodeId, "a node id"
);
random_id!(
    /// One launched sandbox. A repl that is closed and opened again gets a new one.
    SandboxId, "a sandbox id"
);
random_id!(
    /// A share link (not its secret token).
    LinkId, "a link id"
);
random_id!(
    /// A saved state of a whole repl that people can go back to.
    CheckpointId, "a checkpoint id"
);

impl MemberId {
    /// Author of what programs in a sandbox write to files. No person has it: people's ids are
    /// random.
    pub const PROGRAM: MemberId = MemberId(*b"aprogramaaaaaaaa");
}

impl FileId {
    /// The folder that holds a repl's top-level files.
    pub const ROOT: FileId = FileId(*b"aaaaaaaaaaaaaaaa");
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
            ts_rs::TS,
        )]
        #[serde(transparent)]
        #[ts(type = "number")]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_id!(
    /// Position of a record in one node's log within one boot. Never compare LSNs of two boots.
    Lsn
);
number_id!(
    /// Which opening of a repl, counted over all nodes. Higher is newer.
    Epoch
);
number_id!(
    /// Which history of a document: a new generation shares no Yjs history with an older one.
    Generation
);

/// One start of a node process: 64 random bits, written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BootId(pub u64);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BootId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() != 16 {
            return Err(IdError { kind: "a boot id" });
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| IdError { kind: "a boot id" })
    }
}

impl Serialize for BootId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BootId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_round_trip_and_use_every_bit() {
        let zero = ReplId::from_random([0; 10]);
        let ones = ReplId::from_random([0xff; 10]);
        assert_eq!(zero.as_str(), "aaaaaaaaaaaaaaaa");
        assert_eq!(ones.as_str(), "7777777777777777");
        let first = ReplId::from_random([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(first.as_str(), "qaaaaaaaaaaaaaab");
        assert_eq!(first.to_string().parse::<ReplId>(), Ok(first));
    }

    #[test]
    fn other_text_is_refused() {
        for bad in [
            "",
            "short",
            "AAAAAAAAAAAAAAAA",
            "aaaaaaaaaaaaaaa1",
            "aaaaaaaaaaaaaaaaa",
            "../aaaaaaaaaaaaa",
        ] {
            assert!(bad.parse::<FileId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn serde_uses_the_text() {
        let id = FileId::ROOT;
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"aaaaaaaaaaaaaaaa\"");
        assert_eq!(serde_json::from_str::<FileId>("\"aaaaaaaaaaaaaaaa\"").unwrap(), id);
        assert!(serde_json::from_str::<FileId>("\"no\"").is_err());
        assert_eq!(serde_json::to_string(&BootId(255)).unwrap(), "\"00000000000000ff\"");
    }
}
