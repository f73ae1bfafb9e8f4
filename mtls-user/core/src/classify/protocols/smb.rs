//! SMB over TCP (MS-SMB2 §2.1, §2.2; MS-CIFS §2.2.3.1): a zero, a length, and a message with its
//! magic number. Version 3 can encrypt what follows the session setup.

use super::{First, Match, Recogniser, Shape, shape};

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(&[0, 0x81]), smb)];

const NAME: &str = "smb";
/// The longest message before the session is set up.
const MAX: usize = 1 << 17;
/// A NetBIOS session request (RFC 1002 §4.3.2): two names of 34 bytes.
const NETBIOS: [Option<u8>; 5] = [Some(0x81), Some(0), Some(0), Some(68), Some(32)];

fn smb(client: &[u8], _server: &[u8]) -> Match {
    let mut at = 0;
    if client.first() == Some(&0x81) {
        match shape(client, &NETBIOS) {
            Shape::Yes if client.len() < 72 => return Match::More,
            Shape::Yes => at = 72,
            other => return other.then(Match::No),
        }
    }
    let mut known = false;
    loop {
        let rest = &client[at..];
        let pending = if known {
            Match::Likely(NAME)
        } else {
            Match::More
        };
        let head = [
            Some(0),
            None,
            None,
            None,
            None,
            Some(b'S'),
            Some(b'M'),
            Some(b'B'),
        ];
        match shape(rest, &head) {
            Shape::Yes => {}
            Shape::More => return pending,
            Shape::No if known => return Match::Yes(NAME),
            Shape::No => return Match::No,
        }
        known = true;
        let len = u32::from_be_bytes([0, rest[1], rest[2], rest[3]]) as usize;
        let neutral = match (rest[4], rest.get(8), rest.get(16)) {
            // Negotiate and session setup.
            (0xff, Some(0x72 | 0x73), _) | (0xfe, _, Some(0 | 1)) => true,
            (0xff, None, _) | (0xfe, _, None) => return Match::Likely(NAME),
            (0xfd, ..) => return Match::Encrypted(NAME),
            (0xff | 0xfe | 0xfc, ..) => false,
            _ => return Match::No,
        };
        if !neutral || len > MAX {
            return Match::Yes(NAME);
        }
        if rest.len() < 4 + len {
            return Match::Likely(NAME);
        }
        at += 4 + len;
    }
}
