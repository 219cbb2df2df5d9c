//! A real PostgreSQL server for the length of a test: its own directory, its own socket, no
//! port.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _};

const HELP: &str = "this test starts a real PostgreSQL server and found none: install it \
     (Debian: apt-get install postgresql), its service need not run";

/// A running server; dropping it ends it.
pub(super) struct Postgres {
    server: Child,
    directory: tempfile::TempDir,
    databases: usize,
}

impl Postgres {
    pub(super) async fn start() -> Self {
        let programs = programs().unwrap_or_else(|| panic!("{HELP}"));
        let directory = tempfile::Builder::new().prefix("tandem-pg-").tempdir().unwrap();
        let data = directory.path().join("data");
        let user = Unprivileged::find();
        if let Some(user) = &user {
            std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
            std::os::unix::fs::chown(directory.path(), Some(user.uid), Some(user.gid)).unwrap();
        }
        let made = command(user.as_ref(), &programs.join("initdb"))
            .args(["-U", "tandem", "-A", "trust", "-N", "--no-locale", "-E", "UTF8", "-D"])
            .arg(&data)
            .current_dir("/")
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let server = command(user.as_ref(), &programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(directory.path())
            .args(["-h", "", "-F", "-c", "max_connections=40"])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { server, directory, databases: 0 };
        let limit = Instant::now() + Duration::from_secs(60);
        loop {
            match sqlx::AnyConnection::connect(&server.url("postgres")).await {
                Ok(connection) => {
                    connection.close().await.unwrap();
                    return server;
                }
                Err(error) if Instant::now() > limit => {
                    let log = std::fs::read_to_string(server.directory.path().join("log"));
                    panic!("PostgreSQL does not answer: {error}\n{}", log.unwrap_or_default());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// The URL of a new, empty database.
    pub(super) async fn database(&mut self) -> String {
        self.databases += 1;
        let name = format!("tandem_{}", self.databases);
        let mut connection = sqlx::AnyConnection::connect(&self.url("postgres")).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://tandem@localhost/{database}?host={}", self.directory.path().display())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Immediate shutdown: the server ends its own children.
        let pid = self.server.id().to_string();
        let _ = Command::new("kill").args(["-QUIT", &pid]).status();
        let _ = self.server.wait();
    }
}

/// PostgreSQL refuses to run as root.
struct Unprivileged {
    uid: u32,
    gid: u32,
}

impl Unprivileged {
    /// `None` when this process is not root.
    fn find() -> Option<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let root = status.lines().any(|line| line.starts_with("Uid:\t0\t"));
        if !root {
            return None;
        }
        let users = std::fs::read_to_string("/etc/passwd").unwrap();
        let ids = |name: &str| {
            let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut fields = line.split(':').skip(2);
            Some(Self { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
        };
        Some(ids("postgres").or_else(|| ids("nobody")).expect("a user besides root"))
    }
}

/// A command that ends with this process.
fn command(user: Option<&Unprivileged>, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if let Some(user) = user {
        command.arg(format!("--reuid={}", user.uid));
        command.arg(format!("--regid={}", user.gid));
        command.arg("--clear-groups");
    }
    command.arg(program);
    command
}

/// The folder that holds both `postgres` and `initdb`.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    folders.push("/usr/local/pgsql/bin".into());
    folders
        .into_iter()
        .map(|folder| folder.join("initdb"))
        .filter_map(|initdb| initdb.canonicalize().ok()?.parent().map(Path::to_owned))
        .find(|folder| folder.join("postgres").is_file() && folder.join("initdb").is_file())
}
