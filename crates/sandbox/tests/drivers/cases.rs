//! What every driver must do.

use std::time::{Duration, Instant};

use tandem_proto::SandboxId;
use tandem_proto::agent::{AgentError, Event, Op};
use tandem_sandbox::{Holds, LinkError, LinkEvent, SandboxError};
use tandem_testkit::DOCKER_IMAGE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bench::{
    self, Bench, Case, Mode, Phase, eventually, processes, random, shell, start_inside,
};

const ALL: &[Mode] = &[Mode::Launcher, Mode::User, Mode::Process, Mode::Docker];
/// All that isolate.
const ISOLATED: &[Mode] = &[Mode::Launcher, Mode::User, Mode::Docker];

macro_rules! case {
    ($name:ident, $modes:expr) => {
        case!($name, $modes, [crate::bench::Phase::ToTheEnd(|bench| Box::pin($name(bench)))])
    };
    ($name:ident, $modes:expr, $phases:expr) => {
        crate::bench::Case { name: stringify!($name), modes: $modes, phases: &$phases, agent: None }
    };
}
pub(crate) use case;

pub const CASES: &[Case] = &[
    case!(it_starts_answers_and_stops, ALL),
    case!(its_environment_is_clean, ISOLATED),
    case!(it_claims_only_what_it_can, ALL),
    case!(it_is_ready_and_probes_honestly, ALL),
    case!(an_id_is_used_once, ALL),
    case!(several_start_at_once, ALL),
    case!(stopping_what_is_not_there_is_fine, ALL),
    case!(a_bad_environment_is_refused, ALL),
    Case { agent: Some("/usr/bin/false"), ..case!(an_agent_that_fails_leaves_nothing, ALL) },
    case!(its_end_is_noticed, ALL),
    case!(ports_are_reached, ALL),
    case!(tars_go_in_and_out, ALL),
    case!(toolchains_run, ISOLATED),
    case!(no_process_outlives_a_stop, ALL),
    case!(starts_are_measured, ISOLATED),
    case!(
        it_is_adopted_after_a_crash,
        ALL,
        [
            Phase::Killed(|bench| Box::pin(leave_one_running(bench))),
            Phase::Killed(|bench| Box::pin(adopt_and_leave_again(bench))),
            Phase::ToTheEnd(|bench| Box::pin(adopt_and_stop(bench))),
        ]
    ),
    case!(
        a_dead_one_is_cleared_after_a_crash,
        ALL,
        [
            Phase::Killed(|bench| Box::pin(leave_one_dying(bench))),
            Phase::ToTheEnd(|bench| Box::pin(find_nothing(bench))),
        ]
    ),
    case!(
        a_container_that_nobody_knows_is_removed,
        &[Mode::Docker],
        [
            Phase::Killed(|bench| Box::pin(forget_one_running(bench))),
            Phase::ToTheEnd(|bench| Box::pin(adopt_nothing_and_end_it(bench))),
        ]
    ),
];

async fn it_starts_answers_and_stops(bench: &Bench) -> anyhow::Result<()> {
    let spec = bench.spec();
    let started = Instant::now();
    let sandbox = bench.driver.launch(spec.clone()).await?;
    let took = started.elapsed();
    assert_eq!((sandbox.id, sandbox.repl), (spec.sandbox, spec.repl));
    let mut events = sandbox.link.take_events().expect("the events");
    assert!(matches!(events.recv().await, Some(LinkEvent::Connected(_))));
    let output = shell(&sandbox, "echo $GREETING; exit 7").await?;
    assert_eq!(output.lines(), ["hello"]);
    assert_eq!(output.exit.code, Some(7));
    let stopping = Instant::now();
    bench.driver.stop(sandbox.id, Duration::from_millis(100)).await?;
    println!("measured: start {took:?}, stop {:?}", stopping.elapsed());
    assert!(sandbox.link.request(tandem_proto::agent::Op::Usage).await.is_err());
    Ok(())
}

