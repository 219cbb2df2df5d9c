//! Says where the built page is. A release build embeds `frontend/dist`, so it must be made
//! again when that changes or appears. A debug build reads the folder while it runs, whether
//! or not it is there yet; for that its path must have no `..` in it.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let dist = PathBuf::from(variable("CARGO_MANIFEST_DIR"))
        .join("../../frontend")
        .canonicalize()
        .expect("the repository has a folder frontend")
        .join("dist");
    if variable("PROFILE") == "release" {
        println!("cargo:rerun-if-changed={}", dist.display());
    }
    let code = format!(
        "/// The page as the build left it.\n\
         #[derive(RustEmbed)]\n#[folder = {dist:?}]\n#[allow_missing = true]\nstruct Dist;\n"
    );
    let out = PathBuf::from(variable("OUT_DIR")).join("dist.rs");
    std::fs::write(out, code).expect("the build can write its own folder");
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
