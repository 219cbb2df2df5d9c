use axum::body::Body;
use http::Request;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tandem_proto::internal::{NodeHeartbeat, ReplLoad};
use tandem_proto::{BootId, ReplId};
use tower::ServiceExt as _;

use crate::support::{Server, ok, problem};

async fn names(server: &Server, query: &str) -> Vec<String> {
    let list = ok(server.owner(Method::GET, &format!("/api/v1/repls{query}"))).await;
    list.as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn templates_say_what_can_run_here() {
    let server = Server::start().await;
    assert_eq!(problem(server.request(Method::GET, "/api/v1/templates")).await.0, 401);
    let list = ok(server.owner(Method::GET, "/api/v1/templates")).await;
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!((&list[0]["name"], &list[0]["available"]), (&json!("cobol"), &json!(false)));
    assert_eq!(list[0]["unavailable_reason"], "not installed on the server: cobc");
    assert_eq!((&list[1]["name"], &list[1]["available"]), (&json!("python"), &json!(true)));
    let create = |template: &str| {
        server.owner(Method::POST, "/api/v1/repls").json(&json!({ "template": template }))
    };
    assert_eq!(problem(create("cobol")).await, (409, "template_unavailable".to_owned()));
    assert_eq!(problem(create("../x")).await.0, 422);
    assert_eq!(problem(create("")).await.0, 422);
    assert_eq!(names(&server, "").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_repl_is_made_renamed_deleted_and_restored() {
    let server = Server::start().await;
    let response = server
        .owner(Method::POST, "/api/v1/repls")
        .json(&json!({ "template": "python", "name": " My  first " }))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let location = response.headers()[header::LOCATION].to_str().unwrap().to_owned();
    let repl: Value = response.json().await.unwrap();
    let id: ReplId = repl["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(location, format!("/api/v1/repls/{id}"));
    assert_eq!((&repl["name"], &repl["url"]), (&json!("My first"), &json!(format!("/r/{id}"))));
    assert_eq!((&repl["role"], &repl["language"]), (&json!("owner"), &json!("python")));
    assert_eq!(server.node.seen().seeded[&id], json!({ "Template": { "template": "python" } }));
    assert_eq!(ok(server.owner(Method::GET, &location)).await, repl);

    let rename =
        |name: Value| server.owner(Method::PATCH, &location).json(&json!({ "name": name }));
    assert_eq!(ok(rename(json!("Second"))).await["name"], "Second");
    for bad in [json!(""), json!("x".repeat(81)), json!("a\u{202e}b")] {
        assert_eq!(problem(rename(bad)).await.0, 422);
    }
    assert_eq!(names(&server, "").await, ["Second"]);

    let (_, editor) = server.link(id, "editor").await;
    let gone = server.owner(Method::DELETE, &location).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    assert_eq!(server.node.seen().removed, [id]);
    assert_eq!(names(&server, "").await, Vec::<String>::new());
    assert_eq!(names(&server, "?deleted=true").await, ["Second"]);
    assert!(ok(server.owner(Method::GET, &location)).await["deleted_ms"].is_number());
    let tree = format!("{location}/tree");
    assert_eq!(problem(server.owner(Method::GET, &tree)).await, (410, "deleted".to_owned()));
    assert_eq!(problem(server.owner(Method::DELETE, &location)).await.0, 410);
    for path in [&location, &tree] {
        assert_eq!(problem(server.with(&editor, Method::GET, path)).await.0, 404);
    }
    assert_eq!(
        ok(server.with(&editor, Method::GET, "/api/v1/repls?deleted=true")).await,
        json!([])
    );
    let restore = format!("{location}/restore");
    assert_eq!(problem(server.with(&editor, Method::POST, &restore)).await.0, 404);
    assert_eq!(ok(server.owner(Method::POST, &restore)).await["deleted_ms"], Value::Null);
    assert_eq!(names(&server, "").await, ["Second"]);
    ok(server.with(&editor, Method::GET, &tree)).await;
    assert_eq!(problem(server.owner(Method::GET, "/api/v1/repls?deleted=perhaps")).await.0, 400);
}

#[tokio::test]
async fn a_fork_is_made_from_its_source() {
    let server = Server::start().await;
    let source = server.create().await;
    let fork = ok(server.owner(Method::POST, &format!("/api/v1/repls/{source}/fork"))).await;
    assert!(fork["name"].as_str().unwrap().ends_with(" (fork)"));
    assert_eq!(fork["template"], "python");
    let id: ReplId = fork["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(server.node.seen().seeded[&id], json!({ "Fork": { "source": source } }));
    let named = server
        .owner(Method::POST, &format!("/api/v1/repls/{source}/fork"))
        .json(&json!({ "name": "Mine" }));
    assert_eq!(ok(named).await["name"], "Mine");
}

#[tokio::test]
async fn a_repl_that_gets_no_files_is_not_there() {
    let server = Server::start().await;
    server.node.seen().refuse_seeds = true;
    let create = server.owner(Method::POST, "/api/v1/repls").json(&json!({ "template": "python" }));
    assert_eq!(problem(create).await, (503, "node_unavailable".to_owned()));
    assert_eq!(names(&server, "").await, Vec::<String>::new());
    assert_eq!(names(&server, "?deleted=true").await, Vec::<String>::new());
}

#[tokio::test]
async fn lists_show_who_is_there() {
    let server = Server::start().await;
    let repl = server.create().await;
    let beat = NodeHeartbeat {
        node: server.node.id,
        boot: BootId(1),
        address: String::new(),
        repls: vec![ReplLoad { repl, online: 4, running: true, updated_ms: 5_000_000_000_000 }],
    };
    let request = Request::post("/internal/v1/nodes")
        .header("content-type", "application/json")
        .body(Body::from(serde_json::to_vec(&beat).unwrap()))
        .unwrap();
    assert_eq!(server.internal.clone().oneshot(request).await.unwrap().status(), 200);
    let list = ok(server.owner(Method::GET, "/api/v1/repls")).await;
    assert_eq!((&list[0]["online"], &list[0]["running"]), (&json!(4), &json!(true)));
    assert_eq!(list[0]["updated_ms"], 5_000_000_000_000u64);
}

#[tokio::test]
async fn an_empty_database_is_filled_from_the_blob_store() {
    let server = Server::start().await;
    let (kept, deleted) = (server.create().await, server.create().await);
    let path = format!("/api/v1/repls/{kept}");
    ok(server.owner(Method::PATCH, &path).json(&json!({ "name": "Kept" }))).await;
    let (_, token) = server.link(kept, "editor").await;
    let owner = ok(server.owner(Method::GET, "/api/v1/me")).await;
    server.owner(Method::DELETE, &format!("/api/v1/repls/{deleted}")).send().await.unwrap();

    let other = server.restored().await;
    assert_eq!(names(&other, "").await, ["Kept"]);
    assert_eq!(names(&other, "?deleted=true").await.len(), 1);
    let me = ok(other.owner(Method::GET, "/api/v1/me")).await;
    assert_eq!(me["member"], owner["member"], "the same owner, for authors in histories");
    let list = ok(other.with(&token, Method::GET, "/api/v1/repls")).await;
    assert_eq!((&list[0]["id"], &list[0]["role"]), (&json!(kept), &json!("editor")));
    ok(other.owner(Method::POST, &format!("/api/v1/repls/{deleted}/restore"))).await;
    assert_eq!(names(&other, "").await.len(), 2);
}

#[tokio::test]
async fn two_webs_on_one_database_are_one() {
    let server = Server::start().await;
    let twin = server.twin().await;
    let repl = server.create().await;
    let (_, token) = server.link(repl, "viewer").await;
    assert_eq!(names(&twin, "").await.len(), 1);
    let (body, _) = twin.sign_in(&token, None).await;
    assert_eq!(body["repl"], repl.as_str());
    let me = ok(server.owner(Method::GET, "/api/v1/me")).await;
    assert_eq!(ok(twin.owner(Method::GET, "/api/v1/me")).await, me);
}

#[tokio::test]
async fn closing_records_what_is_left_and_a_restart_goes_on() {
    let mut server = Server::start().await;
    let repl = server.create().await;
    let (_, token) = server.link(repl, "viewer").await;
    let (_, cookie) = server.sign_in(&token, None).await;
    let name = server.page(cookie.as_deref().unwrap(), Method::PATCH, "/api/v1/me");
    ok(name.json(&json!({ "name": "Grace" }))).await;
    server.web.take().unwrap().close().await;
    let record = tandem_store::ReplStore::new(server.blobs.clone(), repl).load_meta().await;
    let record = record.unwrap().unwrap();
    assert!(record.members.iter().any(|member| member.name == "Grace"), "{record:?}");
    let again = server.twin().await;
    assert_eq!(names(&again, "").await.len(), 1);
}
