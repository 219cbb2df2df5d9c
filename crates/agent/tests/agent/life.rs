//! The agent as process 1: zombies, stops, use, and life without a node.

use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};
use tandem_proto::agent::{Op, Reply, Usage};

use crate::node::{Node, SANDBOX, Sandbox, eventually, program, start, terminal};

async fn usage(node: &Node) -> Usage {
    match node.ask(Op::Usage).await.unwrap() {
        Reply::Usage(usage) => usage,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_reaped_and_exits_not_stolen() {
    let (_sandbox, node) = start().await;
    assert_eq!(node.hello.sandbox.as_str(), SANDBOX);
    let script = "i=0; while [ $i -lt 10000 ]; do ( : & ); i=$((i+1)); done; exit 42";
    node.spawn(terminal(1), &["sh", "-c", script]).await.unwrap();
    for number in 2..12 {
        let code = format!("exit {number}");
        let (_, exit) = node.run(number, &["sh", "-c", &code]).await;
        assert_eq!(exit.code, Some(i32::from(number)));
    }
    assert_eq!(node.exit(terminal(1)).await.code, Some(42));
    // Zombies count as processes.
    eventually("no zombies", async || (usage(&node).await.processes == 1).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_everything_but_the_agent() {
    let (_sandbox, node) = start().await;
    let script = "trap '' TERM HUP; setsid sh -c 'trap \"\" TERM; sleep 999' & \
                  (sleep 998 &) ; echo $!; sleep 997; sleep 996";
    node.spawn(terminal(1), &["bash", "-c", script]).await.unwrap();
    node.spawn(terminal(2), &["sleep", "995"]).await.unwrap();
    node.view(terminal(1), Some(0)).await.until("\n").await;
    eventually("all of them", async || (usage(&node).await.processes >= 5).then_some(())).await;
    let started = Instant::now();
    node.ask(Op::StopProcesses { grace_ms: 300 }).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(node.exit(terminal(1)).await.signal, Some(9));
    assert_eq!(node.exit(terminal(2)).await.signal, Some(15));
    assert_eq!(usage(&node).await.processes, 1);
    // Nothing to end is ended at once, and new programs can start.
    let started = Instant::now();
    node.ask(Op::StopProcesses { grace_ms: 5000 }).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(node.run(3, &["true"]).await.1.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_counts_what_programs_use() {
    let (_sandbox, node) = start().await;
    let before = usage(&node).await;
    assert_eq!(before.processes, 1);
    let script = "import time\nx = bytearray(60_000_000)\n\
                  while time.process_time() < 0.4: pass\nprint('used', flush=True); input()";
    node.spawn(terminal(1), &["python3", "-c", script]).await.unwrap();
    let mut view = node.view(terminal(1), Some(0)).await;
    view.until("used").await;
    let during = usage(&node).await;
    assert_eq!(during.processes, 2);
    assert!(during.memory_bytes > before.memory_bytes + 60_000_000, "{during:?}");
    assert!(during.cpu_us >= before.cpu_us + 380_000, "{before:?} {during:?}");
    assert!(during.disk_used_bytes > 0 && during.disk_total_bytes > during.disk_used_bytes);
    view.type_in("\n").await;
    view.until_exit().await;
    let after = usage(&node).await;
    assert!(after.cpu_us >= before.cpu_us + 380_000, "what has ended still counts: {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agents_memory_is_hidden_and_small() {
    let (sandbox, node) = start().await;
    assert_eq!(node.run(1, &["true"]).await.1.code, Some(0));
    let status = std::fs::read_to_string(format!("/proc/{}/status", sandbox.agent.id())).unwrap();
    let resident = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    eprintln!("the agent's memory: {resident}");
    // Root sees through it; what shows is that its files in /proc belong to root.
    if !rustix::process::geteuid().is_root() {
        assert!(std::fs::read(format!("/proc/{}/environ", sandbox.agent.id())).is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_a_node_ends_itself_and_everything() {
    let mut sandbox = Sandbox::start_with(&[("TANDEM_ORPHANED_AFTER_SECONDS", "1")]);
    let node = Node::listen(&sandbox).await;
    let Reply::Spawned { pid } =
        node.ask(Op::Spawn(program(terminal(1), &["sleep", "1000"]))).await.unwrap()
    else {
        panic!()
    };
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // As long as it is connected it lives.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(test_kill_process(pid).is_ok() && sandbox.agent.try_wait().unwrap().is_none());
    drop(node);
    let status = eventually("the agent's end", async || sandbox.agent.try_wait().unwrap()).await;
    assert!(status.success());
    assert!(test_kill_process(pid).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_terminated_takes_its_programs_along() {
    let (mut sandbox, node) = start().await;
    let script = "trap '' TERM HUP; (setsid sleep 1000 &); echo ready; sleep 1000; sleep 1000";
    node.spawn(terminal(1), &["bash", "-c", script]).await.unwrap();
    node.view(terminal(1), Some(0)).await.until("ready").await;
    let Reply::Spawned { pid } =
        node.ask(Op::Spawn(program(terminal(2), &["sleep", "1000"]))).await.unwrap()
    else {
        panic!()
    };
    let agent = Pid::from_raw(sandbox.agent.id().cast_signed()).unwrap();
    rustix::process::kill_process(agent, rustix::process::Signal::TERM).unwrap();
    let status = eventually("the agent's end", async || sandbox.agent.try_wait().unwrap()).await;
    assert!(status.success());
    assert!(test_kill_process(Pid::from_raw(pid.cast_signed()).unwrap()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_control_connection_ends_only_that_connection() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let sandbox = Sandbox::start();
    let listener = tokio::net::UnixListener::bind(sandbox.socket()).unwrap();
    for garbage in [&b"\xff\xff\xff\xff"[..], b"\x04\0\0\0\xc1\xc1\xc1\xc1", b"\0\0\0\0"] {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut rest = Vec::new();
        // The agent hangs up.
        let _ = stream.read_to_end(&mut rest).await;
    }
    drop(listener);
    std::fs::remove_file(sandbox.socket()).unwrap();
    let node = Node::listen(&sandbox).await;
    assert_eq!(node.run(1, &["echo", "alive"]).await.0, "alive\r\n");
}
