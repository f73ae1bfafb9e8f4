//! Who talks to whom, and how: flows aggregated into edges between workloads over a window of time.
//!
//! An open connection counts for as long as it is open; a closed one until its end has left the
//! window. The worst one determines the edge's verdict, so that one plaintext connection is not
//! hidden by a thousand others.

mod class;
mod ids;
mod row;
mod strangers;
mod window;

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hash, Hasher};
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};
use slab::Slab;
use smol_str::SmolStr;

use class::{Class, Profile};
use mtls_core::record::identities::Identities;
use mtls_core::record::{
    EdgeRecord, EdgeStats, Event, FlowRecord, Reporter, Transport, Word, Workload,
};
use window::Step;

/// Most edges kept; beyond this, one of low value is evicted.
const MAX_EDGES: usize = 65_536;
/// Edges that are checked to find one to evict.
const LOOKED_AT: usize = 64;
/// Most classes of connections per edge that are distinguished by everything known about them.
const MAX_CLASSES: usize = 64;

/// The identity of an edge besides its two ends.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Key {
    reporter: Option<Word<Reporter>>,
    transport: Word<Transport>,
    port: u16,
}

#[derive(Debug)]
struct Edge {
    /// Distinguishes it from a previous one in the same slot.
    serial: u64,
    key: Key,
    src: Workload,
    dst: Workload,
    classes: Slab<Class>,
    /// Nanoseconds since the Unix epoch.
    last_seen: u64,
}

/// The place where an open connection is counted.
#[derive(Clone, Copy, Debug)]
struct Place {
    edge: usize,
    serial: u64,
    class: usize,
}

/// All edges of the window.
#[derive(Debug)]
pub struct EdgeTable {
    step: Step,
    node: Option<SmolStr>,
    edges: Slab<Edge>,
    hasher: RandomState,
    /// The index in `edges` of each key's edge.
    index: HashTable<usize>,
    /// Open connections by their number.
    open: HashMap<u64, Place>,
    ids: ids::Ids,
    strangers: strangers::Strangers,
    serial: u64,
    /// The last position of the search for an edge to evict.
    hand: usize,
    evicted: u64,
}

impl EdgeTable {
    /// An empty table of `node`, covering `window`.
    pub fn new(window: Duration, node: Option<SmolStr>) -> Self {
        Self {
            step: Step::of(window),
            node,
            edges: Slab::new(),
            hasher: RandomState::default(),
            index: HashTable::new(),
            open: HashMap::new(),
            ids: ids::Ids::new(Step::of(window)),
            strangers: strangers::Strangers::default(),
            serial: 0,
            hand: 0,
            evicted: 0,
        }
    }

    /// Records what is now known about a flow whose ends are both named: new, revised, or closed.
    pub fn observe(&mut self, flow: &FlowRecord) {
        let (Some(src), Some(dst)) = (&flow.src.workload, &flow.dst.workload) else {
            return;
        };
        let key = Key {
            reporter: flow.reporter.clone(),
            transport: flow.transport.clone(),
            port: flow.dst.port.unwrap_or_default(),
        };
        if let Some(number) = flow.connection
            && let Some(place) = self.open.remove(&number)
        {
            self.leave(place, (&key, src, dst));
        }
        let folded = self.fold((&key, src, dst));
        let (key, src, dst) = match &folded {
            Some((key, src, dst)) => (key, src, dst),
            None => (&key, src, dst),
        };
        let at = self.find((key, src, dst));
        let edge = &mut self.edges[at];
        renew(&mut edge.src, src);
        renew(&mut edge.dst, dst);
        let time = flow.last_seen.as_nanos();
        edge.last_seen = edge.last_seen.max(time);
        let class = edge.class_of(flow);
        let counted = &mut edge.classes[class];
        counted.renew(flow);
        let serial = edge.serial;
        let closed = flow.event == Some(Event::Closed.into());
        self.ids.put(flow, at, serial, closed);
        match flow.connection {
            Some(number) if flow.event != Some(Event::Closed.into()) => {
                counted.window.enter();
                let place = Place {
                    edge: at,
                    serial,
                    class,
                };
                self.open.insert(number, place);
            }
            _ => counted.window.close(time, self.step),
        }
    }

    /// From now on, an open connection is counted elsewhere.
    fn leave(&mut self, place: Place, next: Ends<'_>) {
        let edge = self.edges.get_mut(place.edge);
        // The edge may have been evicted meanwhile.
        let Some(edge) = edge.filter(|edge| edge.serial == place.serial) else {
            return;
        };
        let class = &mut edge.classes[place.class];
        class.window.leave();
        if class.window.is_empty() {
            edge.classes.remove(place.class);
        }
        // A flow that turned out to be between other workloads leaves no empty edge behind.
        if edge.classes.is_empty() && !edge.is_of(next) {
            self.remove(place.edge);
        }
    }

    /// The edge that counts it instead, if it has none of its own and gets none.
    fn fold(&self, ends: Ends<'_>) -> Option<(Key, Workload, Workload)> {
        let folded = self.strangers.fold(ends)?;
        let hash = hash_of(&self.hasher, ends);
        let own = self.index.find(hash, |at| self.edges[*at].is_of(ends));
        own.is_none().then_some(folded)
    }

