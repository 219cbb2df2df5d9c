//! Sandboxes as containers of a Docker daemon on this machine.
//!
//! The agent's socket lies in a folder that is bound into the container, as for bubblewrap, so a
//! running sandbox needs no daemon: the daemon is asked when one starts or ends. What could not
//! be removed because the daemon was away is removed when it is back.
//!
//! The agent is known by its process on this machine. gVisor's runtime has one process for all
//! that runs inside, so user code could not be told from the agent; it is refused.

mod container;
mod daemon;
mod debts;
mod probe;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tandem_proto::SandboxId;

use self::container::View;
use self::daemon::{Daemon, Facts, Image, how_it_ended};
use self::debts::Debts;
use crate::bubblewrap::{etc, find};
use crate::driver::{
    Check, LaunchSpec, LimitsInForce, Sandbox, SandboxConfig, SandboxDriver, SandboxError,
    probe_spec,
};
use crate::egress::GATEWAY;
use crate::identity::ProcessIdentity;
use crate::look;
use crate::record::{self, Record};
use crate::running::{Autopsy, Running, blocking, wait_until_gone};
use crate::seccomp::profile;
use crate::uids::{SANDBOX_UIDS, Uids};

/// The name of this driver.
const DOCKER: &str = "docker";
/// gVisor's runtime, which cannot be used yet.
const GVISOR: &str = "runsc";
/// Where the daemon maps users, no id above 65535 exists inside.
const UID_WHEN_MAPPED: u32 = 1000;
/// Shown in every sandbox as they are.
const ETC: &[&str] = &["profile", "bash.bashrc", "inputrc"];
/// Where programs find the resolver.
const RESOLV_CONF: &str = "resolv.conf";
/// How long the daemon may take to notice that a container ended.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs sandboxes as containers.
pub struct DockerDriver {
    running: Running,
    kit: Arc<Kit>,
    uids: Mutex<Uids>,
    /// Which commands an image has, by the image's id.
    tools: Mutex<(String, BTreeMap<String, bool>)>,
}

/// What every launch uses.
struct Kit {
    daemon: Daemon,
    sandboxes: PathBuf,
    agent: PathBuf,
    /// Random, and kept in the data directory: marks this installation's containers.
    installation: String,
    /// Sandboxes are plugged in once they run.
    has_network: bool,
    seccomp: String,
    debts: Debts,
}

impl DockerDriver {
    /// Prepares the data directory. The daemon is not asked yet. Does blocking work.
    ///
    /// # Errors
    /// When the agent is not found or the data directory cannot be used.
    pub fn new(config: SandboxConfig) -> Result<Self, SandboxError> {
        let agent = find::agent(config.agent.as_deref())?;
        let sandboxes = record::sandboxes(&config.data_dir);
        find::make_private_folder(&sandboxes)?;
        let sandboxes =
            sandboxes.canonicalize().map_err(SandboxError::io("cannot use the data directory"))?;
        let has_network = config.egress.is_some();
        write_etc(&sandboxes, has_network)
            .map_err(SandboxError::io("cannot write the sandboxes' /etc"))?;
        let installation = installation(&sandboxes)
            .map_err(SandboxError::io("cannot use the sandboxes' folder"))?;
        let kit = Kit {
            daemon: Daemon::new(config.docker),
            sandboxes,
            agent,
            installation,
            has_network,
            seccomp: profile::docker(),
            debts: Debts::default(),
        };
        Ok(Self {
            running: Running::default(),
            kit: Arc::new(kit),
            uids: Mutex::new(Uids::new(SANDBOX_UIDS)),
            tools: Mutex::default(),
        })
    }

    async fn start(&self, spec: LaunchSpec) -> Result<Sandbox, SandboxError> {
        let (id, folder) = (spec.sandbox, self.kit.folder(spec.sandbox));
        let prepared = self.running.prepare(id, &folder.join("socket"))?;
        let facts = self.kit.daemon.facts().await?;
        if self.kit.daemon.config.runtime.as_deref() == Some(GVISOR) {
            return Err(SandboxError::Unusable {
                problem: "gVisor's runtime hides which process inside speaks to the server".into(),
                remedy: "Start the server without --docker-runtime".into(),
            });
        }
        let uid = match facts.maps_users {
            true => UID_WHEN_MAPPED,
            false => self.uids.lock().unwrap_or_else(PoisonError::into_inner).free()?,
        };
        let record = self.kit.start(&spec, &facts, uid).await?;
        let sandbox = self.running.started(prepared, &record, self.autopsy(id))?;
        self.running.connected(&sandbox).await?;
        Ok(sandbox)
    }