async fn its_environment_is_clean(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let output = shell(&sandbox, "pwd; id -u; id -un; hostname; echo $HOME; env | wc -l").await?;
    let lines = output.lines();
    let own_uid = bench.record(&sandbox)?["uid"].to_string();
    // The daemon maps no users here, so a container's are the host's.
    let uid = if bench.mode == Mode::Docker { own_uid.as_str() } else { "1000" };
    assert_eq!(lines[..5], ["/home/runner/workspace", uid, "runner", "tandem", "/home/runner"]);
    assert!(lines[5].trim().parse::<usize>()? < 25, "{output:?}");
    let output = shell(&sandbox, "ls ~; echo x > w && cat w; touch /x /usr/x").await?;
    assert_eq!(output.lines()[..2], ["workspace", "x"], "{output:?}");
    assert_eq!(output.text.matches("Read-only file system").count(), 2, "{output:?}");
    bench.stop(&sandbox).await
}

async fn it_claims_only_what_it_can(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let force = sandbox.limits_in_force;
    assert_eq!(force.own_network, bench.mode != Mode::Process);
    assert_eq!(force.own_uid, bench.mode.has_rights());
    assert_eq!(force.ptys, bench.mode.has_rights());
    if bench.mode == Mode::Docker {
        assert!(force.memory && force.cpu && force.processes && force.disk && force.inodes);
    }
    if !bench.mode.has_rights() {
        assert!(!force.memory && !force.cpu && !force.inodes, "an ordinary user cannot: {force:?}");
    }
    println!("measured: {force:?}");
    bench.stop(&sandbox).await
}

async fn it_is_ready_and_probes_honestly(bench: &Bench) -> anyhow::Result<()> {
    bench.driver.ready().await?;
    let checks = bench.driver.probe().await;
    let json = serde_json::to_string_pretty(&checks)?;
    assert!(bench.folders().is_empty());
    if bench.mode == Mode::Process {
        assert!(checks.iter().any(|check| check.holds == Holds::No), "{json}");
        return Ok(());
    }
    let outcome = |name: &str| checks.iter().find(|check| check.name == name).map(|c| c.holds);
    let broken = checks.iter().filter(|check| check.required && check.holds == Holds::No);
    assert_eq!(broken.count(), 0, "{json}");
    for always in ["sandbox", "pid-namespace", "loopback-only", "system-call-filter", "no-rights"] {
        assert_eq!(outcome(always), Some(Holds::Yes), "{always} {json}");
    }
    let as_root = if bench.mode.has_rights() { Holds::Yes } else { Holds::No };
    let own = if bench.mode == Mode::Docker { "docker" } else { "launcher" };
    for rights in [own, "own-uid", "terminal-limit", "ports-80-and-443"] {
        assert_eq!(outcome(rights), Some(as_root), "{rights} {json}");
    }
    let missing = checks.iter().filter(|check| check.holds == Holds::No);
    assert!(missing.clone().all(|check| check.remedy.is_some()), "{json}");
    let missing: Vec<&str> = missing.map(|check| check.name.as_str()).collect();
    println!("measured: {} checks, does not hold: {missing:?}", checks.len());
    Ok(())
}

async fn an_id_is_used_once(bench: &Bench) -> anyhow::Result<()> {
    let spec = bench.spec();
    let sandbox = bench.driver.launch(spec.clone()).await?;
    assert!(matches!(bench.driver.launch(spec).await, Err(SandboxError::Exists)));
    // The first one is untouched.
    assert_eq!(shell(&sandbox, "echo still here").await?.lines(), ["still here"]);
    bench.stop(&sandbox).await
}

async fn several_start_at_once(bench: &Bench) -> anyhow::Result<()> {
    let launches = (0..6).map(|_| bench.launch());
    let sandboxes: Vec<_> = futures_util::future::try_join_all(launches).await?;
    let mut uids = std::collections::BTreeSet::new();
    for sandbox in &sandboxes {
        let id = sandbox.id.to_string();
        shell(sandbox, &format!("echo {id} > name")).await?;
        uids.insert(bench.record(sandbox)?["uid"].to_string());
    }
    for sandbox in &sandboxes {
        let named = shell(sandbox, "cat name").await?;
        assert_eq!(named.lines(), [sandbox.id.as_str()]);
    }
    let own = if bench.mode.has_rights() { sandboxes.len() } else { 1 };
    assert_eq!(uids.len(), own, "{uids:?}");
    let stops = sandboxes.iter().map(|sandbox| bench.stop(sandbox));
    futures_util::future::try_join_all(stops).await?;
    Ok(())
}

async fn stopping_what_is_not_there_is_fine(bench: &Bench) -> anyhow::Result<()> {
    bench.driver.stop(SandboxId::from_random(random()), Duration::ZERO).await?;
    Ok(())
}

