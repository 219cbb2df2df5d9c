//! The `/etc` of a sandbox: made afresh, with only what programs need.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

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

/// One of the files that are the same everywhere.
pub(crate) fn file(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Copied from this machine where they exist; none holds a secret. Copied rather than shown
/// each by itself, because every bind mount makes every start a little slower.
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

/// Larger files have no business there.
const MAX_FILE_BYTES: u64 = 4 << 20;
const MAX_FILES: usize = 5_000;

/// Makes `folder` an `/etc`, readable by everyone, in place of what is there.
/// `resolver` answers for names, where sandboxes have a network.
pub(crate) fn make(folder: &Path, resolver: Option<Ipv4Addr>) -> io::Result<()> {
    // Aside first, so that half of one is never taken for a whole.
    let draft = folder.with_extension("new");
    for old in [&draft, folder] {
        match fs::remove_dir_all(old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fill(&draft)?;
    write(&draft.join("resolv.conf"), resolv_conf(resolver).as_bytes())?;
    fs::rename(draft, folder)
}

pub(crate) fn resolv_conf(resolver: Option<Ipv4Addr>) -> String {
    match resolver {
        // One that does not answer is not waited for long.
        Some(address) => format!("nameserver {address}\noptions timeout:3 attempts:2\n"),
        None => "# This sandbox has no network but its own loopback interface.\n".into(),
    }
}

fn fill(folder: &Path) -> io::Result<()> {
    make_folder(folder)?;
    let mut left = MAX_FILES;
    for name in SHARED {
        let at = folder.join(name);
        if let Some(parent) = at.parent() {
            make_folder(parent)?;
        }
        copy(&Path::new("/etc").join(name), &at, &mut left)?;
    }
    for (name, text) in FILES {
        write(&folder.join(name), text.as_bytes())?;
    }
    Ok(())
}

/// Copies a file, a link, or a folder with what is in it. What is not there or not readable by
/// everyone is left out.
fn copy(from: &Path, to: &Path, left: &mut usize) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(from) else { return Ok(()) };
    let Some(fewer) = left.checked_sub(1) else { return Ok(()) };
    *left = fewer;
    if found.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if found.permissions().mode() & 0o004 == 0 {
        return Ok(());
    }
    if found.is_dir() {
        make_folder(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()), left)?;
        }
    } else if found.is_file() && found.len() <= MAX_FILE_BYTES {
        write(to, &fs::read(from)?)?;
    }
    Ok(())
}

fn make_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::write(path, content)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_keep_links_and_leave_out_what_is_private() {
        let parent = tempfile::tempdir().unwrap();
        let from = parent.path().join("from");
        fs::create_dir(&from).unwrap();
        fs::write(from.join("public"), "x").unwrap();
        fs::write(from.join("private"), "x").unwrap();
        fs::set_permissions(from.join("private"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("/usr/share/somewhere", from.join("link")).unwrap();
        let to = parent.path().join("to");
        copy(&from, &to, &mut 10).unwrap();
        assert!(to.join("public").exists() && !to.join("private").exists());
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/usr/share/somewhere"));
        let bounded = parent.path().join("bounded");
        copy(&from, &bounded, &mut 2).unwrap();
        assert_eq!(fs::read_dir(&bounded).unwrap().count(), 1);
    }

    #[test]
    fn it_is_made_and_made_again() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("etc");
        for _ in 0..2 {
            make(&folder, None).unwrap();
            assert!(fs::read_to_string(folder.join("passwd")).unwrap().contains("runner"));
        }
        for secret in ["shadow", "ssl/private", "machine-id", "ssh"] {
            assert!(!folder.join(secret).exists(), "{secret}");
        }
    }
}
