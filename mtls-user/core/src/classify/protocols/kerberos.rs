//! Kerberos over TCP (RFC 4120 §7.2.2, §5.4.1): a length, and a request for a ticket.

use super::{First, Match, Recogniser, Shape, ldap, shape};
use crate::wire::cursor::Cursor;

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[0]), kerberos)];

fn kerberos(client: &[u8], _server: &[u8]) -> Match {
    /// `[APPLICATION 10]` and `[APPLICATION 12]`: for an initial ticket, and for another.
    const TAGS: [u8; 2] = [0x6a, 0x6c];
    match shape(client, &[Some(0), Some(0), None, None, None]) {
        Shape::Yes => {}
        other => return other.then(Match::No),
    }
    let size = u32::from_be_bytes([0, 0, client[2], client[3]]) as usize;
    let mut c = Cursor::new(&client[4..]);
    let Some(tag) = c.u8().filter(|tag| TAGS.contains(tag)) else {
        return Match::No;
    };
    // Its length, a sequence and its length, then version 5 and the same number as in the tag.
    let behind = client[4..].len();
    let (len, sequence) = (ldap::length(&mut c), c);
    let Ok(Some(len)) = len else {
        return if len.is_err() { Match::No } else { Match::More };
    };
    if behind - sequence.len() + len != size {
        return Match::No;
    }
    match c.u8() {
        Some(0x30) => {}
        Some(_) => return Match::No,
        None => return Match::More,
    }
    match ldap::length(&mut c) {
        Ok(Some(_)) => {}
        Ok(None) => return Match::More,
        Err(()) => return Match::No,
    }
    let kind = Some(tag & 0x1f);
    let (one, two) = (Some(1), Some(2));
    let fields = [
        Some(0xa1),
        Some(3),
        two,
        one,
        Some(5),
        Some(0xa2),
        Some(3),
        two,
        one,
        kind,
    ];
    shape(c.rest(), &fields).then(Match::Yes("kerberos"))
}