async fn a_bad_environment_is_refused(bench: &Bench) -> anyhow::Result<()> {
    for (name, value) in [("A=B", "x"), ("", "x"), ("A", "x\0y"), ("--a", "x"), ("TANDEM_X", "x")] {
        let mut spec = bench.spec();
        spec.env = vec![(name.into(), value.into())];
        let refused = bench.driver.launch(spec).await;
        assert!(matches!(refused, Err(SandboxError::Invalid(_))), "{name:?}");
    }
    Ok(())
}

async fn an_agent_that_fails_leaves_nothing(bench: &Bench) -> anyhow::Result<()> {
    let refused = bench.driver.launch(bench.spec()).await;
    assert!(matches!(refused, Err(SandboxError::Start(_))), "{refused:?}");
    assert!(bench.folders().is_empty());
    Ok(())
}

async fn its_end_is_noticed(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    kill_agent(bench, &sandbox).await?;
    let mut ended = sandbox.ended.clone();
    let limit = Duration::from_secs(10);
    let reason = tokio::time::timeout(limit, ended.wait_for(Option::is_some)).await??;
    assert!(reason.as_ref().is_some_and(|ended| !ended.reason.is_empty()));
    drop(reason);
    bench.stop(&sandbox).await
}

/// Kills the agent from outside, as an operator might.
async fn kill_agent(bench: &Bench, sandbox: &tandem_sandbox::Sandbox) -> anyhow::Result<()> {
    let record = bench.record(sandbox)?;
    // This process may have no right to; the harness has.
    bench::ask_to_kill(&bench.data_dir, record["agent"]["pid"].as_i64().expect("a pid"))
}

async fn no_process_outlives_a_stop(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let marker = format!("987{}", rand::random::<u16>());
    let script = format!(
        "for n in 1 2 3; do setsid sleep {marker} & done; (sleep {marker} &) ; sleep {marker}"
    );
    start_inside(&sandbox, &["bash", "-c", &script]).await?;
    let sleeping = || {
        processes(|process| {
            let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
            line == format!("sleep\0{marker}\0").as_bytes()
        })
    };
    eventually("five processes sleep", async || Ok(sleeping() == 5)).await?;
    let started = Instant::now();
    bench.stop(&sandbox).await?;
    println!("measured: stop with processes {:?}", started.elapsed());
    assert_eq!(sleeping(), 0);
    assert!(bench.folders().is_empty());
    Ok(())
}

async fn leave_one_running(bench: &Bench) -> anyhow::Result<()> {
    assert!(bench.driver.adopt().await?.is_empty());
    let sandbox = bench.launch().await?;
    shell(&sandbox, "echo 9${RANDOM}9 > ~/note").await?;
    start_inside(&sandbox, &["bash", "-c", "exec sleep $(cat ~/note)"]).await?;
    let sleeps = "pgrep -x -f \"sleep $(cat ~/note)\"";
    eventually("it sleeps", async || Ok(shell(&sandbox, sleeps).await?.exit.code == Some(0)))
        .await?;
    Ok(())
}

async fn adopt_and_leave_again(bench: &Bench) -> anyhow::Result<()> {
    adopt_one(bench).await?;
    Ok(())
}

async fn adopt_and_stop(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = adopt_one(bench).await?;
    // A second one beside an adopted one.
    let other = bench.launch().await?;
    assert_eq!(shell(&other, "echo other").await?.lines(), ["other"]);
    bench.stop(&other).await?;
    bench.driver.stop(sandbox.id, Duration::from_millis(100)).await?;
    assert!(bench.folders().is_empty());
    Ok(())
}

async fn adopt_one(bench: &Bench) -> anyhow::Result<tandem_sandbox::Sandbox> {
    let started = Instant::now();
    let mut adopted = bench.driver.adopt().await?;
    let sandbox = adopted.pop().expect("the survivor");
    assert!(adopted.is_empty());
    tokio::time::timeout(Duration::from_secs(30), sandbox.link.connected()).await??;
    println!("measured: adopted and connected in {:?}", started.elapsed());
    let system = shell(&sandbox, "test -r /etc/passwd && test -r /usr/bin/env && id -u").await?;
    assert_eq!(system.exit.code, Some(0), "its system is still there: {system:?}");
    let output = shell(&sandbox, "pgrep -c -x -f \"sleep $(cat ~/note)\"").await?;
    assert_eq!(output.lines(), ["1"], "{output:?}");
    Ok(sandbox)
}

