//! RocketMQ (`RemotingCommand`): two lengths, and a header in JSON.

use super::{First, Match, Recogniser, Shape, shape};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[0]), rocketmq)];

fn rocketmq(client: &[u8], _server: &[u8]) -> Match {
    let (any, zero) = (None, Some(0));
    let head = [
        zero,
        any,
        any,
        any,
        zero,
        zero,
        any,
        any,
        Some(b'{'),
        Some(b'"'),
    ];
    match shape(client, &head) {
        Shape::Yes => {}
        other => return other.then(Match::No),
    }
    let len = usize::from(u16::from_be_bytes([client[6], client[7]]));
    let Some(header) = client.get(8..8 + len) else {
        return if client.len() < 8 << 10 {
            Match::More
        } else {
            Match::No
        };
    };
    let has = |name: &[u8]| memchr::memmem::find(header, name).is_some();
    Match::of(
        has(b"\"code\":") && has(b"\"opaque\":") && has(b"\"language\":"),
        "rocketmq",
    )
}
