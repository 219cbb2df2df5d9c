//! The socket that belongs to one sandbox: arriving there as its recorded process *is* the
//! identity.
//!
//! The kernel translates SO_PEERCRED to the reader's namespaces at the time it is read, so a
//! server in the namespaces that started the sandbox sees its outer pid and uid, whatever the
//! sandbox maps them to inside. User code inside may connect too (it sees the same directory),
//! but never with the pid of the agent, which is the first process of its pid namespace.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use tandem_proto::agent::SOCKET_NAME;
use tokio::net::{UnixListener, UnixStream};

use crate::identity::ProcessIdentity;

/// Who may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The agent.
    pub(crate) process: ProcessIdentity,
    /// The user id it runs under, as this process sees it.
    pub(crate) uid: u32,
}

impl Peer {
    /// Whether the other end of a connection is this process.
    pub(super) fn is(&self, socket: &UnixStream) -> bool {
        let Ok(found) = socket.peer_cred() else { return false };
        found.uid() == self.uid && found.pid() == Some(self.process.pid) && self.process.is_alive()
    }
}

/// Listens in `directory`, replacing the socket of an earlier server.
///
/// The socket is open to every uid: who reaches the directory is decided by the directory above
/// it (mode 700) and by what is bound into the sandbox; who may speak, by [`Peer`].
pub(crate) fn listen(directory: &Path) -> io::Result<UnixListener> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::PATH | OFlags::CLOEXEC;
    let folder = rustix::fs::open(directory, flags, Mode::empty())?;
    // Through the descriptor, because a socket's address holds only 107 bytes.
    let address = format!("/proc/self/fd/{}/{SOCKET_NAME}", folder.as_raw_fd());
    match fs::remove_file(&address) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&address)?;
    fs::set_permissions(&address, Permissions::from_mode(0o666))?;
    Ok(listener)
}
