//! Programs for `cargo xtask bench kernel`; the object that is shipped has none of them.
//!
//! `BPF_PROG_TEST_RUN` repeats one packet. To make it many flows, the sender's port is counted up.

use aya_ebpf::{
    bindings::TC_ACT_UNSPEC,
    macros::{classifier, map},
    maps::Array,
    programs::TcContext,
};
use mtls_ebpf_common::{bench::Rotation, event::EGRESS, flow::WAYS};

use crate::maps::{BUCKET_MASK, BUCKETS, FLOWS};

#[map]
static ROTATION: Array<Rotation> = Array::with_max_entries(1, 0);

/// Does nothing: what a run costs anyhow.
#[classifier]
pub(crate) fn bench_empty(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Counts the port up, and no more: what that costs.
#[classifier]
pub(crate) fn bench_rotate(ctx: TcContext) -> i32 {
    rotate::<0>(&ctx);
    TC_ACT_UNSPEC
}

/// Counts the port up, and goes the packet's road.
#[classifier]
pub(crate) fn bench_flows(ctx: TcContext) -> i32 {
    rotate::<0>(&ctx);
    crate::watch(&ctx, EGRESS);
    TC_ACT_UNSPEC
}

/// Likewise, for what the other side of those flows answers.
#[classifier]
pub(crate) fn bench_answers(ctx: TcContext) -> i32 {
    rotate::<16>(&ctx);
    crate::watch(&ctx, 0);
    TC_ACT_UNSPEC
}

/// Counts the port up, and changes one line of the flow table that the ports choose: what memory alone
/// costs that no cache holds.
#[classifier]
pub(crate) fn bench_one_line(ctx: TcContext) -> i32 {
    rotate::<0>(&ctx);
    lines::<false>(&ctx);
    TC_ACT_UNSPEC
}

/// Likewise, the three lines that a new connection needs: its bucket's, and its state's two.
#[classifier]
pub(crate) fn bench_three_lines(ctx: TcContext) -> i32 {
    rotate::<0>(&ctx);
    lines::<true>(&ctx);
    TC_ACT_UNSPEC
}

/// The lines do not wait for one another, but the next run waits for all of them, as it does where a
/// connection is locked: without that, a processor would have those of several runs fetched at once.
#[inline(always)]
fn lines<const STATE: bool>(ctx: &TcContext) {
    let Some(rotation) = ROTATION.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: benchmarks run on one CPU at a time.
    let rotation = unsafe { &mut *rotation };
    let at = rotation.offset as usize & 0x7f;
    let ports = ctx.data() + at;
    if ports + 4 > ctx.data_end() {
        return;
    }
    let mut read = 0;
    // SAFETY: compared with the packet's end above.
    let ports = unsafe { (ports as *const u32).read_unaligned() };
    let hash = (ports as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bucket = (hash >> 40) as u32 & BUCKET_MASK.load();
    if STATE {
        let slot = bucket * WAYS as u32 + (hash >> 61) as u32;
        if let Some(flow) = FLOWS.get_ptr_mut(slot) {
            // SAFETY: a value of an array map.
            unsafe {
                let first = &raw mut (*flow).opened;
                let second = &raw mut (*flow).halves[1].isn;
                let (one, two) = (first.read_volatile(), second.read_volatile());
                first.write_volatile(one ^ 1);
                second.write_volatile(two ^ 1);
                read = one | two as u64;
            }
        }
    }
    if let Some(line) = BUCKETS.get_ptr_mut(bucket) {
        let word = line.cast::<u64>();
        // SAFETY: a value of an array map. The lowest bits hold the state, which stays empty.
        unsafe {
            let old = word.read_volatile();
            word.write_volatile(old ^ 1 << 40);
            read |= old;
        }
    }
    // Always 0.
    rotation.next = rotation.next.wrapping_add((read >> 63) as u32);
}

/// `SHIFT`: 0 for the sender's port, 16 for the receiver's.
#[inline(always)]
fn rotate<const SHIFT: u32>(ctx: &TcContext) {
    let Some(rotation) = ROTATION.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: benchmarks run on one CPU at a time.
    let rotation = unsafe { &mut *rotation };
    let at = rotation.offset as usize & 0x7f;
    let ports = ctx.data() + at;
    if ports + 4 > ctx.data_end() {
        return;
    }
    let next = rotation.next;
    rotation.next = next.wrapping_add(1) & rotation.mask;
    let ports = ports as *mut u32;
    // Both ports at once: a processor has to wait where a read is longer than the write before it.
    // SAFETY: compared with the packet's end above.
    unsafe {
        let old = ports.read_unaligned();
        let port = ((next as u16).to_be() as u32) << SHIFT;
        ports.write_unaligned(old & !(0xffff << SHIFT) | port);
    }
}
