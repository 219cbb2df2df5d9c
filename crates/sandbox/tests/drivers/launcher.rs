//! A server that was taken over, talking to its launcher.

use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use serde_json::{Value, json};

pub const NAME: &str = "launcher::bad_requests_are_refused";

struct Launcher {
    socket: OwnedFd,
    process: Child,
}

impl Launcher {
    fn start(executable: &Path, agent: &Path, data_dir: &Path) -> anyhow::Result<(Self, Value)> {
        let (socket, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let process = Command::new(executable)
            .arg("launch")
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let launcher = Self { socket, process };
        let setup = json!({
            "data_dir": data_dir, "server_uid": 199_999, "server_gid": 199_999,
            "bubblewrap": "/usr/bin/bwrap", "agent": agent, "uids": [200_000, 10_000],
            "tools": {"roots": [], "path": ["/usr/bin"], "commands": []},
        });
        let answer = launcher.ask(setup.to_string().as_bytes())?;
        Ok((launcher, answer))
    }

    fn ask(&self, message: &[u8]) -> anyhow::Result<Value> {
        rustix::net::send(&self.socket, message, SendFlags::NOSIGNAL)?;
        let mut bytes = vec![0; 128 * 1024];
        let (_, length) = rustix::net::recv(&self.socket, &mut bytes[..], RecvFlags::empty())?;
        let answer: Value = serde_json::from_slice(&bytes[..length])?;
        Ok(answer["response"].clone())
    }

    fn request(&self, request: Value) -> anyhow::Result<Value> {
        self.ask(json!({"id": 1, "request": request}).to_string().as_bytes())
    }

    /// It ends when the server does.
    fn end(mut self) -> anyhow::Result<()> {
        drop(self.socket);
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.process.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "the launcher outlives its server");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// `folder` is the test's own.
pub fn bad_requests_are_refused(
    executable: &Path,
    agent: &Path,
    folder: &Path,
) -> anyhow::Result<()> {
    let data_dir = folder.join("launcher-data");
    std::fs::create_dir(&data_dir)?;
    // A trap from before the launcher's start.
    let target = folder.join("target");
    std::fs::create_dir(&target)?;
    symlink(&target, data_dir.join("sandboxes"))?;
    let (launcher, answer) = Launcher::start(executable, agent, &data_dir)?;
    ensure!(answer.get("Failed").is_some(), "a link in the folder's place: {answer}");
    launcher.end()?;
    std::fs::remove_file(data_dir.join("sandboxes"))?;

    let (launcher, answer) = Launcher::start(executable, agent, &data_dir)?;
    ensure!(answer == "Done", "{answer}");
    let limits = json!({
        "memory_bytes": 1 << 28, "processes": 64, "cpu_percent": 100,
        "disk_bytes": 1 << 26, "inodes": 1000, "ptys": 4,
    });
    let (id, repl) = ("aaaaaaaaaaaaaaab", "aaaaaaaaaaaaaaac");
    let make = |limits: &Value, env: Value| json!({"Make": {"sandbox": id, "repl": repl, "limits": limits, "env": env}});
    let with = |name: &str, value: Value| {
        let mut limits = limits.clone();
        limits[name] = value;
        limits
    };
    ensure!(launcher.request(json!({"Prepare": {"sandbox": id}}))? == "Done");
    let exists = launcher.request(json!({"Prepare": {"sandbox": id}}))?;
    ensure!(exists == "Exists", "{exists}");
    for (bad, why) in [
        (json!({"Exec": {"argv": ["sh"]}}), "not in the set"),
        (json!({"Kill": {"sandbox": "../../../etc"}}), "not an id"),
        (json!({"Kill": {"sandbox": id, "pid": 1}}), "a field too many"),
        (json!("Everything"), "not in the set"),
        (json!({"Prepare": {"sandbox": ["x"]}}), "not an id"),
        (make(&with("memory_bytes", json!(0)), json!([])), "no memory"),
        (make(&with("processes", json!(4_000_000)), json!([])), "too many processes"),
        (make(&with("disk_bytes", json!(u64::MAX)), json!([])), "too large a disk"),
        (make(&with("ptys", json!(-1)), json!([])), "a negative number"),
        (make(&limits, json!([["--bind", "/"]])), "an option of bubblewrap"),
        (make(&limits, json!([["LD_PRELOAD", "a\0b"]])), "a NUL"),
        (make(&limits, json!(vec![["A", "b"]; 100])), "too many variables"),
        (
            json!({"Make": {"sandbox": "aaaaaaaaaaaaaaad", "repl": repl, "limits": limits, "env": []}}),
            "not prepared",
        ),
    ] {
        let answer = launcher.request(bad.clone())?;
        ensure!(answer.get("Failed").is_some(), "{why}: {bad} → {answer}");
    }
    for garbage in [&b"\xff\xfe"[..], b"{", b"[]", &vec![b' '; 129 * 1024], &vec![b'['; 100_000]] {
        let answer = launcher.ask(garbage)?;
        ensure!(answer.get("Failed").is_some(), "{answer}");
    }

    // The server owns the folder above, so it may put a link where the sandboxes were.
    std::fs::rename(data_dir.join("sandboxes"), data_dir.join("moved"))?;
    symlink(&target, data_dir.join("sandboxes"))?;
    let other = "aaaaaaaaaaaaaaae";
    ensure!(launcher.request(json!({"Prepare": {"sandbox": other}}))? == "Done");
    ensure!(std::fs::read_dir(&target)?.next().is_none(), "the link was followed");
    ensure!(data_dir.join("moved").join(other).is_dir());
    for left in [id, other] {
        ensure!(launcher.request(json!({"Remove": {"sandbox": left}}))? == "Done");
    }
    let listed = launcher.request(json!("List"))?;
    ensure!(listed == json!({"Listed": []}), "{listed}");
    launcher.end().context("after all that")
}
