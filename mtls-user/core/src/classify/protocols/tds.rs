//! TDS, Microsoft SQL Server's protocol (MS-TDS). TDS 8 begins as TLS; TDS 7 negotiates encryption
//! in PRELOGIN, and wraps the TLS handshake's records in its own packets (§3.2.5.1).

use super::{First, Framing, Match, Recogniser, Shape, Turn, shape};
use crate::wire::cursor::Cursor;

pub(super) const RECOGNISERS: &[Recogniser] =
    &[Recogniser::new(First::of(&[PRELOGIN, LOGIN7]), tds)];

const NAME: &str = "tds";
const PRELOGIN: u8 = 0x12;
const LOGIN7: u8 = 0x10;
const RESPONSE: u8 = 0x04;
/// Bytes of a packet's header (§2.2.3.1): type, status, length, process, number, window.
pub(in crate::classify) const HEADER: usize = 8;

/// The values of the option ENCRYPTION (§2.2.6.5).
mod encryption {
    pub(super) const OFF: u8 = 0;
    pub(super) const ON: u8 = 1;
    pub(super) const NOT_SUPPORTED: u8 = 2;
    pub(super) const REQUIRED: u8 = 3;
}

fn tds(client: &[u8], server: &[u8]) -> Match {
    if client.first() == Some(&LOGIN7) {
        return login(client);
    }
    let (asked, wanted) = match prelogin(client, PRELOGIN) {
        Ok(found) => found,
        Err(other) => return other.then(Match::No),
    };
    let (answered, given) = match prelogin(server, RESPONSE) {
        Ok(found) => found,
        Err(Shape::No) => return Match::No,
        Err(_) => return Match::Likely(NAME),
    };
    let rest = &client[asked..];
    // The upper bit requests a client certificate.
    match (wanted & 0x7f, given) {
        (encryption::ON | encryption::REQUIRED, encryption::NOT_SUPPORTED | encryption::OFF) => {
            if rest.is_empty() {
                Match::Declined(NAME)
            } else {
                Match::Refused(NAME)
            }
        }
        // At most the login is encrypted: what follows is not.
        (_, encryption::NOT_SUPPORTED | encryption::OFF) => Match::Yes(NAME),
        (encryption::NOT_SUPPORTED, _) => Match::Declined(NAME),
        (_, encryption::ON | encryption::REQUIRED) => match rest {
            [PRELOGIN, ..] => Match::Wrapped(
                Turn {
                    protocol: NAME,
                    client: asked,
                    server: Some(answered),
                },
                Framing::Tds,
            ),
            [] => Match::Asked(NAME),
            _ => Match::Refused(NAME),
        },
        _ => Match::No,
    }
}

/// A message of one packet: its size, and its encryption option.
fn prelogin(bytes: &[u8], kind: u8) -> Result<(usize, u8), Shape> {
    const VERSION: u8 = 0;
    const ENCRYPTION: u8 = 1;
    const END: u8 = 0xff;
    let head = [Some(kind), Some(1), None, None, None, None, None, Some(0)];
    match shape(bytes, &head) {
        Shape::Yes => {}
        other => return Err(other),
    }
    let size = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    if !(HEADER + 12..=4096).contains(&size) {
        return Err(Shape::No);
    }
    let shown = &bytes[HEADER..bytes.len().min(size)];
    // Options: a token, an offset and a length each, the version first.
    if shape(shown, &[Some(VERSION), Some(0), None, Some(0), Some(6)]) == Shape::No {
        return Err(Shape::No);
    }
    if shown.len() < size - HEADER {
        return Err(Shape::More);
    }
    let mut c = Cursor::new(shown);
    let mut found = None;
    loop {
        let Some(token) = c.u8() else {
            return Err(Shape::No);
        };
        if token == END {
            break;
        }
        let (Some(at), Some(len)) = (c.u16(), c.u16()) else {
            return Err(Shape::No);
        };
        let Some(value) = shown.get(at.into()..usize::from(at) + usize::from(len)) else {
            return Err(Shape::No);
        };
        if token == ENCRYPTION {
            found = value.first().copied();
        }
    }
    found.map(|value| (size, value)).ok_or(Shape::No)
}

/// A login without a preceding PRELOGIN: packet, length again, version 7 (§2.2.6.4).
fn login(client: &[u8]) -> Match {
    let head = [
        Some(LOGIN7),
        None,
        None,
        None,
        None,
        None,
        None,
        Some(0),
        None,
        None,
        Some(0),
        Some(0),
    ];
    match shape(client, &head) {
        Shape::Yes => {}
        other => return other.then(Match::No),
    }
    match client.get(15) {
        // 7.0 to 7.4.
        Some(major) => Match::of(client[1] <= 1 && matches!(major, 0x70..=0x74), NAME),
        None => Match::More,
    }
}
