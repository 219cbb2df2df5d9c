//! Time. Leases are counted on the database's own clock, so that web processes on machines
//! whose clocks differ agree on who holds what.
//!
//! `CURRENT_TIMESTAMP` is the one clock both databases spell alike; they differ in its text,
//! which is parsed here. SQLite cuts it to seconds, so a lease there lasts up to a second
//! longer than asked and never shorter.

use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::Row as _;

use super::{Metadata, MetadataError};

/// This process's wall clock in milliseconds since the Unix epoch: for times that people read.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

impl Metadata {
    /// The database's clock in milliseconds since the Unix epoch.
    pub(super) async fn now_ms(&self) -> Result<u64, MetadataError> {
        let row = sqlx::query("SELECT CAST(CURRENT_TIMESTAMP AS TEXT) AS now")
            .fetch_one(&self.pool)
            .await?;
        let text: String = row.try_get("now")?;
        parse(&text).ok_or(MetadataError::Corrupt { column: "clock" })
    }
}

/// Parses `2026-11-24 22:26:04[.123456][+00[:30]]`.
fn parse(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once([' ', 'T'])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let zone_at = rest.find(['+', '-', 'Z']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_at);
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut time = time.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
        - zone_seconds(zone)?;
    u64::try_from(seconds * 1_000 + millis).ok()
}

fn zone_seconds(zone: &str) -> Option<i64> {
    let sign = match zone.as_bytes().first() {
        None | Some(b'Z') => return Some(0),
        Some(b'-') => -1,
        Some(_) => 1,
    };
    let mut parts = zone.get(1..)?.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let hours = parts.next()??;
    let minutes = parts.next().unwrap_or(Some(0))?;
    Some(sign * (hours * 3_600 + minutes * 60))
}

/// Days from 1970-01-01 in the Gregorian calendar, with years that begin in March so that the
/// leap day comes last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_databases_spellings_are_read() {
        assert_eq!(parse("1970-01-01 00:00:00"), Some(0));
        assert_eq!(parse("2000-02-29 12:00:00"), Some(951_825_600_000));
        assert_eq!(parse("2026-11-24 22:26:04"), Some(1_795_559_164_000));
        assert_eq!(parse("2026-11-24 22:26:04.5+00"), Some(1_795_559_164_500));
        assert_eq!(parse("2026-11-24 23:56:04.123456+01:30"), Some(1_795_559_164_123));
        assert_eq!(parse("2026-11-24 17:26:04-05"), Some(1_795_559_164_000));
    }

    #[test]
    fn other_text_is_refused() {
        for bad in ["", "now", "2026-11-24", "2026-13-01 00:00:00", "x-y-z a:b:c"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
