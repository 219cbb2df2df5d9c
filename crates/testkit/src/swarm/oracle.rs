//! What must hold when everybody is back and silent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use tandem_proto::id::FileId;

use super::episode::{Episode, Repl};
use super::ledger::Account;
use super::places::mark;
use crate::eventually;

/// How long everybody may take to come to rest on a busy machine: a lost lease, a sandbox to be
/// started and all the rest included.
const LIMIT: Duration = Duration::from_secs(90);

/// A moment after everything.
const FAR_MS: u64 = 1 << 42;

/// Waits until all screens of a file show the same, and the server and the disk the same as they.
/// Answers with the texts of all files that people typed in.
pub(super) async fn at_rest(episode: &Episode) -> Result<Vec<String>> {
    let start = Instant::now();
    let mut texts = Vec::new();
    for repl in &episode.repls {
        eventually("the sandbox is ready", LIMIT, || async {
            repl.editor.sandbox_ready(&repl.id).await.map(Some)
        })
        .await?;
        let mut shell = eventually("a shell opens", LIMIT, || async {
            for terminal in repl.editor.status(&repl.id).await?.live.terminals {
                let path = format!("/api/v1/repls/{}/terminals/{}", repl.id, terminal.id);
                repl.editor.done(reqwest::Method::DELETE, &path).await?;
            }
            repl.editor.shell(&repl.id).await.map(Some)
        })
        .await?;
        loop {
            let files = repl.files().await;
            let disk = match &files {
                Ok(files) => on_disk(&mut shell, files.keys()).await,
                Err(_) => Ok(BTreeMap::new()),
            };
            let difference = match (&files, &disk) {
                (Ok(files), Ok(disk)) => difference(episode, repl, files, disk),
                (Err(error), _) | (_, Err(error)) => Some(format!("{error:#}")),
            };
            match difference {
                None => {
                    texts.extend(files?.into_values().map(|(_, text)| text));
                    break;
                }
                Some(difference) if start.elapsed() > LIMIT => {
                    bail!("no rest after {LIMIT:?}: {difference}")
                }
                Some(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }
    Ok(texts)
}

/// What everybody wrote against the texts.
pub(super) fn account(episode: &Episode, texts: &[String]) -> Result<Account> {
    let violations = episode.ledger.violations();
    ensure!(violations.is_empty(), "{violations:#?}");
    let account = episode.ledger.account(texts);
    ensure!(account.lost.is_empty(), "lost: {:#?}\n{}", account.lost, shown(texts));
    ensure!(account.doubled.is_empty(), "doubled: {:#?}\n{}", account.doubled, shown(texts));
    Ok(account)
}

fn shown(texts: &[String]) -> String {
    texts.iter().map(|text| format!("---\n{text}\n")).collect()
}

/// The history of every file that people typed in, played to its end, is the file's text.
pub(super) async fn history_ends_in_the_present(episode: &Episode) -> Result<()> {
    for repl in &episode.repls {
        let what = "history replays to the present text";
        let outcome = eventually(what, LIMIT, || async {
            // A file that nobody ever opened has no history.
            let is_open = |file| episode.seats.iter().any(|seat| seat.screen().file == Some(file));
            let files = repl.files().await?;
            for (path, (_, text)) in files.into_iter().filter(|(_, (file, _))| is_open(*file)) {
                let replayed = repl.editor.text_at(&repl.id, &path, FAR_MS).await?;
                if replayed != text {
                    bail!(compare(&path, "the server", &text, "its history", Some(&replayed)));
                }
            }
            Ok(Some(()))
        });
        outcome.await?;
    }
    Ok(())
}

/// Every text file of every repl as the server gives it out.
pub(super) async fn served(episode: &Episode) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for repl in &episode.repls {
        repl.places.refresh(&repl.editor, &repl.id).await?;
        for path in repl.places.all().into_keys() {
            let text = repl.editor.text(&repl.id, &path).await?;
            all.insert(format!("{}/{path}", repl.id), text);
        }
    }
    Ok(all)
}

impl Repl {
    /// The files of all slots, as the server gives them out.
    async fn files(&self) -> Result<BTreeMap<String, (FileId, String)>> {
        self.places.refresh(&self.editor, &self.id).await?;
        let mut files = BTreeMap::new();
        for (path, id) in self.places.all() {
            let is_ours = path.rsplit('/').next().is_some_and(|name| {
                name.starts_with('f') && name.ends_with(".txt") || name == "mortal.txt"
            });
            if is_ours {
                let text = self.editor.text(&self.id, &path).await?;
                files.insert(path, (id, text));
            }
        }
        Ok(files)
    }
}

async fn on_disk(
    shell: &mut crate::TerminalSocket,
    paths: impl Iterator<Item = &String>,
) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for path in paths {
        let encoded = shell.execute(&format!("base64 -w 0 {path} 2>/dev/null; true")).await?;
        let bytes = BASE64_STANDARD.decode(&encoded).context("read what the shell shows")?;
        found.insert(path.clone(), String::from_utf8(bytes).context("read a text from disk")?);
    }
    Ok(found)
}

fn difference(
    episode: &Episode,
    repl: &Repl,
    files: &BTreeMap<String, (FileId, String)>,
    disk: &BTreeMap<String, String>,
) -> Option<String> {
    for (path, (_, text)) in files {
        if disk.get(path) != Some(text) {
            return Some(compare(path, "the server", text, "the disk", disk.get(path)));
        }
    }
    for seat in episode.seats.iter().filter(|seat| episode.repl_of(seat.slot) == repl.id) {
        let screen = seat.screen();
        let (name, slot) = (&seat.name, mark(seat.slot));
        if !screen.connected {
            return Some(format!("{name} is not connected to {slot}: {}", screen.trouble));
        }
        match files.iter().find(|(_, (file, _))| Some(*file) == screen.file) {
            Some((path, (_, text))) if *text != screen.text => {
                return Some(compare(path, "the server", text, name, Some(&screen.text)));
            }
            Some(_) => {}
            None => return Some(format!("{name} has a file of {slot} open that is not there")),
        }
    }
    None
}

fn compare(path: &str, one: &str, text: &str, other: &str, found: Option<&String>) -> String {
    let Some(found) = found else { return format!("{path}: {one} has it, {other} not") };
    let at = text.bytes().zip(found.bytes()).take_while(|(a, b)| a == b).count();
    let part = |text: &str| {
        let bytes = text.as_bytes();
        let (from, to) = (at.saturating_sub(40).min(bytes.len()), (at + 80).min(bytes.len()));
        String::from_utf8_lossy(&bytes[from..to]).into_owned()
    };
    let (long, short) = (text.len(), found.len());
    format!(
        "{path} differs at byte {at}: {one} has {long} bytes, there {:?}; {other} has {short}, there {:?}",
        part(text),
        part(found)
    )
}
