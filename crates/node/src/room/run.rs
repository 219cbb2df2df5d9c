//! Run and Stop. Run sees exactly what the editors show: everything that arrived before it is
//! on the disk before the program starts.

use tandem_proto::agent::{Op, TerminalKind};
use tandem_proto::api::{RunInfo, TerminalInfo};
use tandem_proto::{FileId, MemberId, RelPath, TerminalId};
use tandem_store::BlobRef;

use super::contents::Stored;
use super::documents::Slot;
use super::files::refused;
use super::mailbox::{Reply, RoomError};
use super::project::{FILE, Project, REPLIT_FILE};
use super::{Continuation, Room};
use crate::lease::wall_ms;

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;

impl Room {
    /// Starts a task on a console.
    pub(super) fn start_run(&mut self, task: String, member: MemberId, reply: Reply<TerminalId>) {
        if self.terminals.is_running() {
            let reason = "a run is going on; stop it first".to_owned();
            return drop(reply.send(Err(RoomError::Conflict(reason))));
        }
        self.with_sandbox(reply, move |room, _, reply| {
            room.when_written(move |room| {
                room.when_project_known(move |room| room.run_now(task, member, reply))
            });
        });
    }

    fn run_now(&mut self, task: String, member: MemberId, reply: Reply<TerminalId>) {
        if self.terminals.is_running() {
            let reason = "a run is going on; stop it first".to_owned();
            return drop(reply.send(Err(RoomError::Conflict(reason))));
        }
        let Some(command) = self.project.command(&task).map(str::to_owned) else {
            let reason = match &self.project.error {
                Some(error) => error.clone(),
                None => format!("nothing to run: set `run = \"…\"` in {FILE}"),
            };
            return drop(reply.send(Err(RoomError::NotFound(reason))));
        };
        if let Some(old) = self.terminals.run.take() {
            self.forget_console(old.terminal);
        }
        let info = TerminalInfo {
            id: self.shared.random_terminal_id(),
            kind: TerminalKind::Console,
            title: command.clone(),
            cols: 80,
            rows: 24,
            driver: None,
            exit: None,
            restored: false,
        };
        self.terminals.run = Some(RunInfo {
            terminal: info.id,
            task,
            command: command.clone(),
            member,
            started_ms: wall_ms(),
            exit: None,
        });
        self.live.changed();
        let terminal = info.id;
        let argv = vec!["bash".to_owned(), "-c".to_owned(), command];
        let (inner, outcome) = tokio::sync::oneshot::channel();
        self.spawn_terminal(info, argv, inner, |_, info| info.id);
        self.spawn(async move {
            let outcome = outcome.await.unwrap_or(Err(RoomError::Closing));
            Box::new(move |room: &mut Room| {
                if outcome.is_err()
                    && room.terminals.run.as_ref().is_some_and(|run| run.terminal == terminal)
                {
                    room.terminals.run = None;
                    room.live.changed();
                }
                drop(reply.send(outcome));
            }) as Continuation
        });
    }

    /// The last run's console makes room for the next.
    fn forget_console(&mut self, terminal: TerminalId) {
        self.terminals.remove(terminal);
        if let Some(link) = self.sandbox.ready_link().cloned() {
            self.spawn(async move {
                drop(link.request(Op::CloseTerminal { terminal }).await);
                Box::new(|_: &mut Room| {}) as Continuation
            });
        }
    }

    /// Interrupts the run, and kills it when it does not end.
    pub(super) fn stop_run(&mut self, reply: Reply<()>) {
        let running = self.terminals.run.as_ref().filter(|run| run.exit.is_none());
        let (Some(run), Some(link)) = (running, self.sandbox.ready_link().cloned()) else {
            return drop(reply.send(Ok(())));
        };
        let terminal = run.terminal;
        let grace = self.shared.room.stop_grace;
        self.spawn(async move {
            let outcome = link.request(Op::Signal { terminal, signal: SIGINT }).await;
            drop(reply.send(outcome.map(|_| ()).map_err(|error| refused(&error))));
            tokio::time::sleep(grace).await;
            Box::new(move |room: &mut Room| room.kill_run(terminal)) as Continuation
        });
    }

    fn kill_run(&mut self, terminal: TerminalId) {
        let still = self
            .terminals
            .run
            .as_ref()
            .is_some_and(|run| run.terminal == terminal && run.exit.is_none());
        let Some(link) = self.sandbox.ready_link().cloned().filter(|_| still) else { return };
        self.spawn(async move {
            drop(link.request(Op::Signal { terminal, signal: SIGKILL }).await);
            Box::new(|_: &mut Room| {}) as Continuation
        });
    }

    fn project_file(&self) -> Option<(FileId, &'static str)> {
        [FILE, REPLIT_FILE].into_iter().find_map(|name| {
            let path = RelPath::parse(name).ok()?;
            Some((self.tree.find(&path)?, name))
        })
    }

    /// A file changed: if it is the project file, it is read again.
    pub(super) fn project_may_have_changed(&mut self, file: FileId) {
        match self.project_file() {
            Some((project, _)) if project == file => self.read_project(),
            None if !self.project.tasks.is_empty() || self.project.error.is_some() => {
                self.set_project(Project::default());
            }
            _ => {}
        }
    }

    /// Does something when the project file was read.
    fn when_project_known(&mut self, then: impl FnOnce(&mut Room) + Send + 'static) {
        match self.project_file() {
            Some((file, name))
                if self.files.is_dirty(file) || self.documents.slot_mut(file).is_some() =>
            {
                self.when_loaded(file, move |room| {
                    if let Some(document) = room.documents.get(file) {
                        let project = Project::parse(name, &document.doc.text());
                        room.project_looks += 1;
                        room.set_project(project);
                    }
                    then(room);
                });
            }
            _ => then(self),
        }
    }

    /// Reads the project file from wherever it is.
    pub(super) fn read_project(&mut self) {
        let look = self.project_looks + 1;
        let Some((file, name)) = self.project_file() else {
            self.project_looks = look;
            return self.set_project(Project::default());
        };
        if let Some(Slot::Open(document)) = self.documents.slot_mut(file) {
            let project = Project::parse(name, &document.doc.text());
            self.project_looks = look;
            return self.set_project(project);
        }
        let (shared, store) = (self.shared.clone(), self.store.clone());
        match self.files.stored(file).cloned() {
            Some(Stored::Document { generation, format, .. }) => self.spawn(async move {
                let bytes =
                    super::loading::stored_text(&shared, &store, file, generation, format).await;
                project_read(look, name, bytes.ok())
            }),
            Some(Stored::Blob(stored)) if !self.files.is_dirty(file) => {
                self.spawn(async move { project_read(look, name, blob(&store, stored).await) });
            }
            // Only the sandbox has it: what the store answers is better than nothing until Run.
            _ => return,
        }
        self.project_looks = look;
    }

    fn set_project(&mut self, project: Project) {
        if self.project != project {
            let ignore_changed = self.project.ignore != project.ignore;
            self.project = project;
            self.live.changed();
            if ignore_changed {
                self.configure_agent();
            }
        }
    }
}

async fn blob(store: &tandem_store::ReplStore, stored: BlobRef) -> Option<bytes::Bytes> {
    store.get_blob(&stored).await.ok()
}

fn project_read(look: u64, name: &'static str, bytes: Option<bytes::Bytes>) -> Continuation {
    Box::new(move |room: &mut Room| {
        if let Some(bytes) = bytes
            && room.project_looks == look
        {
            room.set_project(Project::parse(name, &String::from_utf8_lossy(&bytes)));
        }
    })
}
