//! Who talks to whom, and how: flows added up to edges between workloads over a window of time.
//!
//! An open flow counts for as long as it is open; a closed one stays counted until the window has
//! passed over its end. The worst flow decides what an edge is called, so one connection in clear
//! is not hidden by a thousand that were not.

mod row;
mod window;

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};
use slab::Slab;
use smol_str::SmolStr;

use mtls_core::record::{Verdict, Workload};
pub use row::{EdgeRow, EdgeStats};
use window::Window;

/// Most edges kept; beyond it, the edge that was quiet longest goes.
const MAX_EDGES: usize = 65_536;

/// A flow as the edge table needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The flow, for as long as this process runs.
    pub flow: u64,
    /// The client.
    pub src: &'a Workload,
    /// The server.
    pub dst: &'a Workload,
    /// What it is said to be now.
    pub verdict: Verdict,
    /// Why, in words.
    pub reason: &'a SmolStr,
    /// The client's identity where the wire showed it.
    pub client_id: Option<&'a SmolStr>,
    /// The server's identity where the wire showed it.
    pub server_id: Option<&'a SmolStr>,
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// The flow has ended: nothing more will come of it.
    pub closed: bool,
}

/// Namespace and name of both ends.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Key {
    src: (SmolStr, SmolStr),
    dst: (SmolStr, SmolStr),
}

impl Key {
    fn new(seen: &Seen<'_>) -> Self {
        let end = |workload: &Workload| (workload.namespace.clone(), workload.name.clone());
        Self {
            src: end(seen.src),
            dst: end(seen.dst),
        }
    }

    fn is_of(&self, seen: &Seen<'_>) -> bool {
        let is = |end: &(SmolStr, SmolStr), workload: &Workload| {
            end.1 == workload.name && end.0 == workload.namespace
        };
        is(&self.src, seen.src) && is(&self.dst, seen.dst)
    }
}

#[derive(Debug)]
struct Edge {
    key: Key,
    src: Workload,
    dst: Workload,
    window: Window,
    /// Per verdict, the reason of the latest flow that had it.
    reasons: BTreeMap<Verdict, SmolStr>,
    client_id: Option<SmolStr>,
    server_id: Option<SmolStr>,
    first_seen: u64,
    last_seen: u64,
}

/// All edges of the window.
#[derive(Debug)]
pub struct EdgeTable {
    window: Duration,
    edges: Slab<Edge>,
    hasher: RandomState,
    /// Where in `edges` each key's edge is.
    index: HashTable<usize>,
    /// Where in `edges` each open flow is counted, and as what.
    open: HashMap<u64, (usize, Verdict)>,
    evicted: u64,
}

impl EdgeTable {
    /// An empty table over `window`.
    pub fn new(window: Duration) -> Self {
        Self {
            window,
            edges: Slab::new(),
            hasher: RandomState::default(),
            index: HashTable::new(),
            open: HashMap::new(),
            evicted: 0,
        }
    }

    /// Takes in what is now known of a flow: new, revised, or closed.
    pub fn observe(&mut self, seen: &Seen<'_>) {
        if let Some((at, verdict)) = self.open.remove(&seen.flow) {
            let edge = &mut self.edges[at];
            edge.window.leave(verdict);
            // A flow that turned out to be between others leaves no empty edge behind.
            if edge.window.is_empty() && !edge.key.is_of(seen) {
                self.remove(at);
            }
        }
        let at = self.find(seen);
        let edge = &mut self.edges[at];
        edge.first_seen = edge.first_seen.min(seen.time);
        edge.last_seen = edge.last_seen.max(seen.time);
        renew(&mut edge.src, seen.src);
        renew(&mut edge.dst, seen.dst);
        for (known, now) in [
            (&mut edge.client_id, seen.client_id),
            (&mut edge.server_id, seen.server_id),
        ] {
            if now.is_some() && known.as_ref() != now {
                *known = now.cloned();
            }
        }
        renew(edge.reasons.entry(seen.verdict).or_default(), seen.reason);
        if seen.closed {
            edge.window.close(seen.verdict, seen.time);
        } else {
            edge.window.enter(seen.verdict);
            self.open.insert(seen.flow, (at, seen.verdict));
        }
    }

