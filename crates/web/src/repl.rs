//! `/api/v1/repls`: list, create, rename, fork, delete and restore.
//!
//! A new repl has a row first, then its files, and is seen by people only when it has both; a
//! crash between leaves a row that is swept later.

use std::collections::HashMap;

use axum::Json as Answer;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use tandem_proto::api::{CreateRepl, ForkRepl, RenameRepl, ReplInfo};
use tandem_proto::internal::{ReplLoad, SeedRepl};
use tandem_proto::{ReplId, Role};

use crate::app::{App, Shared};
use crate::caller::{Access, AnyAccess, Caller};
use crate::metadata::{NewRepl, ReplRow, Which, wall_ms};
use crate::problem::{ApiError, Json, OptionalJson};
use crate::token::random;
use crate::{catalogue, guest, node_call};

/// Longest name of a repl in characters.
const MAX_NAME_CHARS: usize = 80;

#[derive(Deserialize)]
pub(crate) struct ListQuery {
    #[serde(default)]
    deleted: bool,
}

/// `GET /api/v1/repls`, and with `?deleted=true` those that can be restored.
pub(crate) async fn list(
    State(app): State<Shared>,
    caller: Caller,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Answer<Vec<ReplInfo>>, ApiError> {
    let Query(query) =
        query.map_err(|_| ApiError::BadRequest("deleted is true or false".to_owned()))?;
    let which = if query.deleted { Which::Deleted } else { Which::Present };
    let repls = if caller.owner {
        let all = app.metadata.all_repls(which).await?;
        all.into_iter().map(|repl| (repl, Role::Owner)).collect()
    } else {
        let mut mine = app.metadata.repls_of(caller.member.id, which).await?;
        mine.retain(|(repl, role)| repl.deleted_ms.is_none() || *role == Role::Owner);
        mine
    };
    let loads = loads(&app).await?;
    Ok(Answer(repls.iter().map(|(repl, role)| info(repl, *role, loads.get(&repl.id))).collect()))
}

/// `POST /api/v1/repls`.
pub(crate) async fn create(
    State(app): State<Shared>,
    caller: Caller,
    Json(wanted): Json<CreateRepl>,
) -> Result<Response, ApiError> {
    caller.require_owner()?;
    let template = app.shelf.find(&app, &wanted.template).await?;
    if !template.available {
        let reason = template.unavailable_reason.unwrap_or_default();
        return Err(ApiError::Conflict {
            code: "template_unavailable",
            detail: format!("the template {} cannot be used here: {reason}", template.name),
        });
    }
    let id = ReplId::from_random(random()?);
    let name = match &wanted.name {
        Some(name) => repl_name(name)?,
        None => made_up_name(&template.title, id),
    };
    let repl = NewRepl {
        id,
        name,
        template: template.name.clone(),
        language: template.language,
        owner: caller.member.id,
        created_ms: wall_ms(),
    };
    let seed = SeedRepl::Template { template: template.name };
    fill(&app, &caller, repl, (&seed, None)).await
}

/// `POST …/{repl}/fork`.
pub(crate) async fn fork(
    State(app): State<Shared>,
    access: Access,
    OptionalJson(wanted): OptionalJson<ForkRepl>,
) -> Result<Response, ApiError> {
    access.caller.require_owner()?;
    let source = &access.repl;
    let name = match &wanted.name {
        Some(name) => repl_name(name)?,
        None => forked_name(&source.name),
    };
    let repl = NewRepl {
        id: ReplId::from_random(random()?),
        name,
        template: source.template.clone(),
        language: source.language.clone(),
        owner: access.caller.member.id,
        created_ms: wall_ms(),
    };
    let seed = SeedRepl::Fork { source: source.id };
    fill(&app, &access.caller, repl, (&seed, Some(source))).await
}

async fn fill(
    app: &App,
    caller: &Caller,
    repl: NewRepl,
    from: (&SeedRepl, Option<&ReplRow>),
) -> Result<Response, ApiError> {
    let id = repl.id;
    app.metadata.add_repl(&repl).await?;
    if let Err(error) = node_call::seed(app, caller, id, from).await {
        // Best effort: what is left over is swept with the unfinished ones.
        if let Err(left) = app.metadata.purge_repl(id).await {
            tracing::warn!(repl = %id, error = %left, "an unfinished repl is left to the sweep");
        }
        return Err(error);
    }
    app.metadata.mark_ready(id).await?;
    catalogue::record(app, id).await;
    let row = app.metadata.repl(id).await?.ok_or(ApiError::NotFound("the repl is gone"))?;
    let mut response = (StatusCode::CREATED, Answer(info(&row, Role::Owner, None))).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/api/v1/repls/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    tracing::info!(repl = %id, template = row.template, "a repl was made");
    Ok(response)
}

/// `GET …/{repl}`, deleted ones too for their owner.
pub(crate) async fn get(
    State(app): State<Shared>,
    access: AnyAccess,
) -> Result<Answer<ReplInfo>, ApiError> {
    if access.role != Role::Owner {
        let access = access.present()?;
        return answer(&app, &access.repl, access.role).await;
    }
    answer(&app, &access.repl, access.role).await
}

/// `PATCH …/{repl}`.
pub(crate) async fn rename(
    State(app): State<Shared>,
    access: Access,
    Json(wanted): Json<RenameRepl>,
) -> Result<Answer<ReplInfo>, ApiError> {
    access.require_owner()?;
    let name = repl_name(&wanted.name)?;
    if !app.metadata.rename_repl(access.repl.id, &name, wall_ms()).await? {
        return Err(ApiError::Deleted);
    }
    catalogue::record(&app, access.repl.id).await;
    fresh(&app, access.repl.id, access.role).await
}

/// `DELETE …/{repl}`: nobody can open it from now on, and its owner can take that back.
pub(crate) async fn delete(
    State(app): State<Shared>,
    access: Access,
) -> Result<StatusCode, ApiError> {
    access.require_owner()?;
    app.metadata.delete_repl(access.repl.id, wall_ms()).await?;
    catalogue::record(&app, access.repl.id).await;
    tracing::info!(repl = %access.repl.id, "a repl was deleted");
    if let Err(error) = node_call::remove(&app, &access).await {
        // Its node loses the lease of a deleted repl at the next renewal, and closes it then.
        error.log();
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/{repl}/restore`.
pub(crate) async fn restore(
    State(app): State<Shared>,
    access: AnyAccess,
) -> Result<Answer<ReplInfo>, ApiError> {
    if access.role != Role::Owner {
        return Err(match access.present() {
            Ok(_) => ApiError::Forbidden("only the repl's owner may do this"),
            Err(error) => error,
        });
    }
    if app.metadata.restore_repl(access.repl.id).await? {
        catalogue::record(&app, access.repl.id).await;
        tracing::info!(repl = %access.repl.id, "a repl was restored");
    }
    fresh(&app, access.repl.id, Role::Owner).await
}

async fn fresh(app: &App, id: ReplId, role: Role) -> Result<Answer<ReplInfo>, ApiError> {
    let repl = app.metadata.repl(id).await?.ok_or(ApiError::NotFound("the repl is gone"))?;
    answer(app, &repl, role).await
}

async fn answer(app: &App, repl: &ReplRow, role: Role) -> Result<Answer<ReplInfo>, ApiError> {
    let loads = loads(app).await?;
    Ok(Answer(info(repl, role, loads.get(&repl.id))))
}

/// What the nodes last said of the repls they hold.
async fn loads(app: &App) -> Result<HashMap<ReplId, ReplLoad>, ApiError> {
    let nodes = app.metadata.nodes().await?;
    Ok(nodes.into_iter().flat_map(|node| node.loads).map(|load| (load.repl, load)).collect())
}

fn info(repl: &ReplRow, role: Role, load: Option<&ReplLoad>) -> ReplInfo {
    let load = load.filter(|_| repl.deleted_ms.is_none());
    ReplInfo {
        id: repl.id,
        name: repl.name.clone(),
        template: repl.template.clone(),
        language: repl.language.clone(),
        role,
        url: format!("/r/{}", repl.id),
        created_ms: repl.created_ms,
        updated_ms: repl.updated_ms,
        running: load.is_some_and(|load| load.running),
        online: load.map_or(0, |load| load.online),
        deleted_ms: repl.deleted_ms,
    }
}

fn repl_name(text: &str) -> Result<String, ApiError> {
    guest::clean_name(text, MAX_NAME_CHARS).ok_or_else(|| {
        ApiError::Unprocessable(
            "a repl's name has 1 to 80 characters and no control characters".to_owned(),
        )
    })
}

/// `Python qv3k`: told apart in a list without anybody having to think of a name.
fn made_up_name(title: &str, id: ReplId) -> String {
    format!("{title} {}", &id.as_str()[..4])
}

fn forked_name(source: &str) -> String {
    const SUFFIX: &str = " (fork)";
    let room = MAX_NAME_CHARS - SUFFIX.len();
    let kept: String = source.chars().take(room).collect();
    format!("{}{SUFFIX}", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forks_name_fits() {
        assert_eq!(forked_name("Hello"), "Hello (fork)");
        let long = forked_name(&"é".repeat(80));
        assert_eq!(long.chars().count(), 80);
        assert!(repl_name(&long).is_ok());
    }
}
