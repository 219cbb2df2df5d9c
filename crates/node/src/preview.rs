//! Previews: a request for a program's own web page, streamed to its port inside the sandbox.
//!
//! HTTP/1.1 towards the program, one connection per request (loopback is cheap, and a pooled
//! connection that went stale breaks the next request). The original Host stays; hop-by-hop
//! headers do not pass; upgrades are joined byte for byte.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tandem_proto::limits;
use tandem_sandbox::AgentTcp;

use crate::http::{Failure, verify};
use crate::node::Node;
use crate::room::{Ask, RoomError};

/// Set by web: this request is for a program's port, whatever its path.
const PORT_HEADER: &str = "x-tandem-preview-port";
/// How long a request is held while the sandbox starts.
const WAKE: Duration = Duration::from_secs(10);
const WAKE_STEP: Duration = Duration::from_millis(100);

/// Headers that speak of one connection only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Middleware: takes preview requests out before the API's routes see them.
pub async fn serve(State(node): State<Node>, request: Request, next: Next) -> Response {
    if !request.headers().contains_key(PORT_HEADER) {
        return next.run(request).await;
    }
    match forward(&node, request).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}

enum Unreachable {
    NothingListens(u16),
    Sleeping(String),
    Broke(String),
}

impl IntoResponse for Unreachable {
    fn into_response(self) -> Response {
        let (status, title, text) = match self {
            Self::NothingListens(port) => (
                StatusCode::BAD_GATEWAY,
                format!("Nothing listens on port {port} yet"),
                "Start the program with Run. This page looks again by itself.".to_owned(),
            ),
            Self::Sleeping(reason) => {
                (StatusCode::SERVICE_UNAVAILABLE, "The repl is waking up".to_owned(), reason)
            }
            Self::Broke(reason) => {
                (StatusCode::BAD_GATEWAY, "The program did not answer".to_owned(), reason)
            }
        };
        let page = PAGE.replace("{title}", &escape(&title)).replace("{text}", &escape(&text));
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
            (header::RETRY_AFTER, "2"),
            (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        ];
        (status, headers, page).into_response()
    }
}

const PAGE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"2\"><title>{title}</title><style>:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;display:grid;place-content:center;min-height:90vh;text-align:center;margin:0 24px}h1{font-size:18px;font-weight:600;margin:0 0 4px}p{margin:0;opacity:.7}</style><h1>{title}</h1><p>{text}</p></html>";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

async fn forward(node: &Node, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let grant = verify(&parts, node)?;
    let port = parts
        .headers
        .get(PORT_HEADER)
        .and_then(|value| value.to_str().ok()?.parse::<u16>().ok())
        .filter(|port| limits::is_allowed_port(*port))
        .ok_or_else(|| {
            Failure::new(
                403,
                "port_not_allowed",
                "Forbidden",
                "previews use ports 80, 443 and above 2000",
            )
        })?;
    let mut request = Request::from_parts(parts, body);
    Ok(match connect(node, grant.repl, port).await? {
        Ok(stream) => match exchange(stream, &mut request).await {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(repl = %grant.repl, port, %error, "a preview request failed");
                Unreachable::Broke(format!(
                    "It listens on port {port}, but its answer was not understood."
                ))
                .into_response()
            }
        },
        Err(unreachable) => unreachable.into_response(),
    })
}

