//! What is kept on disk of a running sandbox, so that the next server finds it.
//!
//! Layout below the data directory: `sandboxes/ID/record.json`, `sandboxes/ID/socket/` (bound
//! into the sandbox), and where the home folder is kept: `home/` or `home.img`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tandem_proto::{ReplId, SandboxId};

use crate::driver::LimitsInForce;
use crate::identity::ProcessIdentity;

const VERSION: u32 = 1;
const FILE: &str = "record.json";
/// A record is about 600 bytes.
const MAX_RECORD_BYTES: u64 = 64 * 1024;

/// A running sandbox as the next server must know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) sandbox: SandboxId,
    pub(crate) repl: ReplId,
    /// [`crate::SandboxDriver::name`].
    pub(crate) driver: String,
    /// First process of its pid namespace; when it ends, all end.
    pub(crate) agent: ProcessIdentity,
    /// Its user id on the host.
    pub(crate) uid: u32,
    /// Process ids mean nothing after a reboot.
    pub(crate) boot: String,
    pub(crate) limits_in_force: LimitsInForce,
    /// Its control groups.
    #[serde(default)]
    pub(crate) cgroups: Vec<PathBuf>,
}

impl Record {
    pub(crate) fn of(sandbox: SandboxId, repl: ReplId, driver: &str) -> RecordBuilder {
        RecordBuilder { sandbox, repl, driver: driver.to_owned() }
    }

    /// Writes it so that a crash of the server leaves the old or the new one. After a crash of
    /// the machine it means nothing, so it is not forced to the disk.
    pub(crate) fn save(&self, folder: &Path) -> io::Result<()> {
        let draft = folder.join(".record.new");
        let mut file = fs::File::create(&draft)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(draft, folder.join(FILE))
    }

    /// Reads one; `None` when there is none or it says nothing to us.
    pub(crate) fn load(folder: &Path) -> Option<Self> {
        let path = folder.join(FILE);
        let known = fs::symlink_metadata(&path).ok()?;
        if !known.is_file() || known.len() > MAX_RECORD_BYTES {
            return None;
        }
        let record: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (record.version == VERSION).then_some(record)
    }

    /// Whether its agent still runs.
    pub(crate) fn is_alive(&self) -> bool {
        self.boot == boot_id() && self.agent.is_alive()
    }
}

/// The parts of a record that are known before a start.
#[derive(Debug)]
pub(crate) struct RecordBuilder {
    sandbox: SandboxId,
    repl: ReplId,
    driver: String,
}

impl RecordBuilder {
    pub(crate) fn started(
        self,
        agent: ProcessIdentity,
        uid: u32,
        limits_in_force: LimitsInForce,
    ) -> Record {
        Record {
            version: VERSION,
            sandbox: self.sandbox,
            repl: self.repl,
            driver: self.driver,
            agent,
            uid,
            boot: boot_id(),
            limits_in_force,
            cgroups: Vec::new(),
        }
    }
}

/// Different after every reboot.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The folder of all sandboxes.
pub(crate) fn sandboxes(data_dir: &Path) -> PathBuf {
    data_dir.join("sandboxes")
}

/// The folders of sandboxes that are there, by id.
pub(crate) fn list(sandboxes: &Path) -> io::Result<Vec<(SandboxId, PathBuf)>> {
    let entries = match fs::read_dir(sandboxes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            found.push((id, entry.path()));
        }
    }
    Ok(found)
}

/// Removes a folder in which user code may have taken away its own rights. Nothing may run in
/// it any more.
pub(crate) fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            grant_back(folder)?;
            fs::remove_dir_all(folder)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn grant_back(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_round_trips_and_nonsense_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Record::load(folder.path()), None);
        let own = ProcessIdentity::of(std::process::id() as i32).unwrap();
        let (sandbox, repl) = (SandboxId::from_random([1; 10]), ReplId::from_random([2; 10]));
        let record =
            Record::of(sandbox, repl, "bubblewrap").started(own, 7, LimitsInForce::default());
        record.save(folder.path()).unwrap();
        assert_eq!(Record::load(folder.path()).as_ref(), Some(&record));
        assert!(record.is_alive());
        assert!(!Record { boot: "another".into(), ..record.clone() }.is_alive());
        Record { version: 9, ..record }.save(folder.path()).unwrap();
        assert_eq!(Record::load(folder.path()), None);
        fs::write(folder.path().join(FILE), b"{").unwrap();
        assert_eq!(Record::load(folder.path()), None);
    }

    #[test]
    fn folders_without_rights_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("home");
        fs::create_dir_all(folder.join("a/b")).unwrap();
        fs::write(folder.join("a/b/file"), b"x").unwrap();
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder.join("a"), fs::Permissions::from_mode(0o000)).unwrap();
        remove_folder(&folder).unwrap();
        assert!(!folder.exists());
        remove_folder(&folder).unwrap();
    }
}
