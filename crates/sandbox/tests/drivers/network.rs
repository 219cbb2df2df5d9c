//! Sandboxes with a network, in a closed world with an internet and its resolver.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tandem_proto::egress::EgressMode;
use tandem_sandbox::egress::{Egress, EgressOptions, EgressPolicy};
use tandem_sandbox::{LauncherClient, Sandbox};
use tokio_util::task::AbortOnDropHandle;

use crate::bench::{Bench, Case, Mode, Phase, ask_to_kill, eventually, shell};
use crate::cases::case;
use crate::world::{OTHER_PUBLIC, PUBLIC, World};

const NETWORK: &[Mode] = &[Mode::Network, Mode::DockerNetwork];

pub const CASES: &[Case] = &[
    case!(without_a_network_it_has_a_loopback_interface, NETWORK),
    case!(it_reaches_hosts_by_name, NETWORK),
    case!(an_allow_list_is_names, NETWORK),
    case!(the_operator_changes_it_live, NETWORK),
    case!(its_traffic_is_in_the_ledger, NETWORK),
    case!(
        a_network_that_nobody_steers_ends,
        &[Mode::Network],
        [
            Phase::Killed(|bench| Box::pin(lose_the_launcher(bench))),
            Phase::ToTheEnd(|bench| Box::pin(find_nothing(bench))),
        ]
    ),
    case!(
        it_has_a_network_again_after_a_crash,
        NETWORK,
        [
            Phase::Killed(|bench| Box::pin(leave_one_with_a_network(bench))),
            Phase::ToTheEnd(|bench| Box::pin(plug_it_in_again(bench))),
        ]
    ),
];

/// Names of the world's resolver.
const NAMES: &[(&str, Ipv4Addr)] = &[
    ("allowed.example", PUBLIC),
    ("other.example", OTHER_PUBLIC),
    ("alias.example", PUBLIC),
    ("inner.example", Ipv4Addr::new(10, 0, 0, 5)),
];

/// What a case with a network has.
pub struct Network {
    pub world: ClosedWorld,
    pub launcher: Arc<LauncherClient>,
}

/// The world this process is in from now on, with what takes rights to make.
pub struct ClosedWorld {
    /// Kept, and with it the world.
    _world: World,
    servers: [TcpListener; 2],
    resolver: UdpSocket,
}

impl ClosedWorld {
    /// Call it while the process has one thread.
    pub fn enter() -> anyhow::Result<Self> {
        let world = World::new();
        let servers = [world.listen(80), world.listen(443)];
        let resolver = world.on_host(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)))?;
        resolver.set_nonblocking(true)?;
        move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&world.host),
            Some(LinkNameSpaceType::Network),
        )?;
        Ok(Self { _world: world, servers, resolver })
    }
}

/// The network of a case, at work.
struct AtWork {
    egress: Egress,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl AtWork {
    fn start(bench: &Bench, mode: EgressMode, allow: &[&str]) -> anyhow::Result<Self> {
        let network = bench.network.as_ref().expect("a network");
        let mut tasks = Vec::new();
        for server in &network.world.servers {
            let server = tokio::net::TcpListener::from_std(server.try_clone()?)?;
            tasks.push(AbortOnDropHandle::new(tokio::spawn(greet(server))));
        }
        let resolver = UdpSocket::try_clone(&network.world.resolver)?;
        let resolver = tokio::net::UdpSocket::from_std(resolver)?;
        tasks.push(AbortOnDropHandle::new(tokio::spawn(resolve(resolver))));
        let resolv_conf = bench.data_dir.join("resolv.conf");
        std::fs::write(&resolv_conf, "nameserver 127.0.0.1\n")?;
        let options = EgressOptions {
            mode,
            allow: allow.iter().map(|host| host.parse().expect("a host")).collect(),
            data_dir: bench.data_dir.clone(),
            resolv_conf: Some(resolv_conf),
        };
        let egress = Egress::start(network.launcher.clone(), options)?;
        Ok(Self { egress, _tasks: tasks })
    }

    async fn launch(&self, bench: &Bench) -> anyhow::Result<Sandbox> {
        let sandbox = bench.launch().await?;
        self.egress.attach(sandbox.id, sandbox.repl, sandbox.process).await;
        let report = self.egress.report(sandbox.repl);
        ensure!(report.connected && report.problem.is_none(), "{report:?}");
        Ok(sandbox)
    }

    async fn end(&self, bench: &Bench, sandbox: &Sandbox) -> anyhow::Result<()> {
        self.egress.detach(sandbox.id).await;
        bench.stop(sandbox).await?;
        self.egress.stop().await;
        Ok(())
    }
}

/// Says hello to everybody and keeps the connection.
async fn greet(server: tokio::net::TcpListener) {
    use tokio::io::AsyncWriteExt as _;
    let mut kept = Vec::new();
    while let Ok((mut stream, _)) = server.accept().await {
        if stream.write_all(b"hello\n").await.is_ok() {
            kept.push(stream);
        }
    }
}

/// Answers with the addresses of [`NAMES`].
async fn resolve(socket: tokio::net::UdpSocket) {
    let mut bytes = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
        let asked = &bytes[..length];
        let mut answer = asked.to_vec();
        let wire = |name: &str| -> Vec<u8> {
            let labels =
                name.split('.').map(|label| [&[label.len() as u8], label.as_bytes()].concat());
            labels.flatten().chain([0]).collect()
        };
        let known = NAMES.iter().find(|(name, _)| asked[12..].starts_with(&wire(name)));
        answer[2] |= 0x80;
        match known {
            Some((_, address)) => {
                answer[7] = 1;
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(address.octets());
            }
            None => answer[3] |= 3,
        }
        drop(socket.send_to(&answer, from).await);
    }
}

