//! BGP-4 (RFC 4271 §4.1, §4.2): sixteen ones, a length, OPEN, version 4.

use super::{First, Match, Recogniser, shape};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[0xff]), bgp)];

fn bgp(client: &[u8], _server: &[u8]) -> Match {
    const ONES: Option<u8> = Some(0xff);
    let mut head = [ONES; 20];
    [head[16], head[17], head[18], head[19]] = [None, None, Some(1), Some(4)];
    shape(client, &head).then(Match::Yes("bgp"))
}
