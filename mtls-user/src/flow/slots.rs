//! Where flows live: slots found by key, in order of use, so that the quietest can go first.

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

/// Flows, by key and by age.
#[derive(Debug)]
pub(super) struct Slots {
    all: Vec<Slot>,
    free: Vec<u32>,
    table: HashTable<u32>,
    oldest: u32,
    newest: u32,
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            free: Vec::new(),
            table: HashTable::new(),
            oldest: NONE,
            newest: NONE,
        }
    }
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn find(&self, hash: u64, low: Endpoint, high: Endpoint) -> Option<u32> {
        self.table
            .find(hash, |at| self[*at].key() == (low, high))
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

    /// Makes `at` the one used last.
    pub(super) fn touch(&mut self, at: u32) {
        if self.newest != at {
            self.unlink(at);
            self.append(at);
        }
    }

    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
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
        let newest = self.newest;
        let slot = &mut self.all[at as usize];
        slot.older = newest;
        slot.newer = NONE;
        match newest {
            NONE => self.oldest = at,
            newest => self.all[newest as usize].newer = at,
        }
        self.newest = at;
    }

    fn unlink(&mut self, at: u32) {
        let (older, newer) = {
            let slot = &self.all[at as usize];
            (slot.older, slot.newer)
        };
        match older {
            NONE => self.oldest = newer,
            older => self.all[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
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
