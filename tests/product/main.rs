//! The whole product, from outside: the real program, raw clients, real sandboxes.
//!
//! What a failed test's server said is part of the test's output.

mod archives;
mod backup;
mod bad_input;
mod disk;
mod docker;
mod documents;
mod durability;
mod egress;
mod faults;
mod files;
mod history;
mod history_cost;
mod ignored;
mod leaving;
mod older_data;
mod outlive;
mod owners;
mod preview;
mod rights;
mod running;
mod shipping;
mod templates;

use anyhow::Result;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use tandem_testkit::{Api, LIMIT, LiveSocket, Options, Server, TerminalSocket};

/// A server with one Python repl that nobody has opened yet.
async fn python() -> Result<(Server, Api, String)> {
    python_on(Options::default()).await
}

async fn python_on(options: Options) -> Result<(Server, Api, String)> {
    let server = Server::start_with(options).await?;
    let api = server.api();
    let repl = api.create("python").await?.id.to_string();
    Ok((server, api, repl))
}

/// The same with somebody in it and its sandbox up.
async fn python_in_sandbox() -> Result<(Server, Api, String, LiveSocket)> {
    let (server, api, repl) = python().await?;
    let live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    Ok((server, api, repl, live))
}

/// Waits until the file on the sandbox's disk and the joined document are the same, and returns
/// that text.
async fn at_rest(shell: &mut TerminalSocket, live: &mut LiveSocket, path: &str) -> Result<String> {
    let mut seen = (String::new(), String::new());
    let start = std::time::Instant::now();
    while start.elapsed() < LIMIT {
        let disk = shell.execute(&format!("base64 -w 0 {path} 2>/dev/null; true")).await?;
        live.listen(std::time::Duration::from_millis(50)).await?;
        let text = live.text(path)?;
        let document = BASE64_STANDARD.encode(&text);
        if disk == document {
            return Ok(text);
        }
        seen = (disk, document);
    }
    anyhow::bail!("{path}: the disk holds {}, the document {}", seen.0, seen.1)
}
