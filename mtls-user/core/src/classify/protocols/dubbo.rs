//! Dubbo: magic number, flags and serialization.

use super::{First, Match, Recogniser, Shape, starts};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[0xda]), dubbo)];

fn dubbo(client: &[u8], _server: &[u8]) -> Match {
    match (starts(client, &[0xda, 0xbb]), client.get(2)) {
        (Shape::Yes, Some(flags)) => Match::of(flags & 0x80 != 0, "dubbo"),
        (Shape::No, _) => Match::No,
        _ => Match::More,
    }
}
