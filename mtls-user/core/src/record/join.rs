//! Joins the edges of several nodes into one list: a connection that both its client's node and its
//! server's node saw is counted once. It is identified by its initial sequence numbers.
//!
//! The number of connections comes from the server's node, because it sees every client. The
//! client's name comes from the client's node, because addresses are translated on the way. What
//! only one of them saw is kept, and its `reporter` says which.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use smol_str::{SmolStr, format_smolstr};

use super::identities::{Identities, NodeEdges};
use super::{
    Cause, Coverage, EdgeKey, EdgeList, EdgeRecord, Exempt, Mark, Nodes, Reporter, SCHEMA, Time,
    Verdict, Watched, Word, severity,
};

/// Connections by verdict, or by class if they are exempt.
type Counts = BTreeMap<(bool, SmolStr), u64>;

/// What nodes have counted for an edge at one of its ends, during the join.
struct Part {
    edge: EdgeRecord,
    /// Its connections with an id within the sample.
    known: Counts,
}

/// A connection with an id.
#[derive(Clone, Copy)]
struct Seen {
    id: u64,
    part: u32,
    /// Its verdict or class, as an index into `whats`.
    what: u32,
}

/// What a client's edge and a server's have in common.
#[derive(Default)]
struct Common {
    client: Counts,
    server: Counts,
    /// Both nodes are certain, but disagree.
    disagreements: BTreeMap<SmolStr, u64>,
    /// The worst verdict that the client's node is certain of, where the server's is certain of
    /// another.
    worst: Option<Mark>,
}

/// Joins the answers of nodes; `nodes` says which nodes answered.
pub fn join(answers: impl IntoIterator<Item = NodeEdges>, nodes: Nodes) -> EdgeList {
    let mut joiner = Joiner::default();
    answers.into_iter().for_each(|answer| joiner.add(answer));
    joiner.finish(nodes)
}

/// Joins answers one by one. An edge that many nodes report is kept once per end, so that the
/// memory does not grow with the number of nodes.
#[derive(Default)]
pub struct Joiner {
    around: Around,
    parts: Vec<Part>,
    places: HashMap<(EdgeKey, Option<Word<Reporter>>), u32>,
    whats: Vec<(bool, SmolStr)>,
    numbers: HashMap<(bool, SmolStr), u32>,
    /// What clients' nodes saw, and what servers' nodes saw.
    seen: [Vec<Seen>; 2],
    /// Below the smallest bound, the sample is the same on every node.
    bound: Option<u64>,
}

impl Joiner {
    /// Adds the answer of a node.
    pub fn add(&mut self, answer: NodeEdges) {
        self.around.add(&answer.edges);
        let Identities { below, items } = answer.identities;
        self.bound = [self.bound, below].into_iter().flatten().min();
        let edges = answer.edges.items.into_iter();
        let parts: Vec<u32> = edges.map(|edge| self.part(edge)).collect();
        for alike in items {
            let Some(part) = parts.get(alike.edge as usize).copied() else {
                continue;
            };
            let what = self.what((alike.exempt, alike.what));
            let at_client = self.parts[part as usize].is_at_client();
            let bound = self.bound;
            let within = alike
                .ids
                .into_iter()
                .filter(|id| bound.is_none_or(|bound| *id < bound));
            self.seen[usize::from(!at_client)].extend(within.map(|id| Seen { id, part, what }));
        }
    }

    /// The index of the edge to which further counts are added.
    fn part(&mut self, edge: EdgeRecord) -> u32 {
        let next = self.parts.len() as u32;
        let place = (edge.key(), edge.reporter.clone());
        let at = *self.places.entry(place).or_insert(next);
        if at == next {
            let known = Counts::new();
            self.parts.push(Part { edge, known });
        } else {
            self.parts[at as usize].edge.merge(&edge);
        }
        at
    }

    fn what(&mut self, what: (bool, SmolStr)) -> u32 {
        let whats = &mut self.whats;
        *self.numbers.entry(what).or_insert_with_key(|what| {
            whats.push(what.clone());
            whats.len() as u32 - 1
        })
    }

