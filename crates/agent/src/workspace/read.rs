//! Reading files that may change while they are read.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::{FileType, OFlags, Stat, fstat};
use rustix::io::Errno;
use tandem_proto::RelPath;
use tandem_proto::agent::{AgentError, Entry, Reply};
use tandem_proto::limits::MAX_AGENT_FRAME_BYTES;

use super::entry::{file_type, signature};
use super::{Place, Workspace, failure, open_beneath, refuse_reserved};

/// Most bytes one answer can carry.
const MAX_ANSWER: u64 = (MAX_AGENT_FRAME_BYTES - 64 * 1024) as u64;
const TRIES: u32 = 4;
const BETWEEN_TRIES: Duration = Duration::from_millis(8);

/// A file's content and the state it was in from the first byte to the last.
#[derive(Debug)]
pub(super) struct Stable {
    pub content: Vec<u8>,
    pub stat: Stat,
}

impl Workspace {
    /// Reads a regular file.
    pub fn read(&self, path: &RelPath, max_bytes: u64) -> Result<Reply, AgentError> {
        refuse_reserved(path)?;
        let place = self.place(path).map_err(failure)?;
        let stable = read_in(&place, max_bytes.min(MAX_ANSWER))?;
        Ok(Reply::Content {
            content: Bytes::from(stable.content),
            entry: self.entry_in(&place.folder, path.clone(), &stable.stat),
        })
    }

    /// Looks at a path.
    pub fn stat(&self, path: &RelPath) -> Result<Option<Entry>, AgentError> {
        refuse_reserved(path)?;
        let place = match self.place(path) {
            Ok(place) => place,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(failure(errno)),
        };
        match super::stat_in(&place.folder, place.name) {
            Ok(stat) => Ok(Some(self.entry_in(&place.folder, path.clone(), &stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failure(errno)),
        }
    }
}

/// Reads a regular file of at most `max_bytes` while nobody changes it.
pub(super) fn read_in(place: &Place<'_>, max_bytes: u64) -> Result<Stable, AgentError> {
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(BETWEEN_TRIES);
        }
        let file = open_beneath(&place.folder, place.name, OFlags::RDONLY).map_err(failure)?;
        if let Some(stable) = read_stable(file, max_bytes)? {
            return Ok(stable);
        }
    }
    Err(AgentError::Busy)
}

/// `None` when it changed while it was read.
pub(super) fn read_stable(file: OwnedFd, max_bytes: u64) -> Result<Option<Stable>, AgentError> {
    let before = fstat(&file).map_err(failure)?;
    if file_type(&before) != FileType::RegularFile {
        return Err(AgentError::WrongKind);
    }
    let size = signature(&before).size;
    if size > max_bytes {
        return Err(AgentError::TooLarge);
    }
    let mut file = File::from(file);
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    // One byte more than it should have shows that it grew.
    let read = (&mut file).take(size + 1).read_to_end(&mut content);
    read.map_err(|error| failure(super::errno_of(&error)))?;
    let stat = fstat(&file).map_err(failure)?;
    let unchanged = signature(&stat) == signature(&before) && content.len() as u64 == size;
    Ok(unchanged.then_some(Stable { content, stat }))
}
