//! Where the packets of each side come from. Each side of a connection is known at one interface,
//! in one direction. Anything else that claims to be from it is not evidence: it is either the same
//! packet seen again at the next pod's interface, or forged.

use aya_ebpf::bindings::__sk_buff;
use mtls_ebpf_common::{
    Counter, Flow, Half, Piece,
    event::{FOREIGN, RUN},
    flow::{HALF_DONE, HALF_HOLE, HALF_ISN, HALF_STARTED, LINK_EGRESS},
};

use crate::{
    count::count_on,
    emit,
    flow::{halves, told},
    maps::Scratch,
    outcome::{SAMPLED, SKIPPED},
    parse::{FIN, RST, SYN},
    sample::{GLANCE, least},
};

/// Samples of foreign payload per connection: enough to report that there is some.
const MOST: u8 = 8;

/// Whether the segment comes from where its sender is known. If the sender is not known anywhere
/// yet, it is now known here.
#[inline(always)]
pub(crate) fn is_home(flow: &mut Flow, scratch: &Scratch) -> bool {
    let link = scratch.link;
    let (half, other) = halves(flow, scratch);
    if half.link == link {
        return true;
    }
    // One pod cannot be both sides.
    if link & LINK_EGRESS != 0 && link == other.link {
        return false;
    }
    if half.link != 0 {
        return comes_home(half, scratch);
    }
    // Only the sender knows where its stream begins.
    if half.bits & HALF_ISN != 0 && scratch.start != half.isn.wrapping_add(1) {
        return false;
    }
    half.link = link;
    true
}

/// The sender was first seen where its packets arrive, because its own interface was not watched
/// yet or its first packet was lost there. This segment leaves the sender's own interface with
/// exactly the next bytes; nobody else can know their number before they have arrived anywhere.
#[inline(always)]
fn comes_home(half: &mut Half, scratch: &Scratch) -> bool {
    let is_next = half.bits & (HALF_STARTED | HALF_HOLE | HALF_DONE) == HALF_STARTED
        && scratch.start == half.next
        && scratch.packet.len > 0;
    if !is_next || half.link & LINK_EGRESS != 0 || scratch.link & LINK_EGRESS == 0 {
        return false;
    }
    half.link = scratch.link;
    true
}

/// The bytes have been, or may have been, accepted.
#[inline(always)]
pub(crate) fn is_taken(half: &Half, start: u32, len: u32) -> bool {
    // Compared by their distance from the start of the stream (RFC 9293 §3.4), so that this also
    // works after 4 GiB, and for a keep-alive's byte right before the start.
    let known = half.next.wrapping_sub(half.isn);
    start.wrapping_sub(half.isn) <= known && start.wrapping_add(len).wrapping_sub(half.isn) <= known
}

/// A segment from elsewhere. A little of its payload is delivered and marked as foreign, if it was
/// not seen at its sender's interface.
#[inline(never)]
pub(crate) fn foreign(skb: *mut __sk_buff, flow: &mut Flow, scratch: &mut Scratch) -> u32 {
    let (start, len) = (scratch.start, scratch.packet.len);
    let is_claim = scratch.link & LINK_EGRESS != 0;
    let (half, _) = halves(flow, scratch);
    if half.bits & HALF_DONE != 0 || len == 0 || is_taken(half, start, len) {
        if is_claim && scratch.packet.flags & (SYN | FIN | RST) != 0 {
            count_on(skb, Counter::ControlIgnored as u32);
        }
        return SKIPPED;
    }
    // On its way to the receiver, a packet passes the second interface; at its sender's interface,
    // it may have been lost.
    if flow.lost != 0 && !is_claim {
        return SKIPPED;
    }
    count_on(skb, Counter::Foreign as u32);
    if flow.foreign >= MOST {
        return SKIPPED;
    }
    scratch.head.bits |= FOREIGN | RUN;
    scratch.pieces[0] = Piece {
        offset: 0,
        len: least(len, GLANCE),
    };
    scratch.head.pieces = 1;
    let outcome = emit::payload(skb, scratch);
    if outcome == SAMPLED {
        flow.foreign += 1;
        told(flow, scratch);
    }
    outcome
}
