//! `tandem-agent`: process 1 of a sandbox.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use rustix::process::DumpableBehavior;
use tandem_agent::Config;
use tandem_proto::agent;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tandem-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<()> {
    // User programs run under the same uid: without this they could read our memory.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .context("cannot hide the agent's memory")?;
    let own = rustix::process::getpid();
    if !own.is_init() {
        rustix::process::set_child_subreaper(Some(own)).context("cannot adopt orphans")?;
    }
    let config = config()?;
    name_a_shell();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .thread_stack_size(512 * 1024)
        .thread_keep_alive(Duration::from_secs(5))
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        if own.is_init() {
            // The kernel keeps signals away from process 1 as long as it does not listen, so that
            // no program of the sandbox can end it.
            return tandem_agent::run(config, stop).await.context("cannot start");
        }
        let mut terminated =
            signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let stopping = stop.clone();
        let run = tandem_agent::run(config, stop);
        tokio::pin!(run);
        tokio::select! {
            result = &mut run => return result.context("cannot start"),
            _ = terminated.recv() => stopping.cancel(),
        }
        run.await.context("cannot start")
    })
}

/// Without `SHELL` the PTY crate asks the password database, which in a static binary loads
/// libraries of whatever C library the sandbox has.
#[allow(unsafe_code)]
fn name_a_shell() {
    if std::env::var_os("SHELL").is_none() {
        // SAFETY: no other thread exists yet.
        unsafe { std::env::set_var("SHELL", "/bin/sh") };
    }
}

fn config() -> anyhow::Result<Config> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let sandbox = variable("TANDEM_SANDBOX").context("TANDEM_SANDBOX is not set")?;
    let orphaned_after = match variable("TANDEM_ORPHANED_AFTER_SECONDS") {
        Some(seconds) => Duration::from_secs(
            seconds.parse().context("TANDEM_ORPHANED_AFTER_SECONDS is not a number")?,
        ),
        None => Duration::from_secs(600),
    };
    Ok(Config {
        socket: variable("TANDEM_AGENT_SOCKET").map_or_else(
            || PathBuf::from(agent::SOCKET_DIR).join(agent::SOCKET_NAME),
            PathBuf::from,
        ),
        workspace: PathBuf::from(
            variable("TANDEM_WORKSPACE").unwrap_or_else(|| agent::WORKSPACE.to_owned()),
        ),
        home: PathBuf::from(variable("HOME").unwrap_or_else(|| agent::HOME.to_owned())),
        sandbox: sandbox.parse().context("TANDEM_SANDBOX is not a sandbox id")?,
        orphaned_after,
        watch_by_scanning: variable("TANDEM_WATCH_BY_SCANNING").is_some_and(|value| value == "1"),
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
    })
}
