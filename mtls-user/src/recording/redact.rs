//! What of a connection's samples goes into a file: of TLS the handshake, and of what is in clear
//! nothing but its length, unless it was asked for.

#![expect(
    clippy::single_range_in_vec_init,
    reason = "parts of a payload are ranges, however many there are"
)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;

use mtls_core::record::{FlowRecord, Sample, Verdict};

/// Bytes of an encrypted record's body, or of a sealed datagram, that are kept: as many as show that
/// they are sealed.
const BEGIN: usize = 16;
const SEALED: usize = 64;
/// A record's header, and the longest record there may be (RFC 8446 §5.2).
const HEADER: usize = 5;
const LONGEST: usize = (1 << 14) + 2_048;
/// Most bytes of one side's handshake: long chains of certificates fit, and no file that is called one.
const MOST: usize = 64 << 10;
/// Content types of records (RFC 8446 §5.1): these, and all.
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const TYPES: std::ops::RangeInclusive<u8> = 20..=24;

/// For each sample, the parts of its payload that are kept, in order.
pub(super) fn kept(flow: &FlowRecord, samples: &[Sample], payload: bool) -> Vec<Vec<Range<usize>>> {
    let first = |bytes| vec![0..bytes];
    if is_tls(flow) {
        let udp = samples.first().is_some_and(|sample| sample.udp);
        if udp {
            return samples
                .iter()
                .map(|sample| first(sealed(&sample.payload)))
                .collect();
        }
        return handshakes(samples, payload);
    }
    let each = samples.iter();
    each.map(|sample| {
        if payload {
            first(sample.payload.len())
        } else {
            Vec::new()
        }
    })
    .collect()
}

/// Whether what was sent is encrypted by TLS, QUIC or DTLS, but for what came before it.
fn is_tls(flow: &FlowRecord) -> bool {
    match flow.verdict.known() {
        Some(Verdict::Mtls | Verdict::Tls | Verdict::TlsUnproven) => true,
        Some(Verdict::Failed) => flow.tls.is_some(),
        _ => false,
    }
}

/// How much of a datagram is kept: handshakes have long headers in QUIC (RFC 9000 §17.2), and a type of
/// their own in DTLS, in whose first epoch they are in clear (RFC 9147 §4).
fn sealed(payload: &[u8]) -> usize {
    let is_handshake = match payload {
        [HANDSHAKE | CHANGE_CIPHER_SPEC, _, _, epoch @ ..] => epoch.starts_with(&[0, 0]),
        [first, ..] => first & 0x80 != 0,
        [] => false,
    };
    if is_handshake {
        payload.len()
    } else {
        payload.len().min(SEALED)
    }
}

/// The handshakes of both sides; what comes before the first record is in clear.
fn handshakes(samples: &[Sample], dialogue: bool) -> Vec<Vec<Range<usize>>> {
    let mut kept = vec![Vec::new(); samples.len()];
    let mut sides = HashMap::<SocketAddr, Vec<(i64, usize)>>::new();
    for (at, sample) in samples.iter().enumerate() {
        if sample.payload.is_empty() {
            continue;
        }
        let side = sides.entry(sample.src).or_default();
        // Positions in the stream count from the first sample that has bytes.
        let first = side.first().map_or(at, |(_, first)| *first);
        let position = i64::from(sample.seq.wrapping_sub(samples[first].seq).cast_signed());
        side.push((position, at));
    }
    for (_, mut side) in sides {
        side.sort_by_key(|(position, at)| (*position, *at));
        let mut walk = Walk::default();
        for (position, at) in side {
            kept[at] = walk.step(position, &samples[at].payload, dialogue);
        }
    }
    kept
}

/// Follows the records of one side.
#[derive(Default)]
struct Walk {
    /// Something other than the handshake came: records of it that follow are not what they say, but for
    /// one hello, which answers a HelloRetryRequest behind early data (RFC 8446 §4.2.10).
    is_over: bool,
    has_again: bool,
    /// Bytes of handshakes that were kept.
    handshake: usize,
    /// Where the next record begins; `None` before the first.
    next: Option<i64>,
    /// Up to where the body of the last one is kept.
    until: Option<i64>,
    /// The beginning of a header that is not there in full.
    head: Vec<u8>,
}

