//! Cassandra (CQL binary protocol v3 to v6, and DataStax's own two): version, flags, stream,
//! opcode, length; the first is STARTUP or OPTIONS.

use super::{First, Match, Recogniser};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(
    First::of(&[3, 4, 5, 6, 0x41, 0x42]),
    cassandra,
)];

fn cassandra(client: &[u8], server: &[u8]) -> Match {
    const HEADER: usize = 9;
    let is_version = |version: &u8| matches!(version, 3..=6 | 0x41 | 0x42);
    let &[version, flags, _, _, opcode, a, b, c, d, ref rest @ ..] = client else {
        let may = client.first().is_none_or(is_version)
            && client.get(1).is_none_or(|f| matches!(f, 0 | 0x10))
            && client.get(4).is_none_or(|o| matches!(o, 1 | 5));
        return if may { Match::More } else { Match::No };
    };
    if !is_version(&version) || !matches!(flags, 0 | 0x10) {
        return Match::No;
    }
    let len = u32::from_be_bytes([a, b, c, d]);
    let body = match opcode {
        // A map of strings, the first of which is an option's name.
        1 => match rest {
            [0, 1..=16, 0, 1..=64, first, ..] => {
                (6..=4096).contains(&len) && first.is_ascii_uppercase()
            }
            [] | [0] | [0, 1..=16] | [0, 1..=16, 0] | [0, 1..=16, 0, 1..=64] => {
                return Match::More;
            }
            _ => false,
        },
        // A request without a body, and a response: version with the upper bit set, SUPPORTED or
        // ERROR.
        5 if len == 0 => match server {
            [answer, _, _, _, 0 | 6, ..] => *answer & 0x80 != 0 && is_version(&(answer & 0x7f)),
            _ if server.len() < 5 && client.len() == HEADER => return Match::More,
            _ => false,
        },
        _ => false,
    };
    Match::of(body, "cassandra")
}
