//! UDP flows: what is sent between two addresses and ports, until both are idle.
//!
//! UDP has no visible end, so a flow ends when it has been idle for a while. A QUIC connection
//! whose client moves to another address remains the same flow if its connection ID shows that.

mod flow;
mod migration;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::time::Duration;

use hashbrown::HashTable;
use slab::Slab;

use super::api::{Limits, Loss};
use super::budget::{self, Budget, Entry};
use super::peers::{End, Peers};
use super::slots::{Hash, Hashed};
use super::{Handle, unread};
use crate::classify::{Context, Gram, Progress, Sessions};
use crate::record::{Event, FlowStats, Origin, Unseen};
use crate::wire::{Datagram, Unread};
pub use flow::DatagramView;
use flow::Flow;

/// Addresses over which one connection is followed; after that, it becomes another flow.
const MOVES: usize = 8;
/// The shortest connection ID that is taken to identify a connection, in bytes: two of 2^32 IDs are
/// equal by chance.
const ID: usize = 4;
/// Flows that are checked for one to evict when the table is full.
const LOOKS: usize = 8;

/// Bytes of a datagram that identify it: the least that is captured of a foreign or an encrypted
/// one.
const LONG: usize = 512;
const SHORT: usize = 64;

/// All current UDP flows.
#[derive(Debug)]
pub struct DatagramTable {
    limits: Limits,
    flows: Slab<Flow>,
    /// The memory of undecided flows.
    budget: Budget,
    by_peers: HashTable<Hashed>,
    by_id: HashTable<Hashed>,
    /// The lengths of connection IDs in `by_id` so far, as a bit set.
    id_lengths: u32,
    /// Flows by their last known activity: in order, but not up to date.
    queue: VecDeque<(u64, u32, u64)>,
    hasher: foldhash::fast::RandomState,
    sessions: Sessions,
    serial: u64,
    stats: FlowStats,
}

