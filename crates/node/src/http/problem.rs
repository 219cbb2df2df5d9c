//! Errors to HTTP: the one place where kinds become statuses.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use tandem_proto::PathError;
use tandem_proto::problem::{CONTENT_TYPE, Problem};

use crate::node::OpenRoomError;
use crate::room::RoomError;

/// A request that was not carried out.
#[derive(Debug)]
pub struct Failure(Box<Problem>);

impl Failure {
    /// A failure with everything given.
    pub fn new(status: u16, code: &str, title: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem::new(status, code, title, detail)))
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(404, "not_found", "Not found", detail)
    }

    /// 400.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(400, "invalid_request", "Invalid request", detail)
    }

    /// 413.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(413, "too_large", "Too large", detail)
    }

    /// 503.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(503, "unavailable", "Unavailable", detail)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}

impl From<RoomError> for Failure {
    fn from(error: RoomError) -> Self {
        let detail = error.to_string();
        match error {
            RoomError::NotFound(_) => Self::not_found(detail),
            RoomError::Conflict(_) => Self::new(409, "conflict", "Conflict", detail),
            RoomError::Invalid(_) => Self::invalid(detail),
            RoomError::TooLarge(_) => Self::too_large(detail),
            RoomError::Unavailable(_) | RoomError::Closing => Self::unavailable(detail),
        }
    }
}

impl From<OpenRoomError> for Failure {
    fn from(error: OpenRoomError) -> Self {
        let detail = error.to_string();
        match error {
            OpenRoomError::Missing => Self::not_found(detail),
            OpenRoomError::Corrupt(_) => {
                Self::new(500, "corrupt", "Stored data is damaged", detail)
            }
            OpenRoomError::Held(_) => Self::new(409, "held_elsewhere", "Open elsewhere", detail),
            OpenRoomError::Unavailable(_) | OpenRoomError::Stopping => Self::unavailable(detail),
        }
    }
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Self {
        Self::new(400, "invalid_path", "Invalid path", error.to_string())
    }
}
