use std::path::{Path, PathBuf};

use tandem_proto::path::RelPath;

const LANGUAGES: &[&str] =
    &["bash", "c", "cpp", "go", "java", "node", "python", "rust", "static", "typescript"];

fn templates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sandbox/templates")
}

fn read(path: &Path) -> toml::Table {
    let text = std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("parse {}: {error}", path.display()))
}

#[test]
fn every_language_has_a_complete_template() {
    for language in LANGUAGES {
        let folder = templates().join(language);
        let manifest = read(&folder.join("template.toml"));
        assert_eq!(manifest["name"].as_str(), Some(*language));
        for key in ["title", "description", "language"] {
            assert!(
                manifest[key].as_str().is_some_and(|text| !text.is_empty()),
                "{language}: {key}"
            );
        }
        assert!(manifest["version"].as_integer().is_some_and(|version| version >= 1));
        assert!(
            !manifest["requires"].as_array().unwrap().is_empty(),
            "{language} requires nothing?"
        );

        let files = folder.join("files");
        let settings = read(&files.join("tandem.toml"));
        assert!(settings["run"].as_str().is_some_and(|command| !command.is_empty()));
        assert!(files.join("README.md").is_file(), "{language} has a README");
    }
}

#[test]
fn templates_hold_only_small_text_files() {
    fn visit(folder: &Path, top: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(top).unwrap().to_str().unwrap();
            RelPath::parse_new(name).unwrap_or_else(|error| panic!("{name}: {error}"));
            if path.is_dir() {
                visit(&path, top);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(text.len() < 8 * 1024, "{name} is {} bytes", text.len());
                assert!(!text.contains('\r'), "{name} has LF line endings");
                assert!(text.ends_with('\n'), "{name} ends with a line end");
            }
        }
    }
    for language in LANGUAGES {
        let files = templates().join(language).join("files");
        visit(&files, &files);
    }
}
