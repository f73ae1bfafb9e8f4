//! Strings from the wire: bounded and escaped before anything else uses them.

use smol_str::SmolStr;

use crate::escape::is_hidden;

/// The longest string from the wire that is kept, in bytes.
pub const MAX: usize = 255;

/// `bytes` as text: hidden characters and invalid UTF-8 are escaped as `\u{…}` or `\x…`, and the
/// text is cut after [`MAX`] bytes.
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
            } else if is_hidden(c) {
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

/// The hexadecimal digit of the lower four bits of `nibble`.
pub fn hex(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble & 15)]
}

/// Whether every byte is text: printable ASCII, tab, CR or LF; the same in UTF-8 with other
/// characters, of which the last may be cut; or UTF-16.
pub fn is_text(bytes: &[u8]) -> bool {
    let ascii = bytes.iter().take_while(|b| is_ascii(**b)).count();
    ascii == bytes.len() || is_utf8(&bytes[ascii..]) || is_utf16(bytes)
}

/// Printable ASCII, tab, CR or LF.
pub fn is_ascii(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e | b'\t' | b'\r' | b'\n')
}

fn is_utf8(bytes: &[u8]) -> bool {
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // Cut, but not wrong.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let is_mark = |c: char| matches!(c, '\u{feff}' | '\u{200d}');
    let readable = |c: char| matches!(c, '\t' | '\r' | '\n') || is_mark(c) || !c.is_control();
    valid.chars().all(readable)
}

/// Pairs of a printable ASCII character and a zero, in the same order throughout; a byte-order mark
/// may come first.
fn is_utf16(bytes: &[u8]) -> bool {
    let unmarked = bytes.strip_prefix(b"\xff\xfe");
    let bytes = unmarked
        .or_else(|| bytes.strip_prefix(b"\xfe\xff"))
        .unwrap_or(bytes);
    let (pairs, _cut) = bytes.as_chunks::<2>();
    pairs.len() >= 4
        && (pairs.iter().all(|[a, b]| is_ascii(*a) && *b == 0)
            || pairs.iter().all(|[a, b]| is_ascii(*b) && *a == 0))
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
    fn text_in_its_encodings() {
        assert!(is_text(b"GET / HTTP/1.1\r\n"));
        let text = "Grüße, 你好, привет\r\n";
        for n in 0..text.len() {
            assert!(is_text(&text.as_bytes()[..n]), "{n} bytes");
        }
        let wide: Vec<u8> = "SELECT 1"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert!(is_text(&wide));
        let wide: Vec<u8> = "SELECT 1"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        assert!(is_text(&wide));
        for no in [
            &b"\x16\x03\x01"[..],
            b"caf\xe9 au lait",
            b"a\xc2\x9b31m",
            b"\0\0\0\0\0\0\0\0",
        ] {
            assert!(!is_text(no), "{}", no.escape_ascii());
        }
    }
}
