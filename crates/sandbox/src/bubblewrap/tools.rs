//! Which of this machine's toolchains a sandbox sees, read-only, and its PATH.
//!
//! `/usr` is shown whole. What people install elsewhere (a Go or Rust toolchain, a JDK, a Node
//! version) is found through PATH and shown by its own root, never a home folder around it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// Commands whose toolchains are looked for.
const COMMANDS: &[&str] = &[
    "python3", "node", "npm", "deno", "bun", "go", "rustc", "cargo", "javac", "java", "gcc", "g++",
    "clang", "make", "cmake", "git", "ruby", "php", "dotnet", "swift", "zig", "kotlinc", "scala",
    "ghc", "elixir", "lua",
];
/// Looked in by every system; kept at the end of the sandbox's PATH.
const STANDARD: &[&str] = &["/usr/local/bin", "/usr/bin", "/bin"];
const INSIDE: &str = "/opt/toolchains";

/// A folder shown read-only inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ToolRoot {
    /// Where it is on this machine.
    pub(crate) source: PathBuf,
    /// Where it appears.
    pub(crate) target: PathBuf,
}

/// What a sandbox sees of this machine's programs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tools {
    pub(crate) roots: Vec<ToolRoot>,
    /// PATH inside.
    pub(crate) path: Vec<PathBuf>,
    /// Names of the commands in roots, looked up while they could be read.
    commands: BTreeSet<String>,
}

impl Tools {
    /// Looks around. `extra` are roots that the operator names.
    pub(crate) fn discover(extra: &[PathBuf], search_path: &OsStr) -> Self {
        let mut tools = Self::default();
        for root in extra {
            if let Ok(root) = root.canonicalize() {
                tools.add_root(&root);
            }
        }
        let folders: Vec<PathBuf> = std::env::split_paths(search_path).collect();
        for command in COMMANDS {
            for folder in &folders {
                let program = folder.join(command);
                if is_executable(&program) && tools.add_program(folder, &program) {
                    break;
                }
            }
        }
        let mut optional: Vec<_> =
            std::fs::read_dir("/opt").into_iter().flatten().flatten().collect();
        optional.sort_by_key(std::fs::DirEntry::file_name);
        for entry in optional {
            if entry.path().join("bin").is_dir() {
                tools.add_root(&entry.path());
            }
        }
        for folder in STANDARD {
            tools.add_path(Path::new(folder));
        }
        tools
    }

    /// Whether this command exists inside.
    pub(crate) fn has(&self, name: &str) -> bool {
        if name.is_empty() || name.contains('/') {
            return false;
        }
        self.commands.contains(name)
            || self
                .path
                .iter()
                .any(|folder| folder.starts_with("/usr") && is_executable(&folder.join(name)))
    }

    /// PATH as one string.
    pub(crate) fn path_variable(&self) -> OsString {
        std::env::join_paths(&self.path).unwrap_or_else(|_| STANDARD.join(":").into())
    }

    /// Whether the program's toolchain is visible inside from now on.
    fn add_program(&mut self, folder: &Path, program: &Path) -> bool {
        let Ok(real) = program.canonicalize() else { return false };
        if real.starts_with("/usr") {
            let is_visible = folder.starts_with("/usr");
            if is_visible && !is_standard(folder) {
                self.add_path(folder);
            }
            return is_visible;
        }
        if real.file_name() == Some(OsStr::new("rustup")) {
            return match rust_toolchain(program) {
                Some(root) => self.add_root(&root),
                None => false,
            };
        }
        match real.parent() {
            Some(bin) if bin.file_name() == Some(OsStr::new("bin")) => {
                bin.parent().is_some_and(|root| self.add_root(root))
            }
            _ => false,
        }
    }

