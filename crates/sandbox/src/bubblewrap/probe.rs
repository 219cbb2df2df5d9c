//! What `tandem doctor` says about bubblewrap on this machine: a real sandbox is started and
//! looked at from inside.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tandem_proto::TerminalId;
use tandem_proto::agent::{Op, Spawn, TerminalKind, TerminalOutput};

use super::{BubblewrapDriver, Rights, find};
use crate::driver::probe_spec;
use crate::driver::{Check, Holds, LimitsInForce, Sandbox, SandboxDriver, SandboxError};

/// How long the look from inside may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(15);
/// What it may print.
const MAX_LOOK_BYTES: usize = 64 * 1024;

const AS_ROOT: &str = "Start the server as root (it keeps no rights itself: a small launcher \
                       does), or do not let strangers in.";

/// Prints `name=value` lines.
const LOOK: &str = r#"
for ns in user pid mnt net ipc uts cgroup; do echo "ns-$ns=$(readlink /proc/self/ns/$ns)"; done
while read -r key value; do case $key in
  Seccomp:) echo "seccomp=$value";; NoNewPrivs:) echo "new-privs=$value";; CapBnd:) echo "caps=$value";;
esac; done < /proc/self/status
read -r inside outside count < /proc/self/uid_map; echo "uids=$count"
echo "interfaces=$(for at in /proc/net/dev_mcast /proc/net/dev; do sed -n 's/^ *\([a-z0-9]*\):.*/\1/p' $at; done | sort -u | tr '\n' ' ')"
echo "port=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)"
told=; for f in cmdline kallsyms keys key-users timer_list config.gz kcore kmsg; do
  if [ -e /proc/$f ] && [ "$(head -c 1 /proc/$f 2>/dev/null | wc -c)" != 0 ]; then told="$told $f"; fi
