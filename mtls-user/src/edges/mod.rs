//! Who talks to whom, and how: flows added up to edges between workloads over a window of time.
//!
//! An open flow counts for as long as it is open; a closed one stays counted until the window has
//! passed over its end. The worst flow decides what an edge is called, so one connection in clear
//! is not hidden by a thousand that were not.

mod row;
mod window;

use std::collections::BTreeMap;
use std::time::Duration;

use hashbrown::HashMap;
use smol_str::SmolStr;

use crate::verdict::{Verdict, Workload};
pub use row::{EdgeRow, EdgeStats};
use window::Window;

/// Most edges kept; beyond it, the edge that was quiet longest goes.
const MAX_EDGES: usize = 65_536;

/// A flow as the edge table needs to know it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The flow, for as long as this process runs.
    pub flow: u64,
    /// The client.
    pub src: Workload,
    /// The server.
    pub dst: Workload,
    /// What it is said to be now.
    pub verdict: Verdict,
    /// Why, in words.
    pub reason: SmolStr,
    /// The client's identity where the wire showed it.
    pub client_id: Option<SmolStr>,
    /// The server's identity where the wire showed it.
    pub server_id: Option<SmolStr>,
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// The flow has ended: nothing more will come of it.
    pub closed: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Key {
    src: (SmolStr, SmolStr),
    dst: (SmolStr, SmolStr),
}

#[derive(Debug)]
struct Edge {
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
    edges: HashMap<Key, Edge>,
    /// Where each open flow is counted.
    open: HashMap<u64, (Key, Verdict)>,
    evicted: u64,
}

impl EdgeTable {
    /// An empty table over `window`.
    pub fn new(window: Duration) -> Self {
        Self {
            window,
            edges: HashMap::new(),
            open: HashMap::new(),
            evicted: 0,
        }
    }

    /// Takes in what is now known of a flow: new, revised, or closed.
    pub fn observe(&mut self, seen: Seen) {
        let key = Key {
            src: (seen.src.namespace.clone(), seen.src.name.clone()),
            dst: (seen.dst.namespace.clone(), seen.dst.name.clone()),
        };
        if let Some((old, verdict)) = self.open.remove(&seen.flow)
            && let Some(edge) = self.edges.get_mut(&old)
        {
            edge.window.leave(verdict);
            // A flow that turned out to be between others leaves no empty edge behind.
            if old != key && edge.window.is_empty() {
                self.edges.remove(&old);
            }
        }
        if !self.edges.contains_key(&key) && self.edges.len() >= MAX_EDGES {
            self.evict();
        }
        let span = self.window;
        let edge = self.edges.entry(key.clone()).or_insert_with(|| Edge {
            src: seen.src.clone(),
            dst: seen.dst.clone(),
            window: Window::new(span),
            reasons: BTreeMap::new(),
            client_id: None,
            server_id: None,
            first_seen: seen.time,
            last_seen: seen.time,
        });
        edge.first_seen = edge.first_seen.min(seen.time);
        edge.last_seen = edge.last_seen.max(seen.time);
        edge.src = seen.src;
        edge.dst = seen.dst;
        edge.client_id = seen.client_id.or(edge.client_id.take());
        edge.server_id = seen.server_id.or(edge.server_id.take());
        edge.reasons.insert(seen.verdict, seen.reason);
        if seen.closed {
            edge.window.close(seen.verdict, seen.time);
        } else {
            edge.window.enter(seen.verdict);
            self.open.insert(seen.flow, (key, seen.verdict));
        }
    }

    /// Lets go of what the window has passed over. `now` in nanoseconds since the Unix epoch.
    pub fn expire(&mut self, now: u64) {
        self.edges.retain(|_, edge| {
            edge.window.advance(now);
            !edge.window.is_empty()
        });
    }

    /// The edges as of `now`, by namespace and name.
    pub fn rows(&mut self, now: u64) -> Vec<EdgeRow> {
        self.expire(now);
        let mut edges: Vec<_> = self.edges.iter().collect();
        edges.sort_by_key(|(key, _)| *key);
        edges.into_iter().map(|(_, edge)| edge.row()).collect()
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
        if let Some(key) = self
            .edges
            .iter()
            .min_by_key(|(_, edge)| edge.last_seen)
            .map(|(key, _)| key.clone())
        {
            self.edges.remove(&key);
            self.open.retain(|_, (k, _)| *k != key);
            self.evicted += 1;
        }
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

    fn seen(flow: u64, verdict: Verdict, time: u64, closed: bool) -> Seen {
        Seen {
            flow,
            src: workload("web"),
            dst: workload("db"),
            verdict,
            reason: verdict.as_str().into(),
            client_id: None,
            server_id: None,
            time,
            closed,
        }
    }

    #[test]
    fn the_worst_flow_names_the_edge_and_the_mix_is_kept() {
        let mut table = EdgeTable::new(Duration::from_mins(1));
        for flow in 0..9 {
            table.observe(seen(flow, Verdict::Mtls, SECOND, true));
        }
        table.observe(seen(9, Verdict::Plaintext, SECOND, false));
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
        table.observe(seen(1, Verdict::Mtls, SECOND, false));
        table.observe(seen(1, Verdict::Plaintext, 2 * SECOND, false));
        table.observe(seen(1, Verdict::Plaintext, 3 * SECOND, true));
        let rows = table.rows(3 * SECOND);
        assert_eq!(rows[0].verdicts, BTreeMap::from([(Verdict::Plaintext, 1)]));
        assert_eq!(table.stats().open_flows, 0);
    }

    #[test]
    fn closed_flows_stay_for_the_window_and_open_ones_for_as_long_as_they_are_open() {
        let mut table = EdgeTable::new(Duration::from_mins(1));
        table.observe(seen(1, Verdict::Mtls, SECOND, true));
        assert_eq!(table.rows(59 * SECOND).len(), 1);
        assert_eq!(table.rows(200 * SECOND).len(), 0);
        table.observe(seen(2, Verdict::Tls, 200 * SECOND, false));
        assert_eq!(table.rows(9_000 * SECOND).len(), 1);
    }

    #[test]
    fn an_edge_of_failed_handshakes_alone_is_not_secured() {
        let mut table = EdgeTable::new(Duration::from_mins(1));
        table.observe(seen(1, Verdict::Failed, SECOND, true));
        assert!(!table.rows(SECOND)[0].secured);
        table.observe(seen(2, Verdict::Mtls, SECOND, true));
        assert!(
            table.rows(SECOND)[0].secured,
            "a refused handshake exposed nothing"
        );
    }

    #[test]
    fn a_flow_that_gets_its_name_late_moves_to_the_right_edge() {
        let mut table = EdgeTable::new(Duration::from_mins(1));
        let mut early = seen(1, Verdict::Mtls, SECOND, false);
        early.dst = workload("10.0.0.7");
        table.observe(early);
        table.observe(seen(1, Verdict::Mtls, 2 * SECOND, false));
        let rows = table.rows(2 * SECOND);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].dst, "db");
    }
}
