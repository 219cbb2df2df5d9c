//! Every operation on files, and the races of programs against them.

use bytes::Bytes;
use tandem_proto::agent::{AgentError, EntryKind, Expect, Found, Op, Reply};

use crate::node::{path, start};

fn hash(content: &[u8]) -> Expect {
    Expect::Content(*blake3::hash(content).as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn write_read_stat() {
    let (sandbox, node) = start().await;
    let file = sandbox.workspace().join("src/deep/main.py");
    let Reply::Written { entry } =
        node.write("src/deep/main.py", b"one", Expect::Absent).await.unwrap()
    else {
        panic!("not written")
    };
    assert_eq!((entry.kind.clone(), entry.executable), (EntryKind::File, false));
    assert_eq!(std::fs::read(&file).unwrap(), b"one");

    let got = node.ask(Op::Read { path: path("src/deep/main.py"), max_bytes: 100 }).await.unwrap();
    let Reply::Content { content, entry: read } = got else { panic!("{got:?}") };
    assert_eq!((content, &read), (Bytes::from_static(b"one"), &entry));
    let got = node.ask(Op::Stat { path: path("src/deep/main.py") }).await.unwrap();
    assert!(matches!(got, Reply::Entry(Some(stat)) if stat == entry));
    let got = node.ask(Op::Stat { path: path("src/none/x") }).await.unwrap();
    assert!(matches!(got, Reply::Entry(None)));

    let got = node.write("src/deep/main.py", b"two", hash(b"one")).await.unwrap();
    assert!(matches!(got, Reply::Written { .. }), "{got:?}");
    let got = node.write("src/deep/main.py", b"three", Expect::Any).await.unwrap();
    assert!(matches!(got, Reply::Written { .. }), "{got:?}");
    assert_eq!(std::fs::read(&file).unwrap(), b"three");
    let got = node.ask(Op::Read { path: path("src/deep/main.py"), max_bytes: 2 }).await;
    assert_eq!(got.unwrap_err(), AgentError::TooLarge);
    let got = node.ask(Op::Read { path: path("src/deep"), max_bytes: 2 }).await;
    assert_eq!(got.unwrap_err(), AgentError::WrongKind);
    let got = node.ask(Op::Read { path: path("nothing"), max_bytes: 2 }).await;
    assert_eq!(got.unwrap_err(), AgentError::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_say_what_was_found() {
    let (sandbox, node) = start().await;
    let got = node.write("a", b"x", hash(b"y")).await.unwrap();
    assert!(matches!(got, Reply::Conflict { found: Found::Absent }), "{got:?}");
    assert!(!sandbox.workspace().join("a").exists());
    std::fs::write(sandbox.workspace().join("a"), b"program").unwrap();
    let got = crate::node::eventually("a quiet file", async || {
        match node.write("a", b"ours", hash(b"base")).await {
            Err(AgentError::Busy) => None,
            other => Some(other.unwrap()),
        }
    })
    .await;
    let Reply::Conflict { found: Found::File { content, entry } } = got else { panic!("{got:?}") };
    assert_eq!((&content[..], entry.path.as_str()), (&b"program"[..], "a"));
    assert_eq!(std::fs::read(sandbox.workspace().join("a")).unwrap(), b"program");
    let got = node.write("a", b"ours", Expect::Absent).await.unwrap();
    assert!(matches!(got, Reply::Conflict { found: Found::File { .. } }), "{got:?}");

    std::fs::create_dir(sandbox.workspace().join("folder")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", sandbox.workspace().join("link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        sandbox.workspace().join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    for (name, kind) in [
        ("folder", EntryKind::Folder),
        ("link", EntryKind::Symlink("/etc/passwd".to_owned())),
        ("fifo", EntryKind::Other),
    ] {
        for expect in [Expect::Any, Expect::Absent, hash(b"x")] {
            let got = node.write(name, b"x", expect).await.unwrap();
            let Reply::Conflict { found: Found::Other(entry) } = got else { panic!("{got:?}") };
            assert_eq!(entry.kind, kind);
        }
    }
}
