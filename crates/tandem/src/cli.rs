//! The command line. Every option of `serve` is also an environment variable and a key of the
//! configuration file; the command line wins over the environment, and both over the file.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;
use tandem_proto::ReplId;
use tandem_proto::egress::EgressMode;

/// A self-hosted, multiplayer place to write and run code.
#[derive(Debug, Parser)]
#[command(name = "tandem", version, about, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the server: site, API, editing, sandboxes and previews in one process.
    Serve(Options),
    /// Say what this machine can do for sandboxes and storage, and how to mend what is missing.
    Doctor {
        /// The same options as `serve`.
        #[command(flatten)]
        options: Options,
        /// Print JSON for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Say or change what programs in sandboxes may reach, while the server runs.
    Egress(EgressCommand),
    /// Add or list language templates of an installation.
    #[command(subcommand)]
    Template(TemplateCommand),
    /// Write repls with everything they have (files, documents with their history and authors,
    /// checkpoints, output of terminals, names and links) into one archive. Works on the blob store;
    /// a server may be running, and what it saved last is taken (2 s after an edit, 30 s at most).
    Export(ExportCommand),
    /// Bring the repls of an archive into the blob store as new ones. A server that runs shows them
    /// after its next start.
    Import(ImportCommand),
    /// Verify the checksum of every stored object, that everything a repl names is there and that
    /// every document opens. Says what is wrong, touches nothing; exits with 1 when something is.
    Check(CheckCommand),
    /// The privileged half of the server; started by `serve` itself.
    #[command(hide = true)]
    Launch,
}

/// `tandem export`.
#[derive(Debug, Args)]
pub struct ExportCommand {
    /// The archive to write; it must not be there yet
    pub file: PathBuf,
    /// Which repl; may be given more than once
    #[arg(long, value_name = "ID", required_unless_present = "all")]
    pub repl: Vec<ReplId>,
    /// Every repl
    #[arg(long, conflicts_with = "repl")]
    pub all: bool,
    /// Where the installation is.
    #[command(flatten)]
    pub options: Options,
}

/// `tandem import`.
#[derive(Debug, Args)]
pub struct ImportCommand {
    /// The archive to read
    pub file: PathBuf,
    /// Keep the repls' ids, with their share links; refused where a repl is there already
    #[arg(long)]
    pub same_id: bool,
    /// Where the installation is.
    #[command(flatten)]
    pub options: Options,
}

/// `tandem check`.
#[derive(Debug, Args)]
pub struct CheckCommand {
    /// One repl only
    #[arg(long, value_name = "ID")]
    pub repl: Option<ReplId>,

    /// Print JSON for scripts
    #[arg(long)]
    pub json: bool,
    /// Where the installation is.
    #[command(flatten)]
    pub options: Options,
}

/// `tandem template …`.
#[derive(Debug, Subcommand)]
pub enum TemplateCommand {
    /// Add the template in a folder (`template.toml` beside `files/`) to the blob store. A running
    /// server offers it at once.
    Add {
        /// The template's folder.
        folder: PathBuf,
        /// Where the installation is.
        #[command(flatten)]
        options: Options,
    },
    /// List the templates in the blob store.
    List {
        /// Where the installation is.
        #[command(flatten)]
        options: Options,
    },
}

/// How user code is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxKind {
    /// Namespaces and limits by bubblewrap.
    Bubblewrap,
    /// Containers of a Docker daemon on this machine.
    Docker,
    /// NO ISOLATION: programs run as the server's own user. Loopback only.
    Process,
}

/// What programs in sandboxes may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EgressKind {
    /// Nothing.
    None,
    /// Named hosts.
    AllowList,
    /// The internet.
    Open,
}

impl From<EgressKind> for EgressMode {
    fn from(kind: EgressKind) -> Self {
        match kind {
            EgressKind::None => Self::None,
            EgressKind::AllowList => Self::AllowList,
            EgressKind::Open => Self::Open,
        }
    }
}

/// `tandem egress`.
#[derive(Debug, Args)]
pub struct EgressCommand {
    /// What programs may reach from now on. `none` ends every connection at once
    #[arg(value_enum)]
    pub mode: Option<EgressKind>,
    /// Of one repl alone, which never gets more than all do
    #[arg(long, value_name = "ID")]
    pub repl: Option<ReplId>,
    /// The hosts of the allow list from now on
    #[arg(long, value_name = "HOST", value_delimiter = ',', conflicts_with = "repl")]
    pub allow: Option<Vec<String>>,
    /// Go back to what the server was started with
    #[arg(long, conflicts_with_all = ["mode", "allow"])]
    pub reset: bool,
    /// Where the installation is.
    #[command(flatten)]
    pub options: Options,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Options of `serve`.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// A file with the same options as keys [for an example see tandem.config.example.toml]
    #[arg(long, value_name = "FILE", env = "TANDEM_CONFIG")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Address and port to listen on; port 0 picks one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", env = "TANDEM_LISTEN")]
    pub listen: Option<String>,

    /// Where people reach the site [default: http://localhost:PORT]
    #[arg(long, value_name = "URL", env = "TANDEM_PUBLIC_URL")]
    pub public_url: Option<String>,

