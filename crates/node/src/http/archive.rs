//! Export and import as zip.

use axum::Json;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use serde::Serialize;
use tandem_proto::history::CheckpointReason;
use tandem_proto::limits;

use super::problem::Failure;
use super::{Granted, content};
use crate::archive::zip;
use crate::room::{Ask, NewCheckpoint, WriteFile};

/// `GET …/archive.zip`.
pub async fn export(granted: Granted) -> Result<Response, Failure> {
    let export = granted.room().await?.ask(Ask::Export).await?;
    let mut files = Vec::with_capacity(export.files.len());
    let mut total = 0;
    for file in export.files {
        let bytes = content::bytes(&granted.node, granted.grant.repl, file.content).await?;
        total += bytes.len() as u64;
        if total > limits::MAX_IMPORT_UNPACKED_BYTES {
            return Err(Failure::too_large("the repl is too large for one archive"));
        }
        files.push((file.path, file.executable, bytes));
    }
    let bytes = tokio::task::spawn_blocking(move || zip::pack(&files, &export.folders))
        .await
        .map_err(|error| Failure::unavailable(error.to_string()))?
        .map_err(|error| Failure::unavailable(format!("the archive could not be made: {error}")))?;
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let name = content::disposition(&format!("{}.zip", granted.grant.repl));
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

#[derive(Serialize)]
pub struct Imported {
    files: usize,
}

/// `POST …/import`: unpacks a zip over the repl. Checked as a whole before anything changes.
pub async fn import(granted: Granted, bytes: Bytes) -> Result<Json<Imported>, Failure> {
    let granted = granted.editor()?;
    if bytes.len() as u64 > limits::MAX_IMPORT_BYTES {
        return Err(Failure::too_large(format!(
            "the archive is over {} MiB",
            limits::MAX_IMPORT_BYTES >> 20
        )));
    }
    let entries = tokio::task::spawn_blocking(move || zip::unpack(&bytes))
        .await
        .map_err(|error| Failure::unavailable(error.to_string()))??;
    let room = granted.room().await?;
    let files = entries.len();
    let author = granted.author();
    let (name, reason) = (String::new(), CheckpointReason::Import);
    let before = NewCheckpoint { name, author: author.clone(), reason };
    room.ask(|reply| Ask::MakeCheckpoint(before, reply)).await?;
    for entry in entries {
        let request = WriteFile {
            path: entry.path,
            content: entry.content,
            executable: Some(entry.executable),
            create_only: false,
            author: Some(author.clone()),
        };
        room.ask(|reply| Ask::WriteFile(request, reply)).await?;
    }
    Ok(Json(Imported { files }))
}

impl From<zip::ZipError> for Failure {
    fn from(error: zip::ZipError) -> Self {
        let detail = format!("{error}; nothing was changed");
        match error {
            zip::ZipError::TooLarge | zip::ZipError::TooMany => Self::too_large(detail),
            _ => Self::new(400, "invalid_archive", "Invalid archive", detail),
        }
    }
}
