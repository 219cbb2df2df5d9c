//! What `tandem doctor` says about Docker: the daemon, the image, and a real sandbox.

use std::time::{Duration, Instant};

use super::daemon::{Facts, Image};
use super::{DockerDriver, GVISOR};
use crate::driver::{Check, Holds, SandboxDriver, SandboxError, probe_spec};
use crate::look::{agent, check, filters, holds, limits, look, low_ports, namespaces};

const NAMESPACES: &[(&str, &str)] = &[
    ("pid", "pid-namespace"),
    ("mnt", "mount-namespace"),
    ("net", "network-namespace"),
    ("ipc", "ipc-namespace"),
    ("uts", "host-name-namespace"),
];

/// Tries everything and says what was found.
pub(super) async fn probe(driver: &DockerDriver) -> Vec<Check> {
    let mut checks = vec![agent(&driver.kit.agent)];
    let facts = match driver.kit.daemon.facts().await {
        Ok(facts) => facts,
        Err(error) => return with_failure(checks, "docker", error),
    };
    checks.extend(daemon(driver, &facts));
    match driver.kit.image().await {
        Ok(image) => checks.push(image_row(driver, &image)),
        Err(error) => return with_failure(checks, "image", error),
    }
    let started = Instant::now();
    let sandbox = match driver.launch(probe_spec()).await {
        Ok(sandbox) => sandbox,
        Err(error) => return with_failure(checks, "sandbox", error),
    };
    let took = started.elapsed().as_millis();
    checks.push(check("sandbox", Holds::Yes, format!("one was started in {took} ms")).required());
    match look(&sandbox).await {
        Ok(seen) => {
            checks.extend(namespaces(&seen, NAMESPACES));
            checks.push(low_ports(&seen, "Use a newer Docker."));
            checks.extend(filters(&seen));
        }
        Err(error) => checks
            .push(check("inside", Holds::No, format!("cannot look inside: {error}")).required()),
    }
    let remedy = "The daemon says that this kernel or its control groups lack it (`docker info`).";
    checks.extend(limits(sandbox.limits_in_force, remedy));
    if let Err(error) = driver.stop(sandbox.id, Duration::ZERO).await {
        checks.push(check("stop", Holds::No, error.to_string()).required());
    }
    checks
}

fn with_failure(mut checks: Vec<Check>, name: &str, error: SandboxError) -> Vec<Check> {
    let (detail, remedy) = match error {
        SandboxError::Unusable { problem, remedy } => (problem, remedy),
        other => (other.to_string(), "Look at the message and at the daemon's log.".into()),
    };
    checks.push(check(name, Holds::No, detail).required().remedy(&remedy));
    checks
}

fn daemon(driver: &DockerDriver, facts: &Facts) -> Vec<Check> {
    let config = &driver.kit.daemon.config;
    let detail = format!("{} at {}, API {}", facts.version, config.socket.display(), facts.api);
    let seccomp =
        check("seccomp", holds(facts.has_seccomp), "the daemon filters system calls".into());
    let kept = if facts.keeps_containers {
        check("live-restore", Holds::Yes, "sandboxes go on while Docker is restarted".into())
    } else {
        check("live-restore", Holds::No, "sandboxes end when Docker is restarted".into())
            .remedy("Set \"live-restore\": true in /etc/docker/daemon.json.")
    };
    vec![
        check("docker", Holds::Yes, detail).required(),
        seccomp.required(),
        kept,
        runtime(driver, facts),
    ]
}

/// Which runtime is used.
fn runtime(driver: &DockerDriver, facts: &Facts) -> Check {
    let has = |name: &str| facts.runtimes.iter().any(|runtime| runtime == name);
    match driver.kit.daemon.config.runtime.as_deref() {
        Some(GVISOR) => check("runtime", Holds::No, "gVisor cannot be used yet".into())
            .required()
            .remedy("Leave --docker-runtime away."),
        Some(name) if has(name) => {
            check("runtime", Holds::Yes, format!("{name}, as configured")).required()
        }
        Some(name) => check("runtime", Holds::No, format!("the daemon has no runtime {name}"))
            .required()
            .remedy("Add it to the daemon's configuration, or leave --docker-runtime away."),
        None => check(
            "runtime",
            Holds::Partly,
            "the daemon's default; sandboxes share this machine's kernel".into(),
        )
        .remedy("For strangers give each group a machine of its own."),
    }
}

fn image_row(driver: &DockerDriver, image: &Image) -> Check {
    let name = &driver.kit.daemon.config.image;
    let id: String = image.id.chars().take(19).collect();
    let size_mib = image.size_bytes >> 20;
    check("image", Holds::Yes, format!("{name} ({id}), {size_mib} MiB")).required()
}
