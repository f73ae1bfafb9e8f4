//! A segment and its flow: opening, payload, close.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_jiffies64, programs::TcContext};
use aya_log_ebpf::warn;
use mtls_ebpf_common::{
    Counter, Flow, Half, Key,
    event::{
        ALONE, EGRESS, FIRST, LOST, MIDSTREAM, RECEIVER_CLIENT, RECEIVER_FIN, RECEIVER_ISN,
        SENDER_CLIENT, SENDER_ISN, V6,
    },
    flow::{
        AGE_SHIFT, FLOW_MIDSTREAM, HALF_CLIENT, HALF_FIN, HALF_FIN_TOLD, HALF_ISN, HALF_RST,
        HALF_STARTED, LINK_EGRESS, STATE_FINISHED, STATE_OPEN, STATE_UNANSWERED,
    },
};

use crate::{
    closing,
    count::{count, count_on},
    maps::{self, Scratch, blur, clear},
    opening,
    outcome::{MAP_FULL, OVER_SHARE, RING_FULL, SAMPLED, SKIPPED, UNREADABLE, worst},
    parse::{FIN, Packet, RST, SYN},
    sample, sender, table,
};

/// Processes the segment in the scratch, and counts the outcome.
#[inline(never)]
pub(crate) fn segment(skb: *mut __sk_buff, direction: u16) -> u32 {
    count(Counter::Segments);
    let outcome = take(skb, direction);
    book(skb, outcome);
    0
}

/// Counts the outcome of a segment or datagram.
#[inline(always)]
pub(crate) fn book(skb: *mut __sk_buff, outcome: u32) {
    match outcome {
        SAMPLED => count(Counter::Sampled),
        SKIPPED => count(Counter::Skipped),
        RING_FULL => lost(skb, RING_FULL, "the ring buffer is full"),
        MAP_FULL => lost(skb, MAP_FULL, "the flow table has no place"),
        OVER_SHARE => lost(skb, OVER_SHARE, "the interface has had its share"),
        _ => lost(skb, UNREADABLE, "the packet cannot be read"),
    };
}

#[inline(always)]
fn take(skb: *mut __sk_buff, direction: u16) -> u32 {
    let Some(scratch) = maps::scratch() else {
        return MAP_FULL;
    };
    fill(scratch, skb, direction);
    order(scratch);
    let found = table::find(scratch);
    if blur(scratch, found) == table::ABSENT {
        if !opening::founds(&scratch.packet) {
            return SKIPPED;
        }
        let found = table::claim(skb, scratch);
        if blur(scratch, found) == table::BUSY {
            let found = table::find(scratch);
            blur(scratch, found);
        }
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
        // The daemon's scan of the table finds this flow, whether another sample follows or not.
        flow.lost = 1;
        flow.told = flow.serial.wrapping_sub(1);
    }
    let state = state(flow);
    table::unlock(flow);
    table::touch(scratch, state);
    outcome
}

/// The work that needs the flow's lock.
#[inline(never)]
fn locked(skb: *mut __sk_buff, flow: &mut Flow, scratch: &mut Scratch) -> u32 {
    if scratch.packet.flags & SYN != 0 {
        let taken = opening::syn(skb, flow, scratch);
        if blur(scratch, taken) == opening::IGNORED {
            return SKIPPED;
        }
    }
    let is_home = sender::is_home(flow, scratch);
    let is_home = blur(scratch, is_home as u32);
    if is_home != 0 && scratch.packet.len == 0 && scratch.packet.flags & (FIN | RST) == 0 {
        // A SYN: there is nothing to deliver.
        return SKIPPED;
    }
    describe(flow, scratch);
    if is_home == 0 {
        return sender::foreign(skb, flow, scratch);
    }
    let sampled = if scratch.packet.len > 0 {
        sample::payload(skb, flow, scratch)
    } else {
        SKIPPED
    };
    let sampled = blur(scratch, sampled);
    if sampled == SAMPLED {
        told(flow, scratch);
    }
    worst(sampled, closing::close(skb, flow, scratch))
}

/// Something of the flow was delivered, together with what `scratch.head` says about it.
#[inline(always)]
pub(crate) fn told(flow: &mut Flow, scratch: &Scratch) {
    flow.told = flow.serial;
    if scratch.head.bits & RECEIVER_FIN != 0 {
        let (_, other) = halves(flow, scratch);
        other.bits |= HALF_FIN_TOLD;
    }
}

/// The flow's state for its bucket word.
#[inline(always)]
fn state(flow: &Flow) -> u64 {
    let [first, second] = &flow.halves;
    let (both, any) = (first.bits & second.bits, first.bits | second.bits);
    if both & HALF_FIN != 0 || any & HALF_RST != 0 {
        STATE_FINISHED
    } else if first.link != 0 && second.link != 0 {
        STATE_OPEN
    } else {
        STATE_UNANSWERED
    }
}

