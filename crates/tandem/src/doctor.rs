//! `tandem doctor`: what holds on this machine, honestly, and how to mend what does not.

use serde::Serialize;
use tandem_sandbox::{Check, Holds, SandboxDriver};

use crate::cli::{Options, SandboxKind};
use crate::config::Config;
use crate::{logging, process, templates};

#[derive(Serialize)]
struct Report {
    usable: bool,
    checks: Vec<Check>,
}

/// Prints the report; fails when no sandbox or no store can be used.
pub fn run(options: Options, json: bool) -> anyhow::Result<()> {
    let mut config = Config::load(options)?;
    if config.log == "info" {
        config.log = "error".to_owned();
    }
    logging::start(config.log_format, &config.log)?;
    let launcher = process::drop_rights(&config);
    let network_launcher = launcher.as_ref().ok().cloned().flatten();
    let mut checks = process::runtime()?.block_on(async {
        let mut checks = match launcher.and_then(|launcher| process::driver(&config, launcher)) {
            Ok(driver) => {
                let mut checks = driver.probe().await;
                // The launcher of sandboxes has had its say.
                if config.sandbox == SandboxKind::Docker
                    && let Some(launcher) = &network_launcher
                {
                    checks.extend(launcher.egress_check().ok().flatten());
                }
                if checks.iter().any(|check| check.name == "sandbox" && check.holds == Holds::Yes) {
                    checks.push(languages(&*driver).await);
                }
                checks
            }
            Err(error) => vec![check("sandbox", Holds::No, format!("{error:#}"), true)],
        };
        checks.push(store(&config).await);
        checks
    });
    checks.extend(network(&config, &checks));
    let usable = checks.iter().all(|check| !check.required || check.holds != Holds::No);
    if json {
        println!("{}", serde_json::to_string_pretty(&Report { usable, checks })?);
    } else {
        print(&checks);
    }
    anyhow::ensure!(usable, "this machine cannot run sandboxes as it is; see above");
    Ok(())
}

fn check(name: &str, holds: Holds, detail: String, required: bool) -> Check {
    Check { name: name.to_owned(), holds, detail, remedy: None, required }
}

/// Which of the built-in templates have their languages in a sandbox.
async fn languages(driver: &dyn SandboxDriver) -> Check {
    let templates = templates::requirements();
    let mut commands: Vec<String> =
        templates.iter().flat_map(|(_, commands)| commands.clone()).collect();
    commands.sort();
    commands.dedup();
    let present = driver.tools(&commands).await;
    let lacking = |wanted: &[String]| -> Vec<String> {
        wanted.iter().filter(|command| !present.contains(command)).cloned().collect()
    };
    let (mut offered, mut missing) = (Vec::new(), Vec::new());
    for (title, wanted) in &templates {
        match lacking(wanted) {
            lacking if lacking.is_empty() => offered.push(title.clone()),
            lacking => missing.push(format!("{title} ({})", lacking.join(", "))),
        }
    }
    let offered = offered.join(", ");
    if missing.is_empty() {
        return check("languages", Holds::Yes, offered, false);
    }
    let detail = format!("{offered}; not there: {}", missing.join(", "));
    let remedy = match driver.name() {
        "docker" => "Make the image with all of them by `make image`.",
        _ => "Install them where sandboxes see them: `make toolchains`.",
    };
    let holds = if offered.is_empty() { Holds::No } else { Holds::Partly };
    Check { remedy: Some(remedy.to_owned()), ..check("languages", holds, detail, false) }
}

/// What is to be said beside the launcher's own word on the network.
fn network(config: &Config, checks: &[Check]) -> Option<Check> {
    if checks.iter().any(|check| check.name == "egress") {
        return None;
    }
    Some(if config.driver.egress.is_some() {
        Check {
            remedy: Some("Start the server as root; it keeps no rights itself.".to_owned()),
            ..check(
                "egress",
                Holds::No,
                "sandboxes have no network: only root can watch one".to_owned(),
                false,
            )
        }
    } else {
        Check {
            remedy: Some(
                "To try whether this machine can give them a watched one: `tandem doctor \
                 --egress=open`, as root."
                    .to_owned(),
            ),
            ..check(
                "egress",
                Holds::Partly,
                "sandboxes have a loopback network only, as configured".to_owned(),
                false,
            )
        }
    })
}

async fn store(config: &Config) -> Check {
    let blobs = match process::blob_store(config).await {
        Ok(blobs) => blobs,
        Err(error) => return check("blob store", Holds::No, format!("{error:#}"), true),
    };
    match tandem_store::blob::probe(&*blobs).await {
        Ok(report) => {
            let holds = match (report.is_usable(), report.findings().is_empty()) {
                (false, _) => Holds::No,
                (true, false) => Holds::Partly,
                (true, true) => Holds::Yes,
            };
            let mut detail = report.findings().join("; ");
            if detail.is_empty() {
                detail =
                    format!("stores, lists and deletes; one small object took {:?}", report.put);
            }
            check("blob store", holds, detail, true)
        }
        Err(error) => check("blob store", Holds::No, error.to_string(), true),
    }
}

fn print(checks: &[Check]) {
    for check in checks {
        let mark = match check.holds {
            Holds::Yes => "yes   ",
            Holds::Partly => "partly",
            Holds::No => "NO    ",
        };
        println!("{mark}  {:<22} {}", check.name, check.detail);
        if let Some(remedy) = check.remedy.as_ref().filter(|_| check.holds != Holds::Yes) {
            println!("        {:<22} → {remedy}", "");
        }
    }
}
