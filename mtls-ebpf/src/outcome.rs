//! What became of a segment, or of a part of it: a number, as functions of their own return no more.

/// Nothing was wanted of it.
pub(crate) const SKIPPED: u32 = 0;
/// Delivered.
pub(crate) const SAMPLED: u32 = 1;
/// Lost: no room in the ring buffer.
pub(crate) const RING_FULL: u32 = 2;
/// Lost: no room in the flow map.
pub(crate) const MAP_FULL: u32 = 3;
/// Lost: the packet's bytes could not be read.
pub(crate) const UNREADABLE: u32 = 4;

/// The outcome of a whole whose parts had these.
#[inline(always)]
pub(crate) fn worst(a: u32, b: u32) -> u32 {
    if a > b { a } else { b }
}
