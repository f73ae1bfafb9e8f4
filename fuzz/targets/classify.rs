//! One flow made of arbitrary bytes: pieces of both sides, in order or not, with gaps and
//! repetitions.
//!
//! Input: per piece, one byte of flags (bit 0: from the server; bit 1: the stream continues after a
//! gap; bit 2: from the start again; bit 3: no acknowledgement; bit 4: the side closes after it;
//! bit 5: it was longer on the wire than what was captured), two bytes of length (big-endian), and
//! that many bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_core::classify::{Classifier, Context, Piece, Sessions, Side};
use mtls_core::record::{Origin, Verdict};
use mtls_core::wire::Endpoint;

fuzz_target!(|data: &[u8]| {
    for origin in [Origin::Syn, Origin::Midstream] {
        flow(data, origin);
    }
});

fn flow(mut data: &[u8], origin: Origin) {
    let mut sessions = Sessions::new(4, true);
    let client = Endpoint::new([10, 0, 0, 1].into(), 40_000);
    let server = Endpoint::new([10, 0, 0, 2].into(), 443);
    let mut context = Context {
        client,
        server,
        sessions: &mut sessions,
    };
    let mut classifier = Classifier::new(origin);
    let mut next = [0u64; 2];
    let mut time = 0;
    while let [kind, high, low, rest @ ..] = data {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (bytes, rest) = rest.split_at(len);
        data = rest;
        time += 1000;
        let side = if kind & 1 == 0 {
            Side::Client
        } else {
            Side::Server
        };
        let at = &mut next[side as usize];
        if kind & 2 != 0 {
            *at += 3;
        }
        let offset = if kind & 4 != 0 { 0 } else { *at };
        let cut = if kind & 32 != 0 { 100 } else { 0 };
        *at = (*at).max(offset + len as u64 + cut);
        let end = *at;
        let ack = (kind & 8 == 0).then_some(next[side.other() as usize]);
        let len = len as u32 + cut as u32;
        let before = classifier.verdict();
        classifier.segment(
            side,
            Piece {
                offset,
                len,
                bytes,
                ack,
                time,
                inside: false,
            },
            &mut context,
        );
        if kind & 16 != 0 {
            classifier.fin(side, end, ack, &mut context);
        }
        let after = classifier.verdict();
        assert!(may_follow(before, after), "{before} then {after}");
    }
    classifier.finish(false, &mut context);
    let finding = classifier.finding();
    assert!(finding.reason.len() < 1000);
}

/// Decisions are only revised downwards; the one exception is a renegotiation.
fn may_follow(before: Verdict, after: Verdict) -> bool {
    use Verdict::{Failed, Mtls, NoData, Opaque, Plaintext, Tls, TlsUnproven, Unobserved};
    before == after
        || match before {
            NoData | Unobserved => after != NoData,
            Tls => matches!(after, Mtls | TlsUnproven | Failed | Plaintext | Opaque),
            Mtls => matches!(after, TlsUnproven | Failed | Plaintext | Opaque),
            TlsUnproven => matches!(after, Failed | Plaintext | Opaque),
            Failed => matches!(after, Plaintext | Opaque),
            Plaintext | Opaque => false,
        }
}