    /// The complete list; `nodes` says which nodes answered.
    pub fn finish(mut self, nodes: Nodes) -> EdgeList {
        self.places = HashMap::new();
        for seen in &mut self.seen {
            seen.retain(|one| self.bound.is_none_or(|bound| one.id < bound));
            seen.sort_unstable_by_key(|one| one.id);
        }
        for one in self.seen.iter().flatten() {
            let what = self.whats[one.what as usize].clone();
            let known = &mut self.parts[one.part as usize].known;
            *known.entry(what).or_default() += 1;
        }
        let [clients, servers] = &self.seen;
        let mut pairs = BTreeMap::<(u32, u32), Common>::new();
        let mut at = 0;
        for client in clients {
            while servers.get(at).is_some_and(|server| server.id < client.id) {
                at += 1;
            }
            if let Some(server) = servers.get(at).filter(|server| server.id == client.id) {
                let common = pairs.entry((client.part, server.part)).or_default();
                let what = |seen: &Seen| &self.whats[seen.what as usize];
                common.take(what(client), what(server));
            }
        }
        self.seen = <[Vec<Seen>; 2]>::default();
        let mut parts = self.parts;
        let mut items = Vec::new();
        for ((client, server), common) in pairs {
            let (client, server) = two(&mut parts, client as usize, server as usize);
            items.extend(settle(client, server, &common, self.bound.is_some()));
        }
        drop_what_was_never_identified(&mut parts);
        let all = items
            .into_iter()
            .chain(parts.into_iter().map(|part| part.edge));
        let items = EdgeRecord::fold(all.filter(|edge| edge.connections > 0));
        self.around.list(nodes, items)
    }
}

/// The envelope of the list.
#[derive(Default)]
struct Around {
    generated: Option<Time>,
    window_seconds: u64,
    watched: Vec<Watched>,
}

impl Around {
    fn add(&mut self, list: &EdgeList) {
        self.generated = self.generated.max(Some(list.generated));
        self.window_seconds = self.window_seconds.max(list.window_seconds);
        self.watched.push(list.watched);
    }

    fn list(self, nodes: Nodes, items: Vec<EdgeRecord>) -> EdgeList {
        EdgeList {
            schema: SCHEMA,
            node: None,
            generated: self.generated.unwrap_or_default(),
            window_seconds: self.window_seconds,
            nodes: Some(nodes),
            watched: Watched::sum(&self.watched.into_iter()),
            items,
        }
    }
}

impl Common {
    fn take(&mut self, client: &(bool, SmolStr), server: &(bool, SmolStr)) {
        *self.client.entry(client.clone()).or_default() += 1;
        *self.server.entry(server.clone()).or_default() += 1;
        if client != server && is_sure(client) && is_sure(server) {
            let both = format_smolstr!("source {}, destination {}", client.1, server.1);
            *self.disagreements.entry(both).or_default() += 1;
            let verdict = Word::<Verdict>::from(client.1.as_str());
            let mark = Mark::of(&verdict, &Cause::Other.into(), true);
            self.worst = [self.worst, mark].into_iter().flatten().min();
        }
    }
}

/// Whether the verdict is based on what was seen: neither nothing nor too little.
fn is_sure((exempt, what): &(bool, SmolStr)) -> bool {
    let verdict = Word::<Verdict>::from(what.as_str()).known();
    !exempt
        && matches!(
            verdict,
            Some(Verdict::Mtls | Verdict::Tls | Verdict::Plaintext | Verdict::Opaque)
        )
}

