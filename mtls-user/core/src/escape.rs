//! Makes text safe to display anywhere: on a terminal, in a log line, in a table.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character controls or is hidden by whatever displays it: control characters, direction
/// marks, and invisible characters (Unicode 17: Cc, Cf, Zl, Zp, Default_Ignorable_Code_Point).
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}' | '\u{891}' | '\u{8e2}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// `text` with hidden characters written as `\u{…}`, and cut after about `max` bytes.
pub fn escape(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max && !text.chars().any(is_hidden) {
        return text.into();
    }
    let mut out = String::new();
    for c in text.chars() {
        if out.len() >= max {
            out.push('…');
            break;
        }
        if is_hidden(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out.into()
}

/// Several lines of any length, with hidden characters written as `\u{…}`.
pub fn lines(text: &str) -> Cow<'_, str> {
    rewritten(text, |c, out| out.extend(c.escape_unicode()))
}

/// JSON with hidden characters in its strings written as `\uXXXX` (RFC 8259 §7), with the same value.
pub fn json(text: &str) -> Cow<'_, str> {
    rewritten(text, |c, out| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

/// The same for YAML whose strings are in double quotes (YAML 1.2.2 §5.7).
pub fn yaml(text: &str) -> Cow<'_, str> {
    rewritten(text, |c, out| {
        let _ = write!(out, "\\U{:08x}", u32::from(c));
    })
}

/// `text` with every hidden character, except line ends, written by `write`.
fn rewritten(text: &str, write: impl Fn(char, &mut String)) -> Cow<'_, str> {
    // Most text is plain; blocks of bytes are compared at once.
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n');
    let all_plain = |block: &[u8]| block.iter().fold(true, |all, byte| all & is_plain(byte));
    if text.as_bytes().chunks(64).all(all_plain) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if c != '\n' && is_hidden(c) {
            write(c, &mut out);
        } else {
            out.push(c);
        }
    }
    out.into()
}

/// `text` as the value of a `key=value` line: escaped, and quoted if it could be mistaken for
/// several words or a quoted one.
pub fn value(text: &str, max: usize) -> Cow<'_, str> {
    let escaped = escape(text, max);
    let is_one_word = !escaped.is_empty()
        && !escaped.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '=' | '\''));
    if is_one_word {
        return escaped;
    }
    let mut out = String::with_capacity(escaped.len() + 2);
    out.push('"');
    for c in escaped.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 256;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(escape("web.shop", MAX), "web.shop");
        assert_eq!(escape("a\u{1b}[2Jb\n", MAX), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(escape("\u{202e}gnp", MAX), "\\u{202e}gnp");
        for hidden in ["\u{200b}", "\u{2066}", "\u{3164}", "\u{e0041}", "\u{9b}"] {
            assert!(escape(hidden, MAX).is_ascii(), "{hidden:?}");
        }
        assert!(escape(&"é".repeat(10_000), MAX).len() < 300);
        assert!(escape(&"\u{1b}".repeat(10_000), MAX).len() < 300);
    }

    #[test]
    fn a_document_says_the_same_when_it_is_escaped() {
        for c in (0..=0x10_ffff)
            .filter_map(char::from_u32)
            .filter(|c| is_hidden(*c))
        {
            let value = serde_json::json!({ "a": format!("x{c}y") });
            let raw = serde_json::to_string_pretty(&value).unwrap();
            let text = json(&raw);
            assert!(text.is_ascii() && !text.contains('\u{7f}'), "{c:?}: {text}");
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(read, value);
        }
        assert_eq!(json("\"é\"\n"), "\"é\"\n");
        assert_eq!(json("\"\u{e0041}\""), "\"\\udb40\\udc41\"");
        assert_eq!(yaml("\"\u{e0041}\u{9b}\""), "\"\\U000e0041\\U0000009b\"");
        assert_eq!(lines("a\u{9b}\nb\r"), "a\\u{9b}\nb\\u{d}");
    }

    #[test]
    fn a_value_cannot_write_another_field() {
        assert_eq!(value("web.shop", MAX), "web.shop");
        assert_eq!(
            value("x tls=true verdict=mtls", MAX),
            "\"x tls=true verdict=mtls\""
        );
        assert_eq!(value("a\" b=\"c", MAX), "\"a\\\" b=\\\"c\"");
        assert_eq!(value("a\u{a0}b=c", MAX), "\"a\u{a0}b=c\"");
        assert_eq!(value("", MAX), "\"\"");
        assert_eq!(value("a\nb", MAX), "a\\u{a}b");
    }
}