/// What a sandbox hears from a host, or nothing.
async fn hear(sandbox: &Sandbox, host: &str, port: u16) -> anyhow::Result<String> {
    let script = format!(
        "exec 2>/dev/null; exec 3<>/dev/tcp/{host}/{port} && read -t 10 -r word <&3 && echo \"$word\""
    );
    Ok(shell(sandbox, &script).await?.text.trim().to_owned())
}

async fn without_a_network_it_has_a_loopback_interface(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let seen =
        shell(&sandbox, "sed 1,2d /proc/net/dev | cut -d: -f1; cat /etc/resolv.conf").await?;
    ensure!(seen.lines()[0].trim() == "lo", "{seen:?}");
    ensure!(hear(&sandbox, &PUBLIC.to_string(), 80).await?.is_empty());
    bench.stop(&sandbox).await
}

async fn it_reaches_hosts_by_name(bench: &Bench) -> anyhow::Result<()> {
    let work = AtWork::start(bench, EgressMode::Open, &[])?;
    let sandbox = work.launch(bench).await?;
    for host in ["allowed.example", "other.example"] {
        ensure!(hear(&sandbox, host, 80).await? == "hello", "{host}");
    }
    ensure!(hear(&sandbox, &PUBLIC.to_string(), 443).await? == "hello");
    // One that leads inside, one that is not there, and the world's resolver itself.
    for host in ["inner.example", "missing.example", "127.0.0.1", "10.0.0.5", "198.18.0.1"] {
        ensure!(hear(&sandbox, host, 80).await?.is_empty(), "{host}");
    }
    let told =
        shell(&sandbox, "getent ahostsv4 inner.example; getent ahostsv4 allowed.example").await?;
    ensure!(told.text.contains(&PUBLIC.to_string()) && !told.text.contains("10.0.0.5"), "{told:?}");
    work.end(bench, &sandbox).await
}

async fn an_allow_list_is_names(bench: &Bench) -> anyhow::Result<()> {
    let work = AtWork::start(bench, EgressMode::AllowList, &["allowed.example"])?;
    let sandbox = work.launch(bench).await?;
    // An address that was not asked for by name is not allowed, even when it is the same.
    ensure!(hear(&sandbox, &PUBLIC.to_string(), 80).await?.is_empty());
    ensure!(hear(&sandbox, "allowed.example", 80).await? == "hello");
    ensure!(hear(&sandbox, "other.example", 80).await?.is_empty());
    ensure!(hear(&sandbox, &OTHER_PUBLIC.to_string(), 80).await?.is_empty());
    let report = work.egress.report(sandbox.repl);
    ensure!(report.allowed == ["allowed.example"], "{report:?}");
    ensure!(report.refused > 0, "{report:?}");
    work.end(bench, &sandbox).await
}

async fn the_operator_changes_it_live(bench: &Bench) -> anyhow::Result<()> {
    let work = AtWork::start(bench, EgressMode::Open, &[])?;
    let sandbox = work.launch(bench).await?;
    let is = async |mode: EgressMode| {
        eventually("the new mode", async || Ok(work.egress.report(sandbox.repl).mode == mode)).await
    };
    let mut policy = EgressPolicy::default();
    ensure!(hear(&sandbox, "other.example", 80).await? == "hello");

    policy.repls.insert(sandbox.repl, EgressMode::None);
    policy.save(&bench.data_dir)?;
    is(EgressMode::None).await?;
    eventually("no network", async || Ok(hear(&sandbox, "other.example", 80).await?.is_empty()))
        .await?;

    policy.repls.clear();
    policy.mode = Some(EgressMode::AllowList);
    policy.allow = Some(vec!["*.example".parse().expect("a host")]);
    policy.save(&bench.data_dir)?;
    is(EgressMode::AllowList).await?;
    eventually("the list", async || Ok(hear(&sandbox, "other.example", 80).await? == "hello"))
        .await?;

    // What cannot be read allows nothing.
    std::fs::write(bench.data_dir.join("egress.json"), "{")?;
    is(EgressMode::None).await?;
    eventually("no network", async || Ok(hear(&sandbox, "other.example", 80).await?.is_empty()))
        .await?;
    work.end(bench, &sandbox).await
}

