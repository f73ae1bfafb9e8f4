//! What is recorded of every capture of the corpus is classified as the capture was, and holds no
//! payload that was not asked for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mtls_core::capture::Decoded;
use mtls_core::record::{Cause, Evidence, FlowRecord, Sample, Verdict, Word};

use super::{Limits, Recorder, Summary};
use crate::select::Filter;
use crate::source::capture::{Unread, classify, classify_and};

const ALL: Limits = Limits {
    flows: u64::MAX,
    bytes: u64::MAX,
    payload: true,
};

/// Every capture of the corpus.
fn corpus() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests");
    let mut files = Vec::new();
    for folder in ["corpus/pcap", "corpus/protocols", "datagrams/corpus/pcap"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            files.push(entry.unwrap().path());
        }
    }
    files.sort();
    files
}

fn record(path: &Path, limits: Limits) -> (Vec<u8>, Summary, Vec<FlowRecord>) {
    let mut file = Vec::new();
    let mut flows = Vec::new();
    let recorder = Recorder::new(&mut file, Filter::default(), limits).unwrap();
    let recorder = RefCell::new(recorder);
    let mut unread = Unread::default();
    classify_and(
        path,
        true,
        &mut unread,
        |decoded| {
            recorder.borrow_mut().sample(match decoded {
                Decoded::Segment(segment) => Sample::from(segment),
                Decoded::Datagram(datagram) => Sample::from(datagram),
            });
        },
        |flow| {
            recorder.borrow_mut().flow(&flow).unwrap();
            flows.push(flow);
        },
    )
    .unwrap();
    let summary = recorder.into_inner().finish().unwrap();
    (file, summary, flows)
}

fn read(bytes: &[u8]) -> Vec<FlowRecord> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recorded.pcapng");
    std::fs::write(&path, bytes).unwrap();
    let mut flows = Vec::new();
    let whole = classify(&path, true, &mut Unread::default(), |flow| flows.push(flow)).unwrap();
    assert!(whole, "it breaks off");
    flows
}

/// What is to be read of these connections, in the order of their ends. They are written in that order,
/// so a session that was resumed before its own connection ended is unknown.
fn expected(flows: &[FlowRecord]) -> BTreeMap<String, Vec<String>> {
    let mut flows = flows.to_vec();
    for at in 0..flows.len() {
        let began = flows[at].first_seen;
        let is_early = flows[at..].iter().any(|other| other.first_seen < began);
        let evidence = flows[at].evidence.as_ref().and_then(Word::known);
        if is_early && matches!(evidence, Some(Evidence::Inherited | Evidence::Resumption)) {
            flows[at].verdict = Verdict::TlsUnproven.into();
            flows[at].evidence = Some(Evidence::HandshakeShape.into());
            flows[at].cause = Cause::ResumptionUnknown.into();
        }
    }
    said(&flows)
}

/// What matters of each connection, by its ends.
fn said(flows: &[FlowRecord]) -> BTreeMap<String, Vec<String>> {
    let mut said = BTreeMap::<_, Vec<_>>::new();
    for flow in flows {
        let end = |peer: &mtls_core::record::Peer| format!("{:?}:{:?}", peer.ip, peer.port);
        let key = format!("{} {}", end(&flow.src), end(&flow.dst));
        let evidence = flow.evidence.as_ref().map(mtls_core::record::Word::as_str);
        let what = format!(
            "{} {evidence:?} {} {}",
            flow.verdict, flow.cause, flow.protocol
        );
        said.entry(key).or_default().push(what);
    }
    for all in said.values_mut() {
        all.sort();
    }
    said
}

/// Whether anything of a capture goes in clear before TLS does: a proxy is asked, say.
fn begins_in_clear(path: &Path) -> bool {
    let mut begun = std::collections::HashSet::new();
    let mut clear = false;
    let look = |decoded: &Decoded<'_>| {
        if let Decoded::Segment(segment) = decoded
            && !segment.payload.is_empty()
            && begun.insert((segment.src, segment.dst))
        {
            // Records of TLS, and hellos of SSL 2.0.
            clear |= !matches!(segment.payload[0], 20..=24 | 0x80..);
        }
    };
    classify_and(path, true, &mut Unread::default(), look, |_| {}).unwrap();
    clear
}

/// It is TLS from its first byte on: nothing of it is in clear but the handshake.
fn is_tls_alone(flow: &FlowRecord) -> bool {
    matches!(
        flow.verdict.known(),
        Some(Verdict::Mtls | Verdict::Tls | Verdict::TlsUnproven)
    ) && matches!(flow.protocol.as_str(), "tls" | "quic" | "dtls")
}

