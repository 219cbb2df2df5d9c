//! Programs in the sandbox of one repl, one at a time: two that rewrite one file at once lose each
//! other's lines, with or without Tandem.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::Method;

use super::ledger::{Holder, Ledger};
use super::places::{Places, mark};
use super::plan::Program;
use crate::{Api, TerminalSocket, eventually, within};

/// How long a program may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(15);

pub(super) struct Programs {
    api: Api,
    repl: String,
    places: Places,
    ledger: Ledger,
    shell: Option<TerminalSocket>,
    started: u64,
}

impl Programs {
    pub(super) fn new(api: Api, repl: String, places: Places, ledger: Ledger) -> Self {
        Self { api, repl, places, ledger, shell: None, started: 0 }
    }

    /// Runs a program on the file of a slot. What it wrote is owed once it has ended well.
    pub(super) async fn run(&mut self, slot: usize, program: Program) -> Result<()> {
        self.started += 1;
        let number = self.started;
        let author = format!("p{slot}");
        let line = format!("p{slot}-{number}");
        let (_, path) = self.places.find(slot, None)?;
        let to = format!("{}n{number}.txt", mark(slot));
        let spaces = " ".repeat(number as usize % 4);
        let (writes, command) = match program {
            Program::Append => (true, format!("echo {line} >> {path}")),
            Program::Sed => (true, format!("sed -i '1i {line}' {path}")),
            Program::Rewrite => (
                true,
                format!(
                    "old=$(cat {path}); {{ echo {line}; sleep 0.05; echo \"$old\"; }} > {path}"
                ),
            ),
            Program::Format => (
                false,
                format!(
                    "sed 's/^\\(p[0-9]*-[0-9]*\\) *$/\\1{spaces}/' {path} > /tmp/formatted; \
                     sleep 0.2; cat /tmp/formatted > {path}"
                ),
            ),
            Program::Rename => (false, format!("mv {path} {to}")),
            Program::Checkout => {
                (false, format!("cp -p {path} /tmp/kept; rm {path}; cp -p /tmp/kept {path}"))
            }
            Program::Bulk => (
                false,
                "mkdir -p bulk; for n in $(seq 60); do echo $n > bulk/$n.txt; done; \
                 mv bulk bulk2; rm -rf bulk2"
                    .to_owned(),
            ),
            Program::Mortal => (
                false,
                "if [ -e mortal.txt ]; then rm mortal.txt; else echo back > mortal.txt; fi"
                    .to_owned(),
            ),
        };
        if writes {
            self.ledger.typed(&line, slot, &author, Holder::Disk);
        }
        // A file that was moved away meanwhile is not made anew. The lock waits for a program
        // that went on when the server died under it.
        let command = match program {
            Program::Bulk | Program::Mortal => command,
            _ => format!("if [ -e {path} ]; then {command}; else false; fi"),
        };
        let quoted = command.replace('\'', "'\\''");
        self.execute(&format!("flock /tmp/one sh -c '{quoted}'")).await?;
        if writes {
            self.ledger.acked(&line);
        }
        Ok(())
    }

    /// Types a command into the repl's shell, opening one if need be.
    pub(super) async fn execute(&mut self, command: &str) -> Result<String> {
        let shell = match &mut self.shell {
            Some(shell) => shell,
            // The server may be away just now.
            none => none.insert(
                eventually("a shell opens", LIMIT, || async {
                    open_shell(&self.api, &self.repl).await.map(Some)
                })
                .await?,
            ),
        };
        let outcome = within("a program", LIMIT, shell.execute(command)).await;
        if outcome.is_err() {
            self.shell = None;
        }
        outcome
    }
}

async fn open_shell(api: &Api, repl: &str) -> Result<TerminalSocket> {
    for terminal in api.status(repl).await?.live.terminals {
        // One that ended by itself meanwhile is fine.
        let path = format!("/api/v1/repls/{repl}/terminals/{}", terminal.id);
        let _ = api.done(Method::DELETE, &path).await;
    }
    api.shell(repl).await.context("open a shell")
}
