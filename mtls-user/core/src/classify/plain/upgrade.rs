//! Protocols that ask for TLS in messages of their own: PostgreSQL, MySQL, XMPP, AMQP 1.0.

use super::{Match, starts};
use crate::wire::cursor::Cursor;
use crate::wire::tls::record::may_be_handshake;

/// What follows a request for TLS in the client's stream.
pub(super) fn follows(
    client: &[u8],
    at: usize,
    protocol: &'static str,
    server: Option<usize>,
) -> Match {
    let rest = client.get(at..).unwrap_or_default();
    match (may_be_handshake(rest, 1), rest.len()) {
        (true, 6..) => Match::Upgrade {
            protocol,
            client: at,
            server,
        },
        (true, _) => Match::Asked(protocol),
        (false, _) => Match::Refused(protocol),
    }
}

/// PostgreSQL's first messages are a length and a code (PostgreSQL documentation, "Message
/// Formats"): StartupMessage, SSLRequest, GSSENCRequest, CancelRequest.
pub(super) fn postgresql(client: &[u8], server: &[u8]) -> Match {
    const NAME: &str = "postgresql";
    let mut c = Cursor::new(client);
    let mut answered = 0;
    loop {
        let at = client.len() - c.len();
        let (Some(len), Some(code)) = (c.u32(), c.u32()) else {
            // The length's upper bytes are zero, and the code's are few.
            let part = &client[at..];
            let possible = starts(part, &[0, 0]) != Match::No
                && part.get(4).is_none_or(|b| matches!(b, 0x04 | 0x00));
            return match (possible, at) {
                (false, 0) => Match::No,
                (true, 0) => Match::More,
                _ => Match::Likely(NAME),
            };
        };
        match (code, len) {
            (80_877_103, 8) => {
                return match server.get(answered) {
                    Some(b'S') => follows(client, at + 8, NAME, Some(answered + 1)),
                    Some(_) => Match::Refused(NAME),
                    // A hello means that the answer was yes, seen or not.
                    None => match follows(client, at + 8, NAME, Some(answered + 1)) {
                        Match::Refused(_) => Match::Asked(NAME),
                        other => other,
                    },
                };
            }
            (80_877_104, 8) => match server.get(answered) {
                Some(b'G') => return Match::Encrypted("postgresql-gssapi"),
                Some(_) => answered += 1,
                None => return Match::Likely(NAME),
            },
            (80_877_102, 16) | (0x0003_0000..=0x0003_00ff, 8..=10_000) => return Match::Yes(NAME),
            _ if at == 0 => return Match::No,
            _ => return Match::Yes(NAME),
        }
    }
}

/// MySQL's server speaks first; a client that wants TLS sends the first 32 bytes of its answer
/// alone, with `CLIENT_SSL` set (MySQL internals, "Protocol::SSLRequest").
pub(super) fn mysql(client: &[u8], server: &[u8]) -> Match {
    const NAME: &str = "mysql";
    const CLIENT_SSL: u16 = 0x0800;
    if !client.is_empty() && client.len() > 3 && client[3] != 1 {
        return Match::No;
    }
    if server.is_empty() {
        return Match::More;
    }
    // Length, sequence number 0, then protocol version 10 and a version number in ASCII.
    let [_, _, high, 0, 10, first, ..] = server else {
        let possible = server.get(2).is_none_or(|b| *b == 0)
            && server.get(3).is_none_or(|b| *b == 0)
            && server.get(4).is_none_or(|b| *b == 10)
            && server.len() < 6;
        return if possible { Match::More } else { Match::No };
    };
    if *high != 0 || !first.is_ascii_digit() {
        return Match::No;
    }
    let greeting = 4 + usize::from(u16::from_le_bytes([server[0], server[1]]));
    if greeting < 4 + 40 {
        return Match::No;
    }
    match client {
        [low, 0, 0, 1, a, b, ..] => {
            if u16::from_le_bytes([*a, *b]) & CLIENT_SSL == 0 || *low != 32 {
                Match::Yes(NAME)
            } else if client.len() <= 36 {
                Match::Asked(NAME)
            } else {
                follows(client, 36, NAME, Some(greeting))
            }
        }
        [_, _, _, 1, _, _, ..] => Match::Yes(NAME),
        _ => Match::Likely(NAME),
    }
}

/// XMPP opens an XML stream (RFC 6120 §4.2) and asks for TLS in it (§5.4).
pub(super) fn xmpp(client: &[u8], _server: &[u8]) -> Match {
    const NAME: &str = "xmpp";
    let opened = [&b"<?xml "[..], b"<stream:stream "].map(|p| starts(client, p));
    if opened == [Match::No; 2] {
        return Match::No;
    }
    let find = |what: &[u8]| client.windows(what.len()).position(|w| w == what);
    if find(b"http://etherx.jabber.org/streams").is_none() {
        return if client.len() > 2048 {
            Match::No
        } else {
            Match::More
        };
    }
    if let Some(at) = starttls(client) {
        let Some(end) = client[at..].iter().position(|b| *b == b'>') else {
            return Match::Asked(NAME);
        };
        let mut end = at + end + 1;
        if client.get(end - 2) != Some(&b'/') {
            match client[end..].iter().position(|b| *b == b'>') {
                Some(close) => end += close + 1,
                None => return Match::Asked(NAME),
            }
        }
        if client.len() == end {
            return Match::Asked(NAME);
        }
        return follows(client, end, NAME, None);
    }
    if find(b"<auth")
        .or_else(|| find(b"<iq"))
        .or_else(|| find(b"<message"))
        .is_some()
    {
        return Match::Yes(NAME);
    }
    Match::Likely(NAME)
}

/// Where the element begins that asks for TLS, with a prefix of its namespace or without.
fn starttls(client: &[u8]) -> Option<usize> {
    const ELEMENT: &[u8] = b"starttls";
    let begins = |at: usize| {
        let before = &client[..at];
        let prefixed = before.strip_suffix(b":").is_some_and(|before| {
            let name = before
                .iter()
                .rev()
                .take_while(|b| b.is_ascii_alphanumeric());
            let name = name.count();
            name > 0 && before[..before.len() - name].ends_with(b"<")
        });
        prefixed || before.ends_with(b"<")
    };
    let mut found = client.windows(ELEMENT.len()).enumerate();
    found.find_map(|(at, w)| (w == ELEMENT && begins(at)).then_some(at))
}

/// AMQP begins with its name and a protocol id: 2 asks for TLS (AMQP 1.0 part 5.2).
pub(super) fn amqp(client: &[u8], _server: &[u8]) -> Match {
    match (starts(client, b"AMQP"), client.get(4)) {
        (Match::No, _) => Match::No,
        (_, None) => Match::More,
        (_, Some(2)) if client.len() <= 8 => Match::Asked("amqp"),
        (_, Some(2)) => follows(client, 8, "amqp", Some(8)),
        (_, Some(0 | 1 | 3)) => Match::Yes("amqp"),
        _ => Match::No,
    }
}
