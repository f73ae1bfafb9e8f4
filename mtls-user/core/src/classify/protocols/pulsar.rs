//! Pulsar (binary protocol, "Framing"): two sizes, and a protocol buffers command, CONNECT.

use super::{First, Match, Recogniser, Shape, shape};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[0]), pulsar)];

fn pulsar(client: &[u8], _server: &[u8]) -> Match {
    let (any, zero) = (None, Some(0));
    let head = [
        zero,
        zero,
        any,
        any,
        zero,
        zero,
        any,
        any,
        Some(8),
        Some(2),
        Some(0x12),
    ];
    match shape(client, &head) {
        Shape::Yes => {}
        other => return other.then(Match::No),
    }
    let size = |at: usize| u16::from_be_bytes([client[at], client[at + 1]]);
    Match::of(size(2) == size(6).wrapping_add(4), "pulsar")
}
