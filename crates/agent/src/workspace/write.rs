//! Compare-and-swap of a file's content.
//!
//! Programs do not lock, so the check and the replacement cannot be one step. Instead the new
//! content is exchanged in, what came out is looked at, and if that is not what was expected it
//! is exchanged back: at no moment are bytes that nobody has read the only copy and unreachable.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use rustix::fs::{FileType, Mode, OFlags, RenameFlags, Stat, fchmod, fstat, renameat_with};
use rustix::io::Errno;
use tandem_proto::RelPath;
use tandem_proto::agent::{AgentError, Expect, Found, Reply};
use tandem_proto::limits::MAX_TEXT_BYTES;

use super::change::mode_with;
use super::entry::{file_type, signature};
use super::late::Kept;
use super::read::{Stable, read_stable};
use super::{Place, Workspace, errno_of, failure, open_beneath, refuse_reserved, stat_in};

const TRIES: u32 = 6;
/// A file younger than this may be in the middle of being written.
const QUIET: Duration = Duration::from_millis(50);
/// An empty file is often one that was truncated to be written.
const QUIET_EMPTY: Duration = Duration::from_millis(500);
/// Somebody who writes all the time is not waited for longer than this.
const MOST_PATIENCE: Duration = Duration::from_millis(600);
/// Most paths whose unrest is remembered.
const MAX_UNSETTLED: usize = 1024;
/// Largest file that is read to be compared.
const MAX_COMPARED: u64 = 64 * 1024 * 1024;

/// A replacement that the node asks for.
#[derive(Debug)]
pub struct Write {
    pub path: RelPath,
    pub content: Bytes,
    pub executable: Option<bool>,
    pub expect: Expect,
}

enum Seen {
    Absent,
    File(Stable),
    /// A regular file that is not read because any content will do, or is too large to matter.
    Unread(Stat),
    Other(Stat),
}

impl Workspace {
    /// Replaces or creates a file if it is what the node expects.
    pub fn write(&self, write: &Write) -> Result<Reply, AgentError> {
        refuse_reserved(&write.path)?;
        for _ in 0..TRIES {
            // Nothing comes of a try when somebody changed the file in the middle of it.
            if let Some(reply) = self.try_write(write)? {
                return Ok(reply);
            }
        }
        Err(AgentError::Busy)
    }

    fn try_write(&self, write: &Write) -> Result<Option<Reply>, AgentError> {
        let place = match (write.expect, self.place(&write.path)) {
            (_, Ok(place)) => place,
            (Expect::Content(_), Err(Errno::NOENT)) => {
                return Ok(Some(Reply::Conflict { found: Found::Absent }));
            }
            (_, Err(Errno::NOENT)) => self.make_place(&write.path).map_err(failure)?,
            (_, Err(errno)) => return Err(failure(errno)),
        };
        let Some(seen) = see(&place, write.expect)? else { return Ok(None) };
        match (write.expect, seen) {
            (Expect::Absent | Expect::Any, Seen::Absent) => self.create(write, &place),
            (Expect::Content(_), Seen::Absent) => {
                Ok(Some(Reply::Conflict { found: Found::Absent }))
            }
            (Expect::Content(hash), Seen::File(file))
                if *blake3::hash(&file.content).as_bytes() == hash =>
            {
                self.settled(&write.path);
                self.replace(write, &place, &file.stat)
            }
            (Expect::Any, Seen::File(Stable { stat, .. }) | Seen::Unread(stat)) => {
                self.replace(write, &place, &stat)
            }
            (_, Seen::File(file)) => {
                self.wait_for_quiet(&write.path, &file.stat)?;
                let entry = self.entry_in(&place.folder, write.path.clone(), &file.stat);
                let content = Bytes::from(file.content);
                Ok(Some(Reply::Conflict { found: Found::File { content, entry } }))
            }
            (_, Seen::Unread(stat) | Seen::Other(stat)) => {
                let entry = self.entry_in(&place.folder, write.path.clone(), &stat);
                Ok(Some(Reply::Conflict { found: Found::Other(entry) }))
            }
        }
    }

    fn create(&self, write: &Write, place: &Place<'_>) -> Result<Option<Reply>, AgentError> {
        let mode = mode_with(0o644, write.executable.unwrap_or(false));
        let (temporary, file) = self.prepare(&write.content, mode)?;
        let folder = self.scratch.folder();
        match renameat_with(folder, &temporary, &place.folder, place.name, RenameFlags::NOREPLACE) {
            Ok(()) => self.written(write, place, &file).map(Some),
            Err(Errno::EXIST) => {
                self.scratch.remove(&temporary);
                Ok(None)
            }
            Err(errno) if is_unsupported(errno) => {
                self.scratch.remove(&temporary);
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
                match open_beneath(&place.folder, place.name, flags) {
                    Ok(file) => {
                        fill(&file, &write.content).map_err(failure)?;
                        fchmod(&file, mode).map_err(failure)?;
                        self.written(write, place, &file).map(Some)
                    }
                    Err(Errno::EXIST) => Ok(None),
                    Err(errno) => Err(failure(errno)),
                }
            }
            Err(errno) => {
                self.scratch.remove(&temporary);
                Err(failure(errno))
            }
        }
    }