async fn leave_one_dying(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    kill_agent(bench, &sandbox).await?;
    let mut ended = sandbox.ended.clone();
    tokio::time::timeout(Duration::from_secs(10), ended.wait_for(Option::is_some)).await??;
    Ok(())
}

async fn find_nothing(bench: &Bench) -> anyhow::Result<()> {
    assert!(bench.driver.adopt().await?.is_empty());
    assert!(bench.folders().is_empty());
    Ok(())
}

async fn forget_one_running(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let pid = bench.record(&sandbox)?["agent"]["pid"].to_string();
    std::fs::write(bench.data_dir.join("pid"), pid)?;
    // As after a crash between the daemon's answer and the record, or a restored data directory.
    std::fs::remove_dir_all(bench.data_dir.join("sandboxes").join(sandbox.id.as_str()))?;
    Ok(())
}

async fn adopt_nothing_and_end_it(bench: &Bench) -> anyhow::Result<()> {
    let pid = std::fs::read_to_string(bench.data_dir.join("pid"))?;
    let process = std::path::Path::new("/proc").join(pid);
    assert!(process.exists(), "it survived the server");
    assert!(bench.driver.adopt().await?.is_empty());
    eventually("it is ended", async || Ok(!process.exists())).await
}

/// What needs the product's own agent and not the stand-in.
async fn has_streams(sandbox: &tandem_sandbox::Sandbox) -> bool {
    let answer = sandbox.link.request(Op::CheckPorts).await;
    let has_streams = answer.is_ok();
    if !has_streams {
        println!("measured: LEFT OUT, the stand-in agent has no streams");
    }
    has_streams
}

async fn ports_are_reached(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    if has_streams(&sandbox).await {
        let mut events = sandbox.link.take_events().expect("the events");
        let serve = "import http.server as h; s = h.HTTPServer(('127.0.0.1', 0), \
                     h.SimpleHTTPRequestHandler); open('port', 'w').write(str(s.server_port)); \
                     s.serve_forever()";
        start_inside(&sandbox, &["python3", "-c", serve]).await?;
        let port = loop {
            match tokio::time::timeout(Duration::from_secs(20), events.recv()).await? {
                Some(LinkEvent::Event(Event::Ports { ports })) if !ports.is_empty() => {
                    // Without a network of its own a sandbox sees the host's ports.
                    let own = shell(&sandbox, "cat port").await?.text.trim().parse::<u16>();
                    match own {
                        Ok(own) if ports.iter().any(|port| port.port == own) => break own,
                        _ => {}
                    }
                }
                Some(_) => {}
                None => anyhow::bail!("no more events"),
            }
        };
        let mut tcp = sandbox.link.open_tcp([127, 0, 0, 1].into(), port).await?;
        tcp.write_all(b"GET /port HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await?;
        assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with(&port.to_string()));
        let closed = sandbox.link.open_tcp([127, 0, 0, 1].into(), 1).await;
        assert!(matches!(closed, Err(LinkError::Agent(AgentError::Refused))), "{closed:?}");
    }
    bench.stop(&sandbox).await
}

async fn tars_go_in_and_out(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    if has_streams(&sandbox).await {
        shell(
            &sandbox,
            "mkdir -p d/e && echo one > d/one && head -c 3000000 /dev/urandom > d/e/big",
        )
        .await?;
        let mut tar = Vec::new();
        let d = vec![tandem_proto::RelPath::parse("d")?];
        sandbox.link.pack(d).await?.read_to_end(&mut tar).await?;
        assert!(tar.len() > 3_000_000);
        let sums = "cat d/one; md5sum < d/e/big";
        let before = shell(&sandbox, sums).await?.text;
        shell(&sandbox, "rm -r d").await?;
        assert!(sandbox.link.unpack(&tar[..]).await? >= 2);
        assert_eq!(shell(&sandbox, sums).await?.text, before);
        let cut = sandbox.link.unpack(&tar[..tar.len() / 2]).await;
        assert!(cut.is_err(), "a cut tar is an error: {cut:?}");
    }
    bench.stop(&sandbox).await
}

