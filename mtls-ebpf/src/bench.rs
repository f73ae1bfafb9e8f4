//! Programs for `cargo xtask bench kernel`; the object that is shipped has none of them.
//!
//! `BPF_PROG_TEST_RUN` repeats one packet. To make it many flows, the sender's port is counted up.

use aya_ebpf::{
    bindings::TC_ACT_UNSPEC,
    macros::{classifier, map},
    maps::Array,
    programs::TcContext,
};
use mtls_ebpf_common::{bench::Rotation, event::EGRESS};

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
    rotate(&ctx);
    TC_ACT_UNSPEC
}

/// Counts the port up, and goes the packet's road.
#[classifier]
pub(crate) fn bench_flows(ctx: TcContext) -> i32 {
    rotate(&ctx);
    crate::watch(&ctx, EGRESS);
    TC_ACT_UNSPEC
}

#[inline(always)]
fn rotate(ctx: &TcContext) {
    let Some(rotation) = ROTATION.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: benchmarks run on one CPU at a time.
    let rotation = unsafe { &mut *rotation };
    let at = rotation.offset as usize & 0x7f;
    let port = ctx.data() + at;
    if port + 2 > ctx.data_end() {
        return;
    }
    let next = rotation.next;
    rotation.next = next.wrapping_add(1) & rotation.mask;
    // SAFETY: compared with the packet's end above.
    unsafe { *(port as *mut u16) = (next as u16).to_be() };
}
