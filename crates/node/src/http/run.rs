//! Run, Stop, status and terminals.

use axum::Json;
use axum::extract::Path;
use bytes::Bytes;
use http::StatusCode;
use tandem_proto::TerminalId;
use tandem_proto::api::{CreateTerminal, ReplStatus, RunRequest, RunStarted, TerminalInfo};
use tandem_proto::egress::EgressReport;

use super::problem::Failure;
use super::{Granted, body};
use crate::room::{Ask, DEFAULT_TASK};

/// `POST …/run`.
pub async fn run(granted: Granted, bytes: Bytes) -> Result<Json<RunStarted>, Failure> {
    let granted = granted.editor()?;
    let request: RunRequest = body(&bytes)?;
    let task = request.task.unwrap_or_else(|| DEFAULT_TASK.to_owned());
    let member = granted.grant.member;
    let terminal = granted.room().await?.ask(|reply| Ask::Run(task, member, reply)).await?;
    Ok(Json(RunStarted { terminal }))
}

/// `POST …/stop`.
pub async fn stop(granted: Granted) -> Result<StatusCode, Failure> {
    let granted = granted.editor()?;
    granted.room().await?.ask(Ask::Stop).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET …/status`.
pub async fn status(granted: Granted) -> Result<Json<ReplStatus>, Failure> {
    let (live, open_documents) = granted.room().await?.ask(Ask::Status).await?;
    Ok(Json(ReplStatus { live, open_documents }))
}

/// `GET …/egress`: what the repl's programs sent and received. Opens no room.
pub async fn egress(granted: Granted) -> Json<EgressReport> {
    Json(granted.node.egress(granted.grant.repl))
}

/// `GET …/terminals`.
pub async fn terminals(granted: Granted) -> Result<Json<Vec<TerminalInfo>>, Failure> {
    let (live, _) = granted.room().await?.ask(Ask::Status).await?;
    Ok(Json(live.terminals))
}

/// `POST …/terminals`.
pub async fn open_terminal(
    granted: Granted,
    bytes: Bytes,
) -> Result<(StatusCode, Json<TerminalInfo>), Failure> {
    let granted = granted.editor()?;
    let request: CreateTerminal = body(&bytes)?;
    let (cols, rows) = (request.cols.unwrap_or(80), request.rows.unwrap_or(24));
    let info = granted.room().await?.ask(|reply| Ask::OpenTerminal(cols, rows, reply)).await?;
    Ok((StatusCode::CREATED, Json(info)))
}

/// `DELETE …/terminals/{id}`.
pub async fn close_terminal(
    granted: Granted,
    Path((_, terminal)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    let granted = granted.editor()?;
    let terminal = parse(&terminal)?;
    granted.room().await?.ask(|reply| Ask::CloseTerminal(terminal, reply)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A terminal's id from a path.
pub fn parse(text: &str) -> Result<TerminalId, Failure> {
    text.parse().map_err(|_| Failure::not_found("there is no such terminal"))
}
