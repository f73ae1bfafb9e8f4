//! VNC (RFC 6143 §7.1): versions, then a security type, two of which are TLS: type 18, and type 19
//! with its subtypes (rfbproto, "VeNCrypt").

use super::{First, Match, Recogniser, Shape, follows, starts};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(b"R"), vnc)];

const NAME: &str = "vnc";
/// "RFB 003.008\n".
const VERSION: usize = 12;

fn vnc(client: &[u8], server: &[u8]) -> Match {
    let said = [server, client].map(|side| starts(side, b"RFB 0"));
    match said {
        [Shape::No, _] | [_, Shape::No] => return Match::No,
        [Shape::Yes, _] => {}
        _ => return Match::More,
    }
    if client.len() <= VERSION || server.len() <= VERSION {
        return Match::Likely(NAME);
    }
    let types = &server[VERSION..];
    if client[..VERSION].ends_with(b"003.003\n") {
        // The server decides, in four bytes.
        return Match::Yes(NAME);
    }
    let listed = 1 + usize::from(types[0]);
    match client[VERSION] {
        18 => follows(client, VERSION + 1, NAME, Some(VERSION + listed)),
        19 => vencrypt(client, server, VERSION + listed),
        // RA2 and its successor, with AES for the session; RSA-AES of 256 bits.
        5 | 13 | 129 | 133 => Match::Encrypted(NAME),
        _ => Match::Yes(NAME),
    }
}

/// Versions, a list of subtypes, the client's choice, the server's agreement.
fn vencrypt(client: &[u8], server: &[u8], at: usize) -> Match {
    const PLAIN: u32 = 256;
    let asked = &client[VERSION + 1..];
    let (Some([0, 2]), Some(choice)) = (asked.get(..2), asked.get(2..6)) else {
        return if asked.len() >= 2 && asked[..2] != [0, 2] {
            Match::Yes(NAME)
        } else {
            Match::Likely(NAME)
        };
    };
    let choice = choice.iter().fold(0, |n, b| n << 8 | u32::from(*b));
    if choice <= PLAIN {
        return Match::Yes(NAME);
    }
    let end = VERSION + 7;
    // Two version bytes, one that accepts the client's, the list, one that accepts its choice.
    let Some(listed) = server.get(at + 3) else {
        return follows(client, end, NAME, None);
    };
    let answer = at + 4 + 4 * usize::from(*listed);
    match server.get(answer) {
        Some(0) if client.len() == end => Match::Declined(NAME),
        Some(0) => Match::Refused(NAME),
        Some(_) => follows(client, end, NAME, Some(answer + 1)),
        None => follows(client, end, NAME, None),
    }
}
