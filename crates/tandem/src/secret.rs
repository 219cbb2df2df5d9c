//! Secrets that are made once and kept in the data directory, readable by the server only.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Reads a secret, or makes it: 32 random bytes as base64url.
pub fn load_or_make(path: &Path) -> anyhow::Result<String> {
    let show = || path.display().to_string();
    match OpenOptions::new().read(true).open(path) {
        Ok(mut file) => {
            let mut text = String::new();
            file.read_to_string(&mut text).with_context(|| format!("cannot read {}", show()))?;
            let text = text.trim().to_owned();
            anyhow::ensure!(
                text.len() >= 16,
                "{} is damaged; remove it to have a new one made",
                show()
            );
            return Ok(text);
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", show())),
    }
    let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .with_context(|| format!("cannot write {}", fresh.display()))?;
    file.write_all(secret.as_bytes()).and_then(|()| file.sync_all())?;
    std::fs::rename(&fresh, path).with_context(|| format!("cannot write {}", show()))?;
    Ok(secret)
}

/// The 32 bytes of a secret that [`load_or_make`] made.
pub fn bytes(secret: &str) -> anyhow::Result<[u8; 32]> {
    let bytes = URL_SAFE_NO_PAD.decode(secret).context("a stored key is damaged")?;
    bytes.try_into().map_err(|_| anyhow::anyhow!("a stored key has the wrong length"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_secret_is_made_once_and_only_for_us() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let first = load_or_make(&path).unwrap();
        assert_eq!(load_or_make(&path).unwrap(), first);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(bytes(&first).unwrap().len(), 32);
        std::fs::write(&path, "x").unwrap();
        assert!(load_or_make(&path).is_err());
    }
}
