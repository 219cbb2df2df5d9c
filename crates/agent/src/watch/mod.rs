//! Tells the node which files programs have changed.
//!
//! A thread of its own: it reads folders, and must never hold a terminal up. When the kernel
//! refuses more watches the whole workspace is scanned now and then instead.

mod folders;
mod pending;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::FileType;
use tandem_proto::RelPath;
use tandem_proto::agent::{Event, Signature};
use tokio::sync::oneshot;

use crate::outbox::Outbox;
use crate::workspace::{Workspace, signature};
use folders::{Folders, Notice, Refused};
use pending::{Found, Happened, Pending, Tell};

/// Between two scans when watches are refused; a scan takes at most a tenth of the time.
const SCAN_INTERVAL: Duration = Duration::from_secs(2);
/// Commands queued; there is one per connection.
const QUEUE: usize = 8;
const STACK: usize = 512 * 1024;
const INDEX_LOCK: &str = ".git/index.lock";

/// The way to the watching thread.
#[derive(Debug)]
pub struct Watcher {
    commands: mpsc::SyncSender<oneshot::Sender<()>>,
    wake: Arc<OwnedFd>,
}

impl Watcher {
    /// Starts the thread. It ends with the process.
    pub fn start(
        workspace: Arc<Workspace>,
        outbox: Outbox,
        by_scanning: bool,
    ) -> std::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let wake = Arc::new(wake);
        let (commands, receiver) = mpsc::sync_channel(QUEUE);
        let woken = wake.clone();
        std::thread::Builder::new().name("watch".to_owned()).stack_size(STACK).spawn(
            move || {
                let mut watching = Watching {
                    workspace,
                    outbox,
                    pending: Pending::default(),
                    how: How::Not,
                    by_scanning,
                };
                watching.run(&receiver, &woken);
            },
        )?;
        Ok(Self { commands, wake })
    }

    /// Starts anew with the workspace's present settings; returns when everything is watched,
    /// so that a scan after it misses nothing.
    pub async fn restart(&self) {
        let (done, waiting) = oneshot::channel();
        if self.commands.try_send(done).is_ok() {
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
            // An error means that a later restart took its place.
            let _ = waiting.await;
        }
    }
}

struct Watching {
    workspace: Arc<Workspace>,
    outbox: Outbox,
    pending: Pending,
    how: How,
    by_scanning: bool,
}

enum How {
    /// Before the first settings.
    Not,
    Notices(Folders),
    Scans {
        known: HashMap<RelPath, Signature>,
        next: Instant,
    },
}

