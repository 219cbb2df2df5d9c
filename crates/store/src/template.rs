//! Templates: the base files of a language, as one immutable object per version.
//!
//! `templates/<name>/<version>.tar.zst` holds `template.toml` and `files/…`; behind our wrapping
//! it is an ordinary compressed archive, so `tar --zstd -tf` lists it.

use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tandem_proto::{PathError, RelPath};

use crate::blob::{BlobError, BlobStore};
use crate::object::{self, ObjectError, ObjectKind};

/// Most files of one template.
pub const MAX_TEMPLATE_FILES: usize = 1_000;
/// Most bytes of all files of one template.
pub const MAX_TEMPLATE_BYTES: u64 = 16 * 1024 * 1024;

const MANIFEST: &str = "template.toml";
const FILES: &str = "files";
const ENDING: &str = ".tar.zst";

/// What `template.toml` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateManifest {
    /// Unique, `[a-z0-9-]`, 1–40 characters.
    pub name: String,
    /// Shown to people.
    pub title: String,
    /// One line.
    #[serde(default)]
    pub description: String,
    /// Language key for icons and highlighting.
    pub language: String,
    /// Numbers separated by dots, such as `1` or `"1.2.0"`. Raise it with every change.
    #[serde(deserialize_with = "version_text")]
    pub version: String,
    /// Commands that the server must have to run it.
    #[serde(default)]
    pub requires: Vec<String>,
}

/// One file of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFile {
    /// Where it goes in the workspace.
    pub path: RelPath,
    /// What is in it.
    pub content: Bytes,
    /// The executable bit.
    pub executable: bool,
}

/// A template with its files, in the order of their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// What it is.
    pub manifest: TemplateManifest,
    /// What it brings.
    pub files: Vec<TemplateFile>,
}

/// Why a template can't be added or loaded.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The blob store did not do it, or what it holds is bad.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// No such template.
    #[error("there is no template {name}")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The folder is not a template.
    #[error("{} is not a usable template: {reason}", path.display())]
    Invalid {
        /// The file or folder at fault.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// This version was added before with other files.
    #[error(
        "template {name} {version} exists with other files; raise the version in template.toml"
    )]
    VersionTaken {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
    /// The disk refused.
    #[error("can't read {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl From<BlobError> for TemplateError {
    fn from(error: BlobError) -> Self {
        Self::Object(error.into())
    }
}

/// What [`Templates::seed`] did.
#[derive(Debug, Default)]
pub struct Seeded {
    /// Names and versions that were not there before.
    pub added: Vec<String>,
    /// Folders that are no templates or could not be added.
    pub failed: Vec<TemplateError>,
}

/// The templates in a blob store.
#[derive(Debug)]
pub struct Templates {
    blobs: Arc<dyn BlobStore>,
    /// Of immutable objects, so never stale.
    manifests: Mutex<HashMap<String, TemplateManifest>>,
}

impl Templates {
    /// Those in `blobs`.
    pub fn new(blobs: Arc<dyn BlobStore>) -> Self {
        Self { blobs, manifests: Mutex::default() }
    }

    /// Adds every template folder of `directory` that is not there yet. One bad folder does not
    /// keep the others out.
    ///
    /// # Errors
    /// [`TemplateError::Io`] when the directory can't be listed; [`TemplateError::Object`] when
    /// the store fails.
    pub async fn seed(&self, directory: &Path) -> Result<Seeded, TemplateError> {
        let mut seeded = Seeded::default();
        let mut folders = Vec::new();
        let io = |source| TemplateError::Io { path: directory.to_owned(), source };
        let mut entries = tokio::fs::read_dir(directory).await.map_err(io)?;
        while let Some(entry) = entries.next_entry().await.map_err(io)? {
            if tokio::fs::try_exists(entry.path().join(MANIFEST)).await.map_err(io)? {
                folders.push(entry.path());
            }
        }
        folders.sort();
        for folder in folders {
            match self.add_new(&folder).await {
                Ok((manifest, true)) => {
                    seeded.added.push(format!("{} {}", manifest.name, manifest.version));
                }
                Ok((_, false)) => {}
                Err(TemplateError::Object(error)) => return Err(error.into()),
                Err(error) => seeded.failed.push(error),
            }
        }
        Ok(seeded)
    }

