//! Memcached (protocol.txt and protocol-binary.txt in its sources).

use super::{First, Match, Recogniser};
use crate::wire::cursor::Cursor;

pub(super) const RECOGNISERS: &[Recogniser] = &[
    Recogniser::new(First::range(b'a', b'z'), text),
    Recogniser::new(First::of(&[0x80]), binary),
];

const NAME: &str = "memcached";

/// A command line; commands that other protocols have too must have the right arguments.
fn text(client: &[u8], _server: &[u8]) -> Match {
    const STORAGE: [&str; 6] = ["set", "add", "replace", "append", "prepend", "cas"];
    const OTHERS: [&str; 15] = [
        "get", "gets", "delete", "incr", "decr", "touch", "gat", "stats", "version", "mg", "ms",
        "md", "ma", "me", "mn",
    ];
    let Some(end) = client.iter().take(1024).position(|b| *b == b'\n') else {
        let mut words = client.split(|b| matches!(b, b' ' | b'\r'));
        let word = words.next().unwrap_or_default();
        let mut all = STORAGE.iter().chain(&OTHERS);
        let may = all.any(|c| {
            c.as_bytes() == word || word.len() == client.len() && c.as_bytes().starts_with(word)
        });
        return if may && client.len() < 1024 {
            Match::More
        } else {
            Match::No
        };
    };
    let Some(line) = client[..end].strip_suffix(b"\r") else {
        return Match::No;
    };
    // An HTTP method in unusual spelling.
    if line.len() > 9 && line[..line.len() - 1].ends_with(b" HTTP/1.") {
        return Match::No;
    }
    let mut words = line.split(|b| *b == b' ');
    let command = words.next().unwrap_or_default();
    let is = |list: &[&str]| list.iter().any(|c| c.as_bytes() == command);
    let number = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    let key = |word: &[u8]| !word.is_empty() && word.len() <= 250;
    let rest: smallvec::SmallVec<[&[u8]; 8]> = words.collect();
    let found = if is(&STORAGE) {
        rest.len() >= 4 && key(rest[0]) && number(rest[1]) && number(rest[3])
    } else if is(&["stats", "version", "mn"]) {
        rest.len() < 2
    } else if is(&["ms"]) {
        rest.len() >= 2 && key(rest[0]) && number(rest[1])
    } else {
        is(&OTHERS) && !rest.is_empty() && rest.iter().all(|w| key(w))
    };
    Match::of(found, NAME)
}

/// A request's header: magic, opcode, and lengths that match this opcode.
fn binary(client: &[u8], server: &[u8]) -> Match {
    let mut c = Cursor::new(client);
    let (Some(0x80), Some(opcode), Some(key), Some(extras), Some(kind), Some(_), Some(body)) =
        (c.u8(), c.u8(), c.u16(), c.u8(), c.u8(), c.u16(), c.u32())
    else {
        let may = client.first().is_none_or(|b| *b == 0x80)
            && client.get(1).is_none_or(|o| *o <= 0x55)
            && client.get(5).is_none_or(|k| *k == 0);
        return if may { Match::More } else { Match::No };
    };
    let Some(value) = body.checked_sub(u32::from(key) + u32::from(extras)) else {
        return Match::No;
    };
    // Bytes of extras, whether there is a key, whether there is a value.
    let fits = match opcode {
        // The variants of get, delete, select bucket.
        0x00 | 0x04 | 0x09 | 0x0c | 0x0d | 0x14 | 0x89 => extras == 0 && key > 0 && value == 0,
        // Append and prepend; SASL authentication and step.
        0x0e | 0x0f | 0x19 | 0x1a | 0x21 | 0x22 => extras == 0 && key > 0,
        0x1c | 0x1d | 0x1e | 0x23 | 0x24 => extras == 4 && key > 0 && value == 0,
        // Set, add, replace, increment and decrement.
        0x01..=0x03 | 0x11..=0x13 => extras == 8 && key > 0,
        0x05 | 0x06 | 0x15 | 0x16 => extras == 20 && key > 0 && value == 0,
        // Quit, no-op, version, list of SASL mechanisms.
        0x07 | 0x17 | 0x0a | 0x0b | 0x20 => body == 0,
        // Flush, statistics, hello.
        0x08 | 0x18 => (extras == 0 || extras == 4) && key == 0 && value == 0,
        0x10 => extras == 0 && value == 0,
        0x1f => extras == 0 && value.is_multiple_of(2),
        _ => false,
    };
    let answered = server.first().is_none_or(|b| *b == 0x81);
    Match::of(
        fits && answered && kind == 0 && key <= 250 && value < 1 << 21,
        NAME,
    )
}
