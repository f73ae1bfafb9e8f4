//! Text that is safe on a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

/// `text` without anything that a terminal obeys: control characters and invisible marks of
/// direction are written as escapes, and what is too long is cut.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    const MAX: usize = 256;
    let harmless = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if text.len() <= MAX && text.chars().all(harmless) {
        return text.into();
    }
    let mut out = String::new();
    for c in text.chars() {
        if out.len() >= MAX {
            out.push('…');
            break;
        }
        if harmless(c) {
            out.push(c);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", c.escape_unicode());
        }
    }
    out.into()
}

/// A table as `kubectl` and `linkerd` print them: columns and nothing else. Lines are never wrapped.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.to_vec());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// How long ago `time` was; both in nanoseconds since the Unix epoch.
pub(crate) fn ago(time: u64, now: u64) -> String {
    let seconds = now.saturating_sub(time) / 1_000_000_000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(safe("web.shop"), "web.shop");
        assert_eq!(safe("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(safe("\u{202e}gnp"), "\\u{202e}gnp");
        assert!(safe(&"é".repeat(10_000)).len() < 300);
    }

    #[test]
    fn ages_read_well() {
        let s = 1_000_000_000;
        assert_eq!(ago(0, 59 * s), "59s");
        assert_eq!(ago(0, 61 * s), "1m01s");
        assert_eq!(ago(0, 3_720 * s), "1h02m");
        assert_eq!(ago(5 * s, 0), "0s");
    }
}
