//! What was not read on the way of a connection's packets: whatever is missing of it may be in there.

use std::collections::HashMap;

use super::table::FlowTable;
use crate::record::Unseen;
use crate::wire::{Unread, What};

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
        if pairs.is_empty() {
            return;
        }
        self.slots.each(|flow| {
            if let Some(what) = pairs.get(&in_order(flow.client().ip, flow.server().ip)) {
                flow.miss(*what);
            }
        });
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
