//! Waiting for conditions, never for time alone.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// How long a condition may take on a slow, busy machine before a test fails.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Asks again and again until `attempt` gives a value; fails after `limit`, saying `what` was
/// waited for. An error of an attempt is "not yet"; the last one is part of the failure.
pub async fn eventually<T, F, Fut>(what: &str, limit: Duration, mut attempt: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>>>,
{
    let start = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        let outcome = attempt().await;
        if let Ok(Some(value)) = outcome {
            return Ok(value);
        }
        if start.elapsed() >= limit {
            return Err(match outcome {
                Err(error) => error.context(format!("waited {limit:?} until {what}")),
                _ => anyhow!("waited {limit:?} until {what}"),
            });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Awaits `future`, but fails after `limit`, saying `what` was waited for.
pub async fn within<T>(
    what: &str,
    limit: Duration,
    future: impl Future<Output = Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(limit, future).await {
        Ok(outcome) => outcome,
        Err(_) => Err(anyhow!("waited {limit:?} for {what}")),
    }
}
