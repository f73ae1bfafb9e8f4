//! Calls and media: STUN and TURN, SIP, SSDP, RTP.

use super::{Found, Nature, Talk, be16, be32};

/// STUN's magic cookie (RFC 8489 §5).
const COOKIE: u32 = 0x2112_a442;

/// STUN and TURN: a response echoes the transaction id. DTLS and media may follow (RFC 7983).
pub(super) fn stun(talk: &Talk<'_>) -> Found {
    fn message(bytes: &[u8]) -> Option<(u16, &[u8])> {
        let kind = be16(bytes, 0)?;
        let fits = kind & 0xc000 == 0
            && be32(bytes, 4)? == COOKIE
            && usize::from(be16(bytes, 2)?) + 20 == bytes.len();
        Some((kind, bytes.get(8..20)?)).filter(|_| fits)
    }
    let name = |kind: u16| match kind & 0x3eef {
        // Allocate, Refresh, Send, Data, CreatePermission, ChannelBind (RFC 8656 §17).
        3 | 4 | 6..=9 => "turn",
        _ => "stun",
    };
    for (asked, answer) in talk.pairs() {
        if let (Some((kind, id)), Some((_, same))) = (message(asked), message(answer))
            && id == same
        {
            return Found::Likely(name(kind), Nature::Plain);
        }
    }
    match talk.client.first().and_then(|k| message(&k.bytes)) {
        Some((kind, _)) if talk.server.is_empty() => Found::Likely(name(kind), Nature::Plain),
        _ => Found::No,
    }
}

/// The header lines of a text message.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|b| *b == b'\n')
        .map(<[u8]>::trim_ascii)
        .take(32)
}

/// SIP (RFC 3261 §7): a request or status line, and the header field that every message has.
pub(super) fn sip(talk: &Talk<'_>) -> Found {
    let is = |bytes: &[u8]| {
        let mut all = lines(bytes);
        let first = all.next().unwrap_or_default();
        (first.starts_with(b"SIP/2.0 ") || first.ends_with(b" SIP/2.0"))
            && all.any(|line| {
                line.get(..4)
                    .is_some_and(|w| w.eq_ignore_ascii_case(b"via:"))
                    || line.starts_with(b"v:")
            })
    };
    if talk.all().any(|k| is(&k.bytes)) {
        Found::Sure("sip", Nature::Plain)
    } else {
        Found::No
    }
}

/// SSDP: HTTP over multicast.
pub(super) fn ssdp(talk: &Talk<'_>) -> Found {
    let is = |bytes: &[u8]| {
        matches!(
            lines(bytes).next(),
            Some(b"M-SEARCH * HTTP/1.1" | b"NOTIFY * HTTP/1.1")
        )
    };
    if talk.client.iter().any(|k| is(&k.bytes)) {
        Found::Sure("ssdp", Nature::Plain)
    } else {
        Found::No
    }
}

/// RTP (RFC 3550 §5.1): three consecutively numbered packets of one source. SRTP has the same
/// header, so it cannot be determined whether the payload is encrypted.
pub(super) fn rtp(talk: &Talk<'_>) -> Found {
    for side in [talk.client, talk.server] {
        let headers: Option<Vec<_>> = side
            .iter()
            .map(|k| {
                let first = *k.bytes.first()?;
                // Ignoring padding, extension and source counts; RTCP has 64 to 95 there (RFC 5761
                // §4).
                let kind = k.bytes.get(1)? & 0x7f;
                let fits = first >> 6 == 2 && k.len >= 12 && !(64..=95).contains(&kind);
                fits.then_some((
                    kind,
                    be32(&k.bytes, 8)?,
                    be16(&k.bytes, 2)?,
                    be32(&k.bytes, 4)?,
                ))
            })
            .collect();
        let Some([a, b, c]) = headers.as_deref() else {
            continue;
        };
        let follows = |x: &(u8, u32, u16, u32), y: &(u8, u32, u16, u32)| {
            let step = y.2.wrapping_sub(x.2);
            x.1 == y.1 && x.1 != 0 && (1..=8).contains(&step) && y.3.wrapping_sub(x.3) < 1_000_000
        };
        if follows(a, b) && follows(b, c) {
            return Found::Sure("rtp", Nature::Unknown);
        }
    }
    Found::No
}
