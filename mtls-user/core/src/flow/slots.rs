//! Storage for flows: slots that are found by key and ordered by use, so that the least recently
//! used one can be evicted without looking at all others.

use std::hash::BuildHasher;
use std::ops::{Index, IndexMut};

use hashbrown::HashTable;

use super::budget::Entry;
use super::peers::Peers;
use super::state::{Flow, Queue};

const NONE: u32 = u32::MAX;

/// A hash of the key of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hash(u32);

impl Hash {
    pub(super) fn of(hasher: &impl BuildHasher, key: impl std::hash::Hash) -> Self {
        Self(hasher.hash_one(key) as u32)
    }

    /// As wide as the hash table needs: it takes positions from the lower bits and tags from the
    /// upper ones.
    pub(super) fn spread(self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.0)
    }
}

/// A slot with its hash, so that a table can grow without reading every flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashed {
    pub(super) hash: Hash,
    pub(super) slot: u32,
}

#[derive(Debug)]
struct Slot {
    flow: Option<Flow>,
    older: u32,
    newer: u32,
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
    table: HashTable<Hashed>,
    queues: [Ends; 4],
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
            queues: [empty; 4],
        }
    }
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The flow between `peers`, or the separate one for `apart`.
    pub(super) fn find(&self, hash: Hash, peers: Peers<'_>, apart: u32) -> Option<u32> {
        self.table
            .find(hash.spread(), |it| {
                it.hash == hash && self[it.slot].peers() == peers && self[it.slot].apart == apart
            })
            .map(|it| it.slot)
    }

    pub(super) fn insert(&mut self, hash: Hash, flow: Flow) -> u32 {
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
        self.table
            .insert_unique(hash.spread(), Hashed { hash, slot: at }, |it| {
                it.hash.spread()
            });
        self.append(at);
        at
    }

    pub(super) fn remove(&mut self, hash: Hash, at: u32) {
        if let Ok(entry) = self.table.find_entry(hash.spread(), |it| it.slot == at) {
            entry.remove();
            self.unlink(at);
            self.all[at as usize].flow = None;
            self.free.push(at);
        }
    }

    /// Marks `at` as the most recently used of its queue.
    pub(super) fn touch(&mut self, at: u32) {
        if self.queues[self.queue(at)].newest != at {
            self.unlink(at);
            self.append(at);
        }
    }

    /// Puts `at` at the end of a queue.
    pub(super) fn enqueue(&mut self, at: u32, queue: Queue) {
        self.unlink(at);
        self[at].queue = queue;
        self.append(at);
    }

    fn queue(&self, at: u32) -> usize {
        self[at].queue as usize
    }

    /// The least recently used of a queue.
    pub(super) fn oldest(&self, queue: Queue) -> Option<u32> {
        let oldest = self.queues[queue as usize].oldest;
        (oldest != NONE).then_some(oldest)
    }

    pub(super) fn get(&self, at: u32) -> Option<&Flow> {
        self.all.get(at as usize)?.flow.as_ref()
    }

    /// The flow of `entry`, unless it is gone or holds nothing.
    pub(super) fn holding(&self, (at, serial): Entry) -> Option<&Flow> {
        self.get(at)
            .filter(|flow| flow.serial() == serial && flow.held > 0)
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
