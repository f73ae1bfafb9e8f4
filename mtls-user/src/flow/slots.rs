//! Where flows live: slots found by key, in order of use, so that the quietest can go first without
//! a look at all the others.

use std::ops::{Index, IndexMut};

use hashbrown::HashTable;

use super::Flow;
use crate::wire::Endpoint;

const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Slot {
    flow: Option<Flow>,
    older: u32,
    newer: u32,
}

/// What a flow waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Queue {
    /// To be quiet for too long.
    Open = 0,
    /// To be forgotten: it is closed.
    Closed = 1,
}

/// The two ends of a queue.
#[derive(Clone, Copy, Debug)]
struct Ends {
    oldest: u32,
    newest: u32,
}

/// Flows, by key and by age.
#[derive(Debug)]
pub(super) struct Slots {
    all: Vec<Slot>,
    free: Vec<u32>,
    table: HashTable<u32>,
    queues: [Ends; 2],
}

impl Default for Slots {
    fn default() -> Self {
        let empty = Ends {
            oldest: NONE,
            newest: NONE,
        };
        Self {
            all: Vec::new(),
            free: Vec::new(),
            table: HashTable::new(),
            queues: [empty; 2],
        }
    }
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn find(&self, hash: u64, a: Endpoint, b: Endpoint) -> Option<u32> {
        self.table
            .find(hash, |at| self[*at].is_between(a, b))
            .copied()
    }

    pub(super) fn insert(&mut self, hash: u64, flow: Flow, rehash: impl Fn(&Flow) -> u64) -> u32 {
        let slot = Slot {
            flow: Some(flow),
            older: NONE,
            newer: NONE,
        };
        let at = if let Some(at) = self.free.pop() {
            self.all[at as usize] = slot;
            at
        } else {
            self.all.push(slot);
            (self.all.len() - 1) as u32
        };
        let all = &self.all;
        self.table.insert_unique(hash, at, |at| {
            all[*at as usize].flow.as_ref().map_or(0, &rehash)
        });
        self.append(at);
        at
    }

    pub(super) fn remove(&mut self, hash: u64, at: u32) {
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == at) {
            entry.remove();
            self.unlink(at);
            self.all[at as usize].flow = None;
            self.free.push(at);
        }
    }

    /// Makes `at` the one of its queue that was used last.
    pub(super) fn touch(&mut self, at: u32) {
        if self.queues[self.queue(at)].newest != at {
            self.unlink(at);
            self.append(at);
        }
    }

    /// Closes `at`, and puts it at the end of the queue of the closed.
    pub(super) fn retire(&mut self, at: u32) {
        self.unlink(at);
        self[at].closed = true;
        self.append(at);
    }

    fn queue(&self, at: u32) -> usize {
        usize::from(self[at].closed)
    }

    /// The one of a queue that was used longest ago.
    pub(super) fn oldest(&self, queue: Queue) -> Option<u32> {
        let oldest = self.queues[queue as usize].oldest;
        (oldest != NONE).then_some(oldest)
    }

    pub(super) fn get(&self, at: u32) -> Option<&Flow> {
        self.all.get(at as usize)?.flow.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Flow)> {
        self.all
            .iter()
            .enumerate()
            .filter_map(|(at, slot)| Some((at as u32, slot.flow.as_ref()?)))
    }

    pub(super) fn indices(&self) -> Vec<u32> {
        self.iter().map(|(at, _)| at).collect()
    }

    pub(super) fn each(&mut self, mut f: impl FnMut(&mut Flow)) {
        for flow in self.all.iter_mut().filter_map(|slot| slot.flow.as_mut()) {
            f(flow);
        }
    }

    fn append(&mut self, at: u32) {
        let queue = self.queue(at);
        let ends = &mut self.queues[queue];
        let newest = std::mem::replace(&mut ends.newest, at);
        let slot = &mut self.all[at as usize];
        slot.older = newest;
        slot.newer = NONE;
        match newest {
            NONE => ends.oldest = at,
            newest => self.all[newest as usize].newer = at,
        }
    }

    fn unlink(&mut self, at: u32) {
        let queue = self.queue(at);
        let slot = &self.all[at as usize];
        let (older, newer) = (slot.older, slot.newer);
        let ends = &mut self.queues[queue];
        match older {
            NONE => ends.oldest = newer,
            older => self.all[older as usize].newer = newer,
        }
        match newer {
            NONE => ends.newest = older,
            newer => self.all[newer as usize].older = older,
        }
    }
}

impl Index<u32> for Slots {
    type Output = Flow;
    fn index(&self, at: u32) -> &Flow {
        self.all[at as usize]
            .flow
            .as_ref()
            .expect("an index given out for a flow is let go of before the flow is")
    }
}

impl IndexMut<u32> for Slots {
    fn index_mut(&mut self, at: u32) -> &mut Flow {
        self.all[at as usize]
            .flow
            .as_mut()
            .expect("an index given out for a flow is let go of before the flow is")
    }
}
