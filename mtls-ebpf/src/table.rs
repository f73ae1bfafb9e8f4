//! The flow table: buckets of eight ways in array memory.
//!
//! A [`Bucket`](mtls_ebpf_common::flow::Bucket) is one cache line of eight words. A word identifies
//! the connection in its way, and has its age and state, so that both the search and the choice of
//! a connection to evict read one line. The connection's full state is two lines elsewhere, under a
//! lock of its own.
//!
//! None of these three lines is likely to be cached. A connection is therefore kept in the way that
//! its hash selects, if that is free, so that the two lines can be prefetched before the first one
//! has arrived.
//!
//! # Concurrent access by other CPUs
//!
//! - A way changes owner by a compare-and-exchange of its word, so that only one of two claimants
//!   gets it. The winner then takes the lock, and only after that writes the new connection's
//!   state: any CPU that was still working on the old one has finished.
//! - A CPU that finds a word takes the lock and compares the key, because the way may have changed
//!   owner in between, or its new owner may not have written the key yet. In these cases, the
//!   segment counts as lost.
//! - Two CPUs that see a midstream connection at the same time may claim one way each. Each
//!   searches again after it has claimed its word: the first of the two words stays, and the owner
//!   of the second releases it. The answer to a SYN cannot arrive before the program run for the
//!   SYN has ended.
//! - Waiting for a lock is bounded: no other program of ours interrupts its holder, and the
//!   holder does not sleep, but a virtual CPU may be suspended at any time.
//! - A CPU that fails to claim a way searches once more: another one may have created the
//!   connection meanwhile.

use aya_ebpf::bindings::__sk_buff;
use mtls_ebpf_common::{
    Counter, Flow, Half,
    flow::{
        AGE_AT, AGE_MASK, HALF_DONE, LINK_AT, LINK_EGRESS, STATE_DATAGRAMS, STATE_FINISHED,
        STATE_MASK, STATE_OPEN, STATE_UNANSWERED, TAG_AT, WAYS,
    },
    packet::protocol,
};

use crate::{
    atomic::{compare_exchange_u32, compare_exchange_u64, store_u32},
    count::count_under,
    datagram,
    done::{self, signature_v6},
    emit,
    maps::{BUCKET_MASK, BUCKETS, FLOWS, Scratch},
    opening, parse, victim,
};

/// The flow in the scratch is in the table, and locked.
pub(crate) const FOUND: u32 = 0;
/// It is not in the table.
pub(crate) const ABSENT: u32 = 1;
/// It may be in the table, but cannot be accessed.
pub(crate) const BUSY: u32 = 2;
/// There is no room for a UDP flow.
pub(crate) const NO_ROOM: u32 = 3;

/// How long a lock is waited for, in nanoseconds: its holder may be delivering a sample with cold
/// caches. Longer waits are for a holder whose virtual CPU does not run.
const PATIENCE: u64 = 16_000;
/// Attempts within that time, at most: the verifier requires a bound.
const TRIES: u32 = 512;

/// The flow at `scratch.slot`.
#[inline(always)]
pub(crate) fn flow(scratch: &Scratch) -> Option<&'static mut Flow> {
    // SAFETY: an array map's value does not move, and the lock is held.
    FLOWS
        .get_ptr_mut(scratch.slot)
        .map(|flow| unsafe { &mut *flow })
}

/// Looks for `scratch.key` and locks it.
#[inline(never)]
pub(crate) fn find(scratch: &mut Scratch) -> u32 {
    let key = &scratch.key;
    let ports = (key.ports[0] as u32) << 16 | key.ports[1] as u32;
    let mixed = (key.family as u64) << 48 | (key.transport as u64) << 56;
    let [first, second] = key.addrs;
    let hash = signature_v6([first[0] ^ mixed, first[1]], second, ports);
    scratch.tag = hash >> TAG_AT << TAG_AT;
    // The lowest byte of a signature is zero.
    scratch.bucket = (hash >> 8) as u32 & BUCKET_MASK.load();
    ask_for(scratch.bucket * WAYS as u32 + home(hash) as u32);
    if way_of(scratch) == 0 {
        return ABSENT;
    }
    if lock(scratch) && is_key(scratch) {
        return FOUND;
    }
    BUSY
}

/// The way that a connection prefers. These bits are part of the tag as well.
#[inline(always)]
pub(crate) fn home(tag: u64) -> usize {
    (tag >> 61) as usize
}

