//! What the owner of one namespace sees: everything with an end in it, but only the name of the
//! other end.

use std::sync::Arc;

use smol_str::ToSmolStr;

use mtls_core::record::identities::{Alike, Identities, NodeEdges};
use mtls_core::record::{
    EdgeList, EdgeRecord, Exemption, Expectation, FlowRecord, Peer, Side, Tally, TlsInfo, Watched,
    Word, Workload,
};

/// The edge as the owner of `namespace` sees it; `None` if not at all.
pub fn edge(edge: &EdgeRecord, namespace: &str) -> Option<EdgeRecord> {
    let (own_src, own_dst) = ends(&edge.src, &edge.dst, namespace)?;
    let mut seen = edge.clone();
    if own_src && own_dst {
        return Some(seen);
    }
    if !own_src {
        seen.src = foreign(&edge.src, None);
        seen.client_identities = Tally::default();
    }
    if !own_dst {
        seen.dst = foreign(&edge.dst, edge.dst.port);
        seen.server_identities = Tally::default();
    }
    seen.expectation = seen.expectation.map(wordless);
    Some(seen)
}

/// The flow as the owner of `namespace` sees it; `None` if not at all.
pub fn flow(flow: &FlowRecord, namespace: &str) -> Option<FlowRecord> {
    let (own_src, own_dst) = ends(&flow.src, &flow.dst, namespace)?;
    let mut seen = FlowRecord {
        // Belongs to the node, not to any namespace.
        links: Vec::new(),
        ..flow.clone()
    };
    if own_src && own_dst {
        return Some(seen);
    }
    // Any sentence may contain names and addresses; these fields contain addresses.
    seen.notes = Vec::new();
    seen.halves = Vec::new();
    seen.expectation = seen.expectation.map(wordless);
    seen.exempt = seen.exempt.map(|exempt| Exemption {
        reason: None,
        ..exempt
    });
    let own = |side: &Word<Side>| match side.known() {
        Some(Side::Client) => own_src,
        Some(Side::Server) => own_dst,
        None => false,
    };
    seen.mismatches.retain(|mismatch| own(&mismatch.side));
    if let Some(tls) = seen.tls.as_deref_mut() {
        hide(tls, own_src, own_dst);
    }
    if !own_src {
        seen.src = foreign(&flow.src, None);
        if let Some(http) = &mut seen.http {
            http.user_agent = None;
        }
    }
    if !own_dst {
        seen.dst = foreign(&flow.dst, flow.dst.port);
        seen.service = None;
    }
    Some(seen)
}

/// The edges that `see` returns, with their connections and no others.
pub fn edges(all: NodeEdges, see: impl Fn(&EdgeRecord) -> Option<EdgeRecord>) -> NodeEdges {
    let mut items = Vec::new();
    let mut places = Vec::new();
    for edge in &all.edges.items {
        let seen = see(edge);
        places.push(seen.is_some().then_some(items.len() as u32));
        items.extend(seen);
    }
    let identities = all.identities.items.into_iter().filter_map(|alike| {
        let edge = (*places.get(alike.edge as usize)?)?;
        Some(Alike { edge, ..alike })
    });
    NodeEdges {
        identities: Identities {
            below: all.identities.below,
            items: identities.collect(),
        },
        edges: EdgeList {
            watched: watched(all.edges.watched),
            items,
            ..all.edges
        },
    }
}

/// How much could be seen. Only a caller who may see pods sees how many the node has. Everybody
/// sees how many samples were lost: without that, an empty list would look like a clean one.
pub fn watched(all: Watched) -> Watched {
    Watched {
        pods: None,
        pods_watched: None,
        ..all
    }
}

/// Which ends are in the namespace; `None` if neither is.
fn ends(src: &Peer, dst: &Peer, namespace: &str) -> Option<(bool, bool)> {
    let own = |peer: &Peer| peer.namespace() == Some(namespace);
    let ends = (own(src), own(dst));
    (ends.0 || ends.1).then_some(ends)
}

