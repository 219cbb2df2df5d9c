//! The privileged half of the server: a small process that started as root.
//!
//! `tandem serve` started as root has one thread when it calls [`start_and_drop`]: that starts
//! the same executable again as `tandem launch`, with one end of a socket pair as its standard
//! input, and gives up root's rights before anything from outside is read. The launcher takes a
//! closed set of requests that name sandboxes by id; it reads nothing that users wrote, and ends
//! when the server closes its end. Sandboxes go on: the next server's launcher finds them by
//! their records.

mod cgroup;
mod client;
mod disk;
mod message;
mod network;
mod probe;
mod serve;
mod steps;

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

pub use self::client::LauncherClient;
use self::message::{Answer, Greeting, NetworkSetup, Received, Response, Setup, receive, send};
use crate::bubblewrap::find;
use crate::bubblewrap::tools::Tools;
use crate::driver::{SandboxConfig, SandboxError};
use crate::uids::SANDBOX_UIDS;

/// The hidden subcommand that must call [`run`].
pub const SUBCOMMAND: &str = "launch";
/// Where the launcher puts what sandboxes are made of, in its own mount namespace.
const LAUNCHER_STAGE: &str = "/run/tandem-launcher";
/// The server's own user id when no user is named.
const SERVER_UID: u32 = SANDBOX_UIDS.0 - 1;
/// A request takes milliseconds; a machine under load may need long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What `tandem launch` does: serves the server at the other end of standard input until that
/// closes it.
///
/// # Errors
/// When it is not root, or cannot set itself up.
pub fn run() -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the launcher is started by `tandem serve` as root, not by hand",
        ));
    }
    serve::serve(io::stdin().as_fd())
}

/// Called by the server at its start, while it has one thread. As root: starts the launcher
/// (`program launch`; this same executable when absent), hands the data directory to `user` (a
/// name or a number; a user id of its own when absent) and gives up root's rights for good.
/// Otherwise does nothing and returns `None`.
///
/// # Errors
/// When the launcher cannot be started or the rights cannot be given up; the process must end.
pub fn start_and_drop(
    config: &SandboxConfig,
    user: Option<&str>,
    program: Option<&Path>,
) -> Result<Option<Arc<LauncherClient>>, SandboxError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    one_thread()?;
    let bubblewrap = find::bubblewrap()?;
    let agent = find::agent(config.agent.as_deref())?;
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    let tools = Tools::discover(&config.toolchains, &search_path);
    let (uid, gid) = user_ids(user)?;
    let data_dir = hand_over(&config.data_dir, uid, gid)?;

    let setup = Setup {
        data_dir: data_dir.clone(),
        server_uid: uid,
        server_gid: gid,
        bubblewrap,
        agent,
        tools: tools.clone(),
        uids: SANDBOX_UIDS,
        egress: config.egress.clone(),
    };
    let (server, process) = start(program, &Greeting::Sandboxes(Box::new(setup)))?;
    become_server(&data_dir, (uid, gid), &[])?;
    Ok(Some(Arc::new(LauncherClient::new(server, process, tools))))
}

/// Starts the launcher and tells it what it is for.
fn start(program: Option<&Path>, greeting: &Greeting) -> Result<(OwnedFd, Child), SandboxError> {
    let program = match program {
        Some(program) => program.to_owned(),
        None => std::env::current_exe()
            .map_err(SandboxError::io("cannot find the server's executable"))?,
    };
    let (server, launcher) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|error| SandboxError::io("cannot make the launcher's socket")(error.into()))?;
    let process = Command::new(&program)
        .arg(SUBCOMMAND)
        // The server's environment may hold credentials.
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(launcher)
        .stdout(Stdio::null())
        .spawn()
        .map_err(SandboxError::io("cannot start the launcher"))?;
    greet(&server, greeting)?;
    Ok((server, process))
}

/// [`start_and_drop`] for drivers that need no launcher to make sandboxes: as root, hands the data
/// directory over and gives up root's rights for good, all but the use of `socket` through the
/// group it belongs to; otherwise does nothing. Where sandboxes are to have a network, a launcher
/// is started for that alone.
///
/// # Errors
/// When the rights cannot be given up; the process must end.
pub fn drop_rights(
    config: &SandboxConfig,
    user: Option<&str>,
    socket: Option<&Path>,
) -> Result<Option<Arc<LauncherClient>>, SandboxError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    one_thread()?;
    let (uid, gid) = user_ids(user)?;
    let data_dir = hand_over(&config.data_dir, uid, gid)?;
    let greeting = config.egress.clone().map(|egress| Greeting::Network(NetworkSetup { egress }));
    let launcher = greeting.map(|greeting| start(None, &greeting)).transpose()?;
    let groups: Vec<u32> = socket.and_then(group_of).into_iter().collect();
    become_server(&data_dir, (uid, gid), &groups)?;
    Ok(launcher
        .map(|(server, process)| Arc::new(LauncherClient::new(server, process, Tools::default()))))
}

