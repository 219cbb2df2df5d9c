//! The connection to the daemon: made anew after the daemon was restarted, and what it says put
//! into words. Nothing of bollard's leaves this folder.

use std::collections::HashMap;
use std::error::Error as _;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, ContainerState};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, ListContainersOptions, RemoveContainerOptions,
    StartContainerOptions,
};
use bollard::{ClientVersion, Docker};

use crate::driver::{DockerConfig, SandboxError};

/// The longest one request may take: a loaded machine starts a container in many seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest a daemon that is there may take to say who it is.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// What is asked of every daemon: Debian 12 has 1.41, and newer daemons have it as well or say
/// what they want instead.
const OLDEST_API: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };

/// The daemon.
pub(super) struct Daemon {
    pub(super) config: DockerConfig,
    connection: Mutex<Option<Connection>>,
}

#[derive(Clone)]
struct Connection {
    docker: Docker,
    facts: Arc<Facts>,
}

/// What a daemon can do.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// Of the daemon itself.
    pub(super) version: String,
    /// Spoken with it.
    pub(super) api: String,
    pub(super) limits_memory: bool,
    pub(super) limits_processes: bool,
    pub(super) limits_cpu: bool,
    /// It maps the users of containers to others of the host, or has no root's rights itself.
    pub(super) maps_users: bool,
    pub(super) has_seccomp: bool,
    pub(super) runtimes: Vec<String>,
    /// Containers go on while the daemon is restarted.
    pub(super) keeps_containers: bool,
}

/// An image as the daemon has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) id: String,
    pub(super) size_bytes: u64,
    /// PATH inside, where the image sets one.
    pub(super) path: Option<String>,
}

/// A container of this installation.
pub(super) struct Found {
    pub(super) id: String,
    pub(super) labels: HashMap<String, String>,
}

impl Daemon {
    pub(super) fn new(config: DockerConfig) -> Self {
        Self { config, connection: Mutex::default() }
    }

    /// What it can do; asks when there is no connection yet.
    pub(super) async fn facts(&self) -> Result<Arc<Facts>, SandboxError> {
        Ok(self.connection().await?.facts)
    }

    async fn connection(&self) -> Result<Connection, SandboxError> {
        let known = self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(connection) = known {
            return Ok(connection);
        }
        // Two at once do the same, and the later one stays.
        let made = tokio::time::timeout(GREETING_TIMEOUT, greet(&self.config.socket)).await;
        let made = made.unwrap_or(Err(Error::RequestTimeoutError));
        let connection = made.map_err(|error| self.explain("greet the daemon", &error))?;
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
        Ok(connection)
    }

