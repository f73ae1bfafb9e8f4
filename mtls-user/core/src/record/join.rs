//! The edges of several nodes as one list: a connection that its client's node and its server's node
//! both saw is one, known by its initial sequence numbers.
//!
//! The server's node is believed for how many there are, as it sees every client; the client's for
//! who the client is, as addresses are translated on the way. What only one of them saw stays, and
//! its `reporter` says who.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use smol_str::{SmolStr, format_smolstr};

use super::identities::NodeEdges;
use super::{
    Cause, Coverage, EdgeList, EdgeRecord, Exempt, Mark, Nodes, Reporter, SCHEMA, Time, Verdict,
    Watched, Word, severity,
};

/// Connections by what they are: exempt or not, and as what.
type Counts = BTreeMap<(bool, SmolStr), u64>;

/// An edge while it is joined.
struct Part {
    edge: EdgeRecord,
    /// Its connections with an id within the sample.
    known: Counts,
}

/// Where a connection is on its server's node.
#[derive(Clone, Copy)]
struct Place {
    part: usize,
    /// Which kind of it, in `whats`.
    what: u32,
}

/// What a client's edge and a server's have in common.
#[derive(Default)]
struct Common {
    client: Counts,
    server: Counts,
    /// Both are sure, and not of the same.
    disagreements: BTreeMap<SmolStr, u64>,
    /// The worst that the client's node is sure of where the server's is sure of something else.
    worst: Option<Mark>,
}

/// Joins the answers of nodes; `nodes` says who gave one.
pub fn join(answers: Vec<NodeEdges>, nodes: Nodes) -> EdgeList {
    let mut list = envelope(&answers, nodes);
    // A sample is the same one everywhere below the smallest bound.
    let bound = answers.iter().filter_map(|one| one.identities.below).min();
    let within = |id: &u64| bound.is_none_or(|bound| *id < bound);
    let mut whats = Vec::<(bool, SmolStr)>::new();
    let mut numbers = HashMap::<(bool, SmolStr), u32>::new();
    let mut parts = Vec::new();
    let mut seen = Vec::new();
    for answer in answers {
        let first = parts.len();
        let edges = answer.edges.items.into_iter();
        parts.extend(edges.map(|edge| Part {
            edge,
            known: Counts::new(),
        }));
        for mut alike in answer.identities.items {
            let part = first + alike.edge as usize;
            let Some(known) = parts.get_mut(part).map(|part: &mut Part| &mut part.known) else {
                continue;
            };
            alike.ids.retain(&within);
            let what = (alike.exempt, alike.what);
            *known.entry(what.clone()).or_default() += alike.ids.len() as u64;
            let number = *numbers.entry(what).or_insert_with_key(|what| {
                whats.push(what.clone());
                whats.len() as u32 - 1
            });
            seen.push((part, number, alike.ids));
        }
    }
    let at_client = |part: &Part| part.edge.reporter == Some(Reporter::Source.into());
    let mut places = HashMap::<u64, Place>::new();
    for (part, what, ids) in &seen {
        if !at_client(&parts[*part]) {
            let place = Place {
                part: *part,
                what: *what,
            };
            places.extend(ids.iter().map(|id| (*id, place)));
        }
    }
    let mut pairs = BTreeMap::<(usize, usize), Common>::new();
    for (part, what, ids) in &seen {
        if !at_client(&parts[*part]) {
            continue;
        }
        for place in ids.iter().filter_map(|id| places.get(id)) {
            let common = pairs.entry((*part, place.part)).or_default();
            common.take(&whats[*what as usize], &whats[place.what as usize]);
        }
    }
    drop((places, seen));
    let mut items = Vec::with_capacity(parts.len());
    for ((client, server), common) in pairs {
        let (client, server) = two(&mut parts, client, server);
        items.extend(settle(client, server, &common, bound.is_some()));
    }
    drop_what_was_never_identified(&mut parts);
    items.extend(parts.into_iter().map(|part| part.edge));
    items.retain(|edge| edge.connections > 0);
    list.items = EdgeRecord::fold(items);
    list
}

/// What is around the list.
fn envelope(answers: &[NodeEdges], nodes: Nodes) -> EdgeList {
    let all = answers.iter().map(|one| &one.edges);
    let sum = |part: fn(&Watched) -> Option<u64>| {
        all.clone()
            .try_fold(0, |sum, one| Some(sum + part(&one.watched)?))
    };
    EdgeList {
        schema: SCHEMA,
        node: None,
        generated: all
            .clone()
            .map(|one| one.generated)
            .max()
            .unwrap_or_else(Time::default),
        window_seconds: all.clone().map(|one| one.window_seconds).max().unwrap_or(0),
        nodes: Some(nodes),
        watched: Watched {
            interfaces: all.clone().map(|one| one.watched.interfaces).sum(),
            interfaces_failed: all.clone().map(|one| one.watched.interfaces_failed).sum(),
            samples_lost: sum(|watched| watched.samples_lost),
            pods: sum(|watched| watched.pods),
            pods_watched: sum(|watched| watched.pods_watched),
        },
        items: Vec::new(),
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

/// It was seen what it is: neither nothing nor too little was.
fn is_sure((exempt, what): &(bool, SmolStr)) -> bool {
    let verdict = Word::<Verdict>::from(what.as_str()).known();
    !exempt
        && matches!(
            verdict,
            Some(Verdict::Mtls | Verdict::Tls | Verdict::Plaintext | Verdict::Opaque)
        )
}

/// Counts what both have once: the client's edge gives it up. Where the server's node took the client
/// for somebody else, that is an edge of its own, between who each end says it is.
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
        // Of the client, what the server's node could not know.
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
    /// How many connections a part of the sample stands for.
    fn scaled(&self, some: &Counts, sampled: bool) -> Counts {
        if !sampled {
            return some.clone();
        }
        let scale = |(what, n): (&(bool, SmolStr), &u64)| {
            let of = self.known.get(what).copied().unwrap_or(*n).max(1);
            // Rounded down: what is given up is not told any more.
            (what.clone(), count(&self.edge, what) * n / of)
        };
        some.iter().map(scale).collect()
    }
}

/// Connections whose start neither node saw have no id. Where both have as many between the same
/// workloads, and the server's node says nothing better of them, they are taken for the same.
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
        if part.edge.reporter != Some(Reporter::Source.into()) && n > 0 {
            let place = at_server.entry(ends(&part.edge)).or_insert((0, None));
            place.0 += n;
            place.1 = [place.1.take(), part.edge.mark.clone()]
                .into_iter()
                .flatten()
                .min();
        }
    }
    for part in parts {
        if part.edge.reporter != Some(Reporter::Source.into()) {
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

/// Leaves an edge with these connections alone.
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

/// Takes connections out of an edge. Its bounded sets stay: they are of all of them.
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
    // What was seen whole goes first: what is left is not made to look better than it is.
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

/// Takes from the most frequent causes until there are `n`; the one that names the edge goes last.
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

/// Takes at most `n`; how many that were.
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

/// Two different ones of many.
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
