//! Captured QUIC and DTLS compared with the ground truth, in every kind of delivery: no loss,
//! reordering, duplication or late start may turn a connection into `mtls` or plaintext that was
//! not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use mtls_core::capture::{Capture, Decoded, Decoder};
use mtls_core::flow::{DatagramTable, Event, Limits};
use mtls_core::record::{Evidence, FlowRecord, Transport, Verdict};
use mtls_core::wire::tls::names;
use mtls_core::wire::{Datagram, Endpoint};
use proptest::prelude::*;

/// One datagram that was captured.
#[derive(Clone, Debug)]
struct Gram {
    time: u64,
    src: Endpoint,
    dst: Endpoint,
    bytes: Vec<u8>,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/datagrams/corpus")
}

/// Every capture with its ground truth.
fn captures() -> BTreeMap<String, (String, Vec<Gram>)> {
    let text = std::fs::read_to_string(corpus().join("truth.csv")).expect("read truth.csv");
    text.lines()
        .skip(1)
        .map(|line| {
            let row: Vec<&str> = line.split(',').collect();
            let path = corpus().join("pcap").join(row[0]);
            (row[0].to_owned(), (row[4].to_owned(), read(&path)))
        })
        .collect()
}

fn read(path: &Path) -> Vec<Gram> {
    let mut grams = Vec::new();
    let mut decoder = Decoder::default();
    let capture = Capture::open(path).expect("open a capture");
    let summary = capture.read(
        |_| (),
        |packet| {
            if let Some(Decoded::Datagram(d)) = decoder.decode(packet) {
                grams.push(Gram {
                    time: d.time,
                    src: d.src,
                    dst: d.dst,
                    bytes: d.payload.to_vec(),
                });
            }
        },
    );
    summary.expect("read a capture");
    assert!(!grams.is_empty(), "{}", path.display());
    grams
}

/// The final reports on the flows, and every intermediate verdict.
fn classify<'a>(
    grams: impl Iterator<Item = &'a Gram>,
    cut: usize,
) -> (Vec<FlowRecord>, Vec<Verdict>) {
    let mut table = DatagramTable::new(Limits::default());
    let (mut records, mut way) = (Vec::new(), Vec::new());
    for gram in grams {
        let datagram = Datagram {
            time: gram.time,
            link: 0,
            direction: mtls_core::wire::Direction::Unknown,
            src: gram.src,
            dst: gram.dst,
            len: gram.bytes.len() as u32,
            payload: &gram.bytes[..gram.bytes.len().min(cut)],
            midstream: false,
            lost: false,
            foreign: false,
            paused: false,
        };
        table.observe(&datagram, &mut |event, view| {
            if event != Event::Closed {
                way.push(view.verdict());
            }
        });
    }
    table.drain(&mut |event, view| {
        if event == Event::Closed {
            way.push(view.verdict());
            records.push(view.record());
        }
    });
    records.sort_by_key(|record| record.first_seen);
    (records, way)
}

/// The captures whose client hides the contents of its Handshake packets by padding.
fn hidden() -> BTreeSet<String> {
    let text = std::fs::read_to_string(corpus().join("truth.csv")).expect("read truth.csv");
    let pads = |row: &Vec<&str>| ["quinn", "s2n-quic"].contains(&row[2]);
    let rows = text.lines().map(|line| line.split(',').collect());
    rows.filter(pads).map(|row| row[0].to_owned()).collect()
}

/// A case whose relay dropped or reordered packets.
fn is_troubled(name: &str) -> bool {
    name.contains("loss") || name.contains("reorder")
}

#[test]
fn every_connection_is_what_its_peers_know_it_to_be() {
    let captures = captures();
    assert!(captures.len() >= 80, "{} captures", captures.len());
    let (hidden, mut undecided) = (hidden(), Vec::new());
    for (name, (truth, grams)) in &captures {
        let (records, _) = classify(grams.iter(), usize::MAX);
        assert!(records.iter().all(|r| r.transport == Transport::Udp));
        let found: Vec<_> = records.iter().filter_map(|r| r.verdict.known()).collect();
        let expected: &[Verdict] = match truth.as_str() {
            "mtls" => &[Verdict::Mtls],
            "tls" | "tls-requested" => &[Verdict::Tls],
            "failed" => &[Verdict::Failed],
            "resumed-mtls" => &[Verdict::Mtls, Verdict::Mtls],
            "resumed-tls" => &[Verdict::Tls, Verdict::Tls],
            other => panic!("unknown truth {other}"),
        };
        if truth.starts_with("resumed") && found == expected {
            // A ticket or session ID is in clear before TLS 1.3.
            let proof = if name.starts_with("dtls") {
                Evidence::Resumption
            } else {
                Evidence::Inherited
            };
            assert_eq!(records[1].evidence, Some(proof.into()), "{name}");
            assert_eq!(
                records[1].tls.as_ref().unwrap().resumed,
                Some(true),
                "{name}"
            );
        }
        if found != expected {
            let reasons: Vec<_> = records.iter().map(|r| r.reason.as_str()).collect();
            // After a client has moved, its packets have a connection ID that was never seen.
            let honest = |v: &Verdict| matches!(v, Verdict::TlsUnproven | Verdict::Unobserved);
            let honest = found.iter().all(honest) && found.contains(&Verdict::TlsUnproven);
            assert!(honest, "{name}: {found:?}, not {expected:?}: {reasons:?}");
            if !hidden.contains(name) {
                undecided.push(format!("{name}: {reasons:?}"));
            }
        }
    }
    // It cannot be determined if a certificate overflows one packet by a few bytes, if a server
    // does not report a rejection, or what was lost.
    let plain: Vec<_> = undecided.iter().filter(|u| !is_troubled(u)).collect();
    assert!(plain.len() * 20 <= captures.len(), "{plain:#?}");
}

