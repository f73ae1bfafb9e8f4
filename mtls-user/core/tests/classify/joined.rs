//! Recorded connections that were only partly seen: starting at every packet, truncated after every
//! packet, and without each one of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mtls_core::capture::Decoded;
use mtls_core::capture::{Decoder, LinkType, Packet};
use mtls_core::flow::{Event, FlowTable, Limits, View};
use mtls_core::record::{FlowRecord, Verdict};

pub(crate) fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus")
}

/// The frames of a capture in the classic format, written on a little-endian machine.
pub(crate) fn frames(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).expect("read a recording");
    let mut frames = Vec::new();
    let mut rest = &bytes[24..];
    while let Some((head, behind)) = rest.split_first_chunk::<16>() {
        let len = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        frames.push(behind[..len].to_vec());
        rest = &behind[len..];
    }
    frames
}

/// The report on the connection, given these frames.
pub(crate) fn classify<'a>(frames: impl Iterator<Item = &'a Vec<u8>>) -> Vec<FlowRecord> {
    let mut decoder = Decoder::default();
    let mut table = FlowTable::new(Limits::default());
    let mut found = Vec::new();
    let mut sink = |event: Event, view: View<'_>| {
        if event == Event::Closed {
            found.push(view.record());
        }
    };
    for (i, data) in frames.enumerate() {
        let packet = Packet {
            time: 1_700_000_000_000_000_000 + i as u64 * 1_000_000,
            link_type: LinkType::ETHERNET,
            data,
            original: data.len(),
        };
        if let Some(Decoded::Segment(segment)) = decoder.decode(&packet) {
            table.observe(&segment, &mut sink);
        }
    }
    table.drain(&mut sink);
    found
}

/// Whether a part of a connection may have this verdict if the whole has the verdict `whole`.
fn may_be(whole: &str, part: Verdict) -> bool {
    match whole {
        "mtls" => !matches!(part, Verdict::Plaintext | Verdict::Opaque | Verdict::Tls),
        "tls" => !matches!(part, Verdict::Plaintext | Verdict::Opaque | Verdict::Mtls),
        "plaintext" => !matches!(part, Verdict::Mtls | Verdict::Tls),
        "opaque" => !matches!(part, Verdict::Mtls | Verdict::Tls | Verdict::Plaintext),
        _ => part != Verdict::Mtls,
    }
}

#[test]
fn a_part_of_a_connection_never_misleads() {
    let table = std::fs::read_to_string(corpus().join("protocols.csv")).unwrap();
    let mut wrong = Vec::new();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for row in table.lines().skip(1) {
        let row: Vec<&str> = row.split(',').collect();
        let (file, verdict, protocol) = (row[0], row[1], row[3]);
        let frames = frames(&corpus().join("protocols").join(file));
        // Plaintext before TLS may be everything that was missed.
        let [whole] = &classify(frames.iter())[..] else {
            panic!("{file} is not one connection");
        };
        let tls_follows = whole
            .notes
            .iter()
            .any(|note| note.starts_with("tls-too-late"));
        let mut check = |what: &str, k: usize, found: Vec<FlowRecord>| {
            for part in found {
                let name = part.protocol.to_string();
                let is_plain = part.verdict == Verdict::Plaintext;
                let fits = part
                    .verdict
                    .known()
                    .is_some_and(|found| may_be(verdict, found))
                    || tls_follows && !is_plain;
                let named =
                    [protocol, "unknown"].contains(&&*name) || is_carrier(file, protocol, &name);
                // A script that continues in plaintext after the server agreed to encrypt.
                let is_scripted = file.starts_with("postgres-gssenc-accepted-G");
                if !fits && !is_scripted || is_plain && !named {
                    let reason = &part.reason;
                    wrong.push(format!(
                        "{file} ({verdict} {protocol}) {what} {k}: {} {name}: {reason}",
                        part.verdict
                    ));
                }
                if what == "joined at" && is_plain {
                    *names.entry(name).or_default() += 1;
                }
            }
        };
        for k in 1..frames.len() {
            check("joined at", k, classify(frames[k..].iter()));
            check("cut off behind", k, classify(frames[..k].iter()));
            let others = frames.iter().enumerate().filter(|(i, _)| *i != k);
            check("without", k, classify(others.map(|(_, frame)| frame)));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    // Most midstream connections are still recognised.
    let unknown = names.remove("unknown").unwrap_or_default();
    let named: usize = names.values().sum();
    assert!(
        named > 3 * unknown,
        "{named} named, {unknown} not: {names:?}"
    );
}

/// A ServerHello shows its choices, and TLS 1.2's certificates are unencrypted, whether or not the
/// ClientHello was seen; they do not show what the client offered.
#[test]
fn a_server_hello_without_its_client_hello() {
    for version in ["1.2", "1.3"] {
        let file = format!("pcap/{version}-mutual-openssl-openssl.pcap");
        let all = frames(&corpus().join(file));
        let payload = |frame: &Vec<u8>| frame[14 + 20 + usize::from(frame[46] >> 4) * 4..].to_vec();
        let hello = |frame: &Vec<u8>| matches!(payload(frame)[..], [22, 3, _, _, _, 1, ..]);
        let at = all.iter().position(hello).expect("a ClientHello");
        let without = all.iter().enumerate().filter(|(i, _)| *i != at);
        let without: Vec<_> = without.map(|(_, frame)| frame).collect();
        for (what, seen) in [("without", &without[..]), ("behind", &without[at..])] {
            let found = classify(seen.iter().copied());
            let [flow] = &found[..] else {
                panic!("{} flows", found.len());
            };
            let name = format!("{version} {what}: {}", flow.reason);
            assert_eq!(flow.verdict, Verdict::TlsUnproven, "{name}");
            let tls = flow.tls.as_ref().expect(&name);
            assert_eq!(tls.version.as_deref(), Some(version), "{name}");
            assert!(tls.cipher.is_some(), "{name}");
            assert_eq!(tls.server_cert.is_some(), version == "1.2", "{name}");
        }
    }
}

/// Whether a name is that of a carrier protocol, or of a protocol before an upgrade.
fn is_carrier(file: &str, protocol: &str, name: &str) -> bool {
    match name {
        "http/2" => protocol == "grpc",
        "postgresql" => protocol == "postgresql-gssapi",
        "http/1.1" | "http/1.0" => {
            ["websocket", "h2c", "grpc"].contains(&protocol) || file.starts_with("http-connect")
        }
        _ => false,
    }
}
