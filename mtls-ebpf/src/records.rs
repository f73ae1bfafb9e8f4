//! Walks the records of a TLS stream (RFC 8446 §5.1): type, version, length, and on to the next.

use aya_ebpf::{bindings::__sk_buff, check_bounds_signed, helpers::bpf_skb_load_bytes};
use mtls_ebpf_common::{
    Half, Piece,
    event::{BODY, PIECES, SNIPPET},
    flow::{HALF_DONE, HALF_HEADERS, KIND_OTHER},
};

use crate::{
    maps::{Scratch, blur},
    sample::least,
};

/// Bytes of a record's header.
const HEADER: u32 = 5;
/// Longest body: 2^14 plus what the ciphers of TLS 1.2 may add (RFC 5246 §6.2.3).
const LONGEST: u32 = (1 << 14) + 2048;

const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// Headers after which a direction is done. The client's certificate is among its first eight
/// records; a server may send half of its response before it has seen those.
pub(crate) const HEADERS: u8 = 24;
/// Records of application data whose first bytes are copied.
const BODIES: u8 = 4;
/// Bytes of hellos, certificates and alerts copied in full.
pub(crate) const COPIED: u32 = 16 << 10;

/// The state of the walk through a segment.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Walk {
    /// Position in the payload of the next byte that is needed of a record header.
    pub(crate) at: u32,
    /// The part of the payload that has to be copied and has not been yet.
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// Other pieces, collected but not yet delivered: headers, and the first bytes of bodies.
    pub(crate) found: u32,
    /// Bytes copied.
    pub(crate) copied: u32,
    /// Events delivered.
    pub(crate) events: u32,
}

/// Whether the first bytes of a segment, as the high bytes of a number, look like the start of a
/// record. `len`: how many there are, at most five.
#[inline(always)]
pub(crate) fn begins(first: u64, len: u32) -> bool {
    let kind = (first >> 56) as u8;
    let major = (first >> 48) as u8;
    if len < HEADER {
        return kind == HANDSHAKE && (len < 2 || major == 3);
    }
    is_header(first >> 24)
}

/// Whether forty bits are a record header.
#[inline(always)]
fn is_header(header: u64) -> bool {
    let kind = (header >> 32) as u8;
    let (major, minor) = ((header >> 24) as u8, (header >> 16) as u8);
    // ChangeCipherSpec, alert, handshake, application data, heartbeat; SSL 3.0 to TLS 1.3.
    (20..=24).contains(&kind) && major == 3 && minor <= 4 && header as u32 & 0xffff <= LONGEST
}

/// Reads `len` bytes (1 to 5) as the low bytes of a number.
#[inline(always)]
pub(crate) fn read(skb: *mut __sk_buff, at: u32, len: u32) -> Option<u64> {
    let mut bytes = [0_u8; 8];
    let len = len as i64;
    // SAFETY: at most five bytes are written into eight.
    let read = unsafe {
        check_bounds_signed(len, 1, HEADER as i64)
            && bpf_skb_load_bytes(skb.cast(), at, bytes.as_mut_ptr().cast(), len as u32) == 0
    };
    read.then(|| u64::from_be_bytes(bytes) >> (64 - 8 * len))
}

/// Reads the header at `scratch.walk.at`, or as much of it as the segment contains; `None` if it
/// cannot be read.
#[inline(always)]
pub(crate) fn step(skb: *mut __sk_buff, half: &mut Half, scratch: &mut Scratch) -> Option<()> {
    let (at, len) = (scratch.walk.at, scratch.packet.len);
    let carried = half.carried as u32 & 7;
    let take = least(HEADER.wrapping_sub(carried), len.wrapping_sub(at));
    let bytes = read(skb, scratch.packet.offset.wrapping_add(at), take)?;
    let carry = if carried == 0 { 0 } else { half.carry as u64 };
    let header = carry << (8 * take & 63) | bytes;
    let is_copying = half.bits & HALF_HEADERS == 0;
    let next = at.wrapping_add(take);
    half.want = 0;
    if carried + take < HEADER {
        half.carry = header as u32;
        half.carried = (carried + take) as u8;
        snip(half, scratch, at, take);
        scratch.walk.at = next;
        return Some(());
    }
    half.carried = 0;
    if !is_header(header) {
        // Not TLS, or no longer TLS: the next segments show what it is.
        half.kind = KIND_OTHER;
        half.segments = 0;
        half.bytes = 0;
        if is_copying {
            scratch.walk.to = len;
        } else {
            snip(half, scratch, at, least(len.wrapping_sub(at), SNIPPET));
        }
        scratch.walk.at = len;
        return Some(());
    }
    if half.headers >= HEADERS - 1 {
        half.bits |= HALF_DONE;
    }
    half.headers += 1;
    let body = header as u32 & 0xffff;
    let end = next.wrapping_add(body);
    let is_data = (header >> 32) as u8 == APPLICATION_DATA;
    if is_copying && !is_data {
        scratch.walk.to = least(end, len);
        let room = COPIED.saturating_sub(half.bytes as u32);
        if scratch.walk.to > room {
            // No more bodies.
            scratch.walk.to = if next > room { next } else { room };
            half.bits |= HALF_HEADERS;
        }
    } else {
        // The first bytes of such a body show whether it is readable text.
        let mut want = 0;
        if half.bodies < BODIES {
            half.bodies += 1;
            want = least(body, BODY);
        }
        let here = least(want, len.wrapping_sub(next));
        half.want = want.wrapping_sub(here) as u8;
        half.carry = scratch.start.wrapping_add(next).wrapping_add(here);
        snip(half, scratch, at, take.wrapping_add(here));
        half.bits |= HALF_HEADERS;
    }
    scratch.walk.at = end;
    Some(())
}

/// The part of this segment that is needed from a body that an earlier segment began.
#[inline(always)]
pub(crate) fn body(half: &mut Half, scratch: &mut Scratch) {
    let at = half.carry.wrapping_sub(scratch.start);
    let len = scratch.packet.len;
    let take = least(half.want as u32, len.wrapping_sub(at));
    if half.want == 0 || at >= len {
        // Later, or never.
        return;
    }
    snip(half, scratch, at, take);
    half.want = (half.want as u32).wrapping_sub(take) as u8;
    half.carry = half.carry.wrapping_add(take);
}

/// Marks `len` bytes at `at` to be copied.
#[inline(always)]
fn snip(half: &Half, scratch: &mut Scratch, at: u32, len: u32) {
    if half.bits & HALF_HEADERS == 0 {
        // They follow what is copied anyway.
        scratch.walk.to = at.wrapping_add(len);
        return;
    }
    let first = u32::from(scratch.walk.to != scratch.walk.from);
    // If the compiler knows the bounds, it omits the mask; but Linux 5.15 does not track bounds of
    // values that were spilled to the stack.
    let slot = first.wrapping_add(scratch.walk.found);
    let slot = blur(scratch, slot) as usize & (PIECES - 1);
    scratch.pieces[slot] = Piece { offset: at, len };
    scratch.walk.found = scratch.walk.found.wrapping_add(1);
}
