//! Errors as they travel over HTTP: RFC 9457 problem documents.

use serde::{Deserialize, Serialize};

/// Content type of a [`Problem`].
pub const CONTENT_TYPE: &str = "application/problem+json";

/// An RFC 9457 problem document. `code` is a stable word for programs, `detail` says to a
/// person what happened, whether work is safe, and one next step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
pub struct Problem {
    /// Always `about:blank`; the code tells problems apart.
    #[serde(rename = "type")]
    pub kind: String,
    /// Short summary, the same for each `code`.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// Stable machine-readable word, for example `not_found`.
    pub code: String,
}

impl Problem {
    /// A problem with the given status, code, title and detail.
    pub fn new(status: u16, code: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            code: code.to_owned(),
        }
    }
}