    /// Previews are served at PORT-REPL.DOMAIN [default: localhost]
    #[arg(long, value_name = "DOMAIN", env = "TANDEM_PREVIEW_DOMAIN")]
    pub preview_domain: Option<String>,

    /// Reverse proxies whose X-Forwarded-For is believed
    #[arg(long, value_name = "CIDR", env = "TANDEM_TRUSTED_PROXY", value_delimiter = ',')]
    pub trusted_proxy: Option<Vec<String>>,

    /// Accept a public address that is neither https nor loopback
    #[arg(long, env = "TANDEM_INSECURE_HTTP", num_args = 0..=1, default_missing_value = "true")]
    pub insecure_http: Option<bool>,

    /// Log, database, keys and sandboxes [default: /var/lib/tandem as root, else ~/.local/share/tandem]
    #[arg(long, value_name = "DIR", env = "TANDEM_DATA_DIR")]
    pub data_dir: Option<PathBuf>,

    /// Where repls are kept: file:///DIR or s3://BUCKET/PREFIX?endpoint=…&region=…&path_style=true
    /// [default: DATA_DIR/blobs]
    #[arg(long, value_name = "URL", env = "TANDEM_BLOB_STORE")]
    pub blob_store: Option<String>,

    /// Metadata: sqlite:///FILE or postgres://… [default: DATA_DIR/metadata.sqlite]
    #[arg(long, value_name = "URL", env = "TANDEM_DATABASE")]
    pub database: Option<String>,

    /// How user code is run [default: bubblewrap]
    #[arg(long, value_enum, env = "TANDEM_SANDBOX")]
    pub sandbox: Option<SandboxKind>,

    /// The Docker daemon's socket, for --sandbox=docker [default: /run/docker.sock]
    #[arg(long, value_name = "FILE", env = "TANDEM_DOCKER_SOCKET")]
    pub docker_socket: Option<PathBuf>,

    /// The image that sandboxes see as their system (`make image`) [default: tandem-languages]
    #[arg(long, value_name = "IMAGE", env = "TANDEM_DOCKER_IMAGE")]
    pub docker_image: Option<String>,

    /// Another runtime that the Docker daemon knows, such as crun [default: the daemon's]
    #[arg(long, value_name = "NAME", env = "TANDEM_DOCKER_RUNTIME")]
    pub docker_runtime: Option<String>,

    /// Name or number of the user that a server started as root becomes
    #[arg(long, value_name = "USER", env = "TANDEM_USER")]
    pub user: Option<String>,

    /// What programs in sandboxes may reach: nothing, named hosts, or the internet without private
    /// networks; always through this server, counted and shared fairly. Needs a start as root
    /// [default: none]
    #[arg(long, value_enum, env = "TANDEM_EGRESS")]
    pub egress: Option<EgressKind>,

    /// Hosts that programs may reach with --egress=allow-list: example.org, *.example.org
    #[arg(long, value_name = "HOST", env = "TANDEM_EGRESS_ALLOW", value_delimiter = ',')]
    pub egress_allow: Option<Vec<String>>,

    /// Networks that programs never reach, besides private ones
    #[arg(long, value_name = "CIDR", env = "TANDEM_EGRESS_DENY", value_delimiter = ',')]
    pub egress_deny: Option<Vec<String>>,

    /// Mbit/s that all sandboxes together may use, each way [default: what the network device says]
    #[arg(long, value_name = "MBIT", env = "TANDEM_EGRESS_MBIT")]
    pub egress_mbit: Option<u64>,

    /// More toolchain folders to show inside sandboxes, read-only
    #[arg(long, value_name = "DIR", env = "TANDEM_TOOLCHAIN", value_delimiter = ':')]
    pub toolchain: Option<Vec<PathBuf>>,

    /// The agent's executable [default: beside this program]
    #[arg(long, value_name = "FILE", env = "TANDEM_AGENT")]
    pub agent: Option<PathBuf>,

    /// Memory of one sandbox in MiB [default: 1024]
    #[arg(long, value_name = "MIB", env = "TANDEM_MEMORY_MIB")]
    pub memory_mib: Option<u64>,

    /// Disk of one sandbox in MiB [default: 2048]
    #[arg(long, value_name = "MIB", env = "TANDEM_DISK_MIB")]
    pub disk_mib: Option<u64>,

    /// Processes and threads of one sandbox [default: 256]
    #[arg(long, value_name = "N", env = "TANDEM_PROCESSES")]
    pub processes: Option<u32>,

    /// CPU of one sandbox in percent of one core [default: 100]
    #[arg(long, value_name = "PERCENT", env = "TANDEM_CPU_PERCENT")]
    pub cpu_percent: Option<u32>,

    /// From the last person's leaving to the end of the sandbox [default: 30s]
    #[arg(long, value_name = "TIME", env = "TANDEM_IDLE_GRACE")]
    pub idle_grace: Option<String>,

    /// Count the grace time from the end of a run that is still going on
    #[arg(long, env = "TANDEM_WAIT_FOR_JOBS", num_args = 0..=1, default_missing_value = "true")]
    pub wait_for_jobs: Option<bool>,

