//! The flow table: the kernel program's state of each connection.
//!
//! The table has two arrays. A [`Bucket`] is one cache line of eight words, one per way: enough to
//! find a connection, and to choose one to evict. A [`Flow`] is two cache lines.

/// Ways of a bucket of the flow table, and signatures in one bucket of the fast path's memory: the
/// number of words in a cache line of 64 bytes.
pub const WAYS: usize = 8;

/// One word per way. From the highest bit: 36 bits of the connection's keyed hash, 8 of a hash of
/// the interface where it was first seen, 16 of its age ([`AGE_SHIFT`]), 4 of its state; zero is
/// empty.
pub type Bucket = [u64; WAYS];

/// Position of the state in a bucket's word.
pub const STATE_MASK: u64 = 0xf;
/// Position of the age, and its width.
pub const AGE_AT: u32 = 4;
/// The age's bits.
pub const AGE_MASK: u64 = 0xffff;
/// Position of the interface's hash: 8 bits.
pub const LINK_AT: u32 = 20;
/// Position of the connection's hash.
pub const TAG_AT: u32 = 28;
/// One unit of age is 256 kernel ticks (about a second at 250 Hz), which are free to read; at 1,000
/// Hz, ages wrap around after 4.6 hours.
pub const AGE_SHIFT: u32 = 8;

/// Empty.
pub const STATE_EMPTY: u64 = 0;
/// Only one side was seen.
pub const STATE_UNANSWERED: u64 = 1;
/// Both sides were seen.
pub const STATE_OPEN: u64 = 2;
/// Both FINs or an RST were seen.
pub const STATE_FINISHED: u64 = 3;
/// A UDP flow, which no packet ends.
pub const STATE_DATAGRAMS: u64 = 4;

/// A connection, independent of a packet's direction: the smaller end (port, then address) comes
/// first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Key {
    /// Both addresses as in the packet; IPv4 as `::ffff:a.b.c.d`.
    pub addrs: [[u64; 2]; 2],
    /// Both ports.
    pub ports: [u16; 2],
    /// 4 or 6: an IPv6 packet may contain IPv4-mapped addresses.
    pub family: u8,
    /// The IP protocol, 6 for TCP.
    pub transport: u8,
    /// Zero.
    pub reserved: u16,
}

/// One direction of a connection. For a UDP flow, `isn`, `next`, `record` and `carry` are the
/// fingerprints of its latest four datagrams, `headers` says which is the oldest, `bodies` counts
/// those sampled only for their length, and `carried` counts the handshakes that restarted sampling
/// in this recheck interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Half {
    /// Initial sequence number; if `bits` says that it is unknown, the number before the first byte
    /// seen.
    pub isn: u32,
    /// Everything from `isn` up to this sequence number was seen.
    pub next: u32,
    /// Sequence number of the next byte that is needed of a TLS record header.
    pub record: u32,
    /// With `carried`: the start of a record header whose rest is in the next segment, as a number.
    /// With `want`: the sequence number of the next byte that is needed of a record's body.
    pub carry: u32,
    /// Sequence number of the FIN.
    pub fin: u32,
    /// The interface where the sender is known, with [`LINK_EGRESS`]; zero if none yet.
    pub link: u32,
    /// Bytes copied so far.
    pub bytes: u16,
    /// Flags: `HALF_*`.
    pub bits: u16,
    /// Segments sampled so far.
    pub segments: u8,
    /// Headers of TLS records seen so far.
    pub headers: u8,
    /// What the direction carries: `KIND_*`.
    pub kind: u8,
    /// The recheck interval in which the direction was done.
    pub generation: u8,
    /// Bytes in `carry`.
    pub carried: u8,
    /// Records of application data whose first bytes were copied.
    pub bodies: u8,
    /// Bytes still needed of the body that `carry` points into.
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
/// No more samples are needed until the next recheck.
pub const HALF_DONE: u16 = 1 << 2;
/// A FIN was seen, and no payload after it.
pub const HALF_FIN: u16 = 1 << 3;
/// Bodies of records are no longer copied in full.
pub const HALF_HEADERS: u16 = 1 << 4;
/// An RST was seen, and no payload after it.
pub const HALF_RST: u16 = 1 << 5;
/// The FIN was delivered.
pub const HALF_FIN_TOLD: u16 = 1 << 6;
/// Segments are missing before `next`.
pub const HALF_HOLE: u16 = 1 << 7;
/// A SYN with another sequence number was seen; it may begin another connection.
pub const HALF_SYN: u16 = 1 << 8;
/// This side opened the connection.
pub const HALF_CLIENT: u16 = 1 << 9;
/// A FIN was seen at `fin`, after bytes that were not seen: it counts if the other side
/// acknowledges it.
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
    /// One if a sample was lost. A CPU that did not get the lock sets it without holding it.
    pub lost: u8,
    /// Samples delivered of payload that did not come from the sender's interface.
    pub foreign: u8,
    /// When it was first seen, in nanoseconds since boot.
    pub opened: u64,
    /// One while a CPU works on it.
    pub lock: u32,
    /// Flags: `FLOW_*`.
    pub bits: u8,
    /// Number of connections that have used this entry.
    pub serial: u8,
    /// Equal to `serial` once the connection was delivered.
    pub told: u8,
    /// Zero.
    pub reserved: u8,
    /// From the key's first end to the second, and back.
    pub halves: [Half; 2],
}

/// The connection was already open when it was first seen.
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
