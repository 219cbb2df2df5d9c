//! Nodes and what they last said of themselves.

use sqlx::Row as _;
use tandem_proto::internal::{NodeHeartbeat, ReplLoad};

use super::{Metadata, MetadataError, stored};

/// A node that is silent for longer is taken for gone in lists.
const SILENT_MS: u64 = 20_000;

/// A node that was heard of lately.
#[derive(Debug, Clone)]
pub(crate) struct NodeRow {
    pub(crate) loads: Vec<ReplLoad>,
}

impl Metadata {
    /// Keeps what a node said, and the times of its repls' last changes.
    pub(crate) async fn heartbeat(&self, beat: &NodeHeartbeat) -> Result<(), MetadataError> {
        let now_ms = self.now_ms().await?;
        let loads = serde_json::to_string(&beat.repls)
            .map_err(|_| MetadataError::Corrupt { column: "loads" })?;
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO nodes (id, boot, address, seen_ms, loads) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (id) DO UPDATE SET boot = excluded.boot, address = excluded.address, \
             seen_ms = excluded.seen_ms, loads = excluded.loads",
        )
        .bind(beat.node.as_str())
        .bind(beat.boot.to_string())
        .bind(beat.address.as_str())
        .bind(stored(now_ms))
        .bind(loads)
        .execute(&mut *transaction)
        .await?;
        for load in &beat.repls {
            sqlx::query("UPDATE repls SET updated_ms = $1 WHERE id = $2 AND updated_ms < $1")
                .bind(stored(load.updated_ms))
                .bind(load.repl.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Nodes heard of lately.
    pub(crate) async fn nodes(&self) -> Result<Vec<NodeRow>, MetadataError> {
        let now_ms = self.now_ms().await?;
        let rows = sqlx::query("SELECT loads FROM nodes WHERE seen_ms >= $1")
            .bind(stored(now_ms.saturating_sub(SILENT_MS)))
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                let loads: String = row.try_get("loads")?;
                Ok(NodeRow {
                    loads: serde_json::from_str(&loads)
                        .map_err(|_| MetadataError::Corrupt { column: "loads" })?,
                })
            })
            .collect()
    }
}
