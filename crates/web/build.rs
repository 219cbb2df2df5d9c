//! A release build embeds `frontend/dist`, so it must be made again when that changes or
//! appears. A debug build reads the folder while it runs and need not know.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo:rerun-if-changed=../../frontend/dist");
    }
}
