//! The catalogue in the blob store: enough of every repl to find it again when the database is
//! gone. The database is the truth; records follow it, at once where possible and by the
//! housekeeping else.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _};
use tandem_proto::ReplId;
use tandem_store::{
    BlobStore, CatalogueRecord, ObjectError, ReplStore, StoredLink, StoredMember, list_repls,
};

use crate::app::App;
use crate::link::member_of;
use crate::metadata::{LinkRow, MemberRow, Metadata, MetadataError, Recorded, ReplRow};
use crate::session::made_up;
use crate::web::WebError;

/// Records read or written at a time.
const AT_A_TIME: usize = 8;
/// Writes in a row while a repl keeps changing; the rest is left to the housekeeping.
const TRIES: usize = 4;

/// Why a record was not written.
#[derive(Debug, thiserror::Error)]
enum RecordError {
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Object(#[from] ObjectError),
}

/// Records a repl's newest state. A failure is not the caller's: the change is in the
/// database, and the housekeeping records it later.
pub(crate) async fn record(app: &App, repl: ReplId) {
    if let Err(error) = try_record(app, repl).await {
        tracing::warn!(%repl, %error, "a catalogue record is written later");
    }
}

/// Records every repl that has unrecorded changes.
pub(crate) async fn record_all(app: &App) {
    let pending = match app.metadata.unrecorded().await {
        Ok(pending) => pending,
        Err(error) => {
            tracing::warn!(%error, "unrecorded repls could not be listed");
            return;
        }
    };
    app.metrics.unrecorded.set(i64::try_from(pending.len()).unwrap_or(i64::MAX));
    futures_util::stream::iter(pending)
        .for_each_concurrent(AT_A_TIME, |repl| record(app, repl))
        .await;
}

/// Two processes may write records of one repl in the wrong order; so a writer looks again
/// after its write, and writes again if there was a change.
async fn try_record(app: &App, repl: ReplId) -> Result<(), RecordError> {
    let store = ReplStore::new(Arc::clone(&app.blobs), repl);
    let Some((mut seq, mut recorded)) = app.metadata.to_record(repl).await? else {
        return Ok(());
    };
    for _ in 0..TRIES {
        store.put_meta(&to_stored(&recorded)).await?;
        app.metadata.mark_recorded(repl, seq).await?;
        match app.metadata.to_record(repl).await? {
            Some((now, fresh)) if now != seq => (seq, recorded) = (now, fresh),
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Removes everything the blob store holds of a repl.
pub(crate) async fn erase(app: &App, repl: ReplId) -> Result<(), ObjectError> {
    ReplStore::new(Arc::clone(&app.blobs), repl).delete_all().await
}

/// Takes in the repls that the blob store has and the database does not know. An unreadable
/// record keeps one repl out, not the server down.
pub(crate) async fn rebuild(
    metadata: &Metadata,
    blobs: &Arc<dyn BlobStore>,
) -> Result<(), WebError> {
    let known: HashSet<ReplId> = metadata.known_repls().await?.into_iter().collect();
    let stored =
        list_repls(&**blobs).await.map_err(|error| WebError::Catalogue(error.to_string()))?;
    let missing: Vec<ReplId> = stored.into_iter().filter(|repl| !known.contains(repl)).collect();
    let adopted: Vec<bool> = futures_util::stream::iter(missing)
        .map(|repl| adopt(metadata, blobs, repl))
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await?;
    let count = adopted.iter().filter(|adopted| **adopted).count();
    if count > 0 {
        tracing::info!(repls = count, "repls were found in the blob store");
    }
    Ok(())
}

async fn adopt(
    metadata: &Metadata,
    blobs: &Arc<dyn BlobStore>,
    repl: ReplId,
) -> Result<bool, WebError> {
    match ReplStore::new(Arc::clone(blobs), repl).load_meta().await {
        Ok(Some(record)) => {
            let recorded = from_stored(record);
            Ok(metadata.adopt(&recorded, |link| made_up(link.member)).await?)
        }
        // A repl whose making was interrupted before it was recorded.
        Ok(None) => Ok(false),
        Err(ObjectError::Store(error)) => Err(WebError::Catalogue(error.to_string())),
        Err(error) => {
            tracing::error!(%repl, %error, "a repl's catalogue record cannot be read");
            Ok(false)
        }
    }
}

fn to_stored(recorded: &Recorded) -> CatalogueRecord {
    let repl = &recorded.repl;
    CatalogueRecord {
        repl: repl.id,
        name: repl.name.clone(),
        template: repl.template.clone(),
        language: repl.language.clone(),
        owner: repl.owner,
        created_ms: repl.created_ms,
        updated_ms: repl.updated_ms,
        deleted_ms: repl.deleted_ms,
        members: recorded
            .members
            .iter()
            .map(|(member, role)| StoredMember {
                id: member.id,
                name: member.name.clone(),
                colour: member.colour.clone(),
                role: *role,
            })
            .collect(),
        links: recorded
            .links
            .iter()
            .map(|(link, token_hash)| StoredLink {
                id: link.id,
                role: link.role,
                token_hash: token_hash.clone(),
                created_ms: link.created_ms,
            })
            .collect(),
    }
}

fn from_stored(record: CatalogueRecord) -> Recorded {
    let members = record.members.into_iter().map(|member| {
        // Whether a name was chosen is not recorded; one that differs from what we make up was.
        let named = member.name != made_up(member.id).name;
        let row = MemberRow { id: member.id, name: member.name, colour: member.colour, named };
        (row, member.role)
    });
    let links = record.links.into_iter().map(|link| {
        let row = LinkRow {
            id: link.id,
            repl: record.repl,
            role: link.role,
            member: member_of(link.id),
            created_ms: link.created_ms,
        };
        (row, link.token_hash)
    });
    Recorded {
        members: members.collect(),
        links: links.collect(),
        repl: ReplRow {
            id: record.repl,
            name: record.name,
            template: record.template,
            language: record.language,
            owner: record.owner,
            created_ms: record.created_ms,
            updated_ms: record.updated_ms,
            deleted_ms: record.deleted_ms,
            node: None,
        },
    }
}
