//! DTLS handshakes made of arbitrary fragments: the records are valid, their contents arbitrary.
//!
//! Input: per record, one byte of flags (bit 0: from the server; bits 1 and 2: the epoch; bits 3 to
//! 5: the content type), two bytes of length (big-endian), and that many bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_core::classify::{Context, DatagramClassifier, Gram, Sessions, Side};
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
    let mut number = 0_u64;
    while let [kind, high, low, rest @ ..] = data {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (body, rest) = rest.split_at(len);
        data = rest;
        number += 1;
        let mut record = vec![
            [22, 20, 21, 23, 25, 26, 22, 22][usize::from(kind >> 3 & 7)],
            0xfe,
            0xfd,
        ];
        record.extend(u16::from(kind >> 1 & 3).to_be_bytes());
        record.extend(&number.to_be_bytes()[2..]);
        record.extend((len as u16).to_be_bytes());
        record.extend(body);
        let side = if kind & 1 == 0 {
            Side::Client
        } else {
            Side::Server
        };
        let gram = Gram {
            bytes: &record,
            len: record.len(),
            time: number,
        };
        classifier.datagram(side, gram, &mut context);
    }
    classifier.finish(false, &mut context);
    assert_eq!(classifier.finding().verdict, classifier.verdict());
});