#[test]
fn what_was_recorded_is_classified_as_the_traffic_was() {
    let (mut kinds, mut flows) = (std::collections::BTreeSet::new(), 0);
    let mut wrong = Vec::new();
    for path in corpus() {
        let (file, summary, before) = record(&path, ALL);
        if before.is_empty() {
            continue;
        }
        assert_eq!(summary.left_out, 0, "{}", path.display());
        let (before, after) = (expected(&before), said(&read(&file)));
        if before != after {
            wrong.push(format!("{}: {before:#?} became {after:#?}", path.display()));
        }
        flows += before.len();
        kinds.extend(before.into_values().flatten());
    }
    assert!(
        wrong.is_empty(),
        "{} differ: {}",
        wrong.len(),
        wrong.join("\n")
    );
    // Every verdict that a capture can show, and every family of protocols.
    assert!(
        flows > 100 && kinds.len() > 40,
        "{flows} of {} kinds",
        kinds.len()
    );
}

#[test]
fn without_payload_what_is_tls_alone_is_classified_as_it_was() {
    let mut seen = 0;
    let mut wrong = Vec::new();
    for path in corpus() {
        let (file, _, before) = record(
            &path,
            Limits {
                payload: false,
                ..ALL
            },
        );
        let alone = before.iter().all(is_tls_alone) && !begins_in_clear(&path);
        if before.is_empty() || !alone {
            continue;
        }
        seen += before.len();
        let (before, after) = (expected(&before), said(&read(&file)));
        if before != after {
            wrong.push(format!("{}: {before:#?} became {after:#?}", path.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ: {}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(seen > 50, "{seen}");
}

#[test]
fn without_payload_nothing_of_what_is_in_clear_is_in_the_file() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/demo.pcap");
    let has = |file: &[u8], words: &[u8]| file.windows(words.len()).any(|part| part == words);
    let (file, summary, flows) = record(
        &demo,
        Limits {
            payload: false,
            ..ALL
        },
    );
    assert_eq!(summary.flows as usize, flows.len());
    // The request's line; the path is in no comment.
    assert!(!has(&file, b"GET /orders"));
    assert!(!has(&file, b"HTTP/1.1"));
    assert!(has(&file, b"unencrypted http/1.1"), "the comment");
    let (file, ..) = record(&demo, ALL);
    assert!(has(&file, b"GET /orders"));
}

#[test]
fn no_more_is_written_than_was_asked_for() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/demo.pcap");
    let (_, all, _) = record(&demo, ALL);
    assert!(all.flows > 2 && all.packets > all.flows);
    let filter = Filter {
        all: vec![vec![crate::select::Test::Verdict(
            "plaintext".parse().unwrap(),
        )]],
        ..Filter::default()
    };
    let limits = Limits { flows: 1, ..ALL };
    let mut recorder = Recorder::new(Vec::new(), filter, limits).unwrap();
    let mut flow = FlowRecord {
        verdict: Verdict::Mtls.into(),
        ..FlowRecord::default()
    };
    assert!(recorder.flow(&flow).unwrap());
    flow.verdict = Verdict::Plaintext.into();
    flow.connection = Some(7);
    flow.event = Some(mtls_core::record::Event::Classified.into());
    // One that is open counts, and is written at the end.
    assert!(!recorder.flow(&flow).unwrap());
    let summary = recorder.finish().unwrap();
    assert_eq!((summary.flows, summary.without_samples), (0, 1));
}

#[test]
fn a_flood_of_samples_is_held_within_bounds() {
    let mut recorder = Recorder::new(Vec::new(), Filter::default(), ALL).unwrap();
    let sample = |port: u16| Sample {
        time: mtls_core::record::Time::from_seconds(1),
        link: 1,
        udp: false,
        src: ([10, 0, 0, 1], port).into(),
        dst: ([10, 0, 0, 2], 443).into(),
        seq: 0,
        ack: 0,
        flags: 0x18,
        damaged: false,
        inside: false,
        len: 65_000,
        payload: vec![7; 65_000],
    };
    for n in 0..4_000_u16 {
        recorder.sample(sample(1 + n % 2_000));
        assert!(recorder.held <= super::HELD + 65_000 + super::OVERHEAD);
    }
    assert!(recorder.finish().unwrap().left_out > 0);
}
