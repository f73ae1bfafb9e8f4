//! Connections: segments in, one classifier per connection, events out.
//!
//! A connection is known by its two ends whatever interface it was seen on. Where addresses were
//! translated on the way, its two halves have different ends but the same pair of initial sequence
//! numbers, and are told as one ([`View`]).

mod datagrams;
mod peers;
mod slots;
mod state;
mod stream;
mod unread;
mod view;

#[cfg(test)]
mod tests;

use std::time::Duration;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::classify::{Classifier, Context, Piece, Progress, Sessions};
pub use crate::record::{Event, FlowStats};
use crate::wire::Segment;
pub use datagrams::{DatagramTable, DatagramView};
use peers::{End, Peers};
use slots::{Hash, Hashed, Queue, Slots};
pub use state::Flow;
pub use view::{Handle, View};

/// Halves of one connection begin within this time of each other, in nanoseconds.
const JOIN_WITHIN: u64 = 10_000_000_000;

/// 2^30 nanoseconds are about a second.
const SECOND: u32 = 30;

/// How much is remembered, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections; beyond it, the one that was quiet longest goes, an ended one first.
    pub flows: usize,
    /// A connection that was quiet for so long is closed.
    pub idle: Duration,
    /// A flow of datagrams that was quiet for so long is over.
    pub idle_datagrams: Duration,
    /// An ended connection still swallows its late packets for so long.
    pub linger: Duration,
    /// Sessions remembered for the sake of resumptions.
    pub sessions: usize,
    /// A TLS 1.3 resumption is given the verdict of its peers' last full handshake
    /// ([`Sessions::new`]).
    pub inherit: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 262_144,
            // Above TCP's usual keep-alive of two hours.
            idle: Duration::from_mins(150),
            idle_datagrams: Duration::from_secs(30),
            linger: Duration::from_secs(10),
            sessions: 65_536,
            inherit: true,
        }
    }
}

/// Every connection that is known now.
#[derive(Debug)]
pub struct FlowTable {
    limits: Limits,
    slots: Slots,
    hasher: foldhash::fast::RandomState,
    /// By both initial sequence numbers: the half that was complete first.
    pairs: HashTable<Hashed>,
    sessions: Sessions,
    serial: u64,
    stats: FlowStats,
}

