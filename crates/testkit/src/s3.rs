//! A real S3 server over an empty folder.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{LIMIT, eventually, process};

const KEY: &str = "tandem-test";
const SECRET: &str = "tandem-test-secret";

/// versitygw on a free port; ends when dropped.
pub struct S3Server {
    port: u16,
    folder: TempDir,
    child: Option<Child>,
}

impl S3Server {
    /// Starts it with one empty bucket, `tandem`.
    ///
    /// # Errors
    /// When the program is missing (`scripts/get-s3.sh` gets it) or does not start.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tandem-s3-").tempdir()?;
        std::fs::create_dir(folder.path().join("tandem"))?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut server = Self { port, folder, child: None };
        server.restart().await?;
        Ok(server)
    }

    /// Ends it as a power cut does.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the S3 server does not run")?;
        child.kill().await.context("kill the S3 server")
    }

    /// Starts it again, on the same port and folder.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        let child = Command::new(program()?)
            .args(["--port", &self.address().to_string(), "--health", "/health", "posix"])
            .arg(self.folder.path())
            .env("ROOT_ACCESS_KEY", KEY)
            .env("ROOT_SECRET_KEY", SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("start versitygw")?;
        self.child = Some(child);
        let health = format!("{}/health", self.endpoint());
        eventually("the S3 server answers", LIMIT, || async {
            let answer = reqwest::get(&health).await?;
            Ok(answer.status().is_success().then_some(()))
        })
        .await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Whether there is a program to start.
    pub fn is_installed() -> bool {
        program().is_ok()
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// `--blob-store` for its bucket.
    pub fn blob_store(&self) -> String {
        self.blob_store_at(self.address())
    }

    /// The same through somebody in between.
    pub fn blob_store_at(&self, address: SocketAddr) -> String {
        format!("s3://tandem/data?endpoint=http://{address}&region=us-east-1&path_style=true")
    }

    /// The variables with its keys.
    pub fn env(&self) -> Vec<(String, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID".to_owned(), KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), SECRET.to_owned()),
        ]
    }

    /// Where the bucket's objects are as files.
    pub fn bucket(&self) -> PathBuf {
        self.folder.path().join("tandem")
    }
}

fn program() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("TANDEM_S3_SERVER") {
        return Ok(program.into());
    }
    let cache = std::env::var_os("TANDEM_CACHE")
        .map_or_else(|| process::repository().join(".cache"), PathBuf::from);
    let built = cache.join("s3/bin/versitygw");
    if built.is_file() {
        return Ok(built);
    }
    let path = std::env::var_os("PATH").context("read PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join("versitygw"))
        .find(|program| program.is_file())
        .context("no S3 server: run scripts/get-s3.sh first")
}
