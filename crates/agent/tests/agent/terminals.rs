//! Terminals: programs, viewers, floods, exits.

use crate::node::start;

#[tokio::test(flavor = "multi_thread")]
async fn output_and_exit_codes() {
    let (_sandbox, node) = start().await;
    let (text, exit) = node.run(1, &["sh", "-c", "echo hello; exit 7"]).await;
    assert_eq!((text.as_str(), exit.code, exit.signal), ("hello\r\n", Some(7), None));
    let (_, exit) = node.run(2, &["sh", "-c", "kill -9 $$"]).await;
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
    let (text, exit) = node.run(3, &["python3", "-c", "print('x' * 300000)"]).await;
    assert_eq!((text.len(), exit.code), (300_002, Some(0)));
}
