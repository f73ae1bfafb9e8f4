//! Protocols that begin with an X.224 connection request in a TPKT packet (RFC 1006 §6): RDP, and
//! the industrial protocols S7 and MMS.

use super::{First, Match, Recogniser, Shape, follows, shape};
use crate::wire::cursor::Cursor;

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[3]), tpkt)];

const RDP: &str = "rdp";
const CONNECTION_REQUEST: u8 = 0xe0;
const CONNECTION_CONFIRM: u8 = 0xd0;
/// Length of a negotiation request or response (MS-RDPBCGR §2.2.1.1.1).
const NEGOTIATION: usize = 8;

fn tpkt(client: &[u8], server: &[u8]) -> Match {
    let (size, request) = match packet(client, CONNECTION_REQUEST) {
        Ok(found) => found,
        Err(other) => return other.then(Match::No),
    };
    match request.first() {
        // X.224 parameters: TPDU size and the selectors of both ends.
        Some(0xc0..=0xc2) => return plant(&client[size..]),
        // A cookie or a routing token, the negotiation, or nothing.
        Some(b'C' | 1) | None => {}
        Some(_) => return Match::No,
    }
    let wanted = negotiation(request, 1);
    let (answer, confirm) = match packet(server, CONNECTION_CONFIRM) {
        Ok(found) => found,
        Err(Shape::No) => return Match::No,
        Err(_) if wanted.is_some_and(|protocols| protocols != 0) => {
            // A hello means that the answer was yes, whether it was seen or not.
            return match follows(client, size, RDP, None) {
                Match::Refused(_) => Match::Likely(RDP),
                other => other,
            };
        }
        Err(_) => return Match::Likely(RDP),
    };
    match (negotiation(confirm, 2), negotiation(confirm, 3)) {
        // TLS, or what is inside TLS: CredSSP, RDSTLS.
        (Some(selected), _) if selected != 0 => follows(client, size, RDP, Some(answer)),
        (_, Some(_failure)) if client.len() == size => Match::Declined(RDP),
        (_, Some(_failure)) => Match::Refused(RDP),
        _ => standard(&server[answer..]),
    }
}

/// The packet at the start: its size, and the variable part of its TPDU, if that has this type.
fn packet(bytes: &[u8], kind: u8) -> Result<(usize, &[u8]), Shape> {
    let head = [Some(3), Some(0), None, None, None, Some(kind)];
    match shape(bytes, &head) {
        Shape::Yes => {}
        other => return Err(other),
    }
    let size = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    // The TPDU's length does not include itself.
    if size != 5 + usize::from(bytes[4]) || !(11..=512).contains(&size) {
        return Err(Shape::No);
    }
    // Two references and a class.
    match bytes.get(11..size) {
        Some(rest) => Ok((size, rest)),
        None => Err(Shape::More),
    }
}

/// The contents of a negotiation structure of this type at the end of the variable part.
fn negotiation(variable: &[u8], kind: u8) -> Option<u32> {
    let at = variable.len().checked_sub(NEGOTIATION)?;
    let mut c = Cursor::new(&variable[at..]);
    let (found, _flags, len) = (c.u8()?, c.u8()?, c.u16_le()?);
    let value = c.u32_le()?;
    (found == kind && usize::from(len) == NEGOTIATION).then_some(value)
}

/// Without TLS, RDP may use its own encryption: the server's security data name the method
/// (§2.2.1.4.3).
fn standard(server: &[u8]) -> Match {
    const SECURITY: &[u8] = &[0x02, 0x0c];
    let mut rest = server;
    while let Some(at) = memchr::memmem::find(rest, SECURITY) {
        rest = &rest[at + SECURITY.len()..];
        let mut c = Cursor::new(rest);
        let (Some(len), Some(method), Some(level)) = (c.u16_le(), c.u32_le(), c.u32_le()) else {
            return Match::Likely(RDP);
        };
        if (12..4096).contains(&len) && matches!(method, 0 | 1 | 2 | 8 | 16) && level <= 4 {
            return if method == 0 {
                Match::Yes(RDP)
            } else {
                Match::Encrypted(RDP)
            };
        }
    }
    Match::Likely(RDP)
}

/// The first data of a connection with selectors: its first byte identifies the protocol.
fn plant(rest: &[u8]) -> Match {
    const DATA: [Option<u8>; 7] = [Some(3), Some(0), None, None, Some(2), Some(0xf0), None];
    match (shape(rest, &DATA), rest.get(7)) {
        // S7comm, its successor, and an ISO 8327 session CONNECT as used by MMS.
        (Shape::Yes, Some(0x32 | 0x72)) => Match::Yes("s7"),
        (Shape::Yes, Some(0x0d)) => Match::Yes("mms"),
        (Shape::More, _) | (Shape::Yes, None) => Match::More,
        _ => Match::No,
    }
}
