//! Tar for bulk transfers to and from a workspace.

use bytes::Bytes;
use tandem_proto::RelPath;
use tandem_sandbox::AgentLink;
use tokio::io::AsyncReadExt as _;

/// Room made for a file before its first byte is here.
const PREALLOCATED: usize = 8 * 1024 * 1024;

/// A file to be packed.
#[derive(Debug, Clone)]
pub struct File {
    /// Where.
    pub path: RelPath,
    /// Executable bits.
    pub executable: bool,
    /// Its bytes.
    pub content: Bytes,
}

/// Packs files and folders.
pub fn pack(files: &[File], folders: &[RelPath]) -> Vec<u8> {
    pack_with_links(files, folders, &[])
}

/// Packs files, folders and symbolic links.
pub fn pack_with_links(
    files: &[File],
    folders: &[RelPath],
    links: &[(RelPath, String)],
) -> Vec<u8> {
    let size: usize = files.iter().map(|file| file.content.len() + 1024).sum();
    let mut builder = tar::Builder::new(Vec::with_capacity(size + 4096));
    // Writing into memory fails only for names that tar cannot hold; RelPath is shorter.
    for folder in folders {
        let mut header = header(tar::EntryType::Directory, 0, 0o755);
        drop(builder.append_data(&mut header, folder.as_str(), std::io::empty()));
    }
    for file in files {
        let mode = if file.executable { 0o755 } else { 0o644 };
        let mut header = header(tar::EntryType::Regular, file.content.len() as u64, mode);
        drop(builder.append_data(&mut header, file.path.as_str(), file.content.as_ref()));
    }
    for (path, target) in links {
        let mut header = header(tar::EntryType::Symlink, 0, 0o777);
        drop(builder.append_link(&mut header, path.as_str(), target));
    }
    builder.into_inner().unwrap_or_default()
}

fn header(kind: tar::EntryType, size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header
}

/// Reads one large file out of a sandbox; `None` when it cannot be read, or is larger than this.
pub async fn read_one(link: &AgentLink, path: &RelPath, max_bytes: u64) -> Option<Bytes> {
    let stream = link.pack(vec![path.clone()]).await.ok()?;
    // Headers of a long name, the content, and what fills up and ends an archive.
    let limit = max_bytes.checked_add(16 * 1024)?;
    let mut bytes = Vec::with_capacity(usize::try_from(limit).ok()?.min(PREALLOCATED));
    let read = stream.take(limit + 1).read_to_end(&mut bytes).await.ok()?;
    if read as u64 > limit {
        return None;
    }
    let bytes = Bytes::from(bytes);
    let mut archive = tar::Archive::new(bytes.as_ref());
    for entry in archive.entries().ok()? {
        let entry = entry.ok()?;
        let same = entry.path_bytes().as_ref() == path.as_str().as_bytes();
        if same && entry.header().entry_type() == tar::EntryType::Regular {
            let start = usize::try_from(entry.raw_file_position()).ok()?;
            let end = start.checked_add(usize::try_from(entry.size()).ok()?)?;
            let whole = end <= bytes.len();
            return whole.then(|| bytes.slice(start..end));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_unpacks() {
        let path = |text: &str| RelPath::parse(text).unwrap();
        let long = format!("{}/file", vec!["x".repeat(60); 12].join("/"));
        let files = [
            File { path: path("a.txt"), executable: false, content: Bytes::from_static(b"hello") },
            File { path: path(&long), executable: true, content: Bytes::from_static(b"") },
        ];
        let bytes = pack_with_links(&files, &[path("src")], &[(path("l"), "a.txt".to_owned())]);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let seen: Vec<(String, u64, u32)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
                (name, entry.size(), entry.header().mode().unwrap())
            })
            .collect();
        let names: Vec<&str> = seen.iter().map(|(name, _, _)| name.trim_end_matches('/')).collect();
        assert_eq!(names, ["src", "a.txt", &long, "l"]);
        assert_eq!(seen[1].1, 5);
        assert_eq!(seen[2].2 & 0o111, 0o111);
    }
}
