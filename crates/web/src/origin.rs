//! Whether a request that carries the session cookie was really made by the site's own pages.
//! A preview's page, or any other, can make the browser send requests here; it cannot make it
//! send our origin.

use http::header;
use http::request::Parts;
use http::{HeaderMap, Method};

use crate::config::PublicUrl;

/// Whether the cookie may authenticate this request.
pub(crate) fn is_own(site: &PublicUrl, parts: &Parts) -> bool {
    let fetch_site = parts.headers.get("sec-fetch-site").map(|value| value.as_bytes());
    if let Some(from) = fetch_site
        && from != b"same-origin"
        && from != b"none"
    {
        return false;
    }
    let harmless = matches!(parts.method, Method::GET | Method::HEAD) && !is_websocket(parts);
    match origin(&parts.headers) {
        Origin::Absent => harmless,
        Origin::Named(origin) => origin == site.origin(),
        Origin::Several => false,
    }
}

/// Whether the request names no origin, or the site's own: for requests without a cookie that
/// would set one.
pub(crate) fn is_not_foreign(site: &PublicUrl, headers: &HeaderMap) -> bool {
    match origin(headers) {
        Origin::Absent => true,
        Origin::Named(origin) => origin == site.origin(),
        Origin::Several => false,
    }
}

/// Whether a request asks to become a WebSocket.
pub(crate) fn is_websocket(parts: &Parts) -> bool {
    let upgrade = parts
        .headers
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    upgrade || parts.method == Method::CONNECT
}

enum Origin<'a> {
    Absent,
    Named(&'a str),
    Several,
}

fn origin(headers: &HeaderMap) -> Origin<'_> {
    let mut values = headers.get_all(header::ORIGIN).iter();
    match (values.next(), values.next()) {
        (None, _) => Origin::Absent,
        (Some(value), None) => value.to_str().map_or(Origin::Several, Origin::Named),
        (Some(_), Some(_)) => Origin::Several,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn own(method: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(method).uri("/api/v1/repls");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let site = "http://localhost:8080".parse().unwrap();
        is_own(&site, &request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn changes_and_sockets_need_our_origin() {
        let ours = ("origin", "http://localhost:8080");
        assert!(own("GET", &[]));
        assert!(own("POST", &[ours]));
        assert!(own("GET", &[("upgrade", "websocket"), ours]));
        assert!(own("POST", &[ours, ("sec-fetch-site", "same-origin")]));
        assert!(own("GET", &[("sec-fetch-site", "none")]));
        assert!(!own("POST", &[]));
        assert!(!own("DELETE", &[("origin", "null")]));
        assert!(!own("GET", &[("upgrade", "WebSocket")]));
        assert!(!own("GET", &[("sec-fetch-site", "cross-site")]));
        assert!(!own("GET", &[("sec-fetch-site", "same-site")]));
        assert!(!own("GET", &[("origin", "http://3000-x.localhost:8080")]));
        assert!(!own("POST", &[("origin", "http://localhost:8080.evil.example")]));
        assert!(!own("POST", &[ours, ours]));
    }
}
