//! The `/etc` of a sandbox: made afresh, with only what programs need.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The host name inside.
pub(crate) const HOST_NAME: &str = "tandem";

const FILES: &[(&str, &str)] = &[
    (
        "passwd",
        "root:x:0:0:root:/:/usr/sbin/nologin\n\
         runner:x:1000:1000:runner:/home/runner:/bin/bash\n\
         nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    ),
    ("group", "root:x:0:\ntty:x:5:\nrunner:x:1000:\nnogroup:x:65534:\n"),
    ("hosts", "127.0.0.1 localhost tandem\n::1 localhost ip6-localhost ip6-loopback\n"),
    ("hostname", "tandem\n"),
    ("host.conf", "multi on\n"),
    ("resolv.conf", "# This sandbox has no network but its own loopback interface.\n"),
    (
        "nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    ),
    ("shells", "/bin/sh\n/bin/bash\n"),
    (
        "profile",
        "# The PATH of a sandbox is set already; a login shell keeps it.\n\
         [ -z \"${BASH_VERSION-}\" ] || [ ! -r /etc/bash.bashrc ] || . /etc/bash.bashrc\n",
    ),
    (
        "bash.bashrc",
        "case $- in *i*) ;; *) return ;; esac\n\
         shopt -s checkwinsize\n\
         PS1='\\[\\e[32m\\]\\w\\[\\e[0m\\] \\$ '\n\
         alias ls='ls --color=auto' grep='grep --color=auto'\n",
    ),
    (
        "inputrc",
        "set enable-bracketed-paste on\nset colored-stats on\n\"\\e[A\": history-search-backward\n\"\\e[B\": history-search-forward\n",
    ),
];

/// Shown from this machine where they exist; none holds a secret.
const SHARED: &[&str] = &[
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "debian_version",
    "fonts",
    "java",
    "java-8-openjdk",
    "java-11-openjdk",
    "java-17-openjdk",
    "java-21-openjdk",
    "java-25-openjdk",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "lsb-release",
    "magic",
    "mime.types",
    "os-release",
    "pki/ca-trust/extracted",
    "pki/tls/certs",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
];

/// A made `/etc`.
#[derive(Debug, Clone)]
pub(crate) struct Etc {
    /// What is bound at `/etc`.
    pub(crate) folder: PathBuf,
    /// Parts of this machine's `/etc` bound over it, relative.
    pub(crate) shared: Vec<&'static str>,
}

impl Etc {
    /// Writes it into `folder`, readable by everyone.
    pub(crate) fn make(folder: &Path) -> io::Result<Self> {
        make_folder(folder)?;
        for (name, text) in FILES {
            write(&folder.join(name), text)?;
        }
        let mut shared = Vec::new();
        for name in SHARED {
            let Ok(found) = fs::metadata(Path::new("/etc").join(name)) else { continue };
            // Something to bind over must be there.
            let at = folder.join(name);
            if let Some(parent) = at.parent() {
                make_folder(parent)?;
            }
            if found.is_dir() {
                make_folder(&at)?
            } else {
                write(&at, "")?
            }
            shared.push(*name);
        }
        Ok(Self { folder: folder.to_owned(), shared })
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_and_made_again() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("etc");
        for _ in 0..2 {
            let etc = Etc::make(&folder).unwrap();
            assert!(fs::read_to_string(folder.join("passwd")).unwrap().contains("runner"));
            for name in etc.shared {
                assert!(folder.join(name).exists(), "{name}");
            }
        }
        for secret in ["shadow", "ssl/private", "machine-id", "ssh"] {
            assert!(!folder.join(secret).exists(), "{secret}");
        }
    }
}
