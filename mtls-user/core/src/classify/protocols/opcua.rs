//! OPC UA over TCP (part 6, §7.1.2): a hello, then a secure channel, whose policy may be "none".

use super::{First, Match, Recogniser, Shape, starts};
use crate::wire::cursor::Cursor;

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(b"H"), opcua)];

const NAME: &str = "opcua";

fn opcua(client: &[u8], _server: &[u8]) -> Match {
    match starts(client, b"HELF") {
        Shape::Yes => {}
        other => return other.then(Match::No),
    }
    let mut c = Cursor::new(&client[4..]);
    let Some(size) = c.u32_le() else {
        return Match::More;
    };
    if !(32..=4128).contains(&size) {
        return Match::No;
    }
    let Some(rest) = client.get(size as usize..) else {
        return Match::Likely(NAME);
    };
    // The channel: type, size, its number, the policy's name.
    match starts(rest, b"OPNF") {
        Shape::Yes => {}
        Shape::More => return Match::Likely(NAME),
        Shape::No => return Match::Yes(NAME),
    }
    let mut c = Cursor::new(&rest[4..]);
    let (Some(size), Some(_), Some(len)) = (c.u32_le(), c.u32_le(), c.u32_le()) else {
        return Match::Likely(NAME);
    };
    let Some(policy) = c.take(len.min(256) as usize) else {
        return Match::Likely(NAME);
    };
    if policy.ends_with(b"#None") {
        return Match::Yes(NAME);
    }
    // The first message after it: only messages that are merely signed are readable. Type and size,
    // channel, token, sequence number, request; then a four-byte node id (part 6, §5.2.2.9).
    let Some(message) = rest.get(size as usize..).filter(|m| m.len() >= 26) else {
        return Match::Likely(NAME);
    };
    let readable = message[24..26] == [1, 0] && message[18..20] == [0, 0];
    if readable {
        Match::Yes(NAME)
    } else {
        Match::Encrypted(NAME)
    }
}
