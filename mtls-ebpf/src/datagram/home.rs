//! Where a side's datagrams come from. A side is known at one interface. What claims to be from it
//! at another is either the same datagram on its way, which its fingerprint tells; or somebody
//! else's, of which a little is delivered, marked.

use aya_ebpf::bindings::__sk_buff;
use mtls_ebpf_common::{
    Counter, Flow, Half, Piece,
    event::{FOREIGN, RUN},
    flow::{HALF_DONE, LINK_EGRESS},
};

use crate::{
    count::count_on,
    emit,
    flow::halves,
    maps::Scratch,
    outcome::{SAMPLED, SKIPPED},
    sample::{GLANCE, least},
};

/// Samples of foreign datagrams per flow: enough to say that there are some.
const MOST: u8 = 8;

/// The datagram comes from where its sender is known; where it is known nowhere yet, or only as a
/// sender far away, this is it.
#[inline(always)]
pub(super) fn is_home(flow: &mut Flow, scratch: &Scratch) -> bool {
    let link = scratch.link;
    let (half, other) = halves(flow, scratch);
    if half.link == link {
        return true;
    }
    let leaves = link & LINK_EGRESS != 0;
    let is_known = half.link & LINK_EGRESS != 0 || half.link != 0 && !leaves;
    // One pod cannot be both sides.
    if is_known || leaves && link == other.link {
        return false;
    }
    half.link = link;
    true
}

/// A datagram from elsewhere.
#[inline(never)]
pub(super) fn foreign(skb: *mut __sk_buff, flow: &mut Flow, scratch: &mut Scratch) -> u32 {
    let (half, _) = halves(flow, scratch);
    if half.bits & HALF_DONE != 0 || is_copy(half, scratch.start) {
        return SKIPPED;
    }
    count_on(skb, Counter::Foreign as u32);
    if flow.foreign >= MOST {
        return SKIPPED;
    }
    scratch.head.bits |= FOREIGN | RUN;
    scratch.pieces[0] = Piece {
        offset: 0,
        len: least(scratch.packet.len, GLANCE),
    };
    scratch.head.pieces = 1;
    let outcome = emit::payload(skb, scratch);
    if outcome == SAMPLED {
        flow.foreign += 1;
    }
    outcome
}

/// One of the latest datagrams of the side had this fingerprint.
#[inline(always)]
fn is_copy(half: &Half, print: u32) -> bool {
    print == half.isn || print == half.next || print == half.record || print == half.carry
}

/// Remembers a fingerprint in place of the oldest.
#[inline(always)]
pub(super) fn remember(half: &mut Half, print: u32) {
    // Shifted, as an index into fields would be one into memory that the verifier has to bound.
    half.carry = half.record;
    half.record = half.next;
    half.next = half.isn;
    half.isn = print;
}
