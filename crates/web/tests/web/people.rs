use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::support::{OWNER_TOKEN, Server, ok, problem};

#[tokio::test]
async fn the_owner_signs_in_and_out() {
    let server = Server::start().await;
    assert_eq!(problem(server.request(Method::GET, "/api/v1/me")).await.0, 401);
    let (body, cookie) = server.sign_in(OWNER_TOKEN, None).await;
    assert_eq!(body["me"]["owner"], true);
    assert_eq!(body["repl"], Value::Null);
    let cookie = cookie.unwrap();
    assert!(cookie.starts_with(&format!("tandem_{}=", server.address.port())), "{cookie}");
    let me = ok(server.page(&cookie, Method::GET, "/api/v1/me")).await;
    assert_eq!(me, body["me"]);
    let (again, none) = server.sign_in(OWNER_TOKEN, Some(&cookie)).await;
    assert_eq!((again["me"].clone(), none), (me, None), "who is signed in stays so");

    let out = server.page(&cookie, Method::DELETE, "/api/v1/session").send().await.unwrap();
    assert_eq!(out.status(), StatusCode::NO_CONTENT);
    let cleared = out.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(cleared.contains("Max-Age=0"), "{cleared}");
    assert_eq!(problem(server.page(&cookie, Method::GET, "/api/v1/me")).await.0, 401);
}

#[tokio::test]
async fn a_guest_gets_a_name_and_chooses_another() {
    let server = Server::start().await;
    let repl = server.create().await;
    let (_, token) = server.link(repl, "viewer").await;
    let (body, cookie) = server.sign_in(&token, None).await;
    assert_eq!(body["repl"], repl.as_str());
    assert_eq!(body["me"]["owner"], false);
    assert_eq!(body["me"]["unnamed"], true);
    assert!(body["me"]["name"].as_str().unwrap().contains(' '));
    let cookie = cookie.unwrap();
    let (second, _) = server.sign_in(&token, None).await;
    assert_ne!(second["me"]["member"], body["me"]["member"], "each guest is somebody");

    let patch = |body: Value| server.page(&cookie, Method::PATCH, "/api/v1/me").json(&body);
    let me = ok(patch(json!({ "name": "  Ada  Lovelace ", "colour": "#ABCDEF" }))).await;
    assert_eq!((&me["name"], &me["colour"]), (&json!("Ada Lovelace"), &json!("#abcdef")));
    assert_eq!(me["unnamed"], false);
    assert_eq!(ok(server.page(&cookie, Method::GET, "/api/v1/me")).await, me);
    for bad in [
        json!({ "name": "" }),
        json!({ "name": "x".repeat(41) }),
        json!({ "colour": "red" }),
        json!({ "name": 7 }),
    ] {
        assert_eq!(problem(patch(bad)).await.0, 422);
    }
    assert_eq!(ok(patch(json!({}))).await, me);
}

#[tokio::test]
async fn a_link_adds_a_right_and_never_lowers_one() {
    let server = Server::start().await;
    let (first, second) = (server.create().await, server.create().await);
    let (_, viewer) = server.link(first, "viewer").await;
    let (_, editor) = server.link(first, "editor").await;
    let (_, other) = server.link(second, "viewer").await;
    let (_, cookie) = server.sign_in(&editor, None).await;
    let cookie = cookie.unwrap();
    let roles = async || {
        let list = ok(server.page(&cookie, Method::GET, "/api/v1/repls")).await;
        let mut roles: Vec<String> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|repl| {
                format!("{} {}", repl["id"].as_str().unwrap(), repl["role"].as_str().unwrap())
            })
            .collect();
        roles.sort();
        roles
    };
    assert_eq!(roles().await, [format!("{first} editor")]);
    let (_, none) = server.sign_in(&viewer, Some(&cookie)).await;
    assert_eq!(none, None);
    assert_eq!(roles().await, [format!("{first} editor")]);
    server.sign_in(&other, Some(&cookie)).await;
    let mut want = [format!("{first} editor"), format!("{second} viewer")];
    want.sort();
    assert_eq!(roles().await, want);

    let (_, owner) = server.sign_in(OWNER_TOKEN, None).await;
    let (body, none) = server.sign_in(&viewer, owner.as_deref()).await;
    assert_eq!((&body["me"]["owner"], none), (&json!(true), None));
    assert_eq!(body["repl"], first.as_str());
    let (body, new) = server.sign_in(OWNER_TOKEN, Some(&cookie)).await;
    assert_eq!(body["me"]["owner"], true);
    assert!(new.is_some(), "a guest's browser becomes the owner's");
}

