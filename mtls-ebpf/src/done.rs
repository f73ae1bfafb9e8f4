//! The fast path's memory: keyed signatures of the directions that need no more samples.
//!
//! A signature has 64 bits, of which the low eight hold the recheck interval in which the direction
//! was done: in the next interval, nothing matches any more. Two directions with the same signature
//! (one chance in 2^56 for any two, and the keys are secret) would share the entry.

use mtls_ebpf_common::flow::WAYS;

use crate::maps::{DONE, DONE_MASK, GENERATION, SEED_K0, SEED_K1, SEED_M0, SEED_M1};

/// The signature of an IPv4 direction: both addresses, both ports.
#[inline(always)]
pub(crate) fn signature_v4(addrs: u64, ports: u32) -> u64 {
    let h = (addrs ^ SEED_K0.load()).wrapping_mul(SEED_M0.load());
    finish(h ^ h >> 32, ports, SEED_K1.load(), SEED_M1.load())
}

/// The signature of an IPv6 direction. It uses two dependency chains, so that neither waits for the
/// other.
#[inline(always)]
pub(crate) fn signature_v6(src: [u64; 2], dst: [u64; 2], ports: u32) -> u64 {
    let (k0, m0) = (SEED_K0.load(), SEED_M0.load());
    let (k1, m1) = (SEED_K1.load(), SEED_M1.load());
    let a = (src[0] ^ k0).wrapping_mul(m0);
    let b = (dst[0] ^ k1).wrapping_mul(m0);
    let a = (src[1] ^ a ^ a >> 32).wrapping_mul(m1);
    let b = (dst[1] ^ b ^ b >> 29).wrapping_mul(m0);
    finish(a ^ a >> 32 ^ (b << 1 ^ b >> 31), ports, k1, m1)
}

#[inline(always)]
fn finish(h: u64, ports: u32, k: u64, m: u64) -> u64 {
    let h = (h ^ ports as u64 ^ k).wrapping_mul(m);
    (h ^ h >> 32) & !0xff
}

/// The current recheck interval.
#[inline(always)]
pub(crate) fn generation() -> u64 {
    GENERATION.load() as u64
}

/// The direction is done, and its recheck is not due yet.
#[inline(always)]
pub(crate) fn contains(signature: u64) -> bool {
    let wanted = signature | generation();
    let Some(bucket) = DONE.get(index(signature)) else {
        return false;
    };
    // Most signatures are in their preferred way.
    if bucket[home(signature)] == wanted {
        return true;
    }
    // Branch-free, because it is hard to predict which way matches: for `(x - 1) & !x`, only zero
    // sets the highest bit.
    let mut found = 0;
    for way in 0..WAYS {
        let differs = bucket[way] ^ wanted;
        found |= differs.wrapping_sub(1) & !differs;
    }
    (found as i64) < 0
}

/// Inserts or renews a direction. A race between CPUs costs at most one entry.
#[inline(never)]
pub(crate) fn insert(signature: u64) -> u32 {
    let generation = generation();
    let Some(bucket) = DONE.get_ptr_mut(index(signature)) else {
        return 0;
    };
    // SAFETY: an array map's value does not move.
    let bucket = unsafe { &mut *bucket };
    let home = home(signature);
    // The preferred way is replaced if all are in use.
    let mut victim = home;
    if bucket[home] & 0xff == generation {
        for way in 0..WAYS {
            // Empty, or from an earlier interval.
            if bucket[way] & 0xff != generation {
                victim = way;
            }
        }
    }
    for way in 0..WAYS {
        if bucket[way] & !0xff == signature {
            victim = way;
        }
    }
    bucket[victim & (WAYS - 1)] = signature | generation;
    0
}

/// Removes a direction, because a new flow begins with its addresses and ports.
#[inline(never)]
pub(crate) fn remove(signature: u64) -> u32 {
    let Some(bucket) = DONE.get_ptr_mut(index(signature)) else {
        return 0;
    };
    // SAFETY: an array map's value does not move.
    let bucket = unsafe { &mut *bucket };
    for way in 0..WAYS {
        if bucket[way] & !0xff == signature {
            bucket[way] = 0;
        }
    }
    0
}

#[inline(always)]
fn index(signature: u64) -> u32 {
    (signature >> 32) as u32 & DONE_MASK.load()
}

/// The way that a signature prefers. These bits are not used for the bucket's index.
#[inline(always)]
fn home(signature: u64) -> usize {
    (signature >> 8) as usize & (WAYS - 1)
}
