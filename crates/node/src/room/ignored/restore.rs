//! Putting ignored folders back into a sandbox that is being filled.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tandem_proto::RelPath;
use tandem_sandbox::AgentLink;
use tandem_store::{ObjectError, ReplStore, StoredFolder};
use tokio::io::AsyncWriteExt as _;

/// Bytes on their way to a sandbox, beside the pieces that are read.
const PIPE: usize = 256 * 1024;
/// Pieces read ahead; each is held in memory.
const AHEAD: usize = 3;

/// What is not as it was.
#[derive(Default)]
pub struct Restored {
    /// The sandbox did not take them: what is stored is better than what is there.
    pub refused: Vec<RelPath>,
    /// What is stored of them is damaged.
    pub damaged: Vec<RelPath>,
    /// A newer state of them was not saved.
    pub behind: Vec<RelPath>,
}

/// Puts folders back.
///
/// # Errors
/// Says why when the blob store does not answer: another try may find everything.
pub async fn restore(
    link: &AgentLink,
    store: &ReplStore,
    folders: Vec<StoredFolder>,
) -> Result<Restored, String> {
    let mut restored = Restored::default();
    for folder in folders {
        if folder.behind {
            restored.behind.push(folder.path.clone());
        }
        if folder.chunks.is_empty() {
            continue;
        }
        let (sent, unpacked) = {
            let (reader, mut writer) = tokio::io::duplex(PIPE);
            let sending = async {
                let mut pieces = stream::iter(folder.chunks.clone())
                    .map(|piece| {
                        let store = store.clone();
                        async move { store.get_blob(&piece).await }
                    })
                    .buffered(AHEAD);
                while let Some(piece) = pieces.try_next().await? {
                    if writer.write_all(&piece).await.is_err() {
                        // The agent has said why it wants no more.
                        break;
                    }
                }
                drop(writer);
                Ok::<(), ObjectError>(())
            };
            tokio::join!(sending, link.unpack(reader))
        };
        let (repl, path) = (store.repl(), folder.path);
        match (sent, unpacked) {
            (Ok(()), Ok(_)) => {}
            (Err(ObjectError::Store(error)), _) => return Err(error.to_string()),
            (Err(error), _) => {
                tracing::error!(%repl, %path, %error, "what is stored of an ignored folder is damaged");
                restored.damaged.push(path);
            }
            (Ok(()), Err(error)) => {
                tracing::warn!(%repl, %path, %error, "an ignored folder was not restored");
                restored.refused.push(path);
            }
        }
    }
    Ok(restored)
}
