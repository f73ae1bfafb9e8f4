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
    maps::{self, FLOWS, Scratch},
    parse::{ACK, FIN, Packet, RST, SYN},
    sample::{self, Outcome},
};

/// Takes in the segment in the scratch, and counts what became of it.
#[inline(never)]
pub(crate) fn segment(skb: *mut __sk_buff, direction: u16) -> u32 {
    let Some(scratch) = maps::scratch() else {
        return 0;
    };
    count(Counter::Segments);
    match take(skb, scratch, direction) {
        Ok(Outcome::Sampled) => count(Counter::Sampled),
        Ok(Outcome::Skipped) => count(Counter::Skipped),
        Err(reason) => lost(skb, reason),
    };
    0
}

#[inline(always)]
fn take(skb: *mut __sk_buff, scratch: &mut Scratch, direction: u16) -> Result<Outcome, Counter> {
    let packet = &scratch.packet;
    let is_syn = packet.flags & SYN != 0;
    let (key, side) = order(packet);
    let flow = match FLOWS.get_ptr_mut(&key) {
        // SAFETY: see below.
        Some(flow) if !is_syn || continues(unsafe { &*flow }, side, packet) => flow,
        _ => founded(&key, packet)?,
    };
    // SAFETY: a value of the map stays valid while the program runs. Another CPU may write it at
    // the same time, when the directions of a flow are handled by different ones: each writes its
    // own half, and the flow's bits are only ever set.
    let flow = unsafe { &mut *flow };
    let (half, other) = if side == 0 {
        let [half, other] = &mut flow.halves;
        (half, other)
    } else {
        let [other, half] = &mut flow.halves;
        (half, other)
    };
    let mut start = packet.seq;
    if is_syn {
        start = start.wrapping_add(1);
    }
    if half.bits & HALF_STARTED == 0 {
        half.next = start;
    }
    fill(&mut scratch.head, skb, packet, direction);
    scratch.head.bits |= knowledge(flow.bits, half, other);
    scratch.head.isn = [half.isn, other.isn];

    let mut outcome = Outcome::Skipped;
    if is_syn && half.bits & HALF_ISN == 0 {
        scratch.head.bits |= SENDER_ISN;
        scratch.head.isn[0] = packet.seq;
        if let Err(reason) = emit::control(scratch) {
            flow.bits |= FLOW_LOST;
            return Err(reason);
        }
        half.isn = packet.seq;
        half.bits |= HALF_ISN | HALF_STARTED;
        outcome = Outcome::Sampled;
    }
    let (flags, len) = (packet.flags, packet.len);
    let mut result = Ok(outcome);
    if len > 0 {
        scratch.head.seq = start;
        match sample::payload(skb, start, half, scratch) {
            Ok(Outcome::Skipped) => {}
            other => result = other,
        }
    }
    let end = ending(flags);
    if end & !half.bits != 0 {
        scratch.head.seq = start;
        scratch.head.offset = 0;
        scratch.head.captured = 0;
        scratch.head.records = 0;
        match emit::control(scratch) {
            Ok(()) => {
                half.bits |= end;
                if result.is_ok() {
                    result = Ok(Outcome::Sampled);
                }
            }
            Err(reason) => result = Err(reason),
        }
    }
    if result.is_err() {
        flow.bits |= FLOW_LOST;
    }
    result
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
fn lost(skb: *mut __sk_buff, reason: Counter) -> u64 {
    let total = count(reason);
    if total & total.wrapping_sub(1) == 0 {
        let why = match reason {
            Counter::RingFull => "the ring buffer is full",
            Counter::MapFull => "the flow map is full",
            _ => "the packet cannot be read",
        };
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
fn continues(flow: &Flow, side: usize, packet: &Packet) -> bool {
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

/// Puts a new flow into the map.
#[inline(always)]
fn founded(key: &FlowKey, packet: &Packet) -> Result<*mut Flow, Counter> {
    let is_syn = packet.flags & SYN != 0;
    let is_start = is_syn && packet.flags & ACK == 0;
    let flow = Flow {
        halves: [Half::default(); 2],
        // A SYN-ACK alone: the SYN was missed.
        bits: if is_start { 0 } else { FLOW_MIDSTREAM },
    };
    if FLOWS.insert(key, &flow, 0).is_err() {
        return Err(Counter::MapFull);
    }
    if is_syn {
        done::remove(packet.signature);
        done::remove(packet.signature_back());
    }
    count(if is_start {
        Counter::Flows
    } else {
        Counter::Midstream
    });
    FLOWS.get_ptr_mut(key).ok_or(Counter::MapFull)
}

/// The flow's key, and which half of it the packet belongs to.
#[inline(always)]
fn order(packet: &Packet) -> (FlowKey, usize) {
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
