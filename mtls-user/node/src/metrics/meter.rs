//! Counts connection by connection.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};
use slab::Slab;
use smol_str::SmolStr;

use super::certificates::{Certificates, Expiry};
use super::labels::{End, Labels, Sides, known, value};
use super::rows::{Edge, Likeness, note};
use mtls_core::record::{Cause, Event, FlowRecord, Mark, Side, Verdict};

/// An edge without activity for this long loses its series, in nanoseconds. A counter that ends and
/// begins again has lost what happened between two scrapes.
const RETAINED: u64 = 24 * 3_600_000_000_000;
/// How often such edges are searched for.
const LOOK: u64 = 60_000_000_000;
/// Largest share of all edges for one workload, so that it cannot displace the others.
const SHARE: usize = 8;
/// Most combinations of TLS version, group and cipher.
const MAX_HANDSHAKES: usize = 256;

/// Where an open connection is counted, and as what.
#[derive(Clone, Copy, Debug)]
struct Counted {
    edge: usize,
    row: usize,
    /// The row that counts it as open.
    open: Sides,
    /// Ends at which this row has counted it.
    here: Sides,
    /// Ends at which any row has counted it.
    ever: Sides,
    handshake: bool,
    mismatch: bool,
}

type Handshake = [SmolStr; 3];

/// Counts connections for Prometheus; [`Snapshot`] describes what.
#[derive(Debug)]
pub struct Meter {
    limit: usize,
    edges: Slab<Edge>,
    hasher: RandomState,
    /// The index in `edges` of the edge with these labels.
    index: HashTable<usize>,
    /// Number of edges per workload.
    shares: HashMap<End, usize>,
    /// The edge that stands for those beyond the limit.
    other: usize,
    open: HashMap<u64, Counted>,
    looked: u64,
    totals: Totals,
    handshakes: HashMap<Handshake, [u64; Sides::NAMES.len()]>,
    undecided: BTreeMap<(Verdict, Cause), u64>,
    certificates: Certificates,
}

/// Counters that exist only once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    /// Connections counted under `other`.
    pub(super) overflow: u64,
    /// Connections counted again because their labels changed after they had been counted.
    pub(super) again: [u64; Sides::NAMES.len()],
}

/// The counts so far.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) edges: Vec<Edge>,
    pub(super) limit: usize,
    pub(super) totals: Totals,
    pub(super) handshakes: Vec<(Handshake, [u64; Sides::NAMES.len()])>,
    pub(super) undecided: BTreeMap<(Verdict, Cause), u64>,
    pub(super) certificates: Vec<(End, Side, Expiry)>,
    pub(super) certificates_overflow: u64,
}

impl Meter {
    /// Counts at most `limit` edges individually.
    pub fn new(limit: usize) -> Self {
        let mut edges = Slab::new();
        // It is in no index, so only direct access finds it.
        let other = edges.insert(Edge::new(Labels::other()));
        Self {
            limit: limit.max(1),
            edges,
            hasher: RandomState::default(),
            index: HashTable::new(),
            shares: HashMap::new(),
            other,
            open: HashMap::new(),
            looked: 0,
            totals: Totals::default(),
            handshakes: HashMap::new(),
            undecided: BTreeMap::new(),
            certificates: Certificates::default(),
        }
    }

    /// Records what is now known about a flow whose ends are both named.
    pub fn observe(&mut self, flow: &FlowRecord) {
        if flow.src.workload.is_none() || flow.dst.workload.is_none() {
            return;
        }
        let closed = flow.event == Some(Event::Closed.into());
        let like = Likeness::of(flow);
        let sides = Sides::of(flow);
        let before = flow.connection.and_then(|number| self.open.remove(&number));
        let (edge, row) = self.place(Labels::of(flow), like);
        if let Some(before) = before {
            let counts = &mut self.edges[before.edge].rows[before.row].at;
            for side in before.open.each() {
                counts[side].open -= 1;
            }
        }
        let mut counted = Counted {
            edge,
            row,
            open: sides,
            here: Sides::default(),
            ever: before.map_or(Sides::default(), |before| before.ever),
            handshake: before.is_some_and(|before| before.handshake),
            mismatch: before.is_some_and(|before| before.mismatch),
        };
        if let Some(before) = before
            && (before.edge, before.row) == (edge, row)
        {
            counted.here = before.here;
        }
        // What is not known yet is counted when it is, or when nothing more will be.
        let is_open_question = matches!(like.verdict, Verdict::Unobserved | Verdict::NoData);
        let is_counted = closed || !is_open_question;
        if is_counted {
            self.count(flow, like, sides, &mut counted);
        }
        let place = &mut self.edges[edge];
        let time = flow.last_seen.as_nanos();
        place.last_seen = place.last_seen.max(time);
        for side in sides.each().filter(|_| is_counted) {
            let count = &mut place.rows[row].at[side];
            count.last_seen = count.last_seen.max(time);
        }
        match flow.connection {
            Some(number) if !closed => {
                for side in sides.each() {
                    place.rows[row].at[side].open += 1;
                }
                self.open.insert(number, counted);
            }
            _ => self.ended(flow, like),
        }
    }

