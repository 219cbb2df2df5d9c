//! What every subcommand starts with: rights, runtime, blob store, sandbox driver.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tandem_sandbox::egress::Egress;
use tandem_sandbox::{
    BubblewrapDriver, DockerDriver, LauncherClient, ProcessDriver, SandboxConfig, SandboxDriver,
    SandboxError, launcher,
};
use tandem_store::{BlobStore, BlobStoreUrl};

use crate::cli::SandboxKind;
use crate::config::Config;

/// Gives up root's rights, keeping the launcher where there is one. Call it while the process
/// has one thread.
pub fn drop_rights(config: &Config) -> anyhow::Result<Option<Arc<LauncherClient>>> {
    raise_file_limit();
    match config.sandbox {
        SandboxKind::Bubblewrap => {
            tandem_sandbox::start_and_drop(&config.driver, config.user.as_deref(), None)
        }
        SandboxKind::Docker => give_up(config, Some(&config.driver.docker.socket)),
        SandboxKind::Process => give_up(config, None),
    }
    .context("cannot give up root's rights")
}

/// Without a launcher of sandboxes; what may be done with `socket` stays.
fn give_up(
    config: &Config,
    socket: Option<&Path>,
) -> Result<Option<Arc<LauncherClient>>, SandboxError> {
    launcher::drop_rights(&config.driver, config.user.as_deref(), socket)
}

/// Does something as the user that the server is, so that both can read what either wrote.
pub fn run_as_server<T>(
    config: &Config,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    raise_file_limit();
    if !matches!(config.blob_store, Some(BlobStoreUrl::S3(_))) {
        let driver = SandboxConfig { egress: None, ..config.driver.clone() };
        launcher::drop_rights(&driver, config.user.as_deref(), None)
            .context("cannot give up root's rights")?;
    }
    runtime()?.block_on(work)
}

/// Every browser tab, terminal and preview connection is an open file.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What is allowed already stays allowed.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// The runtime of the whole process.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// The sandbox driver that was asked for.
pub fn driver(
    config: &Config,
    launcher: Option<Arc<LauncherClient>>,
) -> anyhow::Result<Arc<dyn SandboxDriver>> {
    Ok(match config.sandbox {
        SandboxKind::Bubblewrap => {
            Arc::new(BubblewrapDriver::new(config.driver.clone(), launcher)?)
        }
        SandboxKind::Docker => Arc::new(DockerDriver::new(config.driver.clone())?),
        SandboxKind::Process => Arc::new(ProcessDriver::new(config.driver.clone())?),
    })
}

/// The sandboxes' network, or why there is none, for people. Call it where the runtime is.
pub fn egress(
    config: &Config,
    launcher: Option<&Arc<LauncherClient>>,
) -> Result<Arc<Egress>, String> {
    if config.driver.egress.is_none() {
        return Err("programs have no network on this server".to_owned());
    }
    let launcher = launcher.ok_or("the server was not started as root")?;
    Egress::start(launcher.clone(), config.egress.clone())
        .map(Arc::new)
        .map_err(|error| error.to_string())
}

/// The blob store that was asked for.
pub async fn blob_store(config: &Config) -> anyhow::Result<Arc<dyn BlobStore>> {
    let url = match &config.blob_store {
        Some(url) => url.clone(),
        None => BlobStoreUrl::File(config.data_dir.join("blobs")),
    };
    tandem_store::blob::open(&url).await.context("cannot open the blob store")
}
