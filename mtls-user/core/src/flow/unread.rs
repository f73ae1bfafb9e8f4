//! What was not read on the way of a connection's packets: whatever is missing of it may be in there.

use std::collections::HashSet;

use super::FlowTable;
use crate::wire::Unread;

impl FlowTable {
    /// Marks every connection that `all` may concern, in one pass however many there are: what is
    /// missing of them proves nothing.
    pub fn unread(&mut self, all: &[Unread]) {
        let pairs: HashSet<[[u8; 16]; 2]> = all
            .iter()
            .filter(|unread| unread.what.may_hide_tcp())
            .map(|unread| in_order(unread.src.ip, unread.dst.ip))
            .collect();
        if pairs.is_empty() {
            return;
        }
        self.slots.each(|flow| {
            if pairs.contains(&in_order(flow.client().ip, flow.server().ip)) {
                flow.lost = true;
            }
        });
    }
}

fn in_order(a: [u8; 16], b: [u8; 16]) -> [[u8; 16]; 2] {
    if a <= b { [a, b] } else { [b, a] }
}
