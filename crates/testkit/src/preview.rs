//! The web pages that a repl serves, as a browser reaches them.

use anyhow::Result;
use reqwest::{Method, RequestBuilder};

use crate::{LIMIT, Socket, eventually};

/// One port of one repl.
#[derive(Debug, Clone)]
pub struct Preview {
    server_port: u16,
    host: String,
    http: reqwest::Client,
}

impl Preview {
    pub(crate) fn new(server_port: u16, repl: &str, port: u16) -> Self {
        let host = format!("{port}-{repl}.localhost:{server_port}");
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap_or_default();
        Self { server_port, host, http }
    }

    /// Its Host header.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A request; `path` begins with `/`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("http://127.0.0.1:{}{path}", self.server_port))
            .header("host", &self.host)
    }

    /// Asks for `path` until it answers 200, and returns the body.
    ///
    /// # Errors
    /// When it never does.
    pub async fn page(&self, path: &str) -> Result<String> {
        eventually("the preview answers 200", LIMIT, || async {
            let answer = self.request(Method::GET, path).send().await?;
            if answer.status() != 200 {
                anyhow::bail!("{} {}", answer.status(), answer.text().await?);
            }
            Ok(Some(answer.text().await?))
        })
        .await
    }

    /// Opens a WebSocket.
    ///
    /// # Errors
    /// When the program refuses it.
    pub async fn websocket(&self, path: &str) -> Result<Socket> {
        Socket::open(self.server_port, &self.host, path, &[]).await
    }
}
