//! What a sandbox is for the daemon: one container, closed as far as it goes.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
    MountType, MountVolumeOptions, MountVolumeOptionsDriverConfig, ResourcesUlimits,
};
use tandem_proto::agent::{HOME, SOCKET_DIR};

use super::daemon::Image;
use crate::driver::{LaunchSpec, Limits};
use crate::inside::{
    AGENT, HOST_NAME, LOWEST_PORT, MASKED, OOM_SCORE, RUN_BYTES, SHM_BYTES, TMP_BYTES,
    path_variable, variables,
};

/// Whose container it is; the value is the installation's id.
pub(super) const INSTALLATION: &str = "tandem.installation";
/// Which sandbox it is.
pub(super) const SANDBOX: &str = "tandem.sandbox";
const REPL: &str = "tandem.repl";

/// PATH where the image says nothing.
const STANDARD_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What runtimes hide besides [`MASKED`]. A sandbox has no use for `/sys`.
const ALSO_MASKED: &[&str] = &["/proc/acpi", "/proc/asound", "/proc/scsi", "/sys"];
const READ_ONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
/// Some programs insist on it.
const VAR_TMP_BYTES: u64 = 64 << 20;

/// A container to be described. All paths are the host's.
pub(super) struct View<'a> {
    pub(super) spec: &'a LaunchSpec,
    pub(super) installation: &'a str,
    pub(super) image: &'a Image,
    pub(super) runtime: Option<&'a str>,
    /// Its user and group.
    pub(super) uid: u32,
    pub(super) agent: &'a Path,
    pub(super) socket_folder: &'a Path,
    /// Files of `/etc` that are not the image's.
    pub(super) etc: &'a [(&'a str, std::path::PathBuf)],
    /// [`crate::seccomp::profile`].
    pub(super) seccomp: &'a str,
}

