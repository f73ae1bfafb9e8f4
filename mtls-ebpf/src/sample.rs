//! Which parts of a segment's payload are sampled.

use aya_ebpf::bindings::__sk_buff;
use mtls_ebpf_common::{
    Counter, Flow, Half, Piece,
    event::{AGAIN, CHUNK, FIRST, PIECES, RUN},
    flow::{
        HALF_DONE, HALF_FIN, HALF_HEADERS, HALF_HOLE, HALF_RST, HALF_STARTED, KIND_NONE,
        KIND_OTHER, KIND_TLS,
    },
};

use crate::{
    closing,
    count::count,
    done, emit,
    flow::halves,
    maps::{Scratch, blur, clear},
    outcome::{SAMPLED, SKIPPED, UNREADABLE},
    parse::FIN,
    records::{self, COPIED, HEADERS, Walk},
    sender::is_taken,
};

/// For a direction that is not TLS: enough for in-band upgrades, which take up to three exchanges
/// before the ClientHello, and for a request's header.
const OTHER_BYTES: u32 = 4096;
const OTHER_SEGMENTS: u8 = 8;
/// Segments sampled of a TLS direction, so that tiny segments do not cause a flood of events.
const TLS_SEGMENTS: u8 = 64;
/// Bytes copied of a segment in a recheck, and of a segment whose records cannot be walked because
/// the preceding header was missed.
pub(crate) const GLANCE: u32 = 512;
/// Segments sampled of a direction that is done, per recheck interval.
const LOOKS: u8 = 4;
/// Steps that one segment may take: one per header, plus the events for copied bytes (in chunks,
/// and one that the budget cuts short) and for the headers (eight at a time).
const STEPS: u32 = HEADERS as u32 + COPIED / CHUNK + 2 + HEADERS as u32 / (PIECES as u32 - 1) + 2;

/// What to sample of a segment.
const NOTHING: u32 = 0;
/// Its first bytes, as described by `scratch.pieces`.
const COPY: u32 = 1;
/// Its records.
const RECORD: u32 = 2;
/// Its first bytes, as the recheck of a direction that is done.
const LOOK: u32 = 3;
const FAULT: u32 = 4;

/// Samples the payload.
#[inline(always)]
pub(crate) fn payload(skb: *mut __sk_buff, flow: &mut Flow, scratch: &mut Scratch) -> u32 {
    let worth = judge(skb, flow, scratch);
    let worth = blur(scratch, worth);
    let (half, _) = halves(flow, scratch);
    let outcome = match worth {
        NOTHING => return SKIPPED,
        FAULT => return UNREADABLE,
        RECORD => follow(skb, half, scratch),
        _ => {
            ends(scratch);
            emit::payload(skb, scratch)
        }
    };
    let outcome = blur(scratch, outcome);
    if outcome > SAMPLED {
        // What was not delivered does not count as seen; but the receiver may have accepted it, and
        // then the stream continues after it.
        if worth != LOOK {
            half.bits &= !HALF_DONE;
            half.bits |= HALF_HOLE;
        }
        scratch.head.tcp_flags &= !FIN;
        return outcome;
    }
    if worth == LOOK {
        count(Counter::Again);
        half.looks = half.looks.wrapping_add(1);
        if half.looks >= LOOKS {
            done::insert(scratch.packet.signature);
        }
    } else {
        settle(half, scratch, outcome);
    }
    outcome
}

/// The event being built is the segment's last one, so it also carries the FIN.
#[inline(always)]
fn ends(scratch: &mut Scratch) {
    scratch.head.tcp_flags |= scratch.packet.flags & FIN;
}

