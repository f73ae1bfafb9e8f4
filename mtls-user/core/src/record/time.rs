//! Points in time as they appear in the JSON.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcDateTime};

const NANOS: u64 = 1_000_000_000;
/// The first and the last second that RFC 3339 can express.
const YEAR_0: i64 = -62_167_219_200;
const YEAR_9999: i64 = 253_402_300_799;

/// A point in time, written as RFC 3339 in UTC with nine fractional digits, so that every JSON
/// reader reads it exactly, and it sorts as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time {
    /// Nanoseconds since the Unix epoch; negative before it.
    seconds: i64,
    nanos: u32,
}

impl Time {
    /// `nanos` nanoseconds after the Unix epoch.
    pub fn from_nanos(nanos: u64) -> Self {
        Self {
            seconds: (nanos / NANOS) as i64,
            nanos: (nanos % NANOS) as u32,
        }
    }

    /// `seconds` seconds after or before the Unix epoch; limited to the years 0 to 9999, which are
    /// those that RFC 3339 can express.
    pub fn from_seconds(seconds: i64) -> Self {
        let seconds = seconds.clamp(YEAR_0, YEAR_9999);
        Self { seconds, nanos: 0 }
    }

    /// Nanoseconds since the Unix epoch; 0 before it.
    pub fn as_nanos(self) -> u64 {
        u64::try_from(self.seconds).map_or(0, |seconds| {
            seconds
                .saturating_mul(NANOS)
                .saturating_add(self.nanos.into())
        })
    }

    /// Seconds since the Unix epoch; negative before it.
    pub fn as_seconds(self) -> i64 {
        self.seconds
    }

    /// Reads RFC 3339, with any offset from UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        Some(Self {
            seconds: time.unix_timestamp(),
            nanos: time.nanosecond(),
        })
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = UtcDateTime::from_unix_timestamp(self.seconds);
        // Every value in the range is valid.
        let time = time.unwrap_or(UtcDateTime::UNIX_EPOCH);
        let (year, month, day) = time.to_calendar_date();
        let (hour, minute, second) = time.as_hms();
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        let mut digits = |range: std::ops::Range<usize>, mut value: u32| {
            for at in range.rev() {
                text[at] = b'0' + (value % 10) as u8;
                value /= 10;
            }
        };
        digits(0..4, year.unsigned_abs());
        digits(5..7, u8::from(month).into());
        digits(8..10, day.into());
        digits(11..13, hour.into());
        digits(14..16, minute.into());
        digits(17..19, second.into());
        digits(20..29, self.nanos);
        f.pad(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("expected a time as in RFC 3339"))
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339, UTC, nanoseconds",
            "examples": ["2026-11-28T05:25:08.123456789Z"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_exact_and_sorts_as_text() {
        for (time, text) in [
            (Time::default(), "1970-01-01T00:00:00.000000000Z"),
            (
                Time::from_nanos(1_795_843_508_000_000_001),
                "2026-11-28T05:25:08.000000001Z",
            ),
            (Time::from_nanos(u64::MAX), "2554-07-21T23:34:33.709551615Z"),
            (Time::from_seconds(-1), "1969-12-31T23:59:59.000000000Z"),
            // RFC 5280 §4.1.2.5: a certificate that does not expire.
            (
                Time::from_seconds(253_402_300_799),
                "9999-12-31T23:59:59.000000000Z",
            ),
        ] {
            assert_eq!(time.to_string(), text);
            assert_eq!(Time::parse(text), Some(time));
        }
        assert_eq!(Time::from_nanos(u64::MAX).as_nanos(), u64::MAX);
        assert_eq!(
            Time::parse("2026-11-28T06:25:08+01:00"),
            Time::parse("2026-11-28T05:25:08Z")
        );
        // No date in a certificate causes an error.
        for wild in [i64::MIN, -62_167_219_201, i64::MAX] {
            assert_eq!(Time::from_seconds(wild).to_string().len(), 30);
        }
    }

    #[test]
    fn what_is_no_time_is_an_error() {
        for wrong in ["1795843508000000001", "\"\"", "\"2026-13-01T00:00:00Z\""] {
            assert!(serde_json::from_str::<Time>(wrong).is_err(), "{wrong}");
        }
    }
}
