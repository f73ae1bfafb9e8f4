//! What to sample of a datagram: the first ones of each direction in full, because they contain
//! hellos and certificates; of encrypted ones, the header and the length.
//!
//! The budgets are higher than what the longest of some 2,300 handshakes needed from one side: 11
//! datagrams and 11,520 bytes for QUIC, 13 and 4,161 for DTLS.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_skb_load_bytes};
use mtls_ebpf_common::{
    Counter, Flow, Half, Piece,
    event::{AGAIN, CHUNK, PAUSED, RUN},
    flow::{HALF_DONE, HALF_STARTED, KIND_OTHER, KIND_TLS},
};

use super::{finish, header, home};
use crate::{
    count::count,
    done, emit,
    flow::halves,
    maps::{SEED_K0, SEED_M1, Scratch, clear, within},
    outcome::{OVER_SHARE, SAMPLED, SKIPPED},
    sample::{GLANCE, least},
};

/// Bytes copied of the first datagrams of one direction.
const BYTES: u32 = 16 << 10;
/// Datagrams sampled of one direction that has handshakes, and of any other.
const HANDSHAKE_DATAGRAMS: u8 = 64;
const OTHER_DATAGRAMS: u8 = 32;
/// Encrypted datagrams among them: 13 are enough to see whether the server accepts the client's
/// flight.
const SEALED_DATAGRAMS: u8 = 24;
/// Bytes copied of those; enough to recognise readable text.
const SEALED_BYTES: u32 = 64;
/// Datagrams sampled of a direction that is done, per recheck interval.
const LOOKS: u8 = 4;
/// Handshake datagrams that restart the sampling of a direction, per recheck interval.
const HANDSHAKES: u8 = 16;
/// Events that one super-packet may produce, each with up to [`CHUNK`] bytes.
const PARTS: u32 = 8;
/// Bytes that a fingerprint covers, and that are inspected here: they include the random number of
/// a DTLS hello.
const PEEK: u32 = 64;
const WORDS: usize = PEEK as usize / 8;

/// Loads the first bytes of the datagram into `scratch.payload`, padded with zeros, and computes
/// its fingerprint into `scratch.start`; returns 0 if they cannot be read.
#[inline(never)]
pub(super) fn peek(skb: *mut __sk_buff, scratch: &mut Scratch) -> u32 {
    let (at, len) = (scratch.packet.offset, least(scratch.packet.len, PEEK));
    let place = (&raw mut scratch.payload).cast::<u64>();
    let (k, m) = (SEED_K0.load(), SEED_M1.load());
    let mut mixed = scratch.packet.len as u64 ^ k;
    const { assert!(core::mem::offset_of!(Scratch, payload).is_multiple_of(8)) };
    // SAFETY: within the field, which is longer, and aligned.
    unsafe {
        for at in 0..WORDS {
            clear(&mut *place.add(at));
        }
        let is_read = within(len, 1, PEEK)
            .is_some_and(|len| bpf_skb_load_bytes(skb.cast(), at, place.cast(), len) == 0);
        if !is_read {
            return 0;
        }
        for at in 0..WORDS {
            mixed = (mixed ^ mixed >> 32 ^ place.add(at).read()).wrapping_mul(m);
        }
    }
    // Zero marks an unused fingerprint.
    scratch.start = (mixed >> 32) as u32 | 1;
    1
}

/// The first byte of a datagram that was peeked into.
#[inline(always)]
fn first(scratch: &Scratch) -> u8 {
    scratch.payload[0]
}

/// Whether it belongs to a handshake: a long header of QUIC 1, 2 or version negotiation, or a DTLS
/// handshake record.
#[inline(always)]
fn is_handshake(scratch: &Scratch) -> bool {
    let bytes = &scratch.payload;
    if bytes[0] == 22 {
        return bytes[1] == 0xfe;
    }
    let version = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
    bytes[0] & 0x80 != 0 && (version <= 1 || version == 0x6b33_43cf)
}

/// A QUIC short header, or a DTLS application data record.
#[inline(always)]
fn is_sealed(scratch: &Scratch) -> bool {
    first(scratch) & 0xc0 == 0x40 || first(scratch) == 23
}

/// The direction is done, in this recheck interval.
#[inline(always)]
pub(super) fn set_done(half: &mut Half, scratch: &Scratch) {
    half.bits |= HALF_DONE;
    half.generation = scratch.generation as u8;
    half.looks = LOOKS;
}

