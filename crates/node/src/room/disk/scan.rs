//! The workspace as a whole: after a connection was lost, events were missed, or before leaving.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tandem_proto::agent::{Op, Reply as AgentReply};
use tandem_proto::{FileId, RelPath, limits};
use tandem_sandbox::LinkError;

use crate::room::{Continuation, Room};

/// Longest wait for entries of a scan after its answer.
const SCAN_REST: Duration = Duration::from_secs(10);

impl Room {
    /// Does something after the disk was looked at as a whole (before leaving).
    pub(in crate::room) fn when_scanned(&mut self, then: impl FnOnce(&mut Room) + Send + 'static) {
        self.disk.after_scan.push(Box::new(then));
        self.rescan();
    }

    pub(in crate::room) fn scan_settled(&mut self) {
        let settled = !self.disk.scanning && !self.disk.inspecting && self.disk.changed.is_empty();
        if settled || self.sandbox.ready_link().is_none() {
            for then in std::mem::take(&mut self.disk.after_scan) {
                then(self);
            }
        }
    }

    /// Lists the whole workspace and looks at every difference.
    pub(in crate::room) fn rescan(&mut self) {
        let Some(link) = self.sandbox.link().cloned() else { return self.scan_settled() };
        if std::mem::replace(&mut self.disk.scanning, true) {
            self.disk.scan_again = true;
            return;
        }
        self.disk.scan.clear();
        self.spawn(async move {
            let outcome = link.request(Op::Scan { under: None }).await;
            Box::new(move |room: &mut Room| {
                room.rescanned(outcome);
                room.scan_settled();
            }) as Continuation
        });
    }

    fn rescanned(&mut self, outcome: Result<AgentReply, LinkError>) {
        match outcome {
            Ok(AgentReply::Scanned { count, truncated }) => {
                let count = (count as usize).min(limits::MAX_TREE_ENTRIES);
                self.disk.scan_answer = Some((count, truncated));
                if self.disk.scan_is_whole() {
                    return self.scan_finished();
                }
                // The rest is on its way; an agent that lies is not waited for. A task that waits
                // would keep the room from closing, and could take the next scan for this one.
                self.disk.scan_until = Some(Instant::now() + SCAN_REST);
            }
            Ok(_) => self.disk.scanning = false,
            Err(error) => {
                self.disk.scanning = false;
                tracing::warn!(repl = %self.repl, %error, "the workspace could not be scanned");
            }
        }
    }

    /// Goes on with what has come of a scan whose rest does not come.
    pub(in crate::room) fn finish_overdue_scan(&mut self, now: Instant) {
        if self.disk.scan_until.is_some_and(|until| until <= now) {
            self.scan_finished();
        }
    }

    /// All that a scan has found is here.
    pub(in crate::room) fn scan_finished(&mut self) {
        self.disk.scan_until = None;
        let Some((count, truncated)) = self.disk.scan_answer.take() else { return };
        self.disk.scanning = false;
        let entries = std::mem::take(&mut self.disk.scan);
        // What did not come is not gone.
        let partial = truncated || entries.len() < count;
        let mut present: HashSet<FileId> = HashSet::with_capacity(entries.len());
        for entry in entries {
            match self.tree.find(&entry.path) {
                Some(file) => {
                    present.insert(file);
                    if self.disk.signatures.get(&file) != Some(&entry.signature) {
                        self.disk.changed.insert(entry.path);
                    }
                }
                None => drop(self.disk.changed.insert(entry.path)),
            }
        }
        if truncated {
            self.live
                .note("The workspace has too many files; some are not shown or saved.".to_owned());
        }
        if !partial {
            let gone: Vec<RelPath> = self
                .tree
                .iter()
                .filter(|(file, _)| !present.contains(file))
                .filter_map(|(file, _)| self.tree.path(file))
                .collect();
            self.disk.changed.extend(gone);
        }
        if std::mem::take(&mut self.disk.adopted) {
            self.adopted_is_known();
        }
        self.inspect_changed();
        if std::mem::take(&mut self.disk.scan_again) {
            self.rescan();
        }
        self.scan_settled();
    }

    /// The first scan of an adopted sandbox is here.
    fn adopted_is_known(&mut self) {
        let open: Vec<FileId> = self.documents.open().map(|(file, _)| file).collect();
        self.adopted_ready();
        self.write_everything_unwritten();
        for file in open {
            self.check_against_disk(file);
        }
        self.sandbox_settled();
    }
}
