//! The swarm, for two minutes with a new seed each time, or as long as one likes:
//! `make swarm SECONDS=3600 SEED=1`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tandem_testkit::{SwarmOptions, swarm};

fn number(name: &str) -> Result<Option<u64>> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => {
            Ok(Some(text.parse().with_context(|| format!("read {name}={text}"))?))
        }
        _ => Ok(None),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_promised_is_lost() -> Result<()> {
    let options = SwarmOptions {
        seed: number("TANDEM_SWARM_SEED")?.unwrap_or_else(|| u64::from(rand::random::<u32>())),
        time: Duration::from_secs(number("TANDEM_SWARM_SECONDS")?.unwrap_or(80)),
        output: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("output"),
    };
    std::fs::create_dir_all(&options.output)?;
    let report = swarm(&options).await?;
    println!("seed {}: {report}", options.seed);
    Ok(())
}