    /// Where the flow's edge is, made when there is none.
    fn find(&mut self, seen: &Seen<'_>) -> usize {
        let hash = hash_of(&self.hasher, seen.src, seen.dst);
        let edges = &self.edges;
        if let Some(at) = self.index.find(hash, |at| edges[*at].key.is_of(seen)) {
            return *at;
        }
        if self.edges.len() >= MAX_EDGES {
            self.evict();
        }
        let at = self.edges.insert(Edge {
            key: Key::new(seen),
            src: seen.src.clone(),
            dst: seen.dst.clone(),
            window: Window::new(self.window),
            reasons: BTreeMap::new(),
            client_id: None,
            server_id: None,
            first_seen: seen.time,
            last_seen: seen.time,
        });
        let (edges, hasher) = (&self.edges, &self.hasher);
        let rehash = |at: &usize| hash_of(hasher, &edges[*at].src, &edges[*at].dst);
        self.index.insert_unique(hash, at, rehash);
        at
    }

    fn remove(&mut self, at: usize) {
        let edge = self.edges.remove(at);
        let hash = hash_of(&self.hasher, &edge.src, &edge.dst);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == at) {
            entry.remove();
        }
    }

    /// Lets go of what the window has passed over. `now` in nanoseconds since the Unix epoch.
    pub fn expire(&mut self, now: u64) {
        let mut empty = Vec::new();
        for (at, edge) in &mut self.edges {
            edge.window.advance(now);
            if edge.window.is_empty() {
                empty.push(at);
            }
        }
        for at in empty {
            self.remove(at);
        }
    }

    /// The edges as of `now`, by namespace and name.
    pub fn rows(&mut self, now: u64) -> Vec<EdgeRow> {
        self.expire(now);
        let mut edges: Vec<_> = self.edges.iter().map(|(_, edge)| edge).collect();
        edges.sort_by_key(|edge| &edge.key);
        edges.into_iter().map(Edge::row).collect()
    }

    /// Sizes, for `mtls status`.
    pub fn stats(&self) -> EdgeStats {
        EdgeStats {
            edges: self.edges.len(),
            open_flows: self.open.len(),
            evicted: self.evicted,
        }
    }

    /// Forgets the edge that was quiet longest; its open flows are counted anew when they next speak.
    fn evict(&mut self) {
        let quietest = self.edges.iter().min_by_key(|(_, edge)| edge.last_seen);
        if let Some((at, _)) = quietest {
            self.remove(at);
            self.open.retain(|_, (edge, _)| *edge != at);
            self.evicted += 1;
        }
    }
}

/// The hash of an edge's key, which is part of its two ends.
fn hash_of(hasher: &RandomState, src: &Workload, dst: &Workload) -> u64 {
    hasher.hash_one((&src.namespace, &src.name, &dst.namespace, &dst.name))
}

/// What is known is seldom new.
fn renew<T: Clone + PartialEq>(known: &mut T, now: &T) {
    if known != now {
        known.clone_from(now);
    }
}

