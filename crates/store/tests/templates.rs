//! Templates: from folders into the blob store and back.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tandem_store::blob::MemoryStore;
use tandem_store::{BlobStore, TemplateError, Templates};

fn folder(home: &Path, name: &str, version: &str) -> PathBuf {
    let folder = home.join(name);
    std::fs::create_dir_all(folder.join("files/src")).unwrap();
    let manifest = format!(
        "name = \"{name}\"\ntitle = \"T\"\nlanguage = \"x\"\nversion = \"{version}\"\nrequires = [\"sh\"]\n"
    );
    std::fs::write(folder.join("template.toml"), manifest).unwrap();
    std::fs::write(folder.join("files/src/main.sh"), "echo hello\n").unwrap();
    std::fs::write(folder.join("files/tandem.toml"), "run = \"sh src/main.sh\"\n").unwrap();
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.join("files/src/main.sh"), mode).unwrap();
    folder
}

#[tokio::test]
async fn seeding_adds_what_is_new_and_the_newest_version_is_used() {
    let home = tempfile::tempdir().unwrap();
    folder(home.path(), "bash", "1.9");
    folder(home.path(), "static-web", "1");
    std::fs::create_dir(home.path().join("notes")).unwrap();
    let blobs = Arc::new(MemoryStore::default());
    let templates = Templates::new(blobs.clone());
    let seeded = templates.seed(home.path()).await.unwrap();
    assert_eq!(seeded.added, ["bash 1.9", "static-web 1"]);
    assert!(seeded.failed.is_empty());
    assert!(templates.seed(home.path()).await.unwrap().added.is_empty());

    let newer = folder(home.path(), "bash", "1.10");
    std::fs::write(newer.join("files/new.txt"), "new").unwrap();
    templates.add(&newer).await.unwrap();
    let template = Templates::new(blobs).load("bash").await.unwrap();
    assert_eq!(template.manifest.version, "1.10");
    let files: Vec<(&str, bool)> =
        template.files.iter().map(|file| (file.path.as_str(), file.executable)).collect();
    assert_eq!(files, [("new.txt", false), ("src/main.sh", true), ("tandem.toml", false)]);
    assert_eq!(template.files[1].content, "echo hello\n");
    let names: Vec<String> =
        templates.list().await.unwrap().into_iter().map(|manifest| manifest.name).collect();
    assert_eq!(names, ["bash", "static-web"]);
    for unknown in ["nothing", "", "../bash", "Bash", "bash/1.10"] {
        let loaded = templates.load(unknown).await;
        assert!(matches!(loaded, Err(TemplateError::Unknown { .. })), "{unknown}");
    }
}

#[tokio::test]
async fn bad_folders_are_refused_with_a_reason() {
    let home = tempfile::tempdir().unwrap();
    let blobs = Arc::new(MemoryStore::default());
    let templates = Templates::new(blobs.clone());

    let link = folder(home.path(), "link", "1");
    symlink("/etc/passwd", link.join("files/passwd")).unwrap();
    let folder_link = folder(home.path(), "folder-link", "1");
    symlink("/etc", folder_link.join("files/etc")).unwrap();
    let large = folder(home.path(), "large", "1");
    std::fs::File::create(large.join("files/big")).unwrap().set_len(20 << 20).unwrap();
    let many = folder(home.path(), "many", "1");
    for n in 0..1_001 {
        std::fs::write(many.join(format!("files/{n}")), "").unwrap();
    }
    let empty = folder(home.path(), "empty", "1");
    std::fs::remove_dir_all(empty.join("files")).unwrap();
    std::fs::create_dir(empty.join("files")).unwrap();
    folder(home.path(), "Upper", "1");
    folder(home.path(), "version", "one");
    let fraction = folder(home.path(), "fraction", "1").join("template.toml");
    let text = std::fs::read_to_string(&fraction).unwrap().replace("\"1\"", "1.10");
    std::fs::write(fraction, text).unwrap();
    folder(home.path(), "good", "1");
    let seeded = templates.seed(home.path()).await.unwrap();
    assert_eq!(seeded.added, ["good 1"]);
    assert_eq!(seeded.failed.len(), 8, "{:?}", seeded.failed);
    assert_eq!(blobs.list("").await.unwrap().len(), 1);

    let good = home.path().join("good");
    std::fs::write(good.join("files/tandem.toml"), "changed").unwrap();
    let changed = templates.add(&good).await;
    assert!(matches!(changed, Err(TemplateError::VersionTaken { .. })), "{changed:?}");
}

#[tokio::test]
async fn a_corrupt_template_hides_no_other() {
    let home = tempfile::tempdir().unwrap();
    folder(home.path(), "a", "1");
    folder(home.path(), "b", "1");
    let blobs = Arc::new(MemoryStore::default());
    Templates::new(blobs.clone()).seed(home.path()).await.unwrap();
    let key = "templates/a/1.tar.zst";
    let mut bytes = blobs.get(key).await.unwrap().unwrap().to_vec();
    bytes[80] ^= 1;
    blobs.delete(key).await.unwrap();
    blobs.put(key, bytes.into()).await.unwrap();
    let templates = Templates::new(blobs);
    assert_eq!(templates.list().await.unwrap().len(), 1);
    let error = templates.load("a").await.unwrap_err();
    assert!(matches!(error, TemplateError::Object(_)), "{error}");
}

#[tokio::test]
async fn the_templates_of_this_repository_are_usable() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sandbox/templates");
    let templates = Templates::new(Arc::new(MemoryStore::default()));
    let seeded = templates.seed(&directory).await.unwrap();
    assert!(seeded.failed.is_empty(), "{:?}", seeded.failed);
    let folders = std::fs::read_dir(directory).unwrap();
    let expected = folders.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(seeded.added.len(), expected);
    for manifest in templates.list().await.unwrap() {
        let template = templates.load(&manifest.name).await.unwrap();
        assert!(!template.files.is_empty(), "{}", manifest.name);
    }
}
