//! Whether stored repls are whole: every object, everything that is named, every document.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use tandem_doc::Document;
use tandem_proto::{FileId, Generation, ReplId};
use tandem_store::check::{self, Problem};
use tandem_store::{BlobError, BlobStore, ContentHash, ObjectError, ReplStore, SnapshotIndex};

/// What was looked at, and what is wrong.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Repls.
    pub repls: usize,
    /// Objects, those of no repl included.
    pub objects: usize,
    /// Their stored length.
    pub bytes: u64,
    /// Documents.
    pub documents: usize,
    /// What is wrong; empty is good.
    pub problems: Vec<Problem>,
}

impl Report {
    fn take(&mut self, checked: check::Checked) -> BTreeSet<String> {
        self.objects += checked.keys.len();
        self.bytes += checked.bytes;
        self.problems.extend(checked.problems);
        checked.keys
    }
}

/// How far it is: repls done, objects and bytes read.
pub type Progress<'a> = &'a mut dyn FnMut(usize, u64);

/// Checks everything in a blob store, or one repl only.
///
/// # Errors
/// Only when the store itself fails: what is wrong with what is stored is in the report.
pub async fn check(
    blobs: &Arc<dyn BlobStore>,
    only: Option<ReplId>,
    progress: Progress<'_>,
) -> Result<Report, BlobError> {
    let mut report = Report::default();
    let mut bytes = 0;
    let repls = match only {
        Some(repl) => vec![repl],
        None => {
            for prefix in ["templates/", "nodes/"] {
                let checked = check::objects(blobs, prefix, |size| {
                    bytes += size;
                    progress(0, bytes);
                })
                .await?;
                report.take(checked);
            }
            tandem_store::list_repls(&**blobs).await.map_err(store_failed)?
        }
    };
    for repl in repls {
        let store = ReplStore::new(blobs.clone(), repl);
        let checked = check::objects(blobs, &format!("repls/{repl}/"), |size| {
            bytes += size;
            progress(report.repls, bytes);
        })
        .await?;
        let keys = report.take(checked);
        one(&store, &keys, &mut report).await.map_err(store_failed)?;
        report.repls += 1;
        progress(report.repls, bytes);
    }
    Ok(report)
}

fn store_failed(error: ObjectError) -> BlobError {
    match error {
        ObjectError::Store(error) => error,
        error => BlobError::Other { action: "check a repl".to_owned(), detail: error.to_string() },
    }
}

async fn one(
    store: &ReplStore,
    keys: &BTreeSet<String>,
    report: &mut Report,
) -> Result<(), ObjectError> {
    let repl = store.repl();
    let problem = |key: Option<String>, what: String| Problem { repl: Some(repl), key, what };
    match store.load_meta().await {
        Ok(Some(_)) => {}
        Ok(None) => report.problems.push(problem(
            None,
            "it has no catalogue record: its name, owner and links are lost".to_owned(),
        )),
        Err(ObjectError::Store(error)) => return Err(error.into()),
        Err(error) => report.problems.push(problem(None, error.to_string())),
    }
    let kept = match store.load_kept().await {
        Ok(Some(kept)) => kept,
        Ok(None) => {
            let what = "it has no saved state: it was never filled, or its manifests are lost";
            report.problems.push(problem(None, what.to_owned()));
            return Ok(());
        }
        Err(ObjectError::Store(error)) => return Err(error.into()),
        Err(error) => {
            let what = format!("it cannot be opened: {error}");
            report.problems.push(problem(None, what));
            return Ok(());
        }
    };
    for key in &kept.damaged {
        let what = "a newer saved state is damaged: recent changes of files may be missing";
        report.problems.push(problem(Some(key.clone()), what.to_owned()));
    }
    let index = store.snapshot_index().await?;
    let mut seen: BTreeSet<(FileId, Generation)> = BTreeSet::new();
    for named in kept.manifests() {
        for found in check::references(store, named, &index, keys).await? {
            if !report.problems.contains(&found) {
                report.problems.push(found);
            }
        }
        for (file, generation) in named.1.documents() {
            if !seen.insert((file, generation)) {
                continue;
            }
            report.documents += 1;
            if let Some(what) = document(store, &index, (file, generation)).await? {
                let path = check::path_of(&named.1, file);
                report.problems.push(problem(None, format!("{path} does not open: {what}")));
            }
        }
    }
    Ok(())
}

/// What is wrong with a document; nothing, when it opens and says what was saved.
async fn document(
    store: &ReplStore,
    index: &SnapshotIndex,
    document: (FileId, Generation),
) -> Result<Option<String>, ObjectError> {
    if !index.has(document.0, document.1) {
        return Ok(Some("no snapshot of it is there; only a server's log may have it".to_owned()));
    }
    let snapshots = match store.load_snapshots(index, document).await {
        Ok(snapshots) => snapshots,
        Err(ObjectError::Store(error)) => return Err(error.into()),
        Err(error) => return Ok(Some(error.to_string())),
    };
    let opened = tokio::task::spawn_blocking(move || {
        let mut all = Document::new(1);
        for snapshot in &snapshots.found {
            let content = &snapshot.content;
            let key = &snapshot.key;
            let alone = Document::load(1, &content.state)
                .map_err(|error| format!("the snapshot {key} does not load: {error}"))?;
            if ContentHash::of(alone.text().as_bytes()) != content.text_hash {
                return Err(format!("the snapshot {key} holds another text than was saved"));
            }
            all.merge_stored(&content.state)
                .map_err(|error| format!("the snapshot {key} does not apply: {error}"))?;
        }
        Ok(())
    })
    .await
    .map_err(|_| ObjectError::Interrupted)?;
    Ok(opened.err())
}