/// Makes the CPU fetch a flow's two lines while it waits for the bucket's: nothing else depends on
/// these reads.
#[inline(always)]
fn ask_for(slot: u32) {
    if let Some(flow) = FLOWS.get_ptr(slot) {
        // SAFETY: a value of an array map.
        unsafe {
            (&raw const (*flow).lock).read_volatile();
            (&raw const (*flow).halves[1].link).read_volatile();
        }
    }
}

/// Chooses the way with the tag: the preferred way before others, and otherwise the first one.
/// Returns 1 if there is one.
#[inline(never)]
fn way_of(scratch: &mut Scratch) -> u32 {
    let Some(bucket) = BUCKETS.get(scratch.bucket) else {
        return 0;
    };
    let is_here = |word: u64| word >> TAG_AT << TAG_AT == scratch.tag && word & STATE_MASK != 0;
    let home = home(scratch.tag);
    let word = bucket[home];
    if is_here(word) {
        scratch.word = word;
        choose(scratch, home as u32);
        return 1;
    }
    let mut found = WAYS;
    for way in (0..WAYS).rev() {
        let word = bucket[way];
        if is_here(word) {
            found = way;
            scratch.word = word;
        }
    }
    if found == WAYS {
        return 0;
    }
    choose(scratch, found as u32);
    1
}

#[inline(always)]
pub(crate) fn choose(scratch: &mut Scratch, way: u32) {
    scratch.way = way;
    scratch.slot = scratch.bucket * WAYS as u32 + way;
}

#[inline(never)]
fn lock(scratch: &Scratch) -> bool {
    let Some(flow) = FLOWS.get_ptr_mut(scratch.slot) else {
        return false;
    };
    // SAFETY: a value of an array map.
    if unsafe { compare_exchange_u32(&raw mut (*flow).lock, 0, 1) } == 0 {
        return true;
    }
    let begun = emit::now();
    for _ in 0..TRIES {
        if emit::now().wrapping_sub(begun) > PATIENCE {
            break;
        }
        // SAFETY: as above.
        if unsafe { compare_exchange_u32(&raw mut (*flow).lock, 0, 1) } == 0 {
            return true;
        }
    }
    // SAFETY: an array map's value. These bytes may be written at any time: the holder of the lock
    // writes the first only here, and uses the second as it is at that moment.
    unsafe {
        (&raw mut (*flow).lost).write_volatile(1);
        let serial = (&raw const (*flow).serial).read_volatile();
        (&raw mut (*flow).told).write_volatile(serial.wrapping_sub(1));
    }
    false
}

/// Releases the flow's lock.
#[inline(always)]
pub(crate) fn unlock(flow: &mut Flow) {
    // SAFETY: a value of an array map.
    unsafe { store_u32(&raw mut flow.lock, 0) };
}

/// Whether the locked flow is the one searched for; if not, the lock is released.
#[inline(always)]
fn is_key(scratch: &Scratch) -> bool {
    let Some(flow) = flow(scratch) else {
        return false;
    };
    let key = &scratch.key;
    let same = flow.addrs[0][0] == key.addrs[0][0]
        && flow.addrs[0][1] == key.addrs[0][1]
        && flow.addrs[1][0] == key.addrs[1][0]
        && flow.addrs[1][1] == key.addrs[1][1]
        && flow.ports[0] == key.ports[0]
        && flow.ports[1] == key.ports[1]
        && flow.family == key.family
        && flow.transport == key.transport;
    if !same {
        unlock(flow);
    }
    same
}

/// Makes room for `scratch.key`, which is absent, and locks it: [`FOUND`], [`BUSY`] or [`NO_ROOM`].
#[inline(never)]
pub(crate) fn claim(skb: *mut __sk_buff, scratch: &mut Scratch) -> u32 {
    victim::victim(scratch);
    let (way, old) = (scratch.way, scratch.word);
    let is_datagram = scratch.key.transport == protocol::UDP;
    if is_datagram && old & STATE_MASK == STATE_OPEN {
        // Anybody can send datagrams to many ports, so no open connection is evicted for them.
        return NO_ROOM;
    }
    let new = word(scratch, STATE_UNANSWERED);
    let Some(bucket) = BUCKETS.get_ptr_mut(scratch.bucket) else {
        return BUSY;
    };
    // SAFETY: within the bucket, which is a value of an array map.
    let place = unsafe { (&raw mut *bucket).cast::<u64>().add((way & 7) as usize) };
    // SAFETY: as above.
    if unsafe { compare_exchange_u64(place, old, new) } != old {
        return BUSY;
    }
    scratch.word = new;
    way_of(scratch);
    if scratch.way != way || !lock(scratch) {
        // Another CPU has created an entry for the same connection, or the old one is locked.
        // SAFETY: as above.
        unsafe { compare_exchange_u64(place, new, 0) };
        return BUSY;
    }
    let Some(flow) = flow(scratch) else {
        return BUSY;
    };
    if old & STATE_MASK != 0 {
        evict(skb, flow, scratch, old);
    }
    begin(flow, scratch);
    opening::found(flow, scratch);
    FOUND
}

