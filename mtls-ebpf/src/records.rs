//! Walking the records of a TLS stream (RFC 8446 §5.1): type, version, length, and on to the next.

use aya_ebpf::{bindings::__sk_buff, check_bounds_signed, helpers::bpf_skb_load_bytes};
use mtls_ebpf_common::{
    Half, RecordHeader,
    event::RECORDS,
    flow::{HALF_DONE, HALF_HEADERS, KIND_OTHER},
};

use crate::maps::Scratch;

/// Bytes of a record's header.
const HEADER: u32 = 5;
/// Longest body: 2^14 and what the ciphers of TLS 1.2 may add (RFC 5246 §6.2.3).
const BODY: u32 = (1 << 14) + 2048;

const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// Headers after which a direction is done. The client's certificate shows in its first eight; a
/// server may send half of its answer before it has seen those.
pub(crate) const HEADERS: u8 = 24;
/// Bytes of hellos, certificates and alerts copied in full.
pub(crate) const COPIED: u32 = 16 << 10;

/// Where the walk through a segment stands.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Walk {
    /// Position in the payload of the next byte wanted of a record's header.
    pub(crate) at: u32,
    /// The part of the payload that is to be copied and was not yet.
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// Headers collected and not yet reported.
    pub(crate) found: u32,
    /// Bytes copied.
    pub(crate) copied: u32,
    /// Events delivered.
    pub(crate) events: u32,
}

/// The first bytes of a segment, as the high bytes of a number, look like a record's start.
/// `len`: how many there are, at most five.
#[inline(always)]
pub(crate) fn begins(first: u64, len: u32) -> bool {
    let kind = (first >> 56) as u8;
    let major = (first >> 48) as u8;
    if len < HEADER {
        return kind == HANDSHAKE && (len < 2 || major == 3);
    }
    is_header(first >> 24)
}

/// Forty bits are a record's header.
#[inline(always)]
fn is_header(header: u64) -> bool {
    let kind = (header >> 32) as u8;
    let (major, minor) = ((header >> 24) as u8, (header >> 16) as u8);
    // ChangeCipherSpec, alert, handshake, application data, heartbeat; SSL 3.0 to TLS 1.3.
    (20..=24).contains(&kind) && major == 3 && minor <= 4 && header as u32 & 0xffff <= BODY
}

/// Reads `len` bytes (1 to 5) as the low bytes of a number.
#[inline(always)]
pub(crate) fn read(skb: *mut __sk_buff, at: u32, len: u32) -> Option<u64> {
    let mut bytes = [0_u8; 8];
    let len = len as i64;
    // SAFETY: at most five bytes go into eight.
    let read = unsafe {
        check_bounds_signed(len, 1, HEADER as i64)
            && bpf_skb_load_bytes(skb.cast(), at, bytes.as_mut_ptr().cast(), len as u32) == 0
    };
    read.then(|| u64::from_be_bytes(bytes) >> (64 - 8 * len))
}

/// Takes in the header at `scratch.walk.at`, or as much of it as the segment holds; `None` when it
/// cannot be read.
#[inline(always)]
pub(crate) fn step(skb: *mut __sk_buff, half: &mut Half, scratch: &mut Scratch) -> Option<()> {
    let (at, len) = (scratch.walk.at, scratch.packet.len);
    let carried = half.carried as u32 & 7;
    let mut take = HEADER.wrapping_sub(carried);
    if take > len.wrapping_sub(at) {
        take = len.wrapping_sub(at);
    }
    let bytes = read(skb, scratch.packet.offset.wrapping_add(at), take)?;
    let header = (half.carry as u64) << (8 * take & 63) | bytes;
    let is_copying = half.bits & HALF_HEADERS == 0;
    let next = at.wrapping_add(take);
    if is_copying {
        scratch.walk.to = next;
    } else {
        let high = (bytes << (64 - 8 * take & 63)).to_be_bytes();
        let slot = scratch.walk.found as usize & (RECORDS - 1);
        scratch.records[slot] = RecordHeader {
            offset: at,
            bytes: [high[0], high[1], high[2], high[3], high[4]],
            len: take as u8,
            reserved: [0; 2],
        };
        scratch.walk.found += 1;
    }
    if carried + take < HEADER {
        half.carry = header as u32;
        half.carried = (carried + take) as u8;
        scratch.walk.at = next;
        return Some(());
    }
    half.carry = 0;
    half.carried = 0;
    if !is_header(header) {
        // Not TLS (any more): the next segments show what it is.
        half.kind = KIND_OTHER;
        half.segments = 0;
        half.bytes = 0;
        if is_copying {
            scratch.walk.to = len;
        }
        scratch.walk.at = len;
        return Some(());
    }
    if half.headers >= HEADERS - 1 {
        half.bits |= HALF_DONE;
    }
    half.headers += 1;
    let end = next.wrapping_add(header as u32 & 0xffff);
    if is_copying {
        if (header >> 32) as u8 == APPLICATION_DATA {
            half.bits |= HALF_HEADERS;
        } else {
            scratch.walk.to = if end < len { end } else { len };
        }
        let room = COPIED.saturating_sub(half.bytes);
        if scratch.walk.to > room {
            // No more bodies.
            scratch.walk.to = if next > room { next } else { room };
            half.bits |= HALF_HEADERS;
        }
    }
    scratch.walk.at = end;
    Some(())
}
