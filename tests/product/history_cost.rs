//! What a history costs, by a real trace of typing. By hand:
//! `cargo test --release -p tandem-tests --test product -- --ignored --nocapture history_cost`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tandem_proto::history::HistoryAuthor;
use tandem_proto::{FileId, Generation, MemberId, ReplId};
use tandem_store::blob::MemoryStore;
use tandem_store::{Grain, HistoryPack, PackedEdit, PackedFile, ReplStore};
use tandem_testkit::Replica;

use crate::python;

/// The updates of everything that was typed, and the text at the end.
fn typed(name: &str, most: usize) -> Result<(Vec<Vec<u8>>, String)> {
    let folder = std::env::var("TANDEM_TRACES").map_or_else(
        |_| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/traces")),
        PathBuf::from,
    );
    let unpacked = Command::new("gzip").arg("-dc").arg(folder.join(name)).output()?;
    let trace: serde_json::Value =
        serde_json::from_slice(&unpacked.stdout).with_context(|| format!("no trace {name}"))?;
    let replica = Replica::default();
    let mut updates = Vec::new();
    let patches = trace["txns"].as_array().context("no transactions")?;
    for patch in patches.iter().flat_map(|txn| txn["patches"].as_array().into_iter().flatten()) {
        let number = |at: usize| patch[at].as_u64().map(|number| number as u32);
        let (at, deleted) = number(0).zip(number(1)).context("no numbers")?;
        if deleted > 0 {
            updates.push(replica.remove(at, deleted));
        }
        match patch[2].as_str() {
            Some(text) if !text.is_empty() => updates.push(replica.insert(at, text)),
            _ => {}
        }
        if updates.len() >= most {
            break;
        }
    }
    Ok((updates, replica.text()))
}

#[tokio::test]
#[ignore = "measures, by hand"]
async fn bytes_of_a_thousand_keystrokes() -> Result<()> {
    let (updates, _) = typed("automerge-paper.json.gz", 100_000)?;
    let raw: usize = updates.iter().map(Vec::len).sum();
    println!(
        "{} edits, {} bytes as updates each thousand",
        updates.len(),
        raw * 1_000 / updates.len()
    );
    let author = HistoryAuthor {
        id: MemberId::from_random([1; 10]),
        name: "Ada".to_owned(),
        colour: "#ff0000".to_owned(),
    };
    // Real typing: about five letters a second.
    let mut random = StdRng::seed_from_u64(1);
    let mut ms = 1_700_000_000_000u64;
    let edits: Vec<PackedEdit> = updates
        .into_iter()
        .map(|update| {
            ms += random.random_range(80..350);
            PackedEdit { ms, author: Some(author.id), update: update.into() }
        })
        .collect();
    let store = ReplStore::new(Arc::new(MemoryStore::default()), ReplId::from_random([1; 10]));
    for size in [15, 100, 1_000, 10_000, 100_000] {
        let (mut bytes, mut packs) = (0, 0);
        for edits in edits.chunks(size).take(1_000) {
            let (file, generation) = (FileId::from_random([2; 10]), Generation(1));
            let edits = edits.to_vec();
            let file = PackedFile { file, generation, base: None, runs: Vec::new(), edits };
            let pack = HistoryPack { people: vec![author.clone()], files: vec![file] };
            let stored = store.put_history(&pack, (0, Grain::Edit)).await?;
            bytes += stored.context("nothing stored")?.bytes;
            packs += 1;
        }
        let counted = (packs * size).min(edits.len());
        println!("{size} edits a pack: {} bytes a thousand", bytes * 1_000 / counted as u64);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures, by hand"]
async fn reading_a_long_history() -> Result<()> {
    let (_server, api, repl) = python().await?;
    let (updates, text) = typed("automerge-paper.json.gz", usize::MAX)?;
    api.write(&repl, "paper.tex", Bytes::new()).await?;
    let mut live = api.live(&repl).await?;
    live.join("paper.tex").await?;
    let start = Instant::now();
    for update in &updates {
        live.send_update("paper.tex", update).await?;
    }
    live.stored("paper.tex").await?;
    println!("{} edits sent and stored in {:?}", updates.len(), start.elapsed());
    ensure!(api.text(&repl, "paper.tex").await? == text);
    let timed = async |what: &str, query: &str| -> Result<()> {
        let start = Instant::now();
        let path = format!("/api/v1/repls/{repl}/history/paper.tex?{query}");
        let answer = api.request(reqwest::Method::GET, &path).send().await?.error_for_status()?;
        let bytes = answer.bytes().await?.len();
        println!("{what}: {bytes} bytes in {:?}", start.elapsed());
        Ok(())
    };
    timed("sessions", "limit=100").await?;
    timed("the text at the end", "at=9999999999999").await?;
    timed("playback", "replay").await?;
    timed("blame", "blame").await?;
    Ok(())
}