    /// Adds one template folder: `template.toml` beside `files/`. Adding the same again does
    /// nothing.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub async fn add(&self, folder: &Path) -> Result<TemplateManifest, TemplateError> {
        self.add_new(folder).await.map(|(manifest, _)| manifest)
    }

    async fn add_new(&self, folder: &Path) -> Result<(TemplateManifest, bool), TemplateError> {
        let folder = folder.to_owned();
        let template = tokio::task::spawn_blocking(move || read_folder(&folder))
            .await
            .map_err(|_| ObjectError::Interrupted)??;
        let TemplateManifest { name, version, .. } = template.manifest.clone();
        let key = key(&name, &version);
        if self.blobs.get(&key).await?.is_some() {
            // Compared by content: another release of the compressor makes other bytes.
            return match self.get(&key).await? == template {
                true => Ok((template.manifest, false)),
                false => Err(TemplateError::VersionTaken { name, version }),
            };
        }
        let archive = pack(&template)
            .map_err(|source| TemplateError::Io { path: PathBuf::from(&name), source })?;
        let object = object::pack(ObjectKind::Template, archive.into()).await?;
        match self.blobs.put(&key, object).await {
            Err(BlobError::Conflict { .. }) => Err(TemplateError::VersionTaken { name, version }),
            other => Ok(other.map(|()| (template.manifest, true))?),
        }
    }

    /// The newest version of every template, by name. A template that can't be read is left out
    /// and logged: it must not hide the others.
    ///
    /// # Errors
    /// [`TemplateError::Object`] when the store fails.
    pub async fn list(&self) -> Result<Vec<TemplateManifest>, TemplateError> {
        let mut manifests = Vec::new();
        for (name, version) in self.newest().await? {
            let key = key(&name, &version);
            let held = self.held().get(&key).cloned();
            let manifest = match held {
                Some(manifest) => Ok(manifest),
                None => self.get(&key).await.map(|template| template.manifest),
            };
            match manifest {
                Ok(manifest) => manifests.push(manifest),
                Err(ObjectError::Store(error)) => return Err(error.into()),
                Err(error) => tracing::error!(%error, "leaving out a template"),
            }
        }
        Ok(manifests)
    }

    /// The newest version of a template, with its files.
    ///
    /// # Errors
    /// [`TemplateError::Unknown`], [`TemplateError::Object`].
    pub async fn load(&self, name: &str) -> Result<Template, TemplateError> {
        let unknown = || TemplateError::Unknown { name: name.chars().take(60).collect() };
        if !is_name(name) {
            return Err(unknown());
        }
        let versions = self.versions(&format!("templates/{name}/")).await?;
        let version = versions.get(name).ok_or_else(unknown)?;
        Ok(self.get(&key(name, version)).await?)
    }

    async fn get(&self, key: &str) -> Result<Template, ObjectError> {
        let archive = object::get(&*self.blobs, ObjectKind::Template, key).await?;
        let template = {
            let key = key.to_owned();
            object::aside(archive.len(), move || unpack(&key, &archive)).await??
        };
        self.held().insert(key.to_owned(), template.manifest.clone());
        Ok(template)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<String, TemplateManifest>> {
        self.manifests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn newest(&self) -> Result<BTreeMap<String, String>, TemplateError> {
        self.versions("templates/").await
    }

    /// Name and newest version of what lies under a prefix.
    async fn versions(&self, prefix: &str) -> Result<BTreeMap<String, String>, TemplateError> {
        let mut newest: BTreeMap<String, String> = BTreeMap::new();
        for info in self.blobs.list(prefix).await? {
            let parsed = info
                .key
                .strip_prefix("templates/")
                .and_then(|rest| rest.strip_suffix(ENDING))
                .and_then(|rest| rest.split_once('/'));
            let Some((name, version)) = parsed else { continue };
            let Some(number) = version_number(version).filter(|_| is_name(name)) else { continue };
            let higher = newest
                .get(name)
                .and_then(|held| version_number(held))
                .is_none_or(|held| number > held);
            if higher {
                newest.insert(name.to_owned(), version.to_owned());
            }
        }
        Ok(newest)
    }
}

fn key(name: &str, version: &str) -> String {
    format!("templates/{name}/{version}{ENDING}")
}

fn is_name(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=40).contains(&name.len()) && name.bytes().all(fine)
}

/// A whole number may stand without quotes. A fraction may not: 1.10 would be read as 1.1.
fn version_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a whole number, or numbers with dots in quotes")]
    enum Version {
        Number(u32),
        Text(String),
    }
    Ok(match Version::deserialize(deserializer)? {
        Version::Number(number) => number.to_string(),
        Version::Text(text) => text,
    })
}

fn version_number(version: &str) -> Option<Vec<u32>> {
    let parts: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
    parts.filter(|parts| parts.len() <= 4 && version.len() <= 40)
}

fn check_manifest(text: &str) -> Result<TemplateManifest, String> {
    let manifest: TemplateManifest = toml::from_str(text).map_err(|error| error.to_string())?;
    if !is_name(&manifest.name) {
        return Err("name must be 1-40 characters of a-z, 0-9 and -".to_owned());
    }
    if version_number(&manifest.version).is_none() {
        return Err("version must be numbers separated by dots, such as \"1.2\"".to_owned());
    }
    let long = [&manifest.title, &manifest.description, &manifest.language]
        .into_iter()
        .chain(&manifest.requires)
        .any(|text| text.len() > 500);
    match long || manifest.requires.len() > 50 {
        true => Err("a field is too long".to_owned()),
        false => Ok(manifest),
    }
}

