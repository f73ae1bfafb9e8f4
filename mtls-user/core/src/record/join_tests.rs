//! Two nodes' reports of the same connections.

use super::*;
use crate::record::identities::{Alike, Identities};
use crate::record::{Kind, Peer, Workload};

fn end(name: &str, kind: Kind) -> Peer {
    Peer {
        ip: None,
        port: None,
        workload: Some(Workload {
            name: name.into(),
            namespace: "shop".into(),
            kind: kind.into(),
            ..Workload::default()
        }),
    }
}

/// An edge, and the ids of its connections by verdict.
struct Answer {
    edge: EdgeRecord,
    ids: Vec<(Verdict, Vec<u64>)>,
}

fn answer(reporter: Reporter, src: Peer, dst: Peer, ids: &[(Verdict, Vec<u64>)]) -> Answer {
    let counts: BTreeMap<Word<Verdict>, u64> = ids
        .iter()
        .map(|(verdict, ids)| ((*verdict).into(), ids.len() as u64))
        .collect();
    let n = counts.values().sum();
    let worst = counts
        .keys()
        .min_by_key(|verdict| severity(verdict))
        .cloned();
    let mark = worst
        .as_ref()
        .and_then(|worst| Mark::of(worst, &Cause::Other.into(), true));
    let mut dst = dst;
    dst.port = Some(443);
    Answer {
        edge: EdgeRecord {
            reporter: Some(reporter.into()),
            src,
            dst,
            mark: mark.map(Into::into),
            verdict: worst,
            verdict_counts: counts,
            connections: n,
            coverage: Coverage {
                complete: n,
                ..Coverage::default()
            },
            ..EdgeRecord::default()
        },
        ids: ids.to_vec(),
    }
}

fn node(name: &str, all: Vec<Answer>, below: Option<u64>) -> NodeEdges {
    let mut items = Vec::new();
    for (at, one) in all.iter().enumerate() {
        for (verdict, ids) in &one.ids {
            let ids = ids.iter().copied();
            items.push(Alike {
                edge: at as u32,
                exempt: false,
                what: verdict.as_str().into(),
                ids: ids
                    .filter(|id| below.is_none_or(|below| *id < below))
                    .collect(),
            });
        }
    }
    let edges = all.into_iter().map(|one| EdgeRecord {
        node: Some(name.into()),
        ..one.edge
    });
    NodeEdges {
        edges: EdgeList {
            schema: SCHEMA,
            node: Some(name.into()),
            generated: Time::default(),
            window_seconds: 600,
            nodes: None,
            watched: Watched::default(),
            items: edges.collect(),
        },
        identities: Identities { below, items },
    }
}

fn joined(answers: Vec<NodeEdges>) -> Vec<EdgeRecord> {
    let items = join(answers, Nodes::default()).items;
    for edge in &items {
        let Coverage {
            complete,
            partial,
            unobserved,
        } = edge.coverage;
        assert_eq!(
            complete + partial + unobserved,
            edge.connections,
            "{edge:?}"
        );
    }
    items
}

fn web() -> Peer {
    end("web", Kind::Deployment)
}

fn db() -> Peer {
    end("db", Kind::Deployment)
}

#[test]
fn n_connections_are_n_and_through_a_service_are_its_workloads() {
    let ids = [(Verdict::Mtls, vec![1, 2, 3])];
    let service = end("db", Kind::Service);
    let one = joined(vec![
        node(
            "a",
            vec![answer(Reporter::Source, web(), service, &ids)],
            None,
        ),
        node(
            "b",
            vec![answer(Reporter::Destination, web(), db(), &ids)],
            None,
        ),
    ]);
    let [edge] = one.as_slice() else {
        panic!("{one:?}");
    };
    assert_eq!(edge.connections, 3);
    assert_eq!(edge.reporter, Some(Reporter::Both.into()));
    assert_eq!(edge.dst.kind(), Some(Kind::Deployment));
    assert_eq!(edge.node.as_deref(), Some("b"));
    assert_eq!(edge.mark, Some(Mark::Mutual.into()));
    assert!(edge.disagreements.is_empty());
}

#[test]
fn what_one_side_alone_saw_stays_and_says_which() {
    // The server's node missed one plaintext connection, and saw one of another client.
    let client = [(Verdict::Mtls, vec![1, 2]), (Verdict::Plaintext, vec![3])];
    let server = [(Verdict::Mtls, vec![1, 2, 9])];
    let service = end("db", Kind::Service);
    let all = joined(vec![
        node(
            "a",
            vec![answer(Reporter::Source, web(), service, &client)],
            None,
        ),
        node(
            "b",
            vec![answer(Reporter::Destination, web(), db(), &server)],
            None,
        ),
    ]);
    assert_eq!(all.len(), 2, "{all:?}");
    let by = |reporter: Reporter| {
        let mut all = all.iter();
        all.find(|edge| edge.reporter == Some(reporter.into()))
            .unwrap()
    };
    assert_eq!(by(Reporter::Both).connections, 3);
    let alone = by(Reporter::Source);
    assert_eq!(alone.connections, 1);
    assert_eq!(alone.mark, Some(Mark::Clear.into()));
    assert_eq!(alone.verdict, Some(Verdict::Plaintext.into()));
    assert_eq!(
        alone.verdict_counts,
        [(Verdict::Plaintext.into(), 1)].into()
    );
}

