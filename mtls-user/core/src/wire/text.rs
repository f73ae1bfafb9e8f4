//! Strings from the wire: bounded and escaped before anything else sees them.

use smol_str::SmolStr;

/// The longest string that is kept of anything from the wire, in bytes.
pub const MAX: usize = 255;

/// `bytes` as text: control characters, quotes of other encodings and invalid UTF-8 escaped as
/// `\u{…}` or `\x…`, cut after [`MAX`] bytes.
pub fn clean(bytes: &[u8]) -> SmolStr {
    let cut = &bytes[..bytes.len().min(MAX)];
    if let Ok(text) = std::str::from_utf8(cut)
        && cut.iter().all(|b| (0x20..0x7f).contains(b) && *b != b'\\')
    {
        return SmolStr::new(text);
    }
    let mut out = String::new();
    for chunk in cut.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' {
                out.push_str("\\\\");
            } else if c.is_control() || is_format(c) {
                out.extend(c.escape_unicode());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            out.push_str("\\x");
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('?'));
            }
        }
        if out.len() >= MAX {
            break;
        }
    }
    if out.len() > MAX {
        let mut end = MAX;
        while !out.is_char_boundary(end) {
            end -= 1;
        }
        out.truncate(end);
    }
    out.into()
}

/// Characters that print as nothing or turn the direction of what follows: a terminal would show
/// something else than what is there.
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The hexadecimal digit of the lower four bits of `nibble`.
pub fn hex(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble & 15)]
}

/// Whether every byte is text: printable ASCII, tab, CR or LF.
pub fn is_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|b| matches!(b, 0x20..=0x7e | b'\t' | b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_a_terminal_would_obey() {
        assert_eq!(clean(b"web.shop.svc"), "web.shop.svc");
        assert_eq!(clean(b"a\x1b[31mb\n"), "a\\u{1b}[31mb\\u{a}");
        assert_eq!(clean(b"\xff\\"), "\\xff\\\\");
        assert_eq!(clean("a\u{202e}b".as_bytes()), "a\\u{202e}b");
    }

    #[test]
    fn is_bounded_whatever_comes() {
        assert_eq!(clean(&[b'a'; 4000]).len(), MAX);
        assert!(clean(&[1; 4000]).len() <= MAX);
        assert!(clean("ü".repeat(400).as_bytes()).len() <= MAX);
    }

    #[test]
    fn text_is_printable_ascii_and_line_ends() {
        assert!(is_text(b"GET / HTTP/1.1\r\n"));
        assert!(!is_text(b"\x16\x03\x01"));
    }
}
