//! The state of a flow in the kernel.

/// A flow, whichever way a packet goes: the smaller end (port, then address) first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct FlowKey {
    /// Both addresses as they are in the packet; IPv4 as `::ffff:a.b.c.d`.
    pub addrs: [[u64; 2]; 2],
    /// Both ports.
    pub ports: [u16; 2],
    /// Zero.
    pub reserved: u32,
}

/// Signatures in one bucket of the fast path's memory: a cache line of 64 bytes.
pub const WAYS: usize = 8;

/// One direction of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Half {
    /// Initial sequence number, where `bits` has it known.
    pub isn: u32,
    /// Everything before this sequence number was taken.
    pub next: u32,
    /// Sequence number of the next byte wanted of a TLS record's header.
    pub record: u32,
    /// Bytes copied so far.
    pub bytes: u32,
    /// The start of a record's header whose rest is in the next segment, as a number.
    pub carry: u32,
    /// Segments sampled so far.
    pub segments: u16,
    /// Headers of TLS records met so far.
    pub headers: u8,
    /// What the direction carries: `KIND_*`.
    pub kind: u8,
    /// What is known: `HALF_*`.
    pub bits: u8,
    /// The look-again generation in which the direction was done.
    pub generation: u8,
    /// Bytes in `carry`.
    pub carried: u8,
    /// Zero.
    pub reserved: u8,
}

/// `Half::isn` is known.
pub const HALF_ISN: u8 = 1 << 0;
/// `Half::next` is known.
pub const HALF_STARTED: u8 = 1 << 1;
/// Nothing more is wanted, until the next look.
pub const HALF_DONE: u8 = 1 << 2;
/// The FIN was reported.
pub const HALF_FIN: u8 = 1 << 3;
/// Bodies of records are no longer copied, only their headers.
pub const HALF_HEADERS: u8 = 1 << 4;
/// The RST was reported.
pub const HALF_RST: u8 = 1 << 5;

/// No payload yet.
pub const KIND_NONE: u8 = 0;
/// TLS records.
pub const KIND_TLS: u8 = 1;
/// Anything else.
pub const KIND_OTHER: u8 = 2;

/// Both directions of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Flow {
    /// From the first end of the key to the second, and back.
    pub halves: [Half; 2],
    /// What is known: `FLOW_*`.
    pub bits: u32,
}

/// The flow was running when it was first met.
pub const FLOW_MIDSTREAM: u32 = 1 << 0;
/// A sample was lost.
pub const FLOW_LOST: u32 = 1 << 1;

#[cfg(test)]
mod tests {
    use super::{Flow, FlowKey, Half};

    #[test]
    fn layouts_have_no_padding() {
        assert_eq!(size_of::<FlowKey>(), 40);
        assert_eq!(size_of::<Half>(), 28);
        assert_eq!(size_of::<Flow>(), 60);
    }
}
