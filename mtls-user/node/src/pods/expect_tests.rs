use super::*;
use crate::pods::Facts;
use mtls_core::record::{Exemption, Peer, TlsInfo, Workload};

fn pod(name: &str, mesh: Option<(&'static str, Membership)>) -> Entry {
    Entry {
        workload: Workload {
            name: name.into(),
            namespace: "shop".into(),
            kind: "pod".into(),
            pod: Some(name.into()),
            service_account: Some(format!("{name}-sa").into()),
            stale: None,
        },
        facts: Facts {
            mesh: mesh.map(|(name, membership)| Mesh {
                name,
                membership,
                skip_inbound: Vec::from([(9000, 9001)]).into_boxed_slice().into(),
                skip_outbound: Vec::from([(7000, 7000)]).into_boxed_slice().into(),
                opaque: Vec::new().into_boxed_slice().into(),
            }),
            ..Facts::default()
        },
        ..Entry::default()
    }
}

fn node() -> Entry {
    Entry {
        workload: Workload {
            name: "node1".into(),
            kind: "node".into(),
            ..Workload::default()
        },
        ..Entry::default()
    }
}

fn flow(verdict: Verdict, port: u16) -> FlowRecord {
    let peer = |ip: &str, port| Peer {
        ip: ip.parse().ok(),
        port: Some(port),
        workload: None,
    };
    FlowRecord {
        src: peer("10.0.0.1", 40_000),
        dst: peer("10.0.0.2", port),
        verdict: verdict.into(),
        reason: "HTTP/1.1 in clear".into(),
        protocol: "http/1.1".into(),
        ..FlowRecord::default()
    }
}

fn with_identities(server: Option<&str>, client: Option<&str>) -> FlowRecord {
    FlowRecord {
        tls: Some(Box::new(TlsInfo {
            server_identity: server.map(Into::into),
            client_identity: client.map(Into::into),
            ..TlsInfo::default()
        })),
        ..flow(Verdict::Mtls, 8443)
    }
}

fn mismatches(mut record: FlowRecord, src: Option<&Entry>, dst: Option<&Entry>) -> Vec<String> {
    annotate(&mut record, src, dst);
    record.mismatches.iter().map(ToString::to_string).collect()
}

fn expected(mut record: FlowRecord, src: Option<&Entry>, dst: Option<&Entry>) -> Expectation {
    annotate(&mut record, src, dst);
    assert_eq!(
        record.reason, "HTTP/1.1 in clear",
        "that is the classifier's"
    );
    record.expectation.unwrap()
}

#[test]
fn a_probe_is_in_clear_as_it_should_be() {
    let node = node();
    let meshed = pod("db", Some(("linkerd", Membership::Sidecar)));
    let mut probe = flow(Verdict::Plaintext, 8080);
    probe.exempt = Some(Exemption::from(Exempt::KubeletProbe));
    let expectation = expected(probe.clone(), Some(&node), Some(&meshed));
    assert_eq!(expectation.outcome, Outcome::AsExpected);
    assert_eq!(expectation.cause, Some(Unmet::KubeletProbe.into()));
    let lone = pod("lone", None);
    let expectation = expected(probe, Some(&node), Some(&lone));
    assert_eq!(expectation.outcome, Outcome::NothingExpected);
}

#[test]
fn an_identity_must_be_that_of_the_pod() {
    let (web, db) = (pod("web", None), pod("db", None));
    let of = |server, client| mismatches(with_identities(server, client), Some(&web), Some(&db));
    let db_sa = "db-sa.shop.serviceaccount.identity.linkerd.cluster.local";
    let web_sa = "spiffe://cluster.local/ns/shop/sa/web-sa";
    assert!(of(Some(db_sa), Some(web_sa)).is_empty());
    assert_eq!(
        of(Some(web_sa), None),
        ["identity-mismatch: server is shop/web-sa, expected shop/db-sa (pod shop/db)"]
    );
    assert_eq!(
        of(None, Some("spiffe://cluster.local/ns/evil/sa/web-sa")),
        ["identity-mismatch: client is evil/web-sa, expected shop/web-sa (pod shop/web)"]
    );
    assert!(of(Some("CN=db"), None).is_empty(), "no claim to compare");
}

#[test]
fn an_identity_at_an_address_without_one_is_not_judged() {
    let identity = Some("spiffe://c/ns/evil/sa/x");
    let mut service = pod("db", None);
    service.workload.pod = None;
    assert!(mismatches(with_identities(identity, None), None, Some(&service)).is_empty());
    assert!(mismatches(with_identities(identity, None), None, None).is_empty());

    let mut nameless = pod("db", None);
    nameless.workload.service_account = None;
    assert_eq!(
        mismatches(with_identities(identity, None), None, Some(&nameless)).len(),
        1,
        "its namespace is known"
    );
    let same = Some("spiffe://c/ns/shop/sa/anything");
    assert!(mismatches(with_identities(same, None), None, Some(&nameless)).is_empty());
}

#[test]
fn a_linkerd_name_in_the_sni_is_an_identity() {
    let db = pod("db", None);
    let mut record = with_identities(None, None);
    record.tls.as_mut().unwrap().sni = Some("other.shop.serviceaccount.identity.l.c".into());
    assert!(mismatches(record, None, Some(&db))[0].starts_with("identity-mismatch: server"));
}

#[test]
fn plaintext_in_a_mesh_has_its_reason() {
    let linkerd = |name| pod(name, Some(("linkerd", Membership::Sidecar)));
    let (web, db, lone) = (linkerd("web"), linkerd("db"), pod("lone", None));
    let late = pod("late", Some(("linkerd", Membership::Requested)));
    let istio = pod("ist", Some(("istio", Membership::Sidecar)));
    let mut host = pod("host", None);
    host.facts.host_network = true;
    let node = node();
    let both = (Some(&web), Some(&db));
    for (port, (src, dst), outcome, cause, why) in [
        (
            4191,
            (Some(&lone), Some(&db)),
            Outcome::AsExpected,
            Unmet::MeshAdminPort,
            "port 4191 is linkerd's own",
        ),
        (
            4567,
            both,
            Outcome::AsExpected,
            Unmet::PortSkipped,
            "the mesh leaves port 4567 alone, inbound",
        ),
        (
            9001,
            both,
            Outcome::AsExpected,
            Unmet::PortSkipped,
            "the mesh leaves port 9001 alone, inbound",
        ),
        (
            7000,
            (Some(&web), Some(&lone)),
            Outcome::AsExpected,
            Unmet::PortSkipped,
            "the mesh leaves port 7000 alone, outbound",
        ),
        (
            80,
            (Some(&web), Some(&lone)),
            Outcome::Worse,
            Unmet::PeerNotInMesh,
            "the server, shop/lone, is in no mesh",
        ),
        (
            80,
            (None, Some(&db)),
            Outcome::Worse,
            Unmet::PeerNotInMesh,
            "the client is no known pod",
        ),
        (
            80,
            (Some(&host), Some(&db)),
            Outcome::Worse,
            Unmet::HostNetwork,
            "the client, shop/host, is on the network of its node",
        ),
        (
            80,
            (Some(&node), Some(&db)),
            Outcome::Worse,
            Unmet::HostNetwork,
            "the client, node1, is on the network of its node",
        ),
        (
            80,
            (Some(&web), Some(&late)),
            Outcome::Worse,
            Unmet::StartedBeforeInjection,
            "shop/late has no linkerd proxy: restart it",
        ),
        (
            80,
            (Some(&web), Some(&istio)),
            Outcome::Worse,
            Unmet::DifferentMeshes,
            "the ends are in different meshes: linkerd, istio",
        ),
        (
            80,
            both,
            Outcome::Worse,
            Unmet::Unexplained,
            "both ends are in the mesh",
        ),
        (
            5432,
            both,
            Outcome::Worse,
            Unmet::OpaquePort,
            "port 5432 is opaque to the mesh that both ends are in, and was not carried by it",
        ),
    ] {
        let expectation = expected(flow(Verdict::Plaintext, port), src, dst);
        assert_eq!(expectation.outcome, outcome, "{why}");
        assert_eq!(expectation.cause, Some(cause.into()), "{why}");
        assert_eq!(expectation.reason.as_deref(), Some(why));
    }
    for (verdict, port, (src, dst), outcome) in [
        (Verdict::Mtls, 80, both, Outcome::AsExpected),
        (Verdict::Mtls, 4567, both, Outcome::Better),
        (Verdict::Tls, 80, both, Outcome::Worse),
        // TLS to an end that no mesh covers is the workload's own.
        (
            Verdict::Tls,
            443,
            (Some(&web), None),
            Outcome::NothingExpected,
        ),
        (Verdict::Unobserved, 80, both, Outcome::Undecided),
        (
            Verdict::Plaintext,
            80,
            (Some(&lone), Some(&lone)),
            Outcome::NothingExpected,
        ),
    ] {
        let expectation = expected(flow(verdict, port), src, dst);
        assert_eq!(expectation.outcome, outcome, "{verdict} {port}");
    }
}

fn ruled(mut pod: Entry, level: Level, by: By) -> Entry {
    let rule = Rule {
        level,
        by,
        words: "somebody said so".into(),
    };
    let layer = crate::pods::inbound::Layer {
        whole: Some(rule),
        ports: Vec::new(),
    };
    pod.facts.inbound = [layer].into_iter().collect();
    pod
}

#[test]
fn what_the_server_is_annotated_with_holds_in_a_mesh_and_out_of_it() {
    use Outcome::{AsExpected, Better, NothingExpected, Undecided, Worse};
    for (level, outcomes) in [
        (Level::Mtls, [Worse, Worse, Worse, AsExpected, Undecided]),
        (Level::Tls, [Worse, Worse, AsExpected, Better, Undecided]),
        (
            Level::Plaintext,
            [AsExpected, AsExpected, Better, Better, Undecided],
        ),
        (Level::Any, [NothingExpected; 5]),
    ] {
        for mesh in [None, Some(("istio", Membership::Sidecar))] {
            let db = ruled(pod("db", mesh), level, By::Annotation);
            for (verdict, outcome) in [
                Verdict::Plaintext,
                Verdict::Opaque,
                Verdict::Tls,
                Verdict::Mtls,
                Verdict::TlsUnproven,
            ]
            .into_iter()
            .zip(outcomes)
            {
                for transport in [Transport::Tcp, Transport::Udp] {
                    let mut record = flow(verdict, 80);
                    record.transport = transport.into();
                    let expectation = expected(record, None, Some(&db));
                    assert_eq!(expectation.outcome, outcome, "{level:?} {verdict}");
                    assert_eq!(expectation.cause, Some(Unmet::Annotated.into()));
                    assert_eq!(expectation.reason.as_deref(), Some("somebody said so"));
                }
            }
        }
    }
    // It applies only to the server.
    let web = ruled(pod("web", None), Level::Mtls, By::Annotation);
    let out = expected(flow(Verdict::Plaintext, 80), Some(&web), None);
    assert_eq!(out, Expectation::default());
}

#[test]
fn a_password_in_clear_is_worse_whatever_was_encrypted_after_it() {
    let db = ruled(pod("db", None), Level::Mtls, By::Annotation);
    let mut record = flow(Verdict::Mtls, 5432);
    record.cause = Cause::SecretInClear.into();
    let expectation = expected(record, None, Some(&db));
    assert_eq!(expectation.outcome, Outcome::Worse);
}

#[test]
fn a_probe_is_no_breach_of_an_annotation() {
    let db = ruled(pod("db", None), Level::Mtls, By::Annotation);
    let mut probe = flow(Verdict::Plaintext, 8080);
    probe.exempt = Some(Exemption::from(Exempt::KubeletProbe));
    let expectation = expected(probe, Some(&node()), Some(&db));
    assert_eq!(expectation.outcome, Outcome::AsExpected);
    assert_eq!(expectation.expected, Some(Expected::Plaintext.into()));
}

#[test]
fn a_meshs_policy_says_who_may_come_from_outside_it() {
    let istio = |name, level| {
        let pod = pod(name, Some(("istio", Membership::Sidecar)));
        ruled(pod, level, By::Policy)
    };
    let (web, lone) = (
        pod("web", Some(("istio", Membership::Sidecar))),
        pod("lone", None),
    );
    let late = pod("late", Some(("istio", Membership::Requested)));
    for (level, client, verdict, outcome, cause) in [
        // Strict: any client.
        (
            Level::Mtls,
            &lone,
            Verdict::Plaintext,
            Outcome::Worse,
            Unmet::PeerNotInMesh,
        ),
        (
            Level::Mtls,
            &lone,
            Verdict::Tls,
            Outcome::Worse,
            Unmet::PeerNotInMesh,
        ),
        (
            Level::Mtls,
            &web,
            Verdict::Mtls,
            Outcome::AsExpected,
            Unmet::Policy,
        ),
        // Permissive: clients that cannot be in the mesh are accepted; mesh members still use
        // mutual TLS.
        (
            Level::Any,
            &lone,
            Verdict::Plaintext,
            Outcome::NothingExpected,
            Unmet::Policy,
        ),
        (
            Level::Any,
            &web,
            Verdict::Plaintext,
            Outcome::Worse,
            Unmet::Unexplained,
        ),
        (
            Level::Any,
            &late,
            Verdict::Plaintext,
            Outcome::Worse,
            Unmet::StartedBeforeInjection,
        ),
        (
            Level::Tls,
            &lone,
            Verdict::Plaintext,
            Outcome::Worse,
            Unmet::PeerNotInMesh,
        ),
        (
            Level::Tls,
            &lone,
            Verdict::Tls,
            Outcome::AsExpected,
            Unmet::Policy,
        ),
        // Switched off.
        (
            Level::Plaintext,
            &web,
            Verdict::Plaintext,
            Outcome::AsExpected,
            Unmet::Policy,
        ),
        (
            Level::Plaintext,
            &web,
            Verdict::Tls,
            Outcome::Better,
            Unmet::Policy,
        ),
    ] {
        let db = istio("db", level);
        let expectation = expected(flow(verdict, 80), Some(client), Some(&db));
        let what = format!("{level:?} {} {verdict}", client.title());
        assert_eq!(expectation.outcome, outcome, "{what}");
        assert_eq!(expectation.cause, Some(cause.into()), "{what}");
    }
    let strict = istio("db", Level::Mtls);
    let refused = expected(flow(Verdict::Plaintext, 80), Some(&lone), Some(&strict));
    assert_eq!(
        refused.reason.as_deref(),
        Some("the client, shop/lone, is in no mesh; somebody said so")
    );
}
