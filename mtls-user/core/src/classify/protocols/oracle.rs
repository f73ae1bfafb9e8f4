//! Oracle Net (TNS): a connect packet, with a description in parentheses. Oracle's own network
//! encryption is negotiated in the first data packets ("Oracle Net Services", "Configuring Network
//! Data Encryption"; the layout is that of free clients).

use super::{First, Match, Recogniser, Shape, shape};
use crate::wire::cursor::Cursor;

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[0, 1, 2, 3]), tns)];

const NAME: &str = "oracle";
const CONNECT: u8 = 1;
const DATA: u8 = 6;
const RESEND: u8 = 11;
/// At the start of the service negotiation.
const SERVICES: [u8; 4] = [0xde, 0xad, 0xbe, 0xef];

fn tns(client: &[u8], server: &[u8]) -> Match {
    // Length, checksum, type, flags, header checksum; versions of 300 and more.
    let head = [
        None,
        None,
        Some(0),
        Some(0),
        Some(CONNECT),
        None,
        Some(0),
        Some(0),
        Some(1),
    ];
    match shape(client, &head) {
        Shape::Yes => {}
        other => return other.then(Match::No),
    }
    let [high, low] = [client[0], client[1]];
    let size = usize::from(u16::from_be_bytes([high, low]));
    if !(58..=4096).contains(&size) {
        return Match::No;
    }
    let Some(&[a, b]) = client.get(26..28) else {
        return Match::More;
    };
    // The description is where the packet says, or in a packet of its own after it.
    let at = usize::from(u16::from_be_bytes([a, b]));
    if !(34..=512).contains(&at) {
        return Match::No;
    }
    let described = match client.get(at) {
        Some(b'(') => true,
        Some(_) if size > at => return Match::No,
        _ => false,
    };
    if !described && client.len() < size {
        return Match::More;
    }
    services(&client[size.min(client.len())..], server)
}

/// What the two sides send after connecting: the client's first data packet requests services, the
/// second of which is encryption.
fn services(client: &[u8], server: &[u8]) -> Match {
    let mut rest = client;
    let asked = loop {
        let Some((kind, body, size)) = packet(rest) else {
            return Match::Likely(NAME);
        };
        match kind {
            DATA => break body,
            CONNECT | RESEND => rest = &rest[size..],
            _ => return Match::Yes(NAME),
        }
    };
    // Two bytes of flags come first.
    if asked.get(2..6) != Some(&SERVICES) {
        // A description that was too long for the previous packet.
        return if asked.get(2) == Some(&b'(') {
            Match::Likely(NAME)
        } else {
            Match::Yes(NAME)
        };
    }
    let Some(at) = memchr::memmem::find(server, &SERVICES) else {
        return Match::Likely(NAME);
    };
    match encryption(&server[at + SERVICES.len()..]) {
        None => Match::Likely(NAME),
        Some(0) => Match::Yes(NAME),
        Some(_) => Match::Encrypted(NAME),
    }
}

/// A packet: its type, the available part of its body, its size.
fn packet(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let head = bytes.first_chunk::<8>()?;
    let short = usize::from(u16::from_be_bytes([head[0], head[1]]));
    // Since version 315, lengths have four bytes.
    let size = if short == 0 {
        usize::from(u16::from_be_bytes([head[2], head[3]]))
    } else {
        short
    };
    let body = bytes.get(8..size)?;
    Some((head[4], body, size))
}

/// The number of the algorithm that the server chose: length, version, count, flags; then services,
/// each with a number, a count of values and an error; values with a length and a type.
fn encryption(bytes: &[u8]) -> Option<u8> {
    const ENCRYPTION: u16 = 2;
    const SMALL: u16 = 2;
    let mut c = Cursor::new(bytes);
    c.take(6)?;
    let services = c.u16()?;
    c.u8()?;
    for _ in 0..services {
        let (service, values) = (c.u16()?, c.u16()?);
        c.u32()?;
        for _ in 0..values {
            let (len, kind) = (c.u16()?, c.u16()?);
            let value = c.take(len.into())?;
            if service == ENCRYPTION && kind == SMALL {
                return value.first().copied();
            }
        }
    }
    Some(0)
}
