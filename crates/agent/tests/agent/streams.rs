//! TCP streams, archives, listening ports.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use tandem_proto::agent::{AgentError, Event, Op, StreamTarget, TransferEnd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::node::{Node, path, program, read_frame, start, terminal};

async fn unpack(node: &Node, archive: &[u8]) -> Result<u64, AgentError> {
    let mut stream = node.open(StreamTarget::Unpack).await.unwrap();
    // The agent stops reading where it finds a fault.
    let _ = stream.write_all(archive).await;
    let _ = stream.shutdown().await;
    read_frame::<TransferEnd>(&mut stream).await.expect("an answer").result
}

async fn pack(node: &Node, paths: &[&str]) -> Vec<u8> {
    let paths = paths.iter().map(|text| path(text)).collect();
    let mut stream = node.open(StreamTarget::Pack { paths, skip: Vec::new() }).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

fn names(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let mut names: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_both_ways_with_half_close() {
    let (_sandbox, node) = start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let target =
        |address: &str, port| StreamTarget::Tcp { address: address.parse().unwrap(), port };
    let mut ours = node.open(target("127.0.0.1", port)).await.unwrap();
    let (mut theirs, _) = listener.accept().await.unwrap();
    ours.write_all(b"request").await.unwrap();
    ours.shutdown().await.unwrap();
    let mut got = String::new();
    theirs.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "request");
    // Our direction has ended; theirs has not.
    theirs.write_all(b"answer").await.unwrap();
    theirs.shutdown().await.unwrap();
    got.clear();
    ours.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "answer");

    // A listener on one loopback is found from the other.
    let mut ours = node.open(target("::1", port)).await.unwrap();
    let (mut theirs, _) = listener.accept().await.unwrap();
    let started = Instant::now();
    let sending = tokio::spawn(async move {
        let block = vec![7; 1 << 20];
        for _ in 0..64 {
            theirs.write_all(&block).await.unwrap();
        }
    });
    let mut buffer = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        match ours.read(&mut buffer).await.unwrap() {
            0 => break,
            count => total += count,
        }
    }
    sending.await.unwrap();
    assert_eq!(total, 64 << 20);
    eprintln!(
        "{:.0} MB/s through a TCP stream",
        total as f64 / 1e6 / started.elapsed().as_secs_f64()
    );

    drop(listener);
    assert_eq!(node.open(target("127.0.0.1", port)).await.unwrap_err(), AgentError::Refused);
    let got = node.open(target("169.254.169.254", 80)).await;
    assert!(matches!(got, Err(AgentError::Invalid(_))), "{got:?}");
    let got = node.open(target("0.0.0.0", port)).await;
    assert!(matches!(got, Err(AgentError::Invalid(_))), "{got:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_come_and_go() {
    let (_sandbox, node) = start().await;
    let script = "import socket,sys\n\
        a=socket.socket(); a.bind(('0.0.0.0',0)); a.listen()\n\
        b=socket.socket(); b.bind(('127.0.0.1',0)); b.listen()\n\
        c=socket.socket(); c.bind(('127.0.0.1',0))\n\
        print(a.getsockname()[1], b.getsockname()[1], flush=True); sys.stdin.readline()";
    node.ask(Op::Spawn(program(terminal(1), &["python3", "-c", script]))).await.unwrap();
    let mut view = node.view(terminal(1), Some(0)).await;
    let text = view.until("\n").await;
    let printed = Instant::now();
    let mut wanted: Vec<u16> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    wanted.sort_unstable();
    node.event("the ports", |event| match event {
        Event::Ports { ports } => {
            let loopback = ports.iter().all(|port| port.address.is_loopback());
            let ports: Vec<u16> = ports.iter().map(|port| port.port).collect();
            (ports == wanted && loopback).then_some(())
        }
        _ => None,
    })
    .await;
    eprintln!("ports were told {:?} after they were printed", printed.elapsed());
    node.forget_events();
    view.type_in("\n").await;
    view.until_exit().await;
    node.ask(Op::CheckPorts).await.unwrap();
    node.event("no ports", |event| match event {
        Event::Ports { ports } => ports.is_empty().then_some(()),
        _ => None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_round_trip() {
    let (sandbox, node) = start().await;
    let at = |name: &str| sandbox.workspace().join(name);
    let long = format!("src/{}/{}", "l".repeat(150), "n".repeat(120));
    std::fs::create_dir_all(at(&long).parent().unwrap()).unwrap();
    std::fs::create_dir_all(at("node_modules/pkg/node_modules")).unwrap();
    std::fs::create_dir(at("empty")).unwrap();
    let big: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    for (name, content) in
        [("a", &b"1"[..]), (&long, b"2"), ("node_modules/pkg/i.js", b"3"), ("big", &big)]
    {
        std::fs::write(at(name), content).unwrap();
    }
    std::fs::set_permissions(at("a"), PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("/usr/bin/python3", at("src/python")).unwrap();
    let all = pack(&node, &[]).await;
    let mut wanted = vec!["a", "big", "empty/", "src/", "src/python"];
    let folder = format!("{}/", long.rsplit_once('/').unwrap().0);
    wanted.extend([folder.as_str(), long.as_str()]);
    wanted.sort_unstable();
    assert_eq!(names(&all), wanted);
    let modules = pack(&node, &["node_modules"]).await;
    assert_eq!(
        names(&modules),
        [
            "node_modules/",
            "node_modules/pkg/",
            "node_modules/pkg/i.js",
            "node_modules/pkg/node_modules/"
        ]
    );
    assert_eq!(names(&pack(&node, &["a", "src/python"]).await), ["a", "src/python"]);

    let (other, second) = start().await;
    std::fs::create_dir_all(other.workspace().join("a/was/a/folder")).unwrap();
    std::fs::write(other.workspace().join("src"), b"was a file").unwrap();
    assert_eq!(unpack(&second, &all).await, Ok(7));
    assert_eq!(unpack(&second, &modules).await, Ok(4));
    let at = |name: &str| other.workspace().join(name);
    assert_eq!(std::fs::read(at("big")).unwrap(), big);
    assert_eq!(std::fs::read(at(&long)).unwrap(), b"2");
    assert_eq!(std::fs::metadata(at("a")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(std::fs::read_link(at("src/python")).unwrap().to_str(), Some("/usr/bin/python3"));
    assert!(at("empty").is_dir() && at("node_modules/pkg/i.js").is_file());
}

fn entry(builder: &mut tar::Builder<Vec<u8>>, name: &[u8], kind: tar::EntryType, link: &str) {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(0o644);
    if !link.is_empty() {
        header.set_link_name(link).unwrap();
    }
    header.set_size(if kind.is_file() { 4 } else { 0 });
    header.set_cksum();
    let content: &[u8] = if kind.is_file() { b"evil" } else { b"" };
    builder.append(&header, content).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_archives_make_nothing_outside() {
    use tar::EntryType as Kind;
    let (sandbox, node) = start().await;
    let outside = tempfile::tempdir().unwrap();
    let out = outside.path().to_str().unwrap();
    let escape = format!("{out}/evil");
    let cases: Vec<Vec<(&[u8], Kind, &str)>> = vec![
        vec![(b"../evil", Kind::Regular, "")],
        vec![(b"a/../../evil", Kind::Regular, "")],
        vec![(escape.as_bytes(), Kind::Regular, "")],
        vec![(b"link", Kind::Symlink, out), (b"link/evil", Kind::Regular, "")],
        vec![(b"hard", Kind::Link, "/etc/passwd")],
        vec![(b"device", Kind::Char, "")],
        vec![(b"fifo", Kind::Fifo, "")],
        vec![(b"bad\xff", Kind::Regular, "")],
        vec![(b".tandem-scratch/x", Kind::Regular, "")],
    ];
    for case in cases {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, link) in &case {
            entry(&mut builder, name, *kind, link);
        }
        let got = unpack(&node, &builder.into_inner().unwrap()).await;
        assert!(got.is_err(), "{case:?}: {got:?}");
    }
    // A name of a gigabyte, and bytes that are no archive at all.
    let mut header = tar::Header::new_gnu();
    header.set_path("././@LongLink").unwrap();
    header.set_entry_type(Kind::GNULongName);
    header.set_size(1 << 30);
    header.set_cksum();
    let mut bomb = header.as_bytes().to_vec();
    bomb.extend(vec![b'x'; 1 << 16]);
    assert!(unpack(&node, &bomb).await.is_err());
    assert!(unpack(&node, &[0x55; 4096]).await.is_err());
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(!sandbox.folder.path().join("evil").exists());
}
