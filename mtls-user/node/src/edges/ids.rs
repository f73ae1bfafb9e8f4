//! Which connections the edges consist of, so that those of several nodes can be counted once.

use hashbrown::HashMap;

use super::Edge;
use super::window::Step;
use mtls_core::record::FlowRecord;
use mtls_core::record::identities::{Alike, Identities, number};
use slab::Slab;
use smol_str::SmolStr;

/// Most connections remembered. Beyond this, those with larger ids are dropped.
const MOST: usize = 65_536;

/// A connection.
#[derive(Debug)]
struct Seen {
    edge: usize,
    /// Distinguishes the edge from a previous one in the same slot.
    serial: u64,
    exempt: bool,
    what: SmolStr,
    open: bool,
    /// Nanoseconds since the Unix epoch.
    last: u64,
}

/// The connections of the window.
#[derive(Debug)]
pub(super) struct Ids {
    all: HashMap<u64, Seen>,
    window: u64,
    /// Connections with a smaller id are recorded; `None`: all.
    taken: Option<u64>,
    /// Those with a smaller id are complete, for the whole window.
    told: Option<u64>,
    /// Since when this bound applies.
    since: u64,
}

impl Ids {
    pub(super) fn new(step: Step) -> Self {
        Self {
            all: HashMap::new(),
            window: step.window(),
            taken: None,
            told: None,
            since: 0,
        }
    }

    /// A connection is now counted for this edge.
    pub(super) fn put(&mut self, flow: &FlowRecord, edge: usize, serial: u64, closed: bool) {
        let Some(id) = flow.id.as_deref().map(number) else {
            return;
        };
        if self.taken.is_some_and(|below| id >= below) {
            return;
        }
        let last = flow.last_seen.as_nanos();
        let (exempt, what) = match &flow.exempt {
            Some(exempt) => (true, exempt.class.as_str()),
            None => (false, flow.verdict.as_str()),
        };
        let what = SmolStr::new(what);
        let open = !closed;
        let seen = Seen {
            edge,
            serial,
            exempt,
            what,
            open,
            last,
        };
        self.all.insert(id, seen);
        if self.all.len() > MOST {
            let half = self.taken.unwrap_or(u64::MAX) / 2;
            self.all.retain(|id, _| *id < half);
            (self.taken, self.told) = (Some(half), Some(half));
            self.since = last;
        }
    }

    /// Drops what has left the window. `now` in nanoseconds since the Unix epoch.
    pub(super) fn expire(&mut self, now: u64, edges: &Slab<Edge>) {
        let oldest = now.saturating_sub(self.window);
        self.all.retain(|_, seen| {
            let edge = edges.get(seen.edge);
            (seen.open || seen.last >= oldest)
                && edge.is_some_and(|edge| edge.serial == seen.serial)
        });
        if self.told.is_some() && self.since < oldest {
            self.told = self.taken;
            if self.all.len() < MOST / 4 {
                // Because halves are rounded down, doubling the largest bound covers everything.
                let more = |below: &u64| *below < u64::MAX / 2 - u64::from(u64::BITS);
                self.taken = self.taken.filter(more).map(|below| below * 2);
                self.since = now;
            }
        }
    }

    /// At most `most` of them, with the index that `place` returns for their edge.
    pub(super) fn told(&self, most: usize, place: &HashMap<usize, u32>) -> Identities {
        let mut ids: Vec<u64> = self.all.keys().copied().collect();
        if let Some(below) = self.told {
            ids.retain(|id| *id < below);
        }
        let mut below = self.told;
        if ids.len() > most {
            let (_, bound, _) = ids.select_nth_unstable(most);
            below = Some(*bound);
            ids.truncate(most);
        }
        let mut alike = HashMap::<(u32, bool, &str), Vec<u64>>::new();
        for id in ids {
            let Some(seen) = self.all.get(&id) else {
                continue;
            };
            if let Some(edge) = place.get(&seen.edge) {
                let key = (*edge, seen.exempt, seen.what.as_str());
                alike.entry(key).or_default().push(id);
            }
        }
        let items = alike.into_iter().map(|((edge, exempt, what), ids)| Alike {
            edge,
            exempt,
            what: what.into(),
            ids,
        });
        Identities {
            below,
            items: items.collect(),
        }
    }
}
