//! One UDP flow made of arbitrary datagrams.
//!
//! Input: per datagram, one byte of flags (bit 0: from the server; bit 5: it was longer on the wire
//! than what was captured), two bytes of length (big-endian), and that many bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_core::classify::{Context, DatagramClassifier, Gram, Sessions, Side};
use mtls_core::record::Verdict;
use mtls_core::wire::Endpoint;

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let mut sessions = Sessions::new(4, true);
    let mut context = Context {
        client: Endpoint::new([10, 0, 0, 1].into(), 40_000),
        server: Endpoint::new([10, 0, 0, 2].into(), 443),
        sessions: &mut sessions,
    };
    let mut classifier = DatagramClassifier::new();
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
        let cut = if kind & 32 != 0 { 100 } else { 0 };
        classifier.datagram(
            side,
            Gram {
                bytes,
                len: bytes.len() + cut,
                time,
            },
            &mut context,
        );
    }
    classifier.finish(false, &mut context);
    let finding = classifier.finding();
    assert_eq!(finding.verdict, classifier.verdict());
    if finding.verdict == Verdict::Mtls {
        assert!(finding.evidence.is_some());
    }
});
