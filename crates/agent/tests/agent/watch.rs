//! What the node is told of changes that programs make: each row of the race table.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tandem_proto::agent::{Event, Expect, Op};

use crate::node::{Node, Sandbox, eventually, path, start};

/// Every path told of so far.
fn told(node: &Node) -> Vec<String> {
    let mut all = Vec::new();
    for event in node.events() {
        match event {
            Event::Changed { paths } => all.extend(paths.iter().map(ToString::to_string)),
            Event::Overflow => all.push("OVERFLOW".to_owned()),
            _ => {}
        }
    }
    all
}

fn git(folder: &Path, arguments: &[&str]) {
    let status = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"])
        .args(["-c", "gc.auto=0"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(status.status.success(), "{arguments:?}: {status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_changes_are_told_and_our_own_are_not() {
    let (sandbox, node) = start().await;
    let at = |name: &str| sandbox.workspace().join(name);
    let started = Instant::now();
    std::fs::write(at("new"), b"x").unwrap();
    node.changed("new").await;
    eprintln!("a new file was told of after {:?}", started.elapsed());

    node.write("ours", b"x", Expect::Absent).await.unwrap();
    node.write("ours", b"y", Expect::Any).await.unwrap();
    node.forget_events();
    std::fs::write(at("new"), b"y").unwrap();
    node.changed("new").await;
    assert_eq!(told(&node), ["new"]);

    node.forget_events();
    std::fs::set_permissions(at("ours"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    node.changed("ours").await;
    std::fs::remove_file(at("new")).unwrap();
    node.changed("new").await;
    std::fs::rename(at("ours"), at("renamed")).unwrap();
    node.changed("ours").await;
    node.changed("renamed").await;
    std::os::unix::fs::symlink("x", at("link")).unwrap();
    node.changed("link").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_made_and_filled_at_once_are_told_whole() {
    let (sandbox, node) = start().await;
    let at = |name: &str| sandbox.workspace().join(name);
    for round in 0..20 {
        let deep = at(&format!("r{round}/a/b/c"));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("file"), b"x").unwrap();
    }
    for round in 0..20 {
        node.changed(&format!("r{round}/a/b/c/file")).await;
    }
    // And they are watched from now on, under their new names too.
    node.forget_events();
    std::fs::rename(at("r0"), at("moved")).unwrap();
    node.changed("r0").await;
    node.changed("moved/a/b/c/file").await;
    node.forget_events();
    std::fs::write(at("moved/a/b/c/file"), b"y").unwrap();
    node.changed("moved/a/b/c/file").await;
    assert_eq!(told(&node), ["moved/a/b/c/file"]);
    node.forget_events();
    std::fs::remove_dir_all(at("r1")).unwrap();
    node.changed("r1").await;
    std::fs::create_dir(at("r1")).unwrap();
    std::fs::write(at("r1/again"), b"x").unwrap();
    node.changed("r1/again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ignored_folders_are_quiet_but_not_invisible() {
    let (sandbox, node) = start().await;
    let at = |name: &str| sandbox.workspace().join(name);
    std::fs::create_dir_all(at("node_modules/pkg")).unwrap();
    node.changed("node_modules").await;
    std::fs::write(at("node_modules/pkg/x"), b"x").unwrap();
    std::fs::write(at("last"), b"x").unwrap();
    node.changed("last").await;
    assert!(told(&node).iter().all(|path| !path.starts_with("node_modules/")), "{:?}", told(&node));
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_files_are_waited_for() {
    let (sandbox, node) = start().await;
    let file = sandbox.workspace().join("f");
    std::fs::write(&file, b"content").unwrap();
    node.changed("f").await;
    node.forget_events();
    // Emptied, then written 200 ms later: told once, when it is whole.
    let started = Instant::now();
    let handle = std::fs::File::create(&file).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let early = told(&node);
    std::io::Write::write_all(&mut &handle, b"whole").unwrap();
    let was_in_time = started.elapsed() < Duration::from_millis(450);
    node.changed("f").await;
    // On a machine that paused us for longer nothing can be said.
    if was_in_time {
        assert_eq!((early, told(&node)), (vec![], vec!["f".to_owned()]));
    }
    // A file that stays empty is told of all the same.
    node.forget_events();
    let started = Instant::now();
    std::fs::write(&file, b"").unwrap();
    node.changed("f").await;
    assert!(started.elapsed() > Duration::from_millis(450), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn saving_by_rename_or_by_removal_is_one_change() {
    let (sandbox, node) = start().await;
    let file = sandbox.workspace().join("f");
    std::fs::write(&file, b"content").unwrap();
    node.changed("f").await;
    node.forget_events();
    let started = Instant::now();
    std::fs::remove_file(&file).unwrap();
    std::thread::sleep(Duration::from_millis(120));
    std::fs::write(&file, b"again").unwrap();
    let was_in_time = started.elapsed() < Duration::from_millis(250);
    node.changed("f").await;
    if was_in_time {
        assert_eq!(told(&node), ["f"]);
    }
    node.forget_events();
    std::fs::write(sandbox.workspace().join(".f.swp"), b"saved").unwrap();
    std::fs::rename(sandbox.workspace().join(".f.swp"), &file).unwrap();
    node.changed("f").await;
    let found = node.ask(Op::Stat { path: path("f") }).await.unwrap();
    assert!(matches!(found, tandem_proto::agent::Reply::Entry(Some(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_of_a_thousand_files() {
    let (sandbox, node) = start().await;
    let workspace = sandbox.workspace();
    for number in 0..1000 {
        std::fs::create_dir_all(workspace.join(format!("d{}", number % 30))).unwrap();
        std::fs::write(workspace.join(format!("d{}/f{number}", number % 30)), b"one").unwrap();
    }
    git(&workspace, &["init", "-q"]);
    git(&workspace, &["add", "."]);
    git(&workspace, &["commit", "-qm", "one"]);
    git(&workspace, &["checkout", "-qb", "other"]);
    for number in 0..1000 {
        std::fs::write(workspace.join(format!("d{}/f{number}", number % 30)), b"two").unwrap();
    }
    git(&workspace, &["commit", "-qam", "two"]);
    eventually("quiet", async || {
        node.forget_events();
        tokio::time::sleep(Duration::from_millis(400)).await;
        told(&node).is_empty().then_some(())
    })
    .await;
    git(&workspace, &["checkout", "-q", "main"]);
    let seen = eventually("the checkout", async || {
        let told = told(&node);
        let files = told.iter().filter(|path| path.starts_with('d')).count();
        (told.contains(&"OVERFLOW".to_owned()) || files >= 1000).then_some(told)
    })
    .await;
    assert!(seen.contains(&"OVERFLOW".to_owned()) || seen.len() < 1300, "{}", seen.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn gits_lock_holds_reports_back() {
    let (sandbox, node) = start().await;
    std::fs::create_dir(sandbox.workspace().join(".git")).unwrap();
    node.changed(".git").await;
    std::fs::write(sandbox.workspace().join(".git/index.lock"), b"").unwrap();
    std::fs::write(sandbox.workspace().join("file"), b"x").unwrap();
    node.forget_events();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(told(&node), Vec::<String>::new());
    std::fs::remove_file(sandbox.workspace().join(".git/index.lock")).unwrap();
    node.changed("file").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_kernels_queue_is_an_overflow() {
    let (sandbox, node) = start().await;
    let agent = rustix::process::Pid::from_raw(sandbox.agent.id().cast_signed()).unwrap();
    rustix::process::kill_process(agent, rustix::process::Signal::STOP).unwrap();
    for number in 0..20_000 {
        std::fs::write(sandbox.workspace().join(format!("f{number}")), b"x").unwrap();
    }
    rustix::process::kill_process(agent, rustix::process::Signal::CONT).unwrap();
    node.event("an overflow", |event| matches!(event, Event::Overflow).then_some(())).await;
    eventually("quiet", async || {
        node.forget_events();
        tokio::time::sleep(Duration::from_millis(400)).await;
        told(&node).is_empty().then_some(())
    })
    .await;
    std::fs::write(sandbox.workspace().join("after"), b"x").unwrap();
    node.changed("after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scanning_takes_the_place_of_watching() {
    let sandbox = Sandbox::start_with(&[("TANDEM_WATCH_BY_SCANNING", "1")]);
    let node = Node::listen(&sandbox).await;
    std::fs::create_dir(sandbox.workspace().join("d")).unwrap();
    std::fs::write(sandbox.workspace().join("d/f"), b"x").unwrap();
    node.changed("d/f").await;
    node.forget_events();
    std::fs::write(sandbox.workspace().join("d/f"), b"y").unwrap();
    node.changed("d/f").await;
    node.forget_events();
    std::fs::remove_dir_all(sandbox.workspace().join("d")).unwrap();
    node.changed("d/f").await;
    node.changed("d").await;
}
