//! What `tandem doctor` says about bubblewrap on this machine: a real sandbox is started and
//! looked at from inside.

use std::time::{Duration, Instant};

use super::{BubblewrapDriver, Rights, find};
use crate::driver::{Check, Holds, SandboxDriver, SandboxError, probe_spec};
use crate::look::{agent, check, filters, limits, look, low_ports, namespaces};

const AS_ROOT: &str = "Start the server as root (it keeps no rights itself: a small launcher \
                       does), or do not let strangers in.";

const NAMESPACES: &[(&str, &str)] = &[
    ("user", "user-namespace"),
    ("pid", "pid-namespace"),
    ("mnt", "mount-namespace"),
    ("net", "network-namespace"),
    ("ipc", "ipc-namespace"),
    ("uts", "host-name-namespace"),
];

/// Tries everything and says what was found.
pub(super) async fn probe(driver: &BubblewrapDriver) -> Vec<Check> {
    let mut checks = driver.with_kit(|kit| Ok(parts(&kit.rights))).await.unwrap_or_default();
    let started = Instant::now();
    let sandbox = match driver.launch(probe_spec()).await {
        Ok(sandbox) => sandbox,
        Err(error) => {
            let error = explain(error);
            let (detail, remedy) = match error {
                SandboxError::Unusable { problem, remedy } => (problem, remedy),
                other => (other.to_string(), "Look at the message; nothing else is known.".into()),
            };
            checks.push(check("sandbox", Holds::No, detail).required().remedy(&remedy));
            return checks;
        }
    };
    let took = started.elapsed().as_millis();
    checks.push(check("sandbox", Holds::Yes, format!("one was started in {took} ms")).required());
    match look(&sandbox).await {
        Ok(seen) => {
            checks.extend(namespaces(&seen, NAMESPACES));
            checks.push(low_ports(&seen, AS_ROOT));
            checks.extend(filters(&seen));
        }
        Err(error) => {
            checks.push(
                check("inside", Holds::No, format!("cannot look inside: {error}")).required(),
            );
        }
    }
    checks.extend(limits(sandbox.limits_in_force, driver.remedy_for_limits()));
    if let Err(error) = driver.stop(sandbox.id, Duration::ZERO).await {
        checks.push(check("stop", Holds::No, error.to_string()).required());
    }
    checks
}

impl BubblewrapDriver {
    fn remedy_for_limits(&self) -> &'static str {
        match self.kit.rights {
            Rights::Launcher(_) => "See control-groups and disk-images above.",
            Rights::User(_) => AS_ROOT,
        }
    }
}

/// The programs, and who has the rights.
fn parts(rights: &Rights) -> Vec<Check> {
    let mut checks = Vec::new();
    let path = find::bubblewrap();
    checks.push(
        match path {
            Ok(path) => {
                let (major, minor) = find::bubblewrap_version(&path).unwrap_or_default();
                check("bubblewrap", Holds::Yes, format!("{} {major}.{minor}", path.display()))
            }
            Err(error) => check("bubblewrap", Holds::No, error.to_string()),
        }
        .required(),
    );
    match rights {
        Rights::Launcher(launcher) => {
            checks.push(check(
                "launcher",
                Holds::Yes,
                "it runs, and the server is not root".into(),
            ));
            match launcher.probe() {
                Ok(tried) => checks.extend(tried),
                Err(error) => {
                    checks.push(check("launcher", Holds::No, error.to_string()).required())
                }
            }
        }
        Rights::User(user) => {
            let detail = "the server was not started as root".to_owned();
            checks.push(check("launcher", Holds::No, detail).remedy(AS_ROOT));
            checks.push(agent(&user.agent));
        }
    }
    checks
}

/// Turns what bubblewrap says when it may not make namespaces into what to do about it.
pub(super) fn explain(error: SandboxError) -> SandboxError {
    let SandboxError::Start(said) = &error else { return error };
    let lower = said.to_lowercase();
    let remedy = if lower.contains("namespace") || lower.contains("uid map") {
        "This system does not let ordinary users make namespaces. Debian: `sysctl -w \
         kernel.unprivileged_userns_clone=1`; Ubuntu 24.04: an AppArmor profile for bwrap that \
         allows userns, or `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`; in a \
         container: allow unshare (a seccomp profile), or use --sandbox=docker."
    } else if lower.contains("proc") && lower.contains("mount") {
        "The system hides parts of /proc, as containers do, so no new one may be mounted. Use \
         --sandbox=docker there, or run the server outside the container."
    } else {
        return error;
    };
    SandboxError::Unusable { problem: said.clone(), remedy: remedy.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_refusals_say_what_to_do() {
        for said in [
            "bwrap: No permissions to create new namespace, likely because the kernel does not",
            "bwrap: setting up uid map: Permission denied",
            "bwrap: Can't mount proc on /newroot/proc: Operation not permitted",
        ] {
            let explained = explain(SandboxError::Start(said.into()));
            assert!(matches!(explained, SandboxError::Unusable { .. }), "{said}");
        }
        let other = explain(SandboxError::Start("its agent ended".into()));
        assert!(matches!(other, SandboxError::Start(_)));
    }
}
