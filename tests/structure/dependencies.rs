use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Each crate and the crates of ours that it may depend on. See ARCHITECTURE.md.
const ALLOWED: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("doc", &[]),
    ("term", &[]),
    ("store", &["proto"]),
    ("sandbox", &["proto"]),
    ("agent", &["proto", "term"]),
    ("node", &["proto", "doc", "term", "store", "sandbox"]),
    ("web", &["proto", "store"]),
    ("tandem", &["proto", "store", "sandbox", "node", "web"]),
    ("testkit", &["proto"]),
];

/// Crates that do no IO, and what would bring it in.
const PURE: &[&str] = &["proto", "doc", "term"];
const IO: &[&str] =
    &["tokio", "axum", "hyper", "reqwest", "rustix", "sqlx", "aws-sdk-s3", "tempfile"];

fn manifests() -> BTreeMap<String, toml::Table> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    std::fs::read_dir(crates)
        .unwrap()
        .map(|entry| {
            let folder = entry.unwrap();
            let text = std::fs::read_to_string(folder.path().join("Cargo.toml")).unwrap();
            (folder.file_name().into_string().unwrap(), text.parse().unwrap())
        })
        .collect()
}

fn dependencies(manifest: &toml::Table, section: &str) -> BTreeSet<String> {
    manifest
        .get(section)
        .and_then(toml::Value::as_table)
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

#[test]
fn arrows_between_crates_go_one_way() {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    for (name, manifest) in manifests() {
        let allowed = allowed
            .get(name.as_str())
            .unwrap_or_else(|| panic!("crate {name} is new: add it here and to ARCHITECTURE.md"));
        for dependency in dependencies(&manifest, "dependencies") {
            if let Some(ours) = dependency.strip_prefix("tandem-") {
                assert!(allowed.contains(&ours), "{name} must not depend on {ours}");
            }
        }
    }
}

#[test]
fn pure_crates_do_no_io() {
    for (name, manifest) in manifests() {
        if PURE.contains(&name.as_str()) {
            for dependency in dependencies(&manifest, "dependencies") {
                assert!(!IO.contains(&dependency.as_str()), "{name} must not use {dependency}");
            }
        }
    }
}

#[test]
fn web_knows_no_crdt_and_node_no_sql() {
    let manifests = manifests();
    assert!(!dependencies(&manifests["web"], "dependencies").contains("yrs"));
    assert!(!dependencies(&manifests["node"], "dependencies").contains("sqlx"));
    for outside in ["node", "web", "store", "sandbox", "agent", "tandem"] {
        assert!(
            !dependencies(&manifests[outside], "dependencies").contains("yrs"),
            "{outside} must reach documents through tandem-doc, whose gate stands before yrs"
        );
    }
}
