//! Text that is safe on a terminal.

use std::borrow::Cow;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use mtls_core::record::Time;
use serde::Serialize;

/// Longest cell or value, in bytes.
const MAX: usize = 256;
/// Longest sentence, in bytes.
const MAX_SENTENCE: usize = 4_096;

/// `text` without anything that a terminal obeys, and not longer than a cell can be.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    mtls_core::escape::escape(text, MAX)
}

/// The same of a sentence, which may be longer than a cell.
pub(crate) fn safe_long(text: &str) -> String {
    mtls_core::escape::escape(text, MAX_SENTENCE).into_owned()
}

/// A value as JSON that no terminal obeys, in one line or in several, and a line break.
pub(crate) fn json(value: &impl Serialize, pretty: bool) -> serde_json::Result<String> {
    let mut text = if pretty {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    }?;
    text.push('\n');
    Ok(match mtls_core::escape::json(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(escaped) => escaped,
    })
}

/// `text` as the value of a field of a line.
pub(super) fn value(text: &str) -> Cow<'_, str> {
    mtls_core::escape::value(text, MAX)
}

/// A table as `kubectl` and `linkerd` print them: columns and nothing else. Lines are never wrapped.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    if !header.is_empty() {
        table.set_header(header.to_vec());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Lines broken between words so that none is longer than `width` characters, as far as words allow;
/// `indent` begins what follows a break.
pub(super) fn wrap(text: &str, width: usize, indent: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut used = 0;
        for (at, word) in line.split(' ').enumerate() {
            let length = word.chars().count();
            if at > 0 && used + 1 + length > width && used > indent.len() {
                out.push('\n');
                out.push_str(indent);
                used = indent.len();
            } else if at > 0 {
                out.push(' ');
                used += 1;
            }
            out.push_str(word);
            used += length;
        }
        out.push('\n');
    }
    out
}

/// `1 connection`, `2 connections`.
pub(crate) fn count(n: u64, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {noun}{plural}")
}

/// How long before `now` (nanoseconds since the Unix epoch) `time` was.
pub(crate) fn ago(time: Time, now: u64) -> String {
    took(now.saturating_sub(time.as_nanos()) / 1_000_000_000)
}

/// A number of seconds as people say it.
pub(crate) fn took(seconds: u64) -> String {
    match (seconds, seconds % 60, seconds / 60 % 60) {
        (0..60, ..) => format!("{seconds}s"),
        (60..3_600, 0, _) => format!("{}m", seconds / 60),
        (60..3_600, rest, _) => format!("{}m{rest:02}s", seconds / 60),
        (_, _, 0) => format!("{}h", seconds / 3_600),
        (_, _, minutes) => format!("{}h{minutes:02}m", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words() {
        assert_eq!(wrap("a bb ccc\n    dd\n", 6, "  "), "a bb\n  ccc\n    dd\n");
        assert_eq!(wrap("abcdefgh i\n", 4, "  "), "abcdefgh\n  i\n");
        assert_eq!(wrap("", 4, "  "), "");
        assert_eq!(
            (count(1, "edge"), count(0, "edge")),
            ("1 edge".into(), "0 edges".into())
        );
    }

    #[test]
    fn ages_read_well() {
        let s = 1_000_000_000;
        let ago = |then: u64, now| super::ago(Time::from_nanos(then), now);
        assert_eq!(ago(0, 59 * s), "59s");
        assert_eq!(ago(0, 61 * s), "1m01s");
        assert_eq!(ago(0, 600 * s), "10m");
        assert_eq!(ago(0, 3_720 * s), "1h02m");
        assert_eq!(ago(0, 7_200 * s), "2h");
        assert_eq!(ago(5 * s, 0), "0s");
    }
}
