//! What web asks of a node beside forwarding people's requests.

use axum::Json;
use axum::extract::{Query, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tandem_proto::internal::SeedRepl;
use tandem_proto::{MemberId, Role};

use super::Granted;
use super::problem::Failure;
use crate::node::Node;
use crate::room::{Ask, Command};

#[derive(Deserialize)]
pub struct ToolsQuery {
    names: String,
}

#[derive(Serialize)]
pub struct Tools {
    present: Vec<String>,
}

/// `GET /internal/v1/tools?names=a,b`: which commands exist inside sandboxes. Says nothing of
/// anybody, so it needs no grant.
pub async fn tools(State(node): State<Node>, Query(query): Query<ToolsQuery>) -> Json<Tools> {
    let names: Vec<String> = query
        .names
        .split(',')
        .filter(|name| !name.is_empty())
        .take(256)
        .map(str::to_owned)
        .collect();
    Json(Tools { present: node.tools(&names).await })
}

/// `POST …/seed`: fills a new repl.
pub async fn seed(granted: Granted, Json(seed): Json<SeedRepl>) -> Result<StatusCode, Failure> {
    owner(&granted)?;
    granted.node.seed(granted.grant.repl, seed).await?;
    Ok(StatusCode::CREATED)
}

/// `POST …/close`: flushes and leaves now.
pub async fn close(granted: Granted) -> Result<StatusCode, Failure> {
    owner(&granted)?;
    if let Some(room) = granted.node.open_room(granted.grant.repl) {
        room.ask(Ask::Leave).await?;
        room.finished().await;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /internal/v1/repls/{repl}`: closes the room, keeping nothing on this node.
pub async fn discard(granted: Granted) -> Result<StatusCode, Failure> {
    owner(&granted)?;
    granted.node.discard(granted.grant.repl).await;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub struct Revoke {
    member: MemberId,
    role: Option<Role>,
}

/// `POST …/revoke`: a member's right was withdrawn, or is now another.
pub async fn revoke(granted: Granted, Json(revoke): Json<Revoke>) -> Result<StatusCode, Failure> {
    owner(&granted)?;
    if let Some(room) = granted.node.open_room(granted.grant.repl) {
        // A closing room closes its sockets anyway.
        drop(room.send(Command::Ask(Ask::Revoke(revoke.member, revoke.role))).await);
    }
    Ok(StatusCode::NO_CONTENT)
}

fn owner(granted: &Granted) -> Result<(), Failure> {
    if granted.grant.role == Role::Owner {
        return Ok(());
    }
    Err(Failure::new(403, "owner_only", "Owner only", "only the owner may do this"))
}
