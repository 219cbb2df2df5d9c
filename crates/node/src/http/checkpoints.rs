//! `checkpoints`: saved states of the whole repl.

use axum::Json;
use axum::extract::Path;
use bytes::Bytes;
use http::StatusCode;
use tandem_proto::CheckpointId;
use tandem_proto::history::{Checkpoint, CheckpointReason, CheckpointRestored, CreateCheckpoint};

use super::problem::Failure;
use super::{Granted, body};
use crate::room::{Ask, NewCheckpoint};

type PointPath = Path<(String, String)>;

/// `GET …/checkpoints`: newest first.
pub async fn list(granted: Granted) -> Result<Json<Vec<Checkpoint>>, Failure> {
    Ok(Json(granted.room().await?.ask(Ask::Checkpoints).await?))
}

/// `POST …/checkpoints`.
pub async fn make(
    granted: Granted,
    bytes: Bytes,
) -> Result<(StatusCode, Json<Checkpoint>), Failure> {
    let granted = granted.editor()?;
    let request: CreateCheckpoint = body(&bytes)?;
    let name = request.name.unwrap_or_default();
    if name.chars().count() > 80 || name.chars().any(char::is_control) {
        return Err(Failure::invalid("a name has at most 80 characters"));
    }
    let (author, reason) = (granted.author(), CheckpointReason::Manual);
    let new = NewCheckpoint { name, author, reason };
    let made = granted.room().await?.ask(|reply| Ask::MakeCheckpoint(new, reply)).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// `DELETE …/checkpoints/{id}`.
pub async fn remove(granted: Granted, Path((_, id)): PointPath) -> Result<StatusCode, Failure> {
    let granted = granted.editor()?;
    let id = parse(&id)?;
    granted.room().await?.ask(|reply| Ask::DeleteCheckpoint(id, reply)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/checkpoints/{id}/restore`.
pub async fn restore(
    granted: Granted,
    Path((_, id)): PointPath,
) -> Result<Json<CheckpointRestored>, Failure> {
    let granted = granted.editor()?;
    let (id, author) = (parse(&id)?, granted.author());
    let room = granted.room().await?;
    Ok(Json(room.ask(|reply| Ask::RestoreCheckpoint(id, author, reply)).await?))
}

fn parse(id: &str) -> Result<CheckpointId, Failure> {
    id.parse().map_err(|_| Failure::not_found("there is no such checkpoint"))
}
