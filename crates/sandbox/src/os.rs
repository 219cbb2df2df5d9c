//! The few system calls for which safe Rust has no words.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::FdFlags;
use tokio::io::unix::AsyncFd;

/// Has `prepare` run in the child between fork and exec, after its standard descriptors are set.
///
/// Where the caller has more than one thread, `prepare` must only make system calls: it may not
/// allocate, lock, or panic, since another thread may have held a lock when this one forked.
pub(crate) fn before_exec<F>(command: &mut Command, prepare: F)
where
    F: FnMut() -> io::Result<()> + Send + Sync + 'static,
{
    // SAFETY: the contract above is the one of `pre_exec`; both callers are in this crate: the
    // launcher has one thread, and the other only makes system calls.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// Marks every descriptor above standard error to be closed by exec, except `keep`.
///
/// bubblewrap passes on what it inherits, so whatever this process itself inherited without a
/// close-on-exec flag would end up inside.
pub(crate) fn close_all_but(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    // SAFETY: marks descriptors only; none is closed here, so no owner is left with a closed one.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3 as libc::c_uint,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    for fd in keep {
        rustix::io::fcntl_setfd(fd, FdFlags::empty())?;
    }
    Ok(())
}

/// Has the runtime watch a descriptor.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by the `AsyncFd` and stays the same until that is dropped.
    Ok(unsafe { AsyncFd::register(fd) }?)
}
