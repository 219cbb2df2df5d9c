//! One file of the log on the disk: made complete under another name first, so that a file with
//! a segment's name always had a whole header and its full length.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, fdatasync};
use tandem_proto::Lsn;

use super::LogError;
use super::format::{SEGMENT_HEADER, SegmentHeader};

/// Ending of a segment's name; what is still being made has another.
pub(super) const ENDING: &str = "log";
const UNFINISHED: &str = "new";

/// A segment that is written to.
#[derive(Debug)]
pub(super) struct SegmentFile {
    pub path: PathBuf,
    pub header: SegmentHeader,
    file: File,
    #[cfg(test)]
    faults: std::sync::Arc<Faults>,
}

/// What tests let go wrong.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub fail_sync: std::sync::atomic::AtomicBool,
    pub full: std::sync::atomic::AtomicBool,
    pub full_write: std::sync::atomic::AtomicBool,
}

impl SegmentFile {
    /// Makes and preallocates a segment; it is durable when this returns.
    pub fn create(
        directory: &Path,
        header: SegmentHeader,
        #[cfg(test)] faults: std::sync::Arc<Faults>,
    ) -> io::Result<Self> {
        #[cfg(test)]
        if faults.full.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        let path = directory.join(name(&header));
        let unfinished = path.with_extension(UNFINISHED);
        let made = write_new(&unfinished, &header).and_then(|file| {
            std::fs::rename(&unfinished, &path)?;
            File::open(directory)?.sync_all()?;
            Ok(file)
        });
        match made {
            Ok(file) => Ok(Self {
                path,
                header,
                file,
                #[cfg(test)]
                faults,
            }),
            Err(error) => {
                // Frees what a full disk needs most. It has no records yet.
                let _ = std::fs::remove_file(&unfinished);
                Err(error)
            }
        }
    }

    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(test)]
        if self.faults.full_write.load(std::sync::atomic::Ordering::SeqCst) {
            self.file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(rustix::io::Errno::NOSPC.into());
        }
        self.file.write_all_at(bytes, offset)
    }

    pub fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.faults.fail_sync.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(rustix::io::Errno::IO.into());
        }
        Ok(fdatasync(&self.file)?)
    }

    /// Gives back the preallocated rest behind the seal. Only saves space.
    pub fn shorten(&self, length: u64) {
        if let Err(error) = self.file.set_len(length) {
            tracing::warn!(path = %self.path.display(), %error, "can't shorten a log segment");
        }
    }
}

/// Ends a segment that a crash left open, as its writer would have: gives its preallocated rest
/// back and makes its end known. Says the new length.
pub(super) fn seal_after_crash(path: &Path, seal: &[u8], end: u64) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(seal, end)?;
    fdatasync(&file)?;
    let length = end + seal.len() as u64;
    file.set_len(length)?;
    Ok(length)
}

fn write_new(path: &Path, header: &SegmentHeader) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, header.size) {
        Ok(()) => {}
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let zeros = vec![0u8; 1024 * 1024];
            let mut offset = 0;
            while offset < header.size {
                let length = zeros.len().min((header.size - offset) as usize);
                file.write_all_at(&zeros[..length], offset)?;
                offset += length as u64;
            }
        }
        Err(error) => return Err(error.into()),
    }
    file.write_all_at(&header.encode(), 0)?;
    file.sync_all()?;
    Ok(file)
}

fn name(header: &SegmentHeader) -> String {
    format!("{:08x}-{}-{:016x}.{ENDING}", header.boot_order, header.boot, header.first.0)
}

/// What a segment's name says: order of the boot, boot, first LSN. The header says it again.
pub(super) fn parse_name(path: &Path) -> Option<(u64, tandem_proto::BootId, Lsn)> {
    if path.extension()? != ENDING {
        return None;
    }
    let mut parts = path.file_stem()?.to_str()?.split('-');
    let order = u64::from_str_radix(parts.next()?, 16).ok()?;
    let boot = parts.next()?.parse().ok()?;
    let first = u64::from_str_radix(parts.next()?, 16).ok()?;
    parts.next().is_none().then_some((order, boot, Lsn(first)))
}

/// The segments of a directory in the order of writing. Removes what was never finished.
pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>, LogError> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(directory).map_err(LogError::io("list", directory))?;
    for entry in entries {
        let path = entry.map_err(LogError::io("list", directory))?.path();
        if path.extension().is_some_and(|extension| extension == UNFINISHED) {
            std::fs::remove_file(&path).map_err(LogError::io("remove", &path))?;
        } else if let Some(key) = parse_name(&path) {
            found.push((key, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Reads a file through a window, so that a segment never lies in memory as a whole.
pub(super) struct Window {
    file: File,
    pub length: u64,
    start: u64,
    buffer: Vec<u8>,
}

const AHEAD: usize = 256 * 1024;

impl Window {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file, length, start: 0, buffer: Vec::new() })
    }

    /// The bytes at `offset`: `length` of them, fewer at the end of the file.
    pub fn get(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let available = self.length.saturating_sub(offset);
        let length = length.min(usize::try_from(available).unwrap_or(usize::MAX));
        let held =
            offset >= self.start && offset + length as u64 <= self.start + self.buffer.len() as u64;
        if !held {
            let wanted = length.max(AHEAD).min(usize::try_from(available).unwrap_or(usize::MAX));
            self.start = offset;
            if let Err(error) = self.fill(wanted) {
                self.buffer.clear();
                return Err(error);
            }
        }
        let from = ((offset - self.start) as usize).min(self.buffer.len());
        let to = (from + length).min(self.buffer.len());
        Ok(&self.buffer[from..to])
    }

    /// As much as there is: the writer may seal and shorten the file while we read ahead.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        self.buffer.resize(wanted, 0);
        let mut filled = 0;
        while filled < wanted {
            let offset = self.start + filled as u64;
            match self.file.read_at(&mut self.buffer[filled..], offset) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.buffer.truncate(filled);
        Ok(())
    }

    /// The first offset from `offset` on that was ever written; `None`: nothing more was.
    pub fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        match rustix::fs::seek(&self.file, SeekFrom::Data(offset)) {
            Ok(data) => Ok(Some(data)),
            Err(rustix::io::Errno::NXIO) => Ok(None),
            // Filesystems without holes: everything counts as written.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => Ok(Some(offset)),
            Err(error) => Err(error.into()),
        }
    }

    pub fn header(&mut self) -> io::Result<Option<[u8; SEGMENT_HEADER]>> {
        Ok(self.get(0, SEGMENT_HEADER)?.try_into().ok())
    }
}
