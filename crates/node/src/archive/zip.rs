//! Zip from and to people. What comes in is hostile: names, links, sizes and ratios are checked
//! before anything is used.

use std::collections::HashSet;
use std::io::{Cursor, Read as _, Write as _};

use bytes::Bytes;
use tandem_proto::{PathError, RelPath, limits};
use zip::write::SimpleFileOptions;

/// Why an archive is not imported.
#[derive(Debug, thiserror::Error)]
pub enum ZipError {
    /// Not a zip, damaged, or of a kind that is not read.
    #[error("the archive cannot be read: {0}")]
    Damaged(String),
    /// An entry's name leads nowhere good.
    #[error("the entry {0:?} has a name that is not allowed: {1}")]
    Name(String, PathError),
    /// A symbolic link or device.
    #[error("the entry {0:?} is a link or a special file")]
    Kind(String),
    /// Two entries with one name, or a file where another entry needs a folder.
    #[error("the entry {0:?} stands in the way of another")]
    Twice(String),
    /// Over [`limits::MAX_IMPORT_UNPACKED_BYTES`] or the file limit.
    #[error("the archive is too large when unpacked")]
    TooLarge,
    /// Over [`limits::MAX_TREE_ENTRIES`].
    #[error("the archive has too many entries")]
    TooMany,
}

/// One file of an archive.
#[derive(Debug)]
pub struct Entry {
    /// Where.
    pub path: RelPath,
    /// Executable bit.
    pub executable: bool,
    /// Its bytes.
    pub content: Bytes,
}

/// Unpacks an archive in memory.
///
/// # Errors
/// See [`ZipError`]; nothing of a refused archive is returned.
pub fn unpack(bytes: &Bytes) -> Result<Vec<Entry>, ZipError> {
    let damaged = |error: zip::result::ZipError| ZipError::Damaged(error.to_string());
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes.clone())).map_err(damaged)?;
    if archive.len() > limits::MAX_TREE_ENTRIES {
        return Err(ZipError::TooMany);
    }
    let mut left = limits::MAX_IMPORT_UNPACKED_BYTES;
    let mut entries = Vec::new();
    for index in 0..archive.len() {
        let file = archive.by_index(index).map_err(damaged)?;
        let name = file.name().to_owned();
        if file.is_dir() {
            let folder = name.trim_end_matches('/');
            RelPath::parse_new(folder).map_err(|error| ZipError::Name(name.clone(), error))?;
            continue;
        }
        let path =
            RelPath::parse_new(&name).map_err(|error| ZipError::Name(name.clone(), error))?;
        let mode = file.unix_mode().unwrap_or(0o644);
        if mode & 0o170_000 != 0 && mode & 0o170_000 != 0o100_000 {
            return Err(ZipError::Kind(name));
        }
        // The declared size may lie: read at most what is left.
        let limit = left.min(limits::MAX_UPLOAD_BYTES as u64);
        let mut content = Vec::new();
        let read = file
            .take(limit + 1)
            .read_to_end(&mut content)
            .map_err(|error| ZipError::Damaged(error.to_string()))?;
        if read as u64 > limit {
            return Err(ZipError::TooLarge);
        }
        left -= read as u64;
        entries.push(Entry { path, executable: mode & 0o111 != 0, content: content.into() });
    }
    check_names(&entries)?;
    Ok(entries)
}

fn check_names(entries: &[Entry]) -> Result<(), ZipError> {
    let mut files: HashSet<&str> = HashSet::new();
    for entry in entries {
        if !files.insert(entry.path.as_str()) {
            return Err(ZipError::Twice(entry.path.to_string()));
        }
    }
    for entry in entries {
        let mut parent = entry.path.parent();
        while let Some(folder) = parent {
            if files.contains(folder.as_str()) {
                return Err(ZipError::Twice(folder.to_string()));
            }
            parent = folder.parent();
        }
    }
    Ok(())
}

/// Packs files and empty folders.
///
/// # Errors
/// When the archive would break a limit of the format.
pub fn pack(
    files: &[(RelPath, bool, Bytes)],
    folders: &[RelPath],
) -> Result<Vec<u8>, zip::result::ZipError> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for folder in folders {
        writer
            .add_directory(folder.as_str(), SimpleFileOptions::default().unix_permissions(0o755))?;
    }
    for (path, executable, content) in files {
        let mode = if *executable { 0o755 } else { 0o644 };
        writer.start_file(path.as_str(), SimpleFileOptions::default().unix_permissions(mode))?;
        writer.write_all(content)?;
    }
    Ok(writer.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, &[u8], u32)]) -> Bytes {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content, mode) in entries {
            let options = SimpleFileOptions::default().unix_permissions(*mode);
            writer.start_file(*name, options).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner().into()
    }

    #[test]
    fn what_is_packed_unpacks() {
        let path = RelPath::parse("src/ä b.sh").unwrap();
        let files = [(path.clone(), true, Bytes::from_static(b"echo"))];
        let bytes = pack(&files, &[RelPath::parse("empty").unwrap()]).unwrap().into();
        let entries = unpack(&bytes).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!((&entries[0].path, entries[0].executable), (&path, true));
        assert_eq!(&entries[0].content[..], b"echo");
    }

    #[test]
    fn hostile_archives_are_refused_whole() {
        for name in ["../x", "/etc/x", "a/../../x", "a//b", "a\u{202e}b"] {
            let bytes = archive(&[("ok", b"1", 0o644), (name, b"2", 0o644)]);
            assert!(matches!(unpack(&bytes), Err(ZipError::Name(..))), "{name}");
        }
        let bytes = archive(&[("a", b"1", 0o644), ("a/b", b"2", 0o644)]);
        assert!(matches!(unpack(&bytes), Err(ZipError::Twice(_))));
        assert!(matches!(unpack(&Bytes::from_static(b"no zip")), Err(ZipError::Damaged(_))));
    }

    #[test]
    fn symbolic_links_are_refused() {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        writer.add_symlink("l", "/etc/passwd", SimpleFileOptions::default()).unwrap();
        let bytes = writer.finish().unwrap().into_inner().into();
        assert!(matches!(unpack(&bytes), Err(ZipError::Kind(_))));
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let zeros = vec![0; 1 << 20];
        for index in 0..3 {
            writer.start_file(format!("f{index}"), SimpleFileOptions::default()).unwrap();
            for _ in 0..200 {
                writer.write_all(&zeros).unwrap();
            }
        }
        let bytes: Bytes = writer.finish().unwrap().into_inner().into();
        assert!(bytes.len() < 2 << 20);
        assert!(matches!(unpack(&bytes), Err(ZipError::TooLarge)));
    }
}
