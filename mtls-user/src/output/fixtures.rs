//! Records for the tests of what is printed: a good one, a hostile one, and the state of a node.

use mtls_core::record::{
    Bytes, Cause, Check, CheckState, Coverage, Declared, EdgeList, EdgeRecord, Event, Evidence,
    Exempt, Exemption, Expectation, Expected, FlowRecord, HttpInfo, Interface, Kind, Loss, Mark,
    Mismatch, NotAttached, Origin, Outcome, Peer, ProgramStats, Reporter, Side, SourceHealth, Span,
    Status, Tally, Time, TlsInfo, Transport, Unmet, Verdict, Watched, Word, Workload,
};

/// 2026-11-28T05:25:08Z.
pub(super) const NOW: u64 = 1_795_843_508;

pub(super) fn at(seconds_ago: u64) -> Time {
    Time::from_nanos((NOW - seconds_ago) * 1_000_000_000)
}

pub(super) fn workload(namespace: &str, name: &str, kind: Kind) -> Workload {
    Workload {
        name: name.into(),
        namespace: namespace.into(),
        kind: kind.into(),
        ..Workload::default()
    }
}

pub(super) fn peer(namespace: &str, name: &str, kind: Kind, port: Option<u16>) -> Peer {
    Peer {
        ip: None,
        port,
        workload: Some(workload(namespace, name, kind)),
    }
}

pub(super) fn tally(values: &[(&str, u64)]) -> Tally {
    Tally {
        values: values
            .iter()
            .map(|(value, n)| ((*value).into(), *n))
            .collect(),
        other: 0,
    }
}

/// An edge of connections that all have one verdict, seen whole.
pub(super) fn edge(from: Peer, to: Peer, verdict: Verdict, mark: Mark, n: u64) -> EdgeRecord {
    let span = Span {
        first_seen: at(65),
        last_seen: at(3),
    };
    EdgeRecord {
        node: Some("node-1".into()),
        reporter: Some(Reporter::Both.into()),
        src: from,
        dst: to,
        mark: Some(mark.into()),
        verdict: Some(verdict.into()),
        cause: Some(Cause::FlightLength.into()),
        reason: Some("client sent a certificate".into()),
        connections: n,
        verdict_counts: [(verdict.into(), n)].into(),
        verdict_seen: [(verdict.into(), span)].into(),
        coverage: Coverage {
            complete: n,
            ..Coverage::default()
        },
        first_seen: span.first_seen,
        last_seen: span.last_seen,
        ..EdgeRecord::default()
    }
}

pub(crate) fn list() -> EdgeList {
    let pod = |name, port| peer("shop", name, Kind::Deployment, port);
    let mut mutual = edge(
        pod("web", None),
        pod("cart", Some(8443)),
        Verdict::Mtls,
        Mark::Mutual,
        9,
    );
    mutual.open_connections = 2;
    mutual.tls_versions = tally(&[("1.3", 9)]);
    mutual.client_identities = tally(&[("spiffe://cluster.local/ns/shop/sa/web", 8), ("other", 1)]);
    mutual.src.workload.as_mut().unwrap().service_account = Some("web".into());
    let one_way = edge(
        pod("web", None),
        pod("search", Some(8443)),
        Verdict::Tls,
        Mark::OneWay,
        4,
    );
    let mut clear = edge(
        pod("web", None),
        peer("data", "pg", Kind::StatefulSet, Some(5432)),
        Verdict::Plaintext,
        Mark::Clear,
        8,
    );
    clear.verdict_counts.insert(Verdict::Mtls.into(), 1);
    clear.connections = 9;
    clear.coverage.complete = 9;
    clear.reason = Some("client asked for TLS; server declined (postgresql)".into());
    let mut unknown = edge(
        peer("", "10.0.0.7", Kind::Unknown, None),
        pod("cart", Some(8443)),
        Verdict::TlsUnproven,
        Mark::Unknown,
        1,
    );
    unknown.src.ip = Some("10.0.0.7".parse().unwrap());
    unknown.src.workload.as_mut().unwrap().stale = Some(90);
    unknown.coverage = Coverage {
        partial: 1,
        ..Coverage::default()
    };
    let mut dns = edge(
        pod("web", None),
        pod("dns", Some(53)),
        Verdict::Opaque,
        Mark::Unknown,
        3,
    );
    dns.transport = Transport::Udp.into();
    let mut probes = edge(
        peer("", "node-1", Kind::Node, None),
        pod("cart", Some(8080)),
        Verdict::Plaintext,
        Mark::Clear,
        0,
    );
    (probes.mark, probes.verdict, probes.cause, probes.reason) = (None, None, None, None);
    (probes.verdict_counts, probes.verdict_seen) = Default::default();
    probes.connections = 12;
    probes.coverage.complete = 12;
    probes.exempt_counts = [
        (Exempt::KubeletProbe.into(), 10),
        (Exempt::Refused.into(), 2),
    ]
    .into();
    let mut hostile = edge(
        peer("shop", "a\u{1b}[2J\u{202e}b", Kind::Pod, None),
        pod("cart", Some(1)),
        Verdict::Failed,
        Mark::Unknown,
        1,
    );
    hostile.verdict_counts = [(Word::Other("quantum-safe".into()), 1)].into();
    EdgeList {
        schema: 2,
        node: Some("node-1".into()),
        generated: at(0),
        window_seconds: 600,
        nodes: None,
        watched: Watched {
            interfaces: 41,
            interfaces_failed: 3,
            samples_lost: Some(17),
            ..Watched::default()
        },
        items: vec![mutual, probes, one_way, unknown, dns, clear, hostile],
    }
}

