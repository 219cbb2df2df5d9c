//! A real S3 server (Versity S3 Gateway) over an empty folder, for tests.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What the server accepts.
pub const ACCESS_KEY: &str = "tandem";
/// See [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "tandem-test-secret";

/// A running server; killed when dropped.
pub struct S3Server {
    child: Child,
    address: SocketAddr,
    home: tempfile::TempDir,
}

/// The server's program: `TANDEM_S3_SERVER`, or where the Makefile builds it.
fn program() -> PathBuf {
    let program = match (std::env::var_os("TANDEM_S3_SERVER"), std::env::var_os("TANDEM_CACHE")) {
        (Some(program), _) => PathBuf::from(program),
        (None, Some(cache)) => PathBuf::from(cache).join("s3/bin/versitygw"),
        (None, None) => {
            let home = std::env::var_os("HOME").unwrap_or_default();
            PathBuf::from(home).join(".cache/tandem/s3/bin/versitygw")
        }
    };
    assert!(
        program.is_file(),
        "there is no S3 server at {}. `make test` builds it; by hand:\n  \
         GOBIN={} CGO_ENABLED=0 go install github.com/versity/versitygw/cmd/versitygw@v1.8.0\n\
         or set TANDEM_S3_SERVER to a versitygw program.",
        program.display(),
        program.parent().unwrap_or(&program).display(),
    );
    program
}

impl S3Server {
    /// Starts one on a free port.
    pub fn start() -> Self {
        let home = tempfile::tempdir().expect("a folder for the S3 server");
        std::fs::create_dir(home.path().join("data")).expect("a data folder");
        for _ in 0..5 {
            // Somebody may take the port between these lines; then the next one.
            let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
            let address = free.expect("a free port");
            if let Some(child) = launch(&home, address) {
                return Self { child, address, home };
            }
        }
        let log = std::fs::read_to_string(home.path().join("log")).unwrap_or_default();
        panic!("the S3 server does not start: {log}");
    }

    /// Its address.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Address of a blob store in `bucket`, with a prefix.
    pub fn url(&self, bucket: &str) -> String {
        format!("s3://{bucket}/a/prefix?endpoint={}&path_style=true", self.endpoint())
    }

    /// Ends it without warning; the data stays.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same port and data.
    pub fn restart(&mut self) {
        self.child = launch(&self.home, self.address).expect("the S3 server starts again");
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(home: &tempfile::TempDir, address: SocketAddr) -> Option<Child> {
    let log = std::fs::File::create(home.path().join("log")).expect("a log file");
    let mut child = Command::new(program())
        .args(["--port", &address.to_string(), "--health", "/health", "posix"])
        .arg(home.path().join("data"))
        .env("ROOT_ACCESS_KEY", ACCESS_KEY)
        .env("ROOT_SECRET_KEY", SECRET_KEY)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log file"))
        .stderr(log)
        .spawn()
        .expect("the S3 server runs");
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if healthy(address) {
            return Some(child);
        }
        if child.try_wait().expect("the S3 server's state").is_some() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn healthy(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: s3\r\nConnection: close\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    ask().is_ok_and(|answer| answer.ends_with("200"))
}