#[tokio::test]
async fn a_revoked_link_ends_every_right_that_came_by_it() {
    let server = Server::start().await;
    let repl = server.create().await;
    let (editor_id, editor) = server.link(repl, "editor").await;
    let (_, viewer) = server.link(repl, "viewer").await;
    let (body, cookie) = server.sign_in(&editor, None).await;
    let cookie = cookie.unwrap();
    server.sign_in(&viewer, Some(&cookie)).await;
    let tree = format!("/api/v1/repls/{repl}/tree");
    let role = ok(server.page(&cookie, Method::GET, &tree)).await["grant"]["role"].clone();
    assert_eq!(role, "editor");

    let links = format!("/api/v1/repls/{repl}/links");
    let listed = ok(server.owner(Method::GET, &links)).await;
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains(&editor), "tokens are shown once");
    let gone = server.owner(Method::DELETE, &format!("{links}/{editor_id}")).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    let role = ok(server.page(&cookie, Method::GET, &tree)).await["grant"]["role"].clone();
    assert_eq!(role, "viewer", "the other link's right is left");
    assert_eq!(problem(server.with(&editor, Method::GET, &tree)).await.0, 401);
    {
        let seen = server.node.seen();
        let guest = seen
            .revoked
            .iter()
            .find(|(_, revoked)| revoked.member.as_str() == body["me"]["member"])
            .expect("the guest's sockets are closed");
        assert_eq!(guest.1.role.map(|role| role.as_str()), Some("viewer"));
        assert_eq!(seen.revoked.len(), 2, "the guest and the link's own member");
    }
    let again = server.owner(Method::DELETE, &format!("{links}/{editor_id}"));
    assert_eq!(problem(again).await, (404, "not_found".to_owned()));
    assert_eq!(problem(server.owner(Method::DELETE, &format!("{links}/x"))).await.0, 404);
}

#[tokio::test]
async fn a_links_token_reaches_its_repl_and_nothing_else() {
    let server = Server::start().await;
    let (repl, other) = (server.create().await, server.create().await);
    for role in ["viewer", "editor"] {
        let (_, token) = server.link(repl, role).await;
        let at = |method, path: &str| server.with(&token, method, path);
        let list = ok(at(Method::GET, "/api/v1/repls")).await;
        assert_eq!(list.as_array().unwrap().len(), 1);
        assert_eq!(list[0]["id"], repl.as_str());
        assert_eq!(list[0]["role"], role);
        let info = ok(at(Method::GET, &format!("/api/v1/repls/{repl}"))).await;
        assert_eq!(info["role"], role);
        let path = format!("/api/v1/repls/{repl}");
        let refused = [
            at(Method::POST, "/api/v1/repls").json(&json!({ "template": "python" })),
            at(Method::POST, &format!("{path}/fork")),
            at(Method::PATCH, &path).json(&json!({ "name": "mine" })),
            at(Method::DELETE, &path),
            at(Method::POST, &format!("{path}/restore")),
            at(Method::GET, &format!("{path}/links")),
            at(Method::POST, &format!("{path}/links")).json(&json!({ "role": "editor" })),
            at(Method::DELETE, &format!("{path}/links/aaaaaaaaaaaaaaaa")),
        ];
        for request in refused {
            assert_eq!(problem(request).await, (403, "forbidden".to_owned()));
        }
        for path in ["", "/tree", "/files/main.py", "/links", "/fork"] {
            let method = if path == "/fork" { Method::POST } else { Method::GET };
            let request = at(method, &format!("/api/v1/repls/{other}{path}"));
            assert_eq!(problem(request).await, (404, "not_found".to_owned()), "{path}");
        }
        let me = ok(at(Method::GET, "/api/v1/me")).await;
        assert_eq!(me["owner"], false);
    }
    let owner_link = server
        .owner(Method::POST, &format!("/api/v1/repls/{repl}/links"))
        .json(&json!({ "role": "owner" }));
    assert_eq!(problem(owner_link).await.0, 422);
}
