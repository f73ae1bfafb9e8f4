//! STOMP: a connect frame, with its command and headers (STOMP 1.2, "Connecting").

use super::{First, Match, Recogniser, Shape, starts};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(b"CS"), stomp)];

fn stomp(client: &[u8], _server: &[u8]) -> Match {
    let commands = [&b"CONNECT"[..], b"STOMP"].map(|command| match starts(client, command) {
        Shape::Yes => {
            let rest = &client[command.len()..];
            match starts(rest, b"\n") {
                Shape::No => starts(rest, b"\r\n"),
                found => found,
            }
        }
        other => other,
    });
    if commands == [Shape::No; 2] {
        return Match::No;
    }
    if !commands.contains(&Shape::Yes) {
        return Match::More;
    }
    let header = client.iter().skip_while(|b| **b != b'\n').skip(1).take(64);
    let name = header
        .clone()
        .take_while(|b| b.is_ascii_lowercase() || **b == b'-');
    match (name.clone().count(), header.clone().nth(name.count())) {
        (_, None) if header.count() < 64 => Match::More,
        (1.., Some(b':')) => Match::Yes("stomp"),
        _ => Match::No,
    }
}
