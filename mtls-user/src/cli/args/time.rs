//! Times on the command line.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use mtls_core::record::Time;

use crate::select::Since;

/// How long ago (`10m`), or when (`2026-11-28T05:25:08Z`).
pub(super) fn since(text: &str) -> Result<Since, String> {
    match duration(text) {
        Ok(ago) => Ok(Since::Ago(ago)),
        Err(_) => Time::parse(text)
            .map(Since::At)
            .ok_or_else(|| "expected a time like 10m, or 2026-11-28T05:25:08Z".into()),
    }
}

/// `90s`, `10m`, `1h30m`, `500ms`; a bare number is seconds.
pub(in crate::cli) fn duration(text: &str) -> Result<Duration, String> {
    const MAX: Duration = Duration::from_hours(366 * 24);
    let wrong = || "expected a time like 90s, 10m or 2h".to_owned();
    let seconds;
    let text = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        seconds = format!("{text}s");
        &seconds
    } else {
        text
    };
    let span: Span = text.parse().map_err(|_| wrong())?;
    let time = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| wrong())?;
    let time = Duration::try_from(time).map_err(|_| wrong())?;
    if time > MAX {
        return Err("at most a year".into());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("2d"), Ok(Duration::from_hours(48)));
        for wrong in [
            "",
            "m",
            "10x",
            "-1s",
            "99999999999h",
            "18446744073709551616",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