    fn add_root(&mut self, root: &Path) -> bool {
        if self.roots.iter().any(|known| known.source == root) {
            return true;
        }
        let Some(name) = root.file_name().and_then(OsStr::to_str) else { return false };
        // A hidden folder (`~/.local`, `~/.cargo`) or a home holds more than tools.
        let is_private = name.starts_with('.') || root.join(".profile").exists();
        if is_private || root.starts_with("/usr") || !root.is_dir() {
            return root.starts_with("/usr") && self.add_path(&root.join("bin"));
        }
        let target = if root.starts_with("/opt") {
            root.to_owned()
        } else {
            let taken = |target: &PathBuf| self.roots.iter().any(|known| known.target == *target);
            let plain = Path::new(INSIDE).join(name);
            let numbered = (2..).map(|n| Path::new(INSIDE).join(format!("{name}-{n}")));
            let mut candidates = std::iter::once(plain).chain(numbered);
            match candidates.find(|target| !taken(target)) {
                Some(target) => target,
                None => return false,
            }
        };
        let bin = root.join("bin");
        for entry in std::fs::read_dir(&bin).into_iter().flatten().flatten() {
            if let (Ok(name), true) =
                (entry.file_name().into_string(), is_executable(&entry.path()))
            {
                self.commands.insert(name);
            }
        }
        self.add_path(&target.join("bin"));
        self.roots.push(ToolRoot { source: root.to_owned(), target });
        true
    }

    fn add_path(&mut self, folder: &Path) -> bool {
        if !self.path.iter().any(|known| known == folder) {
            self.path.push(folder.to_owned());
        }
        true
    }
}

/// The real toolchain behind rustup's proxies, which need a home folder of their own to work.
fn rust_toolchain(proxy: &Path) -> Option<PathBuf> {
    let output = Command::new(proxy.with_file_name("rustc"))
        .args(["--print", "sysroot"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let root = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    (output.status.success() && root.is_absolute()).then_some(root)
}

fn is_standard(folder: &Path) -> bool {
    STANDARD.iter().any(|standard| Path::new(standard) == folder)
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn program(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn toolchains_are_shown_by_their_root_and_homes_never() {
        let machine = tempfile::tempdir().unwrap();
        let home = machine.path().canonicalize().unwrap();
        fs::write(home.join(".profile"), "").unwrap();
        program(&home.join("go1.99/bin/go"));
        program(&home.join("node/bin/node"));
        program(&home.join("other/node/bin/npm"));
        program(&home.join("bin/zig"));
        program(&home.join(".local/bin/deno"));
        let folders = ["go1.99/bin", "node/bin", "other/node/bin", "bin", ".local/bin"];
        let search = std::env::join_paths(folders.map(|folder| home.join(folder))).unwrap();
        let tools = Tools::discover(&[], &search);
        let sources: Vec<_> = tools.roots.iter().map(|root| root.source.as_path()).collect();
        for shown in ["go1.99", "node", "other/node"] {
            assert!(sources.contains(&home.join(shown).as_path()), "{shown} in {sources:?}");
        }
        assert!(!sources.contains(&home.as_path()));
        assert!(!sources.contains(&home.join(".local").as_path()));
        assert!(tools.has("go") && tools.has("node") && tools.has("npm"));
        assert!(!tools.has("zig") && !tools.has("deno") && !tools.has("bin/go"));
        let targets: BTreeSet<_> = tools.roots.iter().map(|root| &root.target).collect();
        assert_eq!(targets.len(), tools.roots.len(), "no two at one place");
        assert_eq!(tools.path.last().unwrap(), Path::new("/bin"));
    }

    #[test]
    fn named_roots_and_the_system_are_there() {
        let machine = tempfile::tempdir().unwrap();
        let root = machine.path().canonicalize().unwrap().join("mytool");
        program(&root.join("bin/mytool"));
        let tools = Tools::discover(std::slice::from_ref(&root), OsStr::new("/usr/bin"));
        assert_eq!(tools.roots[0].source, root);
        assert!(tools.has("mytool"));
        assert!(tools.has("env"), "from /usr/bin");
        assert!(!tools.has("no-such-command"));
    }
}
