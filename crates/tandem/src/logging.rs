//! Structured logs on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::cli::LogFormat;

/// The S3 client tells of each connection that it gives up; what follows from it is told by us.
const QUIET: &str = "aws_smithy_runtime=warn,aws_smithy_runtime_api=warn";

/// Starts logging. A filter that cannot be read is an error of usage.
pub fn start(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}")).map_err(|error| {
        anyhow::anyhow!("--log {filter} is not a filter such as info or tandem_node=debug: {error}")
    })?;
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let colours = std::io::stderr().is_terminal();
    match format {
        LogFormat::Text => builder.with_target(false).with_ansi(colours).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