/// Who may use a socket besides root: the group it has, or, while it is not there, the one that
/// Docker gives it.
fn group_of(socket: &Path) -> Option<u32> {
    let group = match fs::metadata(socket) {
        Ok(found) if found.mode() & 0o060 == 0o060 => Some(found.gid()),
        Ok(_) => None,
        Err(_) => fs::read_to_string("/etc/group").unwrap_or_default().lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == "docker").then(|| fields.nth(1)?.parse().ok())?
        }),
    };
    // Root's own group opens more than a socket.
    group.filter(|group| *group != 0)
}

/// Gives up root's rights, and makes sure that the server can still work.
fn become_server(
    data_dir: &Path,
    (uid, gid): (u32, u32),
    groups: &[u32],
) -> Result<(), SandboxError> {
    steps::become_user(uid, gid, groups)
        .map_err(SandboxError::io("cannot give up root's rights"))?;
    fs::read_dir(data_dir).map(|_| ()).map_err(|error| SandboxError::Unusable {
        problem: format!(
            "the server runs as user {uid} and cannot reach {}: {error}",
            data_dir.display()
        ),
        remedy: "Choose a --data-dir that is not inside a private home folder, such as \
                 /var/lib/tandem."
            .into(),
    })
}

/// Tells the launcher what it needs, and waits until it is ready.
fn greet(server: &OwnedFd, greeting: &Greeting) -> Result<(), SandboxError> {
    let failed = |error: io::Error| SandboxError::Launcher(error.to_string());
    rustix::net::sockopt::set_socket_timeout(
        server.as_fd(),
        rustix::net::sockopt::Timeout::Recv,
        Some(ANSWER_TIMEOUT),
    )
    .map_err(|error| failed(error.into()))?;
    send(server, greeting).map_err(failed)?;
    match receive::<Answer>(server).map_err(failed)? {
        Received::Message(Answer { response: Response::Done, .. }) => Ok(()),
        Received::Message(Answer { response: Response::Failed(reason), .. }) => {
            Err(SandboxError::Unusable {
                problem: format!("the launcher does not start: {reason}"),
                remedy: "It needs the rights of a real root. In a container without them, use \
                         --sandbox=docker, or start the server as an ordinary user."
                    .into(),
            })
        }
        _ => Err(SandboxError::Launcher("it ended while it started".into())),
    }
}

/// The rights of a process are those of its threads, and they are given up one by one.
fn one_thread() -> Result<(), SandboxError> {
    let threads = fs::read_dir("/proc/self/task")
        .map_err(SandboxError::io("cannot look at this process's threads"))?
        .count();
    if threads == 1 {
        Ok(())
    } else {
        Err(SandboxError::Invalid(format!("root's rights are given up by {threads} threads")))
    }
}

/// A user's ids by name or number. Never root's.
fn user_ids(user: Option<&str>) -> Result<(u32, u32), SandboxError> {
    let Some(user) = user else { return Ok((SERVER_UID, SERVER_UID)) };
    let unusable = |problem: String| SandboxError::Unusable {
        problem,
        remedy: "Name an existing user other than root, or none.".into(),
    };
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid: u32 = fields.nth(1)?.parse().ok()?;
        let gid: u32 = fields.next()?.parse().ok()?;
        (name == user || uid.to_string() == user).then_some((uid, gid))
    });
    let number = || user.parse().ok().map(|number: u32| (number, number));
    match ids.or_else(number) {
        Some((uid, gid)) if uid != 0 && gid != 0 => Ok((uid, gid)),
        Some(_) => Err(unusable(format!("the user {user} is root"))),
        None => Err(unusable(format!("there is no user {user}"))),
    }
}

/// Gives the data directory to the server's user if it is new or empty, and refuses to take
/// over anything else.
fn hand_over(data_dir: &Path, uid: u32, gid: u32) -> Result<PathBuf, SandboxError> {
    let action = format!("cannot use the data directory {}", data_dir.display());
    let io = |error| SandboxError::io(action.clone())(error);
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o755);
    if let Some(parent) = data_dir.parent() {
        builder.create(parent).map_err(io)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(data_dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io(error)),
        _ => {}
    }
    let data_dir = data_dir.canonicalize().map_err(io)?;
    let owner = fs::metadata(&data_dir).map_err(io)?.uid();
    if owner == uid {
        return Ok(data_dir);
    }
    // The top of a filesystem has this one.
    let is_new = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name() == "lost+found")
    };
    let is_empty = fs::read_dir(&data_dir).map_err(io)?.all(is_new);
    if !is_empty {
        return Err(SandboxError::Unusable {
            problem: format!(
                "the data directory {} belongs to user {owner} and is not empty",
                data_dir.display()
            ),
            remedy: format!(
                "The server runs as user {uid}: give it another directory, or this one with \
                 `chown -R {uid}:{gid} {}`.",
                data_dir.display()
            ),
        });
    }
    chown(&data_dir, Some(uid), Some(gid)).map_err(io)?;
    Ok(data_dir)
}
