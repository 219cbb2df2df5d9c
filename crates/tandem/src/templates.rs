//! Language templates: those built into the binary, and those an operator adds.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rust_embed::RustEmbed;
use tandem_store::{BlobStore, Templates};

use crate::cli::{Options, TemplateCommand};
use crate::config::Config;
use crate::{logging, process};

#[derive(RustEmbed)]
#[folder = "../../sandbox/templates"]
struct BuiltIn;

/// The built-in templates by title, and the commands each needs in a sandbox.
pub fn requirements() -> Vec<(String, Vec<String>)> {
    #[derive(serde::Deserialize)]
    struct Needs {
        title: String,
        requires: Vec<String>,
    }
    let needs = |name: std::borrow::Cow<'static, str>| {
        let text = BuiltIn::get(&name).filter(|_| name.ends_with("/template.toml"))?;
        let needs: Needs = toml::from_str(std::str::from_utf8(&text.data).ok()?).ok()?;
        Some((needs.title, needs.requires))
    };
    BuiltIn::iter().filter_map(needs).collect()
}

/// Puts the built-in templates that are not there yet into the blob store. `scratch` is a folder
/// of ours that is made and removed.
pub async fn seed(blobs: &Arc<dyn BlobStore>, scratch: &Path) -> anyhow::Result<()> {
    let unpacked = unpack(scratch).context("cannot unpack the built-in templates");
    let seeded = match unpacked {
        Ok(()) => Templates::new(blobs.clone()).seed(scratch).await.map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    let removed = std::fs::remove_dir_all(scratch);
    let seeded = seeded?;
    removed.context("cannot remove a temporary folder")?;
    if !seeded.added.is_empty() {
        tracing::info!(templates = seeded.added.join(", "), "templates were added");
    }
    for failed in seeded.failed {
        tracing::error!(error = %failed, "a built-in template cannot be used");
    }
    Ok(())
}

fn unpack(folder: &Path) -> anyhow::Result<()> {
    for name in BuiltIn::iter() {
        let Some(file) = BuiltIn::get(&name) else { continue };
        let path = folder.join(name.as_ref());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, file.data)?;
    }
    Ok(())
}

/// `tandem template …`.
pub fn run(command: TemplateCommand) -> anyhow::Result<()> {
    match command {
        TemplateCommand::Add { folder, options } => {
            with_templates(options, async move |templates| {
                let added = templates.add(&folder).await?;
                println!("added {} {}", added.name, added.version);
                Ok(())
            })
        }
        TemplateCommand::List { options } => with_templates(options, async |templates| {
            for template in templates.list().await? {
                println!("{:<14} {:<8} {}", template.name, template.version, template.title);
            }
            Ok(())
        }),
    }
}

fn with_templates(
    options: Options,
    act: impl AsyncFnOnce(Templates) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let config = Config::load(options)?;
    logging::start(config.log_format, &config.log)?;
    process::runtime()?.block_on(async {
        let blobs = process::blob_store(&config).await?;
        act(Templates::new(blobs)).await
    })
}