done; echo "told=$told"
if (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null; then echo "settings=writable"; else echo "settings=refused"; fi
if unshare --user true 2>/dev/null; then echo "unshare=open"; else echo "unshare=refused"; fi
echo "processes=$(ulimit -u)"
echo "disk=$(stat -f -c '%S %b %c' ~)"
"#;

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
        Ok(seen) => checks.extend(namespaces(&seen).into_iter().chain(filters(&seen))),
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

/// Whether the agent needs anything of the sandbox's system.
pub(crate) fn agent(path: &std::path::Path) -> Check {
    if find::is_static(path) {
        check("agent", Holds::Yes, format!("{}, static", path.display())).required()
    } else {
        let detail = format!("{}, not static: it needs this machine's C library", path.display());
        check("agent", Holds::Partly, detail)
            .required()
            .remedy("Fine for development. `make run` builds a static one.")
    }
}

type Seen = HashMap<String, String>;

fn namespaces(seen: &Seen) -> Vec<Check> {
    let mut checks = Vec::new();
    for (kind, name) in [
        ("user", "user-namespace"),
        ("pid", "pid-namespace"),
        ("mnt", "mount-namespace"),
        ("net", "network-namespace"),
        ("ipc", "ipc-namespace"),
        ("uts", "host-name-namespace"),
    ] {
        let own = std::fs::read_link(format!("/proc/self/ns/{kind}"));
        let inside = seen.get(&format!("ns-{kind}"));
        let is_other = match (&own, inside) {
            (Ok(own), Some(inside)) => !inside.is_empty() && *inside != own.to_string_lossy(),
            _ => false,
        };
        let detail = inside.cloned().unwrap_or_else(|| "unknown".into());
        checks.push(check(name, holds(is_other), detail).required());
    }
    let interfaces = get(seen, "interfaces");
    let detail = format!("interfaces inside: {interfaces}; programs reach nothing outside");
    checks.push(check("loopback-only", holds(interfaces == "lo"), detail).required());
    let lowest: Option<u32> = get(seen, "port").parse().ok();
    let has_low_ports = lowest.is_some_and(|lowest| lowest <= 80);
    let detail = format!("programs may listen from port {} on", get(seen, "port"));
    let ports = check("ports-80-and-443", holds(has_low_ports), detail);
    checks.push(if has_low_ports { ports } else { ports.remedy(AS_ROOT) });
    checks
}

fn filters(seen: &Seen) -> Vec<Check> {
    let is_filtered = get(seen, "seccomp") == "2" && get(seen, "unshare") == "refused";
    let no_rights = get(seen, "new-privs") == "1" && get(seen, "caps") == "0000000000000000";
    let told = get(seen, "told");
    let masks = if told.is_empty() {
        check(
            "proc-masks",
            Holds::Yes,
            "nothing of the host is told by /proc's masked files".into(),
        )
    } else {
        check("proc-masks", Holds::Partly, format!("readable: {told}"))
    };
    vec![
        check("system-call-filter", holds(is_filtered), "a new namespace was refused".into())
            .required(),
        check("no-rights", holds(no_rights), "no capability, and none to gain".into()).required(),
        check(
            "kernel-settings",
            holds(get(seen, "settings") == "refused"),
            "/proc/sys cannot be written".into(),
        )
        .required(),
        masks,
    ]
}

/// `remedy` for what is missing.
fn limits(force: LimitsInForce, remedy: &str) -> Vec<Check> {
    let one = |name: &str, is_there: bool, yes: &str, no: &str| {
        if is_there {
            check(name, Holds::Yes, yes.into())
        } else {
            check(name, Holds::No, no.into()).remedy(remedy)
        }
    };
    let limit = |name: &str, is_there: bool, what: &str| {
        one(name, is_there, &format!("{what} is limited"), &format!("{what} is NOT limited"))
    };
    vec![
        limit("memory-limit", force.memory, "memory"),
        limit("process-limit", force.processes, "the number of processes"),
        limit("cpu-limit", force.cpu, "CPU time"),
        limit("disk-limit", force.disk, "the size of the home folder"),
        limit("inode-limit", force.inodes, "the number of files"),
        limit("terminal-limit", force.ptys, "the number of terminals"),
        one(
            "own-uid",
            force.own_uid,
            "each sandbox has a user id of its own",
            "sandboxes share the server's user id, and with it inotify's limits",
        ),
    ]
}

/// Runs the script inside and reads what it prints.
async fn look(sandbox: &Sandbox) -> Result<Seen, SandboxError> {
    let terminal = TerminalId::from_random(rand::random());
    let spawn = Spawn {
        terminal,
        kind: TerminalKind::Console,
        title: "doctor".into(),
        argv: vec!["bash".into(), "-c".into(), LOOK.into()],
        env: Vec::new(),
        cwd: None,
        cols: 500,
        rows: 50,
        history: Bytes::new(),
    };
    let reading = async {
        sandbox.link.request(Op::Spawn(spawn)).await?;
        let mut stream = sandbox.link.open_terminal(terminal, Some(0)).await?;
        let mut text = Vec::new();
        while let Some(output) = stream.recv().await? {
            match output {
                TerminalOutput::Chunk { bytes, .. } if text.len() < MAX_LOOK_BYTES => {
                    text.extend_from_slice(&bytes);
                }
                TerminalOutput::Exited { .. } => break,
                _ => {}
            }
        }
        Ok::<_, SandboxError>(String::from_utf8_lossy(&text).into_owned())
    };
    let text = tokio::time::timeout(LOOK_TIMEOUT, reading)
        .await
        .map_err(|_| SandboxError::Start("the look inside takes too long".into()))??;
    let pairs = text.lines().filter_map(|line| line.trim().split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

fn get<'a>(seen: &'a Seen, name: &str) -> &'a str {
    seen.get(name).map_or("", String::as_str)
}

fn holds(it: bool) -> Holds {
    if it { Holds::Yes } else { Holds::No }
}

fn check(name: &str, holds: Holds, detail: String) -> Check {
    Check { name: name.into(), holds, detail, remedy: None, required: false }
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

    #[test]
    fn what_is_not_seen_does_not_hold() {
        let nothing = Seen::new();
        for check in namespaces(&nothing).into_iter().chain(filters(&nothing)) {
            assert!(check.holds == Holds::No || check.name == "proc-masks", "{check:?}");
        }
        assert!(
            limits(LimitsInForce::default(), AS_ROOT).iter().all(|check| check.remedy.is_some())
        );
    }
}
