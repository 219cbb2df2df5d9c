//! `tandem egress`: what programs may reach, said and changed while the server runs.

use anyhow::{Context as _, ensure};
use tandem_proto::egress::EgressMode;
use tandem_sandbox::egress::{EgressPolicy, HostPattern};

use crate::cli::EgressCommand;
use crate::config::{Config, parse_all};
use crate::process;

/// Writes the operator's file, which the server follows, and says what it holds.
pub fn run(command: EgressCommand) -> anyhow::Result<()> {
    let EgressCommand { mode, repl, allow, reset, options } = command;
    let config = Config::load(options)?;
    process::run_as_server(&config, async {
        let data_dir = &config.data_dir;
        let allow: Option<Vec<HostPattern>> =
            allow.as_deref().map(|words| parse_all("--allow", Some(words))).transpose()?;
        ensure!(repl.is_none() || mode.is_some() || reset, "say which mode the repl is to have");
        let mode = mode.map(EgressMode::from);
        let mut policy = match EgressPolicy::load(data_dir) {
            // The way out of a file that cannot be read.
            Err(_) if reset && repl.is_none() => EgressPolicy::default(),
            loaded => loaded?,
        };
        match (repl, reset) {
            (None, true) => policy = EgressPolicy::default(),
            (Some(repl), true) => drop(policy.repls.remove(&repl)),
            (Some(repl), false) => drop(mode.map(|mode| policy.repls.insert(repl, mode))),
            (None, false) => {
                policy.mode = mode.or(policy.mode);
                policy.allow = allow.clone().or(policy.allow.take());
            }
        }
        if mode.is_some() || allow.is_some() || reset {
            policy.save(data_dir).context("cannot change what programs may reach")?;
        }
        println!("{}", serde_json::to_string_pretty(&policy)?);
        Ok(())
    })
}