/// The half of the flow that the segment belongs to, and the other.
///
/// The verifier knows only the bounds of the index, so it checks the code that follows once for
/// both halves.
#[inline(always)]
pub(crate) fn halves<'a>(flow: &'a mut Flow, scratch: &Scratch) -> (&'a mut Half, &'a mut Half) {
    let side = (scratch.side & 1) as usize;
    let halves = (&raw mut flow.halves).cast::<Half>();
    // SAFETY: 0 and 1 are within the array, and differ from each other.
    unsafe { (&mut *halves.add(side), &mut *halves.add(1 - side)) }
}

/// Fills in what the head of the following events says about the flow.
#[inline(never)]
fn describe(flow: &mut Flow, scratch: &mut Scratch) -> u32 {
    let mut bits = scratch.head.bits & (EGRESS | V6);
    if flow.bits & FLOW_MIDSTREAM != 0 {
        bits |= MIDSTREAM;
    }
    if flow.lost != 0 {
        bits |= LOST;
    }
    if flow.told != flow.serial {
        bits |= FIRST;
    }
    scratch.head.opened = flow.opened;
    let start = scratch.start;
    let (half, other) = halves(flow, scratch);
    if half.bits & HALF_STARTED == 0 {
        half.next = start;
        if half.bits & HALF_ISN == 0 {
            half.isn = start.wrapping_sub(1);
        }
    }
    if other.link == 0 {
        bits |= ALONE;
    }
    if half.bits & HALF_ISN != 0 {
        bits |= SENDER_ISN;
    }
    if other.bits & HALF_ISN != 0 {
        bits |= RECEIVER_ISN;
    }
    if half.bits & HALF_CLIENT != 0 {
        bits |= SENDER_CLIENT;
    }
    if other.bits & HALF_CLIENT != 0 {
        bits |= RECEIVER_CLIENT;
    }
    if other.bits & (HALF_FIN | HALF_FIN_TOLD) == HALF_FIN {
        bits |= RECEIVER_FIN;
    }
    scratch.head.bits = bits;
    scratch.head.isn = [half.isn, other.isn];
    scratch.head.fin = other.fin;
    0
}

/// Counts a lost segment, and logs the 1st, 2nd, 4th, 8th … of its kind.
#[inline(always)]
fn lost(skb: *mut __sk_buff, reason: u32, why: &str) -> u64 {
    let total = count_on(skb, reason);
    if total & total.wrapping_sub(1) == 0 {
        let ctx = TcContext::new(skb);
        warn!(
            &ctx,
            "sample lost on this CPU, as {}: {} so far", why, total
        );
    }
    total
}

/// The flow's key, and which half of it the packet belongs to.
#[inline(always)]
pub(crate) fn order(scratch: &mut Scratch) {
    let packet = &scratch.packet;
    let (src_port, dst_port) = packet.ports();
    let swap = if src_port == dst_port {
        if packet.src[1] == packet.dst[1] {
            packet.src[0] > packet.dst[0]
        } else {
            packet.src[1] > packet.dst[1]
        }
    } else {
        src_port > dst_port
    };
    let (addrs, ports, side) = if swap {
        ([packet.dst, packet.src], [dst_port, src_port], 1)
    } else {
        ([packet.src, packet.dst], [src_port, dst_port], 0)
    };
    scratch.key = Key {
        addrs,
        ports,
        family: packet.family,
        transport: packet.transport,
        reserved: 0,
    };
    scratch.side = side;
}

/// Fills in what the head of the following events says about the packet.
#[inline(always)]
pub(crate) fn fill(scratch: &mut Scratch, skb: *mut __sk_buff, direction: u16) {
    // SAFETY: the helper takes nothing.
    scratch.age = unsafe { bpf_jiffies64() } >> AGE_SHIFT;
    // SAFETY: the context lives as long as the program runs.
    let ifindex = unsafe { (*skb).ifindex };
    scratch.link = if direction == EGRESS {
        ifindex | LINK_EGRESS
    } else {
        ifindex
    };
    let packet: &Packet = &scratch.packet;
    let head = &mut scratch.head;
    // The clock is read only when there is something to deliver.
    clear(&mut head.time);
    clear(&mut head.opened);
    // SAFETY: both are 16 plain bytes, and bytes need no alignment.
    unsafe {
        *(&raw mut head.src).cast() = packet.src;
        *(&raw mut head.dst).cast() = packet.dst;
    }
    (head.src_port, head.dst_port) = packet.ports();
    head.ifindex = ifindex;
    let is_syn = packet.flags & SYN != 0;
    scratch.start = packet.seq.wrapping_add(is_syn as u32);
    head.seq = scratch.start;
    head.ack = packet.ack;
    head.isn = [0; 2];
    head.len = packet.len;
    head.fin = 0;
    head.captured = 0;
    head.bits = direction | if packet.family == 6 { V6 } else { 0 };
    head.tcp_flags = packet.flags & !(SYN | FIN | RST);
    head.pieces = 0;
    head.unread = 0;
    head.transport = packet.transport;
}
