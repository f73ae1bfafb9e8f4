//! FIX (FIX session layer, "tag=value encoding"): fields separated by a control character; the
//! first are the version, the length and the type of the message.

use super::{First, Match, Recogniser, Shape, starts};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(b"8"), fix)];

fn fix(client: &[u8], _server: &[u8]) -> Match {
    let found = [&b"8=FIX.4."[..], b"8=FIXT.1."].map(|version| starts(client, version));
    if found == [Shape::No; 2] {
        return Match::No;
    }
    let Some(end) = client.iter().take(16).position(|b| *b == 1) else {
        return if client.len() < 16 {
            Match::More
        } else {
            Match::No
        };
    };
    starts(&client[end..], b"\x019=").then(Match::Yes("fix"))
}
