//! Writes samples as events into the ring buffer.

use core::slice;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_RB_AVAIL_DATA, BPF_RB_PROD_POS},
    check_bounds_signed,
    helpers::{bpf_ktime_get_boot_ns, bpf_skb_load_bytes},
};
use mtls_ebpf_common::{
    Counter, Flow, Head, Piece,
    event::{CHUNK, EGRESS, PAYLOAD, PIECES, SNIPPET, V6},
    flow::LINK_EGRESS,
};

use crate::{
    count::interface,
    maps::{EVENTS, RING_HALF_LOG2, SHARE, Scratch},
    outcome::{OVER_SHARE, RING_FULL, SAMPLED, UNREADABLE},
};

/// Size of a payload event without its payload.
const FIXED: i64 = (size_of::<Head>() + PIECES * size_of::<Piece>()) as i64;

/// Delivers only the head.
#[inline(never)]
pub(crate) fn head(skb: *mut __sk_buff, scratch: &mut Scratch) -> u32 {
    // SAFETY: the context lives as long as the program runs.
    let ifindex = unsafe { (*skb).ifindex };
    if !admit(ifindex, size_of::<Head>() as u32) {
        return OVER_SHARE;
    }
    scratch.head.time = now();
    match EVENTS.output::<Head>(&scratch.head, 0) {
        Ok(()) => SAMPLED,
        Err(_) => RING_FULL,
    }
}

/// Delivers the `scratch.head.pieces` pieces of the segment's payload listed in `scratch.pieces`:
/// at most [`CHUNK`] bytes of the first, and [`SNIPPET`] of each other.
#[inline(never)]
pub(crate) fn payload(skb: *mut __sk_buff, scratch: &mut Scratch) -> u32 {
    scratch.head.captured = 0;
    for at in 0..PIECES as u32 {
        if at >= scratch.head.pieces as u32 {
            break;
        }
        if piece(skb, scratch, at) != 0 {
            return UNREADABLE;
        }
    }
    let size = FIXED + scratch.head.captured as i64;
    // SAFETY: the context lives as long as the program runs.
    let ifindex = unsafe { (*skb).ifindex };
    if !admit(ifindex, size as u32) {
        return OVER_SHARE;
    }
    if !check_bounds_signed(size, FIXED, FIXED + PAYLOAD as i64) {
        return UNREADABLE;
    }
    scratch.head.time = now();
    let event = (&raw const scratch.head).cast::<u8>();
    // SAFETY: head, pieces and payload are contiguous, and longer than that.
    let event = unsafe { slice::from_raw_parts(event, size as usize) };
    match EVENTS.output::<[u8]>(event, 0) {
        Ok(()) => SAMPLED,
        Err(_) => RING_FULL,
    }
}

/// Copies a piece of the packet after the previous ones; returns 0 on success.
#[inline(never)]
fn piece(skb: *mut __sk_buff, scratch: &mut Scratch, at: u32) -> u32 {
    let Piece { offset, len } = scratch.pieces[at as usize & (PIECES - 1)];
    let from = scratch.packet.offset.wrapping_add(offset);
    let to = scratch.head.captured as i64;
    let len = len as i64;
    let payload = (&raw mut scratch.payload).cast::<u8>();
    // SAFETY: both ends of the written range are checked against the available space.
    let failed = unsafe {
        if at == 0 {
            !check_bounds_signed(len, 1, CHUNK as i64)
                || bpf_skb_load_bytes(skb.cast(), from, payload.cast(), len as u32) != 0
        } else {
            !check_bounds_signed(to, 0, PAYLOAD as i64 - SNIPPET as i64)
                || !check_bounds_signed(len, 1, SNIPPET as i64)
                || bpf_skb_load_bytes(
                    skb.cast(),
                    from,
                    payload.add(to as usize).cast(),
                    len as u32,
                ) != 0
        }
    };
    scratch.head.captured = (to + len) as u16;
    u32::from(failed)
}

/// Reports that a connection was evicted from the table. `link`: an interface where one of its
/// sides is known.
#[inline(always)]
pub(crate) fn evicted(skb: *mut __sk_buff, flow: &Flow, scratch: &mut Scratch, link: u32) -> u32 {
    let head = &mut scratch.head;
    let (seq, ack, len, src_port, dst_port, ifindex, bits) = (
        head.seq,
        head.ack,
        head.len,
        head.src_port,
        head.dst_port,
        head.ifindex,
        head.bits,
    );
    // SAFETY: bytes need no alignment.
    unsafe {
        *(&raw mut head.src).cast() = flow.addrs[0];
        *(&raw mut head.dst).cast() = flow.addrs[1];
    }
    [head.src_port, head.dst_port] = flow.ports;
    head.ifindex = link & !LINK_EGRESS;
    head.bits = if link & LINK_EGRESS != 0 { EGRESS } else { 0 };
    if flow.family == 6 {
        head.bits |= V6;
    }
    head.unread = Counter::Evicted as u8;
    head.opened = flow.opened;
    (head.seq, head.ack, head.len) = (0, 0, 0);
    // If this cannot be delivered, the counter has to suffice.
    let outcome = self::head(skb, scratch);
    let head = &mut scratch.head;
    // SAFETY: bytes need no alignment.
    unsafe {
        *(&raw mut head.src).cast() = scratch.packet.src;
        *(&raw mut head.dst).cast() = scratch.packet.dst;
    }
    (
        head.seq,
        head.ack,
        head.len,
        head.src_port,
        head.dst_port,
        head.ifindex,
        head.bits,
    ) = (seq, ack, len, src_port, dst_port, ifindex, bits);
    head.unread = 0;
    outcome
}

/// Nanoseconds since boot.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper takes nothing.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Whether this interface may write `size` bytes: always while the ring buffer is less than half
/// full. Beyond that, each interface may write [`SHARE`] bytes per CPU while the ring advances by
/// half its size, so that one pod's flood leaves room for the samples of others. Bytes count once
/// the ring is a quarter full, so an interface that alone filled the second quarter has used up its
/// share.
#[inline(always)]
fn admit(ifindex: u32, size: u32) -> bool {
    let half = RING_HALF_LOG2.load();
    let waiting = EVENTS.query(BPF_RB_AVAIL_DATA as u64);
    if waiting >> (half - 1) == 0 {
        return true;
    }
    let Some(interface) = interface(ifindex) else {
        return true;
    };
    let epoch = (EVENTS.query(BPF_RB_PROD_POS as u64) >> half) as u32;
    if interface.epoch != epoch {
        interface.epoch = epoch;
        interface.bytes = 0;
    }
    let bytes = interface.bytes.wrapping_add(size);
    if bytes > SHARE.load() && waiting >> half != 0 {
        return false;
    }
    interface.bytes = bytes;
    true
}
