//! Repls: their names, owners and times.

use sqlx::Row as _;
use sqlx::any::AnyRow;
use tandem_proto::{MemberId, NodeId, ReplId, Role};

use super::{Metadata, MetadataError, number, optional_number, parsed, stored};

/// One repl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplRow {
    pub(crate) id: ReplId,
    pub(crate) name: String,
    pub(crate) template: String,
    pub(crate) language: String,
    pub(crate) owner: MemberId,
    pub(crate) created_ms: u64,
    pub(crate) updated_ms: u64,
    pub(crate) deleted_ms: Option<u64>,
    /// The last node that held it, whether or not its lease still runs.
    pub(crate) node: Option<NodeId>,
}

/// What a repl begins with.
#[derive(Debug, Clone)]
pub(crate) struct NewRepl {
    pub(crate) id: ReplId,
    pub(crate) name: String,
    pub(crate) template: String,
    pub(crate) language: String,
    pub(crate) owner: MemberId,
    pub(crate) created_ms: u64,
}

pub(super) fn repl_of(row: &AnyRow) -> Result<ReplRow, MetadataError> {
    let node: Option<String> = row.try_get("lease_node")?;
    Ok(ReplRow {
        id: parsed(row, "id")?,
        name: row.try_get("name")?,
        template: row.try_get("template")?,
        language: row.try_get("language")?,
        owner: parsed(row, "owner")?,
        created_ms: number(row, "created_ms")?,
        updated_ms: number(row, "updated_ms")?,
        deleted_ms: optional_number(row, "deleted_ms")?,
        node: node
            .map(|node| node.parse().map_err(|_| MetadataError::Corrupt { column: "lease_node" }))
            .transpose()?,
    })
}

impl Metadata {
    /// Stores a repl that nobody sees until [`Metadata::mark_ready`].
    pub(crate) async fn add_repl(&self, repl: &NewRepl) -> Result<(), MetadataError> {
        sqlx::query(
            "INSERT INTO repls (id, name, template, language, owner, created_ms, updated_ms, \
             ready, meta_seq, meta_stored, epoch, lease_until_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $6, 0, 0, 0, 0, 0)",
        )
        .bind(repl.id.as_str())
        .bind(repl.name.as_str())
        .bind(repl.template.as_str())
        .bind(repl.language.as_str())
        .bind(repl.owner.as_str())
        .bind(stored(repl.created_ms))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// A new repl has its files: from now on it is listed and recorded.
    pub(crate) async fn mark_ready(&self, id: ReplId) -> Result<(), MetadataError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("UPDATE repls SET ready = 1, meta_seq = meta_seq + 1 WHERE id = $1")
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT INTO memberships (repl, member, link, role) \
             SELECT id, owner, CAST($1 AS TEXT), CAST($2 AS TEXT) FROM repls WHERE id = $3 \
             ON CONFLICT (repl, member, link) DO NOTHING",
        )
        .bind("")
        .bind(Role::Owner.as_str())
        .bind(id.as_str())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// A repl by id, deleted ones included.
    pub(crate) async fn repl(&self, id: ReplId) -> Result<Option<ReplRow>, MetadataError> {
        let row = sqlx::query(
            "SELECT id, name, template, language, owner, created_ms, updated_ms, deleted_ms, \
             lease_node FROM repls WHERE id = $1 AND ready = 1",
        )
        .bind(id.as_str())
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(repl_of).transpose()
    }

    /// All repls, newest change first; the deleted ones or the others.
    pub(crate) async fn all_repls(&self, which: Which) -> Result<Vec<ReplRow>, MetadataError> {
        let rows = sqlx::query(
            "SELECT id, name, template, language, owner, created_ms, updated_ms, deleted_ms, \
             lease_node FROM repls WHERE ready = 1 \
             AND (CASE WHEN deleted_ms IS NULL THEN 0 ELSE 1 END) = $1 \
             ORDER BY updated_ms DESC, id",
        )
        .bind(which as i64)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(repl_of).collect()
    }

    /// Repls a member has a right on, newest change first, with the highest right.
    pub(crate) async fn repls_of(
        &self,
        member: MemberId,
        which: Which,
    ) -> Result<Vec<(ReplRow, Role)>, MetadataError> {
        let rows = sqlx::query(
            "SELECT r.id AS id, r.name AS name, r.template AS template, r.language AS language, \
             r.owner AS owner, r.created_ms AS created_ms, r.updated_ms AS updated_ms, \
             r.deleted_ms AS deleted_ms, r.lease_node AS lease_node, m.role AS role \
             FROM repls r JOIN memberships m ON m.repl = r.id \
             WHERE m.member = $1 AND r.ready = 1 \
             AND (CASE WHEN r.deleted_ms IS NULL THEN 0 ELSE 1 END) = $2 \
             ORDER BY r.updated_ms DESC, r.id",
        )
        .bind(member.as_str())
        .bind(which as i64)
        .fetch_all(&self.pool)
        .await?;
        let mut repls: Vec<(ReplRow, Role)> = Vec::with_capacity(rows.len());
        for row in &rows {
            let repl = repl_of(row)?;
            let role: Role = parsed(row, "role")?;
            match repls.last_mut() {
                Some((last, best)) if last.id == repl.id => *best = (*best).max(role),
                _ => repls.push((repl, role)),
            }
        }
        Ok(repls)
    }

    /// Gives a repl another name. `false` when it is gone.
    pub(crate) async fn rename_repl(
        &self,
        id: ReplId,
        name: &str,
        now_ms: u64,
    ) -> Result<bool, MetadataError> {
        let done = sqlx::query(
            "UPDATE repls SET name = $1, updated_ms = $2, meta_seq = meta_seq + 1 \
             WHERE id = $3 AND ready = 1 AND deleted_ms IS NULL",
        )
        .bind(name)
        .bind(stored(now_ms))
        .bind(id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Deletes a repl so that it can be restored. `false` when it was not there.
    pub(crate) async fn delete_repl(&self, id: ReplId, now_ms: u64) -> Result<bool, MetadataError> {
        let done = sqlx::query(
            "UPDATE repls SET deleted_ms = $1, meta_seq = meta_seq + 1 \
             WHERE id = $2 AND ready = 1 AND deleted_ms IS NULL",
        )
        .bind(stored(now_ms))
        .bind(id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Takes a deletion back. `false` when it was not deleted, or is gone.
    pub(crate) async fn restore_repl(&self, id: ReplId) -> Result<bool, MetadataError> {
        let done = sqlx::query(
            "UPDATE repls SET deleted_ms = NULL, meta_seq = meta_seq + 1 \
             WHERE id = $1 AND ready = 1 AND deleted_ms IS NOT NULL",
        )
        .bind(id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Repls deleted before a time, and new ones from before it that never got their files.
    pub(crate) async fn repls_to_purge(
        &self,
        deleted_before_ms: u64,
        unready_before_ms: u64,
    ) -> Result<Vec<ReplId>, MetadataError> {
        let rows = sqlx::query(
            "SELECT id FROM repls WHERE (deleted_ms IS NOT NULL AND deleted_ms < $1) \
             OR (ready = 0 AND created_ms < $2)",
        )
        .bind(stored(deleted_before_ms))
        .bind(stored(unready_before_ms))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| parsed(row, "id")).collect()
    }

    /// Removes a repl's row with its links and memberships.
    pub(crate) async fn purge_repl(&self, id: ReplId) -> Result<(), MetadataError> {
        sqlx::query("DELETE FROM repls WHERE id = $1")
            .bind(id.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

/// Which half of the repls a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those in use.
    Present = 0,
    /// Those that can be restored.
    Deleted = 1,
}
