//! Every map, and why it has its size. The daemon may set other sizes at load.

use aya_ebpf::{
    Global,
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    macros::map,
    maps::{Array, PerCpuArray, PerCpuHashMap, RingBuf},
};
use mtls_ebpf_common::{
    Counter, Flow, Head, Interface, Key, Piece,
    event::{PAYLOAD, PIECES},
    flow::{Bucket, WAYS},
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

/// Zero where datagrams are counted, and not followed: an old verifier may refuse what follows them. It
/// never looks at what a constant rules out.
#[unsafe(no_mangle)]
pub(crate) static DATAGRAMS: Global<u32> = Global::new(1);

/// Buckets of [`DONE`], less one.
#[unsafe(no_mangle)]
pub(crate) static DONE_MASK: Global<u32> = Global::new(0);

/// Signatures of the directions that are done, in buckets of a cache line each: 16,384 of them are
/// 1 MiB, half of a core's second-level cache, and room for both directions of 65,536 flows.
/// Memory that could be mapped begins at a page, so that no bucket straddles two lines.
#[map]
pub(crate) static DONE: Array<[u64; WAYS]> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The number of the recheck interval, 1 to 255: the one word that the daemon changes while this runs. A
/// variable, as looking it up in a map would cost more than comparing it.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.generation")]
pub(crate) static GENERATION: Global<u32> = Global::new(1);

/// Buckets of [`BUCKETS`], less one.
#[unsafe(no_mangle)]
pub(crate) static BUCKET_MASK: Global<u32> = Global::new(0);

/// The flow table's words: 8 bytes for each of 65,536 connections. Memory that could be mapped, as
/// above.
#[map]
pub(crate) static BUCKETS: Array<Bucket> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The state of connections: 128 bytes each, 8 MiB. The daemon maps it, to find those of
/// which something was not delivered.
#[map]
pub(crate) static FLOWS: Array<Flow> = Array::with_max_entries(WAYS as u32, BPF_F_MMAPABLE);

/// Samples on their way to the daemon: about 1 KB per connection, so that a reader that is away for
/// 400 ms loses none at 40,000 connections per second.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// See [`Counter`].
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::COUNT, 0);

/// Half of [`EVENTS`], as a power of two.
#[unsafe(no_mangle)]
pub(crate) static RING_HALF_LOG2: Global<u32> = Global::new(23);

/// Bytes that one interface may put into the ring from one CPU while it is half full.
#[unsafe(no_mangle)]
pub(crate) static SHARE: Global<u32> = Global::new(1 << 20);

/// By the interface's index. The daemon makes an entry where it attaches, and one for index 0, where
/// everything is counted that has no entry of its own.
#[map]
pub(crate) static INTERFACES: PerCpuHashMap<u32, Interface> =
    PerCpuHashMap::with_max_entries(16_384, BPF_F_NO_PREALLOC);

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
    /// This moment, as ages are counted.
    pub(crate) age: u64,
    /// The connection's key, and which half of it the segment belongs to.
    pub(crate) key: Key,
    pub(crate) side: u32,
    /// The interface, with `LINK_EGRESS`.
    pub(crate) link: u32,
    /// The connection's place in the table: its tag, its bucket's word for it, bucket and way, and
    /// the index of its state.
    pub(crate) tag: u64,
    pub(crate) word: u64,
    pub(crate) bucket: u32,
    pub(crate) way: u32,
    pub(crate) slot: u32,
    /// Sequence number of the segment's first byte of payload.
    pub(crate) start: u32,
    /// It leaves no hole behind it.
    pub(crate) is_next: u32,
    /// The current recheck interval.
    pub(crate) generation: u32,
    /// See [`blur`].
    pub(crate) blurred: u32,
    // The event in the making; see `Event`.
    pub(crate) head: Head,
    pub(crate) pieces: [Piece; PIECES],
    pub(crate) payload: [u8; PAYLOAD],
}

/// This CPU's [`SCRATCH`].
#[inline(always)]
pub(crate) fn scratch() -> Option<&'static mut Scratch> {
    // SAFETY: nobody else uses it while this program runs, see there.
    SCRATCH
        .get_ptr_mut(0)
        .map(|scratch| unsafe { &mut *scratch })
}

/// The same number, of which the verifier knows nothing any more: it would look at what follows once
/// for each value that it can have.
#[inline(always)]
pub(crate) fn blur(scratch: &mut Scratch, value: u32) -> u32 {
    let place = &raw mut scratch.blurred;
    // SAFETY: a field of the scratch, which is nobody else's.
    unsafe {
        place.write_volatile(value);
        place.read_volatile()
    }
}
