//! ClickHouse's native protocol ("Native protocol", "Hello"): the packet's number, the program's
//! name, its version.

use super::{First, Match, Recogniser};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[0]), clickhouse)];

fn clickhouse(client: &[u8], server: &[u8]) -> Match {
    let [0, len @ 1..=100, rest @ ..] = client else {
        return if client.len() < 2 && client.first().is_none_or(|b| *b == 0) {
            Match::More
        } else {
            Match::No
        };
    };
    let len = usize::from(*len);
    let name = &rest[..rest.len().min(len)];
    if !name.iter().all(|b| (0x20..0x7f).contains(b)) {
        return Match::No;
    }
    if name.len() < len {
        return Match::More;
    }
    let named = name
        .windows(9)
        .any(|w| w.eq_ignore_ascii_case(b"lickhouse"));
    // Clients may use any name; the server does not.
    let answer = b"\0\x0aClickHouse";
    let shown = server.len().min(answer.len());
    match server[..shown] == answer[..shown] {
        _ if named => Match::Yes("clickhouse"),
        false => Match::No,
        true if shown < answer.len() => Match::More,
        true => Match::Yes("clickhouse"),
    }
}
