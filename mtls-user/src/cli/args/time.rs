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

/// The same, and longer than nothing.
pub(in crate::cli) fn positive(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time.is_zero() {
        return Err("expected a time longer than 0s".into());
    }
    Ok(time)
}

/// The same, of at least a second.
pub(in crate::cli) fn seconds(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time < Duration::from_secs(1) {
        return Err("expected at least 1s".into());
    }
    Ok(time)
}

/// A number from 1.
pub(in crate::cli) fn count(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected a number from 1".into())
}

/// A port to listen on.
pub(in crate::cli) fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| "expected a port from 0 to 65535".into())
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
        assert_eq!(seconds("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(positive("1ms"), Ok(Duration::from_millis(1)));
        assert!(positive("0s").is_err());
        for wrong in ["0s", "999ms", "x"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
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
