//! Finding programs and processes from outside.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A program of this workspace, which lies two folders above the running test.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe().context("find the running test")?;
    let folder = test.parent().and_then(Path::parent).context("find the target folder")?;
    let program = folder.join(name);
    if !program.is_file() {
        bail!("{} is not built: run `cargo build --workspace --bins` first", program.display());
    }
    Ok(program)
}

/// This machine, to be printed with what was measured on it.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn machine() -> Result<String> {
    let processors = std::fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
    let models: Vec<&str> = processors
        .lines()
        .filter_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']))
        .collect();
    let load = std::fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    let model = models.first().copied().unwrap_or("an unknown processor");
    Ok(format!("{} × {model}, load {load} at the beginning", models.len().max(1)))
}

/// The folder of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The process that listens on this TCP port of the loopback interface: the server itself, even
/// when the process that was started is its privileged launcher.
pub(crate) fn listener(port: u16) -> Result<i32> {
    let table = std::fs::read_to_string("/proc/net/tcp").context("read /proc/net/tcp")?;
    let suffix = format!(":{port:04X}");
    let inode = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|columns| columns.len() > 9 && columns[1].ends_with(&suffix) && columns[3] == "0A")
        .map(|columns| format!("socket:[{}]", columns[9]))
        .with_context(|| format!("nobody listens on port {port}"))?;
    let mut holders = Vec::new();
    for process in std::fs::read_dir("/proc").context("list /proc")?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        // A process that just ended, or one of somebody else, is not the one.
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let holds = descriptors.flatten().any(|descriptor| {
            std::fs::read_link(descriptor.path()).is_ok_and(|to| to.as_os_str() == inode.as_str())
        });
        if holds {
            holders.push(pid);
        }
    }
    // A parent that only passed the socket on comes first; the server is its child.
    holders.into_iter().max().with_context(|| format!("no process holds the socket of port {port}"))
}
