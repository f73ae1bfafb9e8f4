//! Binary protocols with a first message of a fixed shape.

use super::{Match, starts};
use crate::wire::cursor::Cursor;

/// What a complete head gives: yes or no.
fn verdict(found: bool, name: &'static str) -> Match {
    if found { Match::Yes(name) } else { Match::No }
}

/// Length, API key, version, correlation id, client id (Kafka's protocol guide, "Messages").
pub(super) fn kafka(client: &[u8], _server: &[u8]) -> Match {
    if starts(client, &[0]) == Match::No {
        return Match::No;
    }
    let mut c = Cursor::new(client);
    let (Some(len), Some(key), Some(version), Some(_), Some(id)) =
        (c.u32(), c.u16(), c.u16(), c.u32(), c.u16())
    else {
        // The first request is one of few: ApiVersions, Metadata, FindCoordinator, SaslHandshake, InitProducerId.
        let part = client.get(4..8).unwrap_or_default();
        let may = part.first().is_none_or(|b| *b == 0) && part.get(2).is_none_or(|b| *b == 0);
        return if may { Match::More } else { Match::No };
    };
    let sane = (10..=1 << 20).contains(&len)
        && matches!(key, 3 | 10 | 17 | 18 | 22)
        && version <= 20
        && (id == u16::MAX || u32::from(id) + 10 <= len && (1..256).contains(&id));
    if !sane || id == u16::MAX {
        return verdict(sane && key == 18, "kafka");
    }
    let name = c.rest();
    let shown = &name[..name.len().min(id.into())];
    if !shown.iter().all(u8::is_ascii_graphic) {
        Match::No
    } else if shown.len() < usize::from(id) {
        Match::More
    } else {
        Match::Yes("kafka")
    }
}

/// Length, request id, 0, opcode (MongoDB's wire protocol, "Standard Message Header").
pub(super) fn mongodb(client: &[u8], _server: &[u8]) -> Match {
    let mut c = Cursor::new(client);
    let (Some(len), Some(_), Some(to), Some(code)) =
        (c.u32_le(), c.u32_le(), c.u32_le(), c.u32_le())
    else {
        let may = client.get(3).is_none_or(|b| *b <= 2)
            && client
                .get(8..)
                .unwrap_or_default()
                .iter()
                .take(4)
                .all(|b| *b == 0);
        return if may { Match::More } else { Match::No };
    };
    let known = matches!(code, 2001 | 2002 | 2004..=2007 | 2010 | 2012 | 2013);
    verdict(
        (16..=48_000_000).contains(&len) && to == 0 && known,
        "mongodb",
    )
}

/// CONNECT: type, remaining length, the protocol's name (MQTT 5 §3.1).
pub(super) fn mqtt(client: &[u8], _server: &[u8]) -> Match {
    match client.first() {
        None => return Match::More,
        Some(0x10) => {}
        Some(_) => return Match::No,
    }
    let Some(len) = client[1..].iter().take(4).position(|b| b & 0x80 == 0) else {
        return if client.len() < 5 {
            Match::More
        } else {
            Match::No
        };
    };
    let rest = &client[len + 2..];
    let names = [starts(rest, b"\0\x04MQTT"), starts(rest, b"\0\x06MQIsdp")];
    match names {
        [Match::No, Match::No] => Match::No,
        [Match::Yes(_), _] | [_, Match::Yes(_)] => Match::Yes("mqtt"),
        _ => Match::More,
    }
}

/// Version, flags, stream, opcode, length (CQL binary protocol v3 to v6, and DataStax's own two):
/// STARTUP or OPTIONS.
pub(super) fn cassandra(client: &[u8], _server: &[u8]) -> Match {
    let is_version = |version: &u8| matches!(version, 3..=6 | 0x41 | 0x42);
    let &[version, flags, _, _, opcode, a, b, c, d, ..] = client else {
        let may = client.first().is_none_or(is_version)
            && client.get(1).is_none_or(|f| matches!(f, 0 | 0x10))
            && client.get(4).is_none_or(|o| matches!(o, 1 | 5));
        return if may { Match::More } else { Match::No };
    };
    let len = u32::from_be_bytes([a, b, c, d]);
    let body = match opcode {
        1 => (2..=4096).contains(&len),
        5 => len == 0,
        _ => false,
    };
    verdict(
        is_version(&version) && matches!(flags, 0 | 0x10) && body,
        "cassandra",
    )
}

