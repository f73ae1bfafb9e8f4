//! Which connection of a full bucket is evicted for a new one.

use mtls_ebpf_common::flow::{
    AGE_AT, AGE_MASK, Bucket, LINK_AT, STATE_DATAGRAMS, STATE_EMPTY, STATE_FINISHED, STATE_MASK,
    STATE_OPEN, STATE_UNANSWERED, WAYS,
};

use crate::{
    maps::{BUCKETS, Scratch},
    table::{choose, home},
};

/// An interface with this many ways of a full bucket loses one of its own first.
const MAJORITY: u32 = WAYS as u32 / 2;
/// Nothing more is expected of a connection that ended this many ages ago.
const AT_REST: u64 = 4;
/// The hash of no interface.
const NOBODY: u64 = 0x100;
/// Anything that ranks above this is empty or finished.
const IS_OVER: u64 = 6 << 16;

/// Eviction rank of each state; the lowest bit is for an interface with too many ways.
const RANKS: u64 = 8 << (4 * STATE_EMPTY)
    | 4 << (4 * STATE_UNANSWERED)
    | 2 << (4 * STATE_OPEN)
    | 6 << (4 * STATE_FINISHED)
    | 4 << (4 * STATE_DATAGRAMS);

/// Chooses the way to replace: the preferred way if it is free; else an empty one; else the oldest
/// finished one; else the oldest unanswered or UDP flow; else the oldest of an interface that has
/// half of the bucket; else the oldest.
#[inline(never)]
pub(crate) fn victim(scratch: &mut Scratch) -> u32 {
    let Some(bucket) = BUCKETS.get(scratch.bucket) else {
        return 0;
    };
    let now = scratch.age;
    let home = home(scratch.tag);
    let word = bucket[home];
    let age = now.wrapping_sub(word >> AGE_AT) & AGE_MASK;
    let state = word & STATE_MASK;
    if state == STATE_EMPTY || state == STATE_FINISHED && age >= AT_REST {
        scratch.word = word;
        choose(scratch, home as u32);
        return 0;
    }
    // The majority matters only if the whole bucket is in use.
    let mut greedy = NOBODY;
    for last in [false, true] {
        let (mut best, mut way) = (0, 0);
        for at in 0..WAYS {
            let word = bucket[at];
            let age = now.wrapping_sub(word >> AGE_AT) & AGE_MASK;
            let is_greedy = word >> LINK_AT & 0xff == greedy;
            // One digit per state: empty, unanswered, open, finished.
            let rank = RANKS >> (4 * (word & STATE_MASK)) & 0xf | is_greedy as u64;
            let worth = (rank << 16 | age) + 1;
            if worth > best {
                best = worth;
                way = at;
                scratch.word = word;
            }
        }
        choose(scratch, way as u32);
        if last || best > IS_OVER {
            break;
        }
        greedy = majority(bucket);
    }
    0
}

/// The hash of the interface that has [`MAJORITY`] ways of the bucket, or [`NOBODY`].
#[inline(always)]
fn majority(bucket: &Bucket) -> u64 {
    // Majority vote (Boyer and Moore): an interface with more than half is the candidate.
    let (mut candidate, mut votes) = (0, 0_u32);
    for word in bucket {
        let link = word >> LINK_AT & 0xff;
        if votes == 0 {
            candidate = link;
        }
        votes = if link == candidate {
            votes + 1
        } else {
            votes - 1
        };
    }
    let mut count = 0;
    for word in bucket {
        count += u32::from(word >> LINK_AT & 0xff == candidate);
    }
    if count >= MAJORITY { candidate } else { NOBODY }
}
