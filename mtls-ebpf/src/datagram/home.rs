//! Where the datagrams of each side come from. A side is known at one interface. A datagram that
//! claims to be from it at another interface is either the same datagram further along its path,
//! which its fingerprint shows, or a foreign one, of which a little is delivered and marked.

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

/// Samples of foreign datagrams per flow: enough to report that there are some.
const MOST: u8 = 8;

/// Whether the datagram comes from where its sender is known. If the sender is not known anywhere
/// yet, or only as a remote sender, it is now known here.
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

/// Whether one of the side's latest datagrams had this fingerprint.
#[inline(always)]
fn is_copy(half: &Half, print: u32) -> bool {
    print == half.isn || print == half.next || print == half.record || print == half.carry
}

/// Stores a fingerprint in place of the oldest.
#[inline(always)]
pub(super) fn remember(half: &mut Half, print: u32) {
    // Uses shifts, because indexing the fields would require bounds that the verifier can check.
    half.carry = half.record;
    half.record = half.next;
    half.next = half.isn;
    half.isn = print;
}
