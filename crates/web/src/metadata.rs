//! People, repls, rights and leases in a SQL database: SQLite or PostgreSQL, by one SQL text.
//!
//! Invariant: nothing that matters is kept in the process; two web processes on one database
//! behave as one. Every change of state is a single statement that compares and sets, or a
//! transaction whose first statement writes, so that no interleaving loses a change.

mod catalogue;
mod clock;
mod lease;
mod link;
mod member;
mod node;
mod repl;
mod session;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

use sqlx::AnyPool;
use sqlx::Row as _;
use sqlx::SqlSafeStr as _;
use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::migrate::{Migration, MigrationType, Migrator};

pub(crate) use catalogue::Recorded;
pub(crate) use clock::wall_ms;
pub(crate) use lease::{HeadMove, LeaseAnswer};
pub(crate) use link::LinkRow;
pub(crate) use member::{MemberRow, NewMember};
pub(crate) use repl::{NewRepl, ReplRow, Which};
pub(crate) use session::SessionLifetime;

/// Most connections to a PostgreSQL server from one web process.
const MAX_CONNECTIONS: u32 = 8;

/// Why the database did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MetadataError {
    /// The URL is neither SQLite nor PostgreSQL.
    #[error("the database URL must begin with sqlite: or postgres:")]
    Url,
    /// Connection, constraint or SQL failed.
    #[error("the metadata database: {0}")]
    Database(#[from] sqlx::Error),
    /// The tables could not be brought up to date.
    #[error("the metadata database's tables could not be brought up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A stored value is not what we wrote.
    #[error("the metadata database holds an unreadable {column}")]
    Corrupt {
        /// Which.
        column: &'static str,
    },
}

/// A handle on the database; clones share its connections.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    pool: AnyPool,
}

impl Metadata {
    /// Connects and brings the tables up to date.
    pub(crate) async fn open(url: &str) -> Result<Self, MetadataError> {
        sqlx::any::install_default_drivers();
        let sqlite = url.starts_with("sqlite:");
        if !sqlite && !url.starts_with("postgres:") && !url.starts_with("postgresql:") {
            return Err(MetadataError::Url);
        }
        // SQLite has one writer anyway. With one connection nothing ever waits for a lock
        // that another statement of ours holds.
        let connections = if sqlite { 1 } else { MAX_CONNECTIONS };
        let pool = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(10))
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if sqlite {
                        // One fsync per commit instead of several.
                        sqlx::query("PRAGMA journal_mode = WAL").execute(&mut *connection).await?;
                        sqlx::query("PRAGMA synchronous = FULL").execute(&mut *connection).await?;
                    }
                    Ok(())
                })
            })
            .connect(&creating(url))
            .await?;
        let first = Migration::new(
            1,
            "first".into(),
            MigrationType::Simple,
            include_str!("../migrations/0001_first.sql").into_sql_str(),
            false,
        );
        Migrator::with_migrations(vec![first]).run(&pool).await?;
        Ok(Self { pool })
    }

    /// Whether the database answers.
    pub(crate) async fn ping(&self) -> Result<(), MetadataError> {
        sqlx::query("SELECT id FROM nodes LIMIT 1").fetch_optional(&self.pool).await?;
        Ok(())
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    /// The value of a setting; `fresh` becomes it when there is none. All processes get the
    /// same answer.
    pub(crate) async fn setting_or(
        &self,
        name: &str,
        fresh: &str,
    ) -> Result<String, MetadataError> {
        sqlx::query(
            "INSERT INTO settings (name, content) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        )
        .bind(name)
        .bind(fresh)
        .execute(&self.pool)
        .await?;
        let row = sqlx::query("SELECT content FROM settings WHERE name = $1")
            .bind(name)
            .fetch_one(&self.pool)
            .await?;
        Ok(row.try_get("content")?)
    }

    /// The value of a setting.
    pub(crate) async fn setting(&self, name: &str) -> Result<Option<String>, MetadataError> {
        let row = sqlx::query("SELECT content FROM settings WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| row.try_get("content")).transpose().map_err(MetadataError::from)
    }
}

/// The URL, with the wish that a SQLite file be made when there is none.
fn creating(url: &str) -> Cow<'_, str> {
    if !url.starts_with("sqlite:") || url.contains("mode=") {
        return url.into();
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}mode=rwc").into()
}

/// Reads a column that holds the text of a typed value.
fn parsed<T: std::str::FromStr>(row: &AnyRow, column: &'static str) -> Result<T, MetadataError> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|_| MetadataError::Corrupt { column })
}

/// Reads a column that holds a count or a time.
fn number(row: &AnyRow, column: &'static str) -> Result<u64, MetadataError> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value).map_err(|_| MetadataError::Corrupt { column })
}

/// Reads a column that may hold a time.
fn optional_number(row: &AnyRow, column: &'static str) -> Result<Option<u64>, MetadataError> {
    let value: Option<i64> = row.try_get(column)?;
    value
        .map(|value| u64::try_from(value).map_err(|_| MetadataError::Corrupt { column }))
        .transpose()
}

/// A count or time as the database stores it.
fn stored(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
