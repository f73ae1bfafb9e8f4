//! AMQP begins with its name and a protocol id: 2 requests TLS (AMQP 1.0 part 5.2).

use super::{First, Match, Recogniser, Shape, follows, starts};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(b"A"), amqp)];

const NAME: &str = "amqp";

fn amqp(client: &[u8], server: &[u8]) -> Match {
    const HEADER: usize = 8;
    match (starts(client, b"AMQP"), client.get(4)) {
        (Shape::No, _) => Match::No,
        (_, None) => Match::More,
        (_, Some(2)) if client.len() < HEADER => Match::Asked(NAME),
        // A server that does not support it answers with what it supports instead, and closes.
        (_, Some(2)) if client.len() == HEADER => match server.get(4) {
            Some(2) | None => Match::Asked(NAME),
            Some(_) => Match::Declined(NAME),
        },
        (_, Some(2)) => follows(client, HEADER, NAME, Some(HEADER)),
        (_, Some(0 | 1 | 3)) => Match::Yes(NAME),
        _ => Match::No,
    }
}
