//! Thrift messages (Apache Thrift, "Thrift Binary protocol encoding", "Thrift Compact protocol
//! encoding"): a call in any of its encodings, framed or not, or in the header transport.

use super::{First, Match, Recogniser, Shape, starts};
use crate::wire::cursor::Cursor;

pub(super) const RECOGNISERS: &[Recogniser] =
    &[Recogniser::new(First::of(&[0, 0x80, 0x82, b'[']), thrift)];

const YES: Match = Match::Yes("thrift");
/// The longest method name.
const MAX_NAME: usize = 128;

/// Recognises a client's first call.
fn thrift(client: &[u8], _server: &[u8]) -> Match {
    let bare = call(client);
    if bare != Match::No {
        return bare;
    }
    match client {
        // A frame length of at most 16 MiB.
        [0, _, _, _, inner @ ..] => match starts(inner, &[0x0f, 0xff]) {
            Shape::Yes => YES,
            Shape::More if inner.len() == 1 => Match::More,
            _ => call(inner),
        },
        _ if client.len() < 4 => may_start(client, &[0]),
        _ => Match::No,
    }
}

/// A message that is a call, or a one-way call.
fn call(bytes: &[u8]) -> Match {
    let found = [binary, old_binary, compact, json].map(|encoding| encoding(bytes));
    let decided = found.iter().find(|found| **found == YES);
    let open = found.iter().find(|found| **found == Match::More);
    *decided.or(open).unwrap_or(&Match::No)
}

/// The strict binary encoding: a version, a type, the method name with its length.
fn binary(bytes: &[u8]) -> Match {
    match bytes {
        [0x80, 1, 0, 1 | 4, rest @ ..] => named(&mut Cursor::new(rest)),
        _ if bytes.len() < 4 => may_start(bytes, &[0x80, 1, 0]),
        _ => Match::No,
    }
}

/// The binary encoding without a version: name, type, number, and the type of a first field.
fn old_binary(bytes: &[u8]) -> Match {
    let mut c = Cursor::new(bytes);
    match named(&mut c) {
        YES => {}
        other => return other,
    }
    match (c.u8(), c.u32()) {
        (None, _) | (Some(1 | 4), None) => Match::More,
        (Some(1 | 4), Some(_)) => match c.u8() {
            None => Match::More,
            Some(0..=15) => YES,
            Some(_) => Match::No,
        },
        _ => Match::No,
    }
}

/// Whether there are too few bytes to decide, unless they already differ.
fn may_start(bytes: &[u8], prefix: &[u8]) -> Match {
    match starts(bytes, prefix) {
        Shape::No => Match::No,
        _ => Match::More,
    }
}

/// A method name with its length.
fn named(c: &mut Cursor<'_>) -> Match {
    let before = c.rest();
    let Some(len) = c.u32() else {
        return may_start(before, &[0, 0, 0]);
    };
    method(c, len as usize)
}

/// A method name of this length.
fn method(c: &mut Cursor<'_>, len: usize) -> Match {
    if !(1..=MAX_NAME).contains(&len) {
        return Match::No;
    }
    let shown = c.rest();
    let shown = &shown[..shown.len().min(len)];
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || b"_.:/-".contains(b);
    if !shown.iter().all(is_name) {
        Match::No
    } else if c.take(len).is_none() {
        Match::More
    } else {
        YES
    }
}

/// The compact encoding: an id, version 1 and a type, a number, the method name.
fn compact(bytes: &[u8]) -> Match {
    let mut c = Cursor::new(bytes);
    match (c.u8(), c.u8()) {
        (None, _) | (Some(0x82), None) => return Match::More,
        (Some(0x82), Some(0x21 | 0x81)) => {}
        _ => return Match::No,
    }
    // A number of one to five bytes, all but the last with the upper bit set.
    for _ in 0..5 {
        match c.u8() {
            None => return Match::More,
            Some(0x80..) => {}
            Some(_) => {
                return match c.u8() {
                    None => Match::More,
                    Some(len) => method(&mut c, len.into()),
                };
            }
        }
    }
    Match::No
}

/// The JSON encoding: version, method, type, number.
fn json(bytes: &[u8]) -> Match {
    match starts(bytes, b"[1,\"") {
        Shape::Yes => {}
        other => return other.then(Match::No),
    }
    let name = bytes[4..].iter().take(MAX_NAME).take_while(|b| **b != b'"');
    let len = name.count();
    match bytes.get(4 + len..) {
        Some([]) => Match::More,
        Some(rest) => match [&b"\",1,"[..], b"\",4,"].map(|kind| starts(rest, kind)) {
            [Shape::Yes, _] | [_, Shape::Yes] => YES,
            [Shape::No, Shape::No] => Match::No,
            _ => Match::More,
        },
        None => Match::No,
    }
}