/// What to sample of the segment: one of the constants above.
#[inline(never)]
fn judge(skb: *mut __sk_buff, flow: &mut Flow, scratch: &mut Scratch) -> u32 {
    let (start, len) = (scratch.start, scratch.packet.len);
    scratch.generation = done::generation() as u32;
    let (half, other) = halves(flow, scratch);
    let is_done = half.bits & HALF_DONE != 0;
    if is_done && half.generation != scratch.generation as u8 {
        half.generation = scratch.generation as u8;
        half.looks = 0;
    }
    if is_done && half.looks >= LOOKS {
        // It was displaced from the fast path's memory.
        done::insert(scratch.packet.signature);
        return NOTHING;
    }
    let is_started = half.bits & HALF_STARTED != 0;
    if !is_done && is_started && is_taken(half, start, len) {
        return NOTHING;
    }
    let is_behind_fin =
        half.bits & HALF_FIN != 0 && start.wrapping_add(len).wrapping_sub(half.fin) as i32 > 0;
    if is_behind_fin || (half.bits | other.bits) & HALF_RST != 0 {
        closing::reopen(flow, scratch);
    }
    let (half, other) = halves(flow, scratch);
    let is_next = start.wrapping_sub(half.isn) <= half.next.wrapping_sub(half.isn);
    scratch.is_next = u32::from(is_next);

    let mut begins = false;
    if half.kind != KIND_TLS || is_done {
        let peek = least(len, 5);
        let Some(first) = records::read(skb, scratch.packet.offset, peek) else {
            return FAULT;
        };
        begins = records::begins(first << (64 - 8 * peek & 63), peek);
    }
    if is_done {
        scratch.head.bits |= AGAIN;
        if half.kind == KIND_TLS || !begins {
            return some(scratch, GLANCE, LOOK);
        }
        // An upgrade that took longer than the budget: follow it from here on.
        half.bits &= !HALF_DONE;
    }
    if begins && (is_next || half.kind == KIND_OTHER) {
        if half.kind == KIND_OTHER {
            reopen(other, scratch);
        }
        half.kind = KIND_TLS;
        half.record = start;
        half.carried = 0;
        half.want = 0;
        half.headers = 0;
        half.bodies = 0;
        half.segments = 0;
        half.bytes = 0;
        half.bits &= !HALF_HEADERS;
    } else if half.kind == KIND_NONE && is_next {
        half.kind = KIND_OTHER;
    }
    if half.kind != KIND_TLS {
        let room = OTHER_BYTES.saturating_sub(half.bytes as u32);
        return some(scratch, least(CHUNK, room), COPY);
    }
    if (half.record.wrapping_sub(start) as i32) < 0 {
        // The preceding header was missed.
        if half.bytes as u32 >= COPIED {
            half.bits |= HALF_DONE;
        }
        return some(scratch, GLANCE, COPY);
    }
    RECORD
}

/// Samples at most `most` of the segment's first bytes.
#[inline(always)]
fn some(scratch: &mut Scratch, most: u32, worth: u32) -> u32 {
    let len = least(scratch.packet.len, most);
    scratch.pieces[0] = Piece { offset: 0, len };
    scratch.head.pieces = 1;
    scratch.head.bits |= RUN;
    scratch.walk.copied = len;
    worth
}

/// The other direction switches to TLS as well, so it gets a new budget.
#[inline(always)]
fn reopen(other: &mut Half, scratch: &Scratch) {
    if other.kind == KIND_OTHER {
        other.segments = 0;
        other.bytes = 0;
        other.bits &= !HALF_DONE;
        done::remove(scratch.packet.signature_back());
    }
}

/// Updates the direction's budgets and positions with what was sampled.
#[inline(never)]
fn settle(half: &mut Half, scratch: &mut Scratch, outcome: u32) -> u32 {
    half.bits |= HALF_STARTED;
    if scratch.is_next != 0 {
        let end = scratch.start.wrapping_add(scratch.packet.len);
        // A retransmission may end before what was already seen.
        if end.wrapping_sub(half.isn) > half.next.wrapping_sub(half.isn) {
            half.next = end;
        }
    } else {
        half.bits |= HALF_HOLE;
    }
    if outcome == SAMPLED {
        half.segments = half.segments.saturating_add(1);
        half.bytes = half.bytes.saturating_add(scratch.walk.copied as u16);
    }
    let is_spent = if half.kind == KIND_TLS {
        half.segments >= TLS_SEGMENTS
    } else {
        half.segments >= OTHER_SEGMENTS || half.bytes as u32 >= OTHER_BYTES
    };
    if is_spent || half.bits & HALF_DONE != 0 {
        finish(half, scratch);
    }
    0
}

