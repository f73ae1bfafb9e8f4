//! Packets of a connection's addresses that could not be read: whatever is missing of the
//! connection may be in them.

use std::collections::HashMap;

use super::peers::Peers;
use super::state::{Flow, Queue};
use super::table::FlowTable;
use crate::record::Unseen;
use crate::wire::{Endpoint, Unread, What};

/// How long a pair of addresses is remembered, in nanoseconds: two recheck intervals of the kernel.
const REMEMBERED: u64 = 120_000_000_000;
/// Pairs remembered.
const MOST: usize = 4_096;

impl FlowTable {
    /// Marks every connection that `all` may affect, in one pass however many there are: what is
    /// missing of them proves nothing.
    pub fn unread(&mut self, all: &[Unread]) {
        let pairs: HashMap<[[u8; 16]; 2], Unseen> = all
            .iter()
            .filter(|unread| unread.what.may_hide_tcp())
            .map(|unread| {
                let ends = in_order(unread.src.ip, unread.dst.ip);
                (ends, missing(unread))
            })
            .collect();
        for unread in all.iter().filter(|unread| unread.what == What::Evicted) {
            self.evicted(&unread.src, &unread.dst);
        }
        if pairs.is_empty() {
            return;
        }
        // The kernel reports a pair once per interval, and a silent connection later than that.
        if self.hidden.len() + pairs.len() > MOST {
            self.hidden.clear();
        }
        let time = all.iter().map(|unread| unread.time).max().unwrap_or(0);
        self.hidden
            .extend(pairs.iter().map(|(pair, what)| (*pair, (*what, time))));
        self.slots.each(|flow| {
            if let Some(what) = pairs.get(&in_order(flow.client().ip, flow.server().ip)) {
                flow.miss(*what);
            }
        });
    }

    /// What is missing of a connection that begins now, between addresses with unread packets.
    pub(super) fn is_hidden(&self, flow: &Flow) -> Option<Unseen> {
        let pair = in_order(flow.client().ip, flow.server().ip);
        let (what, time) = self.hidden.get(&pair)?;
        (flow.first.abs_diff(*time) < REMEMBERED).then_some(*what)
    }

    /// The kernel no longer follows the connection between `a` and `b`: what it sent afterwards was
    /// not seen, and neither is its end if it is silent from now on.
    fn evicted(&mut self, a: &Endpoint, b: &Endpoint) {
        let (peers, _) = Peers::of(a, b);
        if let Some(at) = self.slots.find(self.hash(peers, 0), peers, 0)
            && self.slots[at].queue == Queue::Open
        {
            self.slots[at].miss(Unseen::Samples);
            self.slots.enqueue(at, Queue::Doubtful);
        }
    }
}

/// What a connection lacks because of this.
pub(super) fn missing(unread: &Unread) -> Unseen {
    match unread.what {
        What::Fragments => Unseen::Fragments,
        _ => Unseen::Samples,
    }
}

/// Two addresses, the smaller first.
pub(super) fn in_order(a: [u8; 16], b: [u8; 16]) -> [[u8; 16]; 2] {
    if a <= b { [a, b] } else { [b, a] }
}
