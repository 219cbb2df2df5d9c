//! What the catalogue records in the blob store are made from, and how rows are made from
//! them again. `meta_seq` counts a repl's changes, `meta_stored` the newest one recorded; the
//! difference is the work left to do, also after a crash.

use sqlx::Row as _;
use tandem_proto::{LinkId, MemberId, ReplId, Role};

use super::link::insert_link;
use super::member::member_of;
use super::{LinkRow, MemberRow, Metadata, MetadataError, ReplRow, number, parsed, stored};

/// Stands for the link of rights whose link is not recorded.
pub(super) const RESTORED: &str = "restored";

/// Everything a catalogue record holds.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) repl: ReplRow,
    /// People with a right, without the members that links are.
    pub(crate) members: Vec<(MemberRow, Role)>,
    /// Links with the hashes of their tokens.
    pub(crate) links: Vec<(LinkRow, String)>,
}

impl Metadata {
    /// Ids of all repls, also of deleted and unfinished ones.
    pub(crate) async fn known_repls(&self) -> Result<Vec<ReplId>, MetadataError> {
        let rows = sqlx::query("SELECT id FROM repls").fetch_all(&self.pool).await?;
        rows.iter().map(|row| parsed(row, "id")).collect()
    }

    /// Repls with changes that are not recorded.
    pub(crate) async fn unrecorded(&self) -> Result<Vec<ReplId>, MetadataError> {
        let rows = sqlx::query(
            "SELECT id FROM repls WHERE ready = 1 AND meta_stored < meta_seq ORDER BY id",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| parsed(row, "id")).collect()
    }

    /// What to record of a repl, and up to which change it is complete. The count is read
    /// first, so the contents hold at least what it promises.
    pub(crate) async fn to_record(
        &self,
        id: ReplId,
    ) -> Result<Option<(u64, Recorded)>, MetadataError> {
        let seq = sqlx::query("SELECT meta_seq FROM repls WHERE id = $1 AND ready = 1")
            .bind(id.as_str())
            .fetch_optional(&self.pool)
            .await?;
        let Some(seq) = seq else { return Ok(None) };
        let seq = number(&seq, "meta_seq")?;
        let Some(repl) = self.repl(id).await? else { return Ok(None) };
        let rows = sqlx::query(
            "SELECT p.id AS id, p.name AS name, p.colour AS colour, p.named AS named, \
             m.role AS role FROM memberships m JOIN members p ON p.id = m.member \
             WHERE m.repl = $1 AND p.id NOT IN (SELECT member FROM links WHERE repl = $1) \
             ORDER BY p.id",
        )
        .bind(id.as_str())
        .fetch_all(&self.pool)
        .await?;
        let mut members: Vec<(MemberRow, Role)> = Vec::with_capacity(rows.len());
        for row in &rows {
            let member = member_of(row)?;
            let role: Role = parsed(row, "role")?;
            match members.last_mut() {
                Some((last, best)) if last.id == member.id => *best = (*best).max(role),
                _ => members.push((member, role)),
            }
        }
        let hashes = sqlx::query("SELECT id, token_hash FROM links WHERE repl = $1")
            .bind(id.as_str())
            .fetch_all(&self.pool)
            .await?;
        let hashes: std::collections::HashMap<LinkId, String> = hashes
            .iter()
            .map(|row| Ok((parsed(row, "id")?, row.try_get("token_hash")?)))
            .collect::<Result<_, MetadataError>>()?;
        let links = self.links(id).await?;
        let links = links
            .into_iter()
            .filter_map(|link| hashes.get(&link.id).cloned().map(|hash| (link, hash)))
            .collect();
        Ok(Some((seq, Recorded { repl, members, links })))
    }

    /// A repl's record is stored up to this change.
    pub(crate) async fn mark_recorded(&self, id: ReplId, seq: u64) -> Result<(), MetadataError> {
        sqlx::query("UPDATE repls SET meta_stored = $1 WHERE id = $2 AND meta_stored < $1")
            .bind(stored(seq))
            .bind(id.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Makes the rows of a repl from its record. A repl that exists is left as it is.
    pub(crate) async fn adopt(
        &self,
        recorded: &Recorded,
        link_person: impl Fn(&LinkRow) -> MemberRow + Send + Sync,
    ) -> Result<bool, MetadataError> {
        let repl = &recorded.repl;
        let mut transaction = self.pool.begin().await?;
        let added = sqlx::query(
            "INSERT INTO repls (id, name, template, language, owner, created_ms, updated_ms, \
             deleted_ms, ready, meta_seq, meta_stored, epoch, lease_until_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, 0, 0, 0, 0) ON CONFLICT (id) DO NOTHING",
        )
        .bind(repl.id.as_str())
        .bind(repl.name.as_str())
        .bind(repl.template.as_str())
        .bind(repl.language.as_str())
        .bind(repl.owner.as_str())
        .bind(stored(repl.created_ms))
        .bind(stored(repl.updated_ms))
        .bind(repl.deleted_ms.map(stored))
        .execute(&mut *transaction)
        .await?;
        if added.rows_affected() == 0 {
            return Ok(false);
        }
        for (member, role) in &recorded.members {
            add_restored(&mut transaction, repl, member, *role).await?;
        }
        for (link, hash) in &recorded.links {
            insert_link(&mut transaction, link, hash, &link_person(link)).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// The owner of most repls, for an installation that lost its database.
    pub(crate) async fn commonest_owner(&self) -> Result<Option<MemberId>, MetadataError> {
        let row = sqlx::query(
            "SELECT owner FROM repls GROUP BY owner ORDER BY COUNT(*) DESC, owner LIMIT 1",
        )
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(|row| parsed(row, "owner")).transpose()
    }
}

async fn add_restored(
    connection: &mut sqlx::AnyConnection,
    repl: &ReplRow,
    member: &MemberRow,
    role: Role,
) -> Result<(), MetadataError> {
    sqlx::query(
        "INSERT INTO members (id, name, colour, named, created_ms) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(member.id.as_str())
    .bind(member.name.as_str())
    .bind(member.colour.as_str())
    .bind(i64::from(member.named))
    .bind(stored(repl.created_ms))
    .execute(&mut *connection)
    .await?;
    let link = if member.id == repl.owner { "" } else { RESTORED };
    sqlx::query("INSERT INTO memberships (repl, member, link, role) VALUES ($1, $2, $3, $4)")
        .bind(repl.id.as_str())
        .bind(member.id.as_str())
        .bind(link)
        .bind(role.as_str())
        .execute(&mut *connection)
        .await?;
    Ok(())
}
