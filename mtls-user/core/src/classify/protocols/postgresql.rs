//! PostgreSQL, and compatible servers such as CockroachDB. The first messages are a length and a
//! code (PostgreSQL documentation, "Message Formats"): StartupMessage, SSLRequest, GSSENCRequest,
//! CancelRequest.

use super::{First, Match, Recogniser, Shape, follows, starts};
use crate::wire::cursor::Cursor;

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[0]), postgresql)];

const NAME: &str = "postgresql";
const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

fn postgresql(client: &[u8], server: &[u8]) -> Match {
    let mut c = Cursor::new(client);
    let mut answered = 0;
    let mut declined = false;
    loop {
        let at = client.len() - c.len();
        let (Some(len), Some(code)) = (c.u32(), c.u32()) else {
            return pending(&client[at..], at, declined);
        };
        match (code, len) {
            (SSL_REQUEST, 8) => {
                let answer = server.get(answered);
                let follows = follows(client, at + 8, NAME, None);
                match (answer, follows) {
                    // A hello means that the answer was yes, whether it was seen or not.
                    (_, Match::Upgrade(mut turn)) => {
                        turn.server = (answer == Some(&b'S')).then_some(answered + 1);
                        return Match::Upgrade(turn);
                    }
                    (None, _) | (Some(b'S'), Match::Asked(_)) => return Match::Asked(NAME),
                    (Some(_), Match::Asked(_)) => return Match::Declined(NAME),
                    // Another attempt may follow: the next message decides.
                    (Some(_), _) => {
                        answered += 1;
                        declined = true;
                    }
                }
            }
            (GSSENC_REQUEST, 8) => match server.get(answered) {
                Some(b'G') => return Match::Encrypted("postgresql-gssapi"),
                Some(_) => answered += 1,
                None => return Match::Likely(NAME),
            },
            // Since protocol version 3.2, a cancellation's key may have up to 256 bytes.
            (CANCEL_REQUEST, 16..=268) => return plain(declined),
            (0x0003_0000..=0x0003_ffff, 9..=10_000) => match parameter(c.rest()) {
                Shape::More => return pending(&client[at..], at, declined),
                Shape::No if at == 0 => return Match::No,
                _ => return plain(declined),
            },
            _ if at == 0 => return Match::No,
            _ => return plain(declined),
        }
    }
}

fn plain(declined: bool) -> Match {
    if declined {
        Match::Refused(NAME)
    } else {
        Match::Yes(NAME)
    }
}

/// Whether there are too few bytes of the message that begins at `at`.
fn pending(part: &[u8], at: usize, declined: bool) -> Match {
    // The length's upper bytes are zero, and there are few codes.
    let possible =
        starts(part, &[0, 0]) != Shape::No && part.get(4).is_none_or(|b| matches!(b, 0x04 | 0x00));
    match (possible, at) {
        (false, 0) => Match::No,
        (true, 0) => Match::More,
        _ if declined => Match::Declined(NAME),
        _ => Match::Likely(NAME),
    }
}

/// The name of a StartupMessage's first parameter, or the end of an empty list. Kafka's requests
/// also begin with a length and these numbers.
fn parameter(rest: &[u8]) -> Shape {
    let name = |b: &u8| b.is_ascii_alphabetic() || b"_.".contains(b);
    let len = rest.iter().take(64).take_while(|b| name(b)).count();
    match rest.get(len) {
        None if len < 64 => Shape::More,
        Some(0) if len >= 4 => Shape::Yes,
        _ => Shape::No,
    }
}
