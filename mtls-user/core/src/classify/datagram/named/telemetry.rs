//! One-way protocols: metrics, logs, flows, spans. There are no responses, so the grammar must
//! match to the last byte.

use std::io::Read;

use super::{Found, Nature, Talk, be16, be32};
use crate::wire::text;

/// Bytes of a compressed message that are inspected.
const INFLATED: u64 = 4096;

fn every(talk: &Talk<'_>, name: &'static str, is: impl Fn(&[u8]) -> bool) -> Found {
    if talk.every(|k| k.whole().is_some_and(&is)) {
        Found::Likely(name, Nature::Plain)
    } else {
        Found::No
    }
}

/// StatsD: lines of `name:value|type`, followed by rates and tags.
pub(super) fn statsd(talk: &Talk<'_>) -> Found {
    fn line(line: &[u8]) -> bool {
        // DogStatsD's events and service checks.
        if line.starts_with(b"_e{") || line.starts_with(b"_sc|") {
            return true;
        }
        let mut parts = line.split(|b| *b == b'|');
        let metric = parts.next().unwrap_or_default();
        let kind = parts.next().unwrap_or_default();
        let Some(colon) = metric.iter().position(|b| *b == b':') else {
            return false;
        };
        let value = &metric[colon + 1..];
        colon > 0
            && !value.is_empty()
            && value
                .iter()
                .all(|b| b.is_ascii_digit() || b"+-.eE:".contains(b) || kind == b"s")
            && matches!(kind, b"c" | b"g" | b"ms" | b"h" | b"s" | b"m" | b"d")
            && parts.all(|part| matches!(part.first(), Some(b'@' | b'#' | b'c' | b'T' | b'e')))
    }
    every(talk, "statsd", |bytes| {
        let mut lines = bytes.trim_ascii().split(|b| *b == b'\n').peekable();
        text::is_text(bytes) && lines.peek().is_some() && lines.all(line)
    })
}

/// syslog (RFC 5424 §6, RFC 3164 §4): a priority, then a version or a month.
pub(super) fn syslog(talk: &Talk<'_>) -> Found {
    const MONTHS: [&[u8]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    every(talk, "syslog", |bytes| {
        let Some(end) = bytes.iter().take(5).position(|b| *b == b'>') else {
            return false;
        };
        let digits = &bytes[1.min(end)..end];
        let priority = std::str::from_utf8(digits)
            .ok()
            .and_then(|d| d.parse::<u8>().ok());
        let rest = &bytes[end + 1..];
        bytes[0] == b'<'
            && priority.is_some_and(|p| p <= 191)
            && (rest.starts_with(b"1 ") || MONTHS.iter().any(|m| rest.starts_with(m)))
    })
}

/// Graylog's GELF: JSON with its fields, possibly compressed, or chunks of it.
pub(super) fn gelf(talk: &Talk<'_>) -> Found {
    fn json(bytes: &[u8]) -> bool {
        let has = |key: &[u8]| bytes.windows(key.len()).any(|at| at == key);
        bytes.first() == Some(&b'{') && has(b"\"short_message\"") && has(b"\"host\"")
    }
    every(talk, "gelf", |bytes| match bytes {
        [b'{', ..] => json(bytes),
        // The chunk's number and the number of chunks, at most 128.
        [0x1e, 0x0f, _, _, _, _, _, _, _, _, number, count, ..] => number < count && *count <= 128,
        [0x1f, 0x8b, ..] => json(&inflated(flate2::read::GzDecoder::new(bytes))),
        [0x78, ..] => json(&inflated(flate2::read::ZlibDecoder::new(bytes))),
        _ => false,
    })
}

fn inflated(from: impl Read) -> Vec<u8> {
    let mut out = Vec::new();
    // Damaged data ends there.
    let _ = from.take(INFLATED).read_to_end(&mut out);
    out
}

/// NetFlow versions 5 and 9, and IPFIX (RFC 7011 §3.1), whose headers contain the total length.
pub(super) fn netflow(talk: &Talk<'_>) -> Found {
    let name = match talk.client.first().and_then(|k| be16(&k.bytes, 0)) {
        Some(10) => "ipfix",
        _ => "netflow",
    };
    every(talk, name, |bytes| {
        let sets = |mut rest: &[u8]| {
            while let Some(len) = be16(rest, 2) {
                match rest.get(usize::from(len)..) {
                    Some(after) if len >= 4 => rest = after,
                    _ => return false,
                }
            }
            rest.len() < 4
        };
        match (be16(bytes, 0), be16(bytes, 2)) {
            (Some(5), Some(n @ 1..=30)) => bytes.len() == 24 + 48 * usize::from(n),
            (Some(9), Some(1..)) => bytes.len() > 24 && sets(&bytes[20..]),
            (Some(10), Some(len)) => {
                usize::from(len) == bytes.len() && len > 20 && sets(&bytes[16..])
            }
            _ => false,
        }
    })
}

/// sFlow version 5: an agent's address, and samples that fill the datagram.
pub(super) fn sflow(talk: &Talk<'_>) -> Found {
    every(talk, "sflow", |bytes| {
        let address = match be32(bytes, 4) {
            Some(1) => 4,
            Some(2) => 16,
            _ => return false,
        };
        let head = 8 + address;
        let (Some(5), Some(count @ 1..=256)) = (be32(bytes, 0), be32(bytes, head + 12)) else {
            return false;
        };
        let mut at = head + 16;
        for _ in 0..count {
            let Some(len) = be32(bytes, at + 4) else {
                return false;
            };
            at += 8 + len as usize;
            if at > bytes.len() {
                return false;
            }
        }
        at == bytes.len()
    })
}

/// Jaeger agents: Thrift's `emitBatch`, compact or binary.
pub(super) fn jaeger(talk: &Talk<'_>) -> Found {
    const NAME: &[u8] = b"emitBatch";
    every(talk, "jaeger", |bytes| {
        let compact = matches!(bytes, [0x82, kind, ..] if matches!(kind >> 5, 1 | 4))
            && bytes
                .get(3..bytes.len().min(24))
                .is_some_and(|head| head.windows(NAME.len()).any(|at| at == NAME));
        let binary = bytes.starts_with(&[0x80, 1, 0]) && bytes.get(8..17) == Some(NAME);
        compact || binary
    })
}
