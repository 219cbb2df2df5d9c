use reqwest::Method;
use tandem_proto::ReplId;
use tandem_proto::collab::{self, kind};
use tandem_proto::lib0::{write_var_string, write_var_uint};

use crate::support::{OWNER_TOKEN, Server, Socket, next, send};

const PATH: &str = "/api/v1/collab";

fn auth(address: &str, token: &str) -> Vec<u8> {
    let mut frame = collab::start(address, kind::AUTH);
    write_var_uint(&mut frame, 0);
    write_var_string(&mut frame, token);
    frame
}

fn sync(address: &str, body: &[u8]) -> Vec<u8> {
    let mut frame = collab::start(address, kind::SYNC);
    frame.extend_from_slice(body);
    frame
}

/// What the stand-in answers to a frame on a connection with this role.
fn answered(frame: &[u8], role: &str) -> Vec<u8> {
    [frame, role.as_bytes()].concat()
}

async fn open(server: &Server) -> Socket {
    server.socket(PATH, &[]).await.unwrap()
}

fn document(repl: ReplId, path: &str) -> String {
    format!("{repl}/{path}")
}

async fn until(condition: impl Fn() -> bool) {
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !condition() {
        assert!(std::time::Instant::now() < limit, "the condition never came true");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn each_document_shows_its_token_and_then_speaks_to_its_node() {
    let server = Server::start().await;
    let (first, second) = (server.create().await, server.create().await);
    let (_, viewer) = server.link(first, "viewer").await;
    let (a, b, c) =
        (document(first, "a.py\0session"), document(second, "b.py"), document(first, "c.py"));
    let mut socket = open(&server).await;
    // What comes before the token waits for it, in order, and for its own document only.
    for n in 0..3 {
        send(&mut socket, sync(&a, &[n])).await;
    }
    send(&mut socket, sync(&b, b"early")).await;
    send(&mut socket, vec![kind::PING]).await;
    assert_eq!(next(&mut socket).await.unwrap(), [kind::PONG]);
    send(&mut socket, auth(&a, &viewer)).await;
    assert_eq!(next(&mut socket).await.unwrap(), collab::authenticated(&a, false));
    for n in 0..3 {
        assert_eq!(next(&mut socket).await.unwrap(), answered(&sync(&a, &[n]), "viewer"));
    }
    send(&mut socket, auth(&b, OWNER_TOKEN)).await;
    assert_eq!(next(&mut socket).await.unwrap(), collab::authenticated(&b, true));
    assert_eq!(next(&mut socket).await.unwrap(), answered(&sync(&b, b"early"), "owner"));
    // The same repl with another right is another connection: rights do not mix.
    send(&mut socket, auth(&c, OWNER_TOKEN)).await;
    assert_eq!(next(&mut socket).await.unwrap(), collab::authenticated(&c, true));
    for (address, role) in [(&a, "viewer"), (&c, "owner"), (&a, "viewer")] {
        let frame = sync(address, b"x");
        send(&mut socket, frame.clone()).await;
        assert_eq!(next(&mut socket).await.unwrap(), answered(&frame, role));
    }
    assert_eq!(server.node.seen().collab_sockets, 3);
    // A token shown again changes the right.
    send(&mut socket, auth(&a, OWNER_TOKEN)).await;
    assert_eq!(next(&mut socket).await.unwrap(), collab::authenticated(&a, true));
    until(|| server.node.seen().collab_sockets == 2).await;
    let large = sync(&a, &vec![5; 9 * 1024 * 1024]);
    send(&mut socket, large.clone()).await;
    assert_eq!(next(&mut socket).await.unwrap(), answered(&large, "owner"));
    drop(socket);
    until(|| server.node.seen().collab_sockets == 0).await;
}

#[tokio::test]
async fn wrong_tokens_and_foreign_repls_are_denied_and_reach_no_node() {
    let server = Server::start().await;
    let (repl, other) = (server.create().await, server.create().await);
    let (_, editor) = server.link(repl, "editor").await;
    let mut socket = open(&server).await;
    let good = document(repl, "a");
    for (address, token) in [
        (document(repl, "a"), "wrong"),
        (document(repl, "a"), ""),
        (document(other, "a"), editor.as_str()),
        ("aaaaaaaaaaaaaaaa/a".to_owned(), OWNER_TOKEN),
        ("nonsense".to_owned(), OWNER_TOKEN),
        (format!("{repl}/"), OWNER_TOKEN),
        (String::new(), OWNER_TOKEN),
    ] {
        send(&mut socket, sync(&address, b"before")).await;
        send(&mut socket, auth(&address, token)).await;
        let denied = collab::permission_denied(&address, "permission-denied");
        assert_eq!(next(&mut socket).await.unwrap(), denied, "{address}");
    }
    assert_eq!(server.node.seen().collab_sockets, 0);
    // What waited was dropped with the refusal.
    send(&mut socket, auth(&good, &editor)).await;
    assert_eq!(next(&mut socket).await.unwrap(), collab::authenticated(&good, true));
    send(&mut socket, sync(&good, b"after")).await;
    assert_eq!(next(&mut socket).await.unwrap(), answered(&sync(&good, b"after"), "editor"));
}

#[tokio::test]
async fn the_session_counts_for_our_own_pages_only() {
    let server = Server::start().await;
    let repl = server.create().await;
    let (_, cookie) = server.sign_in(OWNER_TOKEN, None).await;
    let cookie = cookie.unwrap();
    let address = document(repl, "a");
    let origin = server.origin();
    let mut ours = server.socket(PATH, &[("cookie", &cookie), ("origin", &origin)]).await.unwrap();
    send(&mut ours, auth(&address, "")).await;
    assert_eq!(next(&mut ours).await.unwrap(), collab::authenticated(&address, true));
    let foreign = [("cookie", cookie.as_str()), ("origin", "http://evil.example")];
    let mut theirs = server.socket(PATH, &foreign).await.unwrap();
    send(&mut theirs, auth(&address, "")).await;
    let denied = collab::permission_denied(&address, "permission-denied");
    assert_eq!(next(&mut theirs).await.unwrap(), denied);
}

#[tokio::test]
async fn a_revoked_right_ends_its_documents_and_no_others() {
    let server = Server::start().await;
    let repl = server.create().await;
    let (id, editor) = server.link(repl, "editor").await;
    let (a, b) = (document(repl, "a"), document(repl, "b"));
    let mut socket = open(&server).await;
    send(&mut socket, auth(&a, &editor)).await;
    next(&mut socket).await.unwrap();
    send(&mut socket, auth(&b, OWNER_TOKEN)).await;
    next(&mut socket).await.unwrap();
    let path = format!("/api/v1/repls/{repl}/links/{id}");
    let gone = server.owner(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(gone.status(), 204);
    let denied = collab::permission_denied(&a, "permission-denied");
    assert_eq!(next(&mut socket).await.unwrap(), denied);
    send(&mut socket, auth(&a, &editor)).await;
    assert_eq!(next(&mut socket).await.unwrap(), denied);
    let frame = sync(&b, b"on");
    send(&mut socket, frame.clone()).await;
    assert_eq!(next(&mut socket).await.unwrap(), answered(&frame, "owner"));
}

#[tokio::test]
async fn what_is_no_frame_closes_the_socket() {
    let server = Server::start().await;
    let repl = server.create().await;
    for bad in [vec![], vec![200], vec![5, b'a'], vec![1, 0xff, 0], vec![1, b'a', 2, 9]] {
        let mut socket = open(&server).await;
        send(&mut socket, bad).await;
        assert_eq!(next(&mut socket).await, Err(4400));
    }
    let mut socket = open(&server).await;
    for _ in 0..300 {
        if socket_is_full(&mut socket, repl).await {
            break;
        }
    }
    assert_eq!(next(&mut socket).await, Err(4413));
}

async fn socket_is_full(socket: &mut Socket, repl: ReplId) -> bool {
    use futures_util::SinkExt as _;
    use tokio_tungstenite::tungstenite::Message;
    let frame = sync(&document(repl, "a"), &[0; 100]);
    socket.send(Message::Binary(frame.into())).await.is_err()
}

#[tokio::test]
async fn a_node_that_goes_and_a_server_that_stops_say_come_back() {
    let mut server = Server::start().await;
    let repl = server.create().await;
    let address = document(repl, "a");
    let mut first = open(&server).await;
    send(&mut first, auth(&address, OWNER_TOKEN)).await;
    next(&mut first).await.unwrap();
    send(&mut first, sync(&address, b"die")).await;
    assert_eq!(next(&mut first).await, Err(4503), "the node's own code is passed on");
    let mut second = open(&server).await;
    send(&mut second, auth(&address, OWNER_TOKEN)).await;
    next(&mut second).await.unwrap();
    let closing = tokio::spawn(server.web.take().unwrap().close());
    assert_eq!(next(&mut second).await, Err(1012));
    closing.await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_the_node_and_nothing_is_lost() {
    let server = Server::start().await;
    let repl = server.create().await;
    let address = document(repl, "a");
    let mut socket = open(&server).await;
    send(&mut socket, auth(&address, OWNER_TOKEN)).await;
    next(&mut socket).await.unwrap();
    // More than all queues on the way hold together; writing goes on beside reading later.
    let frames: Vec<Vec<u8>> = (0..200u8).map(|n| sync(&address, &[n; 100 * 1024])).collect();
    let (mut sink, mut stream) = futures_util::StreamExt::split(socket);
    let sent = frames.clone();
    let writing = tokio::spawn(async move {
        use futures_util::SinkExt as _;
        for frame in sent {
            sink.send(tokio_tungstenite::tungstenite::Message::Binary(frame.into())).await.unwrap();
        }
        sink
    });
    for frame in &frames {
        let message = loop {
            use futures_util::StreamExt as _;
            let message = stream.next().await.unwrap().unwrap();
            if message.is_binary() {
                break message.into_data();
            }
        };
        assert_eq!(message.len(), frame.len() + "owner".len());
        assert_eq!(message[..frame.len()], frame[..]);
    }
    drop(writing.await.unwrap());
}
