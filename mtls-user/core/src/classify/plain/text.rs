//! Text protocols that do not turn to TLS in band: Redis, Memcached, NATS, SSH, STOMP, RTSP, SIP.

use super::{Match, starts};
use crate::wire::tls::record::may_be_handshake;

/// The longest command that a person types.
const MAX_INLINE: usize = 1024;

/// The serialization of Redis' requests: an array of bulk strings.
pub(super) fn resp(bytes: &[u8]) -> Match {
    let Some((b'*', rest)) = bytes.split_first() else {
        return if bytes.is_empty() {
            Match::More
        } else {
            Match::No
        };
    };
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits > 7 || digits == 0 && !rest.is_empty() {
        return Match::No;
    }
    match starts(&rest[digits..], b"\r\n$") {
        Match::No => Match::No,
        Match::More => Match::More,
        _ => match rest.get(digits + 3) {
            Some(b) if b.is_ascii_digit() => Match::Yes("redis"),
            Some(_) => Match::No,
            None => Match::More,
        },
    }
}

pub(super) fn redis(client: &[u8], server: &[u8]) -> Match {
    match starts(client, b"PING\r\n") {
        Match::Yes(_) => Match::Yes("redis"),
        Match::More => Match::More,
        _ => match resp(client) {
            Match::No => inline(client, server),
            found => found,
        },
    }
}

/// A command of Redis as a person types it (Redis serialization protocol, "Inline commands"): known
/// by the answer, as such words may be any protocol's.
fn inline(client: &[u8], server: &[u8]) -> Match {
    const COMMANDS: [&str; 12] = [
        "AUTH", "CLIENT", "COMMAND", "CONFIG", "DEL", "ECHO", "GET", "HELLO", "INFO", "PING",
        "SELECT", "SET",
    ];
    let word = client
        .iter()
        .take_while(|b| b.is_ascii_alphabetic())
        .count();
    let may = COMMANDS.iter().any(|command| {
        let command = command.as_bytes();
        command.len() >= word
            && command[..word].eq_ignore_ascii_case(&client[..word])
            && (command.len() == word || client.len() == word)
    });
    if client.is_empty() || !may || client.get(word).is_some_and(|b| !b" \r\n".contains(b)) {
        return Match::No;
    }
    let answer = match server {
        [] | [b'+' | b'-' | b'$' | b':' | b'*' | b'%'] => Match::More,
        [b'+', b'O' | b'P', ..] | [b'-', b'A'..=b'Z', ..] => Match::Yes("redis"),
        [b'$' | b':', b'0'..=b'9' | b'-', ..] | [b'*' | b'%', b'0'..=b'9', ..] => {
            Match::Yes("redis")
        }
        _ => Match::No,
    };
    if client.contains(&b'\n') || answer == Match::No {
        answer
    } else if client.len() > MAX_INLINE {
        Match::No
    } else {
        Match::More
    }
}

/// Memcached's text commands.
pub(super) fn memcached(client: &[u8], _server: &[u8]) -> Match {
    const STORAGE: [&str; 6] = ["set", "add", "replace", "append", "prepend", "cas"];
    const OTHERS: [&str; 15] = [
        "get", "gets", "delete", "incr", "decr", "touch", "gat", "stats", "version", "mg", "ms",
        "md", "ma", "me", "mn",
    ];
    let Some(end) = client.iter().take(1024).position(|b| *b == b'\n') else {
        let mut words = client.split(|b| matches!(b, b' ' | b'\r'));
        let word = words.next().unwrap_or_default();
        let mut all = STORAGE.iter().chain(&OTHERS);
        let may = all.any(|c| {
            c.as_bytes() == word || word.len() == client.len() && c.as_bytes().starts_with(word)
        });
        return if may && client.len() < 1024 {
            Match::More
        } else {
            Match::No
        };
    };
    let Some(line) = client[..end].strip_suffix(b"\r") else {
        return Match::No;
    };
    let mut words = line.split(|b| *b == b' ');
    let command = words.next().unwrap_or_default();
    let is = |list: &[&str]| list.iter().any(|c| c.as_bytes() == command);
    let number = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    let key = |word: &[u8]| !word.is_empty() && word.len() <= 250;
    let rest: smallvec::SmallVec<[&[u8]; 8]> = words.collect();
    let found = if is(&STORAGE) {
        rest.len() >= 4 && key(rest[0]) && number(rest[1]) && number(rest[3])
    } else if is(&["stats", "version", "mn"]) {
        rest.len() < 2
    } else if is(&["ms"]) {
        rest.len() >= 2 && key(rest[0]) && number(rest[1])
    } else {
        is(&OTHERS) && !rest.is_empty() && rest.iter().all(|w| key(w))
    };
    if found {
        Match::Yes("memcached")
    } else {
        Match::No
    }
}

