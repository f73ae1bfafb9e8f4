//! An edge: the flows from one workload to one port of another, aggregated over a window of time.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{
    Cause, Exempt, Expectation, Mark, Outcome, Peer, Reporter, SCHEMA, Time, Transport, Verdict,
    Word,
};

/// Values that were seen, each with its number of connections; bounded.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Tally {
    /// The values.
    pub values: BTreeMap<SmolStr, u64>,
    /// Connections with values beyond the bound.
    pub other: u64,
}

impl Tally {
    /// Most values kept.
    pub const MAX: usize = 16;

    /// Counts `n` connections with `value`.
    pub fn add(&mut self, value: &SmolStr, n: u64) {
        if let Some(count) = self.values.get_mut(value) {
            *count += n;
        } else if self.values.len() < Self::MAX {
            self.values.insert(value.clone(), n);
        } else {
            self.other += n;
        }
    }

    /// Adds the counts of another set.
    pub fn merge(&mut self, other: &Self) {
        for (value, n) in &other.values {
            self.add(value, *n);
        }
        self.other += other.other;
    }
}

/// When something was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Span {
    /// First.
    pub first_seen: Time,
    /// Last.
    pub last_seen: Time,
}

impl Span {
    /// From the earlier start to the later end.
    pub fn widen(&mut self, other: Self) {
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
    }
}

/// How completely an edge's connections were seen. The three add up to all connections of the edge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Coverage {
    /// Connections seen from their start to their end, or to now, without a lost sample.
    pub complete: u64,
    /// Connections about which something was reported although their start was not seen or samples
    /// of them were lost.
    pub partial: u64,
    /// Connections about which nothing can be determined.
    pub unobserved: u64,
}

impl Coverage {
    fn merge(&mut self, other: Self) {
        self.complete += other.complete;
        self.partial += other.partial;
        self.unobserved += other.unobserved;
    }
}

/// One edge. A node has one for each end at which it saw the flows (`reporter`).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EdgeRecord {
    /// Version of the schema.
    pub schema: u32,
    /// The node that saw it; null if several did.
    pub node: Option<SmolStr>,
    /// The end at which it was seen; null if that could not be determined.
    pub reporter: Option<Word<Reporter>>,
    /// The transport protocol.
    pub transport: Word<Transport>,
    /// The clients' workload.
    pub src: Peer,
    /// The servers' workload, and the port.
    pub dst: Peer,
    /// What the edge amounts to; null if every connection is exempt.
    pub mark: Option<Word<Mark>>,
    /// The worst verdict of its connections; null if every connection is exempt.
    pub verdict: Option<Word<Verdict>>,
    /// Why it has that verdict, as a word.
    pub cause: Option<Word<Cause>>,
    /// Why it has that verdict, as a sentence; that of the latest connection with it.
    pub reason: Option<SmolStr>,
    /// The expectation of the connection with the worst outcome; null if every connection is
    /// exempt.
    pub expectation: Option<Expectation>,
    /// Connections of the window, including exempt ones.
    pub connections: u64,
    /// Those of them that are open now.
    pub open_connections: u64,
    /// Connections that are not exempt, per verdict.
    pub verdict_counts: BTreeMap<Word<Verdict>, u64>,
    /// The same connections, per cause of their verdict.
    pub cause_counts: BTreeMap<Word<Cause>, u64>,
    /// Exempt connections, per class.
    pub exempt_counts: BTreeMap<Word<Exempt>, u64>,
    /// When connections of each verdict were first and last seen, without exempt ones.
    pub verdict_seen: BTreeMap<Word<Verdict>, Span>,
    /// How completely it was seen.
    pub coverage: Coverage,
    /// Application protocols.
    pub protocols: Tally,
    /// TLS versions.
    pub tls_versions: Tally,
    /// Cipher suites.
    pub ciphers: Tally,
    /// Named groups of the key exchange.
    pub groups: Tally,
    /// Clients' identities.
    pub client_identities: Tally,
    /// Servers' identities.
    pub server_identities: Tally,
    /// Connections with an identity that does not match the pod.
    pub mismatches: u64,
    /// Connections for which the nodes at both ends are certain of different verdicts, with both
    /// verdicts.
    pub disagreements: BTreeMap<SmolStr, u64>,
    /// The first packet of any of the connections.
    pub first_seen: Time,
    /// The last packet seen of any of them.
    pub last_seen: Time,
}

