//! Content of files on its way to a person. User files are never active on the site's origin:
//! plain text or bytes, as a download, sandboxed.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tandem_proto::limits;

use super::problem::Failure;
use crate::archive::tar;
use crate::node::Node;
use crate::room::FileContent;

/// The bytes behind a [`FileContent`].
pub async fn bytes(
    node: &Node,
    repl: tandem_proto::ReplId,
    content: FileContent,
) -> Result<Bytes, Failure> {
    match content {
        FileContent::Bytes(bytes) => Ok(bytes),
        FileContent::Blob(blob) => {
            within(blob.size)?;
            let store = node.store(repl);
            store.get_blob(&blob).await.map_err(|error| Failure::unavailable(error.to_string()))
        }
        FileContent::Disk(link, path, size) => {
            within(size)?;
            tar::read_one(&link, &path, limits::MAX_UPLOAD_BYTES as u64)
                .await
                .ok_or_else(|| Failure::unavailable("the file cannot be read in the sandbox now"))
        }
    }
}

fn within(size: u64) -> Result<(), Failure> {
    if size > limits::MAX_UPLOAD_BYTES as u64 {
        return Err(Failure::too_large("the file is too large to be sent"));
    }
    Ok(())
}

/// A response with a file's bytes, honouring one `Range`.
pub fn response(bytes: Bytes, name: &str, range: Option<&HeaderValue>) -> Response {
    let text = std::str::from_utf8(&bytes).is_ok_and(|text| !text.contains('\0'));
    let kind = if text { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    let total = bytes.len() as u64;
    let mut response = match range.and_then(|range| parse_range(range, total)) {
        None => Response::new(Body::from(bytes)),
        Some(Err(())) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            insert(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{total}"));
            return response;
        }
        Some(Ok((first, last))) => {
            let part = bytes.slice(first as usize..=last as usize);
            let mut response = Response::new(Body::from(part));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let value = format!("bytes {first}-{last}/{total}");
            insert(response.headers_mut(), header::CONTENT_RANGE, &value);
            response
        }
    };
    let headers = response.headers_mut();
    insert(headers, header::CONTENT_TYPE, kind);
    insert(headers, header::ACCEPT_RANGES, "bytes");
    insert(headers, header::CONTENT_DISPOSITION, &disposition(name));
    insert(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    insert(headers, header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'");
    insert(headers, header::CACHE_CONTROL, "no-store");
    response
}

/// An attachment with this name, RFC 6266.
pub fn disposition(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => {
                encoded.push(byte as char)
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    format!("attachment; filename*=UTF-8''{encoded}")
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// First and last byte of a single range; `None` for what is not understood and so ignored.
fn parse_range(range: &HeaderValue, total: u64) -> Option<Result<(u64, u64), ()>> {
    let (first, last) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = match (first, last) {
        ("", suffix) => {
            let suffix: u64 = suffix.parse().ok()?;
            if suffix == 0 {
                return Some(Err(()));
            }
            (total.saturating_sub(suffix), total.checked_sub(1)?)
        }
        (first, "") => (first.parse().ok()?, total.checked_sub(1)?),
        (first, last) => {
            (first.parse().ok()?, last.parse::<u64>().ok()?.min(total.checked_sub(1)?))
        }
    };
    Some(if first > last || first >= total { Err(()) } else { Ok((first, last)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let parse = |text: &str| parse_range(&HeaderValue::from_str(text).unwrap(), 100);
        assert_eq!(parse("bytes=0-9"), Some(Ok((0, 9))));
        assert_eq!(parse("bytes=90-"), Some(Ok((90, 99))));
        assert_eq!(parse("bytes=-5"), Some(Ok((95, 99))));
        assert_eq!(parse("bytes=0-1000"), Some(Ok((0, 99))));
        assert_eq!(parse("bytes=100-"), Some(Err(())));
        assert_eq!(parse("bytes=9-3"), Some(Err(())));
        assert_eq!(parse("bytes=0-1,3-4"), None);
        assert_eq!(parse("lines=0-1"), None);
    }

    #[test]
    fn names_cannot_break_the_header() {
        assert_eq!(disposition("a\"\r\nb.txt"), "attachment; filename*=UTF-8''a%22%0D%0Ab.txt");
    }
}
