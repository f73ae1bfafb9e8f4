//! DCE/RPC over TCP (C706 §12.6.4.3; MS-RPCE §2.2.2): a bind, whose security trailer says whether
//! the calls are encrypted.

use super::{First, Match, Recogniser, Shape, shape};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[5]), dcerpc)];

fn dcerpc(client: &[u8], _server: &[u8]) -> Match {
    const NAME: &str = "dcerpc";
    const PRIVACY: u8 = 6;
    let (any, zero) = (None, Some(0));
    // Version 5.0 or 5.1, bind, flags, integers in little-endian order.
    let head = [
        Some(5),
        any,
        Some(11),
        any,
        Some(0x10),
        zero,
        zero,
        zero,
        any,
        any,
        any,
        any,
    ];
    match shape(client, &head) {
        Shape::Yes => {}
        other => return other.then(Match::No),
    }
    let word = |at: usize| usize::from(u16::from_le_bytes([client[at], client[at + 1]]));
    let (size, token) = (word(8), word(10));
    if client[1] > 1 || !(72..=8192).contains(&size) || token + 24 > size {
        return Match::No;
    }
    if token == 0 {
        return Match::Yes(NAME);
    }
    // Type and level are eight bytes before the token.
    match client.get(size - token - 7) {
        Some(&PRIVACY) => Match::Encrypted(NAME),
        Some(_) => Match::Yes(NAME),
        None => Match::More,
    }
}
