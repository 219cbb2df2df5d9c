//! Every template runs in a sandbox with one click. `TANDEM_TEST_LANGUAGES=all` fails on a missing
//! toolchain; else only those that everybody has must be there.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use tandem_testkit::{Api, Server};

const REQUIRED: &[&str] = &["bash", "c", "node", "python"];

/// A first compilation on a busy machine.
const COMPILING: Duration = Duration::from_secs(120);

/// Template, task, output, page.
type Expected = (&'static str, Option<&'static str>, &'static str, Option<(u16, &'static str)>);

/// What running a template shows, and for a web program its port and a part of its page.
const EXPECTED: &[Expected] = &[
    ("bash", None, "Hello from Bash", None),
    ("c", None, "Hello from C!", None),
    ("cpp", None, "Hello from C++!", None),
    ("go", None, ", world!", None),
    ("go", Some("web"), "Listening", Some((3000, "Hello from Go"))),
    ("java", None, ", world!", None),
    ("java", Some("web"), "Listening", Some((3000, "Served by Java"))),
    ("node", None, "Listening", Some((3000, "Hello from Node.js"))),
    ("node", Some("script"), ", world!", None),
    ("node", Some("test"), "pass 1", None),
    ("python", None, "Hello from Python!", None),
    ("python", Some("web"), "Listening", Some((3000, "Hello from Python"))),
    ("python", Some("test"), "OK", None),
    ("rust", None, ", world!", None),
    ("rust", Some("web"), "Listening", Some((3000, "Served by Rust"))),
    ("static", None, "Serving HTTP", Some((8000, "Hello, web!"))),
    ("typescript", None, "Listening", Some((3000, "Hello from TypeScript"))),
    ("typescript", Some("script"), ", world!", None),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_template_runs_with_one_click() -> Result<()> {
    let server = Server::start().await?;
    let api = server.api();
    let known: BTreeMap<_, _> =
        api.templates().await?.into_iter().map(|it| (it.name.clone(), it)).collect();
    let all = std::env::var("TANDEM_TEST_LANGUAGES").is_ok_and(|which| which == "all");
    for (template, task, output, page) in EXPECTED {
        let info = &known[*template];
        if !info.available {
            let reason = info.unavailable_reason.as_deref().unwrap_or("without a reason");
            ensure!(!all && !REQUIRED.contains(template), "{template} is unavailable: {reason}");
            // Past the test runner's capture: what was left out is part of the summary.
            writeln!(std::io::stderr(), "left out: {template} ({reason})")?;
            continue;
        }
        run(&api, template, *task, output, *page)
            .await
            .map_err(|error| error.context(format!("template {template}, task {task:?}")))?;
    }
    Ok(())
}

async fn run(
    api: &Api,
    template: &str,
    task: Option<&str>,
    output: &str,
    page: Option<(u16, &str)>,
) -> Result<()> {
    let repl = api.create(template).await?.id.to_string();
    let live = api.live(&repl).await?;
    api.sandbox_ready(&repl).await?;
    let started = api.run(&repl, task).await?;
    let mut console = api.terminal(&repl, started.terminal.as_str(), None).await?;
    console.wait_for_within(output, COMPILING).await?;
    match page {
        None => {
            let exit = console.wait_for_exit().await?;
            ensure!(exit.code == Some(0), "it ended with {exit:?}: {}", console.shown());
        }
        Some((port, text)) => {
            let shown = api.preview(&repl, port).page("/").await?;
            ensure!(shown.contains(text), "the page is {shown}");
            api.stop(&repl).await?;
            console.wait_for_exit().await?;
        }
    }
    drop(live);
    api.delete(&repl).await
}
