//! The tc classifier that samples the first bytes of each direction of each flow.
//!
//! It always passes the packet on to the next program: it observes and never drops or changes a
//! packet.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod atomic;
#[cfg(feature = "bench")]
mod bench;
mod closing;
mod count;
mod datagram;
mod done;
mod emit;
mod flow;
mod headers;
mod maps;
mod opening;
mod outcome;
mod parse;
mod records;
mod sample;
mod sender;
mod table;
mod unread;
mod victim;

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_UNSPEC},
    macros::classifier,
    programs::TcContext,
};
use mtls_ebpf_common::event::EGRESS;
use parse::Parsed;

/// What the pod sends: runs at tc ingress of the host's end of the veth.
#[classifier]
pub(crate) fn mtls_egress(ctx: TcContext) -> i32 {
    watch(&ctx, EGRESS);
    TC_ACT_UNSPEC
}

/// What the pod receives: runs at tc egress of the host's end of the veth.
#[classifier]
pub(crate) fn mtls_ingress(ctx: TcContext) -> i32 {
    watch(&ctx, 0);
    TC_ACT_UNSPEC
}

/// The fast path, which most packets take. `direction` is 0 or [`EGRESS`].
#[inline(always)]
fn watch(ctx: &TcContext, direction: u16) {
    let skb = ctx.skb.skb;
    let is_kept = match parse::parse::<true>(ctx) {
        // SYN, FIN and RST never take it.
        Parsed::Segment(packet) if packet.is_control() || !done::contains(packet.signature) => {
            keep(skb)
        }
        Parsed::Segment(_) | Parsed::Nothing => return,
        Parsed::Datagram(signature) if done::contains(signature) => return,
        Parsed::Datagram(_) | Parsed::Other => keep_other(skb, direction),
    };
    // The only call site of these: the verifier checks them once per call.
    if is_kept == headers::SEGMENT {
        flow::segment(skb, direction);
    } else if is_kept == headers::DATAGRAM && maps::DATAGRAMS.load() != 0 {
        datagram::take(skb, direction);
    }
}

/// The start of the slow path. It parses the packet again, so that the fast path keeps only what it
/// needs in registers. The result goes into a map, so that the verifier checks the rest once, and
/// not once per shape of packet. Returns 0 if there is nothing to do.
#[inline(never)]
fn keep(skb: *mut __sk_buff) -> u32 {
    if let Parsed::Segment(packet) = parse::parse::<false>(&TcContext::new(skb))
        && let Some(scratch) = maps::scratch()
    {
        scratch.packet = packet;
        return headers::SEGMENT;
    }
    headers::PASSED
}

/// The same for datagrams, and for packets of unusual shape.
#[inline(never)]
fn keep_other(skb: *mut __sk_buff, direction: u16) -> u32 {
    if datagram::header::is_done(skb) {
        return headers::PASSED;
    }
    match maps::scratch() {
        Some(scratch) => headers::read(skb, scratch, direction),
        None => headers::PASSED,
    }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel permits its GPL-only helpers only to programs that declare this licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
