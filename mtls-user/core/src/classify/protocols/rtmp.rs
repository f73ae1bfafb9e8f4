//! RTMP (Adobe's specification, §5.2): version 3, a time and 1,528 random bytes from both sides,
//! which the other side echoes.

use super::{First, Match, Recogniser, Shape, shape};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[3]), rtmp)];

fn rtmp(client: &[u8], server: &[u8]) -> Match {
    /// A version byte, then what is echoed.
    const ECHO: usize = 1 + 1536;
    /// After the time, and four bytes of time or version.
    const RANDOM: usize = 1 + 8;
    const SHOWN: usize = 16;
    match shape(client, &[Some(3), None, None, None, None]) {
        Shape::Yes => {}
        other => return other.then(Match::No),
    }
    if server.first().is_some_and(|version| *version != 3) {
        return Match::No;
    }
    let sent = client.get(RANDOM..RANDOM + SHOWN);
    let back = server.get(ECHO + 8..ECHO + 8 + SHOWN);
    match (sent, back) {
        (Some(sent), Some(back)) => Match::of(sent == back, "rtmp"),
        _ => Match::More,
    }
}
