//! Network Block Device (its protocol's doc/proto.md): the server speaks first, the client sends
//! options, one of which requests TLS.

use super::{First, Match, Recogniser, Shape, follows, starts};
use crate::wire::cursor::Cursor;

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[0]), nbd)];

const NAME: &str = "nbd";
const GREETING: usize = 18;
const OPTION: u64 = u64::from_be_bytes(*b"IHAVEOPT");
const REPLY: u64 = 0x0003_e889_0455_65a9;
const START_TLS: u32 = 5;
const ACKNOWLEDGED: u32 = 1;

fn nbd(client: &[u8], server: &[u8]) -> Match {
    match starts(server, b"NBDMAGIC") {
        Shape::Yes => {}
        Shape::No => return Match::No,
        Shape::More => {
            let may = starts(client, &[0, 0, 0]) != Shape::No;
            return if may { Match::More } else { Match::No };
        }
    }
    match starts(&server[8..], b"IHAVEOPT") {
        Shape::Yes => {}
        Shape::More => return Match::Likely(NAME),
        // The old negotiation has no options.
        Shape::No => return Match::Yes(NAME),
    }
    let mut c = Cursor::new(client);
    if c.u32().is_none() {
        return Match::Likely(NAME);
    }
    loop {
        let (Some(magic), Some(option), Some(len)) = (u64(&mut c), c.u32(), c.u32()) else {
            return Match::Likely(NAME);
        };
        if magic != OPTION || len > 1 << 16 {
            return Match::Yes(NAME);
        }
        if option == START_TLS {
            let at = client.len() - c.len();
            return match reply(server, START_TLS) {
                None => follows(client, at, NAME, None),
                Some((ACKNOWLEDGED, end)) => follows(client, at, NAME, Some(end)),
                Some(_) if client.len() == at => Match::Declined(NAME),
                Some(_) => Match::Refused(NAME),
            };
        }
        // List, info, structured replies and extended headers come before a decision; choosing an
        // export, or leaving, is one.
        if !matches!(option, 3 | 6 | 8 | 11) {
            return Match::Yes(NAME);
        }
        if c.take(len as usize).is_none() {
            return Match::Likely(NAME);
        }
    }
}

/// The first reply to this option: its type, and its end.
fn reply(server: &[u8], wanted: u32) -> Option<(u32, usize)> {
    let mut c = Cursor::new(server.get(GREETING..)?);
    loop {
        let (magic, option, kind, len) = (u64(&mut c)?, c.u32()?, c.u32()?, c.u32()?);
        c.take(len as usize)?;
        if magic != REPLY {
            return None;
        }
        if option == wanted {
            return Some((kind, server.len() - c.len()));
        }
    }
}

fn u64(c: &mut Cursor<'_>) -> Option<u64> {
    Some(u64::from(c.u32()?) << 32 | u64::from(c.u32()?))
}
