//! `tree` and `files`.

use axum::Json;
use axum::extract::{Path, Query};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use tandem_proto::RelPath;
use tandem_proto::api::{TreeEntry, TreeFolder};

use super::problem::Failure;
use super::{Granted, content};
use crate::room::{Ask, WriteFile};

#[derive(Deserialize)]
pub struct TreeQuery {
    dir: Option<String>,
}

/// `GET …/tree?dir=`: one folder.
pub async fn tree(
    granted: Granted,
    Query(query): Query<TreeQuery>,
) -> Result<Json<TreeFolder>, Failure> {
    let folder = match query.dir.as_deref().map(|dir| dir.trim_end_matches('/')) {
        None | Some("" | ".") => None,
        Some(dir) => Some(RelPath::parse(dir)?),
    };
    Ok(Json(granted.room().await?.ask(|reply| Ask::Tree(folder, reply)).await?))
}

type FilePath = Path<(String, String)>;

/// `GET …/files/{path}`: raw bytes.
pub async fn read(
    granted: Granted,
    Path((_, path)): FilePath,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let path = RelPath::parse(&path)?;
    let name = path.name().to_owned();
    let (file, _) = granted.room().await?.ask(|reply| Ask::ReadFile(path, reply)).await?;
    let bytes = content::bytes(&granted.node, granted.grant.repl, file).await?;
    Ok(content::response(bytes, &name, headers.get(header::RANGE)))
}

#[derive(Deserialize)]
pub struct WriteQuery {
    executable: Option<bool>,
}

/// `PUT …/files/{path}`: creates or replaces; `If-None-Match: *` only creates. On an open text
/// file it merges as a diff.
pub async fn write(
    granted: Granted,
    Path((_, path)): FilePath,
    Query(query): Query<WriteQuery>,
    headers: HeaderMap,
    content: Bytes,
) -> Result<Json<TreeEntry>, Failure> {
    let granted = granted.editor()?;
    let path = RelPath::parse_new(&path)?;
    let create_only = headers.get(header::IF_NONE_MATCH).is_some_and(|value| value == "*");
    let author = Some(granted.author());
    let request = WriteFile { path, content, executable: query.executable, create_only, author };
    Ok(Json(granted.room().await?.ask(|reply| Ask::WriteFile(request, reply)).await?))
}

/// `DELETE …/files/{path}`, restorable.
pub async fn remove(granted: Granted, Path((_, path)): FilePath) -> Result<StatusCode, Failure> {
    let granted = granted.editor()?;
    let path = RelPath::parse(&path)?;
    let author = granted.author();
    granted.room().await?.ask(|reply| Ask::Delete(path, author, reply)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub struct ActQuery {
    move_to: Option<String>,
    restore: Option<String>,
    folder: Option<String>,
}

/// `POST …/files/{path}?move_to=`, `?restore`, `?folder`.
pub async fn act(
    granted: Granted,
    Path((_, path)): FilePath,
    Query(query): Query<ActQuery>,
) -> Result<Json<TreeEntry>, Failure> {
    let granted = granted.editor()?;
    let room = granted.room().await?;
    let entry = match query {
        ActQuery { move_to: Some(to), .. } => {
            let (from, to) = (RelPath::parse(&path)?, RelPath::parse_new(&to)?);
            room.ask(|reply| Ask::Move(from, to, reply)).await?
        }
        ActQuery { restore: Some(_), .. } => {
            let path = RelPath::parse(&path)?;
            room.ask(|reply| Ask::Restore(path, reply)).await?
        }
        ActQuery { folder: Some(_), .. } => {
            let path = RelPath::parse_new(&path)?;
            room.ask(|reply| Ask::MakeFolder(path, reply)).await?
        }
        _ => return Err(Failure::invalid("say what to do: ?move_to=PATH, ?restore or ?folder")),
    };
    Ok(Json(entry))
}
