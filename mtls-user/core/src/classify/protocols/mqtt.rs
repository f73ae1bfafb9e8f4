//! MQTT's CONNECT: type, remaining length, the protocol name (MQTT 5 §3.1).

use super::{First, Match, Recogniser, Shape, starts};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[0x10]), mqtt)];

fn mqtt(client: &[u8], _server: &[u8]) -> Match {
    let Some((0x10, lengths)) = client.split_first() else {
        return starts(client, &[0x10]).then(Match::No);
    };
    let Some(len) = lengths.iter().take(4).position(|b| b & 0x80 == 0) else {
        return if client.len() < 5 {
            Match::More
        } else {
            Match::No
        };
    };
    let rest = &client[len + 2..];
    let names = [&b"\0\x04MQTT"[..], b"\0\x06MQIsdp"].map(|name| starts(rest, name));
    if names.contains(&Shape::Yes) {
        Match::Yes("mqtt")
    } else if names.contains(&Shape::More) {
        Match::More
    } else {
        Match::No
    }
}