#[test]
fn a_client_that_was_translated_has_the_name_its_own_node_gives_it() {
    let mut node_1 = end("node-1", Kind::Node);
    node_1.workload.as_mut().unwrap().namespace = "".into();
    let (ours, others) = (vec![1, 2], vec![3, 4, 5]);
    let seen = [(
        Verdict::Plaintext,
        [ours.clone(), others.clone(), vec![7]].concat(),
    )];
    let all = joined(vec![
        node(
            "a",
            vec![
                answer(Reporter::Source, web(), db(), &[(Verdict::Plaintext, ours)]),
                answer(
                    Reporter::Source,
                    end("api", Kind::Pod),
                    db(),
                    &[(Verdict::Plaintext, others)],
                ),
            ],
            None,
        ),
        node(
            "b",
            vec![answer(Reporter::Destination, node_1, db(), &seen)],
            None,
        ),
    ]);
    let counts: BTreeMap<_, _> = all
        .iter()
        .map(|edge| (edge.src.name().into_owned(), edge.connections))
        .collect();
    let wanted = [("web", 2), ("api", 3), ("node-1", 1)];
    assert_eq!(counts, wanted.map(|(name, n)| (name.to_owned(), n)).into());
    assert!(all.iter().all(|edge| edge.mark == Some(Mark::Clear.into())));
}

#[test]
fn a_disagreement_is_reported_with_both_and_the_worse_one_counts() {
    let all = joined(vec![
        node(
            "a",
            vec![answer(
                Reporter::Source,
                web(),
                db(),
                &[(Verdict::Plaintext, vec![1])],
            )],
            None,
        ),
        node(
            "b",
            vec![answer(
                Reporter::Destination,
                web(),
                db(),
                &[(Verdict::Mtls, vec![1, 2])],
            )],
            None,
        ),
    ]);
    let [edge] = all.as_slice() else {
        panic!("{all:?}");
    };
    assert_eq!(edge.connections, 2);
    let both = "source plaintext, destination mtls";
    assert_eq!(edge.disagreements, [(both.into(), 1)].into());
    assert_eq!(edge.mark, Some(Mark::Clear.into()));
    assert!(edge.reason.as_ref().unwrap().contains(both));
    // Having seen less is not a disagreement.
    let less = joined(vec![
        node(
            "a",
            vec![answer(
                Reporter::Source,
                web(),
                db(),
                &[(Verdict::TlsUnproven, vec![1])],
            )],
            None,
        ),
        node(
            "b",
            vec![answer(
                Reporter::Destination,
                web(),
                db(),
                &[(Verdict::Mtls, vec![1])],
            )],
            None,
        ),
    ]);
    assert!(less[0].disagreements.is_empty());
    assert_eq!(less[0].mark, Some(Mark::Mutual.into()));
}

#[test]
fn within_a_node_and_from_nodes_that_are_silent_nothing_is_lost() {
    let ids = [(Verdict::Mtls, vec![1, 2])];
    let both = joined(vec![node(
        "a",
        vec![answer(Reporter::Both, web(), db(), &ids)],
        None,
    )]);
    assert_eq!(both[0].connections, 2);
    let alone = joined(vec![node(
        "a",
        vec![answer(Reporter::Source, web(), db(), &ids)],
        None,
    )]);
    assert_eq!(alone[0].connections, 2);
    assert_eq!(alone[0].reporter, Some(Reporter::Source.into()));
    assert!(joined(Vec::new()).is_empty());
    // An invalid index belongs to no edge.
    let mut wrong = node("a", vec![answer(Reporter::Source, web(), db(), &ids)], None);
    wrong.identities.items[0].edge = 9;
    assert_eq!(joined(vec![wrong])[0].connections, 2);
}

#[test]
fn a_sample_stands_for_all_and_hides_nothing() {
    let all: Vec<u64> = (0..1_000).collect();
    let service = end("db", Kind::Service);
    let with = |client: Vec<(Verdict, Vec<u64>)>, below| {
        joined(vec![
            node(
                "a",
                vec![answer(Reporter::Source, web(), service.clone(), &client)],
                Some(below),
            ),
            node(
                "b",
                vec![answer(
                    Reporter::Destination,
                    web(),
                    db(),
                    &[(Verdict::Mtls, all.clone())],
                )],
                Some(100),
            ),
        ])
    };
    let joined = with(vec![(Verdict::Mtls, all.clone())], 50);
    assert_eq!(joined.len(), 1, "{joined:?}");
    assert_eq!(joined[0].connections, 1_000);
    // A plaintext connection outside the sample stays, and so does one inside it without a match.
    for hidden in [5_000, 20_000] {
        let all = with(
            vec![
                (Verdict::Mtls, all.clone()),
                (Verdict::Plaintext, vec![hidden]),
            ],
            50,
        );
        let clear = all
            .iter()
            .find(|edge| edge.mark == Some(Mark::Clear.into()));
        assert_eq!(clear.unwrap().connections, 1);
    }
}

#[test]
fn what_has_no_id_is_counted_once_where_the_server_has_as_much() {
    let with = |servers: u64| {
        let mut client = answer(
            Reporter::Source,
            web(),
            db(),
            &[(Verdict::TlsUnproven, vec![1, 2])],
        );
        let ids: Vec<u64> = (0..servers).collect();
        let mut server = answer(
            Reporter::Destination,
            web(),
            db(),
            &[(Verdict::TlsUnproven, ids)],
        );
        client.ids.clear();
        server.ids.clear();
        let all = joined(vec![
            node("a", vec![client], None),
            node("b", vec![server], None),
        ]);
        all.iter().map(|edge| edge.connections).sum::<u64>()
    };
    assert_eq!(with(2), 2);
    assert_eq!(with(3), 3);
    assert_eq!(with(1), 3);
}