impl Default for EdgeRecord {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            node: None,
            reporter: None,
            transport: Word::default(),
            src: Peer::default(),
            dst: Peer::default(),
            mark: None,
            verdict: None,
            cause: None,
            reason: None,
            expectation: None,
            connections: 0,
            open_connections: 0,
            verdict_counts: BTreeMap::new(),
            cause_counts: BTreeMap::new(),
            exempt_counts: BTreeMap::new(),
            verdict_seen: BTreeMap::new(),
            coverage: Coverage::default(),
            protocols: Tally::default(),
            tls_versions: Tally::default(),
            ciphers: Tally::default(),
            groups: Tally::default(),
            client_identities: Tally::default(),
            server_identities: Tally::default(),
            mismatches: 0,
            disagreements: BTreeMap::new(),
            first_seen: Time::default(),
            last_seen: Time::default(),
        }
    }
}

/// What identifies an edge, whoever reports it: both workloads, transport and port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EdgeKey {
    /// Namespace, name and kind of the clients' workload.
    pub src: (SmolStr, SmolStr, SmolStr),
    /// The same of the servers'.
    pub dst: (SmolStr, SmolStr, SmolStr),
    /// The servers' port.
    pub port: Option<u16>,
    /// The transport protocol.
    pub transport: Word<Transport>,
}

impl EdgeKey {
    /// The edge of a flow from `src` to `dst`.
    pub(super) fn between(src: &Peer, dst: &Peer, transport: &Word<Transport>) -> Self {
        let end = |peer: &Peer| {
            let who = peer.workload.as_ref();
            let kind = who.map_or("", |who| who.kind.as_str());
            (
                peer.namespace().unwrap_or_default().into(),
                peer.name().into(),
                kind.into(),
            )
        };
        Self {
            src: end(src),
            dst: end(dst),
            port: dst.port,
            transport: transport.clone(),
        }
    }
}

impl EdgeRecord {
    /// What identifies this edge.
    pub fn key(&self) -> EdgeKey {
        EdgeKey::between(&self.src, &self.dst, &self.transport)
    }

    /// Adds what another node, or the same one at another end, has counted for the same edge. The
    /// connections must not be the same ones.
    pub fn merge(&mut self, other: &Self) {
        if self.node != other.node {
            self.node = None;
        }
        self.reporter = match (&self.reporter, &other.reporter) {
            (Some(Word::Known(own)), Some(Word::Known(others))) => Some(own.and(*others).into()),
            (Some(word), None) | (None, Some(word)) => Some(word.clone()),
            (own, others) if own == others => own.clone(),
            _ => Some(Reporter::Both.into()),
        };
        let latest = self.last_seen >= other.last_seen;
        if is_worse(other, self, latest) {
            self.verdict.clone_from(&other.verdict);
            self.cause.clone_from(&other.cause);
            self.reason.clone_from(&other.reason);
        }
        self.mark = [self.mark.take(), other.mark.clone()]
            .into_iter()
            .flatten()
            .min();
        let rank = |one: &Option<Expectation>| one.as_ref().map(|one| rank(&one.outcome));
        if rank(&other.expectation)
            .is_some_and(|others| rank(&self.expectation).is_none_or(|own| others < own))
        {
            self.expectation.clone_from(&other.expectation);
        }
        self.connections += other.connections;
        self.open_connections += other.open_connections;
        sum(&mut self.verdict_counts, &other.verdict_counts);
        sum(&mut self.cause_counts, &other.cause_counts);
        sum(&mut self.exempt_counts, &other.exempt_counts);
        for (verdict, span) in &other.verdict_seen {
            let own = self.verdict_seen.entry(verdict.clone()).or_insert(*span);
            own.widen(*span);
        }
        self.coverage.merge(other.coverage);
        for (own, others) in [
            (&mut self.protocols, &other.protocols),
            (&mut self.tls_versions, &other.tls_versions),
            (&mut self.ciphers, &other.ciphers),
            (&mut self.groups, &other.groups),
            (&mut self.client_identities, &other.client_identities),
            (&mut self.server_identities, &other.server_identities),
        ] {
            own.merge(others);
        }
        self.mismatches += other.mismatches;
        sum(&mut self.disagreements, &other.disagreements);
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        if let (Some(own), Some(others)) = (&mut self.src.workload, &other.src.workload) {
            own.stale = own.stale.max(others.stale);
        }
        if let (Some(own), Some(others)) = (&mut self.dst.workload, &other.dst.workload) {
            own.stale = own.stale.max(others.stale);
        }
    }

