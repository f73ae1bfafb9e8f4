//! Diameter (RFC 6733 §3, §5.3): the peers exchange capabilities, and may negotiate TLS in these
//! according to an older specification (RFC 3588 §13.1).

use super::{First, Match, Recogniser, Shape, follows, shape};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[1]), diameter)];

const NAME: &str = "diameter";
/// AVP 299, mandatory, of twelve bytes.
const INBAND_SECURITY: [u8; 8] = [0, 0, 1, 43, 0x40, 0, 0, 12];

fn diameter(client: &[u8], server: &[u8]) -> Match {
    let (any, zero) = (None, Some(0));
    // Version, length, the request flag, command 257, application 0.
    let head = [
        Some(1),
        zero,
        any,
        any,
        any,
        zero,
        Some(1),
        Some(1),
        zero,
        zero,
        zero,
        zero,
    ];
    match shape(client, &head) {
        Shape::Yes => {}
        other => return other.then(Match::No),
    }
    let size = usize::from(u16::from_be_bytes([client[2], client[3]]));
    if client[4] & 0x8f != 0x80 || size < 20 || !size.is_multiple_of(4) {
        return Match::No;
    }
    let Some(request) = client.get(..size) else {
        return Match::Likely(NAME);
    };
    if !offers_tls(request) {
        return Match::Yes(NAME);
    }
    let len = server
        .first_chunk::<4>()
        .map(|head| usize::from(u16::from_be_bytes([head[2], head[3]])));
    match len.and_then(|len| server.get(..len)) {
        Some(answer) if offers_tls(answer) => follows(client, size, NAME, Some(answer.len())),
        Some(_) if client.len() == size => Match::Declined(NAME),
        Some(_) => Match::Refused(NAME),
        None => follows(client, size, NAME, None),
    }
}

/// Whether the message has the AVP that requests TLS.
fn offers_tls(message: &[u8]) -> bool {
    let tls = [&INBAND_SECURITY[..], &[0, 0, 0, 1]].concat();
    memchr::memmem::find(message, &tls).is_some()
}
