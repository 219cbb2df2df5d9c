//! Network namespaces: making one, and working inside one.
//!
//! A thread has a network namespace, so all work is done by threads of their own that end before
//! these functions return.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::os;

const OWN: &str = "/proc/thread-self/ns/net";

/// A new network namespace. It lives as long as the descriptor, or anything in it.
///
/// # Errors
/// When the system refuses; it takes root's rights.
pub fn make() -> io::Result<OwnedFd> {
    on_a_thread(|| {
        os::unshare(UnshareFlags::NEWNET)?;
        Ok(File::open(OWN)?.into())
    })
}

/// The one of the calling thread.
///
/// # Errors
/// When the system refuses.
pub fn own() -> io::Result<OwnedFd> {
    Ok(File::open(OWN)?.into())
}

/// Does something inside a network namespace. Sockets made there stay there.
///
/// # Errors
/// When the namespace cannot be entered.
pub fn within<T: Send>(
    namespace: impl AsFd + Sync,
    work: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    on_a_thread(|| {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(work())
    })
}

/// Tells namespaces apart.
///
/// # Errors
/// When the descriptor cannot be asked.
pub fn identity(namespace: impl AsFd) -> io::Result<(u64, u64)> {
    let found = rustix::fs::fstat(namespace)?;
    Ok((found.st_dev, found.st_ino))
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