impl Walk {
    /// Whether a record of the handshake's type, whose body is so long and begins so, is of it.
    fn is_handshake(&mut self, body: usize, begun: &[u8]) -> bool {
        if self.handshake + body > MOST {
            return false;
        }
        if self.is_over {
            // Type and length of its one message (RFC 8446 §4).
            let is_hello = matches!(begun, [1 | 2, 0, high, low, ..]
                if usize::from(u16::from_be_bytes([*high, *low])) + 4 == body);
            if !is_hello || self.has_again {
                return false;
            }
            self.has_again = true;
        }
        self.handshake += body;
        true
    }

    /// What is kept of the bytes at `at`.
    fn step(&mut self, at: i64, bytes: &[u8], dialogue: bool) -> Vec<Range<usize>> {
        let end = at + bytes.len() as i64;
        let index = |position: i64| (position.clamp(at, end) - at) as usize;
        let mut kept = Vec::<Range<usize>>::new();
        let mut keep = |from: i64, to: i64| {
            let range = index(from)..index(to);
            match kept.last_mut() {
                _ if range.is_empty() => {}
                Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
                _ => kept.push(range),
            }
        };
        if self.next.is_none_or(|next| next < at) && self.head.is_empty() {
            // The first record, or the first behind a hole.
            if !is_record(bytes) {
                if self.next.is_none() && dialogue {
                    keep(at, end);
                }
                return kept;
            }
            self.next = Some(at);
        }
        if let Some(until) = self.until {
            keep(at, until);
            // One byte shows that the next record does not begin these bytes.
            if self.next.is_some_and(|next| at < next && next < end) {
                keep(at, at + 1);
            }
        }
        while let Some(next) = self.next
            && next < end
        {
            let from = next + self.head.len() as i64;
            if from < at {
                // The rest of the header is in a hole.
                self.head.clear();
                self.next = is_record(bytes).then_some(at);
                if self.next.is_none() {
                    self.next = Some(at - 1);
                    return kept;
                }
                continue;
            }
            let there = &bytes[index(from)..];
            let missing = HEADER - self.head.len();
            self.head.extend(&there[..there.len().min(missing)]);
            keep(from, next + self.head.len() as i64);
            if self.head.len() < HEADER {
                return kept;
            }
            let Some((header, body, kind)) = record(&self.head) else {
                // No record: nobody knows where the next one begins.
                self.head.clear();
                self.next = Some(end - 1);
                return kept;
            };
            self.head.clear();
            let begins = next + header as i64;
            let begun = bytes.get(index(begins)..).unwrap_or_default();
            let shown = if kind == HANDSHAKE && self.is_handshake(body, begun) {
                body
            } else {
                body.min(BEGIN)
            };
            self.is_over |= matches!(kind, CHANGE_CIPHER_SPEC | APPLICATION_DATA);
            let until = begins + shown as i64;
            self.until = Some(until);
            self.next = Some(begins + body as i64);
            keep(begins, until);
        }
        kept
    }
}

/// Length of a record's header and of its body, and its type. A hello of SSL 2.0 has a header of two
/// bytes (RFC 5246 appendix E.2).
fn record(head: &[u8]) -> Option<(usize, usize, u8)> {
    let head: [u8; HEADER] = head.get(..HEADER)?.try_into().ok()?;
    if head[0] & 0x80 != 0 && head[2] == 1 {
        let length = usize::from(u16::from_be_bytes([head[0] & 0x7f, head[1]]));
        return Some((2, length, HANDSHAKE));
    }
    let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
    (TYPES.contains(&head[0]) && head[1] == 3 && head[2] <= 4 && length <= LONGEST)
        .then_some((HEADER, length, head[0]))
}

