//! Consul and Nomad: on the RPC port, a first byte says what follows (agent/pool/conn.go,
//! nomad/rpc.go: TLS is 3 and 7, or 4); their gossip is memberlist's.

use super::{First, Match, Recogniser, Shape, Turn, shape, starts};
use crate::wire::tls::record::may_be_handshake;

pub(super) const RECOGNISERS: &[Recogniser] = &[
    Recogniser::new(First::of(&[3, 4, 7]), rpc),
    Recogniser::new(First::of(&[6, 9, 10, 244]), memberlist),
];

/// A byte, followed by a ClientHello.
fn rpc(client: &[u8], _server: &[u8]) -> Match {
    let protocol = match client.first() {
        Some(3 | 7) => "consul",
        Some(4) => "nomad",
        Some(_) => return Match::No,
        None => return Match::More,
    };
    match (may_be_handshake(&client[1..], 1), client.len()) {
        (false, _) => Match::No,
        (true, 7..) => Match::Upgrade(Turn {
            protocol,
            client: 1,
            server: Some(0),
        }),
        (true, _) => Match::More,
    }
}

/// memberlist over TCP (net.go): a type, and MessagePack; an encrypted message has a length, a
/// version, a nonce of 12 bytes and a tag of 16. A label may precede it.
fn memberlist(client: &[u8], server: &[u8]) -> Match {
    const NAME: &str = "memberlist";
    const SYNC: u8 = 6;
    const COMPRESSED: u8 = 9;
    const ENCRYPTED: u8 = 10;
    const LABEL: u8 = 244;
    match client {
        [] | [LABEL] => Match::More,
        [SYNC, rest @ ..] => starts(rest, b"\x83\xa5Nodes").then(Match::Yes(NAME)),
        [COMPRESSED, rest @ ..] => starts(rest, b"\x82\xa4Algo").then(Match::Yes(NAME)),
        [ENCRYPTED, rest @ ..] => {
            match shape(rest, &[Some(0), None, None, None, None]) {
                Shape::Yes => {}
                other => return other.then(Match::No),
            }
            let len = u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            if rest[4] > 1 || len < 1 + 12 + 16 {
                return Match::No;
            }
            // A complete message and a response of its kind make it certain.
            match (server.first(), rest.len().cmp(&(4 + len))) {
                (Some(&ENCRYPTED), _) => Match::Encrypted(NAME),
                (Some(_), _) | (_, std::cmp::Ordering::Greater) => Match::No,
                _ => Match::More,
            }
        }
        [LABEL, len, rest @ ..] => {
            let label = &rest[..rest.len().min(usize::from(*len))];
            if *len == 0 || !label.iter().all(|b| (0x20..0x7f).contains(b)) {
                return Match::No;
            }
            match rest.get(usize::from(*len)..) {
                Some([LABEL, ..]) => Match::No,
                Some(rest) => memberlist(rest, server),
                None => Match::More,
            }
        }
        _ => Match::No,
    }
}
