//! Sessions: which cookie is whom. Only the hash of a cookie's secret is stored.

use tandem_proto::MemberId;

use super::{MemberRow, Metadata, MetadataError, member::member_of, stored};
use crate::token::TokenHash;

impl Metadata {
    /// Stores a session.
    pub(crate) async fn add_session(
        &self,
        token: TokenHash,
        member: MemberId,
        lifetime: SessionLifetime,
    ) -> Result<(), MetadataError> {
        sqlx::query(
            "INSERT INTO sessions (token_hash, member, created_ms, expires_ms) \
             VALUES ($1, $2, $3, $4)",
        )
        .bind(token.to_text())
        .bind(member.as_str())
        .bind(stored(lifetime.created_ms))
        .bind(stored(lifetime.expires_ms))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Who a session is.
    pub(crate) async fn session_member(
        &self,
        token: TokenHash,
        now_ms: u64,
    ) -> Result<Option<MemberRow>, MetadataError> {
        let row = sqlx::query(
            "SELECT m.id AS id, m.name AS name, m.colour AS colour, m.named AS named \
             FROM sessions s JOIN members m ON m.id = s.member \
             WHERE s.token_hash = $1 AND s.expires_ms > $2",
        )
        .bind(token.to_text())
        .bind(stored(now_ms))
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(member_of).transpose()
    }

    /// Ends a session.
    pub(crate) async fn remove_session(&self, token: TokenHash) -> Result<(), MetadataError> {
        sqlx::query("DELETE FROM sessions WHERE token_hash = $1")
            .bind(token.to_text())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Forgets sessions that have run out.
    pub(crate) async fn remove_expired_sessions(&self, now_ms: u64) -> Result<u64, MetadataError> {
        let done = sqlx::query("DELETE FROM sessions WHERE expires_ms <= $1")
            .bind(stored(now_ms))
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }
}

/// From when to when a session is valid, milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionLifetime {
    pub(crate) created_ms: u64,
    pub(crate) expires_ms: u64,
}
