//! Every verdict and cause has something to say.

use insta::assert_snapshot;
use mtls_core::record::{
    Cause, ClientCertificate, Coverage, EdgeRecord, Evidence, Expectation, Expected, FlowRecord,
    Kind, Mark, Origin, Outcome, Peer, Time, TlsInfo, Unmet, Verdict, Workload,
};

use super::{edge, flow, text};

fn peer(name: &str, port: Option<u16>) -> Peer {
    Peer {
        ip: None,
        port,
        workload: Some(Workload {
            name: name.into(),
            namespace: "shop".into(),
            kind: Kind::Deployment.into(),
            ..Workload::default()
        }),
    }
}

fn declined() -> FlowRecord {
    FlowRecord {
        src: peer("web", Some(40_000)),
        dst: peer("pg", Some(5432)),
        verdict: Verdict::Plaintext.into(),
        evidence: Some(Evidence::Upgrade.into()),
        cause: Cause::UpgradeDeclined.into(),
        reason: "client asked for TLS; server declined (postgresql)".into(),
        protocol: "postgresql".into(),
        origin: Origin::Syn.into(),
        expectation: Some(Expectation {
            expected: Some(Expected::Mtls.into()),
            outcome: Outcome::Worse.into(),
            cause: Some(Unmet::StartedBeforeInjection.into()),
            reason: Some("the client is older than its proxy's injection".into()),
        }),
        last_seen: Time::from_seconds(97),
        notes: vec!["odd: \u{1b}[31mred".into()],
        ..FlowRecord::default()
    }
}

fn one_way() -> FlowRecord {
    FlowRecord {
        verdict: Verdict::Tls.into(),
        evidence: Some(Evidence::HandshakeShape.into()),
        cause: Cause::NotRequested.into(),
        reason: "server did not request a client certificate".into(),
        protocol: "tls".into(),
        tls: Some(Box::new(TlsInfo {
            version: Some("1.3".into()),
            cipher: Some("TLS_AES_256_GCM_SHA384".into()),
            sni: Some("search.shop.svc".into()),
            client_certificate: ClientCertificate::NotRequested.into(),
            post_handshake_auth: true,
            ..TlsInfo::default()
        })),
        expectation: None,
        notes: Vec::new(),
        ..declined()
    }
}

#[test]
fn a_connection_is_explained_step_by_step() {
    let now = Time::from_seconds(100);
    assert_snapshot!("declined", text(&flow(declined(), now)));
    assert_snapshot!("one_way", text(&flow(one_way(), now)));
}

#[test]
fn an_edge_is_explained_by_its_worst_connection() {
    let now = Time::from_seconds(100);
    let record = EdgeRecord {
        src: peer("web", None),
        dst: peer("pg", Some(5432)),
        mark: Some(Mark::Clear.into()),
        verdict: Some(Verdict::Plaintext.into()),
        reason: Some("client asked for TLS; server declined (postgresql)".into()),
        verdict_counts: [(Verdict::Plaintext.into(), 1), (Verdict::Tls.into(), 8)].into(),
        connections: 9,
        coverage: Coverage {
            complete: 7,
            partial: 1,
            unobserved: 1,
        },
        last_seen: Time::from_seconds(97),
        ..EdgeRecord::default()
    };
    let explained = edge(record.clone(), &[one_way(), declined()], now);
    assert_eq!(explained.flow.as_deref(), Some(&declined()));
    assert_snapshot!("edge", text(&explained));
    // Without its connections, the edge itself is what there is.
    let alone = edge(record, &[], now);
    assert_eq!(alone.flow, None);
    assert!(text(&alone).contains("server declined"), "{alone:?}");
}

#[test]
fn every_verdict_says_what_would_change_it_but_the_best() {
    for verdict in Verdict::ALL {
        for cause in Cause::ALL {
            let one = FlowRecord {
                verdict: verdict.into(),
                cause: cause.into(),
                origin: Origin::Syn.into(),
                ..FlowRecord::default()
            };
            let explained = flow(one, Time::default());
            let is_best = verdict == Verdict::Mtls;
            assert_eq!(
                explained.would_change.is_empty(),
                is_best,
                "{verdict} {cause}"
            );
            assert_eq!(explained.next.is_empty(), is_best, "{verdict} {cause}");
        }
    }
}
