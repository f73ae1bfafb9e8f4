//! Datagram tunnels over TCP with their own encryption: OpenVPN, WireGuard.

use super::{First, Match, Recogniser};

pub(super) const RECOGNISERS: &[Recogniser] = &[
    Recogniser::new(First::of(&[0]), openvpn),
    Recogniser::new(First::of(&[0, 1]), wireguard),
];

/// A two-byte length, an opcode and a key number (OpenVPN protocol, "TCP packets"): a client's
/// reset in its three versions, answered by the server's.
fn openvpn(client: &[u8], server: &[u8]) -> Match {
    const CLIENT: [u8; 2] = [7 << 3, 10 << 3];
    const SERVER: u8 = 8 << 3;
    let &[high, low, opcode, ref rest @ ..] = client else {
        return may(client.first().is_none_or(|b| *b <= 4));
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    // Type, session, packet ids and acknowledgements; keys and a wrapped key may come with it.
    if !CLIENT.contains(&opcode) || !(14..=1280).contains(&len) || rest.len() + 1 < len {
        return may(CLIENT.contains(&opcode) && (14..=1280).contains(&len));
    }
    let reply = match server {
        [high, low, opcode, ..] => {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            Some(*opcode == SERVER && (14..=1280).contains(&len))
        }
        _ => None,
    };
    match reply {
        Some(true) => Match::Encrypted("openvpn"),
        Some(false) => Match::No,
        None => Match::More,
    }
}

/// An initiation of 148 bytes and a response of 92 (WireGuard's paper, §5.4), with or without a
/// two-byte length prefix.
fn wireguard(client: &[u8], server: &[u8]) -> Match {
    fn begins(bytes: &[u8], kind: u8, len: u8) -> Match {
        let frame = [0, len];
        let bare = bytes.strip_prefix(&frame[..]).unwrap_or(bytes);
        if bytes.len() < 2 && frame.starts_with(bytes) {
            return Match::More;
        }
        let head = [kind, 0, 0, 0];
        let n = bare.len().min(head.len());
        match bare[..n] == head[..n] {
            false => Match::No,
            true if bare.len() < usize::from(len) => Match::More,
            true => Match::Yes(""),
        }
    }
    match (begins(client, 1, 148), begins(server, 2, 92)) {
        (Match::No, _) | (_, Match::No) => Match::No,
        (Match::Yes(_), Match::Yes(_)) => Match::Encrypted("wireguard"),
        _ => Match::More,
    }
}

fn may(be: bool) -> Match {
    if be { Match::More } else { Match::No }
}
