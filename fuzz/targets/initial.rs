//! QUIC Initial packets with valid tags: arbitrary frames of a client or a server.
//!
//! Input: per packet, one byte of flags (bit 0: from the server; bit 1: version 2), two bytes of
//! length (big-endian), and that many bytes of frames.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_core::classify::{Context, DatagramClassifier, Gram, Sessions, Side};
use mtls_core::record::Verdict;
use mtls_core::wire::Endpoint;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::quic::{DirectionalKeys, Version};

const DCID: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let mut sessions = Sessions::new(4, true);
    let mut context = Context {
        client: Endpoint::new([10, 0, 0, 1].into(), 40_000),
        server: Endpoint::new([10, 0, 0, 2].into(), 443),
        sessions: &mut sessions,
    };
    let suite = TLS13_AES_128_GCM_SHA256
        .tls13()
        .and_then(|s| s.quic_suite())
        .expect("QUIC's suite");
    let mut classifier = DatagramClassifier::new();
    let mut number = 0_u8;
    while let [kind, high, low, rest @ ..] = data {
        // The packet number is one byte here.
        if number == u8::MAX {
            break;
        }
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (frames, rest) = rest.split_at(len);
        data = rest;
        let (version, first, wire) = if kind & 2 == 0 {
            (Version::V1, 0xc0, [0, 0, 0, 1])
        } else {
            (Version::V2, 0xd0, [0x6b, 0x33, 0x43, 0xcf])
        };
        let keys = suite.keys(&DCID, rustls::Side::Client, version);
        let (side, keys, dcid, scid) = if kind & 1 == 0 {
            (Side::Client, &keys.local, &DCID[..], &b"cl"[..])
        } else {
            (Side::Server, &keys.remote, &b"cl"[..], &b"sv"[..])
        };
        let packet = sealed(keys, first, wire, [dcid, scid], number, frames);
        number += 1;
        let gram = Gram {
            bytes: &packet,
            len: packet.len(),
            time: u64::from(number),
        };
        classifier.datagram(side, gram, &mut context);
    }
    classifier.finish(false, &mut context);
    // Initial packets alone never show a certificate.
    assert_ne!(classifier.verdict(), Verdict::Mtls);
    let _ = classifier.finding();
});

fn sealed(
    keys: &DirectionalKeys,
    first: u8,
    version: [u8; 4],
    ids: [&[u8]; 2],
    number: u8,
    frames: &[u8],
) -> Vec<u8> {
    let mut packet = vec![first];
    packet.extend(version);
    for id in ids {
        packet.push(id.len() as u8);
        packet.extend(id);
    }
    packet.push(0);
    // Enough for the sample of header protection.
    let mut payload = frames.to_vec();
    payload.resize(payload.len().max(4), 0);
    let length = (1 + payload.len() + 16) as u16 & 0x3fff;
    packet.extend((0x4000 | length).to_be_bytes());
    let at = packet.len();
    packet.push(number);
    let tag = keys
        .packet
        .encrypt_in_place(number.into(), &packet, &mut payload)
        .expect("seal");
    packet.extend(&payload);
    packet.extend(tag.as_ref());
    let sample: Vec<u8> = packet[at + 4..at + 20].to_vec();
    let (header, rest) = packet.split_at_mut(at);
    keys.header
        .encrypt_in_place(&sample, &mut header[0], &mut rest[..1])
        .expect("protect");
    packet
}
