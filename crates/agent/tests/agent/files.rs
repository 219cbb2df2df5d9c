//! Every operation on files, and the races of programs against them.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use tandem_proto::agent::{AgentError, Entry, EntryKind, Expect, Found, Op, Reply};

use crate::node::{LIMIT, eventually, path, start};

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
    let got =
        eventually("a quiet file", async || match node.write("a", b"ours", hash(b"base")).await {
            Err(AgentError::Busy) => None,
            other => Some(other.unwrap()),
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

#[tokio::test(flavor = "multi_thread")]
async fn modes_and_hard_links_are_kept() {
    let (sandbox, node) = start().await;
    let at = |name: &str| sandbox.workspace().join(name);
    let mode = |name: &str| std::fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
    std::fs::write(at("script"), b"a").unwrap();
    std::fs::set_permissions(at("script"), PermissionsExt::from_mode(0o750)).unwrap();
    node.write("script", b"b", Expect::Any).await.unwrap();
    assert_eq!(mode("script"), 0o750);
    let content = Bytes::from_static(b"c");
    let write = |name: &str, executable| Op::Write {
        path: path(name),
        content: content.clone(),
        executable,
        expect: Expect::Any,
    };
    node.ask(write("script", Some(false))).await.unwrap();
    assert_eq!(mode("script"), 0o640);
    node.ask(write("new", Some(true))).await.unwrap();
    assert_eq!(mode("new"), 0o755);
    node.ask(Op::SetExecutable { path: path("new"), executable: false }).await.unwrap();
    assert_eq!(mode("new"), 0o644);
    node.ask(Op::SetExecutable { path: path("new"), executable: true }).await.unwrap();
    assert_eq!(mode("new"), 0o755);

    std::fs::hard_link(at("new"), at("other")).unwrap();
    let inode = std::fs::metadata(at("new")).unwrap().ino();
    let got = node.write("new", b"longer than before", hash(b"c")).await.unwrap();
    let Reply::Written { entry } = got else { panic!("{got:?}") };
    assert_eq!(entry.signature.inode, inode);
    assert_eq!(std::fs::read(at("other")).unwrap(), b"longer than before");
    node.write("other", b"x", hash(b"longer than before")).await.unwrap();
    assert_eq!(std::fs::read(at("new")).unwrap(), b"x");
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_renames_and_deletions() {
    let (sandbox, node) = start().await;
    let at = |name: &str| sandbox.workspace().join(name);
    let rename = |from: &str, to: &str| Op::Rename { from: path(from), to: path(to) };
    let delete = |name: &str| Op::Delete { path: path(name) };
    node.ask(Op::MakeFolder { path: path("a/b/c") }).await.unwrap();
    node.ask(Op::MakeFolder { path: path("a/b/c") }).await.unwrap();
    assert!(at("a/b/c").is_dir());
    node.write("a/file", b"1", Expect::Absent).await.unwrap();
    let got = node.ask(Op::MakeFolder { path: path("a/file/x") }).await;
    assert_eq!(got.unwrap_err(), AgentError::Exists);

    node.ask(rename("a/file", "a/b/moved")).await.unwrap();
    assert!(at("a/b/moved").is_file() && !at("a/file").exists());
    node.write("other", b"2", Expect::Absent).await.unwrap();
    assert_eq!(node.ask(rename("other", "a/b/moved")).await.unwrap_err(), AgentError::Exists);
    assert_eq!(node.ask(rename("other", "no/where")).await.unwrap_err(), AgentError::NotFound);
    assert_eq!(node.ask(rename("missing", "x")).await.unwrap_err(), AgentError::NotFound);
    assert!(node.ask(rename("a", "a/b/inside")).await.is_err());

    // Deeper than any path we can name, and with a link out that must not be followed.
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("precious"), b"x").unwrap();
    let mut deep = at("a/b/c");
    for _ in 0..200 {
        deep.push("d");
        std::fs::create_dir(&deep).unwrap();
        std::fs::write(deep.join("f"), b"x").unwrap();
    }
    std::os::unix::fs::symlink(outside.path(), deep.join("link")).unwrap();
    node.ask(delete("a")).await.unwrap();
    assert!(!at("a").exists());
    node.ask(delete("a")).await.unwrap();
    node.ask(delete("other")).await.unwrap();
    node.ask(delete("other/x")).await.unwrap();
    eventually("the space to be freed", async || {
        let scratch = sandbox.folder.path().join(".tandem-scratch");
        (std::fs::read_dir(scratch).unwrap().count() == 0).then_some(())
    })
    .await;
    assert!(outside.path().join("precious").exists());
    assert!(node.scan(None).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_list_everything_but_what_is_ignored() {
    let (sandbox, node) = start().await;
    let at = |name: &str| sandbox.workspace().join(name);
    for folder in ["src/deep", "node_modules/x", "src/node_modules", ".git"] {
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    for file in ["main.py", "src/a\nb", "src/deep/ä", "node_modules/x/i.js", ".git/HEAD"] {
        std::fs::write(at(file), b"x").unwrap();
    }
    std::os::unix::fs::symlink("main.py", at("link")).unwrap();
    std::fs::write(at("bad").with_file_name(OsStr::from_bytes(b"bad\xff")), b"x").unwrap();
    let names = |entries: Vec<Entry>| -> Vec<String> {
        entries
            .iter()
            .map(|entry| format!("{}{}", entry.path, if entry.ignored { " ignored" } else { "" }))
            .collect()
    };
    let all = node.scan(None).await;
    assert_eq!(
        names(all.clone()),
        [
            ".git",
            "link",
            "main.py",
            "node_modules ignored",
            "src",
            ".git/HEAD",
            "src/a\nb",
            "src/deep",
            "src/node_modules ignored",
            "src/deep/ä"
        ]
    );
    assert_eq!(all[1].kind, EntryKind::Symlink("main.py".to_owned()));
    assert_eq!(names(node.scan(Some("src/deep")).await), ["src/deep/ä"]);
    let got = node.ask(Op::Scan { under: Some(path("link")) }).await;
    assert_eq!(got.unwrap_err(), AgentError::WrongKind);
    let got = node.ask(Op::Scan { under: Some(path("none")) }).await;
    assert_eq!(got.unwrap_err(), AgentError::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_are_bounded() {
    let (sandbox, node) = start().await;
    let mut deep = sandbox.workspace();
    for _ in 0..100 {
        deep.push("d");
        std::fs::create_dir(&deep).unwrap();
    }
    assert_eq!(node.scan(None).await.len(), 64);
    let many = sandbox.workspace().join("many");
    std::fs::create_dir(&many).unwrap();
    for number in 0..50_100 {
        std::fs::write(many.join(format!("f{number}")), b"").unwrap();
    }
    let started = std::time::Instant::now();
    let got = node.ask(Op::Scan { under: None }).await.unwrap();
    assert!(matches!(got, Reply::Scanned { count: 50_000, truncated: true }), "{got:?}");
    eprintln!("a scan of 50,000 entries took {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn links_lead_nowhere() {
    let (sandbox, node) = start().await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), b"secret").unwrap();
    std::os::unix::fs::symlink(outside.path(), sandbox.workspace().join("out")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), sandbox.workspace().join("file"))
        .unwrap();
    let p = path;
    let ops = [
        Op::Read { path: p("out/secret"), max_bytes: 100 },
        Op::Read { path: p("file"), max_bytes: 100 },
        Op::Write {
            path: p("out/new"),
            content: Bytes::new(),
            executable: None,
            expect: Expect::Any,
        },
        Op::MakeFolder { path: p("out/new") },
        Op::Rename { from: p("out/secret"), to: p("here") },
        Op::SetExecutable { path: p("file"), executable: true },
        Op::SetExecutable { path: p("out/secret"), executable: true },
        Op::Scan { under: Some(p("out")) },
        Op::Delete { path: p("out/secret") },
        Op::Write {
            path: p(".tandem-scratch/x"),
            content: Bytes::new(),
            executable: None,
            expect: Expect::Any,
        },
    ];
    for op in ops {
        let got = node.ask(op.clone()).await;
        let deleted = matches!(op, Op::Delete { .. });
        assert!(got.is_err() || deleted, "{op:?}: {got:?}");
    }
    let names: Vec<_> =
        std::fs::read_dir(outside.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["secret"]);
    // Deleting a link deletes the link.
    node.ask(Op::Delete { path: p("out") }).await.unwrap();
    assert!(outside.path().join("secret").exists() && !sandbox.workspace().join("out").exists());
}

/// A folder is exchanged with a link to a folder outside, as fast as a program can.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_becomes_a_link_never_leaks() {
    let (sandbox, node) = start().await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), b"SECRET").unwrap();
    std::fs::create_dir(sandbox.workspace().join("dir")).unwrap();
    std::fs::write(sandbox.workspace().join("dir/file"), b"public").unwrap();
    std::os::unix::fs::symlink(outside.path(), sandbox.workspace().join("link")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let swapping = std::thread::spawn({
        let (stop, workspace) = (stop.clone(), sandbox.workspace());
        move || {
            let mut swaps = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let _ = rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    workspace.join("dir"),
                    rustix::fs::CWD,
                    workspace.join("link"),
                    rustix::fs::RenameFlags::EXCHANGE,
                );
                swaps += 1;
            }
            swaps
        }
    });
    let mut reads = 0;
    for round in 0..4000 {
        let got = node.ask(Op::Read { path: path("dir/file"), max_bytes: 100 }).await;
        if let Ok(Reply::Content { content, .. }) = got {
            assert_ne!(&content[..], b"SECRET", "leaked in round {round}");
            reads += 1;
        }
        if round % 4 == 0 {
            let name = format!("dir/new{round}");
            let _ = node.write(&name, b"public", Expect::Any).await;
            let _ = node.ask(Op::Delete { path: path("dir/file2") }).await;
            let _ = node.ask(Op::MakeFolder { path: path("dir/sub") }).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let swaps = swapping.join().unwrap();
    let names: Vec<_> =
        std::fs::read_dir(outside.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["file"], "nothing was made outside");
    eprintln!("{reads} reads of 4000 succeeded during {swaps} swaps");
    assert!(reads > 0 && swaps > 1000);
}

/// A node that writes all the time against a program that writes in every way programs do: no
/// content that the program closed may vanish without the node having seen it.
#[tokio::test(flavor = "multi_thread")]
async fn no_program_write_is_lost_unseen() {
    let (sandbox, node) = start().await;
    let file = sandbox.workspace().join("f");
    std::fs::write(&file, b"start").unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let program = std::thread::spawn({
        let (done, file) = (done.clone(), file.clone());
        move || {
            let rounds = 45;
            for round in 1..=rounds {
                let text = format!("P{round};");
                match round % 3 {
                    0 => {
                        let new = file.with_file_name("f.new");
                        std::fs::write(&new, &text).unwrap();
                        std::fs::rename(&new, &file).unwrap();
                    }
                    1 => std::fs::write(&file, &text).unwrap(),
                    _ => {
                        // Opened before the node's next write, written after it.
                        let held = std::fs::File::options().write(true).open(&file).unwrap();
                        let before = std::fs::metadata(&file).unwrap().ino();
                        let limit = Instant::now() + LIMIT;
                        while std::fs::metadata(&file).unwrap().ino() == before {
                            assert!(Instant::now() < limit);
                            std::thread::yield_now();
                        }
                        held.set_len(0).unwrap();
                        (&held).write_all(text.as_bytes()).unwrap();
                    }
                }
                let limit = Instant::now() + LIMIT;
                while !std::fs::read_to_string(&file).unwrap().contains(&format!("seen {round};")) {
                    if Instant::now() > limit {
                        done.store(true, Ordering::Relaxed);
                        panic!("round {round} ({}) was never seen", round % 3);
                    }
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
            }
            done.store(true, Ordering::Relaxed);
        }
    });
    let mut known = Bytes::from_static(b"start");
    let mut seen = 0;
    let mut writes = 0;
    while !done.load(Ordering::Relaxed) {
        let text = format!("N{writes} seen {seen};");
        match node.write("f", text.as_bytes(), hash(&known)).await {
            Ok(Reply::Written { .. }) => {
                writes += 1;
                known = Bytes::from(text);
            }
            Ok(Reply::Conflict { found: Found::File { content, .. } }) => {
                let text = String::from_utf8(content.to_vec()).unwrap();
                if let Some(round) = text.strip_prefix('P').and_then(|text| text.strip_suffix(';'))
                {
                    seen = round.parse().unwrap();
                }
                known = content;
            }
            Ok(Reply::Conflict { .. }) | Err(AgentError::Busy) => {}
            other => panic!("{other:?}"),
        }
    }
    program.join().unwrap();
    eprintln!("{writes} writes of the node between 45 of the program");
    let left = node.scan(None).await;
    let names: Vec<_> = left.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(names, ["f"], "no copies were needed");
}

/// A program that renames over the file as fast as it can, without ever looking.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_renames_ends_with_the_last_one() {
    let (sandbox, node) = start().await;
    let file = sandbox.workspace().join("f");
    std::fs::write(&file, b"P0;").unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let program = std::thread::spawn({
        let (done, file) = (done.clone(), file.clone());
        move || {
            for round in 1..=20_000 {
                let new = file.with_file_name("new");
                std::fs::write(&new, format!("P{round};")).unwrap();
                std::fs::rename(&new, &file).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        }
    });
    let mut known = Bytes::from_static(b"P0;");
    let (mut writes, mut seen_last, mut after) = (0, false, 0);
    while after < 20 {
        after += u32::from(done.load(Ordering::Relaxed));
        // What is there now, so that the write has a chance to fit.
        if let Ok(Reply::Content { content, .. }) =
            node.ask(Op::Read { path: path("f"), max_bytes: 100 }).await
        {
            known = content;
        }
        seen_last |= known == "P20000;";
        let text = format!("N{writes} after {};", String::from_utf8_lossy(&known).len());
        match node.write("f", text.as_bytes(), hash(&known)).await {
            Ok(Reply::Written { .. }) => writes += 1,
            Ok(Reply::Conflict { found: Found::File { content, .. } }) => {
                seen_last |= content == "P20000;";
            }
            Ok(Reply::Conflict { .. }) | Err(AgentError::Busy) => {}
            other => panic!("{other:?}"),
        }
    }
    program.join().unwrap();
    let copies: Vec<_> = node.scan(None).await;
    let recovered =
        copies.iter().filter(|entry| entry.path.as_str().contains("recovered")).any(|entry| {
            std::fs::read(sandbox.workspace().join(entry.path.as_str())).unwrap() == b"P20000;"
        });
    eprintln!("{writes} writes in a storm of 20,000 renames, {} copies", copies.len() - 1);
    assert!(seen_last || recovered);
    assert!(copies.len() < 20, "{copies:?}");
}