/// An end in another namespace: only its name and kind.
fn foreign(peer: &Peer, port: Option<u16>) -> Peer {
    let kind = peer.workload.as_ref().map(|who| who.kind.clone());
    Peer {
        ip: None,
        port,
        workload: Some(Workload {
            name: peer.name().to_smolstr(),
            kind: kind.unwrap_or_default(),
            ..Workload::default()
        }),
    }
}

/// Without the sentence, which names the other end's pod.
fn wordless(expectation: Expectation) -> Expectation {
    Expectation {
        reason: None,
        ..expectation
    }
}

fn hide(tls: &mut TlsInfo, own_src: bool, own_dst: bool) {
    if !own_src {
        tls.client_identity = None;
        tls.client_cert = None;
        tls.ja4 = None;
        tls.version_offered = None;
        tls.groups_offered = Arc::default();
    }
    if !own_dst {
        tls.server_identity = None;
        tls.server_cert = None;
        // A mesh writes the server's name and namespace into it.
        tls.sni = None;
    }
}

#[cfg(test)]
mod tests {
    use smol_str::SmolStr;

    use super::*;
    use mtls_core::record::{CertificateInfo, Ends, HttpInfo, Kind, Mismatch, Reporter, Verdict};

    /// An end with a marker in every field that the other namespace's end has.
    fn peer(namespace: &str) -> Peer {
        let secret = |what: &str| SmolStr::from(format!("{namespace}-{what}"));
        Peer {
            ip: Some("10.9.8.7".parse().unwrap()),
            port: Some(4_433),
            workload: Some(Workload {
                name: "name".into(),
                namespace: namespace.into(),
                kind: Kind::Deployment.into(),
                pod: Some(secret("pod")),
                service_account: Some(secret("account")),
                stale: Some(7),
            }),
        }
    }

    fn certificate(namespace: &str) -> Box<CertificateInfo> {
        Box::new(CertificateInfo {
            subject: format!("CN={namespace}").into(),
            ..CertificateInfo::default()
        })
    }

    fn whole(src: &str, dst: &str) -> FlowRecord {
        let identity = |namespace: &str| Some(SmolStr::from(format!("spiffe://x/ns/{namespace}")));
        FlowRecord {
            src: peer(src),
            dst: peer(dst),
            service: Some("10.9.8.7:1".parse().unwrap()),
            halves: vec![Ends {
                src: "10.9.8.7:1".parse().unwrap(),
                dst: "10.9.8.7:2".parse().unwrap(),
            }],
            notes: vec![format!("identity-mismatch: {src} {dst}")],
            links: vec![3],
            expectation: Some(Expectation {
                reason: Some(format!("{src} {dst}").into()),
                ..Expectation::default()
            }),
            mismatches: [(Side::Client, src), (Side::Server, dst)]
                .map(|(side, namespace)| Mismatch {
                    side: side.into(),
                    seen: namespace.into(),
                    expected: namespace.into(),
                    pod: namespace.into(),
                })
                .into(),
            tls: Some(Box::new(TlsInfo {
                client_identity: identity(src),
                server_identity: identity(dst),
                client_cert: Some(certificate(src)),
                server_cert: Some(certificate(dst)),
                sni: Some(format!("{dst}.svc").into()),
                ja4: Some(format!("{src}-print").into()),
                version_offered: Some(format!("{src}-version").into()),
                groups_offered: [SmolStr::from(format!("{src}-group"))].into(),
                ..TlsInfo::default()
            })),
            http: Some(HttpInfo {
                user_agent: Some(format!("{src}-agent").into()),
                ..HttpInfo::default()
            }),
            ..FlowRecord::default()
        }
    }

