//! What the kernel program counts. Nothing is counted on the fast path.

/// Index into the per-CPU array of counters.
///
/// `Segments = Sampled + Skipped + RingFull + MapFull + Unreadable` holds at any quiet moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Counter {
    /// Segments with payload, SYN, FIN or RST that the fast path did not let by.
    Segments,
    /// Of those: delivered to the ring buffer.
    Sampled,
    /// Of those: seen before, or beyond what is wanted of their direction.
    Skipped,
    /// Of those: not delivered, as the ring buffer was full.
    RingFull,
    /// Of those: not delivered, as the flow found no place in the map.
    MapFull,
    /// Of those: not delivered, as the bytes could not be read from the packet.
    Unreadable,
    /// TCP in IP fragments, which is passed by.
    Fragments,
    /// Packets whose lengths contradict each other.
    Malformed,
    /// Flows met at their SYN.
    Flows,
    /// Flows met in midstream.
    Midstream,
    /// Directions looked at again after they were done.
    Again,
}

/// Segments lost on one interface: as the ring buffer was full, as the flow found no place in the
/// map, as the bytes could not be read.
pub type Losses = [u64; 3];

impl Counter {
    /// How many there are.
    pub const COUNT: u32 = 11;
}