impl View<'_> {
    pub(super) fn container(&self) -> ContainerCreateBody {
        let limits = &self.spec.limits;
        ContainerCreateBody {
            hostname: Some(HOST_NAME.into()),
            user: Some(format!("{0}:{0}", self.uid)),
            env: Some(self.environment()),
            entrypoint: Some(vec![AGENT.into()]),
            cmd: Some(Vec::new()),
            // An image's name may mean another one by now.
            image: Some(self.image.id.clone()),
            working_dir: Some(HOME.into()),
            labels: Some(labels(self.installation, self.spec)),
            host_config: Some(HostConfig {
                readonly_rootfs: Some(true),
                privileged: Some(false),
                cap_drop: Some(vec!["ALL".into()]),
                security_opt: Some(vec![
                    "no-new-privileges".into(),
                    format!("seccomp={}", self.seccomp),
                ]),
                masked_paths: Some(masked()),
                readonly_paths: Some(READ_ONLY.iter().map(|at| (*at).to_owned()).collect()),
                // The agent is the first process.
                init: Some(false),
                ipc_mode: Some("private".into()),
                cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
                network_mode: Some("none".into()),
                sysctls: Some(HashMap::from([(
                    "net.ipv4.ip_unprivileged_port_start".into(),
                    LOWEST_PORT.into(),
                )])),
                memory: Some(signed(limits.memory_bytes)),
                memory_swap: Some(signed(limits.memory_bytes)),
                nano_cpus: Some(i64::from(limits.cpu_percent) * 10_000_000),
                pids_limit: Some(i64::from(limits.processes)),
                oom_score_adj: Some(OOM_SCORE),
                ulimits: Some(ulimits(limits)),
                shm_size: Some(signed(SHM_BYTES)),
                tmpfs: Some(places_in_memory()),
                mounts: Some(self.mounts()),
                log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
                runtime: self.runtime.map(str::to_owned),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    fn environment(&self) -> Vec<String> {
        let system = self.image.path.as_deref().unwrap_or(STANDARD_PATH);
        let path = path_variable(system.as_ref());
        let mut all = vec![format!("PATH={}", path.to_string_lossy())];
        all.extend(
            variables(self.spec.sandbox).into_iter().map(|(name, value)| format!("{name}={value}")),
        );
        all.extend(self.spec.env.iter().map(|(name, value)| format!("{name}={value}")));
        all
    }

    fn mounts(&self) -> Vec<Mount> {
        let limits = &self.spec.limits;
        let uid = self.uid;
        let terminals = format!(
            "newinstance,max={},mode=0620,ptmxmode=0666,gid={uid},nosuid,noexec",
            limits.ptys
        );
        let home = format!(
            "size={},nr_inodes={},mode=0755,uid={uid},gid={uid},nosuid,nodev",
            home_bytes(limits),
            limits.inodes
        );
        let mut mounts = vec![
            bind(self.agent, AGENT),
            bind(self.socket_folder, SOCKET_DIR),
            volume("devpts", &terminals, "/dev/pts"),
            volume("tmpfs", &home, HOME),
        ];
        mounts.extend(self.etc.iter().map(|(name, from)| bind(from, &format!("/etc/{name}"))));
        mounts
    }
}

/// Labels by which the next server finds the container, and by which a person reads it.
fn labels(installation: &str, spec: &LaunchSpec) -> HashMap<String, String> {
    HashMap::from([
        (INSTALLATION.into(), installation.into()),
        (SANDBOX.into(), spec.sandbox.to_string()),
        (REPL.into(), spec.repl.to_string()),
    ])
}

/// A home folder in memory counts as the sandbox's memory, so it gets a half of it at most: a
/// full one then says "no space" before anything is killed.
pub(super) fn home_bytes(limits: &Limits) -> u64 {
    limits.disk_bytes.min(limits.memory_bytes / 2)
}

fn masked() -> Vec<String> {
    let own = MASKED.iter().map(|name| format!("/proc/{name}"));
    own.chain(ALSO_MASKED.iter().map(|at| (*at).to_owned())).collect()
}

fn places_in_memory() -> HashMap<String, String> {
    let open = |bytes: u64| format!("rw,exec,nosuid,nodev,mode=1777,size={bytes}");
    HashMap::from([
        ("/tmp".into(), open(TMP_BYTES)),
        ("/var/tmp".into(), open(VAR_TMP_BYTES)),
        ("/run".into(), format!("ro,nosuid,nodev,noexec,mode=0755,size={RUN_BYTES}")),
    ])
}

fn ulimits(limits: &Limits) -> Vec<ResourcesUlimits> {
    let one = |name: &str, soft: u64, hard: u64| ResourcesUlimits {
        name: Some(name.into()),
        soft: Some(signed(soft)),
        hard: Some(signed(hard)),
    };
    // As for bubblewrap: above every place's own size.
    let file = limits.disk_bytes.max(TMP_BYTES).saturating_add(1 << 20);
    vec![
        one("core", 0, 0),
        one("nofile", 1024, 8192),
        one("fsize", file, file),
        one("memlock", 64 * 1024, 64 * 1024),
        one("msgqueue", 0, 0),
    ]
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn bind(from: &Path, to: &str) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(from.to_string_lossy().into_owned()),
        target: Some(to.into()),
        read_only: Some(true),
        ..Mount::default()
    }
}

/// A filesystem that the daemon mounts for this container alone and removes with it.
fn volume(kind: &str, options: &str, to: &str) -> Mount {
    let options = [("type", kind), ("device", kind), ("o", options)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Mount {
        typ: Some(MountType::VOLUME),
        target: Some(to.into()),
        volume_options: Some(MountVolumeOptions {
            // Nothing of the image's folder.
            no_copy: Some(true),
            driver_config: Some(MountVolumeOptionsDriverConfig {
                name: Some("local".into()),
                options: Some(HashMap::from(options)),
            }),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}
