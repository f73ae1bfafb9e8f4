//! What is wanted of a segment's payload.

use aya_ebpf::bindings::__sk_buff;
use mtls_ebpf_common::{
    Counter, Half,
    event::{AGAIN, RECORDS},
    flow::{HALF_DONE, HALF_HEADERS, HALF_STARTED, KIND_NONE, KIND_OTHER, KIND_TLS},
};

use crate::{
    count::count,
    done,
    emit::{self, CHUNK},
    maps::Scratch,
    records::{self, COPIED, HEADERS, Walk},
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
/// Steps that one segment may take: a header each, and the events for what is copied (in chunks, and
/// one that is cut short by the budget) and for the headers (eight at a time).
const STEPS: u32 = HEADERS as u32 + COPIED / CHUNK + 2 + HEADERS as u32 / RECORDS as u32 + 1;

/// What became of a segment.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Outcome {
    Sampled,
    Skipped,
}

/// Samples the payload, which starts at sequence number `start`.
#[inline(always)]
pub(crate) fn payload(
    skb: *mut __sk_buff,
    start: u32,
    half: &mut Half,
    scratch: &mut Scratch,
) -> Result<Outcome, Counter> {
    let (at, len, signature) = (
        scratch.packet.offset,
        scratch.packet.len,
        scratch.packet.signature,
    );
    let end = start.wrapping_add(len);
    let generation = done::generation() as u8;
    let is_done = half.bits & HALF_DONE != 0;
    if is_done && half.generation == generation {
        // It was pushed out of the fast path's memory.
        done::insert(signature);
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
        let peek = least(len, 5);
        let first = records::read(skb, at, peek).ok_or(Counter::Unreadable)?;
        begins = records::begins(first << (64 - 8 * peek & 63), peek);
    }
    if is_done {
        scratch.head.bits |= AGAIN;
        if !begins {
            return again(skb, half, scratch, end);
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
    let copied;
    let result = if half.kind != KIND_TLS {
        let room = OTHER_BYTES.saturating_sub(half.bytes);
        copied = least(least(len, CHUNK), room);
        glance(skb, scratch, copied)
    } else if is_behind {
        copied = least(len, GLANCE);
        glance(skb, scratch, copied)
    } else {
        let result = follow(skb, start, half, scratch);
        copied = scratch.walk.copied;
        result
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
        done::insert(signature);
    }
    Ok(outcome)
}

/// Follows the records through the segment: copies what is to be copied, reports the headers
/// beyond.
#[inline(always)]
fn follow(
    skb: *mut __sk_buff,
    start: u32,
    half: &mut Half,
    scratch: &mut Scratch,
) -> Result<Outcome, Counter> {
    let at = half.record.wrapping_sub(start);
    scratch.walk = Walk {
        at,
        from: 0,
        // The rest of the body that an earlier segment began.
        to: if half.bits & HALF_HEADERS == 0 {
            least(at, scratch.packet.len)
        } else {
            0
        },
        found: 0,
        copied: 0,
        events: 0,
    };
    let mut result = Ok(Outcome::Skipped);
    for _ in 0..STEPS {
        match step(skb, half, scratch) {
            STEP_ON => {}
            STEP_END => break,
            STEP_FULL => {
                result = Err(Counter::RingFull);
                break;
            }
            _ => {
                result = Err(Counter::Unreadable);
                break;
            }
        }
    }
    half.record = start.wrapping_add(scratch.walk.at);
    if result.is_ok() && scratch.walk.events > 0 {
        result = Ok(Outcome::Sampled);
    }
    result
}

const STEP_ON: u32 = 0;
const STEP_END: u32 = 1;
const STEP_FULL: u32 = 2;
const STEP_UNREADABLE: u32 = 3;

/// Takes in one record's header, or, when there is none to take in, delivers one event.
#[inline(never)]
fn step(skb: *mut __sk_buff, half: &mut Half, scratch: &mut Scratch) -> u32 {
    let walk = scratch.walk;
    let has_more = walk.at < scratch.packet.len && half.bits & HALF_DONE == 0;
    if has_more && walk.found < RECORDS as u32 {
        return match records::step(skb, half, scratch) {
            Some(()) => STEP_ON,
            None => STEP_UNREADABLE,
        };
    }
    let left = walk.to.saturating_sub(walk.from);
    if left == 0 && walk.found == 0 {
        return STEP_END;
    }
    let captured = least(left, CHUNK);
    let is_last = captured == left;
    scratch.head.offset = walk.from;
    scratch.head.captured = captured;
    // They go with the last chunk.
    scratch.head.records = if is_last { walk.found as u8 } else { 0 };
    match emit::payload(skb, scratch, scratch.packet.offset.wrapping_add(walk.from)) {
        Ok(()) => {}
        Err(Counter::RingFull) => return STEP_FULL,
        Err(_) => return STEP_UNREADABLE,
    }
    if is_last {
        scratch.walk.found = 0;
    }
    scratch.walk.from = walk.from.wrapping_add(captured);
    scratch.walk.copied = walk.copied.wrapping_add(captured);
    scratch.walk.events = walk.events.wrapping_add(1);
    STEP_ON
}

/// Another look at a direction that is done: one segment per interval.
#[inline(always)]
fn again(
    skb: *mut __sk_buff,
    half: &mut Half,
    scratch: &mut Scratch,
    end: u32,
) -> Result<Outcome, Counter> {
    let outcome = glance(skb, scratch, least(scratch.packet.len, GLANCE))?;
    half.next = end;
    half.generation = done::generation() as u8;
    done::insert(scratch.packet.signature);
    count(Counter::Again);
    Ok(outcome)
}

/// Copies the segment's first bytes.
#[inline(always)]
fn glance(skb: *mut __sk_buff, scratch: &mut Scratch, captured: u32) -> Result<Outcome, Counter> {
    scratch.head.captured = captured;
    scratch.head.offset = 0;
    scratch.head.records = 0;
    emit::payload(skb, scratch, scratch.packet.offset)?;
    Ok(Outcome::Sampled)
}

#[inline(always)]
fn least(a: u32, b: u32) -> u32 {
    if a < b { a } else { b }
}
