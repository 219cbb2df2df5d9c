//! The page and its assets, embedded in the binary. Names under `assets/` contain a hash of
//! their contents and are kept by browsers for ever; the page itself is asked for each time.

use std::borrow::Cow;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use rust_embed::{EmbeddedFile, RustEmbed};
use tower_http::compression::CompressionLayer;

use crate::problem::ApiError;

include!(concat!(env!("OUT_DIR"), "/dist.rs"));

const INDEX: &str = "index.html";
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Shown when the server was built without the page.
const PLACEHOLDER: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Tandem</title>\
<style>body{font:16px/1.6 system-ui,sans-serif;color-scheme:light dark;display:grid;\
place-content:center;min-height:90vh;margin:0 2rem}code{background:#8883;padding:.1em .4em;\
border-radius:.3em}</style><h1>Tandem is running</h1>\
<p>Its page was not built into this binary. The API works. To have the page, run \
<code>npm ci &amp;&amp; npm run build</code> in <code>frontend/</code> and build again, or use \
<code>make run</code>.</p></html>";

/// Everything that is not data.
pub(crate) fn router() -> Router {
    router_of::<Dist>()
}

fn router_of<Files: RustEmbed + 'static>() -> Router {
    Router::new().fallback(serve::<Files>).layer(CompressionLayer::new())
}

async fn serve<Files: RustEmbed>(request: Request) -> Result<Response, ApiError> {
    if crate::api::is_data_path(request.uri().path()) {
        return Err(ApiError::NotFound("there is nothing at this address"));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(ApiError::MethodNotAllowed(request.method().clone()));
    }
    let path = request.uri().path().trim_start_matches('/');
    if path != INDEX
        && let Some(response) = asset::<Files>(path, request.headers())
    {
        return Ok(response);
    }
    // A missing asset is missing; any other address is one of the page's own.
    let last = path.rsplit('/').next().unwrap_or_default();
    if path.starts_with("assets/") || (last.contains('.') && path != INDEX) {
        return Err(ApiError::NotFound("there is no such file"));
    }
    Ok(page::<Files>(request.headers()))
}

fn page<Files: RustEmbed>(headers: &HeaderMap) -> Response {
    let mut response = match chosen::<Files>(INDEX, headers) {
        Some(found) => found.into_response(INDEX),
        None => Html(PLACEHOLDER).into_response(),
    };
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    response
}

fn asset<Files: RustEmbed>(path: &str, headers: &HeaderMap) -> Option<Response> {
    if path.is_empty() || path.ends_with(".br") || path.ends_with(".gz") {
        return None;
    }
    let found = chosen::<Files>(path, headers)?;
    let tag = found.tag();
    let caching = if path.starts_with("assets/") { FOR_EVER } else { "no-cache" };
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|value| *value == tag);
    let mut response =
        if known { StatusCode::NOT_MODIFIED.into_response() } else { found.into_response(path) };
    let out = response.headers_mut();
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        out.insert(header::ETAG, tag);
    }
    Some(response)
}

/// A file in the form this browser takes: compressed when the build made such a form.
struct Chosen {
    file: EmbeddedFile,
    encoding: Option<&'static str>,
}

impl Chosen {
    fn tag(&self) -> String {
        let hash = self.file.metadata.sha256_hash();
        let hex: String = hash[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        // Weak: compression on the way does not make it another file.
        format!("W/\"{hex}\"")
    }

    fn into_response(self, path: &str) -> Response {
        let bytes = match self.file.data {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        };
        let mut response = Response::new(Body::from(bytes));
        let headers = response.headers_mut();
        let kind = mime_guess::from_path(path).first_or_octet_stream();
        let text = if kind.type_() == mime_guess::mime::TEXT {
            format!("{kind}; charset=utf-8")
        } else {
            kind.to_string()
        };
        if let Ok(kind) = HeaderValue::from_str(&text) {
            headers.insert(header::CONTENT_TYPE, kind);
        }
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if let Some(encoding) = self.encoding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        response
    }
}

fn chosen<Files: RustEmbed>(path: &str, headers: &HeaderMap) -> Option<Chosen> {
    let accepted = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let takes = |encoding: &str| {
        accepted.split(',').any(|part| part.split(';').next().is_some_and(|p| p.trim() == encoding))
    };
    for (encoding, suffix) in [("br", "br"), ("gzip", "gz")] {
        if takes(encoding)
            && let Some(file) = Files::get(&format!("{path}.{suffix}"))
        {
            return Some(Chosen { file, encoding: Some(encoding) });
        }
    }
    Files::get(path).map(|file| Chosen { file, encoding: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use tower::ServiceExt as _;

    #[derive(RustEmbed)]
    #[folder = "tests/dist"]
    struct Built;

    #[derive(RustEmbed)]
    #[folder = "tests/nowhere"]
    #[allow_missing = true]
    struct NotBuilt;

    async fn get<Files: RustEmbed + 'static>(
        path: &str,
        headers: &[(&str, &str)],
    ) -> (u16, HeaderMap, Bytes) {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = router_of::<Files>().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (parts.status.as_u16(), parts.headers, body)
    }

    #[tokio::test]
    async fn assets_are_kept_and_the_page_is_not() {
        let (status, headers, body) = get::<Built>("/assets/app-1a2b.js", &[]).await;
        assert_eq!((status, &body[..12]), (200, &b"// The app's"[..]));
        assert_eq!(headers["content-type"], "text/javascript; charset=utf-8");
        assert_eq!(headers["cache-control"], FOR_EVER);
        let tag = headers["etag"].to_str().unwrap();
        let again = get::<Built>("/assets/app-1a2b.js", &[("if-none-match", tag)]).await;
        assert_eq!((again.0, again.2.len()), (304, 0));
        for path in ["/", "/r/abc", "/anything/else", "/index.html"] {
            let (status, headers, body) = get::<Built>(path, &[]).await;
            assert_eq!((status, headers["cache-control"].as_bytes()), (200, &b"no-store"[..]));
            assert!(body.starts_with(b"<!doctype html><title>Built"), "{path}");
        }
        let (_, headers, _) = get::<Built>("/favicon.svg", &[]).await;
        assert_eq!(headers["cache-control"], "no-cache");
        assert_eq!(headers["content-type"], "image/svg+xml");
    }

    #[tokio::test]
    async fn browsers_get_the_smallest_form_they_take() {
        let path = "/assets/app-1a2b.js";
        let (_, headers, body) = get::<Built>(path, &[("accept-encoding", "gzip, br")]).await;
        assert_eq!(
            (&headers["content-encoding"], &body[..]),
            (&"br".parse().unwrap(), &b"made by the build"[..])
        );
        let (_, headers, _) = get::<Built>(path, &[("accept-encoding", "gzip")]).await;
        assert_eq!(headers["content-encoding"], "gzip");
        assert!(get::<Built>(path, &[]).await.1.get("content-encoding").is_none());
        assert_eq!(get::<Built>("/assets/app-1a2b.js.br", &[]).await.0, 404);
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_found() {
        for path in
            ["/assets/old.js", "/robots.txt", "/../Cargo.toml", "/assets/../../../Cargo.toml"]
        {
            assert_eq!(get::<Built>(path, &[]).await.0, 404, "{path}");
        }
        let (status, _, body) = get::<NotBuilt>("/r/abc", &[]).await;
        assert_eq!(status, 200);
        assert!(String::from_utf8_lossy(&body).contains("npm run build"));
        assert_eq!(get::<NotBuilt>("/assets/app.js", &[]).await.0, 404);
    }
}