pub(super) fn end(ip: &str, port: u16, workload: Option<Workload>) -> Peer {
    Peer {
        ip: ip.parse().ok(),
        port: Some(port),
        workload,
    }
}

/// A mutual handshake between two named pods.
pub(crate) fn mutual() -> FlowRecord {
    FlowRecord {
        event: Some(Event::Classified.into()),
        node: Some("node-1".into()),
        connection: Some(14),
        id: Some("c4396a12f63f53ce".into()),
        reporter: Some(Reporter::Both.into()),
        src: end(
            "10.0.0.1",
            40_000,
            Some(workload("shop", "web", Kind::Deployment)),
        ),
        dst: end("fd00::2", 8443, Some(workload("shop", "cart", Kind::Pod))),
        service: "10.96.0.10:443".parse().ok(),
        verdict: Verdict::Mtls.into(),
        evidence: Some(Evidence::HandshakeShape.into()),
        cause: Cause::FlightLength.into(),
        reason: "client sent a certificate (inferred from an 887-byte encrypted record)".into(),
        protocol: "tls".into(),
        origin: Origin::Syn.into(),
        expectation: Some(Expectation {
            expected: Some(Expected::Mtls.into()),
            outcome: Outcome::AsExpected.into(),
            ..Expectation::default()
        }),
        tls: Some(Box::new(TlsInfo {
            version: Some("1.3".into()),
            cipher: Some("TLS_AES_256_GCM_SHA384".into()),
            group: Some("X25519MLKEM768".into()),
            sni: Some("cart.shop.svc".into()),
            ..TlsInfo::default()
        })),
        bytes: Bytes {
            client: Some(1_700),
            server: Some(2_900),
        },
        first_seen: at(2),
        last_seen: at(1),
        links: vec![7, 9],
        mismatches: vec![Mismatch {
            side: Side::Server.into(),
            seen: "shop/other".into(),
            expected: "shop/cart".into(),
            pod: "shop/cart-1".into(),
        }],
        ..FlowRecord::default()
    }
}