    /// Quiet time before a changed document is saved to the blob store [default: 2s]
    #[arg(long, value_name = "TIME", env = "TANDEM_SAVE_AFTER")]
    pub save_after: Option<String>,

    /// Longest time before a changed document is saved to the blob store [default: 30s]
    #[arg(long, value_name = "TIME", env = "TANDEM_SAVE_WITHIN")]
    pub save_within: Option<String>,

    /// Most space the log may take while the blob store does not take it, in MiB; over it, edits
    /// are refused until there is room [default: 8192]
    #[arg(long, value_name = "MIB", env = "TANDEM_LOG_MIB")]
    pub log_mib: Option<u64>,

    /// Start although another server, with a database of its own, was alive on this blob store a
    /// moment ago: its repls move here
    #[arg(long, env = "TANDEM_TAKE_OVER", num_args = 0..=1, default_missing_value = "true")]
    pub take_over: Option<bool>,

    /// Longest time before an edit is in the blob store as a part of the log [default: 1s]
    #[arg(long, value_name = "TIME", env = "TANDEM_SHIP_WITHIN")]
    pub ship_within: Option<String>,

    /// How long every edit is kept in the history [default: 24h]
    #[arg(long, value_name = "TIME", env = "TANDEM_HISTORY_RAW")]
    pub history_raw: Option<String>,

    /// How long one step an hour is kept in the history [default: 30days]
    #[arg(long, value_name = "TIME", env = "TANDEM_HISTORY_HOURLY")]
    pub history_hourly: Option<String>,

    /// How long one step a day is kept in the history [default: 365days]
    #[arg(long, value_name = "TIME", env = "TANDEM_HISTORY_DAILY")]
    pub history_daily: Option<String>,

    /// Between removals of what a repl no longer needs in the blob store [default: 24h]
    #[arg(long, value_name = "TIME", env = "TANDEM_SWEEP_EVERY")]
    pub sweep_every: Option<String>,

    /// Between saves of ignored folders such as node_modules [default: 5m]
    #[arg(long, value_name = "TIME", env = "TANDEM_SAVE_IGNORED_EVERY")]
    pub save_ignored_every: Option<String>,

    /// Most MiB of all ignored folders of a repl; what is over is not saved, and shown [default: 1024]
    #[arg(long, value_name = "MIB", env = "TANDEM_SAVE_IGNORED_MIB")]
    pub save_ignored_mib: Option<u64>,

    /// Between saves of what terminals printed [default: 30s]
    #[arg(long, value_name = "TIME", env = "TANDEM_SAVE_TERMINALS_EVERY")]
    pub save_terminals_every: Option<String>,

    /// Open the page in a browser
    #[arg(long, overrides_with = "no_open", env = "TANDEM_OPEN", num_args = 0..=1, default_missing_value = "true")]
    pub open: Option<bool>,

    /// Do not open the page in a browser
    #[arg(long)]
    #[serde(skip)]
    pub no_open: bool,

    /// The owner's token [default: made at the first start and kept in the data directory]
    #[arg(long, value_name = "TOKEN", env = "TANDEM_TOKEN", hide_env_values = true)]
    pub token: Option<String>,

    /// How log lines look [default: text]
    #[arg(long, value_enum, env = "TANDEM_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,

    /// What is logged, for example `info` or `tandem_node=debug` [default: info]
    #[arg(long, value_name = "FILTER", env = "TANDEM_LOG")]
    pub log: Option<String>,
}

impl Options {
    /// These options, and those of `file` where these say nothing.
    pub fn over(self, file: Options) -> Options {
        macro_rules! first {
            ($($field:ident),* $(,)?) => {
                Options { $($field: self.$field.or(file.$field),)* no_open: self.no_open }
            };
        }
        first!(
            config,
            listen,
            public_url,
            preview_domain,
            trusted_proxy,
            insecure_http,
            data_dir,
            blob_store,
            database,
            sandbox,
            docker_socket,
            docker_image,
            docker_runtime,
            user,
            egress,
            egress_allow,
            egress_deny,
            egress_mbit,
            toolchain,
            agent,
            memory_mib,
            disk_mib,
            processes,
            cpu_percent,
            idle_grace,
            wait_for_jobs,
            save_after,
            save_within,
            log_mib,
            take_over,
            ship_within,
            history_raw,
            history_hourly,
            history_daily,
            sweep_every,
            save_terminals_every,
            save_ignored_every,
            save_ignored_mib,
            open,
            token,
            log_format,
            log,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_said_wins_over_the_file() {
        let said = Options { listen: Some("a".to_owned()), ..Options::default() };
        let file: Options =
            toml::from_str("listen = \"b\"\nidle-grace = \"1m\"\nsandbox = \"process\"").unwrap();
        let both = said.over(file);
        assert_eq!(both.listen.as_deref(), Some("a"));
        assert_eq!(both.idle_grace.as_deref(), Some("1m"));
        assert_eq!(both.sandbox, Some(SandboxKind::Process));
        assert!(toml::from_str::<Options>("lisen = \"b\"").is_err());
    }
}