/// The current bucket word of the flow in the scratch.
#[inline(always)]
fn word(scratch: &Scratch, state: u64) -> u64 {
    let age = scratch.age & AGE_MASK;
    scratch.tag | link_hash(scratch.link) << LINK_AT | age << AGE_AT | state
}

#[inline(always)]
fn link_hash(link: u32) -> u64 {
    // Neighbouring indexes get different values, as do the two directions of an interface.
    ((link ^ link >> 8 ^ link >> 24) & 0xff) as u64
}

/// Evicts the connection whose way was claimed. `old`: its word.
#[inline(never)]
fn evict(skb: *mut __sk_buff, flow: &mut Flow, scratch: &mut Scratch, old: u64) -> u32 {
    forget(flow);
    let state = old & STATE_MASK;
    let is_told = flow.told == flow.serial;
    if state == STATE_FINISHED && is_told {
        return 0;
    }
    let counter = match state {
        STATE_UNANSWERED => Counter::EvictedUnanswered,
        STATE_DATAGRAMS => Counter::EvictedDatagrams,
        _ => Counter::Evicted,
    };
    let link = if flow.halves[0].link != 0 {
        flow.halves[0].link
    } else {
        flow.halves[1].link
    };
    count_under(link & !LINK_EGRESS, counter as u32);
    if state != STATE_UNANSWERED && state != STATE_DATAGRAMS {
        emit::evicted(skb, flow, scratch, link);
    }
    0
}

/// Removes the flow from the fast path's memory, which contains only flows of the table.
#[inline(never)]
pub(crate) fn forget(flow: &Flow) -> u32 {
    if (flow.halves[0].bits | flow.halves[1].bits) & HALF_DONE == 0 {
        return 0;
    }
    let ports = (flow.ports[0].to_be() as u32) | (flow.ports[1].to_be() as u32) << 16;
    let ports = if cfg!(target_endian = "little") {
        ports
    } else {
        ports.rotate_left(16)
    };
    let [first, second] = flow.addrs;
    let back = ports.rotate_left(16);
    let there = parse::signature(flow.family, first, second, ports);
    let back = parse::signature(flow.family, second, first, back);
    if flow.transport == protocol::UDP {
        datagram::forget(there);
        datagram::forget(back);
    } else {
        done::remove(there);
        done::remove(back);
    }
    0
}

/// Initialises the connection of the scratch, replacing the previous one.
#[inline(always)]
pub(crate) fn begin(flow: &mut Flow, scratch: &Scratch) {
    let key = &scratch.key;
    flow.addrs = key.addrs;
    flow.ports = key.ports;
    flow.family = key.family;
    flow.transport = key.transport;
    flow.lost = 0;
    flow.foreign = 0;
    flow.opened = emit::now();
    flow.bits = 0;
    flow.serial = flow.serial.wrapping_add(1);
    flow.told = flow.serial.wrapping_sub(1);
    let words = (&raw mut flow.halves).cast::<u64>();
    for at in 0..size_of::<[Half; 2]>() / 8 {
        // SAFETY: within both halves, which are aligned to eight. Written one by one, because the
        // target's `memset` writes single bytes.
        unsafe { words.add(at).write_volatile(0) };
    }
}

/// Updates the flow's age and state in the bucket. If the way has changed owner, there is nothing
/// to update.
#[inline(always)]
pub(crate) fn touch(scratch: &Scratch, state: u64) {
    let old = scratch.word;
    let age = scratch.age & AGE_MASK;
    let new = old & !(AGE_MASK << AGE_AT | STATE_MASK) | age << AGE_AT | state;
    if new == old {
        return;
    }
    if let Some(bucket) = BUCKETS.get_ptr_mut(scratch.bucket) {
        // SAFETY: within the bucket, which is a value of an array map.
        unsafe {
            let place = (&raw mut *bucket)
                .cast::<u64>()
                .add((scratch.way & 7) as usize);
            compare_exchange_u64(place, old, new);
        }
    }
}
