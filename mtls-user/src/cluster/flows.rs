//! The connections of all nodes, each once.

use std::collections::HashMap;
use std::net::SocketAddr;

use mtls_core::record::{
    FlowList, FlowRecord, History, Nodes, Peer, SCHEMA, Transport, Watched, Word, severity,
};
use smol_str::SmolStr;

use super::Cluster;

/// Connections that all daemons together may report, and one at the least and at the most.
const FLOWS: (usize, usize, usize) = (1 << 18, 1 << 10, 1 << 15);

impl Cluster {
    /// The connections that the nodes remember, the latest last.
    pub(crate) async fn flows(&self) -> anyhow::Result<FlowList> {
        let (all, least, most) = FLOWS;
        let each = (all / self.daemons.all.len().max(1)).clamp(least, most);
        let path = self.path("/v1/flows", &[format!("connections={each}")]);
        let asked = self.ask::<FlowList>(&path).await;
        self.somebody(&asked.nodes)?;
        Ok(join(asked.answers, asked.nodes))
    }
}

/// What makes two reports those of one connection: its identity, or its ends.
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

/// The answers as one. Of a connection that two nodes tell of, the one is kept that saw all of it, and
/// of two that did, the worse.
fn join(answers: Vec<FlowList>, nodes: Nodes) -> FlowList {
    let mut list = FlowList {
        schema: SCHEMA,
        node: None,
        generated: answers
            .iter()
            .map(|one| one.generated)
            .max()
            .unwrap_or_default(),
        window_seconds: answers
            .iter()
            .map(|one| one.window_seconds)
            .max()
            .unwrap_or_default(),
        nodes: Some(nodes),
        watched: None,
        history: None,
        items: Vec::new(),
    };
    let mut places = HashMap::new();
    for answer in answers {
        if let Some(own) = answer.watched {
            add(list.watched.get_or_insert_default(), own);
        }
        if let Some(own) = answer.history {
            let all = list.history.get_or_insert_with(|| History {
                since: own.since,
                ..History::default()
            });
            all.capacity += own.capacity;
            all.forgotten += own.forgotten;
            // All that ended is there since the latest of these times.
            all.since = all.since.zip(own.since).map(|(a, b)| a.max(b));
        }
        for flow in answer.items {
            let place = key(&flow).map(|key| *places.entry(key).or_insert(list.items.len()));
            match place.and_then(|place| list.items.get_mut(place)) {
                Some(own) => {
                    if is_better(&flow, own) {
                        *own = flow;
                    }
                }
                None => list.items.push(flow),
            }
        }
    }
    list.items.sort_by_key(|flow| flow.last_seen);
    list
}

fn is_better(flow: &FlowRecord, own: &FlowRecord) -> bool {
    match (flow.is_complete(), own.is_complete()) {
        (true, false) => true,
        (false, true) => false,
        _ => severity(&flow.verdict) < severity(&own.verdict),
    }
}

/// Counts that one node does not know are not known of all.
fn add(all: &mut Watched, own: Watched) {
    let first = *all == Watched::default();
    let sum = |a: Option<u64>, b: Option<u64>| if first { b } else { Some(a? + b?) };
    *all = Watched {
        interfaces: all.interfaces + own.interfaces,
        interfaces_failed: all.interfaces_failed + own.interfaces_failed,
        samples_lost: sum(all.samples_lost, own.samples_lost),
        pods: sum(all.pods, own.pods),
        pods_watched: sum(all.pods_watched, own.pods_watched),
    };
}

#[cfg(test)]
mod tests {
    use mtls_core::record::{Origin, Time, Verdict};

    use super::*;

    fn flow(id: Option<&str>, port: u16, verdict: Verdict, whole: bool, seen: i64) -> FlowRecord {
        let peer = |ip: &str, port| Peer {
            ip: Some(ip.parse().unwrap()),
            port: Some(port),
            workload: None,
        };
        FlowRecord {
            id: id.map(Into::into),
            src: peer("10.0.0.1", port),
            dst: peer("10.0.0.2", 443),
            verdict: verdict.into(),
            origin: if whole {
                Origin::Syn
            } else {
                Origin::Midstream
            }
            .into(),
            last_seen: Time::from_seconds(seen),
            ..FlowRecord::default()
        }
    }

    fn answer(items: Vec<FlowRecord>) -> FlowList {
        FlowList {
            watched: Some(Watched {
                interfaces: 2,
                pods: Some(3),
                ..Watched::default()
            }),
            history: Some(History {
                capacity: 10,
                forgotten: 1,
                since: Some(Time::from_seconds(5)),
            }),
            items,
            ..join(Vec::new(), Nodes::default())
        }
    }

    #[test]
    fn a_connection_that_two_nodes_saw_is_there_once() {
        let a = answer(vec![
            flow(Some("a"), 1, Verdict::Mtls, true, 9),
            flow(None, 2, Verdict::TlsUnproven, false, 8),
            flow(Some("c"), 3, Verdict::Mtls, true, 7),
        ]);
        let b = answer(vec![
            flow(Some("a"), 1, Verdict::TlsUnproven, false, 9),
            flow(None, 2, Verdict::TlsUnproven, false, 8),
            flow(Some("c"), 3, Verdict::Plaintext, true, 7),
            flow(Some("d"), 4, Verdict::Tls, true, 6),
        ]);
        for answers in [vec![a.clone(), b.clone()], vec![b, a]] {
            let all = join(answers, Nodes::default());
            let verdicts: Vec<_> = all.items.iter().map(|flow| flow.verdict.as_str()).collect();
            // What was seen whole, and of two that were the worse.
            assert_eq!(verdicts, ["tls", "plaintext", "tls-unproven", "mtls"]);
            let watched = all.watched.unwrap();
            assert_eq!((watched.interfaces, watched.pods), (4, Some(6)));
            let history = all.history.unwrap();
            assert_eq!((history.capacity, history.forgotten), (20, 2));
        }
    }
}