/// Samples the datagram.
#[inline(never)]
pub(super) fn sample(skb: *mut __sk_buff, flow: &mut Flow, scratch: &mut Scratch) -> u32 {
    scratch.generation = done::generation() as u32;
    let opens = is_handshake(scratch);
    let (half, other) = halves(flow, scratch);
    home::remember(half, scratch.start);
    if half.generation != scratch.generation as u8 {
        half.generation = scratch.generation as u8;
        half.looks = 0;
        half.carried = 0;
    }
    if opens {
        half.kind = KIND_TLS;
        other.kind = KIND_TLS;
    } else if half.kind != KIND_TLS {
        half.kind = KIND_OTHER;
    }
    if half.bits & HALF_DONE != 0 {
        if !opens {
            return look(skb, flow, scratch);
        }
        if half.carried >= HANDSHAKES {
            // More than one can follow: what is missing proves nothing.
            let [_, opener] = header::both(scratch.packet.signature);
            done::insert(opener);
            return OVER_SHARE;
        }
        half.carried += 1;
        reopen(half);
        reopen(other);
        super::forget(scratch.packet.signature);
        super::forget(scratch.packet.signature_back());
    }
    let (half, _) = halves(flow, scratch);
    half.bits |= HALF_STARTED;
    let size = if scratch.packet.seq == 0 {
        scratch.packet.len
    } else {
        scratch.packet.seq
    };
    let is_sealed = half.kind == KIND_TLS && is_sealed(scratch);
    let room = BYTES.saturating_sub(half.bytes as u32);
    let wanted = if is_sealed || room == 0 {
        half.bodies = half.bodies.saturating_add(u8::from(is_sealed));
        least(SEALED_BYTES, size)
    } else {
        least(scratch.packet.len, room)
    };
    let handshakes = half.kind == KIND_TLS;
    let most = if handshakes {
        HANDSHAKE_DATAGRAMS
    } else {
        OTHER_DATAGRAMS
    };
    let is_last = half.segments + 1 >= most || half.bodies >= SEALED_DATAGRAMS;
    if is_last {
        scratch.head.bits |= PAUSED;
    }
    let outcome = if scratch.packet.seq == 0 || is_sealed || room == 0 {
        glance(skb, scratch, least(wanted, CHUNK))
    } else {
        parts(skb, scratch, wanted, size)
    };
    if outcome != SAMPLED {
        return outcome;
    }
    if opens && wanted < scratch.packet.len {
        // The rest of the handshake's datagrams in this packet.
        flow.lost = 1;
    }
    let (half, _) = halves(flow, scratch);
    half.segments = half.segments.saturating_add(1);
    half.bytes = half.bytes.saturating_add(wanted as u16);
    if scratch.head.bits & PAUSED != 0 {
        finish(flow, scratch, handshakes);
    }
    SAMPLED
}

#[inline(always)]
fn reopen(half: &mut Half) {
    half.bits &= !HALF_DONE;
    half.segments = 0;
    half.bodies = 0;
    half.bytes = 0;
}

/// Rechecks a direction that is done.
#[inline(always)]
fn look(skb: *mut __sk_buff, flow: &mut Flow, scratch: &mut Scratch) -> u32 {
    let (half, _) = halves(flow, scratch);
    let handshakes = half.kind == KIND_TLS;
    if half.looks >= LOOKS {
        // It was displaced from the fast path's memory.
        finish(flow, scratch, handshakes);
        return SKIPPED;
    }
    scratch.head.bits |= AGAIN | PAUSED;
    let outcome = glance(skb, scratch, least(scratch.packet.len, GLANCE));
    if outcome != SAMPLED {
        return outcome;
    }
    count(Counter::Again);
    let (half, _) = halves(flow, scratch);
    half.looks += 1;
    if half.looks >= LOOKS {
        finish(flow, scratch, handshakes);
    }
    SAMPLED
}

/// Delivers the first `len` bytes.
#[inline(always)]
fn glance(skb: *mut __sk_buff, scratch: &mut Scratch, len: u32) -> u32 {
    scratch.head.bits |= RUN;
    scratch.head.pieces = 1;
    scratch.pieces[0] = Piece { offset: 0, len };
    emit::payload(skb, scratch)
}

/// Delivers the first `wanted` bytes of several datagrams of `size` bytes in one packet, as many at
/// a time as fit into an event.
#[inline(never)]
fn parts(skb: *mut __sk_buff, scratch: &mut Scratch, wanted: u32, size: u32) -> u32 {
    if size == 0 || size > CHUNK {
        // Larger than an event: as much of the first one as fits.
        return glance(skb, scratch, CHUNK);
    }
    scratch.walk.at = 0;
    scratch.walk.to = wanted;
    scratch.walk.from = CHUNK / size * size;
    for _ in 0..PARTS {
        let outcome = self::part(skb, scratch);
        if outcome != SAMPLED {
            return outcome;
        }
        if scratch.walk.at >= scratch.walk.to {
            break;
        }
    }
    scratch.head.len = scratch.packet.len;
    SAMPLED
}

#[inline(never)]
fn part(skb: *mut __sk_buff, scratch: &mut Scratch) -> u32 {
    let (at, part) = (scratch.walk.at, scratch.walk.from);
    let left = scratch.packet.len.wrapping_sub(at);
    let len = least(part, left);
    scratch.head.bits |= RUN;
    scratch.head.pieces = 1;
    scratch.head.len = len;
    scratch.pieces[0] = Piece { offset: at, len };
    scratch.walk.at = at.wrapping_add(len);
    emit::payload(skb, scratch)
}
