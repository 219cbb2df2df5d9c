//! Verification: reads what is stored and says what is wrong. Touches nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use tandem_proto::{FileId, ReplId};

use crate::blob::{BlobError, BlobStore};
use crate::hash::ContentHash;
use crate::object::{self, ObjectError, ObjectKind};
use crate::repl::{BlobRef, Content, Manifest, ReplStore, SnapshotIndex};

/// Objects read at once; each is held in memory.
const AT_ONCE: usize = 4;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whose.
    pub repl: Option<ReplId>,
    /// The object.
    pub key: Option<String>,
    /// What, and what it means.
    pub what: String,
}

/// What was found under a prefix.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// Keys of all objects.
    pub keys: BTreeSet<String>,
    /// Their stored length.
    pub bytes: u64,
    /// What is wrong with them.
    pub problems: Vec<Problem>,
}

/// Verifies every object under a prefix; `progress` hears of each one's length.
///
/// # Errors
/// Only when the store itself fails: then nothing was found out.
pub async fn objects(
    blobs: &Arc<dyn BlobStore>,
    prefix: &str,
    mut progress: impl FnMut(u64),
) -> Result<Checked, BlobError> {
    let mut checked = Checked::default();
    let listed = blobs.list(prefix).await?;
    let mut reading = stream::iter(listed)
        .map(|info| async move {
            let problem = object(&**blobs, &info.key).await?;
            Ok::<_, BlobError>((info, problem))
        })
        .buffer_unordered(AT_ONCE);
    while let Some((info, problem)) = reading.try_next().await? {
        progress(info.size);
        checked.bytes += info.size;
        if let Some(what) = problem {
            let repl = info.key.strip_prefix("repls/").and_then(|rest| rest.split('/').next());
            let repl = repl.and_then(|repl| repl.parse().ok());
            checked.problems.push(Problem { repl, key: Some(info.key.clone()), what });
        }
        checked.keys.insert(info.key);
    }
    checked.problems.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(checked)
}

/// What is wrong with one object; nothing, when it went away since it was listed.
async fn object(blobs: &dyn BlobStore, key: &str) -> Result<Option<String>, BlobError> {
    let Some(object) = blobs.get(key).await? else { return Ok(None) };
    let (kind, content) = match object::verify(key, object).await {
        Ok(verified) => verified,
        Err(error) => return Ok(Some(error.to_string())),
    };
    if !matches!(kind, ObjectKind::Blob | ObjectKind::Bundle) {
        return Ok(None);
    }
    let named = key.rsplit('/').next().and_then(|hash| hash.parse::<ContentHash>().ok());
    Ok(match named {
        Some(hash) if hash == ContentHash::of(&content) => None,
        _ => Some(format!("the object {key} does not have the content that its key names")),
    })
}

/// Whether all that a manifest names is there: `keys` are all of the repl's objects.
///
/// # Errors
/// Only when the store itself fails.
pub async fn references(
    store: &ReplStore,
    (key, manifest): &(String, Manifest),
    index: &SnapshotIndex,
    keys: &BTreeSet<String>,
) -> Result<Vec<Problem>, ObjectError> {
    let problem = |key: Option<String>, what| Problem { repl: Some(store.repl()), key, what };
    let mut problems = Vec::new();
    for named in store.named(manifest, index) {
        if !keys.contains(&named) {
            let lost = if store.is_scrollback(&named) { "output of a terminal" } else { "content" };
            let what = format!("{lost} is missing: the manifest {key} names {named}");
            problems.push(problem(Some(named), what));
        }
    }
    let mut bundled: BTreeMap<ContentHash, Vec<&BlobRef>> = BTreeMap::new();
    for node in &manifest.tree {
        if let Content::Blob(blob) = &node.content
            && let Some(bundle) = blob.bundle
        {
            bundled.entry(bundle).or_default().push(blob);
        }
    }
    for blobs in bundled.into_values() {
        let mut reader = store.blob_reader();
        for blob in blobs {
            match reader.get(blob).await {
                Ok(_) => {}
                Err(ObjectError::Store(error)) => return Err(error.into()),
                // Damaged or missing as a whole: said already.
                Err(ObjectError::Missing { .. }) => break,
                Err(error) => problems.push(problem(None, error.to_string())),
            }
        }
    }
    Ok(problems)
}

/// The path of a file, for people.
pub fn path_of(manifest: &Manifest, file: FileId) -> String {
    let mut parts = Vec::new();
    let mut at = file;
    // A tree that leads in circles ends somewhere, too.
    for _ in 0..tandem_proto::limits::MAX_PATH_DEPTH {
        let Some(node) = manifest.tree.iter().find(|node| node.id == at) else { break };
        parts.push(node.name.as_str());
        at = node.parent;
    }
    parts.reverse();
    parts.join("/")
}
