//! Packets that the program cannot read: counted per interface, and reported once per pair of
//! addresses and recheck interval, so that flows between these addresses can say what was not seen.

use aya_ebpf::bindings::__sk_buff;
use mtls_ebpf_common::Counter;

use crate::{
    count::count_on,
    done::{self, signature_v6},
    emit,
    flow::fill,
    headers::PASSED,
    maps::Scratch,
    outcome::SAMPLED,
};

/// Counts the packet in the scratch as `kind`, a [`Counter`], and reports it if that is due.
#[inline(never)]
pub(crate) fn packet(skb: *mut __sk_buff, scratch: &mut Scratch, direction: u16, kind: u32) -> u32 {
    let packet = &scratch.packet;
    // The complement, because a connection's direction might have these addresses and the kind as
    // its ports.
    let signature = !signature_v6(packet.src, packet.dst, kind) & !0xff;
    let is_flow = is_datagram(kind);
    if done::contains(signature) {
        if !is_flow {
            count_on(skb, kind);
        }
        return PASSED;
    }
    count_on(skb, kind);
    if packet.family == 0 {
        // Without addresses, there is no flow to report it for.
        return PASSED;
    }
    fill(scratch, skb, direction);
    scratch.head.unread = kind as u8;
    scratch.head.src_port = 0;
    scratch.head.dst_port = 0;
    if emit::head(skb, scratch) == SAMPLED {
        done::insert(signature);
    }
    PASSED
}

/// Counted once per pair of addresses and interval.
#[inline(always)]
fn is_datagram(kind: u32) -> bool {
    kind == Counter::Udp as u32 || kind == Counter::Sctp as u32 || kind == Counter::Icmp as u32
}
