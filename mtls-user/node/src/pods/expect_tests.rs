use super::*;
use crate::pods::Facts;
use mtls_core::record::{Bytes, HttpInfo, Origin, Peer, SCHEMA, TlsInfo, Transport, Workload};

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
        ip: ip.parse().unwrap(),
        port,
        workload: None,
    };
    FlowRecord {
        schema: SCHEMA,
        file: None,
        transport: Transport::Tcp,
        id: None,
        src: peer("10.0.0.1", 40_000),
        dst: peer("10.0.0.2", port),
        verdict,
        evidence: None,
        reason: "HTTP/1.1 in clear".into(),
        protocol: "http/1.1".into(),
        origin: Origin::Syn,
        tls: None,
        http: None,
        bytes: Bytes::default(),
        first_seen: 1,
        last_seen: 2,
        closed: false,
        links: Vec::new(),
        notes: Vec::new(),
    }
}

fn asked_by(agent: &str, port: u16) -> FlowRecord {
    FlowRecord {
        http: Some(HttpInfo {
            user_agent: Some(agent.into()),
            ..HttpInfo::default()
        }),
        ..flow(Verdict::Plaintext, port)
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

fn notes(mut record: FlowRecord, src: Option<&Entry>, dst: Option<&Entry>) -> Vec<String> {
    annotate(&mut record, src, dst);
    record.notes
}

#[test]
fn a_probe_comes_from_the_node_and_says_so() {
    let (node, web) = (node(), pod("web", None));
    let mut record = asked_by("kube-probe/1.31", 8080);
    annotate(&mut record, Some(&node), Some(&web));
    assert_eq!(record.reason, "kubelet-probe");
    assert!(record.notes.is_empty());

    let mut pretender = asked_by("kube-probe/1.31", 8080);
    annotate(&mut pretender, Some(&web), Some(&web));
    assert_eq!(pretender.reason, "HTTP/1.1 in clear");

    let meshed = pod("db", Some(("linkerd", Membership::Sidecar)));
    assert_eq!(
        notes(
            asked_by("kube-probe/1.31", 8080),
            Some(&node),
            Some(&meshed)
        ),
        ["expected-mtls: kubelet-probe"]
    );
}

#[test]
fn an_identity_must_be_that_of_the_pod() {
    let (web, db) = (pod("web", None), pod("db", None));
    let of = |server, client| notes(with_identities(server, client), Some(&web), Some(&db));
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
    assert!(notes(with_identities(identity, None), None, Some(&service)).is_empty());
    assert!(notes(with_identities(identity, None), None, None).is_empty());

    let mut nameless = pod("db", None);
    nameless.workload.service_account = None;
    assert_eq!(
        notes(with_identities(identity, None), None, Some(&nameless)).len(),
        1,
        "its namespace is known"
    );
    let same = Some("spiffe://c/ns/shop/sa/anything");
    assert!(notes(with_identities(same, None), None, Some(&nameless)).is_empty());
}

#[test]
fn a_linkerd_name_in_the_sni_is_an_identity() {
    let db = pod("db", None);
    let mut record = with_identities(None, None);
    record.tls.as_mut().unwrap().sni = Some("other.shop.serviceaccount.identity.l.c".into());
    assert!(notes(record, None, Some(&db))[0].starts_with("identity-mismatch: server"));
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
    let clear = |port| flow(Verdict::Plaintext, port);
    for (record, src, dst, why) in [
        (
            clear(4191),
            Some(&lone),
            Some(&db),
            "mesh-admin-port 4191 of linkerd",
        ),
        (
            clear(4567),
            Some(&web),
            Some(&db),
            "port-skipped: 4567, inbound",
        ),
        (
            clear(9001),
            Some(&web),
            Some(&db),
            "port-skipped: 9001, inbound",
        ),
        (
            clear(7000),
            Some(&web),
            Some(&lone),
            "port-skipped: 7000, outbound",
        ),
        (
            asked_by("Prometheus/3", 8080),
            Some(&lone),
            Some(&db),
            "scrape by Prometheus",
        ),
        (
            clear(80),
            Some(&web),
            Some(&lone),
            "peer-not-in-mesh: the server, shop/lone",
        ),
        (
            clear(80),
            None,
            Some(&db),
            "peer-not-in-mesh: the client is no known pod",
        ),
        (
            clear(80),
            Some(&host),
            Some(&db),
            "host-network: the client is shop/host",
        ),
        (
            clear(80),
            Some(&node),
            Some(&db),
            "host-network: the client is node1",
        ),
        (
            clear(80),
            Some(&web),
            Some(&late),
            "started-before-injection: shop/late has no linkerd proxy; restart it",
        ),
        (
            clear(80),
            Some(&web),
            Some(&istio),
            "different-meshes: linkerd and istio",
        ),
        (
            clear(80),
            Some(&web),
            Some(&db),
            "both ends are in the mesh: unexplained",
        ),
    ] {
        assert_eq!(notes(record, src, dst), [format!("expected-mtls: {why}")]);
    }
    assert!(notes(flow(Verdict::Mtls, 80), Some(&web), Some(&lone)).is_empty());
    assert!(notes(clear(80), Some(&lone), Some(&lone)).is_empty());
}
