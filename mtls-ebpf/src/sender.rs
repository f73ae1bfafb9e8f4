//! Where a side's packets come from. A side of a connection is known at one interface, in one
//! direction; what else claims to be from it is no evidence: the same packet seen again at the next
//! pod's interface, or somebody else's.

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

/// Samples of foreign payload per connection: enough to say that there is some.
const MOST: u8 = 8;

/// The segment comes from where its sender is known; where it is known nowhere yet, this is it.
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

/// The sender was met where its packets arrive, as its own interface was not watched yet or its first
/// packet was lost there; and this comes out of its interface: the very next bytes, which nobody else
/// knows to number, before they have arrived anywhere.
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

/// The bytes were taken, or may have been.
#[inline(always)]
pub(crate) fn is_taken(half: &Half, start: u32, len: u32) -> bool {
    // By their distances from the beginning (RFC 9293 §3.4): after 4 GiB, and for a keep-alive's
    // byte right before it, too.
    let known = half.next.wrapping_sub(half.isn);
    start.wrapping_sub(half.isn) <= known && start.wrapping_add(len).wrapping_sub(half.isn) <= known
}

/// A segment from elsewhere: of payload that was not seen where it should come from, a little is
/// delivered, and marked.
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
    // On its way to the receiver it passes the second interface, and at its sender's it may have been
    // lost.
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
