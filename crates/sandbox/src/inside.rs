//! What is the same inside every sandbox that has a view of its own, whatever driver made it.

use std::ffi::{OsStr, OsString};

use tandem_proto::SandboxId;
use tandem_proto::agent::{HOME, WORKSPACE};

/// The host name inside.
pub(crate) const HOST_NAME: &str = "tandem";
/// Where the agent's executable appears.
pub(crate) const AGENT: &str = "/run/tandem-agent";
/// Sizes of the places in memory.
pub(crate) const SHM_BYTES: u64 = 64 << 20;
pub(crate) const TMP_BYTES: u64 = 256 << 20;
pub(crate) const RUN_BYTES: u64 = 1 << 20;
/// Ports that a program without rights may listen on inside.
pub(crate) const LOWEST_PORT: &str = "80";
/// Preferred by the kernel when memory runs out on the whole machine.
pub(crate) const OOM_SCORE: i64 = 500;

/// Files of `/proc` that tell about the host or could harm it, covered by an empty one where
/// this kernel has them and gives everyone a right to them.
pub(crate) const MASKED: &[&str] = &[
    "cmdline",
    "config.gz",
    "iomem",
    "ioports",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "sched_debug",
    "slabinfo",
    "sysrq-trigger",
    "timer_list",
    "vmallocinfo",
    "zoneinfo",
];

/// PATH inside, where the system's own is `system`.
pub(crate) fn path_variable(system: &OsStr) -> OsString {
    let mut path = OsString::from(format!("{HOME}/.local/bin:"));
    path.push(system);
    path
}

/// The environment of the agent, from which that of user programs comes, without PATH.
pub(crate) fn variables(sandbox: SandboxId) -> Vec<(&'static str, String)> {
    [
        ("HOME", HOME),
        ("USER", "runner"),
        ("LOGNAME", "runner"),
        ("SHELL", "/bin/bash"),
        ("LANG", "C.UTF-8"),
        ("TERM", "xterm-256color"),
        ("COLORTERM", "truecolor"),
        ("TANDEM_SANDBOX", sandbox.as_str()),
        ("TANDEM_WORKSPACE", WORKSPACE),
        // Another toolchain could only be downloaded, and there is no network.
        ("GOTOOLCHAIN", "local"),
        // Where the operator keeps Go's compiled standard library (`make toolchains`), a new
        // repl uses it instead of compiling it anew.
        ("GODEBUG", "installgoroot=all"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}
