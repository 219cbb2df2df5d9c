//! Members: the people, named or made up.

use sqlx::Row as _;
use sqlx::any::AnyRow;
use tandem_proto::{LinkId, MemberId, ReplId, Role};

use super::catalogue::RESTORED;
use super::{Metadata, MetadataError, parsed, stored};

/// One person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberRow {
    pub(crate) id: MemberId,
    pub(crate) name: String,
    pub(crate) colour: String,
    /// They chose the name themselves.
    pub(crate) named: bool,
}

/// A person to be stored.
pub(crate) type NewMember = MemberRow;

pub(super) fn member_of(row: &AnyRow) -> Result<MemberRow, MetadataError> {
    let named: i64 = row.try_get("named")?;
    Ok(MemberRow {
        id: parsed(row, "id")?,
        name: row.try_get("name")?,
        colour: row.try_get("colour")?,
        named: named != 0,
    })
}

impl Metadata {
    /// Stores a person; one that exists is left as it is.
    pub(crate) async fn add_member(
        &self,
        member: &NewMember,
        now_ms: u64,
    ) -> Result<(), MetadataError> {
        sqlx::query(
            "INSERT INTO members (id, name, colour, named, created_ms) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(member.id.as_str())
        .bind(member.name.as_str())
        .bind(member.colour.as_str())
        .bind(i64::from(member.named))
        .bind(stored(now_ms))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// A person by id.
    pub(crate) async fn member(&self, id: MemberId) -> Result<Option<MemberRow>, MetadataError> {
        let row = sqlx::query("SELECT id, name, colour, named FROM members WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(member_of).transpose()
    }

    /// Sets name and colour, and marks the records of all their repls as out of date.
    pub(crate) async fn update_member(&self, member: &MemberRow) -> Result<(), MetadataError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("UPDATE members SET name = $1, colour = $2, named = $3 WHERE id = $4")
            .bind(member.name.as_str())
            .bind(member.colour.as_str())
            .bind(i64::from(member.named))
            .bind(member.id.as_str())
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "UPDATE repls SET meta_seq = meta_seq + 1 WHERE owner = $1 \
             OR id IN (SELECT repl FROM memberships WHERE member = $1)",
        )
        .bind(member.id.as_str())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Gives a right that came by a link, beside those the member has. `false` when the link
    /// is gone.
    pub(crate) async fn join_by_link(
        &self,
        member: MemberId,
        link: LinkId,
    ) -> Result<bool, MetadataError> {
        let mut transaction = self.pool.begin().await?;
        let marked = sqlx::query(
            "UPDATE repls SET meta_seq = meta_seq + 1 \
             WHERE id IN (SELECT repl FROM links WHERE id = $1)",
        )
        .bind(link.as_str())
        .execute(&mut *transaction)
        .await?;
        if marked.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO memberships (repl, member, link, role) \
             SELECT repl, CAST($1 AS TEXT), id, role FROM links WHERE id = $2 \
             ON CONFLICT (repl, member, link) DO NOTHING",
        )
        .bind(member.as_str())
        .bind(link.as_str())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The highest right a member has on a repl.
    pub(crate) async fn role(
        &self,
        repl: ReplId,
        member: MemberId,
    ) -> Result<Option<Role>, MetadataError> {
        let rows = sqlx::query("SELECT role FROM memberships WHERE repl = $1 AND member = $2")
            .bind(repl.as_str())
            .bind(member.as_str())
            .fetch_all(&self.pool)
            .await?;
        let mut best = None;
        for row in &rows {
            best = best.max(Some(parsed::<Role>(row, "role")?));
        }
        Ok(best)
    }

    /// Members who lose a right when this link goes.
    pub(crate) async fn members_by_link(
        &self,
        repl: ReplId,
        link: LinkId,
    ) -> Result<Vec<MemberId>, MetadataError> {
        let rows = sqlx::query(
            "SELECT DISTINCT member FROM memberships WHERE repl = $2 AND (link = $1 \
             OR (link = $3 AND role = (SELECT role FROM links WHERE id = $1 AND repl = $2)))",
        )
        .bind(link.as_str())
        .bind(repl.as_str())
        .bind(RESTORED)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| parsed(row, "member")).collect()
    }
}