    /// Finds out how a sandbox ended.
    fn autopsy(&self, sandbox: SandboxId) -> Autopsy {
        let kit = self.kit.clone();
        Box::pin(async move {
            let noticed = async {
                loop {
                    match kit.daemon.state(&name_of(sandbox)).await {
                        Ok(Some(state)) if state.running == Some(true) => {}
                        Ok(Some(state)) => return how_it_ended(&state),
                        Ok(None) => return "its container was removed".to_owned(),
                        Err(error) => return format!("its container ended, and {error}"),
                    }
                    // The daemon hears of the end a moment after the kernel says it.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let told = tokio::time::timeout(NOTICE_TIMEOUT, noticed).await;
            told.unwrap_or_else(|_| "its agent ended".to_owned())
        })
    }

    /// Goes on, until it is done, to remove what the daemon could not be asked to remove.
    fn owe(&self) {
        if self.kit.debts.take_over() {
            let kit = self.kit.clone();
            self.running.spawn(async move { debts::pay(&kit).await });
        }
    }
}

impl Kit {
    fn folder(&self, sandbox: SandboxId) -> PathBuf {
        self.sandboxes.join(sandbox.as_str())
    }

    async fn start(
        &self,
        spec: &LaunchSpec,
        facts: &Facts,
        uid: u32,
    ) -> Result<Record, SandboxError> {
        let folder = self.folder(spec.sandbox);
        let image = self.daemon.image().await?;
        let accounts = folder.join("etc");
        write_accounts(&accounts, uid)
            .map_err(SandboxError::io("cannot write the sandbox's accounts"))?;
        let shared = self.sandboxes.join("etc");
        let mut etc: Vec<_> = ETC.iter().map(|name| (*name, shared.join(name))).collect();
        if self.has_network {
            etc.push((RESOLV_CONF, shared.join(RESOLV_CONF)));
        }
        etc.extend(["passwd", "group"].map(|name| (name, accounts.join(name))));
        let view = View {
            spec,
            installation: &self.installation,
            image: &image,
            runtime: self.daemon.config.runtime.as_deref(),
            uid,
            agent: &self.agent,
            socket_folder: &folder.join("socket"),
            etc: &etc,
            seccomp: &self.seccomp,
        };
        let name = name_of(spec.sandbox);
        let pid = self.daemon.start(&name, view.container()).await?;
        let Some(agent) = ProcessIdentity::of(pid) else {
            let state = self.daemon.state(&name).await?.unwrap_or_default();
            return Err(SandboxError::Start(how_it_ended(&state)));
        };
        let outside = agent.uid().unwrap_or(uid);
        let in_force = LimitsInForce {
            memory: facts.limits_memory,
            processes: facts.limits_processes,
            cpu: facts.limits_cpu,
            disk: true,
            inodes: true,
            ptys: true,
            own_uid: !facts.maps_users,
            own_network: true,
        };
        let record = Record::of(spec.sandbox, spec.repl, DOCKER).started(agent, outside, in_force);
        record.save(&folder).map_err(SandboxError::io("cannot record the sandbox"))?;
        Ok(record)
    }

    async fn image(&self) -> Result<Image, SandboxError> {
        self.daemon.image().await
    }
}

#[async_trait]
impl SandboxDriver for DockerDriver {
    fn name(&self) -> &'static str {
        DOCKER
    }

    async fn probe(&self) -> Vec<Check> {
        probe::probe(self).await
    }

    fn is_needed_at_start(&self) -> bool {
        false
    }

    async fn tools(&self, names: &[String]) -> Vec<String> {
        match self.find_tools(names).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "cannot find out which languages the sandboxes have");
                names.to_vec()
            }
        }
    }

    async fn launch(&self, spec: LaunchSpec) -> Result<Sandbox, SandboxError> {
        find::check_environment(&spec.env)?;
        let id = spec.sandbox;
        find::make_sandbox_folder(&self.kit.folder(id))?;
        let started = self.start(spec).await;
        if started.is_err() {
            // The first error says more than one about clearing up, which is owed then.
            drop(self.stop(id, Duration::ZERO).await);
        }
        started
    }

    async fn adopt(&self) -> Result<Vec<Sandbox>, SandboxError> {
        let found = record::list(&self.kit.sandboxes)
            .map_err(SandboxError::io("cannot list the sandboxes"))?;
        let mut adopted = Vec::new();
        for (sandbox, folder) in found {
            match Record::load(&folder).filter(Record::is_alive) {
                Some(record) if record.driver == DOCKER => {
                    let prepared = self.running.prepare(sandbox, &folder.join("socket"))?;
                    adopted.push(self.running.started(prepared, &record, self.autopsy(sandbox))?);
                }
                Some(record) => {
                    return Err(SandboxError::Invalid(format!(
                        "the sandbox {sandbox} of --sandbox={} still runs; start the server with \
                         that once, and stop it",
                        record.driver
                    )));
                }
                None => self.stop(sandbox, Duration::ZERO).await?,
            }
        }
        // Containers whose folder is gone, and those that a daemon just started again did not
        // hear of.
        self.kit.debts.sweep();
        if self.kit.daemon.facts().await.is_ok() {
            debts::pay_once(&self.kit).await;
        }
        self.owe();
        Ok(adopted)
    }

    async fn stop(&self, sandbox: SandboxId, grace: Duration) -> Result<(), SandboxError> {
        self.running.ask_to_end(sandbox, grace).await;
        let folder = self.kit.folder(sandbox);
        let record = self.running.record(sandbox).or_else(|| Record::load(&folder));
        let alive = record.filter(Record::is_alive);
        if let Err(error) = self.kit.daemon.remove(&name_of(sandbox)).await {
            self.kit.debts.stop(sandbox);
            self.owe();
            if alive.is_some() {
                return Err(error);
            }
            tracing::info!(%sandbox, %error, "its container, if there is one, is removed later");
        }
        if let Some(record) = alive {
            wait_until_gone(&record).await?;
        }
        self.running.forget(sandbox);
        blocking(move || {
            record::remove_folder(&folder)
                .map_err(SandboxError::io("cannot remove the sandbox's files"))
        })
        .await
    }
}

