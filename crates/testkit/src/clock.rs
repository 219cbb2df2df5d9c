//! A wall clock that jumps, for one server: a small library in front of the C library's clock,
//! compiled when a test wants it. The clocks that only go on are left alone, and so are those of
//! everybody else on the machine.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// See the module; ends when dropped.
pub struct JumpingClock {
    folder: TempDir,
}

impl JumpingClock {
    /// Compiles it; it shows the right time.
    ///
    /// # Errors
    /// When there is no C compiler.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tandem-clock-").tempdir()?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let source = folder.path().join("clock.c");
        std::fs::write(&source, include_str!("clock.c"))?;
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(folder.path().join("clock.so"))
            .arg(&source)
            .stdin(Stdio::null())
            .output()
            .context("start the C compiler")?;
        ensure!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let clock = Self { folder };
        clock.jump(0)?;
        std::fs::set_permissions(clock.file(), std::fs::Permissions::from_mode(0o644))?;
        Ok(clock)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("moved")
    }

    /// Shows the right time moved by so many seconds, from now on.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn jump(&self, seconds: i64) -> Result<()> {
        use std::io::Write as _;
        // In place: the server has this very file in its memory.
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.file())?;
        Ok(file.write_all(&seconds.to_ne_bytes())?)
    }

    /// Variables for the server.
    pub fn env(&self) -> Vec<(String, String)> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        vec![
            ("LD_PRELOAD".to_owned(), path("clock.so")),
            ("TANDEM_TEST_CLOCK".to_owned(), path("moved")),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_given_it_sees_the_jump() -> Result<()> {
        let clock = JumpingClock::new()?;
        let year = || -> Result<String> {
            let output = Command::new("date").arg("+%Y").envs(clock.env()).output()?;
            Ok(String::from_utf8(output.stdout)?.trim().to_owned())
        };
        let now = year()?;
        clock.jump(400 * 86_400)?;
        assert_ne!(year()?, now);
        clock.jump(0)?;
        assert_eq!(year()?, now);
        Ok(())
    }
}
