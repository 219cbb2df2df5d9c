//! Leases: which node may write a repl, by compare-and-set on the database's clock.

use std::time::Instant;

use sqlx::Row as _;
use tandem_proto::internal::{
    Lease, LeaseRequest, MoveHead, ReleaseLease, RenewLeases, RenewedLeases,
};
use tandem_proto::{Epoch, limits};

use super::{Metadata, MetadataError, number, stored};

/// Answer to a request for a lease.
#[derive(Debug)]
pub(crate) enum LeaseAnswer {
    /// Granted, at a new epoch.
    Granted(Lease),
    /// Another node holds it.
    Held,
    /// No such repl, or a deleted one.
    NoRepl,
}

/// Answer to a move of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadMove {
    /// The head is now the new manifest.
    Moved,
    /// The epoch or the head is not what the node believes.
    Refused,
}

/// The database's time, and when it was asked, so that what is left of a lease can be told
/// without asking again.
struct Reading {
    now_ms: u64,
    at: Instant,
}

impl Reading {
    fn until_ms(&self) -> u64 {
        self.now_ms + u64::try_from(limits::LEASE.as_millis()).unwrap_or(u64::MAX)
    }

    /// What is left of a lease that was counted from this reading.
    fn lasts_ms(&self) -> u64 {
        let left = limits::LEASE.saturating_sub(self.at.elapsed());
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Metadata {
    async fn reading(&self) -> Result<Reading, MetadataError> {
        // Taken before the question, so that the lease is never told longer than it is.
        let at = Instant::now();
        Ok(Reading { now_ms: self.now_ms().await?, at })
    }

    /// Grants a lease to a node if no other holds the repl. The same node gets its own lease
    /// again at once, at a higher epoch, so that a restart never waits.
    pub(crate) async fn take_lease(
        &self,
        request: &LeaseRequest,
    ) -> Result<LeaseAnswer, MetadataError> {
        let reading = self.reading().await?;
        let rows = sqlx::query(
            "UPDATE repls SET epoch = (CASE WHEN epoch > $1 THEN epoch ELSE $1 END) + 1, \
             lease_node = $2, lease_until_ms = $3 \
             WHERE id = $4 AND deleted_ms IS NULL \
             AND (lease_node IS NULL OR lease_node = $2 OR lease_until_ms < $5) \
             RETURNING epoch, head",
        )
        .bind(stored(request.seen_epoch.0))
        .bind(request.node.as_str())
        .bind(stored(reading.until_ms()))
        .bind(request.repl.as_str())
        .bind(stored(reading.now_ms))
        // All rows, so that the statement has certainly run to its end.
        .fetch_all(&self.pool)
        .await?;
        if let Some(row) = rows.first() {
            return Ok(LeaseAnswer::Granted(Lease {
                repl: request.repl,
                epoch: Epoch(number(row, "epoch")?),
                lasts_ms: reading.lasts_ms(),
                head: row.try_get("head")?,
            }));
        }
        let exists = sqlx::query("SELECT id FROM repls WHERE id = $1 AND deleted_ms IS NULL")
            .bind(request.repl.as_str())
            .fetch_optional(&self.pool)
            .await?;
        Ok(if exists.is_some() { LeaseAnswer::Held } else { LeaseAnswer::NoRepl })
    }

    /// Prolongs leases. One that has run out and that nobody took is still its holder's.
    pub(crate) async fn renew_leases(
        &self,
        request: &RenewLeases,
    ) -> Result<RenewedLeases, MetadataError> {
        let reading = self.reading().await?;
        let mut held = Vec::with_capacity(request.leases.len());
        let mut lost = Vec::new();
        let mut transaction = self.pool.begin().await?;
        for (repl, epoch) in &request.leases {
            let done = sqlx::query(
                "UPDATE repls SET lease_until_ms = $1 \
                 WHERE id = $2 AND lease_node = $3 AND epoch = $4 AND deleted_ms IS NULL",
            )
            .bind(stored(reading.until_ms()))
            .bind(repl.as_str())
            .bind(request.node.as_str())
            .bind(stored(epoch.0))
            .execute(&mut *transaction)
            .await?;
            if done.rows_affected() == 1 { held.push(*repl) } else { lost.push(*repl) }
        }
        transaction.commit().await?;
        Ok(RenewedLeases { held, lost, lasts_ms: reading.lasts_ms() })
    }

    /// Gives a lease back, if the node still has it.
    pub(crate) async fn release_lease(&self, request: &ReleaseLease) -> Result<(), MetadataError> {
        sqlx::query(
            "UPDATE repls SET lease_node = NULL, lease_until_ms = 0 \
             WHERE id = $1 AND lease_node = $2 AND epoch = $3",
        )
        .bind(request.repl.as_str())
        .bind(request.node.as_str())
        .bind(stored(request.epoch.0))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Moves a repl's head for the holder of its newest epoch. Asking again after a lost
    /// answer succeeds; a head this database never knew is taken from the holder.
    pub(crate) async fn move_head(&self, request: &MoveHead) -> Result<HeadMove, MetadataError> {
        let done = sqlx::query(
            "UPDATE repls SET head = $1 WHERE id = $2 AND epoch = $3 \
             AND (head IS NULL OR head = $4 OR head = $1)",
        )
        .bind(request.to.as_str())
        .bind(request.repl.as_str())
        .bind(stored(request.epoch.0))
        .bind(request.from.as_deref().unwrap_or_default())
        .execute(&self.pool)
        .await?;
        Ok(if done.rows_affected() == 1 { HeadMove::Moved } else { HeadMove::Refused })
    }
}
