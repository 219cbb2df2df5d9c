//! A typed client of the HTTP interface.

use anyhow::{Context, Result};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tandem_proto::api::{
    CreateRepl, CreateTerminal, ForkRepl, LinkCreated, ReplInfo, ReplStatus, RunRequest,
    RunStarted, SandboxStatus, TemplateInfo, TerminalInfo, TreeFolder,
};
use tandem_proto::problem::Problem;
use tandem_proto::role::Role;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{LIMIT, LiveSocket, Preview, TerminalSocket, eventually};

/// One person (one token) at the server's door.
#[derive(Debug, Clone)]
pub struct Api {
    port: u16,
    token: String,
    http: reqwest::Client,
}

/// An answer that is not a success, with its problem document where it is one.
#[derive(Debug, thiserror::Error)]
#[error("{status}: {body}")]
pub struct Refused {
    /// HTTP status.
    pub status: StatusCode,
    /// The problem document.
    pub problem: Option<Problem>,
    /// What came instead.
    pub body: String,
}

impl Api {
    pub(crate) fn new(port: u16, token: &str) -> Self {
        // The server ends idle connections after 30 s; one that it is just ending is not used.
        let http = reqwest::Client::builder()
            .pool_idle_timeout(std::time::Duration::from_secs(10))
            .build()
            .unwrap_or_default();
        Self { port, token: token.to_owned(), http }
    }

