//! A datagram and its flow: what is sent between two addresses and ports.
//!
//! No packet opens or ends a UDP flow, so only the interface and the number of samples matter here.
//! User space decides the verdict, and when the flow has ended.

pub(crate) mod header;
mod home;
mod sample;

use aya_ebpf::bindings::__sk_buff;
use mtls_ebpf_common::{Counter, Flow, event::LOST, flow::STATE_DATAGRAMS};

use crate::{
    count::count,
    done,
    flow::{book, fill, halves, order, told},
    maps::{self, Scratch, blur},
    outcome::{MAP_FULL, SAMPLED, SKIPPED, UNREADABLE},
    table, unread,
};

/// Processes the datagram in the scratch, and counts the outcome.
#[inline(never)]
pub(crate) fn take(skb: *mut __sk_buff, direction: u16) -> u32 {
    count(Counter::Segments);
    count(Counter::Datagrams);
    let outcome = follow(skb, direction);
    book(skb, outcome);
    0
}

#[inline(always)]
fn follow(skb: *mut __sk_buff, direction: u16) -> u32 {
    let Some(scratch) = maps::scratch() else {
        return MAP_FULL;
    };
    if let Some(tunnel) = tunnel(scratch) {
        unread::packet(skb, scratch, direction, tunnel);
    }
    fill(scratch, skb, direction);
    order(scratch);
    let found = table::find(scratch);
    if blur(scratch, found) == table::ABSENT {
        let found = table::claim(skb, scratch);
        if blur(scratch, found) == table::BUSY {
            let found = table::find(scratch);
            blur(scratch, found);
        }
    }
    if scratch.blurred == table::NO_ROOM {
        unread::packet(skb, scratch, direction, Counter::Udp as u32);
        return SKIPPED;
    }
    if scratch.blurred != table::FOUND {
        return MAP_FULL;
    }
    let Some(flow) = table::flow(scratch) else {
        return MAP_FULL;
    };
    let outcome = locked(skb, flow, scratch);
    let outcome = blur(scratch, outcome);
    if outcome > SAMPLED {
        flow.lost = 1;
        // The daemon's scan of the table finds this flow.
        flow.told = flow.serial.wrapping_sub(1);
    }
    table::unlock(flow);
    table::touch(scratch, STATE_DATAGRAMS);
    outcome
}

/// The work that needs the flow's lock.
#[inline(never)]
fn locked(skb: *mut __sk_buff, flow: &mut Flow, scratch: &mut Scratch) -> u32 {
    if sample::peek(skb, scratch) == 0 {
        return UNREADABLE;
    }
    if flow.lost != 0 {
        scratch.head.bits |= LOST;
    }
    let is_home = home::is_home(flow, scratch);
    let outcome = if blur(scratch, is_home as u32) != 0 {
        sample::sample(skb, flow, scratch)
    } else {
        home::foreign(skb, flow, scratch)
    };
    if blur(scratch, outcome) == SAMPLED {
        told(flow, scratch);
    }
    scratch.blurred
}

/// The counter of a tunnel, by the receiver's port: its contents are not inspected.
#[inline(always)]
fn tunnel(scratch: &Scratch) -> Option<u32> {
    match scratch.packet.ports().1 {
        4789 | 8472 => Some(Counter::Vxlan as u32),
        6081 => Some(Counter::Geneve as u32),
        _ => None,
    }
}

/// The direction needs no more samples until the next recheck, except for handshakes.
#[inline(always)]
fn finish(flow: &mut Flow, scratch: &Scratch, handshakes: bool) {
    let (half, _) = halves(flow, scratch);
    sample::set_done(half, scratch);
    // Each packet of a tunnel is counted.
    if tunnel(scratch).is_some() {
        return;
    }
    let [other, opener] = header::both(scratch.packet.signature);
    done::insert(other);
    if !handshakes {
        done::insert(opener);
    }
}

/// Removes a direction with this signature from the fast path's memory.
#[inline(never)]
pub(crate) fn forget(signature: u64) -> u32 {
    let [other, opener] = header::both(signature);
    done::remove(other);
    done::remove(opener);
    0
}
