//! Joins the connections of several nodes into one list: one that both its client's node and its
//! server's node saw appears once. It is identified by its initial sequence numbers.

use std::net::SocketAddr;

use hashbrown::HashMap;
use smol_str::SmolStr;

use super::{
    FlowList, FlowRecord, History, Nodes, Peer, Reporter, SCHEMA, Time, Transport, Verdict,
    Watched, Word,
};

/// Joins the answers of nodes; `nodes` says which nodes answered.
pub fn join_flows(answers: Vec<FlowList>, nodes: Nodes) -> FlowList {
    let mut list = envelope(&answers, nodes);
    let all: usize = answers.iter().map(|answer| answer.items.len()).sum();
    let mut items = Vec::<FlowRecord>::with_capacity(all);
    let mut places = HashMap::<Key, usize>::new();
    for mut flow in answers.into_iter().flat_map(|answer| answer.items) {
        let key = key(&flow);
        let place = key.as_ref().and_then(|key| places.get(key)).copied();
        match place {
            Some(at) if ends(&items[at], &flow) => {
                if disagree(&items[at], &flow) {
                    let told = [&items[at], &flow].map(differs);
                    let [first, second] = told;
                    items[at].notes.push(second);
                    flow.notes.push(first);
                    items.push(flow);
                } else {
                    let first = std::mem::take(&mut items[at]);
                    items[at] = one(first, flow);
                }
            }
            _ => {
                places.extend(key.map(|key| (key, items.len())));
                items.push(flow);
            }
        }
    }
    items.sort_by_key(|flow| flow.last_seen);
    list.items = items;
    list
}

/// What identifies two reports as those of one connection: its identity, or both addresses if its
/// start was not seen.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Id(SmolStr),
    Ends(Word<Transport>, SocketAddr, SocketAddr),
}

fn key(flow: &FlowRecord) -> Option<Key> {
    let address = |peer: &Peer| Some(SocketAddr::new(peer.ip?, peer.port?));
    let ends = || {
        let (src, dst) = (address(&flow.src)?, address(&flow.dst)?);
        Some(Key::Ends(flow.transport.clone(), src, dst))
    };
    flow.id.clone().map(Key::Id).or_else(ends)
}

/// Whether they are from the two ends of a connection: one from the client's node, the other from
/// the server's.
fn ends(a: &FlowRecord, b: &FlowRecord) -> bool {
    let reporters = [&a.reporter, &b.reporter].map(|word| word.as_ref()?.known());
    matches!(
        reporters,
        [Some(Reporter::Source), Some(Reporter::Destination)]
            | [Some(Reporter::Destination), Some(Reporter::Source)]
    ) && a.node != b.node
}

/// Whether both are certain but disagree.
fn disagree(a: &FlowRecord, b: &FlowRecord) -> bool {
    a.verdict != b.verdict && is_sure(a) && is_sure(b)
}

/// Whether the verdict is based on what was seen: neither nothing nor too little.
fn is_sure(flow: &FlowRecord) -> bool {
    let sure = [
        Verdict::Mtls,
        Verdict::Tls,
        Verdict::Plaintext,
        Verdict::Opaque,
    ];
    flow.exempt.is_none() && sure.iter().any(|verdict| flow.verdict == *verdict)
}

fn differs(flow: &FlowRecord) -> String {
    let node = flow.node.as_deref().unwrap_or("?");
    format!(
        "disagreement: at the other end, the node {node} saw {}",
        flow.verdict
    )
}

/// Merges two records of a connection: that of the server's node is used, unless only the client's
/// is certain. Each end is named by its own node, which sees it before its address is translated.
fn one(a: FlowRecord, b: FlowRecord) -> FlowRecord {
    let (client, server) = if a.reporter == Some(Reporter::Source.into()) {
        (a, b)
    } else {
        (b, a)
    };
    let (src, dst) = (client.src.clone(), server.dst.clone());
    let service = client.service.or(server.service);
    let first_seen = client.first_seen.min(server.first_seen);
    let last_seen = client.last_seen.max(server.last_seen);
    let told = if is_sure(&client) && !is_sure(&server) {
        client
    } else {
        server
    };
    FlowRecord {
        reporter: Some(Reporter::Both.into()),
        src,
        dst,
        service,
        first_seen,
        last_seen,
        ..told
    }
}