async fn its_traffic_is_in_the_ledger(bench: &Bench) -> anyhow::Result<()> {
    let work = AtWork::start(bench, EgressMode::Open, &[])?;
    let sandbox = work.launch(bench).await?;
    ensure!(hear(&sandbox, "allowed.example", 443).await? == "hello");
    // Another name of the same address has a line of its own.
    ensure!(hear(&sandbox, "alias.example", 443).await? == "hello");
    eventually("a look at the counters", async || {
        let hosts = work.egress.report(sandbox.repl).hosts;
        Ok(hosts.iter().any(|line| line.host == "alias.example" && line.received > 100))
    })
    .await?;
    let report = work.egress.report(sandbox.repl);
    ensure!(report.guaranteed.is_some_and(|bits| bits > 900_000_000), "{report:?}");
    // The last look is at the end.
    tokio::time::timeout(Duration::from_secs(10), work.egress.detach(sandbox.id)).await?;
    let report = work.egress.report(sandbox.repl);
    let line = report.hosts.iter().find(|line| line.host == "allowed.example");
    let line = line.ok_or_else(|| anyhow::anyhow!("{report:?}"))?;
    ensure!(line.port == 443 && line.sent > 100 && line.received > 100, "{report:?}");
    ensure!(report.hosts.iter().any(|line| line.host == "alias.example"), "{report:?}");
    ensure!(report.hosts.iter().any(|line| line.port == 53), "questions are counted: {report:?}");
    ensure!(report.sent >= line.sent && !report.connected, "{report:?}");
    let totals = work.egress.totals();
    ensure!(totals.sent == report.sent && totals.repls.is_empty(), "{totals:?}");
    work.end(bench, &sandbox).await
}

async fn leave_one_with_a_network(bench: &Bench) -> anyhow::Result<()> {
    let work = AtWork::start(bench, EgressMode::Open, &[])?;
    let sandbox = work.launch(bench).await?;
    ensure!(hear(&sandbox, "allowed.example", 443).await? == "hello");
    Ok(())
}

async fn plug_it_in_again(bench: &Bench) -> anyhow::Result<()> {
    let work = AtWork::start(bench, EgressMode::Open, &[])?;
    let mut adopted = bench.driver.adopt().await?;
    let sandbox = adopted.pop().ok_or_else(|| anyhow::anyhow!("no survivor"))?;
    sandbox.link.connected().await?;
    work.egress.attach(sandbox.id, sandbox.repl, sandbox.process).await;
    let report = work.egress.report(sandbox.repl);
    ensure!(report.connected && report.problem.is_none(), "{report:?}");
    ensure!(hear(&sandbox, "allowed.example", 443).await? == "hello");
    work.end(bench, &sandbox).await
}

async fn lose_the_launcher(bench: &Bench) -> anyhow::Result<()> {
    let work = AtWork::start(bench, EgressMode::Open, &[])?;
    let sandbox = work.launch(bench).await?;
    ensure!(hear(&sandbox, "allowed.example", 443).await? == "hello");
    let own = std::process::id();
    let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
    let launcher = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
    ask_to_kill(&bench.data_dir, launcher.ok_or_else(|| anyhow::anyhow!("no launcher"))?)?;
    eventually("no network", async || {
        let seen = shell(&sandbox, "sed 1,2d /proc/net/dev | cut -d: -f1").await?;
        Ok(seen.lines().len() == 1)
    })
    .await?;
    let report = work.egress.report(sandbox.repl);
    ensure!(report.problem.is_some() && !report.connected, "{report:?}");
    work.egress.stop().await;
    // Without a launcher it cannot be stopped otherwise; the next server clears up.
    ask_to_kill(&bench.data_dir, sandbox.process.into())?;
    let mut ended = sandbox.ended.clone();
    tokio::time::timeout(Duration::from_secs(10), ended.wait_for(Option::is_some)).await??;
    Ok(())
}

async fn find_nothing(bench: &Bench) -> anyhow::Result<()> {
    ensure!(bench.driver.adopt().await?.is_empty());
    Ok(())
}
