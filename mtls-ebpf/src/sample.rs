//! What is wanted of a segment's payload.

use aya_ebpf::programs::TcContext;
use mtls_ebpf_common::{
    Counter, Half,
    flow::{HALF_DONE, HALF_STARTED},
};

use crate::{
    emit::{self, CHUNK},
    maps::Scratch,
    parse::Packet,
};

/// Most bytes and segments copied of one direction.
const BYTES: u32 = 16 << 10;
const SEGMENTS: u16 = 16;

/// What became of a segment.
pub(crate) enum Outcome {
    Sampled,
    Skipped,
}

/// Samples the payload, which starts at sequence number `start`. `wanted`: the segment is reported
/// even when its payload is not.
#[inline(always)]
pub(crate) fn payload(
    ctx: &TcContext,
    packet: &Packet,
    start: u32,
    half: &mut Half,
    scratch: &mut Scratch,
    wanted: bool,
) -> Result<Outcome, Counter> {
    let end = start.wrapping_add(packet.len);
    // Sequence numbers are compared by their distance (RFC 9293 §3.4).
    let repeat = half.next.wrapping_sub(end) as i32 >= 0;
    if repeat || half.bits & HALF_DONE != 0 {
        return if wanted {
            emit::head(scratch).map(|()| Outcome::Sampled)
        } else {
            Ok(Outcome::Skipped)
        };
    }
    let captured = packet.len.min(CHUNK);
    scratch.head.captured = captured;
    emit::event(ctx, scratch, packet.offset)?;
    half.bits |= HALF_STARTED;
    if start.wrapping_sub(half.next) as i32 <= 0 {
        half.next = end;
    }
    half.bytes += captured;
    half.segments += 1;
    if half.bytes >= BYTES || half.segments >= SEGMENTS {
        half.bits |= HALF_DONE;
    }
    Ok(Outcome::Sampled)
}
