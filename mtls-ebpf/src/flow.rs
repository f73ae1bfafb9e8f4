//! A segment's flow: found or founded.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_ktime_get_boot_ns, programs::TcContext};
use aya_log_ebpf::warn;
use mtls_ebpf_common::{
    Counter, Flow, FlowKey, Half, Head,
    event::{LOST, MIDSTREAM, RECEIVER_ISN, SENDER_ISN},
    flow::{FLOW_LOST, FLOW_MIDSTREAM, HALF_FIN, HALF_ISN, HALF_RST, HALF_STARTED},
};

use crate::{
    count::count,
    done, emit,
    maps::{self, FLOWS, LOSSES, Scratch},
    outcome::{MAP_FULL, RING_FULL, SAMPLED, SKIPPED, worst},
    parse::{ACK, FIN, Packet, RST, SYN},
    sample,
};

/// Takes in the segment in the scratch, and counts what became of it.
#[inline(never)]
pub(crate) fn segment(skb: *mut __sk_buff, direction: u16) -> u32 {
    count(Counter::Segments);
    let outcome = take(skb, direction);
    match outcome {
        SAMPLED => count(Counter::Sampled),
        SKIPPED => count(Counter::Skipped),
        RING_FULL => lost(skb, Counter::RingFull, "the ring buffer is full"),
        MAP_FULL => lost(skb, Counter::MapFull, "the flow map is full"),
        _ => lost(skb, Counter::Unreadable, "the packet cannot be read"),
    };
    if outcome > SAMPLED {
        charge(skb, outcome.wrapping_sub(RING_FULL));
    }
    0
}

/// Books a loss to the interface that it happened on. `reason`: which of [`Losses`].
#[inline(never)]
fn charge(skb: *mut __sk_buff, reason: u32) -> u32 {
    // SAFETY: the context is the kernel's, and lives as long as the program runs.
    let interface = unsafe { (*skb).ifindex };
    if LOSSES.get_ptr_mut(&interface).is_none() {
        // When that fails there is nothing to count in.
        let _ = LOSSES.insert(&interface, &[0; 3], 0);
    }
    let Some(losses) = LOSSES.get_ptr_mut(&interface) else {
        return 0;
    };
    let slot = if reason < 2 { reason as usize } else { 2 };
    // SAFETY: the value is this CPU's own, and the slot is within it.
    unsafe { (*losses)[slot] += 1 };
    1
}

#[inline(always)]
fn take(skb: *mut __sk_buff, direction: u16) -> u32 {
    let Some(scratch) = maps::scratch() else {
        return MAP_FULL;
    };
    let Some(flow) = find(scratch) else {
        return MAP_FULL;
    };
    describe(skb, flow, scratch, direction);
    let opened = opening(flow, scratch);
    if opened > SAMPLED {
        flow.bits |= FLOW_LOST;
        return opened;
    }
    scratch.head.seq = scratch.start;
    let sampled = if scratch.packet.len > 0 {
        sample::payload(skb, flow, scratch)
    } else {
        SKIPPED
    };
    let closed = closing(flow, scratch);
    let outcome = worst(opened, worst(sampled, closed));
    if outcome > SAMPLED {
        flow.bits |= FLOW_LOST;
    }
    outcome
}

/// The half of the flow that the segment belongs to, and the other.
///
/// The index is a number that the verifier knows only the bounds of, so that it looks at what
/// follows once for both.
#[inline(always)]
pub(crate) fn halves<'a>(flow: &'a mut Flow, scratch: &Scratch) -> (&'a mut Half, &'a mut Half) {
    let side = (scratch.side & 1) as usize;
    let halves = (&raw mut flow.halves).cast::<Half>();
    // SAFETY: 0 and 1 are within the array, and differ from one another.
    unsafe { (&mut *halves.add(side), &mut *halves.add(1 - side)) }
}

/// The segment's flow, founded where there is none.
#[inline(always)]
fn find(scratch: &mut Scratch) -> Option<&'static mut Flow> {
    let packet = &scratch.packet;
    let (key, side) = order(packet);
    let flow = match FLOWS.get_ptr_mut(&key) {
        // SAFETY: see below.
        Some(flow) if packet.flags & SYN == 0 || continues(unsafe { &*flow }, side, packet) => flow,
        found => founded(&key, found, packet)?,
    };
    scratch.side = side;
    // SAFETY: a value of the map stays valid while the program runs. Another CPU may write it at
    // the same time, when the directions of a flow are handled by different ones: each writes its
    // own half, and the flow's bits are only ever set.
    Some(unsafe { &mut *flow })
}

/// Writes the head of the events to come.
#[inline(never)]
fn describe(skb: *mut __sk_buff, flow: &mut Flow, scratch: &mut Scratch, direction: u16) -> u32 {
    let bits = flow.bits;
    let (half, other) = halves(flow, scratch);
    let mut start = scratch.packet.seq;
    if scratch.packet.flags & SYN != 0 {
        start = start.wrapping_add(1);
    }
    scratch.start = start;
    if half.bits & HALF_STARTED == 0 {
        half.next = start;
    }
    fill(&mut scratch.head, skb, &scratch.packet, direction);
    scratch.head.bits |= knowledge(bits, half, other);
    scratch.head.isn = [half.isn, other.isn];
    0
}

