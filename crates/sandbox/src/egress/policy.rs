//! Who may reach what, as the operator says it: in options at the start, and live in a file of
//! the data directory that `tandem egress` writes.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tandem_proto::ReplId;
use tandem_proto::egress::EgressMode;

/// The file's name in the data directory.
const FILE: &str = "egress.json";
/// About 20,000 repls with a mode of their own.
const MAX_FILE_BYTES: u64 = 1 << 20;
const MAX_NAME_BYTES: usize = 253;

/// Why a policy cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read or written.
    #[error("cannot use {FILE} in the data directory: {0}")]
    Io(#[from] io::Error),
    /// What it holds is no policy.
    #[error("{FILE} in the data directory is not valid: {0}")]
    Malformed(String),
}

/// See the module. What is not said here is as the options say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressPolicy {
    /// Of all repls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<EgressMode>,
    /// The hosts of the mode "allow-list".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<HostPattern>>,
    /// Repls with a mode of their own, which never gives more than that of all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub repls: BTreeMap<ReplId, EgressMode>,
}

impl EgressPolicy {
    /// Reads the file; no file says nothing.
    ///
    /// # Errors
    /// When there is one that cannot be used. Whoever asks must not then allow anything.
    pub fn load(data_dir: &Path) -> Result<Self, PolicyError> {
        let path = data_dir.join(FILE);
        let found = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            found => found?,
        };
        if found.len() > MAX_FILE_BYTES {
            return Err(PolicyError::Malformed("it is too large".into()));
        }
        serde_json::from_slice(&fs::read(path)?)
            .map_err(|error| PolicyError::Malformed(error.to_string()))
    }

    /// Writes the file whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, data_dir: &Path) -> Result<(), PolicyError> {
        let draft = data_dir.join(".egress.json.new");
        let mut file = fs::File::create(&draft)?;
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        file.write_all(&text)?;
        file.sync_all()?;
        Ok(fs::rename(draft, data_dir.join(FILE))?)
    }

    /// When the file was written last; by this a reader sees that it was written again.
    pub(super) fn changed(data_dir: &Path) -> Option<SystemTime> {
        fs::metadata(data_dir.join(FILE)).and_then(|found| found.modified()).ok()
    }

    /// What one repl may reach when all may reach `all` by the options.
    pub(super) fn mode_of(&self, repl: ReplId, all: EgressMode) -> EgressMode {
        let all = self.mode.unwrap_or(all);
        self.repls.get(&repl).map_or(all, |own| all.min(*own))
    }
}

/// `example.org`, or `*.example.org` for every name below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern(String);

impl HostPattern {
    /// `name` in lower case, without a dot at its end.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self.0.strip_prefix('*') {
            Some(below) => name.len() > below.len() && name.ends_with(below),
            None => name == self.0,
        }
    }
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().to_ascii_lowercase();
        let name = text.strip_prefix("*.").unwrap_or(&text);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.len() > MAX_NAME_BYTES || !name.split('.').all(is_label) {
            return Err(format!("{text} is not a host such as example.org or *.example.org"));
        }
        Ok(Self(text))
    }
}

impl TryFrom<String> for HostPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let exact: HostPattern = "PyPI.org".parse().unwrap();
        let below: HostPattern = "*.pythonhosted.org".parse().unwrap();
        assert!(exact.matches("pypi.org") && !exact.matches("evilpypi.org"));
        assert!(!exact.matches("pypi.org.evil.net") && !exact.matches("www.pypi.org"));
        assert!(below.matches("files.pythonhosted.org") && below.matches("a.b.pythonhosted.org"));
        assert!(!below.matches("pythonhosted.org") && !below.matches("evilpythonhosted.org"));
        for wrong in ["", "*", "*.", "a..b", "a b", "https://x.org", "*.*.org", "x.org/y"] {
            assert!(wrong.parse::<HostPattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_repl_never_gets_more_than_all() {
        let repl = ReplId::from_random([1; 10]);
        let mut policy = EgressPolicy::default();
        assert_eq!(policy.mode_of(repl, EgressMode::Open), EgressMode::Open);
        policy.repls.insert(repl, EgressMode::None);
        assert_eq!(policy.mode_of(repl, EgressMode::Open), EgressMode::None);
        policy.repls.insert(repl, EgressMode::Open);
        policy.mode = Some(EgressMode::AllowList);
        assert_eq!(policy.mode_of(repl, EgressMode::Open), EgressMode::AllowList);
    }

    #[test]
    fn it_is_kept_and_damage_is_said() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(EgressPolicy::load(folder.path()).unwrap(), EgressPolicy::default());
        let policy = EgressPolicy {
            mode: Some(EgressMode::AllowList),
            allow: Some(vec!["*.example.org".parse().unwrap()]),
            repls: [(ReplId::from_random([1; 10]), EgressMode::None)].into(),
        };
        policy.save(folder.path()).unwrap();
        assert_eq!(EgressPolicy::load(folder.path()).unwrap(), policy);
        for wrong in ["", "{\"mode\": \"all\"}", "{\"repls\": {\"x\": \"open\"}}", "{\"a\": 1}"] {
            fs::write(folder.path().join(FILE), wrong).unwrap();
            assert!(EgressPolicy::load(folder.path()).is_err(), "{wrong}");
        }
    }
}
