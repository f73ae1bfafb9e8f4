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

pub(crate) const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// Headers after which a direction is done. The client's certificate shows in its first eight; a
/// server may send half of its answer before it has seen those.
const HEADERS: u8 = 24;
/// Bytes of hellos, certificates and alerts copied in full. With 4 KiB chunks this many fit into
/// the events that one segment may make.
pub(crate) const COPIED: u32 = 16 << 10;

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

/// Where a walk stands.
pub(crate) struct Walk {
    /// Where the payload starts in the packet.
    pub(crate) payload: u32,
    /// Its length.
    pub(crate) len: u32,
    /// Its sequence number.
    pub(crate) start: u32,
    /// Position in the payload up to which it is to be copied.
    pub(crate) copy: u32,
}

/// Walks on from `half.record`, over at most [`RECORDS`] records. What is to be copied ends at
/// `walk.copy` then, and headers beyond that are in `scratch`.
#[inline(never)]
pub(crate) fn walk(
    skb: *mut __sk_buff,
    half: &mut Half,
    scratch: &mut Scratch,
    walk: &mut Walk,
) -> u32 {
    let len = walk.len;
    let mut at = half.record.wrapping_sub(walk.start);
    let mut copy = walk.copy;
    let mut found = 0_usize;
    if half.bits & HALF_HEADERS == 0 {
        // The rest of the body that the last segment began.
        copy = if at < len { at } else { len };
    }
    // One record a turn.
    for _ in 0..RECORDS {
        if at >= len || half.bits & HALF_DONE != 0 {
            break;
        }
        let carried = half.carried as u32 & 7;
        let mut take = HEADER.wrapping_sub(carried);
        if take > len - at {
            take = len - at;
        }
        let Some(bytes) = read(skb, walk.payload + at, take) else {
            break;
        };
        let header = (half.carry as u64) << (8 * take) | bytes;
        let copying = half.bits & HALF_HEADERS == 0;
        if copying {
            copy = at + take;
        } else {
            let high = (bytes << (64 - 8 * take)).to_be_bytes();
            scratch.records[found & (RECORDS - 1)] = RecordHeader {
                offset: at,
                bytes: [high[0], high[1], high[2], high[3], high[4]],
                len: take as u8,
                reserved: [0; 2],
            };
            found += 1;
        }
        at += take;
        if carried + take < HEADER {
            half.carry = header as u32;
            half.carried = (carried + take) as u8;
            break;
        }
        half.carry = 0;
        half.carried = 0;
        if !is_header(header) {
            // Not TLS (any more): the next segments show what it is.
            half.kind = KIND_OTHER;
            half.segments = 0;
            half.bytes = 0;
            if copying {
                copy = len;
            }
            at = len;
            break;
        }
        let body = header as u32 & 0xffff;
        half.headers = half.headers.saturating_add(1);
        if half.headers >= HEADERS {
            half.bits |= HALF_DONE;
        }
        if copying && (header >> 32) as u8 == APPLICATION_DATA {
            half.bits |= HALF_HEADERS;
        } else if copying {
            copy = at + body;
            if copy > len {
                copy = len;
            }
        }
        at += body;
    }
    half.record = walk.start.wrapping_add(at);
    walk.copy = copy;
    scratch.head.records = found as u8;
    0
}