/// Counts connections that both have only once: they are removed from the client's edge. If the
/// server's node took the client for another workload, they become an edge of their own, with each
/// end named by its own node.
fn settle(
    client: &mut Part,
    server: &mut Part,
    common: &Common,
    sampled: bool,
) -> Option<EdgeRecord> {
    let of_client = client.scaled(&common.client, sampled);
    let of_server = server.scaled(&common.server, sampled);
    let mut moved = (client.edge.key().src != server.edge.key().src).then(|| {
        let mut edge = server.edge.clone();
        // Information about the client that the server's node could not have.
        edge.src = client.edge.src.clone();
        edge.client_identities = client.edge.client_identities.clone();
        keep(&mut edge, &of_server);
        remove(&mut server.edge, &of_server);
        edge
    });
    remove(&mut client.edge, &of_client);
    for (what, n) in &common.client {
        take(&mut client.known, what, *n);
    }
    let both = Some(Reporter::Both.into());
    let told = moved.as_mut().unwrap_or(&mut server.edge);
    told.reporter = both;
    common.tell(told);
    moved
}

impl Common {
    fn tell(&self, edge: &mut EdgeRecord) {
        for (both, n) in &self.disagreements {
            *edge.disagreements.entry(both.clone()).or_default() += n;
        }
        if let Some(mark) = self.worst
            && edge.mark.as_ref().is_some_and(|own| *own > mark.into())
        {
            edge.mark = Some(mark.into());
            let worst = self.disagreements.keys().next();
            edge.reason = worst
                .map(|both| format_smolstr!("the two ends' nodes saw different things: {both}"));
        }
    }
}

impl Part {
    fn is_at_client(&self) -> bool {
        self.edge.reporter == Some(Reporter::Source.into())
    }

    /// How many connections a part of the sample represents.
    fn scaled(&self, some: &Counts, sampled: bool) -> Counts {
        if !sampled {
            return some.clone();
        }
        let scale = |(what, n): (&(bool, SmolStr), &u64)| {
            let of = self.known.get(what).copied().unwrap_or(*n).max(1);
            // Rounded down: connections that are removed here are no longer reported.
            (what.clone(), count(&self.edge, what) * n / of)
        };
        some.iter().map(scale).collect()
    }
}

/// Connections whose start neither node saw have no id. If both nodes have equally many between the
/// same workloads, and the server's node reports nothing better about them, they are taken for the
/// same.
fn drop_what_was_never_identified(parts: &mut [Part]) {
    let ends = |edge: &EdgeRecord| {
        let key = edge.key();
        (key.src, key.dst.0, key.dst.1, key.transport)
    };
    let nameless = |part: &Part| {
        let known: u64 = part.known.values().sum();
        part.edge.connections.saturating_sub(known)
    };
    let mut at_server = HashMap::new();
    for part in parts.iter() {
        let n = nameless(part);
        if !part.is_at_client() && n > 0 {
            let place = at_server.entry(ends(&part.edge)).or_insert((0, None));
            place.0 += n;
            place.1 = [place.1.take(), part.edge.mark.clone()]
                .into_iter()
                .flatten()
                .min();
        }
    }
    for part in parts {
        if !part.is_at_client() {
            continue;
        }
        let n = nameless(part);
        let all = part.known.values().all(|known| *known == 0);
        let Some((servers, mark)) = at_server.get_mut(&ends(&part.edge)) else {
            continue;
        };
        let no_better = match (&*mark, &part.edge.mark) {
            (Some(servers), Some(own)) => servers <= own,
            (_, None) => true,
            (None, Some(_)) => false,
        };
        if all && n > 0 && *servers >= n && no_better {
            *servers -= n;
            part.edge.connections = 0;
        }
    }
}

fn count(edge: &EdgeRecord, (exempt, what): &(bool, SmolStr)) -> u64 {
    let n = if *exempt {
        edge.exempt_counts.get(&Word::<Exempt>::from(what.as_str()))
    } else {
        edge.verdict_counts
            .get(&Word::<Verdict>::from(what.as_str()))
    };
    n.copied().unwrap_or(0)
}

/// Reduces an edge to these connections.
fn keep(edge: &mut EdgeRecord, some: &Counts) {
    let rest = edge
        .verdict_counts
        .keys()
        .map(|verdict| (false, SmolStr::new(verdict.as_str())))
        .chain(
            edge.exempt_counts
                .keys()
                .map(|class| (true, SmolStr::new(class.as_str()))),
        )
        .map(|what| {
            let all = count(edge, &what);
            let kept = some.get(&what).copied().unwrap_or(0);
            (what, all.saturating_sub(kept))
        })
        .collect();
    remove(edge, &rest);
}

