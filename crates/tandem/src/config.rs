//! Options to a plain, validated configuration. Nothing else in the program reads the
//! environment.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tandem_node::RoomConfig;
use tandem_sandbox::egress::{EgressMode, EgressOptions, RouterSettings};
use tandem_sandbox::{DockerConfig, Limits, SandboxConfig};
use tandem_store::alive::{AliveOptions, Others};
use tandem_store::ship::ShipOptions;
use tandem_store::{BlobStoreUrl, LogOptions};
use tandem_web::IpNet;

use crate::cli::{EgressKind, LogFormat, Options, SandboxKind};

/// What `serve` was asked to be.
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where people reach the site; made from the listening port when absent.
    pub public_url: Option<String>,
    /// See [`Options::preview_domain`].
    pub preview_domain: String,
    /// See [`Options::trusted_proxy`].
    pub trusted_proxies: Vec<IpNet>,
    /// See [`Options::insecure_http`].
    pub insecure_http: bool,
    /// Absolute.
    pub data_dir: PathBuf,
    /// `None`: a folder of the data directory.
    pub blob_store: Option<BlobStoreUrl>,
    /// `None`: SQLite in the data directory.
    pub database: Option<String>,
    /// How user code is run.
    pub sandbox: SandboxKind,
    /// Who a server started as root becomes.
    pub user: Option<String>,
    /// For the drivers.
    pub driver: SandboxConfig,
    /// Of one sandbox.
    pub limits: Limits,
    /// What programs may reach.
    pub egress: EgressOptions,
    /// Timings of rooms.
    pub room: RoomConfig,
    /// Sizes of the log.
    pub log_sizes: LogOptions,
    /// What to do about another living server on the same blob store.
    pub alive: AliveOptions,
    /// Times of shipping the log.
    pub ship: ShipOptions,
    /// Open a browser.
    pub open: bool,
    /// The owner's token, when it is given.
    pub token: Option<String>,
    /// Looks of log lines.
    pub log_format: LogFormat,
    /// What is logged.
    pub log: String,
}

impl Config {
    /// Reads the file, if one is named, and checks everything.
    pub fn load(options: Options) -> anyhow::Result<Self> {
        let options = match &options.config {
            None => options,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let file: Options = toml::from_str(&text)
                    .with_context(|| format!("{} is not valid", path.display()))?;
                options.over(file)
            }
        };
        Self::check(options)
    }

    fn check(options: Options) -> anyhow::Result<Self> {
        let listen = options.listen.as_deref().unwrap_or("127.0.0.1:8080");
        let listen: SocketAddr =
            listen.replace("localhost:", "127.0.0.1:").parse().with_context(|| {
                format!("--listen {listen} is not ADDRESS:PORT, such as 127.0.0.1:8080")
            })?;
        let sandbox = options.sandbox.unwrap_or(SandboxKind::Bubblewrap);
        if sandbox == SandboxKind::Process && !listen.ip().is_loopback() {
            bail!(
                "--sandbox=process runs programs without any isolation and listens on loopback only; use --listen 127.0.0.1:PORT or another --sandbox"
            );
        }
        let router = egress_router(&options, sandbox)?;
        let data_dir = match options.data_dir {
            Some(dir) => dir,
            None => default_data_dir()?,
        };
        let data_dir = std::path::absolute(&data_dir).context("cannot find the data directory")?;
        let blob_store = options
            .blob_store
            .map(|url| url.parse::<BlobStoreUrl>().with_context(|| format!("--blob-store {url}")))
            .transpose()?;
        let mut limits = Limits::default();
        if let Some(mib) = options.memory_mib {
            limits.memory_bytes = at_least("--memory-mib", mib, 32)? << 20;
        }
        if let Some(mib) = options.disk_mib {
            limits.disk_bytes = at_least("--disk-mib", mib, 16)? << 20;
        }
        if let Some(processes) = options.processes {
            limits.processes = at_least("--processes", processes.into(), 8)? as u32;
        }
        if let Some(percent) = options.cpu_percent {
            limits.cpu_percent = at_least("--cpu-percent", percent.into(), 1)? as u32;
        }
        let mut docker = DockerConfig { runtime: options.docker_runtime, ..Default::default() };
        if let Some(socket) = options.docker_socket {
            docker.socket = std::path::absolute(socket).context("--docker-socket")?;
        }
        if let Some(image) = options.docker_image {
            docker.image = image;
        }
        let egress = EgressOptions {
            mode: options.egress.map(EgressMode::from).unwrap_or_default(),
            allow: parse_all("--egress-allow", options.egress_allow.as_deref())?,
            data_dir: data_dir.clone(),
            resolv_conf: None,
        };
        let mut room = RoomConfig {
            wait_for_jobs: options.wait_for_jobs.unwrap_or(false),
            ..RoomConfig::default()
        };
        set_time("--idle-grace", options.idle_grace.as_deref(), &mut room.idle_grace)?;
        set_time("--save-after", options.save_after.as_deref(), &mut room.save_after)?;
        set_time("--save-within", options.save_within.as_deref(), &mut room.save_within)?;
        let history = &mut room.history;
        set_time("--history-raw", options.history_raw.as_deref(), &mut history.raw)?;
        set_time("--history-hourly", options.history_hourly.as_deref(), &mut history.hourly)?;
        set_time("--history-daily", options.history_daily.as_deref(), &mut history.daily)?;
        if history.raw > history.hourly || history.hourly > history.daily {
            bail!("--history-raw, --history-hourly and --history-daily must not get shorter");
        }
        let mut ship = ShipOptions::default();
        set_time("--ship-within", options.ship_within.as_deref(), &mut ship.interval)?;
        if ship.interval.is_zero() {
            bail!("--ship-within must be longer than nothing");
        }
        set_time(
            "--save-ignored-every",
            options.save_ignored_every.as_deref(),
            &mut room.save_ignored_every,
        )?;
        if let Some(mib) = options.save_ignored_mib {
            room.ignored_bytes = mib.saturating_mul(1024 * 1024);
        }
        set_time("--sweep-every", options.sweep_every.as_deref(), &mut room.sweep_every)?;
        set_time(
            "--save-terminals-every",
            options.save_terminals_every.as_deref(),
            &mut room.save_terminals_every,
        )?;
        let mut log_sizes = LogOptions::default();
        if let Some(mib) = options.log_mib {
            log_sizes.quota_bytes = at_least("--log-mib", mib, 16)? << 20;
            // Whole files are given back, so there have to be several.
            log_sizes.segment_bytes = log_sizes.segment_bytes.min(log_sizes.quota_bytes / 8);
        }
        let mut alive = AliveOptions::default();
        if options.take_over.unwrap_or(false) {
            alive.others = Others::TakeOver;
        }
        let trusted_proxies = options
            .trusted_proxy
            .unwrap_or_default()
            .iter()
            .map(|text| {
                text.parse().with_context(|| {
                    format!("--trusted-proxy {text} is not a network such as 10.0.0.0/8")
                })
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            listen,
            public_url: options.public_url,
            preview_domain: options.preview_domain.unwrap_or_else(|| "localhost".to_owned()),
            trusted_proxies,
            insecure_http: options.insecure_http.unwrap_or(false),
            blob_store,
            database: options.database,
            sandbox,
            user: options.user,
            driver: SandboxConfig {
                data_dir: data_dir.clone(),
                agent: options.agent,
                toolchains: options.toolchain.unwrap_or_default(),
                docker,
                egress: router,
            },
            data_dir,
            limits,
            egress,
            room,
            log_sizes,
            alive,
            ship,
            open: options.open.unwrap_or(false) && !options.no_open,
            token: options.token,
            log_format: options.log_format.unwrap_or(LogFormat::Text),
            log: options.log.unwrap_or_else(|| "info".to_owned()),
        })
    }
}

