//! Capture files, down to the segments in them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_core::capture::pcap::Pcap;
use mtls_core::capture::pcapng::PcapNg;
use mtls_core::capture::snoop::Snoop;
use mtls_core::capture::{Decoded, Decoder, Step};

fuzz_target!(|data: &[u8]| {
    if let Ok((pcap, header)) = Pcap::parse(data) {
        walk(&data[header..], |input| pcap.step(input));
    }
    if let Ok((snoop, header)) = Snoop::parse(data) {
        walk(&data[header..], |input| snoop.step(input));
    }
    let mut pcapng = PcapNg::default();
    walk(data, |input| pcapng.step(input));
});

fn walk<'a>(mut input: &'a [u8], mut step: impl FnMut(&'a [u8]) -> Step<'a>) {
    let mut decoder = Decoder::default();
    loop {
        let consumed = match step(input) {
            Step::Packet { consumed, packet } => {
                match decoder.decode(&packet) {
                    Some(Decoded::Segment(s)) => assert!(s.payload.len() <= s.len as usize),
                    Some(Decoded::Datagram(d)) => assert!(d.payload.len() <= d.len as usize),
                    None => {}
                }
                consumed
            }
            Step::Skip { consumed } => consumed,
            Step::Need(_) | Step::Corrupt(_) => return,
        };
        assert!(
            consumed > 0 && consumed <= input.len(),
            "{consumed} of {}",
            input.len()
        );
        input = &input[consumed..];
    }
}
