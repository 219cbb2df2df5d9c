//! A look at a started sandbox from inside, and what is said about it: `tandem doctor`'s rows that
//! are the same for all drivers.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tandem_proto::TerminalId;
use tandem_proto::agent::{Op, Spawn, TerminalKind, TerminalOutput};

use crate::bubblewrap::find;
use crate::driver::{Check, Holds, LimitsInForce, Sandbox, SandboxError};

/// How long the look from inside may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(15);
/// What it may print.
const MAX_LOOK_BYTES: usize = 64 * 1024;

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

/// What a look found, by name.
pub(crate) type Seen = HashMap<String, String>;

/// Whether the sandbox is in other namespaces than this process, by kind and name of the row.
pub(crate) fn namespaces(seen: &Seen, kinds: &[(&str, &str)]) -> Vec<Check> {
    let mut checks = Vec::new();
    for (kind, name) in kinds {
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
    checks
}

/// Whether programs may serve on the web's own ports.
pub(crate) fn low_ports(seen: &Seen, remedy: &str) -> Check {
    let lowest: Option<u32> = get(seen, "port").parse().ok();
    let has_low_ports = lowest.is_some_and(|lowest| lowest <= 80);
    let detail = format!("programs may listen from port {} on", get(seen, "port"));
    let ports = check("ports-80-and-443", holds(has_low_ports), detail);
    if has_low_ports { ports } else { ports.remedy(remedy) }
}

/// What keeps the sandbox away from the kernel.
pub(crate) fn filters(seen: &Seen) -> Vec<Check> {
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
pub(crate) fn limits(force: LimitsInForce, remedy: &str) -> Vec<Check> {
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

/// Looks around in a sandbox.
pub(crate) async fn look(sandbox: &Sandbox) -> Result<Seen, SandboxError> {
    let text = run(sandbox, LOOK.to_owned()).await?;
    let pairs = text.lines().filter_map(|line| line.trim().split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

/// Runs a script inside and reads what it prints.
pub(crate) async fn run(sandbox: &Sandbox, script: String) -> Result<String, SandboxError> {
    let terminal = TerminalId::from_random(rand::random());
    let spawn = Spawn {
        terminal,
        kind: TerminalKind::Console,
        title: "doctor".into(),
        argv: vec!["bash".into(), "-c".into(), script],
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
    tokio::time::timeout(LOOK_TIMEOUT, reading)
        .await
        .map_err(|_| SandboxError::Start("the look inside takes too long".into()))?
}

pub(crate) fn get<'a>(seen: &'a Seen, name: &str) -> &'a str {
    seen.get(name).map_or("", String::as_str)
}

pub(crate) fn holds(it: bool) -> Holds {
    if it { Holds::Yes } else { Holds::No }
}

pub(crate) fn check(name: &str, holds: Holds, detail: String) -> Check {
    Check { name: name.into(), holds, detail, remedy: None, required: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_does_not_hold() {
        let nothing = Seen::new();
        for check in
            namespaces(&nothing, &[("user", "user-namespace")]).into_iter().chain(filters(&nothing))
        {
            assert!(check.holds == Holds::No || check.name == "proc-masks", "{check:?}");
        }
        assert!(
            limits(LimitsInForce::default(), "mend it").iter().all(|check| check.remedy.is_some())
        );
    }
}
