//! `tandem serve`: everything in one process, from the first line to the last flush.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use tandem_node::{Node, PreviewAddress, Shared, WebClient, WebService};
use tandem_proto::NodeId;
use tandem_sandbox::{Check, Holds, LauncherClient, SandboxDriver};
use tandem_store::alive::{Alive, Heartbeat};
use tandem_store::ship::{ShippedLogs, Shipper};
use tandem_store::{DataDir, Log};
use tandem_web::{NodeDirectory, PublicUrl, Web, WebConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::{Options, SandboxKind};
use crate::config::Config;
use crate::metrics::{EgressMetrics, ShipMetrics};
use crate::wiring::LateRouter;
use crate::{logging, process, secret, templates};

/// Connections the kernel holds until they are accepted: a class that reconnects at once.
const BACKLOG: i32 = 4096;

/// Runs until a signal ends it.
pub fn run(options: Options) -> anyhow::Result<()> {
    let config = Config::load(options)?;
    logging::start(config.log_format, &config.log)?;
    // Before the rights go, so that port 80 works.
    let listener = listen(config.listen)?;
    let launcher = process::drop_rights(&config)?;
    process::runtime()?.block_on(serve(config, listener, launcher))
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    use rustix::net;
    let why = || format!("cannot listen on {address}");
    let family =
        if address.is_ipv4() { net::AddressFamily::INET } else { net::AddressFamily::INET6 };
    let socket = net::socket_with(
        family,
        net::SocketType::STREAM,
        net::SocketFlags::CLOEXEC | net::SocketFlags::NONBLOCK,
        None,
    )
    .with_context(why)?;
    net::sockopt::set_socket_reuseaddr(&socket, true).with_context(why)?;
    net::bind(&socket, &address).with_context(why)?;
    net::listen(&socket, BACKLOG).with_context(why)?;
    Ok(socket.into())
}

async fn serve(
    config: Config,
    listener: TcpListener,
    launcher: Option<Arc<LauncherClient>>,
) -> anyhow::Result<()> {
    let data_dir = DataDir::open(&config.data_dir).context("cannot use the data directory")?;
    let blobs = process::blob_store(&config).await?;
    let report =
        tandem_store::blob::probe(&*blobs).await.context("the blob store does not work")?;
    for finding in report.findings() {
        tracing::warn!(finding, "the blob store was tried");
    }
    anyhow::ensure!(
        report.is_usable(),
        "the blob store cannot be trusted with repls: {}",
        report.findings().join("; ")
    );
    let database = config.database.clone().unwrap_or_else(|| {
        format!("sqlite://{}?mode=rwc", data_dir.file("metadata.sqlite").display())
    });
    let heartbeat = Heartbeat {
        node: data_dir.node(),
        boot: data_dir.boot(),
        database: database_name(&database, data_dir.node()),
    };
    let alive = Arc::new(Alive::start(blobs.clone(), heartbeat, config.alive).await?);
    templates::seed(&blobs, &data_dir.file("templates.tmp")).await?;

    let driver = process::driver(&config, launcher.clone())?;
    let mut notices = check_sandboxes(&*driver).await?;
    let egress = process::egress(&config, launcher.as_ref());
    if let Err(why) = &egress {
        notices.push(format!("Programs have a loopback network only: {why}."));
    }
    let log =
        Log::open(&data_dir.log(), data_dir.node(), data_dir.boot(), config.log_sizes.clone())
            .await
            .context("cannot open the log")?;
    let log = Arc::new(log);
    for damage in log.damage() {
        tracing::error!(%damage, "the log is damaged; the repls concerned stay closed");
    }

    let port = listener.local_addr()?.port();
    let public_url =
        config.public_url.clone().unwrap_or_else(|| format!("http://localhost:{port}"));
    let token = match &config.token {
        Some(token) => token.clone(),
        None => secret::load_or_make(&data_dir.file("owner-token"))?,
    };
    let log_state = log.state();
    let shipped_logs = ShippedLogs::new(blobs.clone(), (data_dir.node(), data_dir.boot()));
    let shipped_logs = Arc::new(shipped_logs);
    let shipping = (blobs.clone(), shipped_logs.clone());
    let shipper = Arc::new(Shipper::start(log.clone(), shipping, config.ship.clone()));
    let registry = Arc::new(std::sync::Mutex::new(Registry::default()));
    let late = LateRouter::default();
    let node = Node::new(Shared {
        node: data_dir.node(),
        boot: data_dir.boot(),
        log,
        shipper: shipper.clone(),
        shipped_logs,
        alive: alive.clone(),
        blobs: blobs.clone(),
        driver,
        egress: egress.clone(),
        web: WebClient::new(data_dir.node(), WebService::new(late.clone())),
        room: config.room.clone(),
        limits: config.limits,
        preview: preview_address(&public_url, &config.preview_domain)?,
        notices,
    });
    if let Ok(mut registry) = registry.lock() {
        node.metrics().register(&mut registry);
        registry.register_collector(Box::new(ShipMetrics::new(shipper.state(), log_state)));
        if let Ok(egress) = &egress {
            registry.register_collector(Box::new(EgressMetrics::new(egress.clone())));
        }
    }
    let web = Web::start(
        WebConfig {
            public_url,
            preview_domain: config.preview_domain.clone(),
            insecure_http: config.insecure_http,
            trusted_proxies: config.trusted_proxies.clone(),
            owner_token: token.clone(),
            grant_secret: secret::bytes(&secret::load_or_make(&data_dir.file("grant-key"))?)?,
            database_url: database,
            registry,
        },
        blobs,
        NodeDirectory::in_process(data_dir.node(), node.router()),
    )
    .await
    .context("cannot start the web part")?;
    late.set(web.internal_router());
    node.start().await.context("cannot start the node part")?;
    let outcome = accept(&config, listener, &web, &node, &token, data_dir.path()).await;
    if let Ok(egress) = egress {
        egress.stop().await;
    }
    // After the rooms: what they flushed need not be shipped.
    shipper.stop().await;
    alive.stop().await;
    web.close().await;
    outcome
}

/// What tells two servers that they share a database, and no secret of it. A file is shared with
/// nobody.
fn database_name(url: &str, node: NodeId) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) if scheme != "sqlite" => {
            let rest = rest.split('?').next().unwrap_or_default();
            let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
            format!("{scheme}://{place}")
        }
        _ => format!("sqlite:{node}"),
    }
}