/// NATS: the server speaks first, and says in its greeting whether it wants TLS.
pub(super) fn nats(client: &[u8], server: &[u8]) -> Match {
    const NAME: &str = "nats";
    let pending = match starts(server, b"INFO {") {
        Match::No => return Match::No,
        Match::More => Match::More,
        _ => Match::Likely(NAME),
    };
    let hello = may_be_handshake(client, 1);
    match (starts(client, b"CONNECT {"), starts(client, b"PING\r\n")) {
        _ if pending == Match::More && (client.is_empty() || hello) => pending,
        (Match::Yes(_), _) | (_, Match::Yes(_)) if pending != Match::More => Match::Yes(NAME),
        _ if hello && client.len() > 5 => Match::Upgrade {
            protocol: NAME,
            client: 0,
            server: None,
        },
        (Match::No, Match::No) if !hello => Match::No,
        _ => pending,
    }
}

/// SSH's first line (RFC 4253 §4.2), from either side.
pub(super) fn ssh(client: &[u8], server: &[u8]) -> Match {
    let line = |side| match starts(side, b"SSH-2.0-") {
        Match::No => starts(side, b"SSH-1.99-"),
        found => found,
    };
    match (line(client), line(server)) {
        (Match::No, _) | (_, Match::No) => Match::No,
        (Match::More, Match::More) => Match::More,
        _ => Match::Encrypted("ssh"),
    }
}

/// A frame that connects: its command, then headers (STOMP 1.2, "Connecting").
pub(super) fn stomp(client: &[u8], _server: &[u8]) -> Match {
    let commands = [&b"CONNECT"[..], b"STOMP"].map(|command| match starts(client, command) {
        Match::Yes(_) => starts(&client[command.len()..], b"\n"),
        other => other,
    });
    match commands {
        [Match::No, Match::No] => return Match::No,
        [Match::Yes(_), _] | [_, Match::Yes(_)] => {}
        _ => return Match::More,
    }
    let header = client.iter().skip_while(|b| **b != b'\n').skip(1).take(64);
    let name = header
        .clone()
        .take_while(|b| b.is_ascii_lowercase() || **b == b'-');
    match (name.clone().count(), header.clone().nth(name.count())) {
        (_, None) if header.count() < 64 => Match::More,
        (1.., Some(b':')) => Match::Yes("stomp"),
        _ => Match::No,
    }
}

/// Requests as HTTP's, of RTSP and SIP.
pub(super) fn rtsp_or_sip(client: &[u8], _server: &[u8]) -> Match {
    let end = client.iter().take(1024).position(|b| *b == b'\n');
    let Some(line) = end.map(|end| client[..end].trim_ascii_end()) else {
        let word = client
            .iter()
            .take_while(|b| b.is_ascii_uppercase() || **b == b'_')
            .count();
        let may = client.len() < 1024 && (word == client.len() || word > 2 && client[word] == b' ');
        return if may { Match::More } else { Match::No };
    };
    if line.ends_with(b" RTSP/1.0") || line.ends_with(b" RTSP/2.0") {
        Match::Yes("rtsp")
    } else if line.ends_with(b" SIP/2.0") {
        Match::Yes("sip")
    } else {
        Match::No
    }
}