/// The ticket of a DTLS 1.2 session is in clear, so anybody may send it: without an answer of the server to
/// the Finished, which only the ticket's owner can make, a resumption proves nothing.
#[test]
fn a_stolen_ticket_is_no_proof() {
    let mut seen = 0;
    for (name, (truth, grams)) in captures() {
        if !name.starts_with("dtls") || truth != "resumed-mtls" {
            continue;
        }
        let second = grams.last().map(|gram| gram.src.port.max(gram.dst.port));
        let is_answer =
            |gram: &&Gram| Some(gram.dst.port) == second && matches!(gram.bytes[..], [21 | 23, ..]);
        let stolen = grams.iter().filter(|gram| !is_answer(gram));
        let (records, _) = classify(stolen, usize::MAX);
        let found: Vec<_> = records.iter().map(|r| r.verdict.known()).collect();
        assert_eq!(found[0], Some(Verdict::Mtls), "{name}");
        assert_eq!(
            found[1],
            Some(Verdict::TlsUnproven),
            "{name}: {}",
            records[1].reason
        );
        seen += 1;
    }
    assert!(seen > 1, "{seen} resumptions");
}

/// The permitted verdicts on a capture's connections, whatever is seen of it in whatever order.
fn may_be(truth: &str, verdict: Verdict) -> bool {
    use Verdict::{Failed, Mtls, NoData, Opaque, Plaintext, Tls, TlsUnproven, Unobserved};
    match verdict {
        // Never plaintext, and mutual only if it was.
        Plaintext => false,
        Mtls => matches!(truth, "mtls" | "resumed-mtls"),
        Tls | TlsUnproven | Unobserved | Opaque | Failed | NoData => true,
    }
}

/// What happens to a datagram on its way to the observer.
#[derive(Clone, Debug)]
enum Fate {
    Arrives,
    Lost,
    Twice,
    Late(usize),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Arrives),
        2 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        2 => (1_usize..8).prop_map(Fate::Late),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    #[test]
    fn no_delivery_makes_secure_or_readable(
        fates in proptest::collection::vec(fate(), 64),
        start in 0_usize..12,
        cut in prop_oneof![Just(usize::MAX), 1_usize..1300],
    ) {
        for (name, (truth, grams)) in captures() {
            let mut order: Vec<(usize, &Gram)> = Vec::new();
            for (at, gram) in grams.iter().enumerate().skip(start.min(grams.len())) {
                let at = at * 2;
                match fates[at / 2 % fates.len()] {
                    Fate::Lost => {}
                    Fate::Arrives => order.push((at, gram)),
                    Fate::Twice => order.extend([(at, gram), (at + 5, gram)]),
                    Fate::Late(by) => order.push((at + 2 * by + 1, gram)),
                }
            }
            order.sort_by_key(|(at, _)| *at);
            let (_, way) = classify(order.into_iter().map(|(_, gram)| gram), cut);
            for verdict in way {
                prop_assert!(may_be(&truth, verdict), "{name}: {verdict}");
            }
        }
    }
}

/// Bits that are flipped on the way prove nothing.
#[test]
fn damage_proves_nothing() {
    for (name, (truth, grams)) in captures() {
        for turned in 0..8_usize {
            let damaged: Vec<Gram> = grams
                .iter()
                .map(|gram| {
                    let mut gram = gram.clone();
                    let at = (turned * 7919) % gram.bytes.len();
                    gram.bytes[at] ^= 1 << turned;
                    gram
                })
                .collect();
            let (_, way) = classify(damaged.iter(), usize::MAX);
            for verdict in way {
                assert!(may_be(&truth, verdict), "{name}: {verdict}");
            }
        }
    }
}

