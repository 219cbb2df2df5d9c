//! Going back to a checkpoint: ordinary edits and changes of the tree, one after the other, after a
//! checkpoint of how it is now. It runs in the room, so that it goes on when whoever asked has left.

use std::collections::VecDeque;

use bytes::Bytes;
use tandem_doc::text::{self, TextFormat};
use tandem_proto::history::{CheckpointReason, CheckpointRestored, HistoryAuthor};
use tandem_proto::{CheckpointId, FileId};
use tandem_store::{ReplStore, Snapshots};
use tokio::sync::oneshot;

use super::plan::{self, Present, Step, Wanted};
use super::{NewCheckpoint, missing};
use crate::room::contents::Stored;
use crate::room::loading::load_all;
use crate::room::mailbox::{Reply, RoomError, WriteFile};
use crate::room::manifest::stored;
use crate::room::tree::Kind;
use crate::room::{Continuation, Room};

/// A way back.
struct Restoring {
    steps: VecDeque<Step>,
    author: HistoryAuthor,
    done: CheckpointRestored,
    failed: Vec<String>,
    reply: Reply<CheckpointRestored>,
}

impl Room {
    /// Goes back to a checkpoint.
    pub(in crate::room) fn restore_checkpoint(
        &mut self,
        id: CheckpointId,
        author: HistoryAuthor,
        reply: Reply<CheckpointRestored>,
    ) {
        let points = self.history.checkpoints();
        let Some(point) = points.iter().find(|point| point.id == id).cloned() else {
            return drop(reply.send(Err(missing())));
        };
        if !self.history.begin_restore() {
            let reason = "a checkpoint is being restored already".to_owned();
            return drop(reply.send(Err(RoomError::Conflict(reason))));
        }
        let name = format!("Before going back to {}", point.name);
        let reason = CheckpointReason::Restore;
        let before = NewCheckpoint { name, author: author.clone(), reason };
        self.with_checkpoint(before, move |room, before| {
            let before = match before {
                Ok(before) => before,
                Err(error) => {
                    room.history.end_restore();
                    return drop(reply.send(Err(error)));
                }
            };
            let store = room.store.clone();
            room.spawn(async move {
                let manifest = store.get_manifest(&point.manifest).await;
                Box::new(move |room: &mut Room| match manifest {
                    Ok(manifest) => {
                        let (wanted, folders) = plan::wanted(&manifest);
                        let steps = plan::steps(&room.present(), wanted, folders).into();
                        let done = CheckpointRestored { before: before.id, changed: 0, deleted: 0 };
                        let failed = Vec::new();
                        room.restore_on(Restoring { steps, author, done, failed, reply });
                    }
                    Err(error) => {
                        room.history.end_restore();
                        drop(reply.send(Err(RoomError::Unavailable(error.to_string()))));
                    }
                }) as Continuation
            });
        });
    }

    fn present(&self) -> Present {
        let mut present = Present::default();
        for id in self.tree.subtree(FileId::ROOT) {
            let (Some(node), Some(path)) = (self.tree.get(id), self.tree.path(id)) else {
                continue;
            };
            match node.kind {
                Kind::Folder if node.ignored => {}
                Kind::Folder => {
                    let below = self.tree.subtree(id);
                    let ignored = |id: &FileId| self.tree.get(*id).is_some_and(|it| it.ignored);
                    present.folders.insert(path, below.iter().any(ignored));
                }
                Kind::File if !node.ignored => drop(present.files.insert(id, path)),
                _ => {}
            }
        }
        for deleted in &self.deletions {
            if let Some((id, node, _)) = deleted.nodes.first()
                && node.kind == Kind::File
            {
                present.deleted.insert(*id, deleted.path.clone());
            }
        }
        present
    }

    fn restore_on(&mut self, mut work: Restoring) {
        if self.ending.is_some() {
            return drop(work.reply.send(Err(RoomError::Closing)));
        }
        match work.steps.pop_front() {
            None => self.restored(work),
            Some(Step::Delete(path)) => {
                let files = self.tree.find(&path).map_or(0, |id| self.files_below(id));
                work.done.deleted += files;
                let (reply, answer) = oneshot::channel();
                self.delete_file(&path, reply);
                self.go_on(path.as_str(), answer, work);
            }
            Some(Step::Move(from, to)) => {
                let (reply, answer) = oneshot::channel();
                let name = to.as_str().to_owned();
                self.move_file(&from, to, reply);
                self.go_on(&name, answer, work);
            }
            Some(Step::BringBack(path)) => {
                work.done.changed += 1;
                let (reply, answer) = oneshot::channel();
                self.restore_file(&path, reply);
                self.go_on(path.as_str(), answer, work);
            }
            Some(Step::MakeFolder(path)) => {
                if self.tree.find(&path).is_some() {
                    return self.restore_on(work);
                }
                let (reply, answer) = oneshot::channel();
                let name = path.as_str().to_owned();
                self.make_folder(path, reply);
                self.go_on(&name, answer, work);
            }
            Some(Step::Fill(wanted)) => self.fill(wanted, work),
        }
    }