    /// Counts a connection at those of `sides` where it was not yet counted with its current
    /// labels.
    fn count(&mut self, flow: &FlowRecord, like: Likeness, sides: Sides, counted: &mut Counted) {
        let time = flow.last_seen.as_nanos();
        let edge = &mut self.edges[counted.edge];
        let new = sides.without(counted.here);
        for side in new.each() {
            edge.rows[counted.row].at[side].connections += 1;
            self.totals.again[side] += u64::from(counted.ever.has(side));
        }
        let is_first_here = counted.here == Sides::default();
        counted.here = counted.here.with(sides);
        counted.ever = counted.ever.with(sides);
        if counted.edge == self.other {
            self.totals.overflow += u64::from(is_first_here);
        } else if is_first_here {
            match like.mark {
                Some(Mark::Mutual) => edge.is_mutual = true,
                Some(Mark::Clear | Mark::OneWay) if edge.is_mutual => {
                    edge.is_mutual = false;
                    note(&mut edge.downgrades, sides, time);
                }
                _ => {}
            }
        }
        if !counted.mismatch && !flow.mismatches.is_empty() {
            counted.mismatch = true;
            note(&mut edge.mismatches, sides, time);
        }
        if !counted.handshake
            && let Some(tls) = flow.tls.as_deref()
            && let (Some(version), Some(cipher)) = (&tls.version, &tls.cipher)
        {
            counted.handshake = true;
            if matches!(version.as_str(), "ssl3" | "1.0" | "1.1") {
                note(&mut edge.old_tls, sides, time);
            }
            let none = SmolStr::new_static("");
            let group = tls.group.as_ref().unwrap_or(&none);
            let mut shown = [value(version), value(group), value(cipher)];
            let full = self.handshakes.len() >= MAX_HANDSHAKES;
            if full && !self.handshakes.contains_key(&shown) {
                shown = [const { SmolStr::new_static("other") }; 3];
            }
            let handshakes = self.handshakes.entry(shown).or_default();
            for side in sides.each() {
                handshakes[side] += 1;
            }
        }
        self.certificates.observe(flow);
    }

    /// A connection has ended with its current labels.
    fn ended(&mut self, flow: &FlowRecord, like: Likeness) {
        let undecided = matches!(
            like.verdict,
            Verdict::Opaque | Verdict::Unobserved | Verdict::TlsUnproven
        );
        if undecided && like.exempt.is_none() {
            let cause = known(&flow.cause, Cause::Other);
            *self.undecided.entry((like.verdict, cause)).or_default() += 1;
        }
    }

    /// The row in which a connection like this is counted.
    fn place(&mut self, labels: Labels, like: Likeness) -> (usize, usize) {
        let edge = self.find(labels);
        if edge != self.other
            && let Some(row) = self.edges[edge].row(like)
        {
            return (edge, row);
        }
        (self.other, self.edges[self.other].any_row(like))
    }

    /// The edge with these labels, created if there is none; the one for all others if there is no
    /// room.
    fn find(&mut self, labels: Labels) -> usize {
        let hash = self.hasher.hash_one(&labels);
        let edges = &self.edges;
        let found = self.index.find(hash, |at| *edges[*at].labels == labels);
        if let Some(at) = found {
            return *at;
        }
        let share = (self.limit / SHARE).max(1);
        let has_share = [&labels.source, &labels.destination]
            .iter()
            .any(|end| self.shares.get(*end).is_some_and(|edges| *edges >= share));
        if self.index.len() >= self.limit || has_share {
            return self.other;
        }
        for end in [&labels.source, &labels.destination] {
            if end.is_named {
                *self.shares.entry(end.clone()).or_default() += 1;
            }
        }
        let at = self.edges.insert(Edge::new(labels));
        let (edges, hasher) = (&self.edges, &self.hasher);
        self.index
            .insert_unique(hash, at, |at| hasher.hash_one(&*edges[*at].labels));
        at
    }

    /// Drops edges without activity. `now` is the daemon's time.
    pub fn expire(&mut self, now: u64) {
        if now < self.looked.saturating_add(LOOK) {
            return;
        }
        self.looked = now;
        self.certificates.expire(now);
        let (edges, shares) = (&mut self.edges, &mut self.shares);
        self.index.retain(|at| {
            let edge = &edges[*at];
            if edge.is_open() || now < edge.last_seen.saturating_add(RETAINED) {
                return true;
            }
            let labels: Arc<Labels> = edges.remove(*at).labels;
            for end in [&labels.source, &labels.destination] {
                if let Some(edges) = shares.get_mut(end) {
                    *edges -= 1;
                    if *edges == 0 {
                        shares.remove(end);
                    }
                }
            }
            false
        });
    }

    /// The counts so far.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            edges: self.edges.iter().map(|(_, edge)| edge.clone()).collect(),
            limit: self.limit,
            totals: self.totals,
            handshakes: self
                .handshakes
                .iter()
                .map(|(shown, n)| (shown.clone(), *n))
                .collect(),
            undecided: self.undecided.clone(),
            certificates: self.certificates.nearest(),
            certificates_overflow: self.certificates.overflow,
        }
    }
}