    /// The edges of one node, with what was seen at either end added up.
    pub fn fold(edges: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut folded = BTreeMap::<EdgeKey, Self>::new();
        for edge in edges {
            match folded.entry(edge.key()) {
                std::collections::btree_map::Entry::Vacant(place) => drop(place.insert(edge)),
                std::collections::btree_map::Entry::Occupied(mut own) => own.get_mut().merge(&edge),
            }
        }
        folded.into_values().collect()
    }
}

/// The worst verdict determines the edge's, but one that exposed nothing only if there is no other.
pub fn severity(verdict: &Word<Verdict>) -> (bool, &Word<Verdict>) {
    let nothing = matches!(verdict.known(), Some(Verdict::Failed | Verdict::NoData));
    (nothing, verdict)
}

fn is_worse(other: &EdgeRecord, own: &EdgeRecord, own_is_latest: bool) -> bool {
    match (&other.verdict, &own.verdict) {
        (Some(others), Some(own)) if others == own => !own_is_latest,
        (Some(others), Some(own)) => severity(others) < severity(own),
        (others, own) => others.is_some() && own.is_none(),
    }
}

/// The worst first; an unknown outcome is never assumed to be good.
fn rank(outcome: &Word<Outcome>) -> Outcome {
    outcome.known().unwrap_or(Outcome::Worse)
}

fn sum<K: Ord + Clone>(own: &mut BTreeMap<K, u64>, others: &BTreeMap<K, u64>) {
    for (key, n) in others {
        *own.entry(key.clone()).or_default() += n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(reporter: Reporter, verdict: Verdict, n: u64) -> EdgeRecord {
        EdgeRecord {
            reporter: Some(reporter.into()),
            mark: Mark::of(&verdict.into(), &Cause::Other.into(), true).map(Into::into),
            verdict: Some(verdict.into()),
            verdict_counts: [(verdict.into(), n)].into(),
            connections: n,
            ..EdgeRecord::default()
        }
    }

    #[test]
    fn what_was_seen_at_either_end_is_one_edge() {
        let folded = EdgeRecord::fold([
            edge(Reporter::Source, Verdict::Mtls, 2),
            edge(Reporter::Both, Verdict::Plaintext, 1),
            edge(Reporter::Destination, Verdict::Mtls, 4),
        ]);
        let [one] = folded.as_slice() else {
            panic!("{folded:?}");
        };
        assert_eq!(one.reporter, Some(Reporter::Both.into()));
        assert_eq!(one.mark, Some(Mark::Clear.into()));
        assert_eq!(one.verdict, Some(Verdict::Plaintext.into()));
        assert_eq!(one.connections, 7);
        let counts = [(Verdict::Plaintext.into(), 1), (Verdict::Mtls.into(), 6)];
        assert_eq!(one.verdict_counts, counts.into());
    }

    #[test]
    fn an_exempt_edge_takes_the_name_of_the_other() {
        let mut quiet = EdgeRecord {
            exempt_counts: [(Exempt::NoData.into(), 3)].into(),
            connections: 3,
            ..EdgeRecord::default()
        };
        quiet.merge(&edge(Reporter::Source, Verdict::Tls, 1));
        assert_eq!(quiet.mark, Some(Mark::OneWay.into()));
        assert_eq!(quiet.verdict, Some(Verdict::Tls.into()));
        assert_eq!(quiet.connections, 4);
    }

    #[test]
    fn a_tally_is_bounded_and_loses_no_connection() {
        let mut tally = Tally::default();
        for n in 0..1_000 {
            tally.add(&smol_str::format_smolstr!("spiffe://{}", n % 100), 1);
        }
        assert_eq!(tally.values.len(), Tally::MAX);
        let mut twice = tally.clone();
        twice.merge(&tally);
        assert_eq!(twice.values.values().sum::<u64>() + twice.other, 2_000);
    }
}