/// The router that is needed; none where programs may reach nothing.
fn egress_router(
    options: &Options,
    sandbox: SandboxKind,
) -> anyhow::Result<Option<RouterSettings>> {
    if matches!(options.egress, None | Some(EgressKind::None)) {
        return Ok(None);
    }
    if sandbox == SandboxKind::Process {
        bail!("--egress needs sandboxes with a network of their own, not --sandbox=process");
    }
    let mbit = options.egress_mbit.map(|mbit| at_least("--egress-mbit", mbit, 1)).transpose()?;
    Ok(Some(RouterSettings {
        total: mbit.map(|mbit| mbit.saturating_mul(1_000_000)),
        denied: parse_all("--egress-deny", options.egress_deny.as_deref())?,
    }))
}

/// Reads a list of words.
pub fn parse_all<T: std::str::FromStr<Err = String>>(
    name: &str,
    words: Option<&[String]>,
) -> anyhow::Result<Vec<T>> {
    words
        .unwrap_or_default()
        .iter()
        .map(|word| word.parse().map_err(|error| anyhow::anyhow!("{name}: {error}")))
        .collect()
}

fn at_least(name: &str, value: u64, least: u64) -> anyhow::Result<u64> {
    if value < least {
        bail!("{name} must be at least {least}");
    }
    Ok(value)
}

fn set_time(name: &str, text: Option<&str>, time: &mut Duration) -> anyhow::Result<()> {
    if let Some(text) = text {
        *time = humantime::parse_duration(text)
            .with_context(|| format!("{name} {text} is not a time such as 30s or 5m"))?;
    }
    Ok(())
}

fn default_data_dir() -> anyhow::Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/tandem"));
    }
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match (var("XDG_DATA_HOME"), var("HOME")) {
        (Some(data), _) => Ok(data.join("tandem")),
        (None, Some(home)) => Ok(home.join(Path::new(".local/share/tandem"))),
        (None, None) => bail!("there is no home folder; say where to keep data with --data-dir"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: Options) -> Result<Config, String> {
        Config::check(options).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            (Options { listen: Some("nowhere".to_owned()), ..Options::default() }, "--listen"),
            (
                Options { blob_store: Some("ftp://x".to_owned()), ..Options::default() },
                "--blob-store",
            ),
            (Options { idle_grace: Some("soon".to_owned()), ..Options::default() }, "--idle-grace"),
            (Options { memory_mib: Some(1), ..Options::default() }, "--memory-mib"),
            (
                Options { egress_allow: Some(vec!["http://x".into()]), ..Options::default() },
                "--egress-allow",
            ),
            (
                Options {
                    egress: Some(EgressKind::Open),
                    egress_deny: Some(vec!["::/0".into()]),
                    ..Options::default()
                },
                "--egress-deny",
            ),
            (
                Options { trusted_proxy: Some(vec!["x".to_owned()]), ..Options::default() },
                "--trusted-proxy",
            ),
            (
                Options {
                    sandbox: Some(SandboxKind::Process),
                    listen: Some("0.0.0.0:1".to_owned()),
                    ..Options::default()
                },
                "loopback",
            ),
        ];
        for (options, want) in cases {
            let error = check(options).err().unwrap_or_default();
            assert!(error.contains(want), "{error}");
        }
        let config =
            check(Options { idle_grace: Some("2m".to_owned()), ..Options::default() }).unwrap();
        assert_eq!(config.room.idle_grace, Duration::from_secs(120));
    }
}