impl Edge {
    fn row(&self) -> EdgeRow {
        let verdicts = self.window.counts();
        let worst = row::worst(&verdicts);
        EdgeRow {
            src: self.src.name.clone(),
            src_namespace: self.src.namespace.clone(),
            src_kind: self.src.kind.clone(),
            dst: self.dst.name.clone(),
            dst_namespace: self.dst.namespace.clone(),
            dst_kind: self.dst.kind.clone(),
            src_service_account: self.src.service_account.clone(),
            dst_service_account: self.dst.service_account.clone(),
            client_id: self.client_id.clone(),
            server_id: self.server_id.clone(),
            secured: worst == Verdict::Mtls,
            verdict: worst,
            reason: self.reasons.get(&worst).cloned().unwrap_or_default(),
            no_tls_reason: (worst == Verdict::Plaintext)
                .then(|| self.reasons.get(&worst).cloned().unwrap_or_default()),
            verdicts,
            open: self.window.open(),
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            stale: self.src.stale.max(self.dst.stale),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn workload(name: &str) -> Workload {
        Workload {
            name: name.into(),
            namespace: "shop".into(),
            kind: "pod".into(),
            ..Workload::default()
        }
    }

    fn between(
        table: &mut EdgeTable,
        ends: [&str; 2],
        (flow, verdict, time, closed): (u64, Verdict, u64, bool),
    ) {
        let [src, dst] = ends.map(workload);
        table.observe(&Seen {
            flow,
            src: &src,
            dst: &dst,
            verdict,
            reason: &verdict.as_str().into(),
            client_id: None,
            server_id: None,
            time,
            closed,
        });
    }

    fn observe(table: &mut EdgeTable, flow: u64, verdict: Verdict, time: u64, closed: bool) {
        between(table, ["web", "db"], (flow, verdict, time, closed));
    }

    #[test]
    fn the_worst_flow_names_the_edge_and_the_mix_is_kept() {
        let mut table = EdgeTable::new(Duration::from_mins(1));
        for flow in 0..9 {
            observe(&mut table, flow, Verdict::Mtls, SECOND, true);
        }
        observe(&mut table, 9, Verdict::Plaintext, SECOND, false);
        let rows = table.rows(SECOND);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].verdict, Verdict::Plaintext);
        assert!(!rows[0].secured);
        assert_eq!(rows[0].verdicts[&Verdict::Mtls], 9);
        assert_eq!(rows[0].verdicts[&Verdict::Plaintext], 1);
        assert_eq!(rows[0].no_tls_reason.as_deref(), Some("plaintext"));
    }

    #[test]
    fn a_revised_flow_counts_once() {
        let mut table = EdgeTable::new(Duration::from_mins(1));
        observe(&mut table, 1, Verdict::Mtls, SECOND, false);
        observe(&mut table, 1, Verdict::Plaintext, 2 * SECOND, false);
        observe(&mut table, 1, Verdict::Plaintext, 3 * SECOND, true);
        let rows = table.rows(3 * SECOND);
        assert_eq!(rows[0].verdicts, BTreeMap::from([(Verdict::Plaintext, 1)]));
        assert_eq!(table.stats().open_flows, 0);
    }

    #[test]
    fn closed_flows_stay_for_the_window_and_open_ones_for_as_long_as_they_are_open() {
        let mut table = EdgeTable::new(Duration::from_mins(1));
        observe(&mut table, 1, Verdict::Mtls, SECOND, true);
        assert_eq!(table.rows(59 * SECOND).len(), 1);
        assert_eq!(table.rows(200 * SECOND).len(), 0);
        observe(&mut table, 2, Verdict::Tls, 200 * SECOND, false);
        assert_eq!(table.rows(9_000 * SECOND).len(), 1);
    }

    #[test]
    fn an_edge_of_failed_handshakes_alone_is_not_secured() {
        let mut table = EdgeTable::new(Duration::from_mins(1));
        observe(&mut table, 1, Verdict::Failed, SECOND, true);
        assert!(!table.rows(SECOND)[0].secured);
        observe(&mut table, 2, Verdict::Mtls, SECOND, true);
        assert!(
            table.rows(SECOND)[0].secured,
            "a refused handshake exposed nothing"
        );
    }

    #[test]
    fn a_flow_that_gets_its_name_late_moves_to_the_right_edge() {
        let mut table = EdgeTable::new(Duration::from_mins(1));
        let early = (1, Verdict::Mtls, SECOND, false);
        between(&mut table, ["web", "10.0.0.7"], early);
        observe(&mut table, 1, Verdict::Mtls, 2 * SECOND, false);
        let rows = table.rows(2 * SECOND);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].dst, "db");
    }
}
