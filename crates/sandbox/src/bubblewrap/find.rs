//! What a launch needs from this machine, or how to get it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::driver::SandboxError;

/// The first version with `--disable-userns` and `--size`.
const MIN_VERSION: (u32, u32) = (0, 8);
const AGENT_NAME: &str = "tandem-agent";
const MAX_VARIABLES: usize = 64;
const MAX_VARIABLE_BYTES: usize = 4096;

/// The first program of this name in PATH.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    // A service's PATH may leave out where system programs are.
    folders.extend(["/usr/bin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// bubblewrap, new enough.
pub(crate) fn bubblewrap() -> Result<PathBuf, SandboxError> {
    let unusable = |problem: String| SandboxError::Unusable {
        problem,
        remedy: "Install bubblewrap 0.8 or newer (Debian 12, Ubuntu 24.04: `apt-get install \
                 bubblewrap`)."
            .into(),
    };
    let path = in_path("bwrap").ok_or_else(|| unusable("bubblewrap is not installed".into()))?;
    let version = bubblewrap_version(&path)
        .ok_or_else(|| unusable(format!("{} does not tell its version", path.display())))?;
    if version < MIN_VERSION {
        let (major, minor) = version;
        return Err(unusable(format!("bubblewrap {major}.{minor} is too old")));
    }
    Ok(path)
}

pub(crate) fn bubblewrap_version(path: &Path) -> Option<(u32, u32)> {
    let output = Command::new(path).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.trim().rsplit(' ').next()?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The agent's executable: the configured one, or the one beside the server's own.
pub(crate) fn agent(configured: Option<&Path>) -> Result<PathBuf, SandboxError> {
    let remedy = "Build it with `cargo build -p tandem-agent`, put it beside the server's \
                  executable, or name it in the configuration (`sandbox.agent`).";
    let unusable = |problem: String| SandboxError::Unusable { problem, remedy: remedy.into() };
    let path = match configured {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()
            .map_err(|error| unusable(format!("the server does not find itself: {error}")))?
            .with_file_name(AGENT_NAME),
    };
    let path = path
        .canonicalize()
        .map_err(|error| unusable(format!("there is no agent at {}: {error}", path.display())))?;
    let is_program = path
        .metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if is_program {
        Ok(path)
    } else {
        Err(unusable(format!("{} is not a program", path.display())))
    }
}

/// Whether an ELF program needs no dynamic loader.
pub(crate) fn is_static(program: &Path) -> bool {
    const PT_INTERP: u32 = 3;
    let Ok(bytes) = fs::read(program) else { return false };
    let number = |at: usize, size: usize| -> Option<u64> {
        let bytes = bytes.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    // 64 bits, little-endian: all that Tandem is built for.
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return false;
    }
    let (Some(table), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2))
    else {
        return false;
    };
    (0..count).all(|index| {
        let at = table.saturating_add(index.saturating_mul(size));
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        number(at, 4).is_some_and(|kind| kind != u64::from(PT_INTERP))
    })
}

/// A folder only this user reaches.
pub(crate) fn make_private_folder(folder: &Path) -> Result<(), SandboxError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(SandboxError::io(format!("cannot make {}", folder.display())))
}

/// The folder of a new sandbox and of its socket.
pub(crate) fn make_sandbox_folder(folder: &Path) -> Result<(), SandboxError> {
    let make = |folder: &Path| DirBuilder::new().mode(0o700).create(folder);
    match make(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(SandboxError::Exists),
        made => made
            .and_then(|()| make(&folder.join("socket")))
            // The agent's uid is another one under a launcher.
            .and_then(|()| {
                fs::set_permissions(folder.join("socket"), Permissions::from_mode(0o711))
            })
            .map_err(SandboxError::io("cannot make the sandbox's folder")),
    }
}

/// Variables become arguments of bubblewrap, so their shape is checked.
pub(crate) fn check_environment(env: &[(String, String)]) -> Result<(), SandboxError> {
    let is_name = |name: &str| {
        let mut characters = name.chars();
        characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if env.len() > MAX_VARIABLES {
        return Err(SandboxError::Invalid("too many environment variables".into()));
    }
    for (name, value) in env {
        let fits = name.len() + value.len() <= MAX_VARIABLE_BYTES && !value.contains('\0');
        // Those that the drivers set say who the sandbox is.
        let is_ours = name.starts_with("TANDEM_");
        if !is_name(name) || !fits || is_ours {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(SandboxError::Invalid(format!(
                "the environment variable \"{shown}\" is not valid"
            )));
        }
    }
    Ok(())
}

/// Memory of this machine.
pub(crate) fn total_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_checked() {
        let one = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
        assert!(check_environment(&one("PORT", "3000")).is_ok());
        for (name, value) in
            [("", "x"), ("A=B", "x"), ("9A", "x"), ("TANDEM_SANDBOX", "x"), ("A", "x\0y")]
        {
            assert!(check_environment(&one(name, value)).is_err(), "{name:?}={value:?}");
        }
        assert!(check_environment(&one("A", &"x".repeat(5000))).is_err());
        assert!(check_environment(&vec![("A".into(), "b".into()); 65]).is_err());
    }

    #[test]
    fn programs_are_told_apart() {
        assert!(!is_static(Path::new("/bin/sh")) || cfg!(target_env = "musl"));
        assert!(!is_static(Path::new("/etc/passwd")));
        assert!(agent(Some(Path::new("/no/such/agent"))).is_err());
        assert!(agent(Some(Path::new("/etc/passwd"))).is_err());
    }

    #[test]
    fn memory_is_known() {
        assert!(total_memory().is_some_and(|bytes| bytes > 1 << 26));
    }
}
