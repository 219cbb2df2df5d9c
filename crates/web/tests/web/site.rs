use reqwest::{Method, header};

use crate::support::{Server, problem};

#[tokio::test]
async fn pages_are_served_with_their_guards() {
    let server = Server::start().await;
    for path in ["/", "/r/aaaaaaaaaaaaaaaa", "/templates", "/index.html/", "/index"] {
        let response = server.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let headers = response.headers().clone();
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert!(text("content-type").starts_with("text/html"));
        assert_eq!(text("cache-control"), "no-store");
        assert_eq!(text("x-content-type-options"), "nosniff");
        assert_eq!(text("referrer-policy"), "no-referrer");
        assert!(text("permissions-policy").contains("camera=()"));
        let policy = text("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self';",
            "frame-ancestors 'none'",
            "frame-src http://*.localhost:*",
            &format!("connect-src 'self' ws://{}", server.host()),
            "img-src 'self' blob: data:",
        ] {
            assert!(policy.contains(part), "{policy} lacks {part}");
        }
        assert!(response.text().await.unwrap().contains("<html"));
    }
    for path in ["/assets/nothing.js", "/favicon.nothing", "/assets/x%2f..%2f..%2fpackage.json"] {
        assert_eq!(problem(server.request(Method::GET, path)).await.0, 404, "{path}");
    }
    let head = server.request(Method::HEAD, "/").send().await.unwrap();
    assert_eq!(head.status(), 200);
}

#[tokio::test]
async fn data_is_never_a_page() {
    let server = Server::start().await;
    let response = server.owner(Method::GET, "/api/v1/repls").send().await.unwrap();
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"));
}

#[tokio::test]
async fn health_readiness_and_metrics_answer() {
    let server = Server::start().await;
    server.create().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.request(Method::GET, path).send().await.unwrap().status(), 200);
    }
    let page = server.request(Method::GET, "/metrics").send().await.unwrap();
    let text = page.text().await.unwrap();
    for line in
        ["tandem_web_requests_total{host=\"site\",class=\"2\"}", "tandem_web_request_seconds_count"]
    {
        assert!(text.contains(line), "{text}");
    }
}
