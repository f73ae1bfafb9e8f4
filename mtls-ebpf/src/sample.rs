//! What is wanted of a segment's payload.

use aya_ebpf::programs::TcContext;
use mtls_ebpf_common::{
    Counter, Half,
    event::AGAIN,
    flow::{HALF_DONE, HALF_HEADERS, HALF_STARTED, KIND_NONE, KIND_OTHER, KIND_TLS},
};

use crate::{
    count::count,
    done,
    emit::{self, CHUNK},
    maps::Scratch,
    parse::Packet,
    records::{self, COPIED, Walk},
};

/// Of a direction that is not TLS: enough for the in-band upgrades, which take up to three
/// exchanges before the ClientHello, and for a request's head.
const OTHER_BYTES: u32 = 4096;
const OTHER_SEGMENTS: u16 = 8;
/// Segments sampled of a TLS direction, so that crumbs do not become a flood of events.
const TLS_SEGMENTS: u16 = 64;
/// Bytes copied of a segment for another look, or of one whose records cannot be walked as the
/// header before them was missed.
const GLANCE: u32 = 512;
/// Events that one segment may make: COPIED / CHUNK, and the headers beyond.
const EVENTS: usize = 8;

/// What became of a segment.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Outcome {
    Sampled,
    Skipped,
}

/// Samples the payload, which starts at sequence number `start`.
#[inline(always)]
pub(crate) fn payload(
    ctx: &TcContext,
    packet: &Packet,
    start: u32,
    half: &mut Half,
    scratch: &mut Scratch,
) -> Result<Outcome, Counter> {
    let end = start.wrapping_add(packet.len);
    let generation = done::generation() as u8;
    let is_done = half.bits & HALF_DONE != 0;
    if is_done && half.generation == generation {
        // It was pushed out of the fast path's memory.
        done::insert(packet.signature);
        return Ok(Outcome::Skipped);
    }
    // Sequence numbers are compared by their distance (RFC 9293 §3.4).
    let is_repeat = half.bits & HALF_STARTED != 0 && half.next.wrapping_sub(end) as i32 >= 0;
    if is_repeat {
        return Ok(Outcome::Skipped);
    }
    let is_next = start.wrapping_sub(half.next) as i32 <= 0;

    let mut begins = false;
    if half.kind != KIND_TLS {
        let len = least(packet.len, 5);
        let first = records::read(ctx.skb.skb, packet.offset, len).ok_or(Counter::Unreadable)?;
        begins = records::begins(first << (64 - 8 * len), len);
    }
    if is_done {
        scratch.head.bits |= AGAIN;
        if !begins {
            return again(ctx, packet, half, scratch, end);
        }
        // An upgrade that took longer than the budget: followed from here on.
        half.bits &= !HALF_DONE;
    }
    if begins && (is_next || half.kind == KIND_OTHER) {
        half.kind = KIND_TLS;
        half.record = start;
        half.carried = 0;
        half.carry = 0;
        half.headers = 0;
        half.segments = 0;
        half.bytes = 0;
        half.bits &= !HALF_HEADERS;
    } else if half.kind == KIND_NONE && is_next {
        half.kind = KIND_OTHER;
    }

    let is_behind = (half.record.wrapping_sub(start) as i32) < 0;
    let mut copied = 0;
    let result = if half.kind != KIND_TLS {
        let room = OTHER_BYTES.saturating_sub(half.bytes);
        copied = least(least(packet.len, CHUNK), room);
        glance(ctx, packet, scratch, copied)
    } else if is_behind {
        copied = least(packet.len, GLANCE);
        glance(ctx, packet, scratch, copied)
    } else {
        follow(ctx, packet, start, half, scratch, &mut copied)
    };
    if result.is_err() {
        // What was not delivered was not taken.
        half.bits &= !HALF_DONE;
    }
    let outcome = result?;
    half.bits |= HALF_STARTED;
    if is_next {
        half.next = end;
    }
    half.bytes = half.bytes.saturating_add(copied);
    if outcome == Outcome::Sampled {
        half.segments = half.segments.saturating_add(1);
    }
    if half.bytes >= COPIED {
        // No more bodies; the headers go on, where they can be told.
        half.bits |= HALF_HEADERS;
    }
    let spent = match half.kind {
        KIND_TLS => half.segments >= TLS_SEGMENTS || is_behind && half.bytes >= COPIED,
        _ => half.segments >= OTHER_SEGMENTS || half.bytes >= OTHER_BYTES,
    };
    if spent || half.bits & HALF_DONE != 0 {
        half.bits |= HALF_DONE;
        half.generation = generation;
        done::insert(packet.signature);
    }
    Ok(outcome)
}

/// Follows the records through the segment: copies what is to be copied, reports the headers
/// beyond.
#[inline(always)]
fn follow(
    ctx: &TcContext,
    packet: &Packet,
    start: u32,
    half: &mut Half,
    scratch: &mut Scratch,
    copied: &mut u32,
) -> Result<Outcome, Counter> {
    let mut walk = Walk {
        payload: packet.offset,
        len: packet.len,
        start,
        copy: 0,
    };
    let mut from = 0;
    let mut outcome = Outcome::Skipped;
    for _ in 0..EVENTS {
        if from >= walk.copy {
            let before = half.record;
            records::walk(ctx.skb.skb, half, scratch, &mut walk);
            let stuck = half.record == before && half.carried == 0;
            if walk.copy <= from && scratch.head.records == 0 && stuck {
                break;
            }
        }
        let records = scratch.head.records;
        let left = walk.copy.saturating_sub(from);
        let captured = least(left, CHUNK);
        if captured == 0 && records == 0 {
            break;
        }
        if captured < left {
            // They go with the last chunk.
            scratch.head.records = 0;
        }
        scratch.head.offset = from;
        scratch.head.captured = captured;
        emit::payload(ctx, scratch, packet.offset + from)?;
        scratch.head.records = records;
        outcome = Outcome::Sampled;
        from += captured;
        *copied += captured;
        if from >= walk.copy {
            scratch.head.records = 0;
        }
        let past = half.record.wrapping_sub(start) >= packet.len;
        if from >= walk.copy && (past || half.bits & HALF_DONE != 0) {
            break;
        }
    }
    Ok(outcome)
}

/// Another look at a direction that is done: one segment per interval.
#[inline(always)]
fn again(
    ctx: &TcContext,
    packet: &Packet,
    half: &mut Half,
    scratch: &mut Scratch,
    end: u32,
) -> Result<Outcome, Counter> {
    let outcome = glance(ctx, packet, scratch, least(packet.len, GLANCE))?;
    half.next = end;
    half.generation = done::generation() as u8;
    done::insert(packet.signature);
    count(Counter::Again);
    Ok(outcome)
}

/// Copies the segment's first bytes.
#[inline(always)]
fn glance(
    ctx: &TcContext,
    packet: &Packet,
    scratch: &mut Scratch,
    captured: u32,
) -> Result<Outcome, Counter> {
    scratch.head.captured = captured;
    emit::payload(ctx, scratch, packet.offset)?;
    Ok(Outcome::Sampled)
}

#[inline(always)]
fn least(a: u32, b: u32) -> u32 {
    if a < b { a } else { b }
}
