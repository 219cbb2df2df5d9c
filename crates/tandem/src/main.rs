//! The `tandem` command: reads the command line, and wires web, node, stores and sandboxes into
//! one process.

mod backup;
mod cli;
mod config;
mod doctor;
mod egress;
mod logging;
mod metrics;
mod process;
mod secret;
mod serve;
mod templates;
mod wiring;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Serve(options) => serve::run(options),
        Command::Doctor { options, json } => doctor::run(options, json),
        Command::Egress(command) => egress::run(command),
        Command::Template(command) => templates::run(command),
        Command::Export(command) => backup::export(command),
        Command::Import(command) => backup::import(command),
        Command::Check(command) => backup::check(command),
        Command::Launch => tandem_sandbox::launcher::run().map_err(Into::into),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tandem: {error:#}");
            ExitCode::FAILURE
        }
    }
}