/// Reports a SYN that was not reported yet.
#[inline(always)]
fn opening(flow: &mut Flow, scratch: &mut Scratch) -> u32 {
    let (half, _) = halves(flow, scratch);
    if scratch.packet.flags & SYN == 0 || half.bits & HALF_ISN != 0 {
        return SKIPPED;
    }
    scratch.head.bits |= SENDER_ISN;
    scratch.head.isn[0] = scratch.packet.seq;
    let outcome = emit::control(scratch);
    if outcome == SAMPLED {
        half.isn = scratch.packet.seq;
        half.bits |= HALF_ISN | HALF_STARTED;
    }
    outcome
}

/// Reports a FIN or RST that was not reported yet.
#[inline(always)]
fn closing(flow: &mut Flow, scratch: &mut Scratch) -> u32 {
    let (half, _) = halves(flow, scratch);
    let end = ending(scratch.packet.flags);
    if end & !half.bits == 0 {
        return SKIPPED;
    }
    scratch.head.offset = 0;
    scratch.head.captured = 0;
    scratch.head.records = 0;
    let outcome = emit::control(scratch);
    if outcome == SAMPLED {
        half.bits |= end;
    }
    outcome
}

/// The bits that record the end of a direction, for the flags that bring it.
#[inline(always)]
fn ending(flags: u8) -> u8 {
    let mut bits = 0;
    if flags & FIN != 0 {
        bits |= HALF_FIN;
    }
    if flags & RST != 0 {
        bits |= HALF_RST;
    }
    bits
}

/// What is known of a flow, as an event says it.
#[inline(always)]
fn knowledge(flow: u32, half: &Half, other: &Half) -> u16 {
    let mut bits = 0;
    if half.bits & HALF_ISN != 0 {
        bits |= SENDER_ISN;
    }
    if other.bits & HALF_ISN != 0 {
        bits |= RECEIVER_ISN;
    }
    if flow & FLOW_MIDSTREAM != 0 {
        bits |= MIDSTREAM;
    }
    if flow & FLOW_LOST != 0 {
        bits |= LOST;
    }
    bits
}

/// Counts a lost segment, and says so at the 1st, 2nd, 4th, 8th … of its kind.
#[inline(always)]
fn lost(skb: *mut __sk_buff, reason: Counter, why: &str) -> u64 {
    let total = count(reason);
    if total & total.wrapping_sub(1) == 0 {
        let ctx = TcContext::new(skb);
        warn!(
            &ctx,
            "sample lost on this CPU, as {}: {} so far", why, total
        );
    }
    total
}

/// A SYN that belongs to the flow that is in the map, and does not begin another with its ports.
#[inline(always)]
fn continues(flow: &Flow, side: u32, packet: &Packet) -> bool {
    let (half, other) = if side == 0 {
        (&flow.halves[0], &flow.halves[1])
    } else {
        (&flow.halves[1], &flow.halves[0])
    };
    if half.bits & HALF_ISN != 0 {
        return half.isn == packet.seq;
    }
    let other_is_new = other.bits & HALF_ISN != 0 && flow.bits & FLOW_MIDSTREAM == 0;
    // An answer, or the other SYN of a simultaneous open.
    other_is_new && (packet.flags & ACK == 0 || packet.ack == other.isn.wrapping_add(1))
}

/// Puts a new flow into the map, or in the place of the `old` one with its addresses and ports.
#[inline(always)]
fn founded(key: &FlowKey, old: Option<*mut Flow>, packet: &Packet) -> Option<*mut Flow> {
    let is_syn = packet.flags & SYN != 0;
    let is_start = is_syn && packet.flags & ACK == 0;
    let new = Flow {
        halves: [Half::default(); 2],
        // A SYN-ACK alone: the SYN was missed.
        bits: if is_start { 0 } else { FLOW_MIDSTREAM },
    };
    if is_syn {
        done::remove(packet.signature);
        done::remove(packet.signature_back());
    }
    count(if is_start {
        Counter::Flows
    } else {
        Counter::Midstream
    });
    if let Some(old) = old {
        // SAFETY: a value of the map, see `find`.
        unsafe { *old = new };
        return Some(old);
    }
    if FLOWS.insert(key, &new, 0).is_err() {
        return None;
    }
    FLOWS.get_ptr_mut(key)
}

/// The flow's key, and which half of it the packet belongs to.
#[inline(always)]
fn order(packet: &Packet) -> (FlowKey, u32) {
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
    let key = FlowKey {
        addrs,
        ports,
        reserved: 0,
    };
    (key, side)
}

#[inline(always)]
fn fill(head: &mut Head, skb: *mut __sk_buff, packet: &Packet, direction: u16) {
    // SAFETY: the helper takes nothing.
    head.time = unsafe { bpf_ktime_get_boot_ns() };
    // SAFETY: both are 16 plain bytes.
    unsafe {
        *(&raw mut head.src).cast() = packet.src;
        *(&raw mut head.dst).cast() = packet.dst;
    }
    (head.src_port, head.dst_port) = packet.ports();
    // SAFETY: the context lives as long as the program runs.
    head.ifindex = unsafe { (*skb).ifindex };
    head.seq = packet.seq;
    head.ack = packet.ack;
    head.isn = [0; 2];
    head.len = packet.len;
    head.offset = 0;
    head.captured = 0;
    head.bits = direction;
    head.tcp_flags = packet.flags;
    head.records = 0;
}
