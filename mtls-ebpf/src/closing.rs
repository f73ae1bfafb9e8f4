//! FIN and RST. Both are accepted only from the interface where their sender is known, and at the
//! expected sequence number as far as it is known here (RFC 9293 §3.5.2, RFC 5961 §3). Payload
//! after them [`reopen`]s the connection.

use aya_ebpf::{
    bindings::__sk_buff,
    check_bounds_signed,
    helpers::{bpf_csum_diff, bpf_skb_load_bytes},
};
use mtls_ebpf_common::{
    Counter, Flow, Half,
    event::RECEIVER_FIN,
    flow::{
        FLOW_CLOSED, HALF_DONE, HALF_FIN, HALF_FIN_AHEAD, HALF_FIN_TOLD, HALF_HOLE, HALF_ISN,
        HALF_RST, HALF_STARTED,
    },
    packet::{TCP, protocol},
};

use crate::{
    count::count_on,
    done, emit,
    flow::{halves, told},
    maps::Scratch,
    outcome::{SAMPLED, SKIPPED},
    parse::{ACK, FIN, RST},
};

/// How far behind the last byte seen a FIN or RST may be if some segments were not seen.
const AHEAD: u32 = 1 << 30;

/// Notes a FIN or RST, and delivers it if it ends the connection.
#[inline(always)]
pub(crate) fn close(skb: *mut __sk_buff, flow: &mut Flow, scratch: &mut Scratch) -> u32 {
    let flags = scratch.packet.flags;
    if flags & (FIN | RST) == 0 {
        return SKIPPED;
    }
    let end = scratch.start.wrapping_add(scratch.packet.len);
    let (half, other) = halves(flow, scratch);
    if flags & RST != 0 {
        if half.bits & HALF_RST != 0 {
            return again(skb, flow, scratch);
        }
        if !is_due(half, other, scratch, end) || is_corrupt(skb, scratch) {
            count_on(skb, Counter::ControlIgnored as u32);
            return SKIPPED;
        }
        half.bits |= HALF_RST;
        half.looks = 0;
        other.looks = 0;
        // Whatever either side sends from now on is of interest again.
        done::remove(scratch.packet.signature);
        done::remove(scratch.packet.signature_back());
    } else {
        if half.bits & HALF_FIN != 0 {
            return again(skb, flow, scratch);
        }
        let answers = answers(half, other, scratch, end);
        if !is_due(half, other, scratch, end) && !answers {
            if end.wrapping_sub(half.next) < AHEAD {
                half.fin = end;
                half.bits |= HALF_FIN_AHEAD;
            }
            count_on(skb, Counter::ControlIgnored as u32);
            return SKIPPED;
        }
        if answers && other.bits & HALF_FIN == 0 {
            other.bits |= HALF_FIN;
            scratch.head.bits |= RECEIVER_FIN;
            scratch.head.fin = other.fin;
        }
        half.fin = end;
        half.bits |= HALF_FIN;
        half.looks = 0;
        if half.bits & HALF_DONE != 0 {
            done::remove(scratch.packet.signature);
        }
        // It was delivered with the payload.
        if scratch.head.tcp_flags & FIN != 0 {
            half.bits |= HALF_FIN_TOLD;
        }
    }
    again(skb, flow, scratch)
}

/// Delivers the end of the connection, unless it was delivered already. The first FIN alone is not
/// the end, except for a connection of which nothing else will be seen.
#[inline(always)]
fn again(skb: *mut __sk_buff, flow: &mut Flow, scratch: &mut Scratch) -> u32 {
    let is_closed = flow.bits & FLOW_CLOSED != 0;
    let (half, other) = halves(flow, scratch);
    let is_reset = half.bits & HALF_RST != 0;
    let both = half.bits & other.bits;
    let is_alone = other.link == 0 && half.bits & HALF_FIN_TOLD == 0;
    if !is_reset && both & HALF_FIN == 0 && !is_alone || is_closed {
        return SKIPPED;
    }
    if !is_reset && both & HALF_FIN_TOLD != 0 {
        flow.bits |= FLOW_CLOSED;
        return SKIPPED;
    }
    scratch.head.tcp_flags = scratch.packet.flags & (FIN | RST | ACK);
    scratch.head.captured = 0;
    scratch.head.pieces = 0;
    if other.bits & HALF_FIN_TOLD != 0 {
        scratch.head.bits &= !RECEIVER_FIN;
    }
    let outcome = emit::head(skb, scratch);
    if outcome == SAMPLED {
        half.bits |= HALF_FIN_TOLD;
        if is_reset || both & HALF_FIN != 0 {
            flow.bits |= FLOW_CLOSED;
        }
        told(flow, scratch);
    }
    outcome
}