/// ConnectRequest: length, protocol version 0, zxid, timeout, session, a password of 16 bytes.
pub(super) fn zookeeper(client: &[u8], server: &[u8]) -> Match {
    let words = four_letters(client, server);
    if words != Match::No {
        return words;
    }
    let mut c = Cursor::new(client);
    let (Some(len), Some(version), Some(_), Some(timeout), Some(_), Some(password)) =
        (c.u32(), c.u32(), c.take(8), c.u32(), c.take(8), c.u32())
    else {
        let may = starts(client, &[0, 0, 0]) != Match::No
            && client.get(3).is_none_or(|b| matches!(b, 44 | 45))
            && client.iter().skip(4).take(4).all(|b| *b == 0);
        return if may { Match::More } else { Match::No };
    };
    let sane = matches!(len, 44 | 45) && version == 0 && password == 16;
    verdict(sane && (1..=3_600_000).contains(&timeout), "zookeeper")
}

/// ZooKeeper's commands of four letters (Administrator's Guide, "The Four Letter Words"), by the
/// answer: the words themselves may begin another protocol's.
fn four_letters(client: &[u8], server: &[u8]) -> Match {
    const WORDS: [&[u8]; 10] = [
        b"ruok", b"stat", b"mntr", b"srvr", b"conf", b"cons", b"envi", b"wchs", b"dump", b"isro",
    ];
    const ANSWERS: [&[u8]; 5] = [
        b"imok",
        b"Zookeeper version",
        b"zk_version",
        b"Environment:",
        b"clientPort=",
    ];
    /// Behind the word, in the place of any answer.
    const REFUSAL: &[u8] = b" is not executed because";
    let typed = client.trim_ascii_end();
    if client.is_empty() || client.len() > 6 {
        return Match::No;
    }
    let mut best = Match::No;
    for word in WORDS.iter().filter(|word| word.starts_with(typed)) {
        let refusal = match starts(server, word) {
            Match::Yes(_) => starts(&server[word.len()..], REFUSAL),
            other => other,
        };
        let answers = ANSWERS.iter().map(|answer| starts(server, answer));
        for found in answers.chain([refusal]) {
            match found {
                Match::No => {}
                Match::Yes(_) if typed.len() == 4 => return Match::Yes("zookeeper"),
                _ => best = Match::More,
            }
        }
    }
    best
}

/// A length and a query with one question (RFC 1035 §4.1, RFC 7766 §8).
pub(super) fn dns(client: &[u8], _server: &[u8]) -> Match {
    let mut c = Cursor::new(client);
    let (Some(len), Some(_), Some(flags), Some(questions), Some(answers), Some(_), Some(_)) = (
        c.u16(),
        c.u16(),
        c.u16(),
        c.u16(),
        c.u16(),
        c.u16(),
        c.u16(),
    ) else {
        let at = |i: usize, value: u8| client.get(i).is_none_or(|b| *b == value);
        // A query is short, and its flags leave few bits free.
        let may = client.first().is_none_or(|b| *b <= 4)
            && client.get(4).is_none_or(|b| b & 0xf8 == 0)
            && at(6, 0)
            && at(7, 1)
            && at(8, 0)
            && at(9, 0);
        return if may { Match::More } else { Match::No };
    };
    if !(17..=1024).contains(&len) || flags & 0xf84f != 0 || questions != 1 || answers != 0 {
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
        (Some(_), Some(class)) => verdict(matches!(class, 1 | 3 | 255), "dns"),
        _ => Match::More,
    }
}

/// Dubbo's magic number, flags and serialization.
pub(super) fn dubbo(client: &[u8], _server: &[u8]) -> Match {
    match (starts(client, &[0xda, 0xbb]), client.get(2)) {
        (Match::Yes(_), Some(flags)) => verdict(flags & 0x80 != 0, "dubbo"),
        (Match::No, _) => Match::No,
        _ => Match::More,
    }
}

/// Memcached's binary protocol: magic, opcode, lengths that add up.
pub(super) fn memcached(client: &[u8], _server: &[u8]) -> Match {
    match client.first() {
        None => return Match::More,
        Some(0x80) => {}
        Some(_) => return Match::No,
    }
    let mut c = Cursor::new(client);
    let (Some(_), Some(opcode), Some(key), Some(extras), Some(kind), Some(_), Some(body)) =
        (c.u8(), c.u8(), c.u16(), c.u8(), c.u8(), c.u16(), c.u32())
    else {
        let may = client.get(1).is_none_or(|o| *o <= 0x48) && client.get(5).is_none_or(|k| *k == 0);
        return if may { Match::More } else { Match::No };
    };
    let sane = opcode <= 0x48 && kind == 0 && key <= 250 && extras <= 32;
    verdict(
        sane && body >= u32::from(key) + u32::from(extras) && body < 1 << 21,
        "memcached",
    )
}
