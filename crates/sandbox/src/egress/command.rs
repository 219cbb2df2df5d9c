//! The system's network tools, run in the network namespace of the calling thread.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use super::EgressError;

/// Where they are; nobody but root can write there.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// What is shown of a tool's complaint.
const MAX_SAID_BYTES: usize = 400;

/// Runs a tool with `input` as its standard input and gives what it printed.
pub(super) fn run(
    tool: &'static str,
    arguments: &[&str],
    input: &str,
) -> Result<String, EgressError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => EgressError::unusable(
            format!("the program {tool} is not installed"),
            "Install iproute2 and nftables (Debian: `apt-get install iproute2 nftables`).",
        ),
        _ => EgressError::Io { action: "cannot run a network tool", source: error },
    };
    let mut child = Command::new(find(tool))
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // The tools read all their input before they print, and print little; a tool that ends early
    // says why.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() && !matches!(written, Some(Err(_))) {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().take(MAX_SAID_BYTES).collect();
    Err(EgressError::Tool { tool, said })
}

fn find(tool: &str) -> String {
    let places = PATH.split(':').map(|folder| format!("{folder}/{tool}"));
    places
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
        .unwrap_or_else(|| tool.into())
}
