//! Control protocols: time, configuration, user names, cluster membership.

use super::{Found, Nature, Talk, be16, be32};
use crate::wire::cursor::Cursor;

/// NTP (RFC 5905): a response echoes when the client sent its request.
pub(super) fn ntp(talk: &Talk<'_>) -> Found {
    let mode = |b: &[u8]| (b.len() >= 48 && (1..=4).contains(&(b[0] >> 3 & 7))).then(|| b[0] & 7);
    for (asked, answer) in talk.pairs() {
        if mode(asked) == Some(3)
            && mode(answer) == Some(4)
            && answer[24..32] == asked[40..48]
            && asked[40..48] != [0; 8]
        {
            return Found::Sure("ntp", Nature::Plain);
        }
    }
    if talk.server.is_empty() && talk.every(|k| k.len == 48 && mode(&k.bytes) == Some(3)) {
        return Found::Likely("ntp", Nature::Plain);
    }
    Found::No
}

/// A CoAP message (RFC 7252 §3): type, code, message id, token, and whether OSCORE (RFC 8613)
/// protects it.
fn coap_message(bytes: &[u8]) -> Option<(u8, u8, u16, &[u8], bool)> {
    let mut c = Cursor::new(bytes);
    let (first, code, id) = (c.u8()?, c.u8()?, c.u16()?);
    if first >> 6 != 1 || first & 15 > 8 || !matches!(code >> 5, 0 | 2 | 4 | 5) {
        return None;
    }
    let token = c.take(usize::from(first & 15))?;
    let mut option = 0_u32;
    let mut oscore = false;
    while let Some(head) = c.u8() {
        if head == 0xff {
            // A payload follows the marker, or there is none.
            return (!c.is_empty()).then_some((first >> 4 & 3, code, id, token, oscore));
        }
        let mut extended = |n: u8| match n {
            13 => c.u8().map(|b| u32::from(b) + 13),
            14 => c.u16().map(|b| u32::from(b) + 269),
            15 => None,
            n => Some(n.into()),
        };
        option += extended(head >> 4)?;
        let len = extended(head & 15)?;
        oscore |= option == 9;
        c.take(len as usize)?;
    }
    Some((first >> 4 & 3, code, id, token, oscore))
}

/// CoAP: a request whose message is acknowledged, or whose token is echoed.
pub(super) fn coap(talk: &Talk<'_>) -> Found {
    for (asked, answer) in talk.pairs() {
        let (Some(a), Some(b)) = (coap_message(asked), coap_message(answer)) else {
            continue;
        };
        let request = a.1 != 0 && a.1 >> 5 == 0;
        let acknowledged = b.0 == 2 && a.2 == b.2 && a.0 == 0;
        let token = a.3.len() >= 2 && a.3 == b.3 && b.1 >> 5 >= 2;
        if request && (acknowledged || token) {
            let nature = if a.4 { Nature::Sealed } else { Nature::Plain };
            return Found::Sure("coap", nature);
        }
    }
    Found::No
}

/// The contents of a BER value with this tag, and what follows it.
fn ber(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut c = Cursor::new(bytes);
    if c.u8()? != tag {
        return None;
    }
    let len = match c.u8()? {
        n @ 0..=0x7f => usize::from(n),
        0x81 => usize::from(c.u8()?),
        0x82 => usize::from(c.u16()?),
        _ => return None,
    };
    let body = c.take(len)?;
    Some((body, c.rest()))
}

/// SNMP (RFC 3417): one value that fills the datagram, with a version and a PDU.
pub(super) fn snmp(talk: &Talk<'_>) -> Found {
    fn nature(bytes: &[u8]) -> Option<Nature> {
        let (body, rest) = ber(0x30, bytes)?;
        let (version, after) = ber(0x02, body)?;
        if !rest.is_empty() {
            return None;
        }
        match version {
            [0 | 1] => {
                let (_community, pdu) = ber(0x04, after)?;
                let tag = *pdu.first().filter(|tag| (0xa0..=0xa8).contains(*tag))?;
                let (_, rest) = ber(tag, pdu)?;
                rest.is_empty().then_some(Nature::Plain)
            }
            [3] => {
                let (header, _) = ber(0x30, after)?;
                let (_id, header) = ber(0x02, header)?;
                let (_size, header) = ber(0x02, header)?;
                let (flags, _) = ber(0x04, header)?;
                let sealed = flags.first()? & 2 != 0;
                Some(if sealed {
                    Nature::Sealed
                } else {
                    Nature::Plain
                })
            }
            _ => None,
        }
    }
    let all: Option<Vec<_>> = talk.all().map(|k| nature(k.whole()?)).collect();
    match all.as_deref() {
        None | Some([]) => Found::No,
        // The unencrypted discovery of the engine precedes encrypted messages.
        Some(all) if all.contains(&Nature::Sealed) => Found::Sure("snmp", Nature::Sealed),
        Some(_) => Found::Likely("snmp", Nature::Plain),
    }
}