/// Removes connections from an edge. Its bounded sets remain unchanged: they cover all connections.
fn remove(edge: &mut EdgeRecord, some: &Counts) {
    let before = edge.connections;
    for ((exempt, what), n) in some {
        let n = if *exempt {
            take(&mut edge.exempt_counts, &what.as_str().into(), *n)
        } else {
            let verdict = Word::<Verdict>::from(what.as_str());
            let n = take(&mut edge.verdict_counts, &verdict, *n);
            if !edge.verdict_counts.contains_key(&verdict) {
                edge.verdict_seen.remove(&verdict);
            }
            n
        };
        edge.connections = edge.connections.saturating_sub(n);
    }
    if edge.connections == before {
        return;
    }
    edge.open_connections = edge.open_connections.min(edge.connections);
    let Coverage {
        complete,
        partial,
        unobserved,
    } = edge.coverage;
    // Completely seen connections are removed first, so that the rest is not made to look better
    // than it is.
    let whole = complete.min(before - edge.connections);
    let left = before - edge.connections - whole;
    let part = partial.min(left);
    edge.coverage = Coverage {
        complete: complete - whole,
        partial: partial - part,
        unobserved: unobserved.saturating_sub(left - part),
    };
    let verdicts: u64 = edge.verdict_counts.values().sum();
    causes(&mut edge.cause_counts, verdicts, edge.cause.as_ref());
    let worst = edge.verdict_counts.keys().min_by_key(|one| severity(one));
    if worst.is_none() {
        edge.mark = None;
        edge.cause = None;
        edge.reason = None;
        edge.expectation = None;
    }
    if edge.verdict.as_ref() != worst {
        edge.verdict = worst.cloned();
        edge.cause = edge.cause_counts.keys().next().cloned();
        edge.reason = worst.map(|worst| format_smolstr!("{worst}"));
        let whole = edge.coverage.partial + edge.coverage.unobserved == 0;
        let marks = edge.verdict_counts.keys();
        let secret = edge.cause_counts.contains_key(&Cause::SecretInClear.into());
        let cause = if secret {
            Cause::SecretInClear
        } else {
            Cause::Other
        }
        .into();
        let marks = marks.filter_map(|verdict| Mark::of(verdict, &cause, whole));
        edge.mark = worst.map(|_| marks.min().unwrap_or(Mark::Unknown).into());
    }
}

/// Removes from the most frequent causes until there are `n`; the one that determines the edge's
/// verdict goes last.
fn causes(counts: &mut BTreeMap<Word<Cause>, u64>, n: u64, last: Option<&Word<Cause>>) {
    let mut over = counts.values().sum::<u64>().saturating_sub(n);
    while over > 0 {
        let most = counts
            .iter()
            .filter(|(_, n)| **n > 0)
            .max_by_key(|(cause, n)| (Some(*cause) != last, **n));
        let Some(cause) = most.map(|(cause, _)| cause.clone()) else {
            break;
        };
        over -= take(counts, &cause, over);
    }
}

/// Removes at most `n`; returns how many were removed.
fn take<K: Ord>(counts: &mut BTreeMap<K, u64>, key: &K, n: u64) -> u64 {
    let Some(count) = counts.get_mut(key) else {
        return 0;
    };
    let taken = n.min(*count);
    *count -= taken;
    if *count == 0 {
        counts.remove(key);
    }
    taken
}

/// Two different elements of many.
fn two(parts: &mut [Part], a: usize, b: usize) -> (&mut Part, &mut Part) {
    if a < b {
        let (left, right) = parts.split_at_mut(b);
        (&mut left[a], &mut right[0])
    } else {
        let (left, right) = parts.split_at_mut(a);
        (&mut right[0], &mut left[b])
    }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