/// Dials the port, waiting while the sandbox starts.
async fn connect(
    node: &Node,
    repl: tandem_proto::ReplId,
    port: u16,
) -> Result<Result<AgentTcp, Unreachable>, Failure> {
    let room = node.room(repl).await?;
    let deadline = tokio::time::Instant::now() + WAKE;
    loop {
        match room.ask(|reply| Ask::Port(port, reply)).await {
            Ok((link, listening)) => {
                return Ok(link
                    .open_tcp(listening.address, port)
                    .await
                    .map_err(|_| Unreachable::NothingListens(port)));
            }
            Err(RoomError::NotFound(_)) => return Ok(Err(Unreachable::NothingListens(port))),
            Err(RoomError::Unavailable(reason)) => {
                if tokio::time::Instant::now() >= deadline {
                    return Ok(Err(Unreachable::Sleeping(reason)));
                }
                tokio::time::sleep(WAKE_STEP).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sends the request over a fresh connection and returns the answer, streaming.
async fn exchange(stream: AgentTcp, request: &mut Request) -> Result<Response, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .preserve_header_case(true)
        .handshake(TokioIo::new(stream))
        .await?;
    // Ends with the response's body or the upgraded stream.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::trace!(%error, "a preview connection ended");
        }
    });
    let upgrade = upgrade_of(request.headers());
    let client = upgrade.is_some().then(|| hyper::upgrade::on(&mut *request));
    clean_request(request, upgrade.as_ref());
    let mut response = sender.send_request(std::mem::take(request)).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = client else {
            return Ok(StatusCode::BAD_GATEWAY.into_response());
        };
        let program = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            if let (Ok(client), Ok(program)) = tokio::join!(client, program) {
                let (mut client, mut program) = (TokioIo::new(client), TokioIo::new(program));
                drop(tokio::io::copy_bidirectional(&mut client, &mut program).await);
            }
        });
        let (parts, _) = response.into_parts();
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = parts.headers;
        return Ok(response);
    }
    let mut response = response.map(Body::new);
    remove_hop_by_hop(response.headers_mut());
    drop_cookie_domains(response.headers_mut());
    *response.version_mut() = Version::HTTP_11;
    Ok(response)
}

fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers.get_all(header::CONNECTION).iter().any(|value| {
        value.to_str().is_ok_and(|text| {
            text.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
        })
    });
    headers.get(header::UPGRADE).filter(|_| asked).cloned()
}

fn clean_request(request: &mut Request, upgrade: Option<&HeaderValue>) {
    // HTTP/2 says the host in the address, HTTP/1.1 in a header.
    if !request.headers().contains_key(header::HOST)
        && let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(header::HOST, host);
    }
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = http::Uri::from(path);
    }
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    remove_hop_by_hop(headers);
    headers.remove(PORT_HEADER);
    headers.remove(tandem_proto::grant::HEADER);
    if let Some(upgrade) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, upgrade.clone());
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(|token| token.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// A program's cookies stay on its own host.
fn drop_cookie_domains(headers: &mut HeaderMap) {
    let cookies: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    if cookies.is_empty() {
        return;
    }
    headers.remove(header::SET_COOKIE);
    for cookie in cookies {
        let kept = cookie.to_str().ok().and_then(|text| {
            let parts: Vec<&str> = text
                .split(';')
                .filter(|part| !part.trim().to_ascii_lowercase().starts_with("domain="))
                .collect();
            HeaderValue::from_str(&parts.join(";")).ok()
        });
        if let Some(kept) = kept {
            headers.append(header::SET_COOKIE, kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_headers_do_not_pass() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive, x-private"));
        headers.insert("keep-alive", HeaderValue::from_static("timeout=5"));
        headers.insert("x-private", HeaderValue::from_static("1"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert("x-app", HeaderValue::from_static("stays"));
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers.len(), 1);
        assert!(headers.contains_key("x-app"));
    }

    #[test]
    fn cookies_lose_their_domain() {
        let mut headers = HeaderMap::new();
        headers
            .append(header::SET_COOKIE, HeaderValue::from_static("a=1; Domain=localhost; Path=/"));
        headers.append(header::SET_COOKIE, HeaderValue::from_static("b=2; HttpOnly"));
        drop_cookie_domains(&mut headers);
        let cookies: Vec<_> = headers.get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; Path=/", "b=2; HttpOnly"]);
    }

    #[test]
    fn an_upgrade_needs_both_headers() {
        let mut headers = HeaderMap::new();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        assert_eq!(upgrade_of(&headers), None);
        headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        assert_eq!(upgrade_of(&headers), Some(HeaderValue::from_static("websocket")));
    }

    #[test]
    fn texts_in_pages_are_escaped() {
        assert_eq!(escape("<b a=\"&\">"), "&lt;b a=&quot;&amp;&quot;&gt;");
    }
}