    /// The next step when this one is done. A step that fails does not keep the others back.
    fn go_on<T: Send + 'static>(
        &mut self,
        name: &str,
        answer: oneshot::Receiver<Result<T, RoomError>>,
        mut work: Restoring,
    ) {
        let name = name.to_owned();
        self.spawn(async move {
            let answer = answer.await.unwrap_or(Err(RoomError::Closing));
            Box::new(move |room: &mut Room| {
                if let Err(error) = answer {
                    work.failed.push(format!("{name}: {error}"));
                }
                room.restore_on(work);
            }) as Continuation
        });
    }

    fn fill(&mut self, wanted: Wanted, mut work: Restoring) {
        if self.is_same(&wanted) {
            return self.restore_on(work);
        }
        let (store, client_id) = (self.store.clone(), self.shared.random_client_id());
        self.spawn(async move {
            let content = content(&store, &wanted, client_id).await;
            Box::new(move |room: &mut Room| match content {
                Ok(content) => room.fill_with(wanted, content, work),
                Err(reason) => {
                    work.failed.push(format!("{}: {reason}", wanted.path));
                    room.restore_on(work);
                }
            }) as Continuation
        });
    }

    fn fill_with(&mut self, wanted: Wanted, content: Bytes, mut work: Restoring) {
        if self.holds(&wanted, &content) {
            return self.restore_on(work);
        }
        work.done.changed += 1;
        let (reply, answer) = oneshot::channel();
        let name = wanted.path.as_str().to_owned();
        let request = WriteFile {
            path: wanted.path,
            content,
            executable: Some(wanted.executable),
            create_only: false,
            author: Some(work.author.clone()),
        };
        self.write_file(request, reply);
        self.go_on(&name, answer, work);
    }

    /// Whether a file is known to be as it was, without looking into it.
    fn is_same(&self, wanted: &Wanted) -> bool {
        let Some(id) = self.tree.find(&wanted.path).filter(|id| *id == wanted.id) else {
            return false;
        };
        let edited = self.documents.get(id).is_some_and(|document| document.is_unsaved());
        let bit = self.tree.get(id).is_some_and(|node| node.executable == wanted.executable);
        bit && !edited
            && !self.files.is_dirty(id)
            && match (self.files.stored(id), stored(&wanted.content)) {
                (
                    Some(Stored::Document { generation, snapshot, .. }),
                    Some(Stored::Document { generation: of, snapshot: was, .. }),
                ) => *generation == of && *snapshot == was,
                (Some(Stored::Blob(blob)), Some(Stored::Blob(was))) => blob.hash == was.hash,
                _ => false,
            }
    }

    /// Whether a file holds these bytes.
    fn holds(&self, wanted: &Wanted, content: &Bytes) -> bool {
        let Some(id) = self.tree.find(&wanted.path) else { return false };
        let bit = self.tree.get(id).is_some_and(|node| node.executable == wanted.executable);
        if let Some(document) = self.documents.get(id) {
            return bit && text::encode_file(&document.doc.text(), document.format) == content[..];
        }
        let known = match self.files.stored(id) {
            Some(Stored::Document { hash, .. }) => *hash,
            Some(Stored::Blob(blob)) => Some(*blob.hash.as_bytes()),
            None => None,
        };
        bit && !self.files.is_dirty(id) && known == Some(*blake3::hash(content).as_bytes())
    }

    fn restored(&mut self, work: Restoring) {
        self.history.end_restore();
        let Restoring { done, failed, reply, .. } = work;
        if failed.is_empty() {
            return self.reply_durably(reply, Ok(done));
        }
        let (count, first) = (failed.len(), failed.first().cloned().unwrap_or_default());
        tracing::warn!(repl = %self.repl, ?failed, "a checkpoint could not be restored as a whole");
        let reason = format!(
            "{count} files could not be restored ({first}); how it was before is in the newest checkpoint"
        );
        drop(reply.send(Err(RoomError::Unavailable(reason))));
    }
}

/// The bytes of a file as they were.
async fn content(store: &ReplStore, wanted: &Wanted, client_id: u64) -> Result<Bytes, String> {
    match stored(&wanted.content) {
        None => Ok(Bytes::new()),
        Some(Stored::Blob(blob)) => store.get_blob(&blob).await.map_err(|error| error.to_string()),
        Some(Stored::Document { snapshot: None, format, .. }) => {
            Ok(text::encode_file("", format).into())
        }
        Some(Stored::Document { snapshot: Some(key), format, .. }) => {
            let snapshot = store.get_snapshot(&key).await.map_err(|error| error.to_string())?;
            let snapshots = Snapshots { found: vec![snapshot], ..Snapshots::default() };
            text_of(snapshots, format, client_id).await
        }
    }
}

async fn text_of(
    snapshots: Snapshots,
    format: TextFormat,
    client_id: u64,
) -> Result<Bytes, String> {
    let text = tokio::task::spawn_blocking(move || {
        Ok(text::encode_file(&load_all(client_id, &snapshots)?.text(), format).into())
    });
    text.await.map_err(|error| error.to_string())?
}