/// There is payload after the apparent end, so the connection had not ended.
#[inline(always)]
pub(crate) fn reopen(flow: &mut Flow, scratch: &Scratch) {
    let (half, other) = halves(flow, scratch);
    half.bits &= !(HALF_FIN | HALF_FIN_AHEAD | HALF_FIN_TOLD | HALF_RST);
    other.bits &= !HALF_RST;
    flow.bits &= !FLOW_CLOSED;
}

/// The FIN acknowledges the other side's FIN: bytes sent before either of them were not seen (as
/// with fragments), but the two sides agree on how many there were.
#[inline(always)]
fn answers(half: &Half, other: &Half, scratch: &Scratch, end: u32) -> bool {
    other.bits & (HALF_FIN | HALF_FIN_AHEAD) != 0
        && scratch.packet.flags & ACK != 0
        && scratch.packet.ack == other.fin.wrapping_add(1)
        && end.wrapping_sub(half.next) < AHEAD
}

/// The sequence number is the one that the receiver expects, as far as that is known.
#[inline(always)]
fn is_due(half: &Half, other: &Half, scratch: &Scratch, end: u32) -> bool {
    if half.bits & HALF_STARTED == 0 {
        // A refused SYN (RFC 9293 §3.10.7.1).
        let answers =
            scratch.packet.flags & ACK != 0 && scratch.packet.ack == other.isn.wrapping_add(1);
        return other.bits & HALF_ISN == 0 || answers;
    }
    if half.bits & HALF_DONE != 0 {
        // Later segments were not inspected.
        return true;
    }
    let ahead = end.wrapping_sub(half.next);
    if half.bits & HALF_HOLE != 0 {
        return ahead < AHEAD;
    }
    // After its own FIN, a sender's RST is one further on.
    ahead == 0 || half.bits & HALF_FIN != 0 && ahead == 1
}

/// The checksum is wrong, as far as that can be determined cheaply: for a segment without payload.
/// With checksum offload, the field contains only the sum of the pseudo-header.
#[inline(never)]
fn is_corrupt(skb: *mut __sk_buff, scratch: &mut Scratch) -> bool {
    let packet = &scratch.packet;
    let header = packet.header as i64;
    if packet.len != 0 {
        return false;
    }
    let at = packet.offset.wrapping_sub(header as u32);
    let buffer = (&raw mut scratch.payload).cast::<u8>();
    // SAFETY: at most 60 bytes are written into a larger buffer, and read from it.
    let sum = unsafe {
        if !check_bounds_signed(header, TCP as i64, 60)
            || bpf_skb_load_bytes(skb.cast(), at, buffer.cast(), header as u32) != 0
        {
            return false;
        }
        let seed = (header as u16).to_be() as u32 + (protocol::TCP as u16).to_be() as u32;
        let addresses = (&raw mut scratch.packet.src).cast::<u32>();
        let pseudo = bpf_csum_diff(core::ptr::null_mut(), 0, addresses, 32, seed);
        let field = u16::from_ne_bytes([*buffer.add(16), *buffer.add(17)]);
        if pseudo >= 0 && fold(pseudo as u32) == field {
            return false;
        }
        bpf_csum_diff(
            core::ptr::null_mut(),
            0,
            buffer.cast(),
            header as u32,
            pseudo as u32,
        )
    };
    sum < 0 || fold(sum as u32) != 0xffff
}

#[inline(always)]
fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