impl DatagramTable {
    /// An empty table.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            flows: Slab::new(),
            budget: Budget::new(limits.undecided),
            by_peers: HashTable::new(),
            by_id: HashTable::new(),
            id_lengths: 0,
            queue: VecDeque::new(),
            hasher: foldhash::fast::RandomState::default(),
            sessions: Sessions::new(limits.sessions, limits.inherit),
            serial: 0,
            stats: FlowStats::default(),
        }
    }

    /// Processes one datagram, and reports changes to `sink`.
    pub fn observe(
        &mut self,
        datagram: &Datagram<'_>,
        sink: &mut impl FnMut(Event, DatagramView<'_>),
    ) {
        self.route(datagram, 0, sink);
    }

    /// Processes a datagram of the flow between its ends, or of the separate one for `apart`.
    fn route(
        &mut self,
        datagram: &Datagram<'_>,
        apart: u32,
        sink: &mut impl FnMut(Event, DatagramView<'_>),
    ) {
        let (peers, sender) = Peers::of(&datagram.src, &datagram.dst);
        let hash = Hash::of(&self.hasher, (peers, apart));
        let found = self
            .by_peers
            .find(hash.spread(), |it| {
                let flow = &self.flows[it.slot as usize];
                it.hash == hash && flow.apart == apart && Peers::again(&flow.ends) == peers
            })
            .map(|it| it.slot);
        // A flow that has been idle for this long has ended, even if nothing has checked since.
        let found = found.filter(|at| {
            let flow = &self.flows[*at as usize];
            let over = datagram.time.saturating_sub(flow.last) > self.idle(flow);
            if over {
                self.close(*at, sink);
            }
            !over
        });
        // In a capture, nothing is seen twice.
        let print = |most| match datagram.link {
            0 => 0,
            _ => self.print(datagram, sender, most),
        };
        let prints = [print(LONG), print(SHORT)];
        if datagram.foreign && apart == 0 {
            if let Some(at) = found {
                let flow = &mut self.flows[at as usize];
                if flow.is_copy(flow.side_of(sender), datagram, prints) {
                    return;
                }
                // It was not seen where its sender is known, and may be genuine.
                flow.miss(Unseen::Samples);
            }
            self.stats.spoofed += 1;
            return self.route(datagram, datagram.link.max(1), sink);
        }
        let moved = || self.migrated(datagram, peers, hash);
        let at = match found.or_else(moved) {
            Some(at) => at,
            None => self.open_flow(datagram, (peers, apart, hash), sender, sink),
        };
        self.feed(at, sender, datagram, prints[0], sink);
    }

    /// The fingerprint by which a datagram is recognised at another interface.
    fn print(&self, datagram: &Datagram<'_>, sender: End, most: usize) -> u64 {
        let first = datagram.payload.get(..most).unwrap_or(datagram.payload);
        self.hasher.hash_one((sender as u8, datagram.len, first))
    }

    /// For how long a flow is idle before it has ended, in nanoseconds. A flow that the kernel does
    /// not sample until its next recheck may be busy until then.
    fn idle(&self, flow: &Flow) -> u64 {
        let idle = self.limits.idle_datagrams;
        let idle = match self.limits.recheck {
            _ if !flow.is_paused => idle,
            Duration::ZERO => self.limits.idle.max(idle),
            recheck => idle + recheck,
        };
        idle.as_nanos() as u64
    }

    fn open_flow(
        &mut self,
        datagram: &Datagram<'_>,
        (peers, apart, hash): (Peers<'_>, u32, Hash),
        sender: End,
        sink: &mut impl FnMut(Event, DatagramView<'_>),
    ) -> u32 {
        self.make_room(sink);
        self.serial += 1;
        let flow = Flow::new(self.serial, datagram, peers.to_owned(), sender, apart);
        let at = self.flows.insert(flow) as u32;
        self.by_peers
            .insert_unique(hash.spread(), Hashed { hash, slot: at }, |it| {
                it.hash.spread()
            });
        self.queue.push_back((datagram.time, at, self.serial));
        at
    }

    fn feed(
        &mut self,
        at: u32,
        sender: End,
        datagram: &Datagram<'_>,
        print: u64,
        sink: &mut impl FnMut(Event, DatagramView<'_>),
    ) {
        let Some(flow) = self.flows.get_mut(at as usize) else {
            return;
        };
        let side = flow.side_of(sender);
        flow.note(side, datagram, print);
        let mut context = Context {
            client: flow.client(),
            server: flow.server(),
            sessions: &mut self.sessions,
        };
        let gram = Gram {
            bytes: datagram.payload,
            len: datagram.len as usize,
            time: datagram.time,
        };
        let progress = flow.classifier.datagram(side, gram, &mut context);
        // What preceded a QUIC handshake may have been another connection.
        let begins = flow.classifier.is_from_start(flow.seen == 1);
        if begins && !datagram.midstream {
            flow.origin = Origin::Syn;
        }
        if !flow.opened {
            flow.opened = true;
            self.stats.seen += 1;
            sink(Event::Opened, DatagramView::new(at, flow));
        }
        if progress == Progress::Changed {
            let verdict = flow.classifier.verdict();
            let event = match flow.reported {
                None => Event::Classified,
                Some(old) if old == verdict => Event::Updated,
                Some(_) => Event::Revised,
            };
            self.stats.classified += u64::from(flow.reported.is_none());
            flow.reported = Some(verdict);
            sink(event, DatagramView::new(at, flow));
        }
        if flow.id.is_none() {
            self.identify(at);
        }
        self.bound(at, sink);
    }

    /// Evicts undecided flows while they hold too much memory. The one at `at` has changed.
    fn bound(&mut self, at: u32, sink: &mut impl FnMut(Event, DatagramView<'_>)) {
        let flow = &mut self.flows[at as usize];
        let now = budget::units(flow.classifier.held());
        let before = std::mem::replace(&mut flow.held, now);
        let entry = (at, flow.serial);
        self.charge(entry, before, now);
        while let Some(at) = {
            let flows = &self.flows;
            self.budget
                .excess(|entry| holding(flows, entry).map(Flow::is_answered))
        } {
            self.stats.evicted += 1;
            // What follows will not be seen as a part of it.
            self.flows[at as usize].miss(Unseen::Samples);
            self.close(at, sink);
        }
    }

    fn charge(&mut self, entry: Entry, before: u16, now: u16) {
        let flows = &self.flows;
        let is_current = |entry| holding(flows, entry).is_some();
        self.budget.change(entry, before, now, is_current);
    }

    /// Evicts a flow when the table is full.
    fn make_room(&mut self, sink: &mut impl FnMut(Event, DatagramView<'_>)) {
        for look in 0.. {
            if self.flows.len() < self.limits.flows.max(1) {
                return;
            }
            let Some((since, at, serial)) = self.queue.pop_front() else {
                return;
            };
            let Some(flow) = self.flows.get(at as usize).filter(|f| f.serial == serial) else {
                continue;
            };
            if flow.last > since && look < LOOKS {
                self.queue.push_back((flow.last, at, serial));
            } else {
                self.stats.evicted += 1;
                self.close(at, sink);
            }
        }
    }

    /// Decides what can be decided, reports it, and forgets the flow.
    fn close(&mut self, at: u32, sink: &mut impl FnMut(Event, DatagramView<'_>)) {
        let Some(flow) = self.flows.get_mut(at as usize) else {
            return;
        };
        let mut context = Context {
            client: flow.client(),
            server: flow.server(),
            sessions: &mut self.sessions,
        };
        flow.classifier.finish(flow.missing.is_some(), &mut context);
        if flow.reported.is_none() {
            if flow.classifier.finding().evidence.is_some() {
                self.stats.classified += 1;
            } else {
                self.stats.undecided += 1;
            }
        }
        sink(Event::Closed, DatagramView::new(at, flow));
        let flow = self.flows.remove(at as usize);
        self.charge((at, flow.serial), flow.held, 0);
        let by_peers = Hash::of(&self.hasher, (Peers::again(&flow.ends), flow.apart));
        if let Ok(entry) = self
            .by_peers
            .find_entry(by_peers.spread(), |it| it.slot == at)
        {
            entry.remove();
        }
        if let Some(id) = flow.id
            && let Ok(entry) = self
                .by_id
                .find_entry(Hash::of(&self.hasher, id).spread(), |it| it.slot == at)
        {
            entry.remove();
        }
    }

    /// Samples were lost, or fragments not reassembled: for the flows that they may have belonged
    /// to, what is missing proves nothing.
    pub fn lost(&mut self, loss: &Loss) {
        for (_, flow) in &mut self.flows {
            let link = loss.link.is_none_or(|link| flow.is_on(link));
            let between = loss
                .between
                .is_none_or(|[a, b]| unread::in_order(a, b) == flow.addresses());
            if flow.first <= loss.until && link && between {
                flow.miss(loss.what);
            }
        }
    }

    /// Marks every flow that `all` may affect.
    pub fn unread(&mut self, all: &[Unread]) {
        let pairs: HashMap<_, _> = all
            .iter()
            .filter(|unread| unread.what.may_hide_udp())
            .map(|it| (unread::in_order(it.src.ip, it.dst.ip), unread::missing(it)))
            .collect();
        if pairs.is_empty() {
            return;
        }
        for (_, flow) in &mut self.flows {
            if let Some(what) = pairs.get(&flow.addresses()) {
                flow.miss(*what);
            }
        }
    }

    /// The flow of a handle, if it has not ended.
    pub fn look_up(&self, handle: Handle) -> Option<DatagramView<'_>> {
        let flow = self.flows.get(handle.slot as usize)?;
        (flow.serial == handle.serial).then(|| DatagramView::new(handle.slot, flow))
    }

    /// Closes flows that were idle for too long. `now` in nanoseconds since the Unix epoch.
    pub fn expire(&mut self, now: u64, sink: &mut impl FnMut(Event, DatagramView<'_>)) {
        let idle = self.limits.idle_datagrams.as_nanos() as u64;
        while let Some(&(since, at, serial)) = self.queue.front()
            && now.saturating_sub(since) > idle
        {
            self.queue.pop_front();
            let Some(flow) = self.flows.get(at as usize).filter(|f| f.serial == serial) else {
                continue;
            };
            if now.saturating_sub(flow.last) > self.idle(flow) {
                self.close(at, sink);
            } else {
                // A paused flow is checked again later, not now.
                let since = if flow.is_paused { now } else { flow.last };
                self.queue.push_back((since, at, serial));
            }
        }
    }

    /// Closes everything: the end of a capture, or of the daemon.
    pub fn drain(&mut self, sink: &mut impl FnMut(Event, DatagramView<'_>)) {
        let mut all: Vec<_> = self
            .flows
            .iter()
            .map(|(at, flow)| (flow.serial, at as u32))
            .collect();
        all.sort_unstable();
        for (_, at) in all {
            self.close(at, sink);
        }
        self.queue.clear();
    }

    /// Every flow that has not ended.
    pub fn open(&self) -> impl Iterator<Item = DatagramView<'_>> {
        self.flows
            .iter()
            .map(|(at, flow)| DatagramView::new(at as u32, flow))
    }

    /// Sizes and counts.
    pub fn stats(&self) -> FlowStats {
        FlowStats {
            tracked: self.flows.len(),
            ..self.stats
        }
    }
}

/// The flow of `entry`, unless it is gone or holds nothing.
fn holding(flows: &Slab<Flow>, (at, serial): Entry) -> Option<&Flow> {
    let flow = flows.get(at as usize)?;
    (flow.serial == serial && flow.held > 0).then_some(flow)
}