impl DockerDriver {
    /// Looks for commands in a container of the image, once for each command and image.
    async fn find_tools(&self, names: &[String]) -> Result<Vec<String>, SandboxError> {
        let image = self.kit.image().await?;
        let is_plain = |name: &&String| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "+-._".contains(c))
        };
        let unknown: Vec<&str> = {
            let mut known = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
            if known.0 != image.id {
                *known = (image.id.clone(), BTreeMap::new());
            }
            let names = names.iter().filter(is_plain);
            names.filter(|name| !known.1.contains_key(*name)).map(String::as_str).collect()
        };
        if !unknown.is_empty() {
            let sandbox = self.launch(probe_spec()).await?;
            let script = format!(
                "for name in {}; do command -v $name >/dev/null && echo $name; done",
                unknown.join(" ")
            );
            let found = look::run(&sandbox, script).await;
            self.stop(sandbox.id, Duration::ZERO).await?;
            let found = found?;
            let found: Vec<&str> = found.lines().map(str::trim).collect();
            let mut known = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
            for name in unknown {
                known.1.insert(name.to_owned(), found.contains(&name));
            }
        }
        let known = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(names.iter().filter(|name| known.1.get(*name) == Some(&true)).cloned().collect())
    }
}

/// The name of a sandbox's container.
fn name_of(sandbox: SandboxId) -> String {
    format!("tandem-{sandbox}")
}

/// The installation's id, made at the first start.
fn installation(sandboxes: &Path) -> std::io::Result<String> {
    let path = sandboxes.join("installation");
    let is_good = |id: &str| id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit());
    match fs::read_to_string(&path) {
        Ok(id) if is_good(id.trim()) => return Ok(id.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let id = format!("{:032x}", rand::random::<u128>());
    let draft = sandboxes.join("installation.new");
    fs::write(&draft, &id)?;
    fs::rename(draft, path)?;
    Ok(id)
}

fn write_etc(sandboxes: &Path, has_network: bool) -> std::io::Result<()> {
    let folder = sandboxes.join("etc");
    fs::create_dir_all(&folder)?;
    for name in ETC {
        // In place: sandboxes that run have this very file.
        write_public(&folder.join(name), etc::file(name).unwrap_or_default())?;
    }
    let resolver = has_network.then_some(GATEWAY);
    write_public(&folder.join(RESOLV_CONF), &etc::resolv_conf(resolver))
}

fn write_accounts(folder: &Path, uid: u32) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for name in ["passwd", "group"] {
        let text = etc::file(name).unwrap_or_default().replace("1000", &uid.to_string());
        write_public(&folder.join(name), &text)?;
    }
    Ok(())
}

fn write_public(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}
