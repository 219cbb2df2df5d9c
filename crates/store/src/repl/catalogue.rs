//! Catalogue records: with them the list of repls can be rebuilt from the blob store alone.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tandem_proto::{LinkId, MemberId, ReplId, Role};

use super::ReplStore;
use crate::blob::BlobStore;
use crate::object::{self, ObjectError, ObjectKind};

/// What the catalogue knows of a repl. Fields that are added later have defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueRecord {
    /// Which.
    pub repl: ReplId,
    /// Chosen by people.
    pub name: String,
    /// Template it was made from.
    pub template: String,
    /// The template's language key.
    pub language: String,
    /// Whose.
    pub owner: MemberId,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub updated_ms: u64,
    /// When it was deleted; it can be restored for 7 days.
    #[serde(default)]
    pub deleted_ms: Option<u64>,
    /// Who may do what.
    #[serde(default)]
    pub members: Vec<StoredMember>,
    /// Share links.
    #[serde(default)]
    pub links: Vec<StoredLink>,
}

/// A member of a repl.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMember {
    /// Who.
    pub id: MemberId,
    /// Display name.
    pub name: String,
    /// `#rrggbb`.
    pub colour: String,
    /// What they may do.
    pub role: Role,
}

/// A share link. Its token is stored as a hash only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLink {
    /// Which.
    pub id: LinkId,
    /// What it gives.
    pub role: Role,
    /// Hash of the token, as the one who checks it made it.
    pub token_hash: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
}

/// The catalogue as the blob store alone knows it.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// One record of each repl that has any.
    pub records: Vec<CatalogueRecord>,
    /// Repls with objects whose record is missing, corrupt or of a newer version: show them.
    pub failed: Vec<(ReplId, ObjectError)>,
}

/// Reads the newest catalogue record of every repl.
///
/// # Errors
/// [`ObjectError::Store`] when the store fails; what is wrong with one repl is in the answer.
pub async fn load_catalogue(blobs: &Arc<dyn BlobStore>) -> Result<Catalogue, ObjectError> {
    let repls = super::list_repls(&**blobs).await?;
    let mut loading = stream::iter(repls)
        .map(|repl| async move {
            let store = ReplStore::new(blobs.clone(), repl);
            let loaded = store.load_meta().await.and_then(|record| {
                let key = format!("{}meta/", store.folder());
                record.ok_or(ObjectError::Missing { key })
            });
            (repl, loaded)
        })
        .buffer_unordered(super::blobs::PARALLEL);
    let mut catalogue = Catalogue::default();
    while let Some((repl, loaded)) = loading.next().await {
        match loaded {
            Ok(record) => catalogue.records.push(record),
            Err(ObjectError::Store(error)) => return Err(error.into()),
            Err(error) => catalogue.failed.push((repl, error)),
        }
    }
    catalogue.records.sort_by_key(|record| record.repl);
    Ok(catalogue)
}

impl ReplStore {
    /// Stores a record above all earlier ones; says its key.
    ///
    /// # Errors
    /// See [`ObjectError`]; [`ObjectError::Foreign`] for a record of another repl.
    pub async fn put_meta(&self, record: &CatalogueRecord) -> Result<String, ObjectError> {
        let next = self.meta_keys().await?.last().map_or(1, |(seq, _)| seq.saturating_add(1));
        let key = format!("{}meta/{next}.{}", self.folder(), object::suffix());
        if record.repl != self.repl() {
            return Err(ObjectError::Foreign { key });
        }
        let content = object::encode(&key, record)?;
        self.blobs.put(&key, object::pack(ObjectKind::Catalogue, content).await?).await?;
        Ok(key)
    }

    /// The highest valid record; `None` only when there is none at all. A corrupt one above it
    /// is logged: losing a name or a link is less than losing the repl.
    ///
    /// # Errors
    /// See [`ObjectError`]; [`ObjectError::Unsupported`] when the highest is of a newer version.
    pub async fn load_meta(&self) -> Result<Option<CatalogueRecord>, ObjectError> {
        let mut keys = self.meta_keys().await?;
        let mut corrupt = None;
        while let Some((seq, key)) = keys.pop() {
            // Two writers may have chosen the same number.
            let mut rivals = vec![key];
            while keys.last().is_some_and(|(other, _)| *other == seq) {
                rivals.extend(keys.pop().map(|(_, key)| key));
            }
            let mut best: Option<CatalogueRecord> = None;
            for key in rivals {
                match self.get_meta(&key).await {
                    Ok(record) => {
                        if best.as_ref().is_none_or(|best| record.updated_ms > best.updated_ms) {
                            best = Some(record);
                        }
                    }
                    Err(error @ ObjectError::Corrupt { .. }) => {
                        tracing::error!(repl = %self.repl(), %error, "skipping a catalogue record");
                        corrupt = Some(error);
                    }
                    // Swept between the listing and now; then there is a higher one.
                    Err(ObjectError::Missing { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            if best.is_some() {
                return Ok(best);
            }
        }
        corrupt.map_or(Ok(None), Err)
    }

    /// Key of the record that [`ReplStore::load_meta`] answers with.
    ///
    /// # Errors
    /// See [`ReplStore::load_meta`].
    pub(crate) async fn newest_meta(&self) -> Result<Option<String>, ObjectError> {
        let Some(newest) = self.load_meta().await? else { return Ok(None) };
        for (_, key) in self.meta_keys().await?.into_iter().rev() {
            if self.get_meta(&key).await.is_ok_and(|record| record == newest) {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    async fn get_meta(&self, key: &str) -> Result<CatalogueRecord, ObjectError> {
        let bytes = object::get(&*self.blobs, ObjectKind::Catalogue, key).await?;
        let record: CatalogueRecord = object::decode(key, &bytes)?;
        if record.repl != self.repl() {
            return Err(ObjectError::Foreign { key: key.to_owned() });
        }
        Ok(record)
    }

    /// By number.
    pub(super) async fn meta_keys(&self) -> Result<Vec<(u64, String)>, ObjectError> {
        let prefix = format!("{}meta/", self.folder());
        let mut keys: Vec<(u64, String)> = self
            .blobs
            .list(&prefix)
            .await?
            .into_iter()
            .filter_map(|info| {
                let (seq, _) = info.key.strip_prefix(&prefix)?.split_once('.')?;
                Some((seq.parse().ok()?, info.key))
            })
            .collect();
        keys.sort();
        Ok(keys)
    }
}