/// The envelope of the list.
fn envelope(answers: &[FlowList], nodes: Nodes) -> FlowList {
    let watched = answers.iter().filter_map(|one| one.watched);
    let histories: Option<Vec<History>> = answers.iter().map(|one| one.history).collect();
    FlowList {
        schema: SCHEMA,
        node: None,
        generated: answers
            .iter()
            .map(|one| one.generated)
            .max()
            .unwrap_or_else(Time::default),
        window_seconds: answers
            .iter()
            .map(|one| one.window_seconds)
            .max()
            .unwrap_or(0),
        nodes: Some(nodes),
        watched: Some(Watched::sum(&watched)),
        history: histories.map(|all| History {
            capacity: all.iter().map(|one| one.capacity).sum(),
            forgotten: all.iter().map(|one| one.forgotten).sum(),
            // Everything is included only as far back as every node reaches.
            since: all
                .iter()
                .map(|one| one.since)
                .collect::<Option<Vec<_>>>()
                .and_then(|all| all.into_iter().max()),
        }),
        items: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Workload;

    fn flow(node: &str, reporter: Reporter, id: Option<&str>, verdict: Verdict) -> FlowRecord {
        FlowRecord {
            node: Some(node.into()),
            id: id.map(Into::into),
            reporter: Some(reporter.into()),
            verdict: verdict.into(),
            ..FlowRecord::default()
        }
    }

    fn named(name: &str) -> Peer {
        Peer {
            workload: Some(Workload {
                name: name.into(),
                ..Workload::default()
            }),
            ..Peer::default()
        }
    }

    fn list(items: Vec<FlowRecord>) -> FlowList {
        FlowList {
            schema: SCHEMA,
            node: items.first().and_then(|flow| flow.node.clone()),
            generated: Time::default(),
            window_seconds: 600,
            nodes: None,
            watched: Some(Watched {
                interfaces: 2,
                ..Watched::default()
            }),
            history: Some(History {
                capacity: 10,
                forgotten: 1,
                since: Some(Time::from_nanos(items.len() as u64)),
            }),
            items,
        }
    }

    #[test]
    fn a_connection_of_two_nodes_is_one_and_each_end_is_named_by_its_own() {
        let mut client = flow("a", Reporter::Source, Some("1"), Verdict::Mtls);
        client.src = named("web");
        client.dst = named("service");
        let mut server = flow("b", Reporter::Destination, Some("1"), Verdict::Mtls);
        server.src = named("node");
        server.dst = named("cart");
        for answers in [
            [vec![client.clone()], vec![server.clone()]],
            [vec![server], vec![client]],
        ] {
            let joined = join_flows(answers.map(list).into(), Nodes::default());
            let [one] = &joined.items[..] else {
                panic!("{:?}", joined.items)
            };
            assert_eq!(
                (one.src.name(), one.dst.name()),
                ("web".into(), "cart".into())
            );
            assert_eq!(one.reporter, Some(Reporter::Both.into()));
            assert_eq!(one.verdict, Verdict::Mtls);
            assert_eq!(joined.watched.unwrap().interfaces, 4);
            let history = joined.history.unwrap();
            assert_eq!((history.capacity, history.forgotten), (20, 2));
        }
    }

    #[test]
    fn who_is_sure_is_believed_and_who_disagrees_is_shown() {
        let join = |client: Verdict, server: Verdict| {
            let client = flow("a", Reporter::Source, Some("1"), client);
            let server = flow("b", Reporter::Destination, Some("1"), server);
            join_flows(
                vec![list(vec![client]), list(vec![server])],
                Nodes::default(),
            )
            .items
        };
        for (client, server) in [
            (Verdict::Plaintext, Verdict::Unobserved),
            (Verdict::NoData, Verdict::Plaintext),
        ] {
            let items = join(client, server);
            assert_eq!(items.len(), 1);
            assert_eq!(items[0].verdict, Verdict::Plaintext);
        }
        let both = join(Verdict::Mtls, Verdict::Plaintext);
        assert_eq!(both.len(), 2);
        for flow in &both {
            assert!(flow.notes[0].starts_with("disagreement: "), "{flow:?}");
        }
    }

    #[test]
    fn what_is_not_known_to_be_one_stays_apart() {
        let flows = |id: Option<&str>, reporters: [Reporter; 2]| {
            let all = [("a", reporters[0]), ("b", reporters[1])];
            let all =
                all.map(|(node, reporter)| list(vec![flow(node, reporter, id, Verdict::Mtls)]));
            join_flows(all.into(), Nodes::default()).items.len()
        };
        let two = [Reporter::Source, Reporter::Destination];
        assert_eq!(flows(Some("1"), two), 1);
        assert_eq!(flows(None, two), 2);
        // By its addresses, if its start was not seen.
        let at = |port: u16| Peer {
            ip: Some("10.0.0.1".parse().unwrap()),
            port: Some(port),
            workload: None,
        };
        let mut late = two.map(|reporter| flow("a", reporter, None, Verdict::TlsUnproven));
        late[1].node = Some("b".into());
        for one in &mut late {
            (one.src, one.dst) = (at(1), at(2));
        }
        let late = join_flows(late.map(|one| list(vec![one])).into(), Nodes::default());
        assert_eq!(late.items.len(), 1);
        // The same numbers at the same end are another connection.
        assert_eq!(flows(Some("1"), [Reporter::Source; 2]), 2);
        assert_eq!(flows(Some("1"), [Reporter::Both; 2]), 2);
    }
}