    fn replace(
        &self,
        write: &Write,
        place: &Place<'_>,
        old: &Stat,
    ) -> Result<Option<Reply>, AgentError> {
        if old.st_nlink > 1 {
            return self.replace_in_place(write, place);
        }
        let mode = match write.executable {
            Some(executable) => mode_with(old.st_mode, executable),
            None => Mode::from_raw_mode(old.st_mode & 0o777),
        };
        let (temporary, file) = self.prepare(&write.content, mode)?;
        let folder = self.scratch.folder();
        match renameat_with(folder, &temporary, &place.folder, place.name, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(errno) => {
                self.scratch.remove(&temporary);
                return match errno {
                    Errno::NOENT => Ok(None),
                    errno if is_unsupported(errno) => self.replace_in_place(write, place),
                    errno => Err(failure(errno)),
                };
            }
        }
        // From here on `temporary` names what was at the path.
        let Some(kept) = self.accept(write, &temporary) else {
            self.put_back(&write.path, place, &temporary, &file);
            return Ok(None);
        };
        self.keep(kept);
        self.written(write, place, &file).map(Some)
    }

    /// What was swapped out, if it may be replaced.
    fn accept(&self, write: &Write, temporary: &str) -> Option<Kept> {
        let file = open_beneath(self.scratch.folder(), temporary, OFlags::RDONLY).ok()?;
        let stat = fstat(&file).ok()?;
        if file_type(&stat) != FileType::RegularFile {
            return None;
        }
        let (hash, stat) = match read_stable(file, MAX_COMPARED) {
            Ok(Some(stable)) => (Some(*blake3::hash(&stable.content).as_bytes()), stable.stat),
            Ok(None) => return None,
            // Too large to compare, or closed to us.
            Err(_) => (None, stat),
        };
        match write.expect {
            Expect::Content(expected) if hash != Some(expected) => None,
            Expect::Absent => None,
            Expect::Content(_) | Expect::Any => {
                Some(Kept::new(temporary.to_owned(), write.path.clone(), signature(&stat), hash))
            }
        }
    }

    /// Undoes an exchange. If somebody has meanwhile put a third file at the path, the newest
    /// stays and the first is kept beside it.
    fn put_back(&self, path: &RelPath, place: &Place<'_>, temporary: &str, ours: &OwnedFd) {
        let folder = self.scratch.folder();
        let exchange =
            || renameat_with(folder, temporary, &place.folder, place.name, RenameFlags::EXCHANGE);
        match exchange() {
            Ok(()) => {}
            Err(Errno::NOENT) => {
                // Our content was deleted: what was there before must not go with it.
                let flags = RenameFlags::NOREPLACE;
                if renameat_with(folder, temporary, &place.folder, place.name, flags).is_err() {
                    self.keep_copy(path, temporary);
                }
                return;
            }
            Err(_) => {
                self.keep_copy(path, temporary);
                return;
            }
        }
        let out = stat_in(folder, temporary).map(|stat| (stat.st_dev, stat.st_ino));
        let own = fstat(ours).map(|stat| (stat.st_dev, stat.st_ino));
        if out.is_ok() && out == own {
            self.scratch.remove(temporary);
        } else if exchange().is_ok() || out.is_ok() {
            self.keep_copy(path, temporary);
        }
    }

