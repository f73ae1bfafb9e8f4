//! NATS (NATS documentation, "Client Protocol"): the server speaks first, and its greeting says
//! whether it requires TLS.

use super::{First, Match, Recogniser, Shape, Turn, starts};
use crate::wire::tls::record::may_be_handshake;

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(b"CP\x16"), nats)];

fn nats(client: &[u8], server: &[u8]) -> Match {
    const NAME: &str = "nats";
    let greeting = starts(server, b"INFO {");
    let hello = may_be_handshake(client, 1);
    let said = [&b"CONNECT {"[..], b"PING\r\n"].map(|command| starts(client, command));
    match greeting {
        Shape::No => Match::No,
        _ if said == [Shape::No; 2] && !hello => Match::No,
        Shape::More => Match::More,
        Shape::Yes if said.contains(&Shape::Yes) => Match::Yes(NAME),
        Shape::Yes if hello && client.len() > 5 => Match::Upgrade(Turn {
            protocol: NAME,
            client: 0,
            server: None,
        }),
        Shape::Yes => Match::Likely(NAME),
    }
}
