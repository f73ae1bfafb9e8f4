//! Every map, and why it has its size. The daemon may set other sizes at load.

use aya_ebpf::{
    Global,
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, LruHashMap, LruPerCpuHashMap, PerCpuArray, RingBuf},
};
use mtls_ebpf_common::{
    Counter, Flow, FlowKey, Head, Losses, RecordHeader, event::RECORDS, flow::WAYS,
};

use crate::{parse::Packet, records::Walk};

/// Keys of the flow signatures: random per load, the multipliers odd. One by one, as an array would
/// go through the stack.
#[unsafe(no_mangle)]
pub(crate) static SEED_K0: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
pub(crate) static SEED_M0: Global<u64> = Global::new(1);
#[unsafe(no_mangle)]
pub(crate) static SEED_K1: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
pub(crate) static SEED_M1: Global<u64> = Global::new(1);

/// Buckets of [`DONE`], less one.
#[unsafe(no_mangle)]
pub(crate) static DONE_MASK: Global<u32> = Global::new(0);

/// Signatures of the directions that are done, in buckets of a cache line each: 16,384 of them are
/// 1 MiB, half of a core's second-level cache, and room for both directions of 65,536 flows.
/// Memory that could be mapped begins at a page, so that no bucket straddles two lines.
#[map]
pub(crate) static DONE: Array<[u64; WAYS]> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The look-again generation, 1 to 255: the one word that the daemon changes while this runs. A
/// variable, as looking it up in a map would cost more than comparing it.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.generation")]
pub(crate) static GENERATION: Global<u32> = Global::new(1);

/// The state of flows. About 160 bytes each with the kernel's overhead: 10 MiB.
#[map]
pub(crate) static FLOWS: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(65_536, 0);

/// Samples on their way to the daemon: about 1 KB per connection, so that a reader that is away for
/// 400 ms loses none at 40,000 connections per second.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// See [`Counter`].
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::COUNT, 0);

/// [`Losses`] by the interface's index. Only losses write to it; of more interfaces than there is
/// room for, those that lost something last are kept.
#[map]
pub(crate) static LOSSES: LruPerCpuHashMap<u32, Losses> =
    LruPerCpuHashMap::with_max_entries(1_024, 0);

/// Where a segment is worked on: too large for the stack of 512 bytes. One per CPU is enough, as tc
/// programs run with softirqs disabled and so never interrupt each other.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// A segment, and the event in the making.
///
/// The verifier tells states of registers and stack apart, down to each value and each turn of a
/// loop, while what lies in a map is unknown to it and so the same: with all that lives longer than
/// a few lines in here, it has a tenth as much to look at.
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) packet: Packet,
    pub(crate) walk: Walk,
    /// Which half of its flow the segment belongs to.
    pub(crate) side: u32,
    /// Sequence number of its first byte of payload.
    pub(crate) start: u32,
    /// It leaves no hole behind it.
    pub(crate) is_next: u32,
    /// The current look-again generation.
    pub(crate) generation: u32,
    pub(crate) head: Head,
    pub(crate) records: [RecordHeader; RECORDS],
}

/// This CPU's [`SCRATCH`].
#[inline(always)]
pub(crate) fn scratch() -> Option<&'static mut Scratch> {
    // SAFETY: nobody else uses it while this program runs, see there.
    SCRATCH
        .get_ptr_mut(0)
        .map(|scratch| unsafe { &mut *scratch })
}
