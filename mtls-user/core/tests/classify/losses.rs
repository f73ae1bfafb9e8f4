//! Recorded handshakes that were only partly seen: any packets missing, one direction missing, late
//! starts, truncation anywhere. The rest never looks more secure than the whole, is never called
//! plaintext, and is never lost.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use proptest::prelude::*;

use super::joined::{classify, corpus, frames};
use mtls_core::record::Verdict;

/// A capture, and whether any of its connections is mutual according to the ground truth.
struct Capture {
    name: String,
    frames: Vec<Vec<u8>>,
    mutual: bool,
}

fn captures() -> &'static [Capture] {
    static CAPTURES: OnceLock<Vec<Capture>> = OnceLock::new();
    CAPTURES.get_or_init(|| {
        let table = std::fs::read_to_string(corpus().join("truth.csv")).expect("the corpus");
        let row = |row: &str| {
            let (name, truth) = (row.split(',').next()?, row.rsplit(',').next()?);
            let mutual = |kind: &str| {
                kind.contains("mutual") || ["renegotiated", "renegotiated-rsa"].contains(&kind)
            };
            Some(Capture {
                name: name.to_owned(),
                frames: frames(&corpus().join("pcap").join(name)),
                mutual: truth.split('+').any(mutual),
            })
        };
        table.lines().skip(1).filter_map(row).collect()
    })
}

/// The ports of an IPv4 frame over Ethernet without options, and the bytes of its payload.
fn ports_and_payload(frame: &[u8]) -> ([u16; 2], usize) {
    let u16_at = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let (total, header) = (usize::from(u16_at(16)), usize::from(frame[46] >> 4) * 4);
    ([u16_at(34), u16_at(36)], total - 20 - header)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_left_never_flatters(
        at in any::<prop::sample::Index>(),
        from in prop::option::of(any::<prop::sample::Index>()),
        until in prop::option::of(any::<prop::sample::Index>()),
        dropped in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        one_side in prop::option::of(any::<bool>()),
    ) {
        let capture = &captures()[at.index(captures().len())];
        let mut left: Vec<&Vec<u8>> = capture.frames.iter().collect();
        let server = ports_and_payload(left[0]).0[1];
        if let Some(until) = until {
            left.truncate(1 + until.index(left.len()));
        }
        if let Some(from) = from {
            left.drain(..from.index(left.len()));
        }
        for at in dropped {
            if left.len() > 1 {
                left.remove(at.index(left.len()));
            }
        }
        left.retain(|frame| one_side.is_none_or(|side| (ports_and_payload(frame).0[1] == server) == side));
        let mut carried: BTreeMap<u16, usize> = BTreeMap::new();
        for frame in &left {
            let (ports, payload) = ports_and_payload(frame);
            let client = if ports[1] == server { ports[0] } else { ports[1] };
            *carried.entry(client).or_default() += payload;
        }
        let records = classify(left.iter().copied());
        for record in &records {
            let found = record.verdict.known().unwrap();
            prop_assert!(
                !matches!(found, Verdict::Plaintext | Verdict::Opaque),
                "{}: {found} ({})", capture.name, record.reason
            );
            prop_assert!(
                capture.mutual || found != Verdict::Mtls,
                "{}: {found} ({})", capture.name, record.reason
            );
        }
        for (port, bytes) in carried.into_iter().filter(|(_, bytes)| *bytes > 0) {
            let told = records.iter().find(|r| [r.src.port, r.dst.port].contains(&Some(port)));
            prop_assert!(told.is_some(), "{}: {bytes} bytes at {port} are lost", capture.name);
            let found = told.unwrap().verdict.known().unwrap();
            prop_assert!(found != Verdict::NoData, "{}: {bytes} bytes are no data", capture.name);
        }
    }
}
