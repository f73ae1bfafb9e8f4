//! Protocols with their own encryption: WireGuard, Tailscale's discovery, IPsec, OpenVPN, and
//! pre-standard QUIC.

use super::{Found, Nature, Talk, be32};
use crate::wire::quic::{Packet, packets};

/// WireGuard: an initiation of 148 bytes, and a response of 92 that refers to it; later, data with
/// counters (<https://www.wireguard.com/protocol/>).
pub(super) fn wireguard(talk: &Talk<'_>) -> Found {
    let sure = Found::Sure("wireguard", Nature::Sealed);
    let begins = |b: &[u8], kind, len| b.len() == len && b[..4] == [kind, 0, 0, 0];
    for (asked, answer) in talk.pairs() {
        if begins(asked, 1, 148)
            && (begins(answer, 2, 92) && answer[8..12] == asked[4..8]
                || begins(answer, 3, 64) && answer[4..8] == asked[4..8])
        {
            return sure;
        }
    }
    // Data: the receiver's index is constant, and the counter increases.
    for side in [talk.client, talk.server] {
        let counters: Option<Vec<(&[u8], u64)>> = side
            .iter()
            .map(|k| {
                let data =
                    k.len >= 32 && k.len.is_multiple_of(16) && k.bytes.starts_with(&[4, 0, 0, 0]);
                let counter = k.bytes.get(8..)?.first_chunk::<8>()?;
                data.then_some((&k.bytes[4..8], u64::from_le_bytes(*counter)))
            })
            .collect();
        if let Some([(a, x), (b, y), (c, z)]) = counters.as_deref()
            && a == b
            && b == c
            && x < y
            && y < z
            && z - x < 1024
        {
            return sure;
        }
    }
    if talk.every(|k| begins(&k.bytes, 1, 148)) {
        return Found::Likely("wireguard", Nature::Sealed);
    }
    Found::No
}

/// Tailscale's DISCO: six bytes of magic, a key, a nonce and a box.
pub(super) fn disco(talk: &Talk<'_>) -> Found {
    let is = |b: &[u8]| b.len() >= 62 && b.starts_with("TS💬".as_bytes());
    if talk.all().any(|k| is(&k.bytes)) {
        Found::Sure("tailscale-disco", Nature::Sealed)
    } else {
        Found::No
    }
}

/// IKE (RFC 7296 §3.1; previously RFC 2408 §3.1), on port 4500 after four zeros (RFC 3948 §2.2).
pub(super) fn ike(talk: &Talk<'_>) -> Found {
    fn header(bytes: &[u8]) -> Option<(&[u8], u8, &[u8])> {
        let bytes = bytes.strip_prefix(&[0; 4]).unwrap_or(bytes);
        let header = bytes.get(..28)?;
        let version = header[17];
        let exchange = match version {
            0x20 => (34..=43).contains(&header[18]),
            0x10 => matches!(header[18], 1 | 2 | 4 | 5 | 6 | 32 | 33),
            _ => false,
        };
        let fits = be32(header, 24)? as usize == bytes.len();
        let asked = header[..8] != [0; 8];
        (exchange && fits && asked).then_some((&header[..8], header[18], &header[20..24]))
    }
    for (asked, answer) in talk.pairs() {
        if let (Some(a), Some(b)) = (header(asked), header(answer))
            && a == b
        {
            return Found::Sure("ike", Nature::Sealed);
        }
    }
    Found::No
}

/// OpenVPN: a hard reset that is answered with a hard reset echoing the session id.
pub(super) fn openvpn(talk: &Talk<'_>) -> Found {
    for (asked, answer) in talk.pairs() {
        let (Some(0x38 | 0x50), Some(0x40)) = (asked.first(), answer.first()) else {
            continue;
        };
        let Some(id) = asked.get(1..9).filter(|id| **id != [0; 8]) else {
            continue;
        };
        if answer.windows(8).skip(9).any(|at| at == id) {
            return Found::Sure("openvpn", Nature::Sealed);
        }
    }
    Found::No
}

/// Google QUIC and drafts of the standard: named, but not judged.
pub(super) fn old_quic(talk: &Talk<'_>) -> Found {
    for k in talk.client {
        // Public header: a connection ID and a version (Q043 and earlier).
        if let [flags, id @ ..] = &*k.bytes
            && flags & 0x09 == 0x09
            && id.get(8..11).is_some_and(|v| v.starts_with(b"Q0"))
            && k.bytes.windows(4).any(|w| w == b"CHLO")
        {
            return Found::Sure("gquic", Nature::Sealed);
        }
        let Some(Packet::Foreign { version, scid }) = packets(&k.bytes, k.len).next() else {
            continue;
        };
        let name = match version {
            0xff00_0001..=0xff00_0022 => "quic-draft",
            // "Q046", "T051" and similar.
            _ if matches!(
                version.to_be_bytes(),
                [b'Q' | b'T', b'0', b'0'..=b'9', b'0'..=b'9']
            ) =>
            {
                "gquic"
            }
            _ => continue,
        };
        let answered = talk.server.iter().any(|s| {
            matches!(packets(&s.bytes, s.len).next(), Some(Packet::Foreign { version: v, .. }) if v == version)
        });
        if answered {
            return Found::Sure(name, Nature::Sealed);
        }
        if k.len >= 1200 && !scid.is_empty() {
            return Found::Likely(name, Nature::Sealed);
        }
    }
    Found::No
}