impl FlowTable {
    /// An empty table.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            slots: Slots::default(),
            hasher: foldhash::fast::RandomState::default(),
            pairs: HashTable::new(),
            sessions: Sessions::new(limits.sessions, limits.inherit),
            serial: 0,
            stats: FlowStats::default(),
        }
    }

    /// Takes in one segment, and tells `sink` what it changed.
    pub fn observe(&mut self, segment: &Segment<'_>, sink: &mut impl FnMut(Event, View<'_>)) {
        let (peers, sender) = Peers::of(&segment.src, &segment.dst);
        let hash = Hash::of(&self.hasher, peers);
        let mut found = self.slots.find(hash, peers);
        if segment.foreign {
            // Somebody else's word is no evidence, but what is missing may be behind it.
            if let Some(at) = found {
                self.slots[at].lost = true;
            }
            return;
        }
        if let Some(at) = found {
            let flow = &self.slots[at];
            if flow.is_other_connection(flow.side_of(sender), segment) {
                self.close(at, sink);
                self.remove(at);
                found = None;
            }
        }
        let at = match found {
            Some(at) => at,
            None if segment.flags.syn() || segment.len > 0 => {
                self.make_room(sink);
                self.serial += 1;
                let flow = Flow::new(self.serial, segment, peers, sender);
                self.slots.insert(hash, flow)
            }
            None => {
                self.stats.stray += 1;
                return;
            }
        };
        // In order to within a second is enough, and a busy flow is not moved for every segment.
        if (self.slots[at].last ^ segment.time) >> SECOND != 0 {
            self.slots.touch(at);
        }
        self.feed(at, sender, segment, sink);
    }

    /// Forgets a connection when the table is full.
    fn make_room(&mut self, sink: &mut impl FnMut(Event, View<'_>)) {
        if self.slots.len() >= self.limits.flows.max(1)
            && let Some(oldest) = self
                .slots
                .oldest(Queue::Closed)
                .or_else(|| self.slots.oldest(Queue::Open))
        {
            self.stats.evicted += u64::from(!self.slots[oldest].is_closed());
            self.close(oldest, sink);
            self.remove(oldest);
        }
    }

    fn feed(
        &mut self,
        at: u32,
        sender: End,
        segment: &Segment<'_>,
        sink: &mut impl FnMut(Event, View<'_>),
    ) {
        let flow = &mut self.slots[at];
        let side = flow.side_of(sender);
        let placed = flow.place(side, segment);
        if !flow.paired {
            self.join(at);
        }
        let flow = &mut self.slots[at];
        if !flow.opened && (placed.len > 0 || flow.isns().is_some()) {
            flow.opened = true;
            if !flow.secondary {
                self.stats.seen += 1;
                self.tell(at, Event::Opened, sink);
            }
        }
        let flow = &mut self.slots[at];
        let ends = segment.flags.fin() || segment.flags.rst();
        // Most segments only acknowledge.
        if placed.len == 0 && !ends || flow.is_closed() && !flow.secondary {
            return;
        }
        let mut context = Context {
            client: flow.client(),
            server: flow.server(),
            sessions: &mut self.sessions,
        };
        let mut progress = Progress::NeedMore;
        if placed.len > 0 {
            let piece = Piece {
                offset: placed.offset,
                len: placed.len,
                bytes: placed.bytes,
                ack: placed.ack,
                time: segment.time,
            };
            progress = flow.classifier.segment(side, piece, &mut context);
        }
        if segment.flags.fin() {
            let end = placed.offset + u64::from(placed.len);
            progress = either(
                progress,
                flow.classifier
                    .fin(side, end, placed.ack, segment.time, &mut context),
            );
        }
        if segment.flags.rst() {
            progress = either(
                progress,
                flow.classifier.rst(side, segment.time, &mut context),
            );
        }
        if progress == Progress::Changed {
            self.report(at, sink);
        }
        if self.slots[at].has_ended(segment) {
            self.slots[at].ended = true;
            self.close(at, sink);
        }
    }

    /// Finds the other half of a connection whose addresses were translated on the way.
    fn join(&mut self, at: u32) {
        let flow = &self.slots[at];
        let Some(isns) = flow.isns() else { return };
        let first = flow.first;
        let (slots, hash) = (&self.slots, Hash::of(&self.hasher, isns));
        let entry = self.pairs.entry(
            hash.spread(),
            |half| half.hash == hash && slots[half.slot].isns() == Some(isns),
            |half| half.hash.spread(),
        );
        let other = match &entry {
            Entry::Occupied(half) => Some(half.get().slot).filter(|other| {
                *other != at
                    && slots[*other].partner.is_none()
                    && slots[*other].first.abs_diff(first) < JOIN_WITHIN
            }),
            Entry::Vacant(_) => None,
        };
        match other {
            Some(other) if !self.slots[at].opened => {
                self.slots[other].partner = Some(at);
                let flow = &mut self.slots[at];
                flow.partner = Some(other);
                flow.secondary = true;
                flow.paired = true;
                self.stats.joined += 1;
            }
            _ => {
                let half = Hashed { hash, slot: at };
                match entry {
                    Entry::Occupied(mut old) => *old.get_mut() = half,
                    Entry::Vacant(place) => drop(place.insert(half)),
                }
                self.slots[at].paired = true;
            }
        }
    }

    /// Tells of a decision, on the half that speaks for the connection.
    fn report(&mut self, at: u32, sink: &mut impl FnMut(Event, View<'_>)) {
        let flow = &self.slots[at];
        let at = match (flow.secondary, flow.partner) {
            (false, _) => at,
            (true, Some(primary)) => primary,
            (true, None) => return,
        };
        if self.slots[at].is_closed() {
            return;
        }
        let verdict = self.view(at).verdict();
        let event = match self.slots[at].reported {
            None => {
                self.stats.classified += 1;
                Event::Classified
            }
            Some(old) if old == verdict => Event::Updated,
            Some(_) => Event::Revised,
        };
        self.slots[at].reported = Some(verdict);
        self.tell(at, event, sink);
    }

    /// Settles what can be settled, once.
    fn close(&mut self, at: u32, sink: &mut impl FnMut(Event, View<'_>)) {
        let flow = &mut self.slots[at];
        if flow.is_closed() {
            return;
        }
        let mut context = Context {
            client: flow.client(),
            server: flow.server(),
            sessions: &mut self.sessions,
        };
        flow.classifier.finish(flow.lost, &mut context);
        let (is_secondary, is_opened) = (flow.secondary, flow.opened);
        self.slots.retire(at);
        if is_secondary {
            return;
        }
        if !is_opened {
            self.stats.seen += 1;
        }
        if self.slots[at].reported.is_none() {
            if self.view(at).finding().evidence.is_some() {
                self.stats.classified += 1;
            } else {
                self.stats.undecided += 1;
            }
        }
        self.tell(at, Event::Closed, sink);
        // Nothing more is told of it, and what is left of it is to be small.
        let flow = &mut self.slots[at];
        flow.classifier = Classifier::new(flow.origin);
    }

    fn remove(&mut self, at: u32) {
        let flow = &self.slots[at];
        if let Some(partner) = flow.partner {
            self.slots[partner].partner = None;
        }
        let flow = &self.slots[at];
        if let Some(isns) = flow.isns()
            && let Ok(entry) = self
                .pairs
                .find_entry(Hash::of(&self.hasher, isns).spread(), |half| {
                    half.slot == at
                })
        {
            entry.remove();
        }
        let hash = Hash::of(&self.hasher, flow.peers());
        self.slots.remove(hash, at);
    }

    /// Samples were lost on the way from the kernel: what is missing of any open flow proves nothing.
    pub fn lost(&mut self) {
        self.slots.each(|flow| flow.lost = true);
    }

    /// Closes what was quiet too long and forgets what has lingered long enough. `now` in
    /// nanoseconds since the Unix epoch.
    pub fn expire(&mut self, now: u64, sink: &mut impl FnMut(Event, View<'_>)) {
        let linger = self.limits.linger.as_nanos() as u64;
        let idle = self.limits.idle.as_nanos() as u64;
        for (queue, wait) in [(Queue::Open, idle), (Queue::Closed, linger)] {
            while let Some(at) = self.slots.oldest(queue)
                && now.saturating_sub(self.slots[at].last) > wait
            {
                self.close(at, sink);
                self.remove(at);
            }
        }
    }

    /// Closes everything: the end of a capture, or of the daemon.
    pub fn drain(&mut self, sink: &mut impl FnMut(Event, View<'_>)) {
        let mut all = self.slots.indices();
        all.sort_unstable_by_key(|at| self.slots[*at].serial());
        for at in &all {
            self.close(*at, sink);
        }
        for at in all {
            self.remove(at);
        }
    }

    /// Every connection that has not ended, with its other half where it has one.
    pub fn open(&self) -> impl Iterator<Item = View<'_>> {
        self.slots
            .iter()
            .filter(|(_, flow)| !flow.is_closed() && !flow.secondary)
            .map(|(at, _)| self.view(at))
    }

    /// The connection that `handle` stands for, unless it has ended.
    pub fn look_up(&self, handle: Handle) -> Option<View<'_>> {
        let flow = self.slots.get(handle.slot)?;
        let same = flow.serial() == handle.serial && !flow.is_closed() && !flow.secondary;
        same.then(|| self.view(handle.slot))
    }

    /// Sizes and counts.
    pub fn stats(&self) -> FlowStats {
        FlowStats {
            tracked: self.slots.len(),
            ..self.stats
        }
    }

    fn view(&self, at: u32) -> View<'_> {
        let flow = &self.slots[at];
        View::new(at, flow, flow.partner.map(|other| &self.slots[other]))
    }

    fn tell(&self, at: u32, event: Event, sink: &mut impl FnMut(Event, View<'_>)) {
        sink(event, self.view(at));
    }
}

fn either(a: Progress, b: Progress) -> Progress {
    match (a, b) {
        (Progress::Changed, _) | (_, Progress::Changed) => Progress::Changed,
        (_, b) => b,
    }
}