fn is_record(bytes: &[u8]) -> bool {
    if bytes.len() >= HEADER {
        return record(bytes).is_some();
    }
    bytes.first().is_some_and(|first| TYPES.contains(first))
        && bytes.get(1).is_none_or(|major| *major == 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: u8, body: usize) -> Vec<u8> {
        let mut bytes = vec![kind, 3, 3];
        bytes.extend((body as u16).to_be_bytes());
        bytes.extend(std::iter::repeat_n(0xaa, body));
        bytes
    }

    /// How much is kept of a stream that comes in pieces of this size.
    fn walked(stream: &[u8], size: usize) -> usize {
        let mut walk = Walk::default();
        let pieces = stream.chunks(size).enumerate();
        let kept = pieces.flat_map(|(n, piece)| walk.step((n * size) as i64, piece, false));
        kept.map(|range| range.len()).sum()
    }

    #[test]
    fn of_application_data_the_length_is_kept_however_it_was_cut() {
        let (mut stream, mut starts, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for (kind, body) in [(22, 300), (23, 1_000), (21, 2), (23, 4)] {
            starts.push(stream.len());
            stream.extend(of(kind, body));
            let shown = if kind == 22 { body } else { body.min(BEGIN) };
            kept.resize(kept.len() + HEADER + shown, true);
            kept.resize(stream.len(), false);
        }
        for size in 1..=stream.len() {
            let mut expected = kept.clone();
            for at in (0..stream.len()).step_by(size) {
                // Within a record, if another one begins in the same piece.
                expected[at] |= starts.iter().any(|start| at < *start && *start < at + size);
            }
            let expected = expected.into_iter().filter(|kept| *kept).count();
            assert_eq!(walked(&stream, size), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_in_clear_is_kept_only_where_it_is_asked_for() {
        let clear = b"EHLO secret\r\n";
        let mut walk = Walk::default();
        assert!(walk.step(0, clear, false).is_empty());
        assert_eq!(walk.step(13, &of(22, 8), false), [0..13]);
        let mut walk = Walk::default();
        assert_eq!(walk.step(0, clear, true), [0..13]);
        // Behind a hole, what is no record is not kept either.
        let mut walk = Walk::default();
        walk.step(0, &of(22, 8), false);
        assert!(walk.step(100, b"password", false).is_empty());
        assert_eq!(walk.step(200, &of(23, 8), false), [0..13]);
    }

    #[test]
    fn pieces_with_holes_between_them_are_followed() {
        // As the kernel program takes them: of a body, how it begins.
        let mut walk = Walk::default();
        assert_eq!(walk.step(0, &of(23, 1_000)[..HEADER + 4], false), [0..9]);
        assert_eq!(walk.step(1_005, &of(23, 50), false), [0..HEADER + BEGIN]);
        assert_eq!(walk.step(1_060, &of(22, 50), false), [0..HEADER + BEGIN]);
    }

    /// Records that say that they are of the handshake, and are not.
    #[test]
    fn of_what_follows_the_handshake_nothing_is_kept_whatever_type_it_has() {
        let hello = |body: usize| {
            let mut record = of(22, body);
            let [high, low] = ((body - 4) as u16).to_be_bytes();
            record[5..9].copy_from_slice(&[1, 0, high, low]);
            record
        };
        let begin = HEADER + BEGIN;
        let kept = |stream: &[Vec<u8>]| {
            let stream = stream.concat();
            walked(&stream, stream.len())
        };
        // TLS 1.2 and 1.3: alerts, heartbeats and handshakes behind data, or behind the change of ciphers.
        for over in [of(23, 400), of(20, 1)] {
            let first = 305 + over.len().min(begin);
            for kind in [21, 22, 23, 24] {
                let stream = [of(22, 300), over.clone(), of(kind, 900), of(kind, 900)];
                assert_eq!(kept(&stream), first + 2 * begin, "type {kind}");
            }
            // The second hello of TLS 1.3 is one, and there is no third.
            let stream = [of(22, 300), over.clone(), hello(500), hello(500)];
            assert_eq!(kept(&stream), first + 505 + begin);
        }
        // An alert or a heartbeat is no handshake before it either.
        assert_eq!(kept(&[of(24, 900), of(21, 900)]), 2 * begin);
        // Nor is a file.
        let endless = vec![of(22, 16_000); 10];
        assert_eq!(kept(&endless), 4 * 16_005 + 6 * begin);
        assert_eq!(sealed(&[22, 254, 253, 0, 0, 1, 1]), 7);
        let long = |head: &[u8]| [head, &[0xaa; 200]].concat();
        for head in [
            &[22, 254, 253, 0, 1][..],
            &[21, 254, 253, 0, 0],
            &[23, 254, 253, 0, 0],
        ] {
            assert_eq!(sealed(&long(head)), SEALED, "{head:?}");
        }
    }
}