    /// One request under its time limit.
    async fn ask<T>(
        &self,
        action: &str,
        request: impl AsyncFnOnce(&Docker) -> Result<T, Error>,
    ) -> Result<Result<T, Refusal>, SandboxError> {
        let docker = self.connection().await?.docker;
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, request(&docker)).await;
        match answer.unwrap_or(Err(Error::RequestTimeoutError)) {
            Ok(answer) => Ok(Ok(answer)),
            Err(Error::DockerResponseServerError { status_code, message }) => {
                Ok(Err(Refusal { action: action.to_owned(), status: status_code, message }))
            }
            Err(error) => {
                // The next daemon at this socket may be another version.
                *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Err(self.explain(action, &error))
            }
        }
    }

    /// The configured image.
    pub(super) async fn image(&self) -> Result<Image, SandboxError> {
        let name = &self.config.image;
        let found =
            self.ask("look at the image", async |docker| docker.inspect_image(name).await).await?;
        let found = found.map_err(|refusal| match refusal.status {
            404 => self.no_image(),
            _ => refusal.into(),
        })?;
        let variables = found.config.and_then(|config| config.env).unwrap_or_default();
        let path = variables.iter().find_map(|variable| variable.strip_prefix("PATH="));
        Ok(Image {
            id: found.id.unwrap_or_default(),
            size_bytes: found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
            path: path.map(str::to_owned),
        })
    }

    /// Makes a container and starts it; its process.
    pub(super) async fn start(
        &self,
        name: &str,
        container: ContainerCreateBody,
    ) -> Result<i32, SandboxError> {
        let options = CreateContainerOptions { name: Some(name.to_owned()), ..Default::default() };
        let made = self
            .ask("make the container", async move |docker| {
                docker.create_container(Some(options), container).await
            })
            .await?;
        let made = made.map_err(|refusal| match refusal.status {
            404 => self.no_image(),
            409 => SandboxError::Exists,
            _ => refusal.into(),
        })?;
        for warning in made.warnings {
            tracing::debug!(container = name, warning, "the daemon warns");
        }
        let started = self.ask("start the container", async |docker| {
            docker.start_container(name, None::<StartContainerOptions>).await
        });
        started.await??;
        let state = self.state(name).await?.unwrap_or_default();
        let pid = state.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0);
        pid.ok_or_else(|| SandboxError::Start(how_it_ended(&state)))
    }

    /// How a container is; `None` when there is none of this name.
    pub(super) async fn state(&self, name: &str) -> Result<Option<ContainerState>, SandboxError> {
        let found = self.ask("look at the container", async |docker| {
            docker.inspect_container(name, None::<InspectContainerOptions>).await
        });
        match found.await? {
            Ok(found) => Ok(Some(found.state.unwrap_or_default())),
            Err(refusal) if refusal.status == 404 => Ok(None),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Kills a container and removes it with its volumes; one that is not there is fine.
    pub(super) async fn remove(&self, name: &str) -> Result<(), SandboxError> {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        loop {
            let removed = self.ask("remove the container", async |docker| {
                let options = RemoveContainerOptions { v: true, force: true, link: false };
                docker.remove_container(name, Some(options)).await
            });
            match removed.await? {
                Ok(()) => return Ok(()),
                Err(refusal) if refusal.status == 404 => return Ok(()),
                // Another request removes it already; looked for again until it is gone.
                Err(refusal) if refusal.status == 409 && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(refusal) => return Err(SandboxError::Stop(refusal.to_string())),
            }
        }
    }

    /// All containers with a label.
    pub(super) async fn labelled(&self, label: &str) -> Result<Vec<Found>, SandboxError> {
        let listed = self.ask("list the containers", async |docker| {
            let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
            let options =
                ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
            docker.list_containers(Some(options)).await
        });
        let listed = listed.await??;
        let found = |one: bollard::models::ContainerSummary| {
            Some(Found { id: one.id?, labels: one.labels.unwrap_or_default() })
        };
        Ok(listed.into_iter().filter_map(found).collect())
    }

    fn no_image(&self) -> SandboxError {
        SandboxError::Unusable {
            problem: format!("the Docker daemon has no image {}", self.config.image),
            remedy: "The operator can make it with `make image`, or name another one with \
                     --docker-image"
                .into(),
        }
    }

    /// Puts a failure to reach the daemon into words.
    fn explain(&self, action: &str, error: &Error) -> SandboxError {
        let socket = self.config.socket.display();
        let kind = io_kind(error);
        let (problem, remedy) = match (error, kind) {
            (_, Some(io::ErrorKind::PermissionDenied)) => (
                format!("the server may not use the Docker daemon at {socket}"),
                "Start the server as root (it keeps nothing but the right to use this socket), or \
                 as a user of the group that owns the socket",
            ),
            (Error::RequestTimeoutError, _) => (
                format!("the Docker daemon at {socket} does not answer in time"),
                "Look at the daemon's log",
            ),
            _ => (
                format!("the Docker daemon at {socket} cannot be reached ({action}: {error})"),
                "It may be restarting; otherwise start it (`systemctl start docker`), or name its \
                 socket with --docker-socket",
            ),
        };
        SandboxError::Unusable { problem, remedy: remedy.into() }
    }
}

async fn greet(socket: &Path) -> Result<Connection, Error> {
    let socket = socket.to_string_lossy();
    let seconds = REQUEST_TIMEOUT.as_secs();
    let docker = Docker::connect_with_unix(&socket, seconds, &OLDEST_API)?;
    let docker = docker.negotiate_version().await?;
    let info = docker.info().await?;
    let options = info.security_options.unwrap_or_default();
    let has = |name: &str| options.iter().any(|option| option.contains(name));
    let mut runtimes: Vec<String> = info.runtimes.unwrap_or_default().into_keys().collect();
    runtimes.sort();
    let yes = |it: Option<bool>| it.unwrap_or(false);
    let facts = Facts {
        version: info.server_version.unwrap_or_default(),
        api: docker.client_version().to_string(),
        limits_memory: yes(info.memory_limit),
        limits_processes: yes(info.pids_limit),
        limits_cpu: yes(info.cpu_cfs_quota),
        maps_users: has("name=userns") || has("name=rootless"),
        has_seccomp: has("name=seccomp"),
        runtimes,
        keeps_containers: yes(info.live_restore_enabled),
    };
    Ok(Connection { docker, facts: Arc::new(facts) })
}

/// The first operating system's error among the causes.
fn io_kind(error: &Error) -> Option<io::ErrorKind> {
    let mut cause = error.source();
    if let Error::IOError { err } = error {
        return Some(err.kind());
    }
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

/// The daemon was asked for something and said no.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: the Docker daemon says: {message}")]
struct Refusal {
    action: String,
    status: u16,
    message: String,
}

impl From<Refusal> for SandboxError {
    fn from(refusal: Refusal) -> Self {
        Self::Start(refusal.to_string())
    }
}

/// Why a container does not run any more.
pub(super) fn how_it_ended(state: &ContainerState) -> String {
    let memory = if state.oom_killed == Some(true) { "it ran out of memory; " } else { "" };
    let code = state.exit_code.unwrap_or_default();
    match state.error.as_deref().filter(|error| !error.is_empty()) {
        Some(error) => format!("{memory}its agent ended (exit status {code}): {error}"),
        None => format!("{memory}its agent ended (exit status {code})"),
    }
}