/// The sandbox must work, now or later; what does not hold is told to the operator and to people.
async fn check_sandboxes(driver: &dyn SandboxDriver) -> anyhow::Result<Vec<String>> {
    let checks = driver.probe().await;
    let broken: Vec<String> = checks
        .iter()
        .filter(|check| check.required && check.holds == Holds::No)
        .map(describe)
        .collect();
    anyhow::ensure!(
        broken.is_empty() || !driver.is_needed_at_start(),
        "sandboxes do not work on this machine:\n  {}\n`tandem doctor` says more",
        broken.join("\n  ")
    );
    for check in checks.iter().filter(|check| check.holds != Holds::Yes) {
        tracing::warn!(
            check = check.name,
            detail = check.detail,
            remedy = check.remedy,
            "not everything holds on this machine"
        );
    }
    let mut notices = Vec::new();
    if driver.name() == "process" {
        notices.push("This server runs programs WITHOUT ISOLATION.".to_owned());
    }
    Ok(notices)
}

fn describe(check: &Check) -> String {
    match &check.remedy {
        Some(remedy) => format!("{}: {} → {remedy}", check.name, check.detail),
        None => format!("{}: {}", check.name, check.detail),
    }
}

fn preview_address(public_url: &str, domain: &str) -> anyhow::Result<PreviewAddress> {
    let url: PublicUrl = public_url.parse()?;
    let own = if url.is_https() { 443 } else { 80 };
    Ok(PreviewAddress {
        scheme: url.scheme().to_owned(),
        domain: domain.to_owned(),
        port: Some(url.port()).filter(|port| *port != own),
    })
}

async fn accept(
    config: &Config,
    listener: TcpListener,
    web: &Web,
    node: &Node,
    token: &str,
    data_dir: &Path,
) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut signals = Signals::new()?;
    let stop = CancellationToken::new();
    let server = tokio::spawn(tandem_web::serve(listener, web.router(), stop.clone()));
    announce(config, address, &web.public_origin(), token, data_dir)?;
    let keep_sandboxes = signals.wait().await;
    tracing::info!(keep_sandboxes, "stopping: no new connections, then everything is saved");
    stop.cancel();
    web.close_sockets();
    node.shutdown(keep_sandboxes).await;
    match server.await {
        Ok(outcome) => outcome.context("the server failed")?,
        Err(error) => tracing::error!(%error, "the server's task failed"),
    }
    Ok(())
}

fn announce(
    config: &Config,
    address: SocketAddr,
    origin: &str,
    token: &str,
    data_dir: &Path,
) -> anyhow::Result<()> {
    println!("listening on http://{address}");
    println!();
    println!("  Open this link:  {origin}/#token={token}");
    println!();
    if config.sandbox == SandboxKind::Process {
        println!("  WARNING: --sandbox=process runs programs without any isolation.");
        println!();
    }
    if config.open {
        open_browser(origin, token, data_dir)?;
    }
    Ok(())
}

/// Through a file that only we can read, so that the token is in no process list.
fn open_browser(origin: &str, token: &str, data_dir: &Path) -> anyhow::Result<()> {
    use std::io::Write as _;
    let path = data_dir.join("open.html");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    write!(
        file,
        "<!doctype html><meta http-equiv=\"refresh\" content=\"0;url={origin}/#token={token}\">"
    )?;
    if let Err(error) = std::process::Command::new("xdg-open").arg(&path).spawn() {
        tracing::warn!(%error, "no browser could be opened; use the link above");
    }
    Ok(())
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    upgrade: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the end; answers whether sandboxes go on for the next server.
    async fn wait(&mut self) -> bool {
        tokio::select! {
            _ = self.terminate.recv() => false,
            _ = self.interrupt.recv() => false,
            _ = self.upgrade.recv() => true,
        }
    }
}
