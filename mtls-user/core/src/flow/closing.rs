//! How connections end: closed, lost, evicted, or idle for too long.

use super::api::Loss;
use super::budget::Entry;
use super::peers::Peers;
use super::slots::Hash;
use super::state::{Flow, Queue};
use super::table::{FlowTable, GRACE};
use super::view::View;
use crate::classify::{Classifier, Context};
use crate::record::{Event, Unseen};
use crate::wire::Endpoint;

/// A connection that may have ended unseen is closed after it has been idle for this long, in
/// nanoseconds. If it continues later, it is a midstream connection, about which less is claimed.
const DOUBT: u64 = 10_000_000_000;

impl FlowTable {
    /// Evicts a connection when the table is full.
    pub(super) fn make_room(&mut self, sink: &mut impl FnMut(Event, View<'_>)) {
        if self.slots.len() < self.limits.flows.max(1) {
            return;
        }
        let order = [Queue::Closed, Queue::Ending, Queue::Doubtful, Queue::Open];
        if let Some(oldest) = order.into_iter().find_map(|queue| self.slots.oldest(queue)) {
            self.stats.evicted += u64::from(self.slots[oldest].queue == Queue::Open);
            self.close(oldest, sink);
            self.remove(oldest, sink);
        }
    }

    /// Evicts undecided connections while they hold too much memory. The one at `at` has changed.
    pub(super) fn bound(&mut self, at: u32, sink: &mut impl FnMut(Event, View<'_>)) {
        self.account(at);
        while let Some(at) = {
            let slots = &self.slots;
            self.budget
                .excess(|entry| slots.holding(entry).map(|flow| flow.heard == [true; 2]))
        } {
            let flow = &mut self.slots[at];
            if flow.classifier.settle_plaintext() {
                if flow.partner().is_none() {
                    flow.forget_content();
                }
                self.account(at);
                continue;
            }
            self.stats.evicted += 1;
            // What follows will not be seen as a part of it.
            flow.miss(Unseen::Samples);
            self.close(at, sink);
            self.remove(at, sink);
        }
    }

    /// Accounts for the memory that the connection at `at` holds.
    fn account(&mut self, at: u32) {
        let flow = &mut self.slots[at];
        let now = flow.held();
        let before = std::mem::replace(&mut flow.held, now);
        let entry = (at, flow.serial());
        self.charge(entry, before, now);
    }

    fn charge(&mut self, entry: Entry, before: u16, now: u16) {
        let slots = &self.slots;
        let is_current = |entry| slots.holding(entry).is_some();
        self.budget.change(entry, before, now, is_current);
    }

    /// Decides what can be decided, once.
    pub(super) fn close(&mut self, at: u32, sink: &mut impl FnMut(Event, View<'_>)) {
        let flow = &mut self.slots[at];
        if flow.is_closed() {
            return;
        }
        let mut context = Context {
            client: flow.client(),
            server: flow.server(),
            sessions: &mut self.sessions,
        };
        if flow.reset_by().is_some() {
            flow.ended = true;
            flow.classifier.rst(&mut context);
        }
        flow.classifier.finish(flow.is_incomplete(), &mut context);
        let speaks = !flow.secondary;
        self.slots.enqueue(at, Queue::Closed);
        self.settle_pair(at, sink);
        if speaks {
            self.tell_closed(at, sink);
        } else {
            self.account(at);
        }
    }

    /// Reports that a connection has ended, and keeps little of it.
    pub(super) fn tell_closed(&mut self, at: u32, sink: &mut impl FnMut(Event, View<'_>)) {
        if !self.slots[at].opened {
            self.slots[at].opened = true;
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
        // Nothing more is reported about it, so what remains should be small.
        let flow = &mut self.slots[at];
        flow.classifier = Classifier::new(flow.origin);
        flow.forget_content();
        self.account(at);
    }

    pub(super) fn remove(&mut self, at: u32, sink: &mut impl FnMut(Event, View<'_>)) {
        self.release(at, sink);
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
        let (entry, held) = ((at, flow.serial()), flow.held);
        let hash = self.hash(flow.peers(), flow.apart);
        self.slots.remove(hash, at);
        self.charge(entry, held, 0);
    }

    /// Something was lost on its way to the table. For the connections that it may have belonged
    /// to, what is missing proves nothing, and their end may have been missed.
    ///
    /// Returns how many connections that affects. A connection with a verdict keeps it, because its
    /// evidence was seen.
    pub fn lost(&mut self, loss: &Loss) -> usize {
        let concerns = |flow: &Flow| {
            let there = flow.first <= loss.until && !flow.is_closed();
            let link = loss
                .link
                .is_none_or(|link| flow.links.iter().any(|l| l == link));
            let [a, b] = [flow.client().ip, flow.server().ip];
            let between = loss
                .between
                .is_none_or(|pair| pair == [a, b] || pair == [b, a]);
            there && link && between
        };
        let all: Vec<u32> = self
            .slots
            .iter()
            .filter(|(_, flow)| concerns(flow))
            .map(|(at, _)| at)
            .collect();
        for at in &all {
            let flow = &mut self.slots[*at];
            if !flow.classifier.is_done() || loss.what == Unseen::Fragments {
                flow.miss(loss.what);
            }
            if loss.what == Unseen::Samples && flow.queue == Queue::Open {
                self.slots.enqueue(*at, Queue::Doubtful);
            }
        }
        all.len()
    }

    /// The connection between `a` and `b` has ended, and samples of it were lost, including its
    /// end.
    pub fn ended(&mut self, a: &Endpoint, b: &Endpoint, sink: &mut impl FnMut(Event, View<'_>)) {
        let (peers, _) = Peers::of(a, b);
        if let Some(at) = self.slots.find(self.hash(peers, 0), peers, 0) {
            let flow = &mut self.slots[at];
            flow.miss(Unseen::Samples);
            flow.ended = true;
            self.close(at, sink);
        }
    }

    /// Closes connections that were idle for too long, and forgets those that have lingered long
    /// enough. `now` as in [`Segment::time`](crate::wire::Segment::time).
    pub fn expire(&mut self, now: u64, sink: &mut impl FnMut(Event, View<'_>)) {
        self.expire_some(now, usize::MAX, sink);
    }

    /// The same, but handles at most this many at once; returns whether there may be more. A flood
    /// ends all at the same time.
    pub fn expire_some(
        &mut self,
        now: u64,
        most: usize,
        sink: &mut impl FnMut(Event, View<'_>),
    ) -> bool {
        let mut left = most;
        let linger = self.limits.linger.as_nanos() as u64;
        let idle = self.limits.idle.as_nanos() as u64;
        let waits = [
            (Queue::Open, idle),
            (Queue::Doubtful, DOUBT.min(idle)),
            (Queue::Ending, GRACE),
            (Queue::Closed, linger),
        ];
        for (queue, wait) in waits {
            while let Some(at) = self.slots.oldest(queue)
                && now.saturating_sub(self.slots[at].last) > wait
            {
                if left == 0 {
                    return true;
                }
                left -= 1;
                self.close(at, sink);
                // An ended connection still absorbs its late packets.
                if queue != Queue::Ending {
                    self.remove(at, sink);
                }
            }
        }
        false
    }

    /// Closes everything: the end of a capture, or of the daemon.
    pub fn drain(&mut self, sink: &mut impl FnMut(Event, View<'_>)) {
        let mut all = self.slots.indices();
        all.sort_unstable_by_key(|at| self.slots[*at].serial());
        for at in &all {
            self.close(*at, sink);
        }
        for at in all {
            self.remove(at, sink);
        }
    }
}
