//! Aerospike (wire protocol, "Header"): version 2, a type, a length of six bytes.

use super::{First, Match, Recogniser, Shape, shape};
use crate::wire::text;

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[2]), aerospike)];

fn aerospike(client: &[u8], server: &[u8]) -> Match {
    const INFO: u8 = 1;
    const SECURITY: u8 = 2;
    const MESSAGE: u8 = 3;
    let head = [Some(2), None, Some(0), Some(0), Some(0), None, None, None];
    match shape(client, &head) {
        Shape::Yes => {}
        other => return other.then(Match::No),
    }
    // The server's response has the same header.
    match shape(
        server,
        &[Some(2), Some(client[1]), Some(0), Some(0), Some(0)],
    ) {
        Shape::No => return Match::No,
        Shape::More => return Match::More,
        Shape::Yes => {}
    }
    let len = usize::from(u16::from_be_bytes([client[6], client[7]]));
    let body = &client[8..];
    let shown = &body[..body.len().min(len)];
    let fits = match client[1] {
        INFO => text::is_text(shown),
        SECURITY => len >= 16,
        // The message's own header has 22 bytes.
        MESSAGE => body.first().is_none_or(|n| *n == 22),
        _ => false,
    };
    Match::of(fits, "aerospike")
}