async fn toolchains_run(bench: &Bench) -> anyhow::Result<()> {
    let mut spec = bench.spec();
    spec.limits = tandem_sandbox::Limits::default();
    let sandbox = bench.driver.launch(spec).await?;
    let mut ran = Vec::new();
    for (command, script) in [
        ("bash", "bash --version"),
        ("python3", "python3 -c 'import ssl, sqlite3, json; print(1)'"),
        ("node", "node -e 'console.log(1)'"),
        ("npm", "npm --version"),
        ("gcc", "echo 'int main(){return 0;}' > a.c && gcc a.c -o a && ./a"),
        (
            "g++",
            "printf '#include <iostream>\\nint main(){std::cout<<1;}' > b.cc && g++ b.cc -o b && ./b",
        ),
        ("go", "go version && go env GOROOT"),
        ("rustc", "echo 'fn main(){}' > c.rs && rustc c.rs && ./c"),
        ("cargo", "cargo --version"),
        (
            "javac",
            "echo 'class A{public static void main(String[] a){}}' > A.java && javac A.java && java A",
        ),
        ("git", "git init -q g && git -C g status"),
    ] {
        let listed = !bench.driver.tools(&[command.to_owned()]).await.is_empty();
        let found = shell(&sandbox, &format!("command -v {command}")).await?;
        assert_eq!(listed, found.exit.code == Some(0), "{command}: {found:?}");
        if listed {
            let output = shell(&sandbox, script).await?;
            assert_eq!(output.exit.code, Some(0), "{command}: {output:?}");
            ran.push(command);
        }
    }
    assert!(ran.contains(&"bash"));
    println!("measured: these ran: {}", ran.join(" "));
    bench.stop(&sandbox).await
}

/// How long a start takes, beside what the same machine needs for bubblewrap alone with nothing in
/// it, and for `docker run` of the same image. No bound is asserted: the machine may be busy.
async fn starts_are_measured(bench: &Bench) -> anyhow::Result<()> {
    let rounds: usize = std::env::var("TANDEM_BENCH_ROUNDS").map_or(Ok(5), |n| n.parse())?;
    let mut launches = Vec::new();
    let mut prompts = Vec::new();
    let mut stops = Vec::new();
    let mut plain = Vec::new();
    for _ in 0..rounds {
        // In turn, so that both have the same load beside them.
        let started = Instant::now();
        let sandbox = bench.launch().await?;
        launches.push(started.elapsed());
        shell(&sandbox, "true").await?;
        prompts.push(started.elapsed());
        let stopping = Instant::now();
        bench.stop(&sandbox).await?;
        stops.push(stopping.elapsed());
        let started = Instant::now();
        if !plain_start(bench.mode)? {
            println!("measured: LEFT OUT, there is no docker command");
            return Ok(());
        }
        plain.push(started.elapsed());
    }
    for times in [&mut launches, &mut prompts, &mut stops, &mut plain] {
        times.sort();
    }
    let middle = rounds / 2;
    let ratio = prompts[middle].as_secs_f64() / plain[middle].as_secs_f64();
    let beside = if bench.mode == Mode::Docker { "docker run" } else { "plain bwrap" };
    println!(
        "measured: median of {rounds}: launched {:.1?}, first command ended {:.1?}, stopped {:.1?}; \
         {beside} to the end of a command {:.1?}: {ratio:.2} times as long",
        launches[middle], prompts[middle], stops[middle], plain[middle]
    );
    Ok(())
}

/// Runs a command by the bare means; whether they are there.
fn plain_start(mode: Mode) -> anyhow::Result<bool> {
    use std::process::{Command, Stdio};
    let mut command = if mode == Mode::Docker {
        let mut command = Command::new("docker");
        let socket = std::env::var(bench::DOCKER_SOCKET)?;
        command.env("DOCKER_HOST", format!("unix://{socket}"));
        command.env("HOME", "/tmp").args(["run", "--rm", "--network", "none", DOCKER_IMAGE]);
        command
    } else {
        let mut command = Command::new("bwrap");
        command.args(["--unshare-all", "--uid", "1000", "--ro-bind", "/", "/"]);
        command.args(["--proc", "/proc", "--dev", "/dev"]);
        command
    };
    match command.args(["bash", "-c", "true"]).stdin(Stdio::null()).status() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        status => {
            let status = status?;
            anyhow::ensure!(status.success(), "{status}");
            Ok(true)
        }
    }
}
