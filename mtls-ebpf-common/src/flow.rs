//! The flow table: what the kernel program keeps of each connection.
//!
//! The table is two arrays. A [`Bucket`] is one cache line of eight words, one per way: enough to
//! find a connection, and to choose the one that makes room. [`Flow`]s are two lines each.

/// Ways of a bucket of the flow table, and signatures in one bucket of the fast path's memory: as
/// many as a cache line of 64 bytes has words.
pub const WAYS: usize = 8;

/// One word per way. From the highest bit: 36 bits of the connection's keyed hash, 8 of a hash of
/// the interface that it was met on, 16 of its age ([`AGE_SHIFT`]), 4 of its state; zero is empty.
pub type Bucket = [u64; WAYS];

/// Where the state lies in a word of a bucket.
pub const STATE_MASK: u64 = 0xf;
/// Where the age lies, and its width.
pub const AGE_AT: u32 = 4;
/// The age's bits.
pub const AGE_MASK: u64 = 0xffff;
/// Where the interface's hash lies: 8 bits.
pub const LINK_AT: u32 = 20;
/// Where the connection's hash begins.
pub const TAG_AT: u32 = 28;
/// Ages count 256 ticks of the kernel (about a second at 250 Hz), which cost nothing to read; at
/// 1,000 Hz they go round after 4.6 hours.
pub const AGE_SHIFT: u32 = 8;

/// Nobody's.
pub const STATE_EMPTY: u64 = 0;
/// Only one side was seen.
pub const STATE_UNANSWERED: u64 = 1;
/// Both sides were seen.
pub const STATE_OPEN: u64 = 2;
/// Both FINs or an RST were seen.
pub const STATE_FINISHED: u64 = 3;
/// A flow of datagrams, which nothing ends.
pub const STATE_DATAGRAMS: u64 = 4;

/// A connection, whichever way a packet goes: the smaller end (port, then address) first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Key {
    /// Both addresses as they are in the packet; IPv4 as `::ffff:a.b.c.d`.
    pub addrs: [[u64; 2]; 2],
    /// Both ports.
    pub ports: [u16; 2],
    /// 4 or 6: an IPv6 packet may hold IPv4-mapped addresses.
    pub family: u8,
    /// The IP protocol, 6 for TCP.
    pub transport: u8,
    /// Zero.
    pub reserved: u16,
}

/// One direction of a connection. Of a flow of datagrams, `isn`, `next`, `record` and `carry` are
/// the fingerprints of its latest four, `headers` says which is the oldest, `bodies` counts those
/// sampled for their length alone, `carried` the handshakes that began anew in this recheck interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Half {
    /// Initial sequence number; where `bits` has it unknown, the one before the first byte met.
    pub isn: u32,
    /// Everything before this sequence number, from `isn` on, was taken.
    pub next: u32,
    /// Sequence number of the next byte wanted of a TLS record's header.
    pub record: u32,
    /// With `carried`: the start of a record's header whose rest is in the next segment, as a
    /// number. With `want`: the sequence number of the next byte wanted of a record's body.
    pub carry: u32,
    /// Sequence number of the FIN.
    pub fin: u32,
    /// The interface that the sender is known at, with [`LINK_EGRESS`]; zero is none yet.
    pub link: u32,
    /// Bytes copied so far.
    pub bytes: u16,
    /// What is known: `HALF_*`.
    pub bits: u16,
    /// Segments sampled so far.
    pub segments: u8,
    /// Headers of TLS records met so far.
    pub headers: u8,
    /// What the direction carries: `KIND_*`.
    pub kind: u8,
    /// The recheck interval in which the direction was done.
    pub generation: u8,
    /// Bytes in `carry`.
    pub carried: u8,
    /// Records of application data whose first bytes were copied.
    pub bodies: u8,
    /// Bytes still wanted of the body that `carry` points into.
    pub want: u8,
    /// Segments sampled in this recheck interval.
    pub looks: u8,
}

/// In [`Half::link`]: the sender is the pod behind the interface.
pub const LINK_EGRESS: u32 = 1 << 31;

/// `Half::isn` is known.
pub const HALF_ISN: u16 = 1 << 0;
/// `Half::next` is known.
pub const HALF_STARTED: u16 = 1 << 1;
/// Nothing more is wanted, until the next recheck.
pub const HALF_DONE: u16 = 1 << 2;
/// A FIN was seen, and no payload beyond it.
pub const HALF_FIN: u16 = 1 << 3;
/// Bodies of records are no longer copied in full.
pub const HALF_HEADERS: u16 = 1 << 4;
/// An RST was seen, and no payload after it.
pub const HALF_RST: u16 = 1 << 5;
/// The FIN was delivered.
pub const HALF_FIN_TOLD: u16 = 1 << 6;
/// Segments are missing before `next`.
pub const HALF_HOLE: u16 = 1 << 7;
/// A SYN with another sequence number was seen, which may begin another connection.
pub const HALF_SYN: u16 = 1 << 8;
/// This side opened the connection.
pub const HALF_CLIENT: u16 = 1 << 9;
/// A FIN was seen at `fin`, behind bytes that were not: it is one if the other side answers it.
pub const HALF_FIN_AHEAD: u16 = 1 << 10;

/// No payload yet.
pub const KIND_NONE: u8 = 0;
/// TLS records.
pub const KIND_TLS: u8 = 1;
/// Anything else.
pub const KIND_OTHER: u8 = 2;

/// Both directions of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Flow {
    /// As in [`Key`].
    pub addrs: [[u64; 2]; 2],
    /// As in [`Key`].
    pub ports: [u16; 2],
    /// As in [`Key`].
    pub family: u8,
    /// As in [`Key`].
    pub transport: u8,
    /// One, when a sample was lost. Set without the lock by a processor that did not get it.
    pub lost: u8,
    /// Samples delivered of payload from elsewhere than the sender's interface.
    pub foreign: u8,
    /// When it was met, in nanoseconds since boot.
    pub opened: u64,
    /// One while a processor works on it.
    pub lock: u32,
    /// What is known: `FLOW_*`.
    pub bits: u8,
    /// Counts the connections that have had this place.
    pub serial: u8,
    /// Equal to `serial` once the connection was delivered.
    pub told: u8,
    /// Zero.
    pub reserved: u8,
    /// From the first end of the key to the second, and back.
    pub halves: [Half; 2],
}

/// The connection was running when it was first met.
pub const FLOW_MIDSTREAM: u8 = 1 << 0;
/// Its end was delivered.
pub const FLOW_CLOSED: u8 = 1 << 1;

#[cfg(feature = "user")]
// SAFETY: `repr(C)` of integers without padding (see the test).
unsafe impl aya::Pod for Flow {}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::{Bucket, Flow, Half, Key};

    #[test]
    fn layouts_have_no_padding() {
        assert_eq!(size_of::<Key>(), 32 + 4 + 1 + 1 + 2);
        assert_eq!(size_of::<Half>(), 6 * 4 + 2 * 2 + 8);
        assert_eq!(offset_of!(Flow, opened), 40);
        assert_eq!(offset_of!(Flow, halves), 56);
        assert_eq!(size_of::<Flow>(), 128);
        assert_eq!(size_of::<Bucket>(), 64);
    }
}
