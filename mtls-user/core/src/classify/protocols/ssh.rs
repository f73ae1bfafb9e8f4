//! SSH's first line (RFC 4253 §4.2). A server may send lines of text before it.

use super::{First, Match, Recogniser, Shape, starts};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(b"S"), ssh)];

/// How many bytes of lines are searched for the server's.
const MAX_LINES: usize = 8 << 10;

fn ssh(client: &[u8], server: &[u8]) -> Match {
    match (version(client), announced(server)) {
        (Shape::No, _) => Match::No,
        // The client's line is enough.
        (Shape::Yes, _) | (_, Shape::Yes) => Match::Encrypted("ssh"),
        (Shape::More, Shape::No) if !client.is_empty() || !server.is_empty() => Match::No,
        _ => Match::More,
    }
}

fn version(bytes: &[u8]) -> Shape {
    match starts(bytes, b"SSH-2.0-") {
        Shape::No => starts(bytes, b"SSH-1.99-"),
        found => found,
    }
}

/// Finds the server's line after those before it.
fn announced(server: &[u8]) -> Shape {
    let mut rest = &server[..server.len().min(MAX_LINES)];
    loop {
        match version(rest) {
            Shape::No => {}
            found => return found,
        }
        match rest.iter().position(|b| *b == b'\n') {
            Some(end) => rest = &rest[end + 1..],
            None if server.len() < MAX_LINES => return Shape::More,
            None => return Shape::No,
        }
    }
}