    /// The token of this person.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A request with the token; `path` begins with `/`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(&self.token)
    }

    /// A request without any authentication.
    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("http://127.0.0.1:{}{path}", self.port))
            // The public address is `localhost`; another Host is refused.
            .header("host", format!("localhost:{}", self.port))
    }

    pub(crate) async fn ready(&self) -> Result<()> {
        eventually("/readyz answers 200", LIMIT, || async {
            let answer = self.anonymous(Method::GET, "/readyz").send().await?;
            Ok(answer.status().is_success().then_some(()))
        })
        .await
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let answer = succeed(request.send().await?).await?;
        let text = answer.text().await?;
        serde_json::from_str(&text).with_context(|| format!("read the answer {text}"))
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.json(self.request(Method::GET, path)).await
    }

    pub(crate) async fn bytes(&self, path: &str) -> Result<(HeaderMap, Vec<u8>)> {
        let answer = succeed(self.request(Method::GET, path).send().await?).await?;
        Ok((answer.headers().clone(), answer.bytes().await?.to_vec()))
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        self.json(self.request(Method::POST, path).json(body)).await
    }

    /// The templates and whether they can be used.
    ///
    /// # Errors
    /// [`Refused`], or when the server cannot be reached; so for all calls below.
    pub async fn templates(&self) -> Result<Vec<TemplateInfo>> {
        self.get("/api/v1/templates").await
    }

    /// Creates a repl.
    ///
    /// # Errors
    /// See [`Api::templates`].
    pub async fn create(&self, template: &str) -> Result<ReplInfo> {
        let body = CreateRepl { name: None, template: template.to_owned() };
        self.post("/api/v1/repls", &body).await
    }

    /// All repls this token may see.
    ///
    /// # Errors
    /// See [`Api::templates`].
    pub async fn repls(&self) -> Result<Vec<ReplInfo>> {
        self.get("/api/v1/repls").await
    }

    /// One repl.
    ///
    /// # Errors
    /// See [`Api::templates`].
    pub async fn repl(&self, repl: &str) -> Result<ReplInfo> {
        self.get(&format!("/api/v1/repls/{repl}")).await
    }

    /// Forks a repl.
    ///
    /// # Errors
    /// See [`Api::templates`].
    pub async fn fork(&self, repl: &str) -> Result<ReplInfo> {
        self.post(&format!("/api/v1/repls/{repl}/fork"), &ForkRepl::default()).await
    }

    /// Deletes a repl.
    ///
    /// # Errors
    /// See [`Api::templates`].
    pub async fn delete(&self, repl: &str) -> Result<()> {
        self.done(Method::DELETE, &format!("/api/v1/repls/{repl}")).await
    }

    /// Sends a request whose answer's body does not matter.
    ///
    /// # Errors
    /// See [`Api::templates`].
    pub async fn done(&self, method: Method, path: &str) -> Result<()> {
        succeed(self.request(method, path).send().await?).await?;
        Ok(())
    }

    /// The status of a request that is expected to be refused.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn status_of(&self, method: Method, path: &str) -> Result<StatusCode> {
        Ok(self.request(method, path).send().await?.status())
    }

    /// The status of a request whose target is sent as it is, byte for byte; an ordinary client
    /// would tidy `..` away before the server sees it.
    ///
    /// # Errors
    /// When the server cannot be reached or says nothing.
    pub async fn raw_status(&self, method: &str, target: &str) -> Result<u16> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost:{}\r\nAuthorization: Bearer {}\r\n\
             Content-Length: 1\r\nConnection: close\r\n\r\nx",
            self.port, self.token
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        // What follows the status does not matter, nor does a reset behind it.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).context("read a status line")?;
        status.parse().with_context(|| format!("read the status of {answer}"))
    }

    /// Makes a share link.
    ///
    /// # Errors
    /// See [`Api::templates`].
    pub async fn link(&self, repl: &str, role: Role) -> Result<LinkCreated> {
        let body = tandem_proto::api::CreateLink { role };
        self.post(&format!("/api/v1/repls/{repl}/links"), &body).await
    }

    /// One folder's list; the empty path is the top.
    ///
    /// # Errors
    /// See [`Api::templates`].
    pub async fn tree(&self, repl: &str, folder: &str) -> Result<TreeFolder> {
        self.get(&format!("/api/v1/repls/{repl}/tree?dir={}", escape_path(folder))).await
    }

    /// The address of a file.
    pub fn file_path(repl: &str, path: &str) -> String {
        format!("/api/v1/repls/{repl}/files/{}", escape_path(path))
    }

    /// A file's bytes.
    ///
    /// # Errors
    /// See [`Api::templates`].
    pub async fn read(&self, repl: &str, path: &str) -> Result<Vec<u8>> {
        let request = self.request(Method::GET, &Self::file_path(repl, path));
        Ok(succeed(request.send().await?).await?.bytes().await?.to_vec())
    }

    /// A file's text.
    ///
    /// # Errors
    /// See [`Api::templates`]; also when it is not UTF-8.
    pub async fn text(&self, repl: &str, path: &str) -> Result<String> {
        String::from_utf8(self.read(repl, path).await?).context("read a text")
    }

    /// Writes a file.
    ///
    /// # Errors
    /// See [`Api::templates`].
    pub async fn write(&self, repl: &str, path: &str, content: impl Into<Vec<u8>>) -> Result<()> {
        let request = self.request(Method::PUT, &Self::file_path(repl, path)).body(content.into());
        succeed(request.send().await?).await?;
        Ok(())
    }

    /// Moves a file or folder.
    ///
    /// # Errors
    /// See [`Api::templates`].
    pub async fn rename(&self, repl: &str, from: &str, to: &str) -> Result<()> {
        let path = format!("{}?move_to={}", Self::file_path(repl, from), escape_path(to));
        self.done(Method::POST, &path).await
    }

    /// Deletes a file or folder.
    ///
    /// # Errors
    /// See [`Api::templates`].
    pub async fn remove(&self, repl: &str, path: &str) -> Result<()> {
        self.done(Method::DELETE, &Self::file_path(repl, path)).await
    }

    /// Everything about a repl's life.
    ///
    /// # Errors
    /// See [`Api::templates`].
    pub async fn status(&self, repl: &str) -> Result<ReplStatus> {
        self.get(&format!("/api/v1/repls/{repl}/status")).await
    }

    /// Waits until the sandbox is ready.
    ///
    /// # Errors
    /// When it fails or takes too long.
    pub async fn sandbox_ready(&self, repl: &str) -> Result<()> {
        let status = eventually("the sandbox is ready or failed", LIMIT, || async {
            let sandbox = self.status(repl).await?.live.sandbox;
            let settled = matches!(sandbox, SandboxStatus::Ready | SandboxStatus::Failed { .. });
            Ok(settled.then_some(sandbox))
        })
        .await?;
        match status {
            SandboxStatus::Failed { message } => anyhow::bail!("the sandbox failed: {message}"),
            _ => Ok(()),
        }
    }

    /// Presses Run.
    ///
    /// # Errors
    /// See [`Api::templates`].
    pub async fn run(&self, repl: &str, task: Option<&str>) -> Result<RunStarted> {
        let body = RunRequest { task: task.map(str::to_owned) };
        self.post(&format!("/api/v1/repls/{repl}/run"), &body).await
    }

    /// Presses Stop.
    ///
    /// # Errors
    /// See [`Api::templates`].
    pub async fn stop(&self, repl: &str) -> Result<()> {
        self.done(Method::POST, &format!("/api/v1/repls/{repl}/stop")).await
    }

    /// Opens a new shell, and a socket to it.
    ///
    /// # Errors
    /// See [`Api::templates`].
    pub async fn shell(&self, repl: &str) -> Result<TerminalSocket> {
        let body = CreateTerminal { cols: Some(200), rows: Some(40) };
        let terminal: TerminalInfo =
            self.post(&format!("/api/v1/repls/{repl}/terminals"), &body).await?;
        self.terminal(repl, terminal.id.as_str(), None).await
    }

    /// Opens a socket to a terminal, from an absolute offset on.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn terminal(
        &self,
        repl: &str,
        terminal: &str,
        from: Option<u64>,
    ) -> Result<TerminalSocket> {
        let from = from.map_or_else(String::new, |from| format!("?from={from}"));
        let path = format!("/api/v1/repls/{repl}/terminals/{terminal}/ws{from}");
        TerminalSocket::open(self, &path).await
    }

    /// Types one command line into a new shell and returns its output.
    ///
    /// # Errors
    /// See [`TerminalSocket::execute`].
    pub async fn execute(&self, repl: &str, command: &str) -> Result<String> {
        let mut shell = self.shell(repl).await?;
        shell.execute(command).await
    }

    /// Opens our own socket to a repl.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn live(&self, repl: &str) -> Result<LiveSocket> {
        LiveSocket::open(self, repl).await
    }

    /// The web pages a repl serves on a port.
    pub fn preview(&self, repl: &str, port: u16) -> Preview {
        Preview::new(self.port, repl, port)
    }
}

/// Passes a success on; anything else becomes [`Refused`].
async fn succeed(answer: Response) -> Result<Response> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let body = answer.text().await?;
    let problem = serde_json::from_str(&body).ok();
    Err(Refused { status, problem, body }.into())
}

/// Percent-encodes a path, keeping its slashes.
pub(crate) fn escape_path(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
