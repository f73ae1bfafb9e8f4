//! ZeroMQ (ZMTP 3.1, RFC 37): a 64-byte greeting names the mechanism, and some mechanisms encrypt.

use super::{First, Match, Recogniser, shape};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[0xff]), zmtp)];

const NAME: &str = "zmtp";

fn zmtp(client: &[u8], _server: &[u8]) -> Match {
    // A signature, which older versions treated as a length; major version 3.
    let any = None;
    let head = [
        Some(0xff),
        any,
        any,
        any,
        any,
        any,
        any,
        any,
        any,
        Some(0x7f),
        Some(3),
        any,
    ];
    let found = shape(client, &head);
    let Some(mechanism) = client.get(12..32) else {
        return found.then(Match::More);
    };
    let len = mechanism.iter().take_while(|b| **b != 0).count();
    let name = &mechanism[..len];
    found.then(match name {
        b"CURVE" | b"GSSAPI" => Match::Encrypted(NAME),
        b"NULL" | b"PLAIN" => Match::Yes(NAME),
        _ => Match::No,
    })
}
