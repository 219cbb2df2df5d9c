//! Share links. A link is also a member of its own, for programs that use its token directly.

use sqlx::any::AnyRow;
use tandem_proto::{LinkId, MemberId, ReplId, Role};

use super::catalogue::RESTORED;
use super::{Metadata, MetadataError, NewMember, number, parsed, stored};
use crate::token::TokenHash;

/// One share link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkRow {
    pub(crate) id: LinkId,
    pub(crate) repl: ReplId,
    pub(crate) role: Role,
    /// Who somebody is that presents the token itself instead of a session.
    pub(crate) member: MemberId,
    pub(crate) created_ms: u64,
}

const COLUMNS_BY_REPL: &str = "SELECT id, repl, role, member, created_ms FROM links \
                               WHERE repl = $1 ORDER BY created_ms, id";
const COLUMNS_BY_TOKEN: &str = "SELECT id, repl, role, member, created_ms FROM links \
                                WHERE token_hash = $1";

fn link_of(row: &AnyRow) -> Result<LinkRow, MetadataError> {
    Ok(LinkRow {
        id: parsed(row, "id")?,
        repl: parsed(row, "repl")?,
        role: parsed(row, "role")?,
        member: parsed(row, "member")?,
        created_ms: number(row, "created_ms")?,
    })
}

impl Metadata {
    /// Stores a link and the member it is. `false` when its repl is gone.
    pub(crate) async fn add_link(
        &self,
        link: &LinkRow,
        token_hash: &str,
        person: &NewMember,
    ) -> Result<bool, MetadataError> {
        let mut transaction = self.pool.begin().await?;
        let marked = sqlx::query(
            "UPDATE repls SET meta_seq = meta_seq + 1 WHERE id = $1 AND deleted_ms IS NULL",
        )
        .bind(link.repl.as_str())
        .execute(&mut *transaction)
        .await?;
        if marked.rows_affected() == 0 {
            return Ok(false);
        }
        insert_link(&mut transaction, link, token_hash, person).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// A repl's links, oldest first.
    pub(crate) async fn links(&self, repl: ReplId) -> Result<Vec<LinkRow>, MetadataError> {
        let rows = sqlx::query(COLUMNS_BY_REPL).bind(repl.as_str()).fetch_all(&self.pool).await?;
        rows.iter().map(link_of).collect()
    }

    /// The link with this token.
    pub(crate) async fn link_by_token(
        &self,
        token: TokenHash,
    ) -> Result<Option<LinkRow>, MetadataError> {
        let row =
            sqlx::query(COLUMNS_BY_TOKEN).bind(token.to_text()).fetch_optional(&self.pool).await?;
        row.as_ref().map(link_of).transpose()
    }

    /// Removes a link and every right that came by it. `false` when there is none.
    pub(crate) async fn remove_link(
        &self,
        repl: ReplId,
        link: LinkId,
    ) -> Result<bool, MetadataError> {
        let mut transaction = self.pool.begin().await?;
        // A record does not say by which link somebody came, so those restored from one lose
        // their right with any link of the same role.
        sqlx::query(
            "DELETE FROM memberships WHERE repl = $2 AND (link = $1 OR (link = $3 \
             AND role = (SELECT role FROM links WHERE id = $1 AND repl = $2)))",
        )
        .bind(link.as_str())
        .bind(repl.as_str())
        .bind(RESTORED)
        .execute(&mut *transaction)
        .await?;
        let gone = sqlx::query("DELETE FROM links WHERE id = $1 AND repl = $2")
            .bind(link.as_str())
            .bind(repl.as_str())
            .execute(&mut *transaction)
            .await?;
        if gone.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("UPDATE repls SET meta_seq = meta_seq + 1 WHERE id = $1")
            .bind(repl.as_str())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }
}

pub(super) async fn insert_link(
    connection: &mut sqlx::AnyConnection,
    link: &LinkRow,
    token_hash: &str,
    person: &NewMember,
) -> Result<(), MetadataError> {
    sqlx::query(
        "INSERT INTO links (id, repl, role, token_hash, member, created_ms) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(link.id.as_str())
    .bind(link.repl.as_str())
    .bind(link.role.as_str())
    .bind(token_hash)
    .bind(link.member.as_str())
    .bind(stored(link.created_ms))
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO members (id, name, colour, named, created_ms) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(person.id.as_str())
    .bind(person.name.as_str())
    .bind(person.colour.as_str())
    .bind(i64::from(person.named))
    .bind(stored(link.created_ms))
    .execute(&mut *connection)
    .await?;
    sqlx::query("INSERT INTO memberships (repl, member, link, role) VALUES ($1, $2, $3, $4)")
        .bind(link.repl.as_str())
        .bind(link.member.as_str())
        .bind(link.id.as_str())
        .bind(link.role.as_str())
        .execute(&mut *connection)
        .await?;
    Ok(())
}
