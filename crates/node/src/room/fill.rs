//! A new sandbox gets the repl's files.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tandem_proto::agent::{Entry, Op, Reply as AgentReply};
use tandem_proto::{FileId, RelPath};
use tandem_sandbox::AgentLink;

use super::base::Seen;
use super::contents::{AtRest, Stored};
use super::tree::Kind;
use super::{Continuation, Room};
use crate::archive::tar;

/// Blobs fetched at once while filling.
const FETCHES: usize = 16;

impl Room {
    /// Sends every file into the new sandbox. What the open documents hold now becomes the base
    /// of their merge with the disk.
    pub(super) fn fill_sandbox(&mut self) {
        let Some(link) = self.sandbox.link().cloned() else { return };
        if let Some(file) = self.documents.loading_with_log() {
            // What is stored of it is older than what people had.
            return self.when_loaded(file, Room::fill_sandbox);
        }
        let mut folders = Vec::new();
        let mut ready = Vec::new();
        let mut bases = Vec::new();
        let mut fetch: Vec<(FileId, RelPath, bool, Stored)> = Vec::new();
        for id in self.tree.subtree(FileId::ROOT) {
            let (Some(node), Some(path)) = (self.tree.get(id), self.tree.path(id)) else {
                continue;
            };
            match &node.kind {
                Kind::Folder => folders.push(path),
                Kind::File => {
                    let executable = node.executable;
                    if let Some(document) = self.documents.get_mut(id) {
                        let content = document.rest_on_disk();
                        bases.push((id, *blake3::hash(&content).as_bytes(), document.last_lsn));
                        ready.push((id, tar::File { path, executable, content }));
                    } else if let Some(stored) = self.files.stored(id) {
                        fetch.push((id, path, executable, stored.clone()));
                    }
                }
                Kind::Symlink(_) | Kind::Other => {}
            }
        }
        self.disk.unwritten.clear();
        for (file, hash, last) in bases {
            self.log_base(file, Seen::Held(hash), last);
        }
        let logged = self.last_lsn;
        let links: Vec<(RelPath, String)> = self
            .tree
            .iter()
            .filter_map(|(id, node)| match &node.kind {
                Kind::Symlink(target) => Some((self.tree.path(id)?, target.clone())),
                _ => None,
            })
            .collect();
        let ignored = self.ignored_to_restore();
        let (shared, store) = (self.shared.clone(), self.store.clone());
        self.spawn(async move {
            let fetched = futures_util::stream::iter(fetch.into_iter().map(|(id, path, executable, stored)| {
                let (shared, store) = (shared.clone(), store.clone());
                async move {
                    let content = match stored {
                        Stored::Blob(blob) => store.get_blob(&blob).await.map_err(|error| error.to_string()),
                        Stored::Document { generation, format, .. } => {
                            super::loading::stored_text(&shared, &store, id, generation, format).await
                        }
                    };
                    (id, content.map(|content| tar::File { path, executable, content }))
                }
            }))
            .buffer_unordered(FETCHES)
            .collect::<Vec<_>>()
            .await;
            let mut files = ready;
            for (id, file) in fetched {
                match file {
                    Ok(file) => files.push((id, file)),
                    Err(reason) => {
                        let message = format!("A file could not be read from the blob store: {reason}. Nothing is lost; try again when the store answers.");
                        return Box::new(move |room: &mut Room| room.abandon_sandbox(message)) as Continuation;
                    }
                }
            }
            let outcome = match shared.log.wait_durable(logged).await {
                Ok(()) => fill(&link, files, &folders, &links).await,
                Err(error) => Err(error.to_string()),
            };
            // Nothing runs before this: a server that dies earlier leaves no program behind that
            // could have deleted what is missing.
            let outcome = match outcome {
                Ok(filled) => match super::ignored::restore(&link, &store, ignored).await {
                    Ok(restored) => match link.request(Op::MarkFilled).await {
                        Ok(_) => Ok((filled, restored)),
                        Err(error) => Err(error.to_string()),
                    },
                    Err(reason) => Err(reason),
                },
                Err(reason) => Err(reason),
            };
            Box::new(move |room: &mut Room| match outcome {
                Ok((filled, restored)) => {
                    room.ignored_restored(restored);
                    room.sandbox_filled(filled);
                }
                Err(reason) => room.abandon_sandbox(format!("The files could not be copied into the sandbox: {reason}")),
            }) as Continuation
        });
    }

    fn sandbox_filled(&mut self, filled: Filled) {
        let entries: HashMap<&RelPath, &Entry> =
            filled.entries.iter().map(|entry| (&entry.path, entry)).collect();
        for (id, hash) in filled.hashes {
            let Some(entry) = self.tree.path(id).and_then(|path| entries.get(&path).copied())
            else {
                continue;
            };
            match self.documents.get_mut(id) {
                Some(document) => {
                    if document.disk.disk_hash == Some(hash) {
                        document.disk.signature = Some(entry.signature);
                    }
                }
                None => self.files.remember(id, AtRest { signature: entry.signature, hash }),
            }
            self.disk.saw(id, entry.signature);
        }
        self.sandbox_ready();
    }
}

struct Filled {
    hashes: Vec<(FileId, [u8; 32])>,
    entries: Vec<Entry>,
}

async fn fill(
    link: &AgentLink,
    files: Vec<(FileId, tar::File)>,
    folders: &[RelPath],
    links: &[(RelPath, String)],
) -> Result<Filled, String> {
    let hashes =
        files.iter().map(|(id, file)| (*id, *blake3::hash(&file.content).as_bytes())).collect();
    let paths: Vec<RelPath> = files.iter().map(|(_, file)| file.path.clone()).collect();
    let files: Vec<tar::File> = files.into_iter().map(|(_, file)| file).collect();
    let bytes: Bytes = tar::pack_with_links(&files, folders, links).into();
    link.unpack(std::io::Cursor::new(bytes)).await.map_err(|error| error.to_string())?;
    let stats = paths.into_iter().map(|path| async move {
        match link.request(Op::Stat { path }).await {
            Ok(AgentReply::Entry(entry)) => entry,
            _ => None,
        }
    });
    let entries = futures_util::stream::iter(stats)
        .buffer_unordered(FETCHES)
        .filter_map(std::future::ready)
        .collect()
        .await;
    Ok(Filled { hashes, entries })
}
