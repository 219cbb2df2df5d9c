//! `GET /api/v1/templates`: the languages, and whether this installation can run them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Json as Answer;
use axum::extract::State;
use tandem_proto::api::TemplateInfo;
use tandem_store::{BlobError, BlobStore, TemplateManifest, Templates};

use crate::app::{App, Shared};
use crate::caller::Caller;
use crate::node_call;
use crate::nodes::NodeError;
use crate::problem::ApiError;

/// How long a list is believed: templates and toolchains change by an operator's hand.
const FRESH: Duration = Duration::from_secs(30);
/// How long the blob store is believed to be reachable.
const REACHED: Duration = Duration::from_secs(3);

/// What was last read of the templates. Remembered only to be quick: a process without it
/// answers the same.
#[derive(Debug)]
pub(crate) struct Shelf {
    templates: Templates,
    listed: Mutex<Option<(Instant, Vec<TemplateInfo>)>>,
    reached: Mutex<Option<Instant>>,
}

impl Shelf {
    pub(crate) fn new(blobs: Arc<dyn BlobStore>) -> Self {
        Self {
            templates: Templates::new(blobs),
            listed: Mutex::default(),
            reached: Mutex::default(),
        }
    }

    /// All templates, by title.
    pub(crate) async fn list(&self, app: &App) -> Result<Vec<TemplateInfo>, ApiError> {
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        let list = read(app).await?;
        if let Ok(mut listed) = self.listed.lock() {
            *listed = Some((Instant::now(), list.clone()));
        }
        Ok(list)
    }

    /// One template by name; asked anew when it is not known, since it may just have been added.
    pub(crate) async fn find(&self, app: &App, name: &str) -> Result<TemplateInfo, ApiError> {
        let known = self.list(app).await?.into_iter().find(|template| template.name == name);
        if let Some(template) = known {
            return Ok(template);
        }
        if let Ok(mut listed) = self.listed.lock() {
            *listed = None;
        }
        self.list(app)
            .await?
            .into_iter()
            .find(|template| template.name == name)
            .ok_or_else(|| ApiError::Unprocessable("there is no template of this name".to_owned()))
    }

    /// Whether the blob store answers.
    pub(crate) async fn reach(&self, app: &App) -> Result<(), BlobError> {
        let last = self.reached.lock().ok().and_then(|reached| *reached);
        if last.is_some_and(|at| at.elapsed() < REACHED) {
            return Ok(());
        }
        app.blobs.get("ready/probe").await?;
        if let Ok(mut reached) = self.reached.lock() {
            *reached = Some(Instant::now());
        }
        Ok(())
    }

    fn fresh(&self) -> Option<Vec<TemplateInfo>> {
        let listed = self.listed.lock().ok()?;
        let (at, list) = listed.as_ref()?;
        (at.elapsed() < FRESH).then(|| list.clone())
    }
}

/// `GET /api/v1/templates`.
pub(crate) async fn list(
    State(app): State<Shared>,
    _caller: Caller,
) -> Result<Answer<Vec<TemplateInfo>>, ApiError> {
    Ok(Answer(app.shelf.list(&app).await?))
}

async fn read(app: &App) -> Result<Vec<TemplateInfo>, ApiError> {
    let manifests = app.shelf.templates.list().await?;
    let mut wanted: Vec<String> =
        manifests.iter().flat_map(|manifest| manifest.requires.iter().cloned()).collect();
    wanted.sort();
    wanted.dedup();
    let mut nodes: Vec<HashSet<String>> = Vec::new();
    let mut failure = None;
    for (_, link) in app.nodes.all() {
        match node_call::tools(&*link, &wanted).await {
            Ok(present) => nodes.push(present.into_iter().collect()),
            Err(error) => failure = Some(error),
        }
    }
    if nodes.is_empty() {
        return Err(ApiError::NodeUnavailable(failure.unwrap_or(NodeError::NoNode)));
    }
    let mut list: Vec<TemplateInfo> =
        manifests.into_iter().map(|manifest| info(manifest, &nodes)).collect();
    list.sort_by(|a, b| a.title.cmp(&b.title));
    Ok(list)
}

/// A template is available where one node has all its commands; else the reason is what the
/// best node lacks.
fn info(manifest: TemplateManifest, nodes: &[HashSet<String>]) -> TemplateInfo {
    let lacking = |present: &HashSet<String>| -> Vec<String> {
        manifest.requires.iter().filter(|name| !present.contains(*name)).cloned().collect()
    };
    let lacks = nodes.iter().map(lacking).min_by_key(Vec::len).unwrap_or_default();
    let reason =
        (!lacks.is_empty()).then(|| format!("not installed on the server: {}", lacks.join(", ")));
    TemplateInfo {
        name: manifest.name,
        title: manifest.title,
        description: manifest.description,
        language: manifest.language,
        available: reason.is_none(),
        unavailable_reason: reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_needs_one_node_with_everything() {
        let manifest = TemplateManifest {
            name: "ts".to_owned(),
            title: "TypeScript".to_owned(),
            description: String::new(),
            language: "typescript".to_owned(),
            version: "1".to_owned(),
            requires: vec!["node".to_owned(), "tsc".to_owned()],
        };
        let node = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert!(info(manifest.clone(), &[node(&[]), node(&["tsc", "node"])]).available);
        let apart = info(manifest, &[node(&["tsc"]), node(&[])]);
        assert!(!apart.available);
        assert_eq!(apart.unavailable_reason.as_deref(), Some("not installed on the server: node"));
    }
}
