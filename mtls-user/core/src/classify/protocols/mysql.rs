//! MySQL's two protocols: the classic one, and the X protocol.

use super::{First, Match, Recogniser, Shape, follows, shape};
use crate::wire::cursor::Cursor;
use crate::wire::text;

pub(super) const RECOGNISERS: &[Recogniser] = &[
    Recogniser::new(First::ANY, classic),
    Recogniser::new(First::ANY, x),
];

const NAME: &str = "mysql";

/// The server speaks first; a client that wants TLS sends only the first 32 bytes of its response,
/// with `CLIENT_SSL` set (MySQL internals, "Protocol::SSLRequest").
fn classic(client: &[u8], server: &[u8]) -> Match {
    const CLIENT_SSL: u16 = 0x0800;
    if client.len() > 3 && client[3] != 1 {
        return Match::No;
    }
    let greeting = match greeting(server) {
        Ok(len) => len,
        Err(other) => return other,
    };
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

/// The bytes of a server's greeting: length, sequence number 0, then protocol version 10 and a
/// version number in ASCII. It may also be a final error.
fn greeting(server: &[u8]) -> Result<usize, Match> {
    let [low, middle, high, 0, kind, rest @ ..] = server else {
        let possible = server.get(2).is_none_or(|b| *b == 0) && server.len() < 5;
        return Err(if possible && server.get(3).is_none_or(|b| *b == 0) {
            Match::More
        } else {
            Match::No
        });
    };
    let len = usize::from(u16::from_le_bytes([*low, *middle]));
    match (kind, rest) {
        _ if *high != 0 => Err(Match::No),
        (10, []) => Err(Match::More),
        (10, [first, ..]) if first.is_ascii_digit() && len >= 40 => Ok(4 + len),
        // A code and a message; before the handshake, there is no SQL state between them.
        (0xff, [_, code, words @ ..]) if (3..=27).contains(code) && (8..512).contains(&len) => {
            let words = &words[..words.len().min(len - 3)];
            Err(match (text::is_text(words), words.len() < len - 3) {
                (false, _) => Match::No,
                (true, true) => Match::More,
                (true, false) => Match::Yes(NAME),
            })
        }
        (0xff, _) if rest.len() < 2 => Err(Match::More),
        _ => Err(Match::No),
    }
}

/// Length (including the type, little-endian), type, a protocol buffers message (MySQL internals,
/// "X Protocol"). TLS is a capability that the client sets; the answer is OK, and TLS begins.
fn x(client: &[u8], server: &[u8]) -> Match {
    const NAME: &str = "mysqlx";
    const GET: u8 = 1;
    const SET: u8 = 2;
    const OK: u8 = 0;
    const NOTICE: u8 = 11;
    const CAPABILITIES: u8 = 2;
    const ERROR: u8 = 1;
    let (mut c, mut s) = (Cursor::new(client), Cursor::new(server));
    let mut asked = false;
    let mut begun = false;
    let mut known = false;
    // The server first sends unsolicited notices about itself.
    let mut ahead = s;
    while let Some((NOTICE, _)) = message(&mut ahead) {
        s = ahead;
    }
    loop {
        let at = client.len() - c.len();
        if asked {
            let answer = message(&mut s);
            let done = server.len() - s.len();
            match answer {
                Some((OK, _)) => return follows(client, at, NAME, Some(done)),
                Some((ERROR, _)) => {
                    return if client.len() == at {
                        Match::Declined(NAME)
                    } else {
                        Match::Refused(NAME)
                    };
                }
                Some(_) => return Match::Yes(NAME),
                None => return follows(client, at, NAME, None),
            }
        }
        let pending = if known {
            Match::Likely(NAME)
        } else {
            Match::More
        };
        // Lengths are small, and there are few possible first messages.
        let head = shape(c.rest(), &[None, None, Some(0), Some(0), None]);
        let kind = c.rest().get(4).copied();
        if head == Shape::No || kind.is_some_and(|k| !begun && !matches!(k, GET | SET | 4)) {
            return if known { Match::Yes(NAME) } else { Match::No };
        }
        let Some((kind, body)) = message(&mut c) else {
            // The length of a few fields.
            let far = !begun && client.len() > 4096;
            return if far { Match::No } else { pending };
        };
        begun = true;
        match kind {
            GET if body.is_empty() => {
                if s.is_empty() {
                    return Match::More;
                }
                match message(&mut s) {
                    Some((CAPABILITIES, _)) => known = true,
                    Some(_) => return Match::No,
                    None => return Match::More,
                }
            }
            // {1: {1: {1: "tls", 2: …}}}
            SET if body.windows(5).any(|w| w == b"\x0a\x03tls") => asked = true,
            // Session start with the name of an authentication method.
            4 if known || body.first() == Some(&0x0a) && is_mechanism(body) => {
                return Match::Yes(NAME);
            }
            SET if known => {
                if message(&mut s).is_none() {
                    return Match::Likely(NAME);
                }
            }
            _ if known => return Match::Yes(NAME),
            _ => return Match::No,
        }
    }
}

fn is_mechanism(body: &[u8]) -> bool {
    let name = Cursor::new(&body[1..]).vec8().unwrap_or_default();
    [&b"MYSQL41"[..], b"PLAIN", b"SHA256_MEMORY"].contains(&name)
}

/// A complete message of the X protocol: its type, and the rest.
fn message<'a>(c: &mut Cursor<'a>) -> Option<(u8, &'a [u8])> {
    let mut ahead = *c;
    let len = ahead.u32_le()?;
    let kind = ahead.u8()?;
    let body = ahead.take((len as usize).checked_sub(1)?)?;
    *c = ahead;
    Some((kind, body))
}