impl Watching {
    fn run(&mut self, commands: &mpsc::Receiver<oneshot::Sender<()>>, wake: &OwnedFd) {
        loop {
            self.wait(wake);
            // Only a hint to look at the commands; its count does not matter.
            let _ = rustix::io::read(wake, &mut [0; 8]);
            loop {
                match commands.try_recv() {
                    Ok(done) => {
                        self.begin();
                        // Whoever asked may have gone.
                        let _ = done.send(());
                    }
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
            self.notice();
            self.scan();
            self.tell();
        }
    }

    fn wait(&self, wake: &OwnedFd) {
        let next_scan = match &self.how {
            How::Scans { next, .. } => Some(*next),
            How::Not | How::Notices(_) => None,
        };
        let due = self.pending.next_due().into_iter().chain(next_scan).min();
        let timeout = due.map(|due| {
            let left = due.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(1),
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        let mut descriptors = vec![PollFd::new(wake, PollFlags::IN)];
        let notices = match &self.how {
            How::Notices(folders) => Some(folders.descriptor()),
            How::Not | How::Scans { .. } => None,
        };
        if let Some(notices) = &notices {
            descriptors.push(PollFd::new(notices, PollFlags::IN));
        }
        // An interruption only makes the loop look once more.
        let _ = poll(&mut descriptors, timeout.as_ref());
    }

    /// Watches everything anew.
    fn begin(&mut self) {
        self.pending.clear();
        if self.by_scanning {
            self.begin_scans();
            return;
        }
        let watched = Folders::new().map_err(|_| Refused::Limit).and_then(|mut folders| {
            folders.add(&self.workspace, None, &mut |_| {}).map(|()| folders)
        });
        match watched {
            Ok(folders) => self.how = How::Notices(folders),
            Err(_) => self.begin_scans(),
        }
    }

    fn begin_scans(&mut self) {
        if !self.by_scanning && !matches!(self.how, How::Scans { .. }) {
            crate::say(format_args!(
                "the kernel refuses to watch the workspace; it is scanned every {} s instead",
                SCAN_INTERVAL.as_secs()
            ));
        }
        let known = snapshot(&self.workspace);
        self.how = How::Scans { known, next: Instant::now() + SCAN_INTERVAL };
    }

    fn notice(&mut self) {
        let How::Notices(folders) = &mut self.how else { return };
        let now = Instant::now();
        let mut overflow = false;
        let mut refused = false;
        for notice in folders.read(&self.workspace) {
            match notice {
                Notice::Overflow => overflow = true,
                Notice::Path { path, created, new_folder } => {
                    if new_folder {
                        let pending = &mut self.pending;
                        let added = folders.add(&self.workspace, Some(&path), &mut |inside| {
                            pending.touch(inside.clone(), Happened::Created, now);
                        });
                        refused |= matches!(added, Err(Refused::Limit));
                    }
                    let happened = if created { Happened::Created } else { Happened::Changed };
                    self.pending.touch(path, happened, now);
                }
            }
        }
        if overflow {
            self.begin();
        } else if refused {
            self.pending.clear();
            self.begin_scans();
        }
        if overflow || refused {
            self.outbox.event_blocking(Event::Overflow);
        }
    }

    fn scan(&mut self) {
        let started = Instant::now();
        let How::Scans { known, next } = &mut self.how else { return };
        if *next > started {
            return;
        }
        let found = snapshot(&self.workspace);
        for (path, signature) in &found {
            match known.get(path) {
                Some(before) if before == signature => {}
                Some(_) => self.pending.touch(path.clone(), Happened::Changed, started),
                None => self.pending.touch(path.clone(), Happened::Created, started),
            }
        }
        for path in known.keys().filter(|path| !found.contains_key(*path)) {
            self.pending.touch(path.clone(), Happened::Changed, started);
        }
        *known = found;
        *next = Instant::now() + SCAN_INTERVAL.max(started.elapsed() * 10);
    }

    fn tell(&mut self) {
        let workspace = &self.workspace;
        let is_locked = || {
            RelPath::parse(INDEX_LOCK)
                .is_ok_and(|lock| workspace.look(&lock).is_ok_and(|found| found.is_some()))
        };
        let look = |path: &RelPath| match workspace.look(path) {
            Ok(None) => Found::Missing,
            Ok(Some(stat)) if workspace.is_own_write(path, &signature(&stat)) => Found::OwnWrite,
            Ok(Some(stat))
                if stat.st_size == 0
                    && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile =>
            {
                Found::Empty
            }
            // A path that leads through a link or is closed to us: the node sees when it asks.
            Ok(Some(_)) | Err(_) => Found::Something,
        };
        match self.pending.take(Instant::now(), is_locked, look) {
            None => {}
            Some(Tell::Paths(paths)) => self.outbox.event_blocking(Event::Changed { paths }),
            Some(Tell::Everything) => self.outbox.event_blocking(Event::Overflow),
        }
    }
}

fn snapshot(workspace: &Workspace) -> HashMap<RelPath, Signature> {
    let mut all = HashMap::new();
    if let Ok(mut walk) = workspace.walk(None) {
        while let Some(entries) = walk.next_folder() {
            all.extend(entries.into_iter().map(|entry| (entry.path, entry.signature)));
        }
    }
    all
}
