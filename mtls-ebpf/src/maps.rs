//! Every map, with the reason for its size. The daemon may set other sizes when it loads the
//! programs.

use aya_ebpf::{
    Global,
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    check_bounds_signed,
    macros::map,
    maps::{Array, PerCpuArray, PerCpuHashMap, RingBuf},
};
use mtls_ebpf_common::{
    Counter, Flow, Head, Interface, Key, Piece,
    event::{PAYLOAD, PIECES},
    flow::{Bucket, WAYS},
};

use crate::{parse::Packet, records::Walk};

/// Keys for the flow signatures: random for each load; the multipliers are odd. Separate variables,
/// because an array would be copied through the stack.
#[unsafe(no_mangle)]
pub(crate) static SEED_K0: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
pub(crate) static SEED_M0: Global<u64> = Global::new(1);
#[unsafe(no_mangle)]
pub(crate) static SEED_K1: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
pub(crate) static SEED_M1: Global<u64> = Global::new(1);

/// Zero if datagrams are counted but not followed, because an old verifier may reject that code.
/// The verifier skips code that a constant rules out.
#[unsafe(no_mangle)]
pub(crate) static DATAGRAMS: Global<u32> = Global::new(1);

/// Number of [`DONE`]'s buckets, minus one.
#[unsafe(no_mangle)]
pub(crate) static DONE_MASK: Global<u32> = Global::new(0);

/// Signatures of the directions that are done, in buckets of one cache line each: 16,384 buckets
/// are 1 MiB, half of a core's second-level cache, with room for both directions of 65,536 flows.
/// The map is mmapable because such memory is page-aligned, so that no bucket straddles two lines.
#[map]
pub(crate) static DONE: Array<[u64; WAYS]> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The number of the recheck interval, 1 to 255: the only word that the daemon changes while the
/// program runs. A variable, because a map lookup would cost more than the comparison.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.generation")]
pub(crate) static GENERATION: Global<u32> = Global::new(1);

/// Number of [`BUCKETS`], minus one.
#[unsafe(no_mangle)]
pub(crate) static BUCKET_MASK: Global<u32> = Global::new(0);

/// The flow table's words: 8 bytes for each of 65,536 connections. Mmapable for alignment, as
/// above.
#[map]
pub(crate) static BUCKETS: Array<Bucket> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The state of connections: 128 bytes each, 8 MiB. The daemon maps it, to find connections with
/// undelivered events.
#[map]
pub(crate) static FLOWS: Array<Flow> = Array::with_max_entries(WAYS as u32, BPF_F_MMAPABLE);

/// Samples on their way to the daemon: about 1 KB per connection, so that a reader that pauses for
/// 400 ms loses none at 40,000 connections per second.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// See [`Counter`].
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::COUNT, 0);

/// Half the size of [`EVENTS`], as a power of two.
#[unsafe(no_mangle)]
pub(crate) static RING_HALF_LOG2: Global<u32> = Global::new(23);

/// Bytes that one interface may write into the ring from one CPU while the ring is half full.
#[unsafe(no_mangle)]
pub(crate) static SHARE: Global<u32> = Global::new(1 << 20);

/// By interface index. The daemon creates an entry when it attaches; index 0 counts everything
/// without an entry of its own.
#[map]
pub(crate) static INTERFACES: PerCpuHashMap<u32, Interface> =
    PerCpuHashMap::with_max_entries(16_384, BPF_F_NO_PREALLOC);

/// Working memory for a segment: too large for the 512-byte stack. One per CPU is enough, because
/// tc programs run with softirqs disabled and never interrupt each other.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// A segment, and the event being built.
///
/// The verifier distinguishes states of registers and stack by each value and each loop iteration,
/// but knows nothing about the contents of maps. Keeping all values that live longer than a few
/// lines here reduces its work to a tenth.
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) packet: Packet,
    pub(crate) walk: Walk,
    /// The current time, in units of age.
    pub(crate) age: u64,
    /// The connection's key, and which half of it the segment belongs to.
    pub(crate) key: Key,
    pub(crate) side: u32,
    /// The interface, with `LINK_EGRESS`.
    pub(crate) link: u32,
    /// The connection's place in the table: its tag, its word in the bucket, bucket and way, and
    /// the index of its state.
    pub(crate) tag: u64,
    pub(crate) word: u64,
    pub(crate) bucket: u32,
    pub(crate) way: u32,
    pub(crate) slot: u32,
    /// Sequence number of the segment's first byte of payload.
    pub(crate) start: u32,
    /// It leaves no gap before it.
    pub(crate) is_next: u32,
    /// The current recheck interval.
    pub(crate) generation: u32,
    /// See [`blur`].
    pub(crate) blurred: u32,
    // The event being built; see `Event`.
    pub(crate) head: Head,
    pub(crate) pieces: [Piece; PIECES],
    pub(crate) payload: [u8; PAYLOAD],
}

/// This CPU's [`SCRATCH`].
#[inline(always)]
pub(crate) fn scratch() -> Option<&'static mut Scratch> {
    // SAFETY: nothing else uses it while this program runs, see there.
    SCRATCH
        .get_ptr_mut(0)
        .map(|scratch| unsafe { &mut *scratch })
}

/// Writes zero. The compiler would turn neighbouring assignments of zero into a call of `memset`,
/// which writes one byte at a time here.
#[inline(always)]
pub(crate) fn clear<T: Default>(place: &mut T) {
    // SAFETY: it is valid for writes, and aligned.
    unsafe { (&raw mut *place).write_volatile(T::default()) }
}

/// The same number, with the verifier's knowledge about it removed; otherwise it would check the
/// code that follows once for each possible value.
#[inline(always)]
pub(crate) fn blur(scratch: &mut Scratch, value: u32) -> u32 {
    let place = &raw mut scratch.blurred;
    // SAFETY: a field of the scratch, which nothing else uses.
    unsafe {
        place.write_volatile(value);
        place.read_volatile()
    }
}

/// The value, if it is within these bounds, in a form of which every verifier knows that it is: Linux
/// 6.1 does not relate a number to its zero-extended copy, so one register holds it from the check to
/// its use.
#[inline(always)]
pub(crate) fn within(value: u32, least: u32, most: u32) -> Option<u32> {
    let mut value = value as i64;
    // SAFETY (here and below): this moves a register to itself; the compiler does not know the value
    // any more. Without an instruction, it would have line information without one.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) value) };
    if !check_bounds_signed(value, least as i64, most as i64) {
        return None;
    }
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) value) };
    Some(value as u32)
}
