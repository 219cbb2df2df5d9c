use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::support::{OWNER_TOKEN, Server, next, ok, send};

fn at(server: &Server, label: &str, path: &str) -> reqwest::RequestBuilder {
    let host = format!("{label}.localhost:{}", server.address.port());
    server.to_host(&host, Method::GET, path)
}

#[tokio::test]
async fn a_preview_is_the_programs_own() {
    let server = Server::start().await;
    let repl = server.create().await;
    let (_, cookie) = server.sign_in(OWNER_TOKEN, None).await;
    // Every path is the program's, also those that mean something on the site.
    for path in ["/", "/api/v1/repls?token=kept&x=%2F..", "/healthz", "/internal/v1/nodes", "/r/x"]
    {
        let seen = ok(at(&server, &format!("3000-{repl}"), path)
            .header(header::COOKIE, format!("a=b; {}; tandem_1=x", cookie.as_deref().unwrap()))
            .header(header::AUTHORIZATION, "Basic YTpi")
            .header("x-tandem-preview-port", "22")
            .header("x-tandem-grant", "forged")
            .header("x-forwarded-for", "198.18.0.9"))
        .await;
        assert_eq!(seen["target"], path);
        assert_eq!(seen["preview_port"], "3000");
        let headers: Vec<(String, String)> =
            serde_json::from_value(seen["headers"].clone()).unwrap();
        let all = |name: &str| -> Vec<&str> {
            headers.iter().filter(|(key, _)| key == name).map(|(_, v)| v.as_str()).collect()
        };
        let host = format!("3000-{repl}.localhost:{}", server.address.port());
        assert_eq!(all("host"), [host.as_str()]);
        assert_eq!(all("cookie"), ["a=b"]);
        assert_eq!(all("authorization"), ["Basic YTpi"], "the program's own");
        assert_eq!(all("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(all("x-forwarded-host"), [host.as_str()]);
        assert_eq!(
            (&seen["grant"]["role"], &seen["grant"]["repl"]),
            (&json!("viewer"), &json!(repl))
        );
    }
    let response = at(&server, &format!("80-{repl}"), "/").send().await.unwrap();
    for name in ["content-security-policy", "x-frame-options"] {
        assert!(response.headers().get(name).is_none(), "{name} is the program's business");
    }
    assert_eq!(response.headers()["x-app"], "yes");
}

#[tokio::test]
async fn a_previews_sockets_pass_through() {
    let server = Server::start().await;
    let repl = server.create().await;
    let host = format!("5173-{repl}.localhost:{}", server.address.port());
    let mut socket = server.socket("/hot?token=abc", &[("host", &host)]).await.unwrap();
    send(&mut socket, vec![1, 2, 3]).await;
    assert_eq!(next(&mut socket).await.unwrap(), [1, 2, 3]);
}

#[tokio::test]
async fn other_ports_and_repls_get_a_page_that_says_so() {
    let server = Server::start().await;
    let repl = server.create().await;
    for (label, status) in [
        (format!("22-{repl}"), 403),
        (format!("2000-{repl}"), 403),
        (format!("8080-{repl}"), 200),
        (format!("443-{repl}"), 200),
        ("3000-aaaaaaaaaaaaaaaa".to_owned(), 404),
        (format!("3000-{repl}x"), 421),
        (format!("03000-{repl}"), 421),
        (repl.to_string(), 421),
    ] {
        let response = at(&server, &label, "/").send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{label}");
        if status == 403 || status == 404 {
            assert!(response.headers()[header::CONTENT_TYPE].to_str().unwrap().contains("html"));
            assert!(response.headers().get(header::SET_COOKIE).is_none());
        }
    }
    server.owner(Method::DELETE, &format!("/api/v1/repls/{repl}")).send().await.unwrap();
    let response = at(&server, &format!("3000-{repl}"), "/").send().await.unwrap();
    assert_eq!(response.status(), 404);
}

#[tokio::test]
async fn the_sites_host_serves_no_preview_and_a_preview_no_api() {
    let server = Server::start().await;
    let repl = server.create().await;
    let forged = server
        .owner(Method::GET, &format!("/api/v1/repls/{repl}/tree"))
        .header("x-tandem-preview-port", "3000");
    let seen: Value = ok(forged).await;
    assert_eq!(seen["preview_port"], Value::Null);
    let seen =
        ok(at(&server, &format!("3000-{repl}"), "/api/v1/me").bearer_auth(OWNER_TOKEN)).await;
    assert_eq!(seen["preview_port"], "3000");
}
