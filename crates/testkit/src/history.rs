//! The history of files and the checkpoints of a repl.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use tandem_proto::history::{
    BlameLines, Checkpoint, CheckpointRestored, CreateCheckpoint, FileHistory, HistoryAuthor,
    NEXT_FROM, REPLAY_MAGIC, VersionRestored,
};
use tandem_proto::lib0::Reader;

use crate::api::escape_path;
use crate::{Api, Replica};

/// One frame of a playback.
#[derive(Debug, Clone)]
pub struct ReplayFrame {
    /// When.
    pub ms: u64,
    /// Who.
    pub author: Option<HistoryAuthor>,
    /// The update.
    pub update: Vec<u8>,
}

/// A playback as a player reads it.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The state before, then the edits.
    pub frames: Vec<ReplayFrame>,
    /// Where to go on.
    pub next_from: Option<u64>,
}

impl Replay {
    /// Plays everything and returns the text after each frame.
    ///
    /// # Errors
    /// When an update cannot be read.
    pub fn texts(&self) -> Result<Vec<String>> {
        let replica = Replica::default();
        self.frames
            .iter()
            .map(|frame| {
                replica.apply(&frame.update)?;
                Ok(replica.text())
            })
            .collect()
    }
}

fn path_of(repl: &str, path: &str) -> String {
    format!("/api/v1/repls/{repl}/history/{}", escape_path(path))
}

impl Api {
    /// The sessions of a file.
    ///
    /// # Errors
    /// [`crate::Refused`], or when the server cannot be reached; so for all calls below.
    pub async fn history(&self, repl: &str, path: &str) -> Result<FileHistory> {
        self.get(&path_of(repl, path)).await
    }

    /// A file's text at a moment.
    ///
    /// # Errors
    /// See [`Api::history`].
    pub async fn text_at(&self, repl: &str, path: &str, ms: u64) -> Result<String> {
        let bytes = self.bytes(&format!("{}?at={ms}", path_of(repl, path))).await?.1;
        String::from_utf8(bytes).context("read a text")
    }

    /// Who wrote which lines.
    ///
    /// # Errors
    /// See [`Api::history`].
    pub async fn blame(&self, repl: &str, path: &str) -> Result<Vec<BlameLines>> {
        self.get(&format!("{}?blame", path_of(repl, path))).await
    }

    /// Everything that was typed into a file.
    ///
    /// # Errors
    /// See [`Api::history`].
    pub async fn replay(&self, repl: &str, path: &str) -> Result<Replay> {
        let (headers, bytes) = self.bytes(&format!("{}?replay", path_of(repl, path))).await?;
        let next_from = match headers.get(NEXT_FROM) {
            Some(value) => Some(value.to_str()?.parse()?),
            None => None,
        };
        ensure!(bytes.starts_with(REPLAY_MAGIC), "not a playback");
        let mut reader = Reader::new(&bytes[REPLAY_MAGIC.len()..]);
        let authors: Vec<HistoryAuthor> = serde_json::from_str(reader.var_string()?)?;
        let mut frames = Vec::new();
        while !reader.is_empty() {
            let (ms, author) = (reader.var_uint()?, reader.var_uint()? as usize);
            let author = author.checked_sub(1).map(|at| authors[at].clone());
            frames.push(ReplayFrame { ms, author, update: reader.var_bytes()?.to_vec() });
        }
        Ok(Replay { frames, next_from })
    }

    /// Gives a file the text of a moment again.
    ///
    /// # Errors
    /// See [`Api::history`].
    pub async fn restore_version(&self, repl: &str, path: &str, ms: u64) -> Result<bool> {
        let path = format!("{}?restore={ms}", path_of(repl, path));
        let answer: VersionRestored = self.post(&path, &()).await?;
        Ok(answer.changed)
    }

    /// The checkpoints, newest first.
    ///
    /// # Errors
    /// See [`Api::history`].
    pub async fn checkpoints(&self, repl: &str) -> Result<Vec<Checkpoint>> {
        self.get(&format!("/api/v1/repls/{repl}/checkpoints")).await
    }

    /// Makes a checkpoint.
    ///
    /// # Errors
    /// See [`Api::history`].
    pub async fn checkpoint(&self, repl: &str, name: &str) -> Result<Checkpoint> {
        let body = CreateCheckpoint { name: Some(name.to_owned()) };
        self.post(&format!("/api/v1/repls/{repl}/checkpoints"), &body).await
    }

    /// Goes back to a checkpoint.
    ///
    /// # Errors
    /// See [`Api::history`].
    pub async fn restore_checkpoint(
        &self,
        repl: &str,
        checkpoint: &Checkpoint,
    ) -> Result<CheckpointRestored> {
        let path = format!("/api/v1/repls/{repl}/checkpoints/{}/restore", checkpoint.id);
        self.post(&path, &()).await
    }

    /// Sets the caller's name.
    ///
    /// # Errors
    /// See [`Api::history`].
    pub async fn set_name(&self, name: &str) -> Result<()> {
        let request = self.request(Method::PATCH, "/api/v1/me");
        let request = request.json(&serde_json::json!({ "name": name }));
        request.send().await?.error_for_status()?;
        Ok(())
    }
}
