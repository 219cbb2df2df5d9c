use anyhow::Result;
use reqwest::Method;
use tandem_proto::egress::{EgressMode, EgressReport};
use tandem_proto::role::Role;

use crate::python;

/// With a network it is tried in closed worlds, in `crates/sandbox/tests`.
#[tokio::test(flavor = "multi_thread")]
async fn by_default_programs_reach_nothing_and_people_see_why() -> Result<()> {
    let (server, api, repl) = python().await?;
    let path = format!("/api/v1/repls/{repl}/egress");
    let viewer = server.guest(&repl, Role::Viewer).await?;
    for person in [&api, &viewer] {
        let answer = person.request(Method::GET, &path).send().await?.error_for_status()?;
        let report: EgressReport = answer.json().await?;
        assert_eq!(report.mode, EgressMode::None);
        assert!(!report.connected && report.problem.is_some(), "{report:?}");
        assert_eq!((report.sent, report.received), (0, 0));
    }
    assert_eq!(viewer.status_of(Method::PUT, &path).await?, 405);
    Ok(())
}
