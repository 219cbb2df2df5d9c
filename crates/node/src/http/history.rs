//! `history`: who wrote what when, earlier texts, playback, blame, and bringing a version back.

use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, header};
use serde::Deserialize;
use tandem_proto::RelPath;
use tandem_proto::history::{NEXT_FROM, VersionRestored};

use super::Granted;
use super::problem::Failure;
use crate::history::{Deadline, HistoryError, Material, Page, Timeline};
use crate::room::{Ask, RoomHandle};

/// Longest time spent on one answer.
const LIMIT: Duration = Duration::from_secs(20);
/// Sessions in one answer, unless asked otherwise, and at most.
const SESSIONS: (usize, usize) = (100, 1_000);

/// What is asked of a history.
#[derive(Deserialize)]
pub struct HistoryQuery {
    at: Option<u64>,
    replay: Option<String>,
    from: Option<u64>,
    to: Option<u64>,
    blame: Option<String>,
    before: Option<u64>,
    limit: Option<usize>,
}

type FilePath = Path<(String, String)>;

/// `GET …/history/{path}`, `?at=MS`, `?replay&from=MS&to=MS`, `?blame`.
pub async fn read(
    granted: Granted,
    Path((_, path)): FilePath,
    Query(query): Query<HistoryQuery>,
) -> Result<Response, Failure> {
    let path = RelPath::parse(&path)?;
    let room = granted.room().await?;
    let wants_blame = query.blame.is_some();
    let reading = Reading { granted: &granted, room: &room, path, wants_present: wants_blame };
    if let Some(ms) = query.at {
        let text = reading.ask(move |timeline, deadline| timeline.text_at(ms, deadline)).await?;
        return Ok(plain(text.into(), "text/plain; charset=utf-8"));
    }
    if query.replay.is_some() {
        let (from, to) = (query.from, query.to);
        let playback = reading.ask(move |timeline, deadline| timeline.playback(from, to, deadline));
        let playback = playback.await?;
        let mut response = plain(playback.bytes.into(), "application/octet-stream");
        if let Some(next) = playback.next_from {
            response.headers_mut().insert(NEXT_FROM, HeaderValue::from(next));
        }
        return Ok(response);
    }
    if wants_blame {
        let lines = reading.ask(|timeline, deadline| timeline.blame(deadline)).await?;
        return Ok(Json(lines).into_response());
    }
    let limit = query.limit.unwrap_or(SESSIONS.0).clamp(1, SESSIONS.1);
    let page = Page { before: query.before, limit };
    let list = reading.ask(move |timeline, _| Ok(timeline.sessions(page))).await?;
    Ok(Json(list).into_response())
}

/// What is done with a history.
#[derive(Deserialize)]
pub struct ActQuery {
    restore: Option<u64>,
}

/// `POST …/history/{path}?restore=MS`: the text of that moment as a new edit.
pub async fn act(
    granted: Granted,
    Path((_, path)): FilePath,
    Query(query): Query<ActQuery>,
) -> Result<Json<VersionRestored>, Failure> {
    let granted = granted.editor()?;
    let path = RelPath::parse(&path)?;
    let Some(ms) = query.restore else {
        return Err(Failure::invalid("say what to do: ?restore=MS"));
    };
    let room = granted.room().await?;
    let reading =
        Reading { granted: &granted, room: &room, path: path.clone(), wants_present: false };
    let text = reading.ask(move |timeline, deadline| timeline.text_at(ms, deadline)).await?;
    let author = granted.author();
    let changed = room.ask(|reply| Ask::RestoreText { path, text, author, reply }).await?;
    Ok(Json(VersionRestored { changed }))
}

/// One look at a file's history.
struct Reading<'a> {
    granted: &'a Granted,
    room: &'a RoomHandle,
    path: RelPath,
    wants_present: bool,
}

impl Reading<'_> {
    async fn ask<T: Send + 'static>(
        self,
        question: impl FnOnce(&Timeline, Deadline) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, Failure> {
        let deadline = Deadline(Instant::now() + LIMIT);
        let node = &self.granted.node;
        // Few at once: each holds what it reads in memory and keeps a thread busy.
        let slot = node.history_slot().await;
        let path = self.path;
        let source = self.room.ask(|reply| Ask::History(path, reply)).await?;
        let store = node.store(self.granted.grant.repl);
        let mut material = Material::fetch(&store, source).await?;
        if self.wants_present {
            material = material.with_present(&store).await?;
        }
        let answer = tokio::task::spawn_blocking(move || {
            let timeline = Timeline::new(material, deadline)?;
            question(&timeline, deadline)
        });
        let answer = answer.await.map_err(|error| Failure::unavailable(error.to_string()))?;
        drop(slot);
        Ok(answer?)
    }
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        let detail = error.to_string();
        match error {
            HistoryError::Nothing => Self::not_found(detail),
            HistoryError::TooLong => Self::too_large(detail),
            HistoryError::Unreadable(error) if error.is_retryable() => Self::unavailable(detail),
            HistoryError::Unreadable(_) | HistoryError::Broken => {
                Self::new(500, "corrupt", "Stored data is damaged", detail)
            }
        }
    }
}

/// Content that no browser takes for a page.
fn plain(bytes: bytes::Bytes, kind: &'static str) -> Response {
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox; default-src 'none'"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