/// A pod may send Initial packets with any connection ID: memory remains bounded.
#[test]
fn many_connections_between_two_addresses_are_bounded() {
    let captures = captures();
    let (_, (_, grams)) = captures
        .iter()
        .find(|(name, _)| name.starts_with("quic-server-only"))
        .expect("a capture");
    let first = &grams[0];
    let mut table = DatagramTable::new(Limits {
        flows: 1000,
        ..Limits::default()
    });
    // A hundred thousand connection IDs, from half as many addresses and from one.
    for n in 0..100_000_u32 {
        let mut bytes = first.bytes.clone();
        bytes[6..10].copy_from_slice(&n.to_be_bytes());
        let port = if n % 2 == 0 { 7 } else { (n % 60_000) as u16 };
        let datagram = Datagram {
            time: first.time,
            link: 0,
            direction: mtls_core::wire::Direction::Unknown,
            src: Endpoint::new([10, 0, (n >> 16) as u8, 1].into(), port),
            dst: first.dst,
            len: bytes.len() as u32,
            payload: &bytes,
            midstream: false,
            lost: false,
            foreign: false,
            paused: false,
        };
        table.observe(&datagram, &mut |_, view| {
            assert_ne!(view.verdict(), Verdict::Mtls);
        });
    }
    assert!(table.stats().tracked <= 1000);
}

/// tshark's fields of the hellos in a capture, in the order of the datagrams.
#[derive(Default)]
struct Theirs {
    names: Vec<String>,
    protocols: Vec<String>,
    /// Of the ServerHellos.
    suites: Vec<String>,
    versions: Vec<String>,
}

fn tshark(name: &str) -> Theirs {
    let layer = if name.starts_with("dtls") {
        "dtls"
    } else {
        "tls"
    };
    let fields = [
        "handshake.type",
        "handshake.extensions_server_name",
        "handshake.extensions_alpn_str",
        "handshake.ciphersuite",
        "handshake.extensions.supported_version",
        "handshake.version",
    ];
    let mut command = std::process::Command::new("tshark");
    command.arg("-r").arg(corpus().join("pcap").join(name));
    command.args(["-T", "fields", "-E", "separator=|"]);
    if layer == "dtls" {
        command.args(["-d", "udp.port==4433,dtls"]);
    }
    for field in fields {
        command.args(["-e", &format!("{layer}.{field}")]);
    }
    let output = command
        .output()
        .expect("run tshark: `cargo xtask setup` installs it");
    assert!(output.status.success(), "tshark on {name}");
    let mut theirs = Theirs::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let columns: Vec<&str> = line.split('|').collect();
        let [kinds, server_name, alpn, suite, supported, version] = columns[..] else {
            continue;
        };
        let split = |text: &str| -> Vec<String> {
            text.split(',')
                .filter(|t| !t.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let kinds = split(kinds);
        if kinds.first().is_some_and(|kind| kind == "1") {
            theirs.names.extend(split(server_name));
            theirs.protocols.extend(split(alpn));
        }
        if kinds.first().is_some_and(|kind| kind == "2") {
            theirs.suites.extend(split(suite).into_iter().take(1));
            // Since 1.3, the version's own field is that of 1.2.
            let version = split(supported).into_iter().chain(split(version)).next();
            theirs.versions.extend(version);
        }
    }
    theirs
}

/// An independent reader finds the same in the hellos of the same captures.
#[test]
fn hellos_are_as_tshark_reads_them() {
    let mut compared = [0; 4];
    for (name, (_, grams)) in captures() {
        let theirs = tshark(&name);
        let (records, _) = classify(grams.iter(), usize::MAX);
        let tls = records[0].tls.as_ref().expect("a handshake");
        // Some versions of tshark show nothing for a hello in several datagrams.
        if let (Some(theirs), Some(ours)) = (theirs.names.first(), &tls.sni) {
            assert_eq!(theirs, ours, "{name}");
            compared[0] += 1;
        }
        if let Some(theirs) = theirs.protocols.first() {
            let ours = tls.alpn_offered.first().map(|a| &**a);
            assert_eq!(Some(theirs.as_str()), ours, "{name}");
            compared[1] += 1;
        }
        let number = |text: Option<&String>| {
            let text = text?.trim_start_matches("0x");
            u16::from_str_radix(text, 16).ok()
        };
        if let (Some(theirs), Some(ours)) = (number(theirs.suites.last()), &tls.cipher) {
            assert_eq!(*ours, names::cipher(theirs), "{name}");
            compared[2] += 1;
        }
        if let (Some(theirs), Some(ours)) = (number(theirs.versions.last()), &tls.version) {
            assert_eq!(*ours, names::version(theirs), "{name}");
            compared[3] += 1;
        }
    }
    // Most must have been comparable; otherwise, nothing was compared.
    assert!(
        compared[0] >= 60 && compared[1] >= 30 && compared[2] >= 60 && compared[3] >= 60,
        "{compared:?}"
    );
}
