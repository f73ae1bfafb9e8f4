//! Programs for `cargo xtask bench kernel`; the shipped object does not contain them.
//!
//! `BPF_PROG_TEST_RUN` repeats one packet. To create many flows, these programs increment a port.

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

/// Does nothing: the base cost of a run.
#[classifier]
pub(crate) fn bench_empty(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Increments the port and nothing else, to measure the cost of that.
#[classifier]
pub(crate) fn bench_rotate(ctx: TcContext) -> i32 {
    rotate::<0>(&ctx);
    TC_ACT_UNSPEC
}

/// Increments the port, and then processes the packet as the real program does.
#[classifier]
pub(crate) fn bench_flows(ctx: TcContext) -> i32 {
    rotate::<0>(&ctx);
    crate::watch(&ctx, EGRESS);
    TC_ACT_UNSPEC
}

/// The same for the replies to those flows.
#[classifier]
pub(crate) fn bench_answers(ctx: TcContext) -> i32 {
    rotate::<16>(&ctx);
    crate::watch(&ctx, 0);
    TC_ACT_UNSPEC
}

/// Increments the port and modifies one cache line of the flow table, chosen by the ports: the cost
/// of memory accesses that miss every cache.
#[classifier]
pub(crate) fn bench_one_line(ctx: TcContext) -> i32 {
    rotate::<0>(&ctx);
    lines::<false>(&ctx);
    TC_ACT_UNSPEC
}

/// The same for the three cache lines that a new connection needs: one of its bucket, two of its
/// state.
#[classifier]
pub(crate) fn bench_three_lines(ctx: TcContext) -> i32 {
    rotate::<0>(&ctx);
    lines::<true>(&ctx);
    TC_ACT_UNSPEC
}

/// The three accesses do not depend on each other, but the next run depends on all of them, as it
/// does when a connection is locked: otherwise, a CPU would fetch the lines of several runs at once.
#[inline(always)]
fn lines<const STATE: bool>(ctx: &TcContext) {
    let Some((rotation, ports)) = ports(ctx) else {
        return;
    };
    let mut read = 0;
    // SAFETY: within the packet.
    let ports = unsafe { ports.read_unaligned() };
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

/// The state of the rotation, and both ports of the packet, which has them.
#[inline(always)]
fn ports(ctx: &TcContext) -> Option<(&'static mut Rotation, *mut u32)> {
    let rotation = ROTATION.get_ptr_mut(0)?;
    // SAFETY: benchmarks run on one CPU at a time.
    let rotation = unsafe { &mut *rotation };
    let ports = ctx.data() + (rotation.offset as usize & 0x7f);
    (ports + 4 <= ctx.data_end()).then_some((rotation, ports as *mut u32))
}

/// `SHIFT`: 0 for the sender's port, 16 for the receiver's.
#[inline(always)]
fn rotate<const SHIFT: u32>(ctx: &TcContext) {
    let Some((rotation, ports)) = ports(ctx) else {
        return;
    };
    let next = rotation.next;
    rotation.next = next.wrapping_add(1) & rotation.mask;
    // Both ports at once: the CPU stalls when a read is wider than the write before it.
    // SAFETY: within the packet.
    unsafe {
        let old = ports.read_unaligned();
        let port = ((next as u16).to_be() as u32) << SHIFT;
        ports.write_unaligned(old & !(0xffff << SHIFT) | port);
    }
}
