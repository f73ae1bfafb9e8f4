//! From a sample to an event in the ring buffer.

use aya_ebpf::{bindings::__sk_buff, check_bounds_signed, helpers::bpf_skb_load_bytes};
use mtls_ebpf_common::{Event, Head};

use crate::{
    maps::{EVENTS, Scratch},
    outcome::{RING_FULL, SAMPLED, UNREADABLE},
    parse::{FIN, RST, SYN},
};

/// Most bytes that one event captures.
pub(crate) const CHUNK: u32 = 4096;

/// Reports a SYN, FIN or RST: the head alone.
#[inline(never)]
pub(crate) fn control(scratch: &Scratch) -> u32 {
    let Some(mut entry) = EVENTS.reserve::<Head>(0) else {
        return RING_FULL;
    };
    entry.write(scratch.head);
    entry.submit(0);
    SAMPLED
}

/// Reports payload: the head without its control flags, the record headers, and the
/// `scratch.head.captured` bytes from `scratch.head.offset` in the payload on, which are at most
/// [`CHUNK`].
#[inline(always)]
pub(crate) fn payload(skb: *mut __sk_buff, scratch: &mut Scratch) -> u32 {
    let flags = scratch.packet.flags;
    scratch.head.tcp_flags = flags & !(SYN | FIN | RST);
    let at = scratch.packet.offset.wrapping_add(scratch.head.offset);
    let outcome = full(skb, scratch, at);
    scratch.head.tcp_flags = flags;
    outcome
}

/// The ring buffer takes only sizes that are constants, hence classes.
#[inline(never)]
fn full(skb: *mut __sk_buff, scratch: &Scratch, at: u32) -> u32 {
    match scratch.head.captured {
        0 => sized::<8>(skb, scratch, at),
        1..=128 => sized::<128>(skb, scratch, at),
        129..=512 => sized::<512>(skb, scratch, at),
        513..=1536 => sized::<1536>(skb, scratch, at),
        _ => sized::<{ CHUNK as usize }>(skb, scratch, at),
    }
}

#[inline(always)]
fn sized<const N: usize>(skb: *mut __sk_buff, scratch: &Scratch, at: u32) -> u32 {
    let Some(mut entry) = EVENTS.reserve::<Event<N>>(0) else {
        return RING_FULL;
    };
    let event = entry.as_mut_ptr();
    let len = scratch.head.captured as i64;
    // SAFETY: `event` points to `size_of::<Event<N>>()` bytes of the ring buffer.
    unsafe {
        (*event).head = scratch.head;
        (*event).records = scratch.records;
        if check_bounds_signed(len, 1, N as i64)
            && bpf_skb_load_bytes(
                skb.cast(),
                at,
                (&raw mut (*event).payload).cast(),
                len as u32,
            ) != 0
        {
            entry.discard(0);
            return UNREADABLE;
        }
    }
    entry.submit(0);
    SAMPLED
}
