//! Secrets that people and programs present. Only their hashes are stored; a secret is
//! printed nowhere.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore as _;
use rand::rngs::OsRng;

/// Longest token that is looked at.
const MAX_TOKEN_LEN: usize = 512;

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub(crate) struct NoRandomness;

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A secret in clear.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    /// A new secret of 256 bits.
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        Ok(Self(URL_SAFE_NO_PAD.encode(random::<32>()?)))
    }

    /// What somebody presented; `None` when it cannot be a token.
    pub(crate) fn presented(text: &str) -> Option<Self> {
        let text = text.trim();
        let plausible = !text.is_empty()
            && text.len() <= MAX_TOKEN_LEN
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        plausible.then(|| Self(text.to_owned()))
    }

    /// The secret itself, to hand to its owner.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored and compared.
    pub(crate) fn hash(&self) -> TokenHash {
        TokenHash(blake3::hash(self.0.as_bytes()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Hash of a [`Token`]. Comparing two takes the same time wherever they differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TokenHash(blake3::Hash);

impl TokenHash {
    /// The stored form.
    pub(crate) fn to_text(self) -> String {
        self.0.to_hex().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_hide() {
        let first = Token::generate().unwrap();
        let second = Token::generate().unwrap();
        assert_ne!(first.hash(), second.hash());
        assert_eq!(first.reveal().len(), 43);
        assert!(!format!("{first:?}").contains(first.reveal()));
        assert_eq!(Token::presented(first.reveal()).unwrap().hash(), first.hash());
    }

    #[test]
    fn what_cannot_be_a_token_is_not_hashed() {
        for bad in ["", "  ", "a b", "ä", "a\0", &"x".repeat(513)] {
            assert!(Token::presented(bad).is_none(), "{bad}");
        }
    }
}
