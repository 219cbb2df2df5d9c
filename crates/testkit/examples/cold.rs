//! Memory of what nobody uses: thousands of repls on disk, and documents that are open and idle.
//!
//! `make bench-cold`. REPLS=5000 says how many.

use anyhow::{Context as _, Result};
use tandem_testkit::{Server, machine};
use tokio::task::JoinSet;

const DOCUMENTS: usize = 1_000;
const AT_ONCE: usize = 16;

fn resident_kb(pid: i32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("find VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

#[tokio::main]
async fn main() -> Result<()> {
    println!("{}", machine()?);
    let repls: usize = match std::env::var("REPLS") {
        Ok(text) => text.parse().context("read REPLS")?,
        Err(_) => 5_000,
    };
    let mut server = Server::start().await?;
    server.stop().await?;
    server.restart().await?;
    // The first requests make what every server has.
    let first = server.api().create("python").await?.id.to_string();
    let empty = {
        server.stop().await?;
        server.restart().await?;
        server.api().repls().await?;
        resident_kb(server.pid())?
    };
    let mut making = JoinSet::new();
    for made in 0..repls {
        if making.len() >= AT_ONCE {
            making.join_next().await.context("a repl")???;
        }
        let api = server.api();
        making.spawn(async move { api.create("static").await.map(drop) });
        if made % 1_000 == 999 {
            println!("  {} repls", made + 1);
        }
    }
    while let Some(made) = making.join_next().await {
        made??;
    }
    server.stop().await?;
    server.restart().await?;
    let api = server.api();
    let listed = api.repls().await?.len();
    let cold = resident_kb(server.pid())?;
    println!(
        "{listed} repls that nobody uses: the server holds {:.1} MB, without them {:.1} MB",
        cold as f64 / 1e3,
        empty as f64 / 1e3
    );

    let mut live = api.live(&first).await?;
    api.sandbox_ready(&first).await?;
    let text = "let x = 1; // a line of a small file\n".repeat(30);
    for number in 0..DOCUMENTS {
        api.write(&first, &format!("many/{number}.js"), text.clone()).await?;
    }
    live.join("main.py").await?;
    let before = resident_kb(server.pid())?;
    for number in 0..DOCUMENTS {
        live.join(&format!("many/{number}.js")).await?;
    }
    let after = resident_kb(server.pid())?;
    let each = after.saturating_sub(before) as f64 / DOCUMENTS as f64;
    println!(
        "{DOCUMENTS} open documents of {} characters: {each:.1} kB each, {:.1} kB beside the text",
        text.len(),
        each - text.len() as f64 / 1e3
    );
    Ok(())
}