    /// The index of the edge, which is created if there is none.
    fn find(&mut self, ends: Ends<'_>) -> usize {
        let hash = hash_of(&self.hasher, ends);
        let edges = &self.edges;
        if let Some(at) = self.index.find(hash, |at| edges[*at].is_of(ends)) {
            return *at;
        }
        if self.edges.len() >= MAX_EDGES {
            self.evict();
        }
        self.serial += 1;
        self.strangers.enter(ends);
        let at = self.edges.insert(Edge {
            serial: self.serial,
            key: ends.0.clone(),
            src: ends.1.clone(),
            dst: ends.2.clone(),
            classes: Slab::new(),
            last_seen: 0,
        });
        let (edges, hasher) = (&self.edges, &self.hasher);
        self.index
            .insert_unique(hash, at, |at| hash_of(hasher, edges[*at].ends()));
        at
    }

    fn remove(&mut self, at: usize) {
        let edge = self.edges.remove(at);
        self.strangers.leave(edge.ends());
        let hash = hash_of(&self.hasher, edge.ends());
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == at) {
            entry.remove();
        }
    }

    /// Drops what has left the window. `now` in nanoseconds since the Unix epoch.
    pub fn expire(&mut self, now: u64) {
        let step = self.step;
        let mut empty = Vec::new();
        for (at, edge) in &mut self.edges {
            edge.classes.retain(|_, class| {
                class.window.advance(now, step);
                !class.window.is_empty()
            });
            if edge.classes.is_empty() {
                empty.push(at);
            }
        }
        for at in empty {
            self.remove(at);
        }
        self.ids.expire(now, &self.edges);
    }

    /// The edges as of `now`, in no order.
    pub fn records(&mut self, now: u64) -> Vec<EdgeRecord> {
        self.expire(now);
        let edges = self.edges.iter();
        edges
            .map(|(_, edge)| edge.record(self.node.as_ref()))
            .collect()
    }

    /// The edges as of `now`, and at most `most` of their connections.
    pub fn connections(&mut self, now: u64, most: usize) -> (Vec<EdgeRecord>, Identities) {
        self.expire(now);
        let edges = self.edges.iter().enumerate();
        let place = edges.map(|(at, (key, _))| (key, at as u32)).collect();
        let identities = self.ids.told(most, &place);
        (self.records(now), identities)
    }

    /// Sizes, for `mtls status`.
    pub fn stats(&self) -> EdgeStats {
        EdgeStats {
            edges: self.edges.len(),
            open_connections: self.open.len(),
            evicted: self.evicted,
        }
    }

    /// Evicts the edge with the lowest value among some, and the longest idle one of those. Its
    /// open connections are counted again at their next event.
    fn evict(&mut self) {
        // The table is full, so it has few unused slots.
        let some = (0..LOOKED_AT).map(|n| (self.hand + n) % MAX_EDGES);
        let worthless = some
            .filter_map(|at| self.edges.get(at).map(|edge| (at, edge)))
            .min_by_key(|(_, edge)| (row::worth(edge), edge.last_seen))
            .map(|(at, _)| at);
        self.hand = (self.hand + LOOKED_AT) % MAX_EDGES;
        if let Some(at) = worthless {
            self.remove(at);
            self.evicted += 1;
        }
    }
}

/// The key of an edge.
type Ends<'a> = (&'a Key, &'a Workload, &'a Workload);

impl Edge {
    fn ends(&self) -> Ends<'_> {
        (&self.key, &self.src, &self.dst)
    }

    fn is_of(&self, (key, src, dst): Ends<'_>) -> bool {
        let is = |own: &Workload, end: &Workload| {
            own.name == end.name && own.namespace == end.namespace && own.kind == end.kind
        };
        self.key == *key && is(&self.src, src) && is(&self.dst, dst)
    }

    /// The class in which connections like `flow` are counted.
    fn class_of(&mut self, flow: &FlowRecord) -> usize {
        let mut profile = Profile::of(flow);
        let find = |classes: &Slab<Class>, profile: &Profile| {
            let mut all = classes.iter();
            all.find(|(_, class)| class.profile == *profile)
                .map(|(at, _)| at)
        };
        if let Some(at) = find(&self.classes, &profile) {
            return at;
        }
        if self.classes.len() >= MAX_CLASSES {
            profile.details = None;
            if let Some(at) = find(&self.classes, &profile) {
                return at;
            }
        }
        self.classes.insert(Class::new(profile, flow))
    }
}

fn hash_of(hasher: &RandomState, (key, src, dst): Ends<'_>) -> u64 {
    let mut state = hasher.build_hasher();
    key.hash(&mut state);
    for end in [src, dst] {
        (&end.namespace, &end.name, &end.kind).hash(&mut state);
    }
    state.finish()
}

/// Most of it is already known.
fn renew<T: Clone + PartialEq>(known: &mut T, now: &T) {
    if known != now {
        known.clone_from(now);
    }
}
