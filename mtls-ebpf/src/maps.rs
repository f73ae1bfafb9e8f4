//! Every map, and why it has its size. The daemon may set other sizes at load.

use aya_ebpf::{
    macros::map,
    maps::{LruHashMap, PerCpuArray, RingBuf},
};
use mtls_ebpf_common::{Counter, Flow, FlowKey, Head, RecordHeader, event::RECORDS};

/// The state of flows. About 160 bytes each with the kernel's overhead: 10 MiB.
#[map]
pub(crate) static FLOWS: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(65_536, 0);

/// Samples on their way to the daemon: some 2,000 handshakes, so that a reader that is away for
/// 100 ms loses none at 20,000 connections per second.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// See [`Counter`].
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::COUNT, 0);

/// Where a sample is put together: too large for the stack of 512 bytes. One per CPU is enough, as
/// tc programs run with softirqs disabled and so never interrupt each other.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// What an event has before its payload.
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) head: Head,
    pub(crate) records: [RecordHeader; RECORDS],
}
