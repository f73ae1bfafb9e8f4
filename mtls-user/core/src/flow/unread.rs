//! What was not read on the way of a connection's packets: whatever is missing of it may be in there.

use std::collections::HashMap;

use super::peers::Peers;
use super::state::Queue;
use super::table::FlowTable;
use crate::record::Unseen;
use crate::wire::{Endpoint, Unread, What};

impl FlowTable {
    /// Marks every connection that `all` may concern, in one pass however many there are: what is
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
        self.slots.each(|flow| {
            if let Some(what) = pairs.get(&in_order(flow.client().ip, flow.server().ip)) {
                flow.miss(*what);
            }
        });
    }

    /// The kernel no longer follows the connection between `a` and `b`: what it went on with was not
    /// seen, nor, if it is quiet from now on, its end.
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

/// What of a connection is missing for it.
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