/// The direction needs no more samples until the next recheck.
#[inline(always)]
fn finish(half: &mut Half, scratch: &Scratch) {
    half.bits |= HALF_DONE;
    half.generation = scratch.generation as u8;
    half.looks = LOOKS;
    done::insert(scratch.packet.signature);
}

/// Walks the records of the segment: copies what has to be copied, and reports the headers after
/// that.
#[inline(never)]
fn follow(skb: *mut __sk_buff, half: &mut Half, scratch: &mut Scratch) -> u32 {
    let at = half.record.wrapping_sub(scratch.start);
    let walk = &mut scratch.walk;
    walk.at = at;
    // The rest of the body that an earlier segment began.
    walk.to = if half.bits & HALF_HEADERS == 0 {
        least(at, scratch.packet.len)
    } else {
        0
    };
    clear(&mut walk.from);
    clear(&mut walk.found);
    clear(&mut walk.copied);
    clear(&mut walk.events);
    if half.bits & HALF_HEADERS != 0 {
        records::body(half, scratch);
    }
    let mut outcome = SKIPPED;
    for _ in 0..STEPS {
        let done = step(skb, half, scratch);
        if done != STEP_ON {
            outcome = done;
            break;
        }
    }
    half.record = scratch.start.wrapping_add(scratch.walk.at);
    let outcome = blur(scratch, outcome);
    if outcome > SAMPLED {
        return outcome;
    }
    if scratch.walk.events > 0 {
        SAMPLED
    } else {
        SKIPPED
    }
}

/// There is more to do; any other value returned by a step is an outcome.
const STEP_ON: u32 = u32::MAX;

/// Processes one record header or, if there is none, delivers one event.
#[inline(never)]
fn step(skb: *mut __sk_buff, half: &mut Half, scratch: &mut Scratch) -> u32 {
    let has_more = scratch.walk.at < scratch.packet.len && half.bits & HALF_DONE == 0;
    // The first piece contains all contiguous bytes to copy.
    if has_more && scratch.walk.found < PIECES as u32 - 1 {
        return match records::step(skb, half, scratch) {
            Some(()) => STEP_ON,
            None => UNREADABLE,
        };
    }
    let (from, found) = (scratch.walk.from, scratch.walk.found);
    let left = scratch.walk.to.wrapping_sub(from);
    if left == 0 && found == 0 {
        return SKIPPED;
    }
    let captured = least(left, CHUNK);
    let is_last = captured == left;
    let mut pieces = if is_last { found } else { 0 };
    scratch.head.bits &= !RUN;
    if captured > 0 {
        scratch.head.bits |= RUN;
        scratch.pieces[0] = Piece {
            offset: from,
            len: captured,
        };
        pieces = pieces.wrapping_add(1);
    }
    scratch.head.pieces = pieces as u8;
    if is_last && !has_more {
        ends(scratch);
    }
    let outcome = emit::payload(skb, scratch);
    if outcome != SAMPLED {
        return outcome;
    }
    if is_last {
        scratch.walk.found = 0;
    }
    scratch.walk.from = from.wrapping_add(captured);
    scratch.walk.copied = scratch.walk.copied.wrapping_add(captured);
    scratch.walk.events += 1;
    // Only the connection's first event is marked as the first.
    scratch.head.bits &= !FIRST;
    STEP_ON
}

#[inline(always)]
pub(crate) fn least(a: u32, b: u32) -> u32 {
    if a < b { a } else { b }
}
