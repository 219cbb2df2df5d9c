//! Everything of a repl at once, for an archive or a fork.

use super::contents::Stored;
use super::mailbox::{Export, ExportFile, FileContent, Reply, RoomError};
use super::tree::Kind;
use super::{Continuation, Room};

impl Room {
    /// Collects all content after a flush. Ignored folders are left out: they are
    /// made of what is there.
    pub(super) fn export(&mut self, reply: Reply<Export>) {
        self.when_saved(move |room, outcome| match outcome {
            Ok(()) => room.export_saved(reply),
            Err(reason) => drop(reply.send(Err(RoomError::Unavailable(reason)))),
        });
    }

    fn export_saved(&mut self, reply: Reply<Export>) {
        let mut export = Export { files: Vec::new(), folders: Vec::new() };
        let mut closed = Vec::new();
        for id in self.tree.subtree(tandem_proto::FileId::ROOT) {
            let (Some(node), Some(path)) = (self.tree.get(id), self.tree.path(id)) else {
                continue;
            };
            let executable = node.executable;
            match (&node.kind, self.files.stored(id)) {
                (Kind::Folder, _) if !node.ignored => export.folders.push(path),
                (Kind::File, stored) => match (self.documents.get(id), stored) {
                    (Some(document), _) => {
                        let bytes =
                            tandem_doc::text::encode_file(&document.doc.text(), document.format);
                        let content = FileContent::Bytes(bytes.into());
                        export.files.push(ExportFile { path, executable, content });
                    }
                    (None, Some(Stored::Blob(blob))) => {
                        let content = FileContent::Blob(blob.clone());
                        export.files.push(ExportFile { path, executable, content });
                    }
                    (None, Some(Stored::Document { generation, format, .. })) => {
                        closed.push((id, path, executable, *generation, *format));
                    }
                    (None, None) => {}
                },
                _ => {}
            }
        }
        let (shared, store) = (self.shared.clone(), self.store.clone());
        self.spawn(async move {
            let mut answer = Ok(export);
            for (id, path, executable, generation, format) in closed {
                let bytes =
                    super::loading::stored_text(&shared, &store, id, generation, format).await;
                match (bytes, &mut answer) {
                    (Ok(bytes), Ok(export)) => {
                        let content = FileContent::Bytes(bytes);
                        export.files.push(ExportFile { path, executable, content });
                    }
                    (Err(reason), _) => {
                        answer = Err(RoomError::Unavailable(reason));
                        break;
                    }
                    (_, Err(_)) => break,
                }
            }
            drop(reply.send(answer));
            Box::new(|_: &mut Room| {}) as Continuation
        });
    }
}