/// Blocking.
fn read_folder(folder: &Path) -> Result<Template, TemplateError> {
    let manifest_path = folder.join(MANIFEST);
    let invalid =
        |path: &Path, reason: String| TemplateError::Invalid { path: path.to_owned(), reason };
    for (path, folder) in [(&manifest_path, false), (&folder.join(FILES), true)] {
        let metadata = std::fs::symlink_metadata(path)
            .map_err(|source| TemplateError::Io { path: path.clone(), source })?;
        if metadata.is_symlink() || metadata.is_dir() != folder {
            let reason = "a template is a template.toml beside a folder files/, no links";
            return Err(invalid(path, reason.to_owned()));
        }
    }
    let text = std::fs::read_to_string(&manifest_path)
        .map_err(|source| TemplateError::Io { path: manifest_path.clone(), source })?;
    let manifest = check_manifest(&text).map_err(|reason| invalid(&manifest_path, reason))?;
    let mut files = Vec::new();
    let mut bytes = 0;
    let mut open = vec![(folder.join(FILES), None::<RelPath>)];
    while let Some((at, path)) = open.pop() {
        let io = |source| TemplateError::Io { path: at.clone(), source };
        for entry in std::fs::read_dir(&at).map_err(io)? {
            let entry = entry.map_err(io)?;
            let here = entry.path();
            let name = entry
                .file_name()
                .into_string()
                .map_err(|_| invalid(&here, "its name is not UTF-8".to_owned()))?;
            let path = match &path {
                Some(folder) => folder.join(&name),
                None => RelPath::parse_new(&name),
            };
            let path = path.map_err(|error: PathError| invalid(&here, error.to_string()))?;
            // Not followed: the type is the link's own.
            let kind = entry.file_type().map_err(io)?;
            if kind.is_dir() {
                open.push((here, Some(path)));
                continue;
            }
            if !kind.is_file() {
                let reason = "templates hold files and folders only, no links".to_owned();
                return Err(invalid(&here, reason));
            }
            let file = (std::fs::File::open(&here), entry.metadata());
            let (file, metadata) = match file {
                (Ok(file), Ok(metadata)) => (file, metadata),
                (Err(source), _) | (_, Err(source)) => {
                    return Err(TemplateError::Io { path: here, source });
                }
            };
            let mut content = Vec::new();
            file.take(MAX_TEMPLATE_BYTES + 1)
                .read_to_end(&mut content)
                .map_err(|source| TemplateError::Io { path: here.clone(), source })?;
            bytes += content.len() as u64;
            if bytes > MAX_TEMPLATE_BYTES || files.len() >= MAX_TEMPLATE_FILES {
                let reason = format!(
                    "it has more than {MAX_TEMPLATE_FILES} files or {} MiB",
                    MAX_TEMPLATE_BYTES / 1024 / 1024
                );
                return Err(invalid(folder, reason));
            }
            let executable = metadata.permissions().mode() & 0o100 != 0;
            files.push(TemplateFile { path, content: content.into(), executable });
        }
    }
    if files.is_empty() {
        return Err(invalid(&folder.join(FILES), "it holds no files".to_owned()));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Template { manifest, files })
}

/// The same template gives the same bytes: no times, no owners.
fn pack(template: &Template) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, content: &[u8], executable: bool| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(if executable { 0o755 } else { 0o644 });
        archive.append_data(&mut header, path, content)
    };
    let manifest = toml::to_string(&template.manifest).map_err(std::io::Error::other)?;
    add(MANIFEST, manifest.as_bytes(), false)?;
    for file in &template.files {
        add(&format!("{FILES}/{}", file.path), &file.content, file.executable)?;
    }
    archive.into_inner()
}

/// The store may be shared with others: what it holds is checked like a folder.
fn unpack(key: &str, archive: &Bytes) -> Result<Template, ObjectError> {
    let bad = |reason: &str| ObjectError::unsupported(key, reason);
    let mut manifest = None;
    let mut files = Vec::new();
    let mut archive = tar::Archive::new(Cursor::new(archive));
    for entry in archive.entries().map_err(|error| ObjectError::unsupported(key, error))? {
        let mut entry = entry.map_err(|error| ObjectError::unsupported(key, error))?;
        if !entry.header().entry_type().is_file() || files.len() > MAX_TEMPLATE_FILES {
            return Err(bad("it holds something else than a moderate number of files"));
        }
        let path = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| bad("a path is not UTF-8"))?;
        let executable = entry.header().mode().unwrap_or(0) & 0o100 != 0;
        let mut content = Vec::new();
        (&mut entry)
            .take(MAX_TEMPLATE_BYTES + 1)
            .read_to_end(&mut content)
            .map_err(|error| ObjectError::unsupported(key, error))?;
        if path == MANIFEST {
            let text = String::from_utf8(content).map_err(|_| bad("its manifest is not UTF-8"))?;
            let checked = check_manifest(&text).map_err(|reason| bad(&reason))?;
            manifest = Some(checked);
            continue;
        }
        let path = path
            .strip_prefix("files/")
            .and_then(|path| RelPath::parse(path).ok())
            .ok_or_else(|| bad("a path is not below files/"))?;
        files.push(TemplateFile { path, content: content.into(), executable });
    }
    let manifest = manifest.ok_or_else(|| bad("it has no template.toml"))?;
    match key == self::key(&manifest.name, &manifest.version) {
        true => Ok(Template { manifest, files }),
        false => Err(ObjectError::Foreign { key: key.to_owned() }),
    }
}
