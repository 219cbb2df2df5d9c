//! The one place where failures become HTTP answers: RFC 9457 problem documents. What the
//! server itself got wrong is logged here and told to nobody in detail.

use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use tandem_proto::problem::{CONTENT_TYPE, Problem};
use tandem_store::TemplateError;

use crate::metadata::MetadataError;
use crate::nodes::NodeError;
use crate::token::NoRandomness;

/// Why a request is not answered as asked. Each kind names what the caller can do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("sign in first: open the link with your token, or send it as a bearer token")]
    Unauthenticated,
    #[error("this token is not valid here; it may have been revoked")]
    BadToken,
    #[error("too many wrong tokens from your address; wait a little and try again")]
    TooManyAttempts,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("this request did not come from the site's own pages, so your session was not used")]
    ForeignOrigin,
    #[error("{0}")]
    NotFound(&'static str),
    #[error("this repl was deleted; its owner can restore it for 7 days")]
    Deleted,
    #[error("{detail}")]
    Conflict { code: &'static str, detail: String },
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Unprocessable(String),
    #[error("the request's body is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("the body must be JSON, with content type application/json")]
    NotJson,
    #[error("this address does not take the method {0}")]
    MethodNotAllowed(http::Method),
    #[error("this server is reached at {0}")]
    Misdirected(String),
    #[error("port {0} cannot be previewed: only 80, 443 and those above 2000 can")]
    PortRefused(u16),
    #[error("the server that runs this repl does not answer; nothing is lost, try again soon")]
    NodeUnavailable(#[source] NodeError),
    #[error("the templates cannot be read from the blob store now; try again soon")]
    Templates(#[from] TemplateError),
    #[error("something went wrong inside the server; nothing was changed, try again")]
    Metadata(#[from] MetadataError),
    #[error("something went wrong inside the server; nothing was changed, try again")]
    NoRandomness(#[from] NoRandomness),
}

impl ApiError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated | Self::BadToken => StatusCode::UNAUTHORIZED,
            Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::Forbidden(_) | Self::ForeignOrigin | Self::PortRefused(_) => {
                StatusCode::FORBIDDEN
            }
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Deleted => StatusCode::GONE,
            Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Misdirected(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::NodeUnavailable(_) | Self::Templates(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Metadata(_) | Self::NoRandomness(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::BadToken => "bad_token",
            Self::TooManyAttempts => "too_many_attempts",
            Self::Forbidden(_) => "forbidden",
            Self::ForeignOrigin => "foreign_origin",
            Self::NotFound(_) => "not_found",
            Self::Deleted => "deleted",
            Self::Conflict { code, .. } => code,
            Self::BadRequest(_) => "bad_request",
            Self::Unprocessable(_) => "unprocessable",
            Self::TooLarge { .. } => "too_large",
            Self::NotJson => "not_json",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::Misdirected(_) => "misdirected",
            Self::PortRefused(_) => "port_refused",
            Self::NodeUnavailable(_) => "node_unavailable",
            Self::Templates(_) => "templates_unavailable",
            Self::Metadata(_) | Self::NoRandomness(_) => "internal",
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::Unauthenticated => "Not signed in",
            Self::BadToken => "Token not accepted",
            Self::TooManyAttempts => "Too many attempts",
            Self::Forbidden(_) => "Not allowed",
            Self::ForeignOrigin => "Request from another site",
            Self::NotFound(_) => "Not found",
            Self::Deleted => "Deleted",
            Self::Conflict { .. } => "Not possible now",
            Self::BadRequest(_) => "Bad request",
            Self::Unprocessable(_) => "Not acceptable as it is",
            Self::TooLarge { .. } => "Too large",
            Self::NotJson => "Not JSON",
            Self::MethodNotAllowed(_) => "Method not allowed",
            Self::Misdirected(_) => "Wrong host",
            Self::PortRefused(_) => "Port not allowed",
            Self::NodeUnavailable(_) | Self::Templates(_) => "Temporarily unavailable",
            Self::Metadata(_) | Self::NoRandomness(_) => "Internal error",
        }
    }

    pub(crate) fn problem(&self) -> Problem {
        Problem::new(self.status().as_u16(), self.code(), self.title(), self.to_string())
    }

    /// Logs what a human should look at; called once, where the error is turned into an answer.
    pub(crate) fn log(&self) {
        match self {
            Self::Metadata(error) => tracing::error!(%error, "the metadata database failed"),
            Self::NoRandomness(error) => tracing::error!(%error, "no randomness"),
            Self::NodeUnavailable(error) => tracing::warn!(%error, "a node did not answer"),
            Self::Templates(error) => tracing::warn!(%error, "the templates could not be read"),
            _ => {}
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let body = serde_json::to_vec(&self.problem()).unwrap_or_default();
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::Unauthenticated | Self::BadToken => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::TooManyAttempts => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Self::NodeUnavailable(_) | Self::Templates(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        response
    }
}

/// A JSON body whose refusal is a problem document.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(body)) => Ok(Self(body)),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(ApiError::NotJson),
            Err(JsonRejection::BytesRejection(rejection)) => Err(body_rejection(&rejection)),
            Err(JsonRejection::JsonDataError(error)) => {
                Err(ApiError::Unprocessable(error.body_text()))
            }
            Err(other) => Err(ApiError::BadRequest(other.body_text())),
        }
    }
}

/// A JSON body that may be left out.
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if http_body::Body::is_end_stream(request.body()) {
            return Ok(Self(T::default()));
        }
        Json::from_request(request, state).await.map(|Json(body)| Self(body))
    }
}

fn body_rejection(rejection: &BytesRejection) -> ApiError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return ApiError::TooLarge { limit: crate::api::MAX_BODY_BYTES as u64 };
    }
    ApiError::BadRequest("the request's body could not be read".to_owned())
}
