//! Failures as small pages, for people who opened an address in a browser where the real page
//! cannot be.

use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::problem::ApiError;

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors *";

/// Whether the one who asks shows pages.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

/// The failure as a page.
pub(crate) fn page(error: &ApiError) -> Response {
    let problem = error.problem();
    let title = escape(&problem.title);
    let mut detail = escape(&problem.detail);
    if let ApiError::Misdirected(origin) = error {
        let origin = escape(origin);
        detail = format!("This server is reached at <a href=\"{origin}/\">{origin}</a>.");
    }
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;color-scheme:light dark;display:grid;\
         place-content:center;min-height:90vh;margin:0 2rem}}</style>\
         <h1>{title}</h1><p>{detail}</p></html>"
    );
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = (status, Html(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Text made safe inside an HTML element or a quoted attribute.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_become_markup() {
        assert_eq!(escape("<a b=\"&\">"), "&lt;a b=&quot;&amp;&quot;&gt;");
    }
}
