//! The two halves of a connection whose addresses are translated on the way.
//!
//! Both halves have the same pair of initial sequence numbers. That alone proves nothing, because
//! two pods that forge their packets can agree on any numbers, and test captures often reuse them.
//! Halves must therefore also begin at the same time; in the kernel, each side must leave an
//! interface in only one of them; in a capture, they must share an end; and their contents must be
//! equal, as far as they are compared. Halves that turn out to differ are separated, and each is
//! reported as a connection of its own.

use hashbrown::hash_table::Entry;

use super::place::Placed;
use super::slots::{Hash, Hashed};
use super::state::Flow;
use super::table::FlowTable;
use super::view::View;
use crate::classify::Side;
use crate::record::{Event, Unseen};

/// Halves of one connection begin within this time of each other, in nanoseconds: a SYN that was
/// lost between them is retransmitted after one second and after three.
const JOIN_WITHIN: u64 = 4_000_000_000;

impl FlowTable {
    /// Finds the other half of a connection whose addresses were translated.
    pub(super) fn join(&mut self, at: u32) {
        let flow = &self.slots[at];
        let Some(isns) = flow.isns() else { return };
        let (slots, hash) = (&self.slots, Hash::of(&self.hasher, isns));
        let entry = self.pairs.entry(
            hash.spread(),
            |half| half.hash == hash && slots[half.slot].isns() == Some(isns),
            |half| half.hash.spread(),
        );
        let other = match &entry {
            Entry::Occupied(half) => Some(half.get().slot)
                .filter(|other| *other != at && may_be_halves(&slots[*other], flow)),
            Entry::Vacant(_) => None,
        };
        match other {
            Some(other) if !self.slots[at].opened => {
                self.slots[other].set_partner(Some(at));
                let flow = &mut self.slots[at];
                flow.set_partner(Some(other));
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

    /// Compares payload with what was seen before, in this half and in the other.
    pub(super) fn compare(
        &mut self,
        at: u32,
        side: Side,
        placed: &Placed<'_>,
        sink: &mut impl FnMut(Event, View<'_>),
    ) {
        if self.slots[at].secondary && self.slots[at].partner().is_none() {
            self.speak(at, sink);
        }
        let seed = &self.hasher;
        let flow = &mut self.slots[at];
        let partner = flow.partner();
        if partner.is_none() && flow.classifier.is_done() {
            return;
        }
        let content = flow.keep_content();
        if !content.add(seed, side, placed.offset, placed.bytes) {
            flow.miss(Unseen::Conflict);
        }
        let Some(partner) = partner else { return };
        let other = &self.slots[partner];
        let same = other
            .content()
            .is_none_or(|content| content.agrees(seed, side, placed.offset, placed.bytes));
        // What follows the close of the half that was reported for both would never be reported.
        let end = placed.offset + u64::from(placed.len);
        let beyond = other.is_closed()
            && (end > other.stream(side).next
                || self.slots[at].secondary && self.slots[at].is_incomplete());
        if !same || beyond {
            self.part(at, sink);
        }
    }

    /// Two connections were taken for one: the one that was not reported is reported separately.
    fn part(&mut self, at: u32, sink: &mut impl FnMut(Event, View<'_>)) {
        let Some(partner) = self.slots[at].take_partner() else {
            return;
        };
        self.slots[partner].set_partner(None);
        self.stats.joined -= 1;
        let silent = if self.slots[at].secondary {
            at
        } else {
            partner
        };
        self.speak(silent, sink);
    }

    /// From now on, the half at `at` is reported separately.
    fn speak(&mut self, at: u32, sink: &mut impl FnMut(Event, View<'_>)) {
        let flow = &mut self.slots[at];
        flow.secondary = false;
        flow.opened = true;
        self.stats.seen += 1;
        if self.slots[at].is_closed() {
            self.tell_closed(at, sink);
            return;
        }
        self.tell(at, Event::Opened, sink);
        if self.slots[at].classifier.is_done() {
            self.report(at, sink);
        }
    }

    /// One half has closed. If both have closed and carried different contents, they are two
    /// connections.
    pub(super) fn settle_pair(&mut self, at: u32, sink: &mut impl FnMut(Event, View<'_>)) {
        let Some(partner) = self.slots[at].partner() else {
            return;
        };
        if self.slots[partner].is_closed()
            && !carried_the_same(&self.slots[at], &self.slots[partner])
        {
            self.part(at, sink);
        }
    }

    /// The flow at `at` is about to be forgotten: what its other half has beyond it belongs to that
    /// half.
    pub(super) fn release(&mut self, at: u32, sink: &mut impl FnMut(Event, View<'_>)) {
        let Some(partner) = self.slots[at].take_partner() else {
            return;
        };
        self.slots[partner].set_partner(None);
        let same = carried_the_same(&self.slots[at], &self.slots[partner]);
        if self.slots[at].secondary && !same {
            self.speak(at, sink);
        } else if self.slots[partner].secondary && !same {
            self.speak(partner, sink);
        }
    }
}

/// Whether two connections with the same initial sequence numbers can be halves of one connection.
fn may_be_halves(first: &Flow, second: &Flow) -> bool {
    let both = |known: fn(&Flow, Side) -> bool, side| known(first, side) && known(second, side);
    let comes_out = |flow: &Flow, side: Side| flow.links.home(side).is_some();
    let shares_an_end = first.client() == second.client() || first.server() == second.server();
    first.partner().is_none()
        // The contents of a closed half are forgotten, so a half without any data adds none.
        && (!first.is_closed() || second.sampled && second.is_incomplete() && second.is_empty())
        && first.apart == 0
        && second.apart == 0
        && first.sampled == second.sampled
        && first.first.abs_diff(second.first) < JOIN_WITHIN
        && if first.sampled {
            !Side::BOTH.into_iter().any(|side| both(comes_out, side))
        } else {
            shares_an_end
        }
}

/// Whether two halves carried the same amount, as far as that is known for both.
fn carried_the_same(a: &Flow, b: &Flow) -> bool {
    a.is_incomplete()
        || b.is_incomplete()
        || Side::BOTH.into_iter().all(|side| {
            let (one, other) = (a.stream(side), b.stream(side));
            let known = !a.sampled || one.fin() && other.fin();
            if known {
                one.next == other.next
            } else {
                (one.next == 0) == (other.next == 0)
            }
        })
}