    fn replace_in_place(
        &self,
        write: &Write,
        place: &Place<'_>,
    ) -> Result<Option<Reply>, AgentError> {
        let file = match open_beneath(&place.folder, place.name, OFlags::RDWR) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failure(errno)),
        };
        if let Expect::Content(expected) = write.expect {
            let copy = file.try_clone().map_err(|error| failure(errno_of(&error)))?;
            match read_stable(copy, MAX_COMPARED)? {
                Some(stable) if *blake3::hash(&stable.content).as_bytes() == expected => {}
                _ => return Ok(None),
            }
        } else if file_type(&fstat(&file).map_err(failure)?) != FileType::RegularFile {
            return Ok(None);
        }
        fill(&file, &write.content).map_err(failure)?;
        // Cut last: at no moment does a reader find an empty file.
        rustix::fs::ftruncate(&file, write.content.len() as u64).map_err(failure)?;
        if let Some(executable) = write.executable {
            let mode = fstat(&file).map_err(failure)?.st_mode;
            fchmod(&file, mode_with(mode, executable)).map_err(failure)?;
        }
        self.written(write, place, &file).map(Some)
    }

    fn prepare(&self, content: &[u8], mode: Mode) -> Result<(String, OwnedFd), AgentError> {
        let (temporary, file) = self.scratch.create().map_err(failure)?;
        let prepared = fill(&file, content).and_then(|()| fchmod(&file, mode));
        match prepared {
            Ok(()) => Ok((temporary, file)),
            Err(errno) => {
                self.scratch.remove(&temporary);
                Err(failure(errno))
            }
        }
    }

    fn written(
        &self,
        write: &Write,
        place: &Place<'_>,
        file: &OwnedFd,
    ) -> Result<Reply, AgentError> {
        let mut file_now = File::from(file.try_clone().map_err(|error| failure(errno_of(&error)))?);
        let stat = fstat(file).map_err(failure)?;
        let entry = self.entry_in(&place.folder, write.path.clone(), &stat);
        // A program may already have changed what we put there: then the state told of must not
        // be one whose content the node has never seen.
        if holds(&mut file_now, &write.content) {
            self.note_own_write(&write.path, entry.signature);
            Ok(Reply::Written { entry })
        } else {
            let signature =
                tandem_proto::agent::Signature { mtime_ns: 0, ctime_ns: 0, ..entry.signature };
            Ok(Reply::Written { entry: tandem_proto::agent::Entry { signature, ..entry } })
        }
    }

    /// Refuses for a while to judge a file that somebody seems to be writing.
    fn wait_for_quiet(&self, path: &RelPath, stat: &Stat) -> Result<(), AgentError> {
        let quiet = if stat.st_size == 0 { QUIET_EMPTY } else { QUIET };
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now_ns = since_epoch.map_or(0, |now| i64::try_from(now.as_nanos()).unwrap_or(0));
        let age_ns = now_ns.saturating_sub(signature(stat).mtime_ns);
        let is_fresh = u64::try_from(age_ns).is_ok_and(|age| u128::from(age) < quiet.as_nanos());
        if !is_fresh {
            self.settled(path);
            return Ok(());
        }
        let mut unsettled =
            self.unsettled.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if unsettled.len() >= MAX_UNSETTLED {
            unsettled.clear();
        }
        let since = *unsettled.entry(path.clone()).or_insert_with(Instant::now);
        if since.elapsed() < MOST_PATIENCE {
            return Err(AgentError::Busy);
        }
        unsettled.remove(path);
        Ok(())
    }

    fn settled(&self, path: &RelPath) {
        self.unsettled.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(path);
    }
}

/// `None` when it changed while it was looked at.
fn see(place: &Place<'_>, expect: Expect) -> Result<Option<Seen>, AgentError> {
    let file = match open_beneath(&place.folder, place.name, OFlags::RDONLY) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(Some(Seen::Absent)),
        // A link or a socket; a file closed to us can still be replaced when anything will do.
        Err(errno @ (Errno::LOOP | Errno::NXIO | Errno::ACCESS)) => {
            return match stat_in(&place.folder, place.name) {
                Ok(stat) if file_type(&stat) == FileType::RegularFile => match expect {
                    Expect::Any => Ok(Some(Seen::Unread(stat))),
                    _ => Err(failure(errno)),
                },
                Ok(stat) => Ok(Some(Seen::Other(stat))),
                Err(Errno::NOENT) => Ok(Some(Seen::Absent)),
                Err(errno) => Err(failure(errno)),
            };
        }
        Err(errno) => return Err(failure(errno)),
    };
    let stat = fstat(&file).map_err(failure)?;
    if file_type(&stat) != FileType::RegularFile {
        return Ok(Some(Seen::Other(stat)));
    }
    if expect == Expect::Any || stat.st_size > MAX_TEXT_BYTES as i64 {
        return Ok(Some(Seen::Unread(stat)));
    }
    match read_stable(file, MAX_TEXT_BYTES as u64) {
        Ok(Some(stable)) => Ok(Some(Seen::File(stable))),
        Ok(None) | Err(AgentError::TooLarge) => Ok(None),
        Err(error) => Err(error),
    }
}

fn fill(file: &OwnedFd, content: &[u8]) -> Result<(), Errno> {
    let mut file = File::from(file.try_clone().map_err(|error| errno_of(&error))?);
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    file.write_all(content).map_err(|error| errno_of(&error))
}

/// Whether the file holds exactly this.
fn holds(file: &mut File, content: &[u8]) -> bool {
    let mut buffer = [0; 16 * 1024];
    let mut at = 0;
    loop {
        match file.read_at(&mut buffer, at as u64) {
            Ok(0) => return at == content.len(),
            Ok(count) => {
                if content.get(at..at + count) != Some(&buffer[..count]) {
                    return false;
                }
                at += count;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

fn is_unsupported(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV)
}
