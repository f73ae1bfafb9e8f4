//! Kafka (protocol guide, "Messages"): length, API key, version, correlation id, client id.

use super::{First, Match, Recogniser};
use crate::wire::cursor::Cursor;

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[0]), kafka)];

/// The longest first request.
const MAX_REQUEST: u32 = 1 << 20;

fn kafka(client: &[u8], _server: &[u8]) -> Match {
    let mut c = Cursor::new(client);
    let (Some(len), Some(key), Some(version), Some(_), Some(id)) =
        (c.u32(), c.u16(), c.u16(), c.u32(), c.u16())
    else {
        // The first request is one of a few: Metadata, FindCoordinator, SaslHandshake, ApiVersions,
        // InitProducerId.
        let part = client.get(4..).unwrap_or_default();
        let may = part.first().is_none_or(|b| *b == 0)
            && part.get(1).is_none_or(|k| is_first(*k))
            && part.get(2).is_none_or(|b| *b == 0);
        return if may { Match::More } else { Match::No };
    };
    let sane = (10..=MAX_REQUEST).contains(&len)
        && key <= 255
        && is_first(key as u8)
        && version <= 20
        && (id == u16::MAX || u32::from(id) + 10 <= len && (1..256).contains(&id));
    if !sane || id == u16::MAX {
        return Match::of(sane && key == 18, "kafka");
    }
    let name = c.rest();
    let shown = &name[..name.len().min(id.into())];
    if !shown.iter().all(|b| (0x20..0x7f).contains(b)) {
        Match::No
    } else if shown.len() < usize::from(id) {
        Match::More
    } else {
        Match::Yes("kafka")
    }
}

/// Whether a client's first request may have this key.
fn is_first(key: u8) -> bool {
    matches!(key, 3 | 10 | 17 | 18 | 22)
}
