//! A segment's flow: found or founded.

use aya_ebpf::{helpers::bpf_ktime_get_boot_ns, programs::TcContext};
use mtls_ebpf_common::{
    Counter, Flow, FlowKey, Half,
    event::{LOST, MIDSTREAM, RECEIVER_ISN, SENDER_ISN},
    flow::{FLOW_LOST, FLOW_MIDSTREAM, HALF_FIN, HALF_ISN, HALF_STARTED},
};

use crate::{
    count::count,
    emit,
    maps::{FLOWS, SCRATCH},
    parse::{ACK, FIN, Packet, RST, SYN},
    sample::{self, Outcome},
};

/// Takes in a segment, and counts what became of it.
#[inline(always)]
pub(crate) fn segment(ctx: &TcContext, packet: &Packet, direction: u16) {
    count(Counter::Segments);
    let outcome = match take(ctx, packet, direction) {
        Ok(Outcome::Sampled) => Counter::Sampled,
        Ok(Outcome::Skipped) => Counter::Skipped,
        Err(reason) => reason,
    };
    count(outcome);
}

#[inline(always)]
fn take(ctx: &TcContext, packet: &Packet, direction: u16) -> Result<Outcome, Counter> {
    let (key, side) = order(packet);
    let flow = match FLOWS.get_ptr_mut(&key) {
        Some(flow) if packet.flags & SYN == 0 || continues(unsafe { &*flow }, side, packet) => flow,
        found => found_flow(&key, found.is_some(), packet)?,
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
    let scratch = SCRATCH.get_ptr_mut(0).ok_or(Counter::MapFull)?;
    // SAFETY: this CPU's own, see the map.
    let scratch = unsafe { &mut *scratch };

    let mut start = packet.seq;
    let mut wanted = false;
    if packet.flags & SYN != 0 {
        start = start.wrapping_add(1);
        wanted = half.bits & HALF_ISN == 0;
        half.isn = packet.seq;
    }
    if half.bits & HALF_STARTED == 0 {
        half.next = start;
    }
    wanted |= packet.flags & FIN != 0 && half.bits & HALF_FIN == 0;
    wanted |= packet.flags & RST != 0;

    fill(&mut scratch.head, ctx, packet, direction);
    let known = packet.flags & SYN != 0;
    if known || half.bits & HALF_ISN != 0 {
        scratch.head.bits |= SENDER_ISN;
        scratch.head.isn[0] = half.isn;
    }
    if other.bits & HALF_ISN != 0 {
        scratch.head.bits |= RECEIVER_ISN;
        scratch.head.isn[1] = other.isn;
    }
    if flow.bits & FLOW_MIDSTREAM != 0 {
        scratch.head.bits |= MIDSTREAM;
    }
    if flow.bits & FLOW_LOST != 0 {
        scratch.head.bits |= LOST;
    }

    let result = if packet.len > 0 {
        sample::payload(ctx, packet, start, half, scratch, wanted)
    } else if wanted {
        emit::head(scratch).map(|()| Outcome::Sampled)
    } else {
        Ok(Outcome::Skipped)
    };
    match result {
        Ok(_) => {
            if packet.flags & SYN != 0 {
                half.bits |= HALF_ISN | HALF_STARTED;
            }
            if packet.flags & FIN != 0 {
                half.bits |= HALF_FIN;
            }
        }
        Err(_) => flow.bits |= FLOW_LOST,
    }
    result
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

/// Puts a flow into the map.
#[inline(always)]
fn found_flow(key: &FlowKey, replaces: bool, packet: &Packet) -> Result<*mut Flow, Counter> {
    let syn = packet.flags & SYN != 0;
    let flow = Flow {
        halves: [Half::default(); 2],
        bits: if syn && packet.flags & ACK == 0 {
            0
        } else {
            FLOW_MIDSTREAM
        },
    };
    let _ = replaces;
    if FLOWS.insert(key, &flow, 0).is_err() {
        return Err(Counter::MapFull);
    }
    count(if syn {
        Counter::Flows
    } else {
        Counter::Midstream
    });
    FLOWS.get_ptr_mut(key).ok_or(Counter::MapFull)
}

/// The flow's key, and which half of it the packet belongs to.
#[inline(always)]
fn order(packet: &Packet) -> (FlowKey, usize) {
    let swap = if packet.src_port == packet.dst_port {
        if packet.src[1] == packet.dst[1] {
            packet.src[0] > packet.dst[0]
        } else {
            packet.src[1] > packet.dst[1]
        }
    } else {
        packet.src_port > packet.dst_port
    };
    if swap {
        let key = FlowKey {
            addrs: [packet.dst, packet.src],
            ports: [packet.dst_port, packet.src_port],
            reserved: 0,
        };
        (key, 1)
    } else {
        let key = FlowKey {
            addrs: [packet.src, packet.dst],
            ports: [packet.src_port, packet.dst_port],
            reserved: 0,
        };
        (key, 0)
    }
}

#[inline(always)]
fn fill(head: &mut mtls_ebpf_common::Head, ctx: &TcContext, packet: &Packet, direction: u16) {
    // SAFETY: the helper takes nothing.
    head.time = unsafe { bpf_ktime_get_boot_ns() };
    // SAFETY: both are 16 plain bytes.
    unsafe {
        *(&raw mut head.src).cast() = packet.src;
        *(&raw mut head.dst).cast() = packet.dst;
    }
    head.src_port = u16::from_be(packet.src_port);
    head.dst_port = u16::from_be(packet.dst_port);
    // SAFETY: the context lives as long as the program runs.
    head.ifindex = unsafe { (*ctx.skb.skb).ifindex };
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
