//! Protocols that precede another one: PROXY protocol, HTTP CONNECT, SOCKS.

use super::http1::{self, Response};
use super::{First, Match, Recogniser, Shape, Turn, starts};
use crate::wire::cursor::Cursor;

pub(super) const RECOGNISERS: &[Recogniser] = &[
    Recogniser::new(First::of(b"C"), connect),
    Recogniser::new(First::of(b"P"), proxy_v1),
    Recogniser::new(First::of(b"\r"), proxy_v2),
    Recogniser::new(First::of(&[5]), socks5),
    Recogniser::new(First::of(&[4]), socks4),
];

/// The longest header of a CONNECT, and the longest one that is awaited as a whole.
const MAX_HEAD: usize = 8 << 10;

/// A first line of text (HAProxy's specification of the PROXY protocol, §2.1).
fn proxy_v1(client: &[u8], _server: &[u8]) -> Match {
    match starts(client, b"PROXY ") {
        Shape::Yes => {}
        other => return other.then(Match::No),
    }
    match client.iter().take(107).position(|b| *b == b'\n') {
        Some(end) => through("PROXY protocol v1", end + 1, 0),
        None if client.len() >= 107 => Match::No,
        None => Match::More,
    }
}

fn through(protocol: &'static str, client: usize, server: usize) -> Match {
    Match::Through(turn(protocol, client, server))
}

/// The same if a password was sent on the way.
fn secret_then(protocol: &'static str, client: usize, server: usize) -> Match {
    Match::Secret(turn(protocol, client, server))
}

fn turn(protocol: &'static str, client: usize, server: usize) -> Turn {
    Turn {
        protocol,
        client,
        server: Some(server),
    }
}

/// A signature, two bytes, a length and that many bytes (§2.2).
fn proxy_v2(client: &[u8], _server: &[u8]) -> Match {
    match starts(client, b"\r\n\r\n\0\r\nQUIT\n") {
        Shape::Yes => {}
        other => return other.then(Match::No),
    }
    let [version, _, high, low, ..] = client[12..] else {
        return Match::More;
    };
    let end = 16 + usize::from(u16::from_be_bytes([high, low]));
    // More than is kept of a stream is skipped as it comes.
    if version >> 4 != 2 {
        Match::No
    } else if client.len() < end && end <= MAX_HEAD {
        Match::More
    } else {
        through("PROXY protocol v2", end, 0)
    }
}

/// `CONNECT` through an HTTP proxy (RFC 9110 §9.3.6): once the proxy agrees, the rest is tunnelled.
/// It may request credentials first (§11.7), and the client tries again.
///
/// A client that sends credentials to the proxy has revealed them to everybody on the path,
/// whatever the tunnel carries afterwards.
fn connect(client: &[u8], server: &[u8]) -> Match {
    let (mut asked, mut answered) = (0, 0);
    let mut secret = false;
    loop {
        let rest = &client[asked..];
        let name = match (starts(rest, b"CONNECT "), http1::request(rest)) {
            (Shape::Yes, Match::Yes(name)) => name,
            (Shape::No, _) | (_, Match::No) if asked == 0 => return Match::No,
            (Shape::No, _) | (_, Match::No) => return Match::Yes("http/1.1"),
            _ if asked == 0 => return Match::More,
            _ => return Match::Likely("http/1.1"),
        };
        let Some(request) = http1::head(rest) else {
            return if rest.len() > MAX_HEAD {
                Match::Yes(name)
            } else {
                Match::Likely(name)
            };
        };
        secret |= shows_credentials(&rest[..request]);
        match http1::final_response(&server[answered..]) {
            Response::Of(200..=299, answer, _) => {
                let (client, server) = (asked + request, answered + answer);
                return if secret {
                    secret_then(name, client, server)
                } else {
                    through("HTTP CONNECT", client, server)
                };
            }
            // Responses after which a client tries again on the same connection.
            Response::Of(401 | 407 | 408 | 425 | 429 | 500..=599, head, end) => {
                // Content of unknown length ends where the next response begins.
                let next = || {
                    let behind = &server[answered + head..];
                    memchr::memmem::find(behind, b"HTTP/1.").map(|at| head + at)
                };
                let Some(end) = end
                    .or_else(next)
                    .filter(|end| answered + end <= server.len())
                else {
                    return Match::Likely(name);
                };
                asked += request;
                answered += end;
            }
            Response::More => return Match::Likely(name),
            Response::Of(..) | Response::No => return Match::Yes(name),
        }
    }
}

/// Whether a request's header contains credentials (RFC 9110 §11.6.2, §11.7.2; RFC 6265), or what is
/// named like them: every product has a header of its own.
fn shows_credentials(head: &[u8]) -> bool {
    const WORDS: [&[u8]; 6] = [b"auth", b"cookie", b"token", b"key", b"secret", b"passw"];
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    let names = lines.filter_map(|line| line.split(|byte| *byte == b':').next());
    let is_credential = |name: &[u8]| {
        let contains = |word: &[u8]| {
            name.windows(word.len())
                .any(|part| part.eq_ignore_ascii_case(word))
        };
        WORDS.iter().any(|word| contains(word))
    };
    names.into_iter().any(is_credential)
}

/// SOCKS 5 (RFC 1928), with or without a password (RFC 1929), which is unencrypted.
fn socks5(client: &[u8], server: &[u8]) -> Match {
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
    let secret = match (s.u8(), s.u8()) {
        (Some(5), Some(0)) => false,
        (Some(5), Some(2)) => {
            let user = c.u8().zip(c.vec8()).zip(c.vec8());
            match (user, s.u8(), s.u8()) {
                (Some(_), Some(1), Some(0)) => true,
                (_, Some(_), Some(_)) => return Match::Yes(NAME),
                _ => return Match::Likely(NAME),
            }
        }
        (Some(5), Some(_)) => return Match::Yes(NAME),
        (Some(5) | None, None) => return Match::More,
        _ => return Match::No,
    };
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
    let (client, server) = (client.len() - c.len(), server.len() - s.len());
    if secret {
        secret_then(NAME, client, server)
    } else {
        through("SOCKS5", client, server)
    }
}

/// Consumes an address and a port (RFC 1928 §5).
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
fn socks4(client: &[u8], server: &[u8]) -> Match {
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
        [0, 90, ..] if server.len() >= 8 => through("SOCKS4", client.len() - c.len(), 8),
        [0, 91..=93, ..] => Match::Yes(NAME),
        [] | [0] | [0, 90, ..] => Match::More,
        _ => Match::No,
    }
}
