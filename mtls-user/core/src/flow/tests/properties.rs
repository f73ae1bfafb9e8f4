//! Whatever is dropped, reordered, truncated or forged: no flow is lost, and none looks more secure
//! than it is.

use proptest::prelude::*;

use super::*;
use crate::record::Verdict;

/// One connection: who sends what, in order.
fn connection(kind: usize) -> (Vec<(bool, Vec<u8>)>, Verdict) {
    let record = |kind: u8, len: usize| {
        let mut out = vec![kind, 3, 3, (len >> 8) as u8, len as u8];
        out.extend((0..len).map(|i| (i.wrapping_mul(40_503) >> 3) as u8 | 0x80));
        out
    };
    let get = b"GET /secret HTTP/1.1\r\nHost: db\r\nUser-Agent: curl/8.0.0\r\n\r\n".to_vec();
    let ok = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n".to_vec();
    match kind {
        0 => (vec![(true, get), (false, ok)], Verdict::Plaintext),
        // Records from the start, which do not show who was authenticated.
        1 => (
            (0..6).map(|i| (i % 2 == 0, record(23, 90 + i))).collect(),
            Verdict::TlsUnproven,
        ),
        // Ciphertext-like bytes of no protocol.
        2 => (
            vec![(true, record(0x99, 200)), (false, record(0x9a, 200))],
            Verdict::Opaque,
        ),
        _ => (vec![], Verdict::NoData),
    }
}

struct Sent {
    of_client: bool,
    seq: u32,
    ack: u32,
    flags: u8,
    bytes: Vec<u8>,
}

/// The segments of a whole connection, in pieces of `mss`.
fn segments(kind: usize, mss: usize) -> (Vec<Sent>, Verdict) {
    let (script, verdict) = connection(kind);
    let mut next = [1_000_u32, 4_294_967_000];
    let mut out = Vec::new();
    let mut send = |of_client: bool, flags: u8, bytes: &[u8]| {
        let (own, other) = if of_client { (0, 1) } else { (1, 0) };
        let ack = if flags & ACK != 0 { next[other] } else { 0 };
        out.push(Sent {
            of_client,
            seq: next[own],
            ack,
            flags,
            bytes: bytes.to_vec(),
        });
        let counts = u32::from(flags & (SYN | FIN) != 0);
        next[own] = next[own].wrapping_add(bytes.len() as u32 + counts);
    };
    send(true, SYN, &[]);
    send(false, SYN | ACK, &[]);
    send(true, ACK, &[]);
    for (of_client, bytes) in &script {
        bytes
            .chunks(mss)
            .for_each(|chunk| send(*of_client, ACK, chunk));
    }
    send(true, ACK | FIN, &[]);
    send(false, ACK | FIN, &[]);
    send(true, ACK, &[]);
    (out, verdict)
}

fn records(all: &[Sent]) -> Vec<FlowRecord> {
    let (client, server) = (end(1, 40_000), end(2, 80));
    let mut table = FlowTable::new(Limits::default());
    let mut closed = Vec::new();
    let mut sink = |event, view: View<'_>| {
        if event == Event::Closed {
            closed.push(view.record());
        }
    };
    for (at, sent) in all.iter().enumerate() {
        let (src, dst) = if sent.of_client {
            (client, server)
        } else {
            (server, client)
        };
        let s = Segment {
            time: 1_000_000_000 + at as u64 * 1_000_000,
            len: sent.bytes.len() as u32,
            payload: &sent.bytes,
            ..segment(src, dst, sent.seq, sent.ack, sent.flags)
        };
        table.observe(&s, &mut sink);
    }
    table.drain(&mut sink);
    closed
}

fn verdict(record: &FlowRecord) -> Verdict {
    record.verdict.known().unwrap()
}

/// Equally bad or worse, or explicitly unknown.
fn claims_no_more(found: Verdict, truth: Verdict) -> bool {
    match truth {
        Verdict::Plaintext | Verdict::Opaque => {
            matches!(
                found,
                Verdict::Plaintext | Verdict::Opaque | Verdict::Unobserved
            )
        }
        _ => !matches!(found, Verdict::Mtls | Verdict::Tls),
    }
}

#[test]
fn undisturbed_connections_are_what_they_are() {
    for kind in 0..4 {
        for mss in [1, 7, 40, 1_448] {
            let (all, truth) = segments(kind, mss);
            let records = records(&all);
            assert_eq!(records.len(), 1, "{kind}");
            let right = records[0].verdict == truth
                || truth == Verdict::TlsUnproven && claims_no_more(verdict(&records[0]), truth);
            assert!(
                right,
                "{kind}: {} {}",
                records[0].verdict, records[0].reason
            );
            assert!(
                records[0].closed && records[0].notes.is_empty(),
                "{:?}",
                records[0]
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Any packets missing, a late start, a truncated end, or one direction missing.
    #[test]
    fn what_is_missing_never_flatters(
        kind in 0..4_usize,
        mss in 8..1_448_usize,
        from in any::<prop::sample::Index>(),
        dropped in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        one_side in prop::option::of(any::<bool>()),
    ) {
        let (mut all, truth) = segments(kind, mss);
        all.drain(..from.index(all.len()));
        for at in dropped {
            if !all.is_empty() {
                all.remove(at.index(all.len()));
            }
        }
        all.retain(|sent| one_side.is_none_or(|side| sent.of_client == side));
        let carried = all.iter().any(|sent| !sent.bytes.is_empty());
        let records = records(&all);
        if carried {
            prop_assert!(!records.is_empty(), "a flow with payload is lost");
        }
        for record in &records {
            prop_assert!(
                claims_no_more(verdict(record), truth),
                "{} of {truth}: {}", record.verdict, record.reason
            );
            let unseen = all.len() < segments(kind, mss).0.len() && kind < 3;
            if record.verdict == Verdict::NoData && unseen {
                prop_assert!(!carried, "no-data with payload");
            }
        }
    }

    /// Segments forged for either side, with any number, at any time: RSTs, FINs, SYNs and data.
    #[test]
    fn what_is_forged_never_flatters(
        kind in 0..3_usize,
        mss in 8..1_448_usize,
        forged in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<bool>(), prop_oneof![any::<u32>(), 1_000..1_400_u32],
             0..64_u8, prop::collection::vec(any::<u8>(), 0..40)),
            0..8,
        ),
    ) {
        let (mut all, truth) = segments(kind, mss);
        for (at, of_client, seq, flags, bytes) in forged {
            let sent = Sent { of_client, seq, ack: seq.rotate_left(9), flags, bytes };
            let at = at.index(all.len());
            all.insert(at, sent);
        }
        let records = records(&all);
        prop_assert!(!records.is_empty());
        let mut found = records.iter().map(verdict);
        prop_assert!(!found.clone().any(|v| matches!(v, Verdict::Mtls | Verdict::Tls)));
        // The flow is reported with its real verdict or a worse one, or as one of which too little
        // is known.
        prop_assert!(
            found.any(|v| claims_no_more(v, truth) && v != Verdict::NoData),
            "{truth}: {records:?}"
        );
    }
}
