use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Request, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use tandem_proto::internal::{LeaseRequest, MoveHead, NodeHeartbeat, ReleaseLease, RenewLeases};
use tandem_proto::{BootId, Epoch, GrantSigner, NodeId, ReplId};
use tower::ServiceExt as _;

use crate::support::{SECRET, Server};

async fn call(server: &Server, path: &str, body: &impl Serialize) -> (StatusCode, Value) {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .body(Body::from(serde_json::to_vec(body).unwrap()))
        .unwrap();
    let response = server.internal.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

#[tokio::test]
async fn nodes_take_keep_and_give_back_leases() {
    let server = Server::start().await;
    let repl = server.create().await;
    let (node, other) = (server.node.id, NodeId::from_random([1; 10]));
    let beat = NodeHeartbeat { node, boot: BootId(1), address: String::new(), repls: vec![] };
    let (status, welcome) = call(&server, "/internal/v1/nodes", &beat).await;
    assert_eq!(status, 200);
    let key = URL_SAFE_NO_PAD.decode(welcome["grant_key"].as_str().unwrap()).unwrap();
    assert_eq!(key, GrantSigner::from_secret(SECRET).verifier().public());

    let take = |node| LeaseRequest { repl, node, seen_epoch: Epoch(4) };
    let (status, lease) = call(&server, "/internal/v1/leases", &take(node)).await;
    assert_eq!((status.as_u16(), &lease["epoch"]), (200, &json!(5)));
    let (status, refused) = call(&server, "/internal/v1/leases", &take(other)).await;
    assert_eq!((status.as_u16(), &refused["code"]), (409, &json!("lease_held")));
    let renew = RenewLeases { node, leases: vec![(repl, Epoch(5)), (repl, Epoch(4))] };
    let (_, renewed) = call(&server, "/internal/v1/leases/renew", &renew).await;
    assert_eq!((&renewed["held"], &renewed["lost"]), (&json!([repl]), &json!([repl])));

    let head = |from: Option<&str>, to: &str| MoveHead {
        repl,
        epoch: Epoch(5),
        from: from.map(str::to_owned),
        to: to.to_owned(),
    };
    assert_eq!(call(&server, "/internal/v1/heads", &head(None, "a")).await.0, 204);
    let (status, refused) = call(&server, "/internal/v1/heads", &head(Some("x"), "b")).await;
    assert_eq!((status.as_u16(), &refused["code"]), (409, &json!("head_moved")));

    let release = ReleaseLease { repl, node, epoch: Epoch(5) };
    assert_eq!(call(&server, "/internal/v1/leases/release", &release).await.0, 204);
    let (_, lease) = call(&server, "/internal/v1/leases", &take(other)).await;
    assert_eq!((&lease["epoch"], &lease["head"]), (&json!(6), &json!("a")));
    let unknown = LeaseRequest { repl: ReplId::from_random([3; 10]), node, seen_epoch: Epoch(0) };
    assert_eq!(call(&server, "/internal/v1/leases", &unknown).await.0, 404);
    assert_eq!(call(&server, "/internal/v1/leases", &json!({})).await.0, 422);
}

#[tokio::test]
async fn people_cannot_reach_what_is_for_nodes() {
    let server = Server::start().await;
    for path in ["/internal/v1/leases", "/internal/v1/nodes", "/internal/v1/heads"] {
        let request = server.owner(reqwest::Method::POST, path).json(&json!({}));
        assert_eq!(crate::support::problem(request).await.0, 404, "{path}");
    }
}
