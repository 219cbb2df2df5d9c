//! `tandem export`, `tandem import`, `tandem check`: on the blob store itself, whether a server
//! runs or not.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tandem_node::check::{self, Report};
use tandem_proto::ReplId;
use tandem_store::backup::{self, Ids};

use crate::cli::{CheckCommand, ExportCommand, ImportCommand};
use crate::config::Config;
use crate::{logging, process};

/// Between lines about how far it is.
const EVERY: Duration = Duration::from_secs(2);

/// `tandem export`.
pub fn export(command: ExportCommand) -> anyhow::Result<()> {
    let config = quiet(command.options)?;
    // While we may still write where the operator may; never over another archive.
    let file = std::fs::File::create_new(&command.file)
        .with_context(|| format!("cannot make {}", command.file.display()))?;
    let outcome = process::run_as_server(&config, async {
        let blobs = process::blob_store(&config).await?;
        let repls: Vec<ReplId> = match command.all {
            true => tandem_store::list_repls(&*blobs).await?,
            false => command.repl.iter().copied().collect::<BTreeSet<_>>().into_iter().collect(),
        };
        let mut told = Told::default();
        let to = tokio::io::BufWriter::new(tokio::fs::File::from_std(file.try_clone()?));
        let done = backup::export(&blobs, &repls, to, |progress| {
            told.tell(|| {
                let of = progress.of.unwrap_or_default();
                format!("repl {} of {of}, {}", progress.repls, size(progress.bytes))
            });
        })
        .await?;
        file.sync_all().context("the archive cannot be written to the disk")?;
        Ok(done)
    });
    match outcome {
        Ok(done) => {
            println!(
                "exported {} repls ({} objects, {}) to {}",
                done.repls,
                done.objects,
                size(done.bytes),
                command.file.display()
            );
            Ok(())
        }
        Err(error) => {
            // What is half written is no archive; where it may not be removed it is emptied.
            let _ = file.set_len(0);
            let _ = std::fs::remove_file(&command.file);
            Err(error)
        }
    }
}

/// `tandem import`.
pub fn import(command: ImportCommand) -> anyhow::Result<()> {
    let config = quiet(command.options)?;
    let file = std::fs::File::open(&command.file)
        .with_context(|| format!("cannot read {}", command.file.display()))?;
    let ids = if command.same_id { Ids::Same } else { Ids::Fresh };
    process::run_as_server(&config, async {
        let blobs = process::blob_store(&config).await?;
        let file = tokio::io::BufReader::new(tokio::fs::File::from_std(file));
        let mut told = Told::default();
        let mut count = 0;
        let said = |repl: backup::Imported| {
            count += 1;
            println!("imported {} as {} ({:?})", repl.from, repl.repl, repl.name);
        };
        let done = backup::import(&blobs, file, ids, said, |progress| {
            told.tell(|| format!("repl {}, {}", progress.repls, size(progress.bytes)));
        })
        .await?;
        println!("imported {count} repls ({})", size(done.bytes));
        println!("A running server shows them after its next start.");
        Ok(())
    })
}

/// `tandem check`.
pub fn check(command: CheckCommand) -> anyhow::Result<()> {
    let config = quiet(command.options)?;
    let report = process::run_as_server(&config, async {
        let blobs = process::blob_store(&config).await?;
        let mut told = Told::default();
        let mut progress = |repls: usize, bytes: u64| {
            told.tell(|| format!("{repls} repls, {}", size(bytes)));
        };
        check::check(&blobs, command.repl, &mut progress)
            .await
            .context("the blob store cannot be checked")
    })?;
    if command.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    anyhow::ensure!(
        report.problems.is_empty(),
        "{} problems were found; nothing was changed",
        report.problems.len()
    );
    Ok(())
}

fn print(report: &Report) {
    for problem in &report.problems {
        let whose = problem.repl.map_or_else(String::new, |repl| format!("repl {repl}: "));
        let what = match &problem.key {
            Some(key) if !problem.what.contains(key.as_str()) => {
                format!("{} ({key})", problem.what)
            }
            _ => problem.what.clone(),
        };
        println!("✗ {whose}{what}");
    }
    println!(
        "{} repls, {} documents, {} objects, {}: {}",
        report.repls,
        report.documents,
        report.objects,
        size(report.bytes),
        if report.problems.is_empty() { "all whole" } else { "see above" }
    );
}

fn quiet(options: crate::cli::Options) -> anyhow::Result<Config> {
    let mut config = Config::load(options)?;
    if config.log == "info" {
        // What is wrong is printed once, as the outcome.
        config.log = "off".to_owned();
    }
    logging::start(config.log_format, &config.log)?;
    Ok(config)
}

/// Lines about long work, for people who wait.
#[derive(Default)]
struct Told {
    last: Option<Instant>,
}

impl Told {
    fn tell(&mut self, line: impl FnOnce() -> String) {
        let now = Instant::now();
        let last = *self.last.get_or_insert(now);
        if now.duration_since(last) >= EVERY {
            self.last = Some(now);
            let (before, after) =
                if std::io::stderr().is_terminal() { ("\r\x1b[K", "") } else { ("", "\n") };
            eprint!("{before}… {}{after}", line());
        }
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}