    #[test]
    fn of_a_foreign_end_its_name_is_told_and_nothing_else() {
        for (src, dst) in [("mine", "theirs"), ("theirs", "mine")] {
            let seen = flow(&whole(src, dst), "mine").unwrap();
            let json = serde_json::to_string(&seen).unwrap();
            assert!(!json.contains("theirs"), "{src} → {dst}: {json}");
            assert!(json.contains("mine"), "{json}");
            let (own, other) = if src == "mine" {
                (seen.src, seen.dst)
            } else {
                (seen.dst, seen.src)
            };
            assert_eq!(own, peer("mine"));
            assert_eq!(other.name(), "name");
            assert_eq!(other.ip, None);
            let json = serde_json::to_value(&other).unwrap();
            let told = json.as_object().unwrap().iter();
            let told: Vec<_> = told.filter(|(_, value)| !value.is_null()).collect();
            let fields: Vec<&str> = told.iter().map(|(key, _)| key.as_str()).collect();
            if src == "mine" {
                assert_eq!(fields, ["kind", "name", "port"]);
            } else {
                assert_eq!(fields, ["kind", "name"]);
            }
        }
        assert_eq!(flow(&whole("theirs", "others"), "mine"), None);
        // Not by a part of its name either.
        assert_eq!(flow(&whole("mine2", "min"), "mine"), None);
    }

    #[test]
    fn within_the_namespace_all_is_told() {
        let all = whole("mine", "mine");
        let seen = flow(&all, "mine").unwrap();
        assert_eq!(
            seen,
            FlowRecord {
                links: Vec::new(),
                ..all
            }
        );
    }

    #[test]
    fn an_edge_tells_no_more_than_its_flows() {
        let tally = |namespace: &str| {
            let mut tally = Tally::default();
            tally.add(&format!("spiffe://x/ns/{namespace}").into(), 3);
            tally
        };
        for (src, dst) in [("mine", "theirs"), ("theirs", "mine")] {
            let all = EdgeRecord {
                src: peer(src),
                dst: peer(dst),
                reporter: Some(Reporter::Both.into()),
                verdict: Some(Verdict::Mtls.into()),
                client_identities: tally(src),
                server_identities: tally(dst),
                expectation: Some(Expectation {
                    reason: Some("theirs".into()),
                    ..Expectation::default()
                }),
                connections: 3,
                ..EdgeRecord::default()
            };
            let seen = edge(&all, "mine").unwrap();
            let json = serde_json::to_string(&seen).unwrap();
            assert!(!json.contains("theirs"), "{json}");
            assert!(json.contains("spiffe://x/ns/mine"), "{json}");
            assert_eq!(seen.connections, 3);
            assert_eq!(edge(&all, "other"), None);
        }
    }

    #[test]
    fn an_end_without_a_name_is_its_address() {
        let mut all = whole("mine", "theirs");
        all.dst.workload = None;
        let seen = flow(&all, "mine").unwrap();
        assert_eq!(seen.dst.name(), "10.9.8.7");
    }

    #[test]
    fn of_connections_those_of_the_edges_that_are_seen_are_told() {
        let between = |src: &str, dst: &str| EdgeRecord {
            src: peer(src),
            dst: peer(dst),
            ..EdgeRecord::default()
        };
        let alike = |edge: u32| Alike {
            edge,
            exempt: false,
            what: "mtls".into(),
            ids: vec![u64::from(edge)],
        };
        let all = NodeEdges {
            edges: EdgeList {
                schema: 2,
                node: None,
                generated: mtls_core::record::Time::default(),
                window_seconds: 600,
                nodes: None,
                watched: Watched {
                    pods: Some(9),
                    pods_watched: Some(9),
                    samples_lost: Some(4),
                    ..Watched::default()
                },
                items: vec![
                    between("theirs", "others"),
                    between("mine", "theirs"),
                    between("others", "others"),
                    between("mine", "mine"),
                ],
            },
            identities: Identities {
                below: None,
                items: (0..6).map(alike).collect(),
            },
        };
        let seen = edges(all, |one| edge(one, "mine"));
        assert_eq!(seen.edges.items.len(), 2);
        let told = seen.identities.items.iter();
        let told: Vec<_> = told.map(|one| (one.edge, one.ids[0])).collect();
        assert_eq!(told, [(0, 1), (1, 3)]);
        let watched = seen.edges.watched;
        assert_eq!((watched.pods, watched.samples_lost), (None, Some(4)));
    }
}
