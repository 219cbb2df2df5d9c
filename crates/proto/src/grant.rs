//! Grants: how web tells a node who is asking and what they may do. Signed by web with
//! Ed25519; a node holds only the public key and trusts nothing else.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::id::{MemberId, NodeId, ReplId};
use crate::limits;
use crate::role::Role;

/// The request header that carries a grant from web to node.
pub const HEADER: &str = "x-tandem-grant";

/// One person's right on one repl at one node, for at most [`limits::GRANT_LIFETIME`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Who asks.
    pub member: MemberId,
    /// Their display name.
    pub name: String,
    /// Their colour, `#rrggbb`.
    pub colour: String,
    /// On which repl.
    pub repl: ReplId,
    /// What they may do there.
    pub role: Role,
    /// The node this grant is for.
    pub node: NodeId,
    /// Milliseconds since the Unix epoch after which it is void.
    pub expires_ms: u64,
}

/// Why a grant is not honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Not a grant, or not signed by web.
    #[error("the grant is not valid")]
    Invalid,
    /// Too old.
    #[error("the grant has expired")]
    Expired,
    /// For another node.
    #[error("the grant is for another node")]
    WrongNode,
}

/// Web's half: signs grants.
#[derive(Clone)]
pub struct GrantSigner {
    key: SigningKey,
}

impl GrantSigner {
    /// A signer from 32 secret random bytes.
    pub fn from_secret(secret: [u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(&secret) }
    }

    /// The public half, for nodes.
    pub fn verifier(&self) -> GrantVerifier {
        GrantVerifier { key: self.key.verifying_key() }
    }

    /// Signs a grant: base64url(JSON) `.` base64url(signature).
    pub fn sign(&self, grant: &Grant) -> String {
        let body = serde_json::to_vec(grant).unwrap_or_default();
        let signature = self.key.sign(&body);
        format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(&body),
            URL_SAFE_NO_PAD.encode(signature.to_bytes())
        )
    }

    /// Expiry for a grant made at `now_ms`.
    pub fn expiry(now_ms: u64) -> u64 {
        now_ms + limits::GRANT_LIFETIME.as_millis() as u64
    }
}

/// Node's half: checks grants.
#[derive(Clone, Debug)]
pub struct GrantVerifier {
    key: VerifyingKey,
}

impl GrantVerifier {
    /// A verifier from the 32 bytes of a public key.
    ///
    /// # Errors
    /// When the bytes are no point of the curve.
    pub fn from_public(public: [u8; 32]) -> Result<Self, GrantError> {
        VerifyingKey::from_bytes(&public).map(|key| Self { key }).map_err(|_| GrantError::Invalid)
    }

    /// The public key's bytes.
    pub fn public(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// Checks signature, node and expiry. `now_ms` is the wall clock; clocks of web and node
    /// may differ by the remaining lifetime.
    ///
    /// # Errors
    /// See [`GrantError`].
    pub fn verify(&self, text: &str, node: NodeId, now_ms: u64) -> Result<Grant, GrantError> {
        let (body, signature) = text.split_once('.').ok_or(GrantError::Invalid)?;
        let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| GrantError::Invalid)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| GrantError::Invalid)?;
        let signature = Signature::from_slice(&signature).map_err(|_| GrantError::Invalid)?;
        self.key.verify_strict(&body, &signature).map_err(|_| GrantError::Invalid)?;
        let grant: Grant = serde_json::from_slice(&body).map_err(|_| GrantError::Invalid)?;
        if grant.node != node {
            return Err(GrantError::WrongNode);
        }
        if now_ms > grant.expires_ms {
            return Err(GrantError::Expired);
        }
        Ok(grant)
    }
}

impl Grant {
    /// How long it is still valid at `now_ms`.
    pub fn remaining(&self, now_ms: u64) -> Duration {
        Duration::from_millis(self.expires_ms.saturating_sub(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> Grant {
        Grant {
            member: MemberId::from_random([1; 10]),
            name: "Ada".to_owned(),
            colour: "#336699".to_owned(),
            repl: ReplId::from_random([2; 10]),
            role: Role::Editor,
            node: NodeId::from_random([3; 10]),
            expires_ms: 1_000,
        }
    }

    #[test]
    fn only_an_untouched_timely_grant_for_this_node_passes() {
        let signer = GrantSigner::from_secret([7; 32]);
        let verifier = GrantVerifier::from_public(signer.verifier().public()).unwrap();
        let text = signer.sign(&grant());
        assert_eq!(verifier.verify(&text, grant().node, 999), Ok(grant()));
        assert_eq!(verifier.verify(&text, grant().node, 1_001), Err(GrantError::Expired));
        let other = NodeId::from_random([4; 10]);
        assert_eq!(verifier.verify(&text, other, 999), Err(GrantError::WrongNode));
        let foreign = GrantSigner::from_secret([8; 32]).sign(&grant());
        assert_eq!(verifier.verify(&foreign, grant().node, 999), Err(GrantError::Invalid));
        for index in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let text = String::from_utf8(bytes).unwrap();
            assert!(verifier.verify(&text, grant().node, 999).is_err(), "byte {index}");
        }
    }
}
