//! DNS over TCP: a length and a message with one question or zone (RFC 1035 §4.1, RFC 7766 §8).

use super::{First, Match, Recogniser};
use crate::wire::cursor::Cursor;

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::range(0, 16), dns)];

/// The longest first message of a client, including an UPDATE of many records.
const MAX: u16 = 4096;

fn dns(client: &[u8], _server: &[u8]) -> Match {
    let mut c = Cursor::new(client);
    let (
        Some(len),
        Some(_),
        Some(flags),
        Some(questions),
        Some(answers),
        Some(authority),
        Some(additional),
    ) = (
        c.u16(),
        c.u16(),
        c.u16(),
        c.u16(),
        c.u16(),
        c.u16(),
        c.u16(),
    )
    else {
        let at = |i: usize, value: u8| client.get(i).is_none_or(|b| *b == value);
        let may = client.first().is_none_or(|b| u16::from(*b) <= MAX >> 8)
            && client.get(4).is_none_or(|b| is_request(u16::from(*b) << 8))
            && at(6, 0)
            && at(7, 1)
            && at(8, 0);
        return if may { Match::More } else { Match::No };
    };
    let opcode = flags >> 11 & 15;
    // UPDATE's prerequisites are in the answer section (RFC 2136 §2.2), NOTIFY may have one (RFC
    // 1996 §3.7).
    let counts = match opcode {
        5 => answers < 256,
        4 => answers <= 1 && authority == 0,
        _ => answers == 0 && authority <= 1,
    };
    if !(17..=MAX).contains(&len)
        || !is_request(flags)
        || questions != 1
        || !counts
        || additional >= 256
    {
        return Match::No;
    }
    loop {
        match c.u8() {
            None => return Match::More,
            Some(0) => break,
            Some(n @ 1..=63) => match c.take(n.into()) {
                None => return Match::More,
                Some(label) if label.iter().all(u8::is_ascii_graphic) => {}
                Some(_) => return Match::No,
            },
            Some(_) => return Match::No,
        }
    }
    match (c.u16(), c.u16()) {
        (Some(kind), Some(class)) => Match::of(
            // A zone's type is SOA.
            matches!(class, 1 | 3 | 255) && (kind == 6 || opcode == 0),
            "dns",
        ),
        _ => Match::More,
    }
}

/// Whether a request may have these flags: QUERY, NOTIFY or UPDATE, and no response code. A NOTIFY
/// has the authoritative flag.
fn is_request(flags: u16) -> bool {
    match flags >> 11 {
        0 => flags & 0xfe4f == 0,
        4 => flags & 0xfbff == 0x2000,
        5 => flags == 0x2800,
        _ => false,
    }
}