/// Plaintext from a client that tries to write fields of its own.
pub(crate) fn hostile() -> FlowRecord {
    FlowRecord {
        event: Some(Event::Closed.into()),
        src: end(
            "10.0.0.7",
            40_001,
            Some(workload("", "10.0.0.7", Kind::Unknown)),
        ),
        dst: end("10.0.0.2", 8080, Some(workload("", "node-1", Kind::Node))),
        verdict: Verdict::Plaintext.into(),
        evidence: Some(Evidence::FirstBytes.into()),
        cause: Cause::Unencrypted.into(),
        reason: "unencrypted http/1.1".into(),
        protocol: "http/1.1".into(),
        expectation: Some(Expectation {
            expected: Some(Expected::Mtls.into()),
            outcome: Outcome::Worse.into(),
            cause: Some(Unmet::PeerNotInMesh.into()),
            reason: Some("the client is no known pod".into()),
        }),
        http: Some(HttpInfo {
            method: Some("GET".into()),
            authority: Some("x tls=true verdict=mtls \"y".into()),
            path: Some("/a\u{1b}[2J\u{2066}b".into()),
            status: Some(200),
            ..HttpInfo::default()
        }),
        first_seen: at(1),
        last_seen: at(1),
        closed: true,
        notes: vec!["through: proxy-protocol".into()],
        ..FlowRecord::default()
    }
}

/// QUIC of a server alone, and a declared exemption.
pub(super) fn datagrams() -> FlowRecord {
    FlowRecord {
        transport: Transport::Udp.into(),
        src: end("10.0.0.1", 40_002, None),
        dst: end("10.0.0.2", 443, None),
        verdict: Verdict::Tls.into(),
        evidence: Some(Evidence::HandshakeShape.into()),
        reason: "server did not request a client certificate".into(),
        protocol: "quic".into(),
        exempt: Some(Exemption {
            class: Exempt::Declared.into(),
            reason: Some("moves with ticket 4711".into()),
            until: Some(at(0)),
        }),
        first_seen: at(1),
        last_seen: at(1),
        ..FlowRecord::default()
    }
}

pub(crate) fn status_of_a_node() -> Status {
    let counters = [("segments", 1_000), ("sampled", 990), ("resampled", 12)];
    Status {
        node: Some("node-1".into()),
        generated: at(0),
        version: "0.1.0".into(),
        pid: 4711,
        uptime_seconds: 3_720,
        socket: "/run/mtls/mtls.sock".into(),
        window_seconds: 600,
        process: mtls_core::record::ProcessStats {
            cpu_seconds: 18.6,
            resident_bytes: 41 << 20,
        },
        kernel: mtls_core::record::KernelStatus {
            interfaces: vec![Interface {
                ifindex: 7,
                name: "veth0".into(),
                mode: "tcx".into(),
                lost: [(Loss::RingFull.into(), 3), (Loss::MapFull.into(), 1)].into(),
                ignored: 400,
                ..Interface::default()
            }],
            not_attached: vec![NotAttached {
                name: "veth1".into(),
                ifindex: 8,
                reason: "ENODEV: No such device".into(),
                attempts: 2,
            }],
            counters: counters
                .into_iter()
                .map(|(name, n)| (name.into(), n))
                .collect(),
            programs: vec![ProgramStats {
                name: "ingress".into(),
                run_count: 1_000,
                run_time_ns: 31_000,
                ..ProgramStats::default()
            }],
            ..mtls_core::record::KernelStatus::default()
        },
        sources: vec![
            SourceHealth {
                name: "cri".into(),
                entries: 41,
                updated: Some(at(1)),
                error: None,
            },
            SourceHealth {
                name: "kubernetes".into(),
                entries: 41,
                updated: Some(at(90)),
                error: Some("connection refused".into()),
            },
        ],
        exemptions: vec![
            Declared {
                namespace: Some("shop".into()),
                workload: Some("legacy-db".into()),
                port: Some(6379),
                reason: "moves to TLS".into(),
                until: Some(at(86_400)),
                expired: true,
            },
            Declared {
                port: Some(53),
                reason: "cluster DNS".into(),
                ..Declared::default()
            },
        ],
        ..Status::default()
    }
}

pub(super) fn checks() -> Vec<Check> {
    let check = |name: &str, state: CheckState, found: &str, fix: Option<&str>| Check {
        name: name.into(),
        state: state.into(),
        found: found.into(),
        fix: fix.map(Into::into),
    };
    vec![
        check("kernel", CheckState::Ok, "6.18", Some("nothing")),
        check("hook", CheckState::Warn, "clsact", Some("use Linux 6.6")),
        check(
            "BTF",
            CheckState::Fail,
            "missing",
            Some("set CONFIG_DEBUG_INFO_BTF"),
        ),
    ]
}
