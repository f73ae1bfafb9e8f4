//! What stands before another protocol: PROXY protocol, HTTP CONNECT, SOCKS.

use super::http1;
use super::{Match, starts};
use crate::wire::cursor::Cursor;

/// The longest head of a CONNECT, and of the answer to it.
const MAX_HEAD: usize = 8 << 10;

/// A first line of text (HAProxy's specification of the PROXY protocol, §2.1).
pub(super) fn proxy_v1(client: &[u8], _server: &[u8]) -> Match {
    match starts(client, b"PROXY ") {
        Match::Yes(_) => {}
        other => return other,
    }
    match client.iter().take(107).position(|b| *b == b'\n') {
        Some(end) => Match::Through {
            protocol: "PROXY protocol v1",
            client: end + 1,
            server: 0,
        },
        None if client.len() >= 107 => Match::No,
        None => Match::More,
    }
}

/// A signature, two bytes, a length and that many bytes (§2.2).
pub(super) fn proxy_v2(client: &[u8], _server: &[u8]) -> Match {
    match starts(client, b"\r\n\r\n\0\r\nQUIT\n") {
        Match::Yes(_) => {}
        other => return other,
    }
    let [version, _, high, low, ..] = client[12..] else {
        return Match::More;
    };
    let end = 16 + usize::from(u16::from_be_bytes([high, low]));
    if version >> 4 != 2 {
        Match::No
    } else if client.len() < end {
        Match::More
    } else {
        Match::Through {
            protocol: "PROXY protocol v2",
            client: end,
            server: 0,
        }
    }
}

/// `CONNECT` through an HTTP proxy (RFC 9110 §9.3.6): once the proxy agrees, the rest is not its.
pub(super) fn connect(client: &[u8], server: &[u8]) -> Match {
    match starts(client, b"CONNECT ") {
        Match::Yes(_) => {}
        other => return other,
    }
    let name = match http1::request(client) {
        Match::Yes(name) => name,
        other => return other,
    };
    let head = |bytes: &[u8]| {
        bytes
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .map(|at| at + 4)
    };
    let Some(request) = head(client) else {
        return if client.len() > MAX_HEAD {
            Match::Yes(name)
        } else {
            Match::Likely(name)
        };
    };
    match (http1::response(server), server.get(9), head(server)) {
        (Match::Yes(_), Some(b'2'), Some(answer)) => Match::Through {
            protocol: "HTTP CONNECT",
            client: request,
            server: answer,
        },
        (Match::Yes(_), Some(b'2') | None, None) if server.len() <= MAX_HEAD => Match::Likely(name),
        (Match::More, ..) => Match::Likely(name),
        _ => Match::Yes(name),
    }
}

/// SOCKS 5 (RFC 1928), with or without a password (RFC 1929).
pub(super) fn socks5(client: &[u8], server: &[u8]) -> Match {
    const NAME: &str = "socks5";
    let (mut c, mut s) = (Cursor::new(client), Cursor::new(server));
    match (c.u8(), client.get(1)) {
        (None, _) => return Match::More,
        (Some(5), Some(1..=8) | None) => {}
        _ => return Match::No,
    }
    let Some(methods) = c.vec8() else {
        return Match::More;
    };
    if methods.iter().any(|m| !matches!(m, 0..=9 | 0x80..)) {
        return Match::No;
    }
    match (s.u8(), s.u8()) {
        (Some(5), Some(0)) => {}
        (Some(5), Some(2)) => {
            let user = c.u8().zip(c.vec8()).zip(c.vec8());
            match (user, s.u8(), s.u8()) {
                (Some(_), Some(1), Some(0)) => {}
                (_, Some(_), Some(_)) => return Match::Yes(NAME),
                _ => return Match::Likely(NAME),
            }
        }
        (Some(5), Some(_)) => return Match::Yes(NAME),
        (Some(5) | None, None) => return Match::More,
        _ => return Match::No,
    }
    let Some([5, _, 0]) = c.take(3).map(|b| [b[0], b[1], b[2]]) else {
        return if c.len() < 3 {
            Match::Likely(NAME)
        } else {
            Match::No
        };
    };
    let Some(answer) = s.take(3) else {
        return Match::Likely(NAME);
    };
    if !(address(&mut c) && address(&mut s)) {
        return Match::Likely(NAME);
    }
    if answer != [5, 0, 0] {
        return Match::Yes(NAME);
    }
    Match::Through {
        protocol: "SOCKS5",
        client: client.len() - c.len(),
        server: server.len() - s.len(),
    }
}

/// Takes an address and a port (RFC 1928 §5).
fn address(c: &mut Cursor<'_>) -> bool {
    let taken = match c.u8() {
        Some(1) => c.take(4),
        Some(3) => c.vec8(),
        Some(4) => c.take(16),
        _ => None,
    };
    taken.is_some() && c.u16().is_some()
}

/// SOCKS 4 and 4a.
pub(super) fn socks4(client: &[u8], server: &[u8]) -> Match {
    const NAME: &str = "socks4";
    match client {
        [] | [4] => return Match::More,
        [4, 1 | 2, ..] => {}
        _ => return Match::No,
    }
    let mut c = Cursor::new(client);
    let (Some(_), Some(_), Some(ip)) = (c.u16(), c.u16(), c.take(4)) else {
        return Match::More;
    };
    let strings = if ip[..3] == [0; 3] && ip[3] != 0 {
        2
    } else {
        1
    };
    for _ in 0..strings {
        match c.rest().iter().take(256).position(|b| *b == 0) {
            Some(end) => drop(c.take(end + 1)),
            None if c.len() >= 256 => return Match::No,
            None => return Match::More,
        }
    }
    match server {
        [0, 90, ..] if server.len() >= 8 => Match::Through {
            protocol: "SOCKS4",
            client: client.len() - c.len(),
            server: 8,
        },
        [0, 91..=93, ..] => Match::Yes(NAME),
        [] | [0] | [0, 90, ..] => Match::More,
        _ => Match::No,
    }
}