/// RADIUS (RFC 2865 §3): attributes that fill the datagram, and a response with the same
/// identifier.
pub(super) fn radius(talk: &Talk<'_>) -> Found {
    fn packet(bytes: &[u8]) -> Option<(u8, u8)> {
        if usize::from(be16(bytes, 2)?) != bytes.len() {
            return None;
        }
        let mut attributes = bytes.get(20..)?;
        while let [_, len, ..] = attributes {
            attributes = attributes.get(usize::from(*len).max(2)..)?;
        }
        attributes.is_empty().then_some((bytes[0], bytes[1]))
    }
    for (asked, answer) in talk.pairs() {
        let (Some((code, id)), Some((answered, same))) = (packet(asked), packet(answer)) else {
            continue;
        };
        let fits = matches!(
            (code, answered),
            (1, 2 | 3 | 11) | (4, 5) | (12, 2) | (40, 41 | 42) | (43, 44 | 45)
        );
        if fits && id == same {
            return Found::Sure("radius", Nature::Plain);
        }
    }
    Found::No
}

/// Kerberos (RFC 4120 §5.4): a message with version 5 that fills the datagram.
pub(super) fn kerberos(talk: &Talk<'_>) -> Found {
    let is = |bytes: &[u8]| {
        let tag = bytes.first().copied().unwrap_or_default();
        let sequence = matches!(tag, 0x6a..=0x6f | 0x7e)
            .then(|| ber(tag, bytes))
            .flatten()
            .filter(|(_, rest)| rest.is_empty())
            .and_then(|(body, _)| ber(0x30, body));
        // Requests number their fields from one, answers from zero.
        sequence.is_some_and(|(body, _)| matches!(body, [0xa0 | 0xa1, 3, 2, 1, 5, ..]))
    };
    if talk.every(|k| k.whole().is_some_and(is)) {
        Found::Sure("kerberos", Nature::Plain)
    } else {
        Found::No
    }
}

/// DHCP (RFC 2131 §2): its magic cookie.
pub(super) fn dhcp(talk: &Talk<'_>) -> Found {
    let is = |b: &[u8]| matches!(b, [1 | 2, 1, 6, ..]) && be32(b, 236) == Some(0x6382_5363);
    if talk.every(|k| is(&k.bytes)) {
        Found::Sure("dhcp", Nature::Plain)
    } else {
        Found::No
    }
}

/// HashiCorp's memberlist, the gossip protocol of Serf and Consul: its checksum, or a ping in
/// MessagePack. If a key is set, everything is AES-GCM after a version byte, which cannot be
/// distinguished from other data.
pub(super) fn memberlist(talk: &Talk<'_>) -> Found {
    fn is(bytes: &[u8]) -> bool {
        match bytes {
            // A checksum over the rest.
            [12, a, b, c, d, rest @ ..] if !rest.is_empty() => {
                let mut crc = flate2::Crc::new();
                crc.update(rest);
                crc.sum() == u32::from_be_bytes([*a, *b, *c, *d])
            }
            // Ping and related messages, suspect, alive, dead: a map with these keys.
            [0..=5, map, rest @ ..] if map >> 4 == 8 => [&b"SeqNo"[..], b"Incarnation"]
                .iter()
                .any(|key| rest.windows(key.len()).any(|at| at == *key)),
            _ => false,
        }
    }
    if talk.every(|k| k.whole().is_some_and(is)) {
        Found::Sure("memberlist", Nature::Plain)
    } else {
        Found::No
    }
}

/// memcached's frames: a request id that the response echoes, followed by text of its protocol.
pub(super) fn memcached(talk: &Talk<'_>) -> Found {
    fn frame(bytes: &[u8]) -> Option<(u16, &[u8])> {
        let fits = be16(bytes, 4)? >= 1 && be16(bytes, 6)? == 0;
        Some((be16(bytes, 0)?, bytes.get(8..)?)).filter(|_| fits)
    }
    let starts = |text: &[u8], words: &[&str]| words.iter().any(|w| text.starts_with(w.as_bytes()));
    for (asked, answer) in talk.pairs() {
        let (Some((id, command)), Some((same, reply))) = (frame(asked), frame(answer)) else {
            continue;
        };
        let asked = starts(
            command,
            &[
                "get ", "gets ", "set ", "add ", "delete ", "incr ", "stats", "version", "mg ",
                "ms ",
            ],
        );
        let answered = starts(
            reply,
            &[
                "VALUE ", "END", "STORED", "STAT ", "VERSION ", "DELETED", "NOT_", "ERROR", "HD",
                "EN", "VA ",
            ],
        );
        if id == same && asked && answered {
            return Found::Sure("memcached", Nature::Plain);
        }
    }
    Found::No
}
