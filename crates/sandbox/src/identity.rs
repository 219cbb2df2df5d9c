//! A process named so that a reused pid is never taken for it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

/// A process by its pid and the clock tick it started at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessIdentity {
    /// As seen by this process.
    pub(crate) pid: i32,
    /// Field 22 of `/proc/PID/stat`.
    pub(crate) start_ticks: u64,
}

impl ProcessIdentity {
    /// Looks a running process up; `None` when there is none (a zombie counts as none).
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let (state, start_ticks) = stat(pid)?;
        (!matches!(state, 'Z' | 'X')).then_some(Self { pid, start_ticks })
    }

    /// The user id it runs under, as this process sees it.
    pub(crate) fn uid(&self) -> Option<u32> {
        // Not the owner of its folder in /proc: that is root when its memory is hidden.
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        ids.split_whitespace().nth(1)?.parse().ok()
    }

    /// Whether exactly this process still runs, or any thread of it: the first thread of a killed
    /// process is a zombie while the last one still ends what is in its pid namespace.
    pub(crate) fn is_alive(&self) -> bool {
        self.open().is_ok_and(|fd| fd.is_some_and(|fd| !has_ended(&fd)))
    }

    /// A descriptor of the process that is readable when all of it has ended; `None` when nothing
    /// is left of it.
    pub(crate) fn open(&self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            // The descriptor is of whoever had the pid when it was opened; checking the start
            // time afterwards makes sure that this was the right one.
            Ok(fd) => {
                Ok((stat(self.pid).map(|(_, start)| start) == Some(self.start_ticks)).then_some(fd))
            }
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until it has ended; whether it did in time.
    pub(crate) fn wait(&self, limit: Duration) -> io::Result<bool> {
        let Some(fd) = self.open()? else { return Ok(true) };
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        let mut waiting = [PollFd::new(&fd, PollFlags::IN)];
        Ok(rustix::event::poll(&mut waiting, Some(&limit))? > 0)
    }

    /// Kills it; one that is gone is fine.
    pub(crate) fn kill(&self) -> io::Result<()> {
        let Some(fd) = self.open()? else { return Ok(()) };
        match rustix::process::pidfd_send_signal(&fd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a process or any thread of it runs.
pub(crate) fn runs(pid: i32) -> bool {
    let fd = Pid::from_raw(pid).map(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()));
    matches!(fd, Some(Ok(fd)) if !has_ended(&fd))
}

fn has_ended(fd: &OwnedFd) -> bool {
    let mut waiting = [PollFd::new(fd, PollFlags::IN)];
    matches!(rustix::event::poll(&mut waiting, Some(&Timespec::default())), Ok(1..))
}

/// State and start of a process, of a zombie as well.
fn stat(pid: i32) -> Option<(char, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so count from the last one.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_another_with_its_pid() {
        let own = ProcessIdentity::of(std::process::id() as i32).unwrap();
        assert!(own.is_alive());
        let other = ProcessIdentity { start_ticks: own.start_ticks + 1, ..own };
        assert!(!other.is_alive());
        assert!(other.open().unwrap().is_none());
        other.kill().unwrap();
    }

    #[test]
    fn a_killed_child_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let identity = ProcessIdentity::of(child.id() as i32).unwrap();
        identity.kill().unwrap();
        child.wait().unwrap();
        assert!(!identity.is_alive());
    }

    #[test]
    fn a_process_runs_as_long_as_any_of_its_threads() {
        let script = "import ctypes, threading, time\n\
                      threading.Thread(target=time.sleep, args=(60,)).start()\n\
                      ctypes.CDLL(None).pthread_exit(None)";
        let mut child = std::process::Command::new("python3").args(["-c", script]).spawn().unwrap();
        let pid = child.id() as i32;
        let (_, start_ticks) = stat(pid).unwrap();
        let identity = ProcessIdentity { pid, start_ticks };
        let begun = std::time::Instant::now();
        while stat(pid).unwrap().0 != 'Z' {
            assert!(begun.elapsed() < Duration::from_secs(20), "its first thread did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(identity.is_alive());
        assert!(!identity.wait(Duration::from_millis(10)).unwrap());
        identity.kill().unwrap();
        assert!(identity.wait(Duration::from_secs(20)).unwrap());
        assert!(!identity.is_alive());
        child.wait().unwrap();
    }
}
