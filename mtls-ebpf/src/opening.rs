//! Which segments begin a connection. A SYN alone proves nothing: anybody can send one with any
//! number. In a connection that is open and unfinished, no receiver accepts it (RFC 9293 §3.10.7.4,
//! RFC 5961 §4); it begins another connection once the other side has answered it.

use aya_ebpf::bindings::__sk_buff;
use mtls_ebpf_common::{
    Counter, Flow,
    flow::{
        FLOW_MIDSTREAM, HALF_CLIENT, HALF_FIN, HALF_ISN, HALF_RST, HALF_STARTED, HALF_SYN,
        LINK_EGRESS,
    },
    packet::protocol,
};

use crate::{
    count::{count, count_on},
    flow::halves,
    maps::Scratch,
    parse::{ACK, Packet, RST, SYN},
    table,
};

/// The SYN belongs to the flow in its current state.
pub(crate) const TAKEN: u32 = 0;
/// It does not, or not yet.
pub(crate) const IGNORED: u32 = 1;

/// The segment can be the first one seen of a connection. A FIN or RST without a beginning belongs
/// to no connection that is followed.
#[inline(always)]
pub(crate) fn founds(packet: &Packet) -> bool {
    packet.len > 0 || packet.flags & SYN != 0 && packet.flags & RST == 0
}

/// The flow was just created.
#[inline(always)]
pub(crate) fn found(flow: &mut Flow, scratch: &Scratch) {
    if scratch.packet.transport == protocol::UDP {
        count(Counter::DatagramFlows);
    } else if scratch.packet.flags & SYN == 0 {
        flow.bits |= FLOW_MIDSTREAM;
        count(Counter::Midstream);
    } else {
        begin(flow, scratch);
    }
}

/// Processes a SYN: [`TAKEN`] or [`IGNORED`].
#[inline(never)]
pub(crate) fn syn(skb: *mut __sk_buff, flow: &mut Flow, scratch: &mut Scratch) -> u32 {
    let packet = &scratch.packet;
    let (seq, link) = (packet.seq, scratch.link);
    let is_answer = packet.flags & ACK != 0;
    let is_midstream = flow.bits & FLOW_MIDSTREAM != 0;
    let (half, other) = halves(flow, scratch);
    if half.bits & HALF_ISN != 0 && half.isn == seq {
        return TAKEN;
    }
    let is_first = half.bits & (HALF_ISN | HALF_STARTED) == 0;
    if is_first && other.bits & HALF_ISN != 0 && !is_midstream {
        // An answer, or the other SYN of a simultaneous open (RFC 9293 §3.5).
        let is_of_it = !is_answer || packet.ack == other.isn.wrapping_add(1);
        // Not from the interface where the other side's packets come from.
        let is_apart = link & LINK_EGRESS == 0 || link != other.link;
        if is_of_it && is_apart {
            half.isn = seq;
            half.next = seq.wrapping_add(1);
            half.bits |= HALF_ISN | HALF_STARTED;
            return TAKEN;
        }
    }
    let is_over = (half.bits & other.bits) & HALF_FIN != 0
        || (half.bits | other.bits) & HALF_RST != 0
        || half.link == 0
        || other.link == 0;
    let is_answered = is_answer && (half.link == link || other.bits & HALF_SYN != 0);
    if is_over || is_answered {
        table::forget(flow);
        table::begin(flow, scratch);
        begin(flow, scratch);
        return TAKEN;
    }
    if half.link == link && half.bits & HALF_SYN == 0 {
        half.bits |= HALF_SYN;
    } else if link & LINK_EGRESS != 0 {
        count_on(skb, Counter::ControlIgnored as u32);
    }
    IGNORED
}

/// Records a SYN in a flow that begins with it.
#[inline(always)]
fn begin(flow: &mut Flow, scratch: &Scratch) {
    count(Counter::Flows);
    let packet = &scratch.packet;
    let is_answer = packet.flags & ACK != 0;
    let (half, other) = halves(flow, scratch);
    half.link = scratch.link;
    half.isn = packet.seq;
    half.next = packet.seq.wrapping_add(1);
    half.bits = HALF_ISN | HALF_STARTED;
    if is_answer {
        // The SYN that it answers was not seen, but this segment shows its sequence number.
        other.isn = packet.ack.wrapping_sub(1);
        other.next = packet.ack;
        other.bits = HALF_ISN | HALF_STARTED | HALF_CLIENT;
    } else {
        half.bits |= HALF_CLIENT;
    }
}
