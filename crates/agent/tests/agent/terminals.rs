//! Terminals: programs, viewers, floods, exits.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tandem_proto::agent::{
    AgentError, Event, Exit, Op, Reply, StreamTarget, TerminalKind, TerminalOutput,
};
use tandem_proto::limits::{MAX_TERMINALS, TERMINAL_RING_BYTES};

use crate::node::{LIMIT, View, path, program, start, terminal};

#[tokio::test(flavor = "multi_thread")]
async fn output_and_exit_codes() {
    let (_sandbox, node) = start().await;
    let (text, exit) = node.run(1, &["sh", "-c", "echo hello; exit 7"]).await;
    assert_eq!((text.as_str(), exit.code, exit.signal), ("hello\r\n", Some(7), None));
    let (_, exit) = node.run(2, &["sh", "-c", "kill -9 $$"]).await;
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
    let (_, exit) = node.run(3, &["sh", "-c", "sleep 0.3"]).await;
    assert!((300..5000).contains(&exit.duration_ms), "{exit:?}");
    assert_eq!(node.exit(terminal(3)).await, exit);
}

/// A program that prints a lot and ends at once: the kernel hangs up, and nothing may be lost.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_words_arrive() {
    let (_sandbox, node) = start().await;
    for round in 0..10 {
        let (text, exit) = node.run(1, &["sh", "-c", "seq 1 20000"]).await;
        assert!(text.ends_with("\r\n19999\r\n20000\r\n"), "round {round}: {}", text.len());
        assert_eq!((text.len(), exit.code), (128_894, Some(0)));
        node.ask(Op::CloseTerminal { terminal: terminal(1) }).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start() {
    let (_sandbox, node) = start().await;
    let got = node.spawn(terminal(1), &["no-such-program"]).await;
    assert!(matches!(got, Err(AgentError::Spawn(_))), "{got:?}");
    let got = node.spawn(terminal(1), &[]).await;
    assert!(matches!(got, Err(AgentError::Invalid(_))), "{got:?}");
    let got = node.spawn(terminal(1), &["a\0b"]).await;
    assert!(matches!(got, Err(AgentError::Invalid(_))), "{got:?}");
    let mut missing = program(terminal(1), &["true"]);
    missing.cwd = Some(path("nowhere"));
    assert_eq!(node.ask(Op::Spawn(missing)).await.unwrap_err(), AgentError::NotFound);
    let none = terminal(9);
    assert_eq!(
        node.ask(Op::CloseTerminal { terminal: none }).await.unwrap_err(),
        AgentError::NoTerminal
    );
    let target = StreamTarget::Terminal { terminal: none, from: None };
    assert_eq!(node.open(target).await.unwrap_err(), AgentError::NoTerminal);
    for number in 0..MAX_TERMINALS {
        node.spawn(terminal(u8::try_from(number).unwrap()), &["true"]).await.unwrap();
    }
    let got = node.spawn(terminal(200), &["true"]).await;
    assert!(matches!(got, Err(AgentError::Invalid(_))), "{got:?}");
    assert_eq!(node.spawn(terminal(0), &["true"]).await.unwrap_err(), AgentError::Exists);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_a_terminals_and_holds_nothing_of_ours() {
    let (sandbox, node) = start().await;
    std::fs::create_dir(sandbox.workspace().join("sub")).unwrap();
    let mut spawn = program(terminal(1), &["sh", "-c", "env; pwd; tty; ls -l /proc/self/fd"]);
    spawn.env = vec![("GREETING".to_owned(), "hi there".to_owned())];
    spawn.cwd = Some(path("sub"));
    node.ask(Op::Spawn(spawn)).await.unwrap();
    let (text, _) = node.view(terminal(1), Some(0)).await.until_exit().await;
    for wanted in
        ["TERM=xterm-256color", "LANG=C.UTF-8", "GREETING=hi there", "/workspace/sub", "/dev/pts/"]
    {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    assert!(text.contains(&format!("HOME={}\r\n", sandbox.folder.path().display())));
    assert!(!text.contains("TANDEM_"), "{text}");
    assert!(
        !text.contains("socket:") && !text.contains("anon_inode"),
        "leaked descriptors: {text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn scrollback_is_what_the_ring_holds_and_only_when_there_is_more() {
    let (_sandbox, node) = start().await;
    let one = terminal(1);
    let title = "printf '\\033]2;named\\007'; seq 1 300000";
    node.spawn(one, &["sh", "-c", title]).await.unwrap();
    node.exit(one).await;
    let read = async |known_end| {
        let target = StreamTarget::Scrollback { terminal: one, known_end };
        let stream = node.open(target).await.unwrap();
        let mut view = View { stream, offset: None, restarts: 0 };
        let mut got = Vec::new();
        while let Some(TerminalOutput::Chunk { bytes, .. }) = view.next().await {
            got.extend_from_slice(&bytes);
        }
        (view.offset, got)
    };
    let (end, got) = read(None).await;
    assert_eq!(got.len(), TERMINAL_RING_BYTES);
    assert!(got.ends_with(b"\r\n300000\r\n"));
    assert_eq!(read(end).await, (None, Vec::new()), "nothing new");
    assert_eq!(read(Some(3)).await.1.len(), TERMINAL_RING_BYTES);
    let none = StreamTarget::Scrollback { terminal: terminal(9), known_end: None };
    assert_eq!(node.open(none).await.unwrap_err(), AgentError::NoTerminal);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_is_interactive_and_shared() {
    let (_sandbox, node) = start().await;
    node.spawn(terminal(1), &["bash", "--norc"]).await.unwrap();
    let mut one = node.view(terminal(1), None).await;
    let mut two = node.view(terminal(1), None).await;
    one.type_in("echo $((6*7))\n").await;
    one.until("42").await;
    two.until("42").await;
    two.type_in("PS1='rea''dy> '\n").await;
    one.until("ready> ").await;
    // The program has printed, so it is in the foreground and the interrupt is its own.
    two.type_in("sh -c 'echo g\"\"o; exec sleep 100'\n").await;
    one.until("go\r\n").await;
    two.type_in("\x03").await;
    one.until("ready> ").await;
    two.type_in("exit 5\n").await;
    assert_eq!(one.until_exit().await.1.code, Some(5));
    // It stays readable for whoever comes later.
    let mut three = node.view(terminal(1), None).await;
    let (text, exit) = three.until_exit().await;
    assert!(text.contains("42") && exit.code == Some(5) && three.restarts == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_are_clamped_and_programs_are_told() {
    let (_sandbox, node) = start().await;
    let script = "while :; do stty size; sleep 0.05; done";
    let mut spawn = program(terminal(1), &["bash", "-c", script]);
    (spawn.cols, spawn.rows) = (100, 30);
    node.ask(Op::Spawn(spawn)).await.unwrap();
    let mut view = node.view(terminal(1), Some(0)).await;
    view.until("30 100").await;
    let resize = |cols, rows| Op::Resize { terminal: terminal(1), cols, rows };
    node.ask(resize(120, 40)).await.unwrap();
    view.until("40 120").await;
    node.ask(resize(u16::MAX, u16::MAX)).await.unwrap();
    view.until("200 500").await;
    node.ask(resize(0, 0)).await.unwrap();
    view.until("1 2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_reach_what_runs() {
    let (_sandbox, node) = start().await;
    for (number, signal) in [(1, 2), (2, 15), (3, 9), (4, 1)] {
        let mut spawn = program(terminal(number), &["sleep", "100"]);
        spawn.kind = TerminalKind::Console;
        node.ask(Op::Spawn(spawn)).await.unwrap();
        node.ask(Op::Signal { terminal: terminal(number), signal }).await.unwrap();
        let exit = node.exit(terminal(number)).await;
        assert_eq!((exit.code, exit.signal), (None, Some(signal)));
    }
    let got = node.ask(Op::Signal { terminal: terminal(1), signal: 19 }).await;
    assert!(matches!(got, Err(AgentError::Invalid(_))));
    // In a shell it is the foreground job that is meant.
    node.spawn(terminal(5), &["bash", "--norc", "-i"]).await.unwrap();
    let mut view = node.view(terminal(5), Some(0)).await;
    view.type_in("PS1='rea''dy> '; sh -c 'echo g\"\"o; exec sleep 100'\n").await;
    view.until("go\r\n").await;
    node.ask(Op::Signal { terminal: terminal(5), signal: 2 }).await.unwrap();
    view.until("ready> ").await;
    view.type_in("echo alive\n").await;
    view.until("alive\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_the_whole_session_even_if_it_ignores_the_hangup() {
    let (_sandbox, node) = start().await;
    let script = "trap '' HUP TERM; (trap '' HUP; sleep 1000) & echo ready; sleep 1000";
    node.spawn(terminal(1), &["bash", "-c", script]).await.unwrap();
    let mut view = node.view(terminal(1), Some(0)).await;
    view.until("ready").await;
    let started = Instant::now();
    node.ask(Op::CloseTerminal { terminal: terminal(1) }).await.unwrap();
    assert!(view.next().await.is_none(), "the stream ends");
    crate::node::eventually("the session to end", async || {
        let got = node.ask(Op::Usage).await.unwrap();
        matches!(got, Reply::Usage(usage) if usage.processes == 1).then_some(())
    })
    .await;
    assert!(started.elapsed() > Duration::from_millis(1900));
    node.spawn(terminal(1), &["true"]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_above_the_new_program() {
    let (_sandbox, node) = start().await;
    let mut spawn = program(terminal(1), &["echo", "fresh"]);
    spawn.history = Bytes::from_static(b"old output\x1b[?1049h\x1b[31m\x1b]2;cut");
    node.ask(Op::Spawn(spawn)).await.unwrap();
    let (text, _) = node.view(terminal(1), Some(0)).await.until_exit().await;
    assert!(
        text.starts_with("old output\x1b[?1049h\x1b[31m\x1b]2;cut\x18\x1b\\\x1b[?1049l\x1b[0m"),
        "{text:?}"
    );
    assert!(text.ends_with("fresh\r\n"));
    // What the old program left behind is not what the new one starts in.
    let mut view = node.view(terminal(1), None).await;
    let Some(TerminalOutput::Restart { prelude, .. }) = view.next().await else { panic!() };
    assert_eq!(&prelude[..], b"\x1bc");
}

#[tokio::test(flavor = "multi_thread")]
async fn titles_are_told_cleaned_and_not_too_often() {
    let (_sandbox, node) = start().await;
    let script = "for i in $(seq 5000); do printf '\\033]0;title %d\\a' $i; done; \
                  printf '\\033]2;the\\001 end\\a'; read x";
    node.spawn(terminal(1), &["bash", "-c", script]).await.unwrap();
    let title = node
        .event("the last title", |event| match event {
            Event::Title { title, .. } if title.contains("end") => Some(title.clone()),
            _ => None,
        })
        .await;
    assert_eq!(title, "the end");
    let titles = node.events().iter().filter(|e| matches!(e, Event::Title { .. })).count();
    assert!(titles < 50, "{titles}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_interrupted_and_slows_nobody_else() {
    let (_sandbox, node) = start().await;
    node.spawn(terminal(1), &["bash", "--norc"]).await.unwrap();
    node.spawn(terminal(2), &["cat"]).await.unwrap();
    let mut flood = node.view(terminal(1), Some(0)).await;
    let mut cat = node.view(terminal(2), Some(0)).await;
    flood.ack().await;
    flood.type_in("yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n").await;
    let drawing = tokio::spawn(async move {
        let mut bytes = 0;
        while bytes < 20_000_000 {
            if let Some(TerminalOutput::Chunk { bytes: chunk, .. }) = flood.next().await {
                bytes += chunk.len();
            }
            flood.ack().await;
        }
        flood
    });
    let mut worst = Duration::ZERO;
    let mut total = Duration::ZERO;
    for round in 0..50 {
        let started = Instant::now();
        cat.type_in(&format!("echo{round}\n")).await;
        cat.until(&format!("echo{round}\r\n")).await;
        worst = worst.max(started.elapsed());
        total += started.elapsed();
    }
    eprintln!("echo under a flood: {:?} on average, {worst:?} at worst", total / 50);
    assert!(worst < Duration::from_secs(1));
    let mut flood = drawing.await.unwrap();
    let started = Instant::now();
    flood.type_in("\x03").await;
    let interrupted = async {
        loop {
            if let Some(TerminalOutput::Chunk { bytes, .. }) = flood.next().await
                && String::from_utf8_lossy(&bytes).contains("^C")
            {
                break;
            }
            flood.ack().await;
        }
    };
    tokio::time::timeout(LIMIT, interrupted).await.expect("the interrupt");
    eprintln!("an interrupt took {:?}", started.elapsed());
    flood.type_in("echo still here\n").await;
    flood.until("still here\r\n").await;
}

/// One viewer takes everything at once, the other acknowledges nothing after its first screen.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_viewer_does_not_slow_a_fast_one() {
    let (_sandbox, node) = start().await;
    node.spawn(terminal(1), &["sh", "-c", "read x; seq 1 1500000"]).await.unwrap();
    let mut fast = node.view(terminal(1), Some(0)).await;
    let mut slow = node.view(terminal(1), Some(0)).await;
    fast.ack().await;
    slow.ack().await;
    fast.type_in("\n").await;
    let started = Instant::now();
    let mut bytes = 0;
    let mut last = String::new();
    loop {
        match fast.next().await {
            Some(TerminalOutput::Chunk { bytes: chunk, .. }) => {
                bytes += chunk.len();
                last =
                    String::from_utf8_lossy(&chunk[chunk.len().saturating_sub(20)..]).into_owned();
                fast.ack().await;
            }
            Some(TerminalOutput::Exited { .. }) => break,
            other => panic!("{other:?}"),
        }
    }
    let elapsed = started.elapsed();
    assert_eq!(fast.restarts, 0);
    assert!(last.ends_with("1500000\r\n") && elapsed < LIMIT * 3, "{elapsed:?}");
    eprintln!("{:.1} MB/s to a fast viewer", bytes as f64 / 1e6 / elapsed.as_secs_f64());
    // The slow one has a window, then nothing until it acknowledges, then a repaint.
    let mut got = 0;
    while let Ok(Some(TerminalOutput::Chunk { bytes, .. })) =
        tokio::time::timeout(Duration::from_millis(300), slow.next()).await
    {
        got += bytes.len();
    }
    assert!(got <= 512 * 1024 + 64, "{got}");
    slow.ack().await;
    let (text, _) = slow.until_exit().await;
    assert!(text.ends_with("1500000\r\n") && slow.restarts == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_slow_viewer_slows_the_program_and_loses_nothing() {
    let (_sandbox, node) = start().await;
    node.spawn(terminal(1), &["sh", "-c", "read x; seq 1 300000"]).await.unwrap();
    let mut view = node.view(terminal(1), Some(0)).await;
    view.ack().await;
    view.type_in("\n").await;
    let mut text = Vec::new();
    loop {
        match view.next().await {
            Some(TerminalOutput::Chunk { bytes, .. }) => {
                text.extend_from_slice(&bytes);
                tokio::time::sleep(Duration::from_millis(10)).await;
                view.ack().await;
            }
            Some(TerminalOutput::Exited { .. }) => break,
            other => panic!("{other:?}"),
        }
    }
    let wanted: String = (1..=300_000).map(|n| format!("{n}\r\n")).collect();
    assert!(String::from_utf8(text).unwrap().ends_with(&wanted));
    assert_eq!(view.restarts, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_watches_a_flood_and_it_runs_free() {
    let (_sandbox, node) = start().await;
    node.spawn(terminal(1), &["sh", "-c", "seq 1 700000"]).await.unwrap();
    let exit: Exit = node.exit(terminal(1)).await;
    assert_eq!(exit.code, Some(0));
    // Too far back: what is no longer held is skipped.
    let mut view = node.view(terminal(1), Some(10)).await;
    let (text, _) = view.until_exit().await;
    assert_eq!(view.restarts, 1);
    assert!(text.ends_with("\r\n700000\r\n") && text.len() <= TERMINAL_RING_BYTES);
    let first: u32 = text.split("\r\n").next().unwrap().parse().unwrap();
    assert!(text.starts_with(&format!("{first}\r\n{}\r\n", first + 1)), "starts at a line");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_screen_program_draws_again_for_a_newcomer() {
    let (_sandbox, node) = start().await;
    let script = "printf '\\033[?1049h\\033[?25lscreen'; trap 'printf redrawn' WINCH; \
                  while :; do sleep 0.05; done";
    node.spawn(terminal(1), &["bash", "-c", script]).await.unwrap();
    node.view(terminal(1), Some(0)).await.until("screen").await;
    let mut view = node.view(terminal(1), None).await;
    view.until("redrawn").await;
    assert_eq!(view.restarts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn input_that_nobody_reads_is_bounded_and_an_interrupt_overtakes_it() {
    let (_sandbox, node) = start().await;
    node.spawn(terminal(1), &["bash", "--norc"]).await.unwrap();
    let mut view = node.view(terminal(1), Some(0)).await;
    view.type_in("stty -echo; sleep 1000\n").await;
    view.until("sleep 1000").await;
    let line = format!("{}\n", "z".repeat(1000));
    let mut pasted = 0;
    while tokio::time::timeout(Duration::from_millis(500), view.type_in(&line)).await.is_ok() {
        pasted += line.len();
        assert!(pasted < 4_000_000, "input is not bounded");
    }
    // Another viewer's interrupt comes through all the same.
    let mut other = node.view(terminal(1), None).await;
    other.type_in("\x03").await;
    other.type_in("stty echo; echo back again\n").await;
    other.until("back again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn terminals_and_offsets_outlive_the_node() {
    let (sandbox, node) = start().await;
    node.spawn(terminal(1), &["bash", "--norc"]).await.unwrap();
    let mut view = node.view(terminal(1), Some(0)).await;
    view.type_in("echo before\n").await;
    view.until("before\r\n").await;
    let offset = view.offset;
    view.type_in("(sleep 0.2; echo meanwhile) &\n").await;
    drop((view, node));
    let again = crate::node::Node::listen(&sandbox).await;
    let [state] = &again.hello.terminals[..] else { panic!("{:?}", again.hello) };
    assert_eq!((state.terminal, state.size, &state.exit), (terminal(1), (80, 24), &None));
    let mut view = again.view(terminal(1), offset).await;
    view.until("meanwhile\r\n").await;
    assert_eq!(view.restarts, 0);
    view.type_in("exit 3\n").await;
    assert_eq!(view.until_exit().await.1.code, Some(3));
    drop((view, again));
    let third = crate::node::Node::listen(&sandbox).await;
    assert_eq!(third.hello.terminals[0].exit.map(|exit| exit.code), Some(Some(3)));
    assert!(matches!(
        third.ask(Op::CloseTerminal { terminal: terminal(1) }).await,
        Ok(Reply::Done)
    ));
}
